"""Ethernet headers on examples; tests/property/test_wire_properties.py has the rest."""

import pytest

from l2announce.errors import DecodeError
from l2announce.wire.ethernet import ETH_P_8021AD, ETH_P_8021Q, VLAN_TYPES, EthernetHeader, decode_ethernet, is_group


def test_a_header_is_destination_source_type() -> None:
    octets = bytes.fromhex("ffffffffffff 020000000001 0806")
    assert EthernetHeader(b"\xff" * 6, bytes.fromhex("020000000001"), 0x0806).encode() == octets
    assert decode_ethernet(octets) == EthernetHeader(b"\xff" * 6, bytes.fromhex("020000000001"), 0x0806)


def test_a_vlan_tag_is_seen_as_its_type() -> None:
    assert decode_ethernet(bytes(12) + bytes.fromhex("810000050806")).ethertype == ETH_P_8021Q
    assert {ETH_P_8021Q, ETH_P_8021AD} == VLAN_TYPES == {0x8100, 0x88A8}


@pytest.mark.parametrize("length", [0, 13])
def test_a_short_frame_is_refused(length: int) -> None:
    with pytest.raises(DecodeError, match=f"frame of {length} octets: shorter than an Ethernet header"):
        decode_ethernet(bytes(length))


@pytest.mark.parametrize(
    ("mac", "group"),
    [("ffffffffffff", True), ("333300000001", True), ("010000000000", True), ("020000000001", False), ("feffffffffff", False)],
)
def test_the_group_bit(mac: str, group: bool) -> None:
    assert is_group(bytes.fromhex(mac)) is group
