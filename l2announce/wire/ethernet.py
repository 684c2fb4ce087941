"""Ethernet II headers (RFC 894): destination, source, EtherType. VLAN tags are seen as the EtherType they are and not looked through."""

from typing import NamedTuple

from l2announce.errors import DecodeError

HEADER_LENGTH = 14
ETH_P_IP = 0x0800
ETH_P_ARP = 0x0806
ETH_P_8021Q = 0x8100
ETH_P_8021AD = 0x88A8
ETH_P_IPV6 = 0x86DD
VLAN_TYPES = frozenset({ETH_P_8021Q, ETH_P_8021AD})


class EthernetHeader(NamedTuple):
    """The fourteen octets before a payload."""

    destination: bytes
    source: bytes
    ethertype: int

    def encode(self) -> bytes:
        """The header on the wire."""
        return self.destination + self.source + self.ethertype.to_bytes(2, "big")


def decode_ethernet(frame: bytes) -> EthernetHeader:
    """The header of ``frame``; DecodeError when it has fewer than fourteen octets."""
    if len(frame) < HEADER_LENGTH:
        raise DecodeError(f"frame of {len(frame)} octets: shorter than an Ethernet header")
    return EthernetHeader(frame[0:6], frame[6:12], int.from_bytes(frame[12:14], "big"))


def is_group(mac: bytes) -> bool:
    """True for broadcast and multicast hardware addresses (the I/G bit)."""
    return bool(mac[0] & 1)


def without_priority_tag(frame: bytes) -> bytes:
    """The frame without a tag of VLAN 0, which names a priority and no VLAN (IEEE 802.1Q, 6.9.1), as Linux hands it to packet sockets."""
    is_tagged = int.from_bytes(frame[12:14], "big") in VLAN_TYPES and len(frame) >= HEADER_LENGTH + 4
    return frame[:12] + frame[16:] if is_tagged and int.from_bytes(frame[14:16], "big") & 0xFFF == 0 else frame
