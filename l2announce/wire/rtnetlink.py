"""rtnetlink messages about links and IPv6 addresses (linux/rtnetlink.h): only what the responder needs, so that its process stays small.

Netlink is host byte order. Unknown messages and attributes are skipped, as the protocol wants. So are link messages of another address
family than AF_UNSPEC: the bridge's RTM_DELLINK says that a link left its bridge, not that it is gone.
"""

import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import NamedTuple, TypeAlias

from l2announce.errors import DecodeError

ARPHRD_ETHER = 1
IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_LOWER_UP = 0x10000
IFA_F_DADFAILED = 0x08
IFA_F_TENTATIVE = 0x40
AF_UNSPEC = 0
AF_INET6 = 10

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")

_NLMSG_ERROR, _NLMSG_DONE, _NLMSG_OVERRUN = 2, 3, 4
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_NLM_F_REQUEST, _NLM_F_DUMP_INTR, _NLM_F_DUMP = 0x1, 0x10, 0x300
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_IFLA_INFO_SLAVE_KIND = 4
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_TYPE_MASK = 0x3FFF


class LinkChanged(NamedTuple):
    """RTM_NEWLINK: a link as it now is. ``hardware_type`` is an ARPHRD constant; ``slave_kind`` the kind of its master, "" without one;
    ``mtu`` 0 when it is not told."""

    ifindex: int
    name: str
    hardware_type: int
    flags: int
    mac: bytes
    master: int | None
    slave_kind: str
    mtu: int = 0


class LinkRemoved(NamedTuple):
    """RTM_DELLINK."""

    ifindex: int


class AddressChanged(NamedTuple):
    """RTM_NEWADDR or RTM_DELADDR of an IPv6 address. ``usable``: neither tentative nor a duplicate, and not removed."""

    ifindex: int
    address: IPv6Address
    usable: bool


class DumpInterrupted(NamedTuple):
    """The kernel's tables changed during a dump, so that it must be asked for again. Any message of the dump may say so."""


class DumpDone(NamedTuple):
    """The end of a dump."""


class NetlinkError(NamedTuple):
    """NLMSG_ERROR (errno, positive) for a request of ours; 0 is an acknowledgement."""

    errno: int


Message: TypeAlias = LinkChanged | LinkRemoved | AddressChanged | DumpInterrupted | DumpDone | NetlinkError


def dump_links(sequence: int) -> bytes:
    """The request for all links."""
    body = _LINK.pack(0, 0, 0, 0, 0)
    return _HEADER.pack(_HEADER.size + len(body), _RTM_GETLINK, _NLM_F_REQUEST | _NLM_F_DUMP, sequence, 0) + body


def dump_ipv6_addresses(sequence: int) -> bytes:
    """The request for all IPv6 addresses."""
    body = _ADDRESS.pack(AF_INET6, 0, 0, 0, 0)
    return _HEADER.pack(_HEADER.size + len(body), _RTM_GETADDR, _NLM_F_REQUEST | _NLM_F_DUMP, sequence, 0) + body


def decode_messages(octets: bytes) -> Iterator[Message]:
    """The messages of one datagram. DecodeError when a length runs past its end."""
    at = 0
    while len(octets) - at >= _HEADER.size:
        length, kind, flags, _, _ = _HEADER.unpack_from(octets, at)
        if not _HEADER.size <= length <= len(octets) - at:
            raise DecodeError(f"netlink message of length {length} in the last {len(octets) - at} octets of a datagram")
        yield from _decode(kind, flags, octets[at + _HEADER.size : at + length])
        at += (length + 3) & ~3


def _decode(kind: int, flags: int, body: bytes) -> Iterator[Message]:
    if flags & _NLM_F_DUMP_INTR and kind in (_NLMSG_DONE, _RTM_NEWLINK, _RTM_NEWADDR):
        yield DumpInterrupted()
    if kind == _NLMSG_DONE:
        yield DumpDone()
    elif kind == _NLMSG_ERROR:
        yield NetlinkError(-_unpack("=i", body))
    elif kind in (_RTM_NEWLINK, _RTM_DELLINK):
        yield from _decode_link(kind, body)
    elif kind in (_RTM_NEWADDR, _RTM_DELADDR):
        yield from _decode_address(kind, body)


def _decode_link(kind: int, body: bytes) -> Iterator[Message]:
    if len(body) < _LINK.size:
        raise DecodeError(f"netlink link message of {len(body)} octets: shorter than {_LINK.size}")
    family, hardware_type, index, flags, _ = _LINK.unpack_from(body)
    if family != AF_UNSPEC:
        return
    if kind == _RTM_DELLINK:
        yield LinkRemoved(index)
        return
    attributes = _attributes(body[_LINK.size :])
    master, mtu = attributes.get(_IFLA_MASTER), attributes.get(_IFLA_MTU)
    yield LinkChanged(
        ifindex=index,
        name=_text(attributes.get(_IFLA_IFNAME, b"")),
        hardware_type=hardware_type,
        flags=flags,
        mac=attributes.get(_IFLA_ADDRESS, b""),
        master=None if master is None else _unpack("=I", master),
        slave_kind=_text(_attributes(attributes.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_SLAVE_KIND, b"")),
        mtu=0 if mtu is None else _unpack("=I", mtu),
    )


def _decode_address(kind: int, body: bytes) -> Iterator[Message]:
    if len(body) < _ADDRESS.size:
        raise DecodeError(f"netlink address message of {len(body)} octets: shorter than {_ADDRESS.size}")
    family, _, flags, _, index = _ADDRESS.unpack_from(body)
    attributes = _attributes(body[_ADDRESS.size :])
    octets = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS, b"")
    if family != AF_INET6 or len(octets) != 16:
        return
    if _IFA_FLAGS in attributes:
        flags = _unpack("=I", attributes[_IFA_FLAGS])
    usable = kind == _RTM_NEWADDR and not flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)
    yield AddressChanged(index, IPv6Address(octets), usable)


def _attributes(octets: bytes) -> dict[int, bytes]:
    """Attribute type to value; the last of equal types counts."""
    found: dict[int, bytes] = {}
    at = 0
    while len(octets) - at >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(octets, at)
        if not _ATTRIBUTE.size <= length <= len(octets) - at:
            raise DecodeError(
                f"netlink attribute {kind & _TYPE_MASK} of length {length} in the last {len(octets) - at} octets of a message"
            )
        found[kind & _TYPE_MASK] = octets[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def _unpack(form: str, octets: bytes) -> int:
    if len(octets) < 4:
        raise DecodeError(f"netlink number of {len(octets)} octets: shorter than 4")
    value: int = struct.unpack_from(form, octets)[0]
    return value


def _text(octets: bytes) -> str:
    return octets.split(b"\0", 1)[0].decode("utf-8", "replace")
