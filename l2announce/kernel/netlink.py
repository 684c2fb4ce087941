"""The links of this network namespace, kept up to date by rtnetlink events: the responder's own view, without a library's weight.

pyroute2 serves the control process (kernel/devices.py); importing it would double the memory of this one.
"""

import errno
import os
import socket
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

from l2announce.errors import KernelError
from l2announce.model.link import Link
from l2announce.wire.rtnetlink import (
    ARPHRD_ETHER,
    IFF_LOOPBACK,
    IFF_LOWER_UP,
    IFF_UP,
    AddressChanged,
    DumpDone,
    DumpInterrupted,
    LinkChanged,
    LinkRemoved,
    Message,
    NetlinkError,
    decode_messages,
    dump_ipv6_addresses,
    dump_links,
)

RECEIVE_BUFFER = 1 << 20
MAX_INTERRUPTED_DUMPS = 100
IPV6_MIN_MTU = 1280
"""RFC 8200, 5; Linux takes IPv6 away from a link with less."""
_MAX_DATAGRAM = 1 << 17
_RTMGRP_LINK, _RTMGRP_IPV6_IFADDR = 0x1, 0x100
_LINK_LOCAL = IPv6Network("fe80::/64")


class LinkMonitor:
    """The link table. Wait for ``fileno`` to be readable, then ``read``. Needs no capability."""

    def __init__(self, receive_buffer: int = RECEIVE_BUFFER) -> None:
        """Subscribe, then dump, so that no change is missed."""
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._socket.bind((0, _RTMGRP_LINK | _RTMGRP_IPV6_IFADDR))
        except OSError as err:
            raise KernelError(f"cannot open a netlink socket: {err.strerror}") from err
        self._links: dict[int, LinkChanged] = {}
        self._addresses: dict[int, list[IPv6Address]] = {}
        self._removed: set[int] = set()
        self._without_ipv6: set[int] = set()
        self._sequence = 0
        self._load()

    def fileno(self) -> int:
        """The descriptor, for epoll."""
        return self._socket.fileno()

    def links(self) -> tuple[Link, ...]:
        """Every link that frames can be answered on: Ethernet, with a MAC, not loopback, and not a port of a bridge, bond or team, whose
        frames are seen as its master's."""
        return tuple(
            Link(
                index=link.ifindex,
                name=link.name,
                mac=link.mac,
                carrier=bool(link.flags & IFF_UP and link.flags & IFF_LOWER_UP),
                link_local=next((address for address in self._addresses.get(link.ifindex, ()) if address in _LINK_LOCAL), None),
            )
            for link in self._links.values()
            if _is_eligible(link)
        )

    def read(self) -> bool:
        """Take the waiting events; True when they changed ``links``, or ended one or its IPv6. After an overrun all is dumped again."""
        before, known = self.links(), set(self._links)
        try:
            while (octets := self._receive()) is not None:
                for message in decode_messages(octets):
                    self._apply(message)
        except OSError as err:
            if err.errno != errno.ENOBUFS:
                raise KernelError(f"netlink: {err.strerror}") from err
            self._load()
            self._removed |= known - self._links.keys()
        return self.links() != before or bool(self._removed or self._without_ipv6)

    def take_removed(self) -> frozenset[int]:
        """The indexes of links removed since the last call, also of those that have come back since. Sockets bound to them are dead."""
        removed, self._removed = frozenset(self._removed), set()
        return removed

    def take_without_ipv6(self) -> frozenset[int]:
        """The indexes of links whose MTU was found, since the last call, to be too small for IPv6, or to be so no more: the kernel ended
        every membership there, though their sockets do not know."""
        found, self._without_ipv6 = frozenset(self._without_ipv6), set()
        return found

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _receive(self) -> bytes | None:
        try:
            return self._socket.recv(_MAX_DATAGRAM)
        except BlockingIOError:
            return None

    def _apply(self, message: Message) -> None:
        match message:
            case LinkChanged():
                former = self._links.get(message.ifindex)
                if _lacks_ipv6(message) or (former is not None and _lacks_ipv6(former)):
                    self._without_ipv6.add(message.ifindex)
                self._links[message.ifindex] = message
            case LinkRemoved(index):
                self._links.pop(index, None)
                self._addresses.pop(index, None)
                self._removed.add(index)
            case AddressChanged(index, address, usable):
                known = self._addresses.setdefault(index, [])
                if usable and address not in known:
                    known.append(address)
                elif not usable and address in known:
                    known.remove(address)

    def _load(self) -> None:
        """Dump links and addresses anew. Events that come in between are applied in order.

        What waited before is thrown away first: after an overrun it tells of links whose removal was lost.
        """
        for _ in range(MAX_INTERRUPTED_DUMPS):
            self._discard()
            self._links, self._addresses = {}, {}
            if self._dump(dump_links) and self._dump(dump_ipv6_addresses):
                return
        raise KernelError(f"netlink: {MAX_INTERRUPTED_DUMPS} dumps of the links were interrupted by changes")

    def _discard(self) -> None:
        """Empty the socket."""
        while True:
            try:
                if self._receive() is None:
                    return
            except OSError as err:
                if err.errno != errno.ENOBUFS:
                    raise KernelError(f"netlink: {err.strerror}") from err

    def _dump(self, request: Callable[[int], bytes]) -> bool:
        """One dump to its end; False when it must be repeated, as it was interrupted or events were lost meanwhile."""
        whole = True
        self._sequence += 1
        self._socket.send(request(self._sequence))
        while True:
            try:
                octets = self._wait()
            except OSError as err:
                if err.errno == errno.ENOBUFS:
                    whole = False
                    continue
                raise KernelError(f"netlink dump: {err.strerror}") from err
            for message in decode_messages(octets):
                match message:
                    case DumpInterrupted():
                        whole = False
                    case DumpDone():
                        return whole
                    case NetlinkError(number) if number:
                        raise KernelError(f"netlink dump: {os.strerror(number)}")
                self._apply(message)

    def _wait(self) -> bytes:
        self._socket.setblocking(True)
        try:
            return self._socket.recv(_MAX_DATAGRAM)
        finally:
            self._socket.setblocking(False)


def _lacks_ipv6(link: LinkChanged) -> bool:
    return 0 < link.mtu < IPV6_MIN_MTU


def _is_eligible(link: LinkChanged) -> bool:
    is_port = link.master is not None and link.slave_kind != "vrf"
    return link.hardware_type == ARPHRD_ETHER and len(link.mac) == 6 and not link.flags & IFF_LOOPBACK and not is_port
