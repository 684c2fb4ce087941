"""The channel's messages: what crosses whole, what is refused and how it is said."""

import math
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from l2announce.errors import ChannelError
from l2announce.model.claim import NO_CLAIMS, Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.model.report import AnswerRecord, ConflictRecord, Report
from l2announce.wire import messages
from l2announce.wire.messages import MAX_DATAGRAM, MAX_PARTS, VERSION, Assembler, Kind, encode_claims, encode_report

NAMES = frozenset({"eth0", "eth1"})
CLAIMS = ClaimSet(
    7,
    (
        Claim(IPv4Address("192.0.2.1"), NAMES, 12.5),
        Claim(IPv6Address("2001:db8::1"), frozenset({"eth1"}), float("inf")),
        Claim(IPv4Address("192.0.2.2"), NAMES, -1.0, probe=True),
        Claim(IPv4Address("192.0.2.3"), frozenset(), 1.0),
        Claim(IPv4Address("192.0.2.4"), NAMES, 1.0, held_until=3.0),
        Claim(IPv4Address("192.0.2.5"), NAMES, 2.0, probe=True, held_until=4.0),
    ),
    180.0,
    frozenset({b"\2\0\0\0\0\7", b"\2\0\0\0\0\x08"}),
    2.5,
    0.125,
)
REPORT = Report(
    -1,
    3.25,
    (Link(2, "eth0", b"\2\0\0\0\0\1", False), Link(3, "eth1", b"\2\0\0\0\0\2", True, IPv6Address("fe80::1"))),
    (("answered", 2**40), ("expired", 0)),
    2**33 + 5,
    (AnswerRecord(IPv4Address("192.0.2.1"), "eth0", 5, 2.5, 10), AnswerRecord(IPv6Address("2001:db8::1"), "eth1", 0, float("-inf"), 5)),
    ("link größe: cannot bind",),
    (
        ConflictRecord(IPv4Address("192.0.2.1"), "eth0", b"\2\0\0\0\0\x09", 3, 2.5),
        ConflictRecord(IPv6Address(1), "e", b"123456", 1, 0.0, True),
    ),
)


def many(generation: int) -> ClaimSet:
    return ClaimSet(generation, tuple(Claim(IPv4Address(0x0A000000 + i), NAMES, float(i)) for i in range(10_000)))


def _one_claim(flags: int, held_until: float) -> bytes:
    """The body of a claim set with one claim."""
    claim = struct.pack("!QIHIIdB4s", 1, 1, 0, 1, 0, 1.0, 4, bytes(4))
    return claim + struct.pack("!dddIIBd", 0.0, 0.0, 0.0, 0, 0, flags, held_until)


def feed(assembler: Assembler, *datagrams: bytes) -> list[ClaimSet | Report]:
    return [message for datagram in datagrams for message in assembler.feed(datagram)]


def header(
    magic: bytes = b"l2an", version: int = VERSION, kind: int = Kind.CLAIMS, part: int = 0, parts: int = 1, number: int = 0
) -> bytes:
    return struct.pack("!4sBBHHI", magic, version, kind, part, parts, number)


@pytest.mark.parametrize("claims", [NO_CLAIMS, CLAIMS, many(2**64 - 1)])
def test_claims_arrive_whole(claims: ClaimSet) -> None:
    assert feed(Assembler(), *encode_claims(claims)) == [claims]


@pytest.mark.parametrize("report", [Report(0, 0.0), REPORT])
def test_a_report_arrives_whole(report: Report) -> None:
    (datagram,) = encode_report(report)
    assert feed(Assembler(), datagram) == [report]


def test_claims_with_equal_interfaces_share_them() -> None:
    (one,), (two,) = (encode_claims(ClaimSet(1, CLAIMS.claims[:1] * n)) for n in (1, 2))
    assert len(two) - len(one) == 4 + 8 + 5 + 1


def test_a_great_message_goes_in_parts_that_a_datagram_holds() -> None:
    datagrams = encode_claims(many(1))
    assert len(datagrams) == 3
    assert [len(datagram) for datagram in datagrams[:2]] == [MAX_DATAGRAM, MAX_DATAGRAM]
    assembler = Assembler()
    assert feed(assembler, *datagrams[:2]) == []
    assert feed(assembler, datagrams[2]) == [many(1)]


def test_one_assembler_takes_many_messages() -> None:
    assert feed(Assembler(), *encode_claims(many(1)), *encode_report(REPORT), *encode_claims(CLAIMS)) == [many(1), REPORT, CLAIMS]


