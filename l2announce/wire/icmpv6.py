"""Neighbor solicitations and advertisements (RFC 4861, 4.3 and 4.4) in Ethernet frames, with the receive checks of section 7.1.1.

Extension headers are not looked through: a solicitation is not expected to carry any, and fragments must be ignored (RFC 6980).
"""

from ipaddress import IPv6Address
from typing import NamedTuple

from l2announce.errors import DecodeError
from l2announce.model.address import solicited_node_multicast
from l2announce.wire.checksum import complement, word_sum
from l2announce.wire.ethernet import ETH_P_IPV6, HEADER_LENGTH, EthernetHeader

NEXT_HEADER_ICMPV6 = 58
NEIGHBOR_SOLICITATION = 135
NEIGHBOR_ADVERTISEMENT = 136
SOURCE_LINK_LAYER_ADDRESS = 1
TARGET_LINK_LAYER_ADDRESS = 2
HOP_LIMIT = 255
IPV6_HEADER_LENGTH = 40
MESSAGE_LENGTH = 24
ICMPV6_OFFSET = HEADER_LENGTH + IPV6_HEADER_LENGTH
TARGET_OFFSET = ICMPV6_OFFSET + 8

ALL_NODES = IPv6Address("ff02::1")
ALL_NODES_MAC = bytes.fromhex("333300000001")
UNSPECIFIED = IPv6Address(0)

_FLAG_ROUTER = 0x80
_FLAG_SOLICITED = 0x40
_FLAG_OVERRIDE = 0x20


class NeighborSolicitation(NamedTuple):
    """A solicitation that passed every check of RFC 4861, 7.1.1."""

    source: IPv6Address
    destination: IPv6Address
    target: IPv6Address
    source_link_layer_address: bytes | None

    @property
    def is_duplicate_address_detection(self) -> bool:
        """RFC 4862, 5.4.3: the sender has no address yet and asks whether it may have the target."""
        return self.source == UNSPECIFIED

    @property
    def is_for_another_host(self) -> bool:
        """Sent to a unicast address other than the target: RFC 4861, 4.3 knows the target's group and the target alone."""
        return not self.destination.is_multicast and self.destination != self.target


class NeighborAdvertisement(NamedTuple):
    """An advertisement; only its octets are checked, not whom it came from."""

    target: IPv6Address
    router: bool = False
    solicited: bool = False
    override: bool = True
    target_link_layer_address: bytes | None = None


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise DecodeError(what)


def _decode_message(frame: bytes) -> tuple[IPv6Address, IPv6Address, bytes]:
    """Source, destination and the ICMPv6 message of a frame, length, hop limit and checksum checked."""
    _require(len(frame) >= ICMPV6_OFFSET + MESSAGE_LENGTH, f"frame of {len(frame)} octets: too short for a neighbor message")
    _require(frame[14] >> 4 == 6, f"IP version {frame[14] >> 4} in a frame of type IPv6")
    _require(frame[20] == NEXT_HEADER_ICMPV6, f"next header {frame[20]}: not ICMPv6")
    length = int.from_bytes(frame[18:20], "big")
    _require(length <= len(frame) - ICMPV6_OFFSET, f"payload length {length}: the frame holds {len(frame) - ICMPV6_OFFSET}")
    _require(length >= MESSAGE_LENGTH, f"ICMPv6 length {length}: below {MESSAGE_LENGTH}")
    _require(frame[21] == HOP_LIMIT, f"hop limit {frame[21]}: not 255, so it may have crossed a router")
    message = frame[ICMPV6_OFFSET : ICMPV6_OFFSET + length]
    padded = message + bytes(length % 2)
    total = word_sum(frame[22:ICMPV6_OFFSET]) + word_sum(padded) + length + NEXT_HEADER_ICMPV6
    _require(total % 0xFFFF == 0, "ICMPv6 checksum is wrong")
    _require(message[1] == 0, f"ICMPv6 code {message[1]}: not 0")
    return IPv6Address(frame[22:38]), IPv6Address(frame[38:54]), message


def _decode_options(octets: bytes) -> dict[int, bytes]:
    """Option type to body (without type and length), the first of each type. Every option must have a length above 0."""
    options: dict[int, bytes] = {}
    while octets:
        _require(len(octets) >= 2, "option cut short")
        length = octets[1] * 8
        _require(length > 0, f"option {octets[0]} of length 0")
        _require(length <= len(octets), f"option {octets[0]} of length {length}: longer than the message")
        options.setdefault(octets[0], octets[2:length])
        octets = octets[length:]
    return options


def _link_layer_address(options: dict[int, bytes], kind: int) -> bytes | None:
    body = options.get(kind)
    _require(body is None or len(body) == 6, f"link-layer address option {kind} of {len(body or b'') + 2} octets: Ethernet's has 8")
    return body


