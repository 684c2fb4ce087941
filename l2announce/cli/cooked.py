"""Linux cooked captures, of ``tcpdump -i any``: Ethernet frames rebuilt from LINKTYPE_LINUX_SLL (113) and LINKTYPE_LINUX_SLL2 (276).

A cooked header has the sender's address and the packet type that the kernel gave the frame, and no destination. The engine asks of a
destination only whether it is the link's own or a group; that is what the packet type tells. Nothing is judged here.
"""

import struct
from enum import IntEnum
from ipaddress import IPv6Address
from typing import NamedTuple

from l2announce.errors import DecodeError
from l2announce.wire.ethernet import ETH_P_IPV6, EthernetHeader
from l2announce.wire.icmpv6 import multicast_mac

LINKTYPE_LINUX_SLL = 113
LINKTYPE_LINUX_SLL2 = 276
COOKED = frozenset({LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2})

ARPHRD_ETHER = 1
_HARDWARE = {
    32: "InfiniBand",
    280: "CAN",
    512: "PPP",
    768: "IPv4 tunnel",
    769: "IPv6 tunnel",
    770: "Frame Relay",
    772: "loopback",
    776: "6in4 tunnel",
    778: "GRE or ERSPAN over IPv4",
    801: "802.11",
    803: "802.11 radiotap",
    823: "GRE or ERSPAN over IPv6",
    824: "netlink monitor",
    65534: "no link layer, as of tun and WireGuard",
}
_SLL, _SLL2 = struct.Struct(">HHH8sH"), struct.Struct(">HxxIHBB8s")
_BROADCAST = b"\xff" * 6
_A_GROUP = b"\x01\0\0\0\0\0"
"""Stands for a group that the payload does not tell."""
_ANOTHER_HOST = bytes(6)
"""Stands for the destination of a frame that is not for us: nobody has the address zero."""


class PacketType(IntEnum):
    """What the kernel says of a frame's destination (packet(7)); OUTGOING is sent by this host."""

    HOST = 0
    BROADCAST = 1
    MULTICAST = 2
    OTHERHOST = 3
    OUTGOING = 4


class Cooked(NamedTuple):
    """A cooked frame. ``ifindex`` is that of the interface; None in the first version of the format, which does not tell it."""

    packet_type: int
    hardware_type: int
    source: bytes
    source_length: int
    protocol: int
    ifindex: int | None
    payload: bytes


def decode_cooked(linktype: int, octets: bytes) -> Cooked:
    """Take a frame of either version apart. DecodeError when it is shorter than its header."""
    header = _SLL2 if linktype == LINKTYPE_LINUX_SLL2 else _SLL
    if len(octets) < header.size:
        raise DecodeError(f"{len(octets)} octets: shorter than the {header.size} of a cooked header; capture with tcpdump -s 0")
    payload = octets[header.size :]
    if header is _SLL2:
        protocol, index, hardware_type, packet_type, length, source = _SLL2.unpack_from(octets)
        return Cooked(packet_type, hardware_type, source[:length], length, protocol, index, payload)
    packet_type, hardware_type, length, source, protocol = _SLL.unpack_from(octets)
    return Cooked(packet_type, hardware_type, source[:length], length, protocol, None, payload)


def rebuild_frame(cooked: Cooked, mac: bytes) -> bytes:
    """The Ethernet frame that a link with the address ``mac`` had. The destination of a group is that of the IPv6 group where there is
    one (RFC 2464, 7); where the frame does not tell the destination, any address of the same kind. DecodeError when it was no Ethernet
    frame."""
    if cooked.hardware_type != ARPHRD_ETHER:
        name = _HARDWARE.get(cooked.hardware_type, "unknown")
        raise DecodeError(f"hardware type {cooked.hardware_type} ({name}) is not Ethernet; capture on one interface: tcpdump -i eth0")
    if cooked.source_length != 6:
        raise DecodeError(f"the sender's address has {cooked.source_length} octets, not 6; capture on one interface: tcpdump -i eth0")
    return EthernetHeader(_destination(cooked, mac), cooked.source, cooked.protocol).encode() + cooked.payload


def _destination(cooked: Cooked, mac: bytes) -> bytes:
    match cooked.packet_type:
        case PacketType.HOST:
            return mac
        case PacketType.BROADCAST:
            return _BROADCAST
        case PacketType.MULTICAST:
            return _group(cooked)
        case PacketType.OTHERHOST | PacketType.OUTGOING:
            return _ANOTHER_HOST
    raise DecodeError(f"packet type {cooked.packet_type} is not one of 0 to 4; capture on one interface: tcpdump -i eth0")


def _group(cooked: Cooked) -> bytes:
    destination = cooked.payload[24:40]
    if cooked.protocol == ETH_P_IPV6 and len(destination) == 16 and destination[0] == 0xFF:
        return multicast_mac(IPv6Address(destination))
    return _A_GROUP
