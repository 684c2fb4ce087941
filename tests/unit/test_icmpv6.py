"""Neighbor messages: every receive check of RFC 4861, 7.1, on its own, and the forms of our answers."""

from ipaddress import IPv6Address

import pytest

from l2announce.errors import DecodeError
from l2announce.wire.checksum import complement, word_sum
from l2announce.wire.icmpv6 import (
    ALL_NODES,
    ALL_NODES_MAC,
    UNSPECIFIED,
    NeighborAdvertisement,
    NeighborSolicitation,
    decode_neighbor_advertisement,
    decode_neighbor_solicitation,
    encode_neighbor_advertisement,
    encode_neighbor_solicitation,
    multicast_mac,
    neighbor_announcement,
    neighbor_reply,
)

MAC, ASKER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
TARGET, SOURCE, LINK_LOCAL = IPv6Address("2001:db8::1"), IPv6Address("fe80::2"), IPv6Address("fe80::1")
GROUP, ROUTERS = IPv6Address("ff02::1:ff00:1"), IPv6Address("ff02::2")
ASKED = NeighborSolicitation(SOURCE, GROUP, TARGET, ASKER)
DETECTION = NeighborSolicitation(UNSPECIFIED, GROUP, TARGET, None)


def solicitation(asked: NeighborSolicitation = ASKED) -> bytes:
    return encode_neighbor_solicitation(ASKER, multicast_mac(GROUP), asked)


def summed(frame: bytes) -> bytes:
    """``frame`` with its checksum made right."""
    body = frame[54:56] + b"\0\0" + frame[58:]
    total = word_sum(frame[22:54]) + len(body) + 58 + word_sum(body + bytes(len(body) % 2))
    return frame[:18] + len(body).to_bytes(2, "big") + frame[20:56] + complement(total) + body[4:]


def changed(frame: bytes, at: int, octets: bytes) -> bytes:
    return summed(frame[:at] + octets + frame[at + len(octets) :])


def test_a_solicitation_on_the_wire() -> None:
    frame = solicitation()
    assert frame[:22] == bytes.fromhex("3333ff000001 020000000002 86dd 60000000 0020 3a ff")
    assert frame[22:54] == SOURCE.packed + GROUP.packed
    assert frame[54:56] + frame[58:] == bytes.fromhex("8700 00000000") + TARGET.packed + bytes.fromhex("0101 020000000002")
    assert decode_neighbor_solicitation(frame) == ASKED


def test_padding_after_the_payload_is_allowed() -> None:
    assert decode_neighbor_solicitation(solicitation() + b"padding") == ASKED
    assert decode_neighbor_solicitation(solicitation(DETECTION) + b"!") == DETECTION


