"""The responder's netlink decoder against dumps and events of a kernel, with pyroute2 as the judge of the same octets.

data/rtnetlink.json holds, in hex, the datagrams of a dump of links and of IPv6 addresses, and events, recorded in a namespace with a veth
pair and a bridge (little-endian host).
"""

import json
import struct
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from pyroute2.netlink.rtnl.iprsocket import MarshalRtnl

from l2announce.errors import DecodeError
from l2announce.wire.rtnetlink import (
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

RECORDED: dict[str, list[str]] = json.loads((Path(__file__).parent / "data" / "rtnetlink.json").read_text())
DATAGRAMS = [bytes.fromhex(text) for texts in RECORDED.values() for text in texts]
TENTATIVE_OR_FAILED = 0x48


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def link_body(*attributes: bytes, family: int = 0, index: int = 3) -> bytes:
    return struct.pack("=BxHiII", family, 1, index, IFF_UP, 0) + b"".join(attributes)


def address_body(*attributes: bytes, family: int = 10, flags: int = 0) -> bytes:
    return struct.pack("=BBBBI", family, 64, flags, 0, 3) + b"".join(attributes)


def decoded(octets: bytes) -> list[Message]:
    return list(decode_messages(octets))


def judged(judge: Any) -> Message | None:
    """What pyroute2 read, in our words; None for what we skip."""
    kind = judge["header"]["type"]
    if kind == 3:
        return DumpDone()
    if kind in (16, 17):
        if judge["family"] != 0:
            return None
        if kind == 17:
            return LinkRemoved(judge["index"])
        slave_kind = judge.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_KIND") or ""
        mac = bytes.fromhex(judge.get_attr("IFLA_ADDRESS").replace(":", ""))
        name, master = judge.get_attr("IFLA_IFNAME"), judge.get_attr("IFLA_MASTER")
        return LinkChanged(judge["index"], name, judge["ifi_type"], judge["flags"], mac, master, slave_kind, judge.get("mtu") or 0)
    usable = kind == 20 and not judge.get_attr("IFA_FLAGS") & TENTATIVE_OR_FAILED
    return AddressChanged(judge["index"], IPv6Address(judge.get_attr("IFA_ADDRESS")), usable)


@pytest.mark.parametrize("datagram", DATAGRAMS, ids=lambda octets: f"{len(octets)} octets")
def test_a_recorded_datagram_means_what_pyroute2_reads(datagram: bytes) -> None:
    expected = [judged(judge) for judge in MarshalRtnl().parse(datagram)]
    assert expected
    assert decoded(datagram) == [value for value in expected if value is not None]


def test_the_recorded_dump_of_links() -> None:
    found = {m.name: m for text in RECORDED["links"] for m in decoded(bytes.fromhex(text)) if isinstance(m, LinkChanged)}
    assert set(found) == {"lo", "br0", "v0", "v1"}
    assert found["lo"].flags & IFF_LOOPBACK
    assert found["v1"].flags & IFF_LOWER_UP
    assert (found["v0"].master, found["v0"].slave_kind) == (found["br0"].ifindex, "bridge")
    assert (found["v1"].master, found["v1"].slave_kind) == (None, "")
    assert decoded(bytes.fromhex(RECORDED["links"][-1])) == [DumpDone()]


def test_the_recorded_dump_of_addresses() -> None:
    found = [m for text in RECORDED["addresses"] for m in decoded(bytes.fromhex(text)) if isinstance(m, AddressChanged)]
    assert AddressChanged(3, IPv6Address("fd00::1"), True) in found
    assert AddressChanged(2, IPv6Address("fd00::2"), False) in found, "tentative at that moment"


def test_a_link_that_leaves_its_bridge_is_not_gone() -> None:
    """The kernel sends RTM_DELLINK of family AF_BRIDGE then."""
    assert decoded(message(17, link_body(family=7))) == []
    assert decoded(message(16, link_body(attribute(3, b"v0\0"), family=7))) == []
    assert decoded(message(17, link_body())) == [LinkRemoved(3)]


def test_requests_ask_for_whole_dumps() -> None:
    links, addresses = dump_links(7), dump_ipv6_addresses(8)
    assert struct.unpack_from("=IHHII", links) == (len(links), 18, 0x301, 7, 0)
    assert links[16:] == bytes(16)
    assert struct.unpack_from("=IHHII", addresses) == (len(addresses), 22, 0x301, 8, 0)
    assert addresses[16:] == b"\x0a" + bytes(7)


def test_any_message_of_a_dump_may_say_that_it_was_interrupted() -> None:
    assert decoded(message(3, bytes(4))) == [DumpDone()]
    assert decoded(message(3, bytes(4), flags=0x10 | 0x2)) == [DumpInterrupted(), DumpDone()]
    assert decoded(message(16, link_body(), flags=0x10 | 0x2))[0] == DumpInterrupted()
    assert decoded(message(20, bytes(8), flags=0x10 | 0x2)) == [DumpInterrupted()]


def test_an_error_is_a_positive_errno() -> None:
    assert decoded(message(2, struct.pack("=i", -19) + bytes(16))) == [NetlinkError(19)]
    assert decoded(message(2, struct.pack("=i", 0))) == [NetlinkError(0)]


def test_unknown_messages_and_attributes_are_skipped() -> None:
    octets = message(24, bytes(12)) + message(16, link_body(attribute(999, b"xyz"), attribute(3 | 0x8000, b"eth0\0")))
    assert decoded(octets) == [LinkChanged(3, "eth0", 1, IFF_UP, b"", None, "")]


def test_a_message_is_followed_by_the_next_multiple_of_four() -> None:
    odd = message(16, link_body(struct.pack("=HH", 6, 3) + b"a\0"))
    assert len(odd) % 4 == 2
    assert [type(m) for m in decoded(odd + bytes(2) + message(3, bytes(4)))] == [LinkChanged, DumpDone]


def test_a_vrf_port_and_its_master() -> None:
    info = attribute(18, attribute(4, b"vrf\0"))
    (link,) = decoded(message(16, link_body(attribute(3, b"eth0\0"), attribute(10, struct.pack("=I", 9)), info)))
    assert isinstance(link, LinkChanged)
    assert (link.master, link.slave_kind) == (9, "vrf")


def test_a_point_to_point_address_is_the_local_one() -> None:
    local, peer = IPv6Address("fd00::1"), IPv6Address("fd00::2")
    assert decoded(message(20, address_body(attribute(1, peer.packed), attribute(2, local.packed)))) == [AddressChanged(3, local, True)]


@pytest.mark.parametrize(("flags", "usable"), [(0, True), (0x80, True), (0x40, False), (0x08, False), (0x48, False)])
def test_tentative_and_duplicate_addresses_are_not_usable(flags: int, usable: bool) -> None:
    address = IPv6Address("fe80::1")
    assert decoded(message(20, address_body(attribute(1, address.packed), flags=flags))) == [AddressChanged(3, address, usable)]
    wide = attribute(8, struct.pack("=I", flags))
    assert decoded(message(20, address_body(attribute(1, address.packed), wide))) == [AddressChanged(3, address, usable)]
    assert decoded(message(21, address_body(attribute(1, address.packed), wide))) == [AddressChanged(3, address, False)]


def test_addresses_of_other_families_are_skipped() -> None:
    assert decoded(message(20, address_body(attribute(1, bytes(4)), family=2))) == []
    assert decoded(message(20, address_body())) == []


def test_a_rest_shorter_than_a_header_is_no_message() -> None:
    assert decoded(bytes(15)) == []


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (struct.pack("=IHHII", 15, 3, 0, 0, 0), "netlink message of length 15 in the last 16 octets"),
        (struct.pack("=IHHII", 17, 3, 0, 0, 0), "netlink message of length 17 in the last 16 octets"),
        (message(16, bytes(15)), "link message of 15 octets: shorter than 16"),
        (message(20, bytes(7)), "address message of 7 octets: shorter than 8"),
        (message(2, bytes(3)), "number of 3 octets: shorter than 4"),
        (message(16, link_body(attribute(10, b"\1"))), "number of 1 octets: shorter than 4"),
        (message(16, link_body(struct.pack("=HH", 3, 3))), "attribute 3 of length 3 in the last 4 octets"),
        (message(16, link_body(struct.pack("=HH", 5, 3 | 0x8000))), "attribute 3 of length 5 in the last 4 octets"),
    ],
)
def test_lengths_that_run_past_the_end_are_refused(octets: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decoded(octets)


def test_what_came_before_a_bad_message_counts() -> None:
    messages = decode_messages(message(17, link_body()) + message(16, bytes(3)))
    assert next(messages) == LinkRemoved(3)
    with pytest.raises(DecodeError):
        next(messages)