def test_a_message_that_was_given_up_is_forgotten() -> None:
    assert feed(Assembler(), *encode_claims(many(1))[:2], *encode_claims(many(2))) == [many(2)]
    assert feed(Assembler(), *encode_claims(many(1))[:2], *encode_report(REPORT)) == [REPORT]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ((1,), "part 1 of 3 of message 1 out of turn"),
        ((0, 2), "part 2 of 3 of message 1 out of turn"),
        ((0, 1, 1), "part 1 of 3 of message 1 out of turn"),
        ((0, 1, 2, 2), "part 2 of 3 of message 1 out of turn"),
    ],
)
def test_parts_out_of_turn_are_refused(order: tuple[int, ...], reason: str) -> None:
    datagrams, assembler = encode_claims(many(1)), Assembler()
    feed(assembler, *(datagrams[i] for i in order[:-1]))
    with pytest.raises(ChannelError, match=reason):
        feed(assembler, datagrams[order[-1]])


def test_a_part_of_another_message_is_refused() -> None:
    assembler = Assembler()
    feed(assembler, encode_claims(many(1))[0])
    with pytest.raises(ChannelError, match="part 1 of 3 of message 2 out of turn"):
        feed(assembler, encode_claims(many(2))[1])


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "datagram of 0 octets: shorter than its header"),
        (header()[:-1], "datagram of 13 octets: shorter than its header"),
        (header(magic=b"GET "), "datagram starts with b'GET ': not a message of l2announce"),
        (
            header(version=VERSION + 1),
            f"message version {VERSION + 1}, but this program speaks {VERSION}: run both processes from one release",
        ),
        (header(version=0), "message version 0"),
        (header(kind=0), "message of kind 0, part 0 of 1"),
        (header(kind=3), "message of kind 3"),
        (header(parts=0), "part 0 of 0"),
        (header(part=1), "part 1 of 1"),
        (header(parts=MAX_PARTS + 1), "part 0 of 4097"),
    ],
)
def test_a_datagram_that_is_not_one_of_ours(datagram: bytes, reason: str) -> None:
    with pytest.raises(ChannelError, match=reason):
        feed(Assembler(), datagram)


def test_the_most_parts_are_allowed() -> None:
    assert feed(Assembler(), header(parts=MAX_PARTS)) == []


@pytest.mark.parametrize("datagram", [*encode_claims(CLAIMS), *encode_report(REPORT)])
def test_a_message_cut_short_or_too_long_is_refused(datagram: bytes) -> None:
    for length in range(len(header()), len(datagram)):
        with pytest.raises(ChannelError, match=r"message of \d+ octets ends within a field at \d+"):
            feed(Assembler(), datagram[:length])
    with pytest.raises(ChannelError, match="octets has 2 too many"):
        feed(Assembler(), datagram + b"!!")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (struct.pack("!QII", 1, 0, 1) + struct.pack("!Id", 0, 1.0), "claim refers to interface set 0 of 0"),
        (struct.pack("!QIHI", 1, 1, 0, 1) + struct.pack("!IdB", 0, 1.0, 5), "an address of IP version 5"),
        (struct.pack("!QIHH", 1, 1, 1, 1) + b"\xff", "a text that is not UTF-8"),
        (struct.pack("!QIHI", 1, 1, 0, 1) + struct.pack("!Id", 0, math.nan), "a deadline that is not a number"),
        *((_one_claim(bits, math.nan), "held until an instant that is not a number") for bits in (2, 3)),
        (_one_claim(4, 0.0), "flags that are unknown"),
        *((struct.pack("!QIId", 1, 0, 0, value), f"a duration of {value} s") for value in (math.nan, math.inf, -1.0)),
    ],
)
def test_values_that_cannot_be(body: bytes, reason: str) -> None:
    with pytest.raises(ChannelError, match=reason):
        feed(Assembler(), header() + body)


def test_after_a_refusal_the_next_message_counts() -> None:
    assembler = Assembler()
    with pytest.raises(ChannelError):
        feed(assembler, header() + b"\0")
    assert feed(assembler, *encode_claims(CLAIMS)) == [CLAIMS]


def test_a_message_of_too_many_parts_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_PARTS", 2)
    with pytest.raises(ChannelError, match="more than 2 parts"):
        encode_claims(many(1))


def test_100_000_claims_stay_far_below_the_bound() -> None:
    claims = tuple(Claim(IPv6Address(i), NAMES, 0.0) for i in range(100_000))
    assert len(encode_claims(ClaimSet(1, claims))) * 10 < MAX_PARTS