def test_unknown_options_and_repeated_ones() -> None:
    frame = summed(solicitation() + bytes.fromhex("0e01 aabbccddeeff 0101 020000000007"))
    assert decode_neighbor_solicitation(frame) == ASKED


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (solicitation()[:77], "frame of 77 octets: too short"),
        (b"", "frame of 0 octets: too short"),
        (changed(solicitation(), 14, b"\x40"), "IP version 4 in a frame of type IPv6"),
        (changed(solicitation(), 20, b"\x2c"), "next header 44: not ICMPv6"),
        (solicitation()[:-1], "payload length 32: the frame holds 31"),
        (solicitation()[:18] + b"\0\x17" + solicitation()[20:], "ICMPv6 length 23: below 24"),
        (changed(solicitation(), 21, b"\xfe"), "hop limit 254: not 255"),
        (solicitation()[:56] + b"\0\0" + solicitation()[58:], "checksum is wrong"),
        (changed(solicitation(), 55, b"\1"), "ICMPv6 code 1: not 0"),
        (changed(solicitation(), 54, b"\x88"), "ICMPv6 type 136: not a neighbor solicitation"),
        (changed(solicitation(), 22, ALL_NODES.packed), "source ff02::1 is a multicast address"),
        (changed(solicitation(), 62, ALL_NODES.packed), "target ff02::1 is a multicast address"),
        (changed(solicitation(), 79, b"\0"), "option 1 of length 0"),
        (changed(solicitation(), 79, b"\2"), "option 1 of length 16: longer than the message"),
        (summed(solicitation() + b"\1"), "option cut short"),
        (changed(summed(solicitation() + bytes(8)), 79, b"\2"), "link-layer address option 1 of 16 octets: Ethernet's has 8"),
        (solicitation(DETECTION._replace(source_link_layer_address=ASKER)), "source :: but a source link-layer address option"),
        (solicitation(DETECTION._replace(destination=ALL_NODES)), "source :: but destination ff02::1"),
        (solicitation(DETECTION._replace(destination=TARGET)), "source :: but destination 2001:db8::1"),
    ],
)
def test_a_solicitation_that_fails_a_check(frame: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode_neighbor_solicitation(frame)


@pytest.mark.parametrize(
    ("advertisement", "flags"),
    [
        (NeighborAdvertisement(TARGET, router=True, override=False), 0x80),
        (NeighborAdvertisement(TARGET, solicited=True, override=False), 0x40),
        (NeighborAdvertisement(TARGET), 0x20),
    ],
)
def test_an_advertisement_and_its_flags(advertisement: NeighborAdvertisement, flags: int) -> None:
    frame = encode_neighbor_advertisement(MAC, ASKER, TARGET, SOURCE, advertisement)
    assert frame[58] == flags
    assert decode_neighbor_advertisement(frame) == advertisement


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (solicitation(), "ICMPv6 type 135: not a neighbor advertisement"),
        (encode_neighbor_advertisement(MAC, ASKER, TARGET, SOURCE, NeighborAdvertisement(ALL_NODES)), "target ff02::1 is a multicast"),
        (
            encode_neighbor_advertisement(MAC, ASKER, TARGET, ALL_NODES, NeighborAdvertisement(TARGET, solicited=True)),
            "solicited flag set towards ff02::1",
        ),
    ],
)
def test_an_advertisement_that_fails_a_check(frame: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode_neighbor_advertisement(frame)


FROM = pytest.mark.parametrize(("link_local", "source"), [(LINK_LOCAL, LINK_LOCAL), (None, TARGET)])


@FROM
def test_the_answer_to_a_solicitation_is_solicited_and_unicast(link_local: IPv6Address | None, source: IPv6Address) -> None:
    frame = neighbor_reply(MAC, ASKER, ASKED, link_local)
    assert (frame[:6], frame[6:12]) == (ASKER, MAC)
    assert frame[22:54] == source.packed + SOURCE.packed
    assert frame[58:] == bytes.fromhex("60000000") + TARGET.packed + b"\2\1" + MAC
    assert decode_neighbor_advertisement(frame) == NeighborAdvertisement(TARGET, False, True, True, MAC)


@FROM
def test_the_answer_to_duplicate_address_detection_goes_to_all_nodes(link_local: IPv6Address | None, source: IPv6Address) -> None:
    """RFC 4861, 7.2.4: Solicited is zero when the source was unspecified."""
    frame = neighbor_reply(MAC, ASKER, DETECTION, link_local)
    assert (frame[:6], frame[6:12]) == (ALL_NODES_MAC, MAC)
    assert frame[22:54] == source.packed + ALL_NODES.packed
    assert frame[58:] == bytes.fromhex("20000000") + TARGET.packed + b"\2\1" + MAC
    assert DETECTION.is_duplicate_address_detection
    assert not ASKED.is_duplicate_address_detection


@FROM
def test_an_announcement_comes_from_the_link_local_address_or_the_target(link_local: IPv6Address | None, source: IPv6Address) -> None:
    frame = neighbor_announcement(MAC, TARGET, link_local)
    assert frame[:12] == ALL_NODES_MAC + MAC
    assert frame[22:54] == source.packed + ALL_NODES.packed
    assert frame[58] == 0x20, "Override, not solicited, no router"
    assert decode_neighbor_advertisement(frame) == NeighborAdvertisement(TARGET, False, False, True, MAC)


def test_the_ethernet_address_of_a_group() -> None:
    assert multicast_mac(ROUTERS) == bytes.fromhex("333300000002")
    assert multicast_mac(ALL_NODES) == ALL_NODES_MAC
