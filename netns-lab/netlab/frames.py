"""The frames that the lab's prober sends and that its analysis reads: ARP (RFC 826) and Neighbor Discovery (RFC 4861).

Written apart from l2announce's own codec on purpose: what is measured must not be read with the code under test. Octets that are no such
frame give None; nothing here judges them further.
"""

import socket
import struct
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

BROADCAST = b"\xff" * 6
ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
SOLICITED = 0x40


class Kind(Enum):
    """What a frame is to the lab."""

    ASK = "ask"
    ANSWER = "answer"
    ANNOUNCEMENT = "announcement"


@dataclass(frozen=True, slots=True)
class Resolution:
    """One ask, answer or announcement. ``address`` is the one it is about, ``mac`` whose it is said to be (of an ask: the asker's),
    ``asker`` who asked or is answered (None for announcements and for probes without a sender)."""

    kind: Kind
    address: Address
    mac: bytes
    asker: Address | None


def parse(frame: bytes) -> Resolution | None:
    """Read an Ethernet frame without VLAN tag; None when it is neither ARP nor a neighbor solicitation or advertisement."""
    ethertype = int.from_bytes(frame[12:14], "big")
    if ethertype == ETHERTYPE_ARP and len(frame) >= 42:
        return _parse_arp(frame)
    if ethertype == ETHERTYPE_IPV6 and len(frame) >= 78 and frame[20] == socket.IPPROTO_ICMPV6:
        return _parse_ndp(frame)
    return None


def _parse_arp(frame: bytes) -> Resolution | None:
    opcode, sender_mac, sender, _, target = struct.unpack_from("!6xH6s4s6s4s", frame, 14)
    if opcode not in {1, 2}:
        return None
    if sender == target:
        return Resolution(Kind.ANNOUNCEMENT, IPv4Address(sender), sender_mac, None)
    if opcode == 1:
        return Resolution(Kind.ASK, IPv4Address(target), sender_mac, IPv4Address(sender) if any(sender) else None)
    return Resolution(Kind.ANSWER, IPv4Address(sender), sender_mac, IPv4Address(target))


def _parse_ndp(frame: bytes) -> Resolution | None:
    source, destination = IPv6Address(frame[22:38]), IPv6Address(frame[38:54])
    icmp_type, flags, target = frame[54], frame[58], IPv6Address(frame[62:78])
    if icmp_type == 135:
        return Resolution(Kind.ASK, target, frame[6:12], None if source.is_unspecified else source)
    if icmp_type != 136:
        return None
    mac = frame[80:86] if len(frame) >= 86 and frame[78] == 2 else frame[6:12]
    if flags & SOLICITED:
        return Resolution(Kind.ANSWER, target, mac, destination)
    return Resolution(Kind.ANNOUNCEMENT, target, mac, None)


@dataclass(frozen=True, slots=True)
class Echo:
    """The reply to datagram ``number`` of the prober's traffic: from which service address, and by which sender's MAC it came."""

    address: Address
    number: int
    mac: bytes


def parse_echo(frame: bytes, port: int) -> Echo | None:
    """Read a UDP datagram from ``port`` with four octets or more; None for anything else, also for IPv4 with options."""
    ethertype = frame[12:14]
    if ethertype == b"\x08\x00" and frame[14:15] == b"\x45" and frame[23] == socket.IPPROTO_UDP:
        address: Address = IPv4Address(frame[26:30])
        datagram = frame[34:]
    elif ethertype == b"\x86\xdd" and frame[20:21] == b"\x11":
        address = IPv6Address(frame[22:38])
        datagram = frame[54:]
    else:
        return None
    if len(datagram) < 12 or int.from_bytes(datagram[:2], "big") != port:
        return None
    return Echo(address, int.from_bytes(datagram[8:12], "big"), frame[6:12])


def ask(address: Address, asker: Address, mac: bytes) -> bytes:
    """The frame by which ``asker`` asks everyone for ``address``: a broadcast ARP request, or a solicitation to the solicited-node group.

    Both addresses must be of one family.
    """
    if isinstance(address, IPv4Address):
        body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, asker.packed, bytes(6), address.packed)
        return BROADCAST + mac + ETHERTYPE_ARP.to_bytes(2, "big") + body
    group = IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + address.packed[13:])
    message = struct.pack("!BBHI16sBB6s", 135, 0, 0, 0, address.packed, 1, 1, mac)
    pseudo_header = asker.packed + group.packed + struct.pack("!II", len(message), socket.IPPROTO_ICMPV6)
    message = message[:2] + internet_checksum(pseudo_header + message).to_bytes(2, "big") + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), socket.IPPROTO_ICMPV6, 255) + asker.packed + group.packed
    return b"\x33\x33" + group.packed[12:] + mac + ETHERTYPE_IPV6.to_bytes(2, "big") + header + message


def internet_checksum(octets: bytes) -> int:
    """RFC 1071, over an even number of octets."""
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
