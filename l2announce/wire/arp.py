"""ARP for IPv4 over Ethernet (RFC 826), with the announcements and probes of RFC 5227. Does not decide what to answer."""

import struct
from ipaddress import IPv4Address
from typing import NamedTuple

from l2announce.errors import DecodeError
from l2announce.model.address import BROADCAST_MAC
from l2announce.wire.ethernet import ETH_P_ARP, ETH_P_IP, HEADER_LENGTH, EthernetHeader

REQUEST = 1
REPLY = 2
PACKET_LENGTH = 28
FRAME_LENGTH = HEADER_LENGTH + PACKET_LENGTH

UNSPECIFIED = IPv4Address(0)
NO_MAC = bytes(6)

_PACKET = struct.Struct("!HHBBH6s4s6s4s")
_HARDWARE_ETHERNET = 1


class ArpPacket(NamedTuple):
    """The fields of an ARP packet whose hardware is Ethernet and whose protocol is IPv4."""

    opcode: int
    sender_hardware_address: bytes
    sender_protocol_address: IPv4Address
    target_hardware_address: bytes
    target_protocol_address: IPv4Address

    @property
    def is_probe(self) -> bool:
        """RFC 5227, 1.1: a request whose sender has no address yet."""
        return self.opcode == REQUEST and self.sender_protocol_address == UNSPECIFIED

    @property
    def is_announcement(self) -> bool:
        """RFC 5227, 1.1: a request for the sender's own address."""
        return self.opcode == REQUEST and self.sender_protocol_address == self.target_protocol_address


def encode_arp(packet: ArpPacket) -> bytes:
    """The 28 octets of ``packet``."""
    opcode, sha, spa, tha, tpa = packet
    return _PACKET.pack(_HARDWARE_ETHERNET, ETH_P_IP, 6, 4, opcode, sha, spa.packed, tha, tpa.packed)


def decode_arp(octets: bytes) -> ArpPacket:
    """The packet at the start of ``octets`` (an Ethernet payload; padding after it is allowed). DecodeError when it is too short, or is
    ARP for other hardware or another protocol."""
    if len(octets) < PACKET_LENGTH:
        raise DecodeError(f"ARP packet of {len(octets)} octets: shorter than {PACKET_LENGTH}")
    hardware_type, protocol_type, hardware_length, protocol_length, opcode, sha, spa, tha, tpa = _PACKET.unpack_from(octets)
    if (hardware_type, protocol_type, hardware_length, protocol_length) != (_HARDWARE_ETHERNET, ETH_P_IP, 6, 4):
        raise DecodeError(
            f"ARP for hardware type {hardware_type}, protocol type {protocol_type:#06x}, lengths {hardware_length} and {protocol_length}: "
            "not IPv4 over Ethernet"
        )
    return ArpPacket(opcode, sha, IPv4Address(spa), tha, IPv4Address(tpa))


def arp_reply(mac: bytes, address: IPv4Address, request: ArpPacket) -> bytes:
    """The frame that answers ``request``: unicast to the request's sender hardware address (RFC 826)."""
    to = request.sender_hardware_address
    return EthernetHeader(to, mac, ETH_P_ARP).encode() + encode_arp(ArpPacket(REPLY, mac, address, to, request.sender_protocol_address))


def arp_probe(mac: bytes, address: IPv4Address) -> bytes:
    """The frame that asks, from nobody, whether somebody has ``address`` (RFC 5227, 2.1.1)."""
    return EthernetHeader(BROADCAST_MAC, mac, ETH_P_ARP).encode() + encode_arp(ArpPacket(REQUEST, mac, UNSPECIFIED, NO_MAC, address))


def arp_announcements(mac: bytes, address: IPv4Address) -> tuple[bytes, bytes]:
    """Both forms of a gratuitous ARP frame: the request of RFC 5227 with target hardware address zero, and the reply of RFC 5944, 4.6.

    In the reply the target hardware address equals the sender's: Linux takes that one within its neighbor locktime, but not one with
    ff:ff:ff:ff:ff:ff.
    """
    header = EthernetHeader(BROADCAST_MAC, mac, ETH_P_ARP).encode()
    return (
        header + encode_arp(ArpPacket(REQUEST, mac, address, NO_MAC, address)),
        header + encode_arp(ArpPacket(REPLY, mac, address, mac, address)),
    )