def decode_neighbor_solicitation(frame: bytes) -> NeighborSolicitation:
    """The solicitation in an IPv6 Ethernet frame; DecodeError names the check of RFC 4861, 7.1.1 that it fails."""
    source, destination, message = _decode_message(frame)
    _require(message[0] == NEIGHBOR_SOLICITATION, f"ICMPv6 type {message[0]}: not a neighbor solicitation")
    target = IPv6Address(message[8:24])
    _require(not source.is_multicast, f"source {source} is a multicast address")
    _require(not source.is_loopback, f"source {source} is the loopback address")
    _require(not target.is_multicast, f"target {target} is a multicast address")
    link_layer_address = _link_layer_address(_decode_options(message[24:]), SOURCE_LINK_LAYER_ADDRESS)
    if source == UNSPECIFIED:
        _require(destination.packed[:13] == b"\xff\x02" + bytes(9) + b"\x01\xff", f"source :: but destination {destination}")
        _require(link_layer_address is None, "source :: but a source link-layer address option")
    return NeighborSolicitation(source, destination, target, link_layer_address)


def decode_neighbor_advertisement(frame: bytes) -> NeighborAdvertisement:
    """The advertisement in an IPv6 Ethernet frame; DecodeError names the check of RFC 4861, 7.1.2 that it fails."""
    _, destination, message = _decode_message(frame)
    _require(message[0] == NEIGHBOR_ADVERTISEMENT, f"ICMPv6 type {message[0]}: not a neighbor advertisement")
    target = IPv6Address(message[8:24])
    _require(not target.is_multicast, f"target {target} is a multicast address")
    flags = message[4]
    _require(not (destination.is_multicast and flags & _FLAG_SOLICITED), f"solicited flag set towards {destination}")
    link_layer_address = _link_layer_address(_decode_options(message[24:]), TARGET_LINK_LAYER_ADDRESS)
    return NeighborAdvertisement(
        target, bool(flags & _FLAG_ROUTER), bool(flags & _FLAG_SOLICITED), bool(flags & _FLAG_OVERRIDE), link_layer_address
    )


def _frame(mac: bytes, to_mac: bytes, source: IPv6Address, destination: IPv6Address, body: bytes) -> bytes:
    """An Ethernet frame around an ICMPv6 message whose checksum field is zero and is filled in here."""
    length = len(body)
    total = word_sum(source.packed + destination.packed) + length + NEXT_HEADER_ICMPV6 + word_sum(body)
    ip = b"\x60\0\0\0" + length.to_bytes(2, "big") + bytes((NEXT_HEADER_ICMPV6, HOP_LIMIT)) + source.packed + destination.packed
    return EthernetHeader(to_mac, mac, ETH_P_IPV6).encode() + ip + body[:2] + complement(total) + body[4:]


def encode_neighbor_advertisement(
    mac: bytes, to_mac: bytes, source: IPv6Address, destination: IPv6Address, advertisement: NeighborAdvertisement
) -> bytes:
    """The frame that carries ``advertisement``."""
    a = advertisement
    flags = a.router * _FLAG_ROUTER | a.solicited * _FLAG_SOLICITED | a.override * _FLAG_OVERRIDE
    option = b"" if a.target_link_layer_address is None else bytes((TARGET_LINK_LAYER_ADDRESS, 1)) + a.target_link_layer_address
    body = bytes((NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0)) + a.target.packed + option
    return _frame(mac, to_mac, source, destination, body)


def encode_neighbor_solicitation(mac: bytes, to_mac: bytes, solicitation: NeighborSolicitation) -> bytes:
    """The frame that carries ``solicitation``."""
    s = solicitation
    option = b"" if s.source_link_layer_address is None else bytes((SOURCE_LINK_LAYER_ADDRESS, 1)) + s.source_link_layer_address
    body = bytes((NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0)) + s.target.packed + option
    return _frame(mac, to_mac, s.source, s.destination, body)


def multicast_mac(group: IPv6Address) -> bytes:
    """The Ethernet address of an IPv6 multicast group (RFC 2464, 7)."""
    return b"\x33\x33" + group.packed[12:]


def neighbor_reply(mac: bytes, to_mac: bytes, solicitation: NeighborSolicitation, link_local: IPv6Address | None) -> bytes:
    """The frame that answers a solicitation, Override set, with the target link-layer address option.

    It comes from ``link_local``, which is assigned to the interface as RFC 4861, 4.4 wants, else from the target. Solicited and unicast to
    the asker; for duplicate address detection not solicited and to all nodes (7.2.4).
    """
    target = solicitation.target
    source = link_local or target
    if solicitation.is_duplicate_address_detection:
        advertisement = NeighborAdvertisement(target, solicited=False, target_link_layer_address=mac)
        return encode_neighbor_advertisement(mac, ALL_NODES_MAC, source, ALL_NODES, advertisement)
    advertisement = NeighborAdvertisement(target, solicited=True, target_link_layer_address=mac)
    return encode_neighbor_advertisement(mac, to_mac, source, solicitation.source, advertisement)


def neighbor_probe(mac: bytes, address: IPv6Address) -> bytes:
    """The solicitation of duplicate address detection (RFC 4862, 5.4.2): from :: to the address's solicited-node group, without options."""
    group = solicited_node_multicast(address)
    return encode_neighbor_solicitation(mac, multicast_mac(group), NeighborSolicitation(UNSPECIFIED, group, address, None))


def neighbor_announcement(mac: bytes, address: IPv6Address, link_local: IPv6Address | None) -> bytes:
    """An unsolicited neighbor advertisement to all nodes (RFC 4861, 7.2.6), from the link-local address, else from the target."""
    advertisement = NeighborAdvertisement(address, target_link_layer_address=mac)
    return encode_neighbor_advertisement(mac, ALL_NODES_MAC, link_local or address, ALL_NODES, advertisement)
