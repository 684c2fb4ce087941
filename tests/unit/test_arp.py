"""ARP packets on examples, octet by octet; tests/property/test_wire_properties.py compares with scapy."""

from ipaddress import IPv4Address

import pytest

from l2announce.errors import DecodeError
from l2announce.wire.arp import NO_MAC, REPLY, REQUEST, ArpPacket, arp_announcements, arp_reply, decode_arp, encode_arp

MAC, ASKER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
OURS, THEIRS, NOBODY = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), IPv4Address(0)
REQUEST_OCTETS = bytes.fromhex("0001 0800 06 04 0001 020000000002 c0000202 000000000000 c0000201")


def test_a_request() -> None:
    packet = ArpPacket(REQUEST, ASKER, THEIRS, NO_MAC, OURS)
    assert encode_arp(packet) == REQUEST_OCTETS
    assert decode_arp(REQUEST_OCTETS + bytes(18)) == packet


def test_a_reply_goes_to_the_sender_of_the_request() -> None:
    reply = arp_reply(MAC, OURS, decode_arp(REQUEST_OCTETS))
    assert reply == bytes.fromhex("020000000002 020000000001 0806 0001 0800 06 04 0002 020000000001 c0000201 020000000002 c0000202")


def test_both_forms_of_an_announcement() -> None:
    request, reply = arp_announcements(MAC, OURS)
    assert request == bytes.fromhex("ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000201")
    assert reply == bytes.fromhex("ffffffffffff 020000000001 0806 0001 0800 06 04 0002 020000000001 c0000201 020000000001 c0000201")


@pytest.mark.parametrize(
    ("packet", "probe", "announcement"),
    [
        (ArpPacket(REQUEST, ASKER, NOBODY, NO_MAC, OURS), True, False),
        (ArpPacket(REQUEST, ASKER, OURS, NO_MAC, OURS), False, True),
        (ArpPacket(REQUEST, ASKER, THEIRS, NO_MAC, OURS), False, False),
        (ArpPacket(REPLY, ASKER, NOBODY, NO_MAC, OURS), False, False),
        (ArpPacket(REPLY, ASKER, OURS, NO_MAC, OURS), False, False),
    ],
)
def test_probes_and_announcements_are_requests(packet: ArpPacket, probe: bool, announcement: bool) -> None:
    assert (packet.is_probe, packet.is_announcement) == (probe, announcement)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("0006 0800 06 04", "hardware type 6, protocol type 0x0800, lengths 6 and 4"),
        ("0001 86dd 06 04", "hardware type 1, protocol type 0x86dd"),
        ("0001 0800 08 04", "lengths 8 and 4"),
        ("0001 0800 06 10", "lengths 6 and 16: not IPv4 over Ethernet"),
    ],
)
def test_other_hardware_and_protocols_are_refused(start: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode_arp(bytes.fromhex(start) + REQUEST_OCTETS[6:])


@pytest.mark.parametrize("length", [0, 27])
def test_a_short_packet_is_refused(length: int) -> None:
    with pytest.raises(DecodeError, match=f"ARP packet of {length} octets: shorter than 28"):
        decode_arp(REQUEST_OCTETS[:length])
