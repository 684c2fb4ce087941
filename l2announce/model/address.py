"""Network addresses: IP addresses, hardware addresses and the instants of the boot clock."""

from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

Instant: TypeAlias = float
"""Seconds on CLOCK_BOOTTIME, which goes on during suspend. Only kernel/clock.py reads it; everything else is handed ``now``."""

FOREVER: Instant = float("inf")
NEVER: Instant = float("-inf")

BROADCAST_MAC = b"\xff" * 6


def format_mac(mac: bytes) -> str:
    """Six octets as ``02:00:00:00:00:01``."""
    return mac.hex(":")


def parse_mac(text: str) -> bytes:
    """``02:00:00:00:00:01`` as six octets; ValueError for anything else."""
    octets = bytes.fromhex(text.replace(":", " ").replace("-", " "))
    if len(octets) != 6:
        raise ValueError(f"{text!r} is not a hardware address of six octets")
    return octets


def solicited_node_multicast(address: IPv6Address) -> IPv6Address:
    """The solicited-node multicast address of a unicast address: ff02::1:ff plus its last 24 bits (RFC 4291, 2.7.1)."""
    return IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + address.packed[13:])
