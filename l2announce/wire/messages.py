"""What the two processes of an agent say to each other: ``ClaimSet`` down, ``Report`` up, on SOCK_SEQPACKET.

Each message is one or more datagrams (parts), each small enough for the least socket buffer of Linux. A part starts with a header: magic,
version, kind, part number, number of parts, a number that is the same for all parts of one message. A message counts when its last part has
come; parts of another message in between mean that the first one was given up. No calls, no differences: each message is the whole truth.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from l2announce.errors import ChannelError
from l2announce.model.address import NEVER, Address
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.model.report import AnswerRecord, ConflictRecord, Report

VERSION = 3
MAX_DATAGRAM = 65536
MAX_PARTS = 4096
"""A bound on what the other side can make us remember: 256 MiB, far above 100,000 claims."""

_MAGIC = b"l2an"
_HEADER = struct.Struct("!4sBBHHI")
_MAX_BODY = MAX_DATAGRAM - _HEADER.size


class Kind(IntEnum):
    """The two messages."""

    CLAIMS = 1
    REPORT = 2


class _Writer:
    """Appends values to octets."""

    def __init__(self) -> None:
        self.octets = bytearray()

    def number(self, form: str, *values: float) -> None:
        self.octets += struct.pack("!" + form, *values)

    def text(self, value: str) -> None:
        raw = value.encode()
        self.number("H", len(raw))
        self.octets += raw

    def address(self, address: Address) -> None:
        self.octets.append(address.version)
        self.octets += address.packed


class _Reader:
    """Takes values off octets; ChannelError where they end too early."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.at = 0

    def take(self, length: int) -> bytes:
        piece = self.octets[self.at : self.at + length]
        if len(piece) != length:
            raise ChannelError(f"message of {len(self.octets)} octets ends within a field at {self.at}")
        self.at += length
        return piece

    def integer(self, form: str) -> int:
        value: int = struct.unpack("!" + form, self.take(struct.calcsize("!" + form)))[0]
        return value

    def instant(self) -> float:
        value: float = struct.unpack("!d", self.take(8))[0]
        return value

    def duration(self) -> float:
        value = self.instant()
        if not 0 <= value < math.inf:
            raise ChannelError(f"message holds a duration of {value} s")
        return value

    def text(self) -> str:
        try:
            return self.take(self.integer("H")).decode()
        except UnicodeDecodeError as err:
            raise ChannelError(f"message holds a text that is not UTF-8: {err}") from err

    def address(self) -> Address:
        version = self.integer("B")
        if version == 4:
            return IPv4Address(self.take(4))
        if version == 6:
            return IPv6Address(self.take(16))
        raise ChannelError(f"message holds an address of IP version {version}")

    def end(self) -> None:
        if self.at != len(self.octets):
            raise ChannelError(f"message of {len(self.octets)} octets has {len(self.octets) - self.at} too many")


def encode_claims(claims: ClaimSet) -> list[bytes]:
    """The datagrams that carry ``claims``. Claims with equal interfaces share one entry in a table of interface sets."""
    w = _Writer()
    sets = {interfaces: i for i, interfaces in enumerate(dict.fromkeys(claim.interfaces for claim in claims.claims))}
    w.number("QI", claims.generation, len(sets))
    for interfaces in sets:
        w.number("H", len(interfaces))
        for name in sorted(interfaces):
            w.text(name)
    w.number("I", len(claims.claims))
    for claim in claims.claims:
        w.number("Id", sets[claim.interfaces], claim.deadline)
        w.address(claim.address)
    w.number("dddI", claims.refresh_interval, claims.defend_interval, claims.probe_wait, claims.answer_limit)
    w.number("I", len(claims.peers))
    w.octets += b"".join(sorted(claims.peers))
    w.octets += bytes(claim.probe | (claim.held_until > NEVER) << 1 for claim in claims.claims)
    for claim in claims.claims:
        if claim.held_until > NEVER:
            w.number("d", claim.held_until)
    return _split(Kind.CLAIMS, claims.generation, w.octets)


def _decode_claims(r: _Reader) -> ClaimSet:
    generation = r.integer("Q")
    sets = [frozenset(r.text() for _ in range(r.integer("H"))) for _ in range(r.integer("I"))]
    claims = []
    deadlines: dict[float, float] = {}  # the addresses of one lease have one deadline: one object too
    for _ in range(r.integer("I")):
        index, deadline = r.integer("I"), r.instant()
        deadline = deadlines.setdefault(deadline, deadline)
        if index >= len(sets):
            raise ChannelError(f"claim refers to interface set {index} of {len(sets)}")
        if deadline != deadline:  # NaN would be a deadline that never comes
            raise ChannelError("claim has a deadline that is not a number")
        claims.append(Claim(r.address(), sets[index], deadline))
    refresh, defend, wait, limit = r.duration(), r.duration(), r.duration(), r.integer("I")
    peers = frozenset(r.take(6) for _ in range(r.integer("I")))
    flags = r.take(len(claims))
    claims = [_flagged(claim, bits, r) if bits else claim for claim, bits in zip(claims, flags, strict=True)]
    r.end()
    return ClaimSet(generation, tuple(claims), refresh, peers, defend, wait, limit)


def _flagged(claim: Claim, bits: int, r: _Reader) -> Claim:
    """A claim with what most lack: 1, it is probed for first; 2, it may be held, and until when."""
    held_until = r.instant() if bits & 2 else NEVER
    if bits > 3 or held_until != held_until:
        raise ChannelError("claim has flags that are unknown, or is held until an instant that is not a number")
    return replace(claim, probe=bool(bits & 1), held_until=held_until)


def encode_report(report: Report) -> list[bytes]:
    """The datagrams that carry ``report``."""
    w = _Writer()
    w.number("qdQ", report.generation, report.sent_at, report.announcements)
    w.number("I", len(report.links))
    for link in report.links:
        w.number("I?", link.index, link.carrier)
        w.text(link.name)
        w.octets += link.mac
        w.number("?", link.link_local is not None)
        if link.link_local is not None:
            w.octets += link.link_local.packed
    w.number("I", len(report.verdicts))
    for label, count in report.verdicts:
        w.text(label)
        w.number("Q", count)
    w.number("I", len(report.answered))
    for record in report.answered:
        w.address(record.address)
        w.text(record.interface)
        w.number("QdQ", record.answers, record.last_answer, record.announcements)
    w.number("I", len(report.problems))
    for problem in report.problems:
        w.text(problem)
    w.number("I", len(report.conflicts))
    for conflict in report.conflicts:
        w.address(conflict.address)
        w.text(conflict.interface)
        w.octets += conflict.mac
        w.number("Qd?", conflict.count, conflict.last, conflict.held_back)
    return _split(Kind.REPORT, report.announcements & 0xFFFFFFFF, w.octets)


def _decode_report(r: _Reader) -> Report:
    generation, sent_at, announcements = r.integer("q"), r.instant(), r.integer("Q")
    links = tuple(_decode_link(r) for _ in range(r.integer("I")))
    verdicts = tuple((r.text(), r.integer("Q")) for _ in range(r.integer("I")))
    answered = tuple(AnswerRecord(r.address(), r.text(), r.integer("Q"), r.instant(), r.integer("Q")) for _ in range(r.integer("I")))
    problems = tuple(r.text() for _ in range(r.integer("I")))
    conflicts = tuple(
        ConflictRecord(r.address(), r.text(), r.take(6), r.integer("Q"), r.instant(), bool(r.integer("B"))) for _ in range(r.integer("I"))
    )
    r.end()
    return Report(generation, sent_at, links, verdicts, announcements, answered, problems, conflicts)


def _decode_link(r: _Reader) -> Link:
    index, carrier, name, mac = r.integer("I"), bool(r.integer("B")), r.text(), r.take(6)
    return Link(index, name, mac, carrier, IPv6Address(r.take(16)) if r.integer("B") else None)


def _split(kind: Kind, number: int, body: bytes | bytearray) -> list[bytes]:
    pieces = [bytes(body[at : at + _MAX_BODY]) for at in range(0, len(body), _MAX_BODY)]
    if len(pieces) > MAX_PARTS:
        raise ChannelError(f"message of {len(body)} octets: more than {MAX_PARTS} parts")
    return [_HEADER.pack(_MAGIC, VERSION, kind, part, len(pieces), number & 0xFFFFFFFF) + piece for part, piece in enumerate(pieces)]


class Assembler:
    """Puts the datagrams of one peer together again."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._key: tuple[int, int, int] | None = None

    def feed(self, datagram: bytes) -> Iterator[ClaimSet | Report]:
        """Take one datagram; yield the message that it completes, if it does. ChannelError when it is not one of ours."""
        if len(datagram) < _HEADER.size:
            raise ChannelError(f"datagram of {len(datagram)} octets: shorter than its header")
        magic, version, kind, part, parts, number = _HEADER.unpack_from(datagram)
        if magic != _MAGIC:
            raise ChannelError(f"datagram starts with {magic!r}: not a message of l2announce")
        if version != VERSION:
            raise ChannelError(f"message version {version}, but this program speaks {VERSION}: run both processes from one release")
        if kind not in Kind.__members__.values() or not 0 <= part < parts <= MAX_PARTS:
            raise ChannelError(f"message of kind {kind}, part {part} of {parts}")
        key = (kind, parts, number)
        if part == 0:
            self._parts, self._key = [], key
        if key != self._key or part != len(self._parts):
            raise ChannelError(f"part {part} of {parts} of message {number} out of turn")
        self._parts.append(datagram[_HEADER.size :])
        if part + 1 == parts:
            reader = _Reader(b"".join(self._parts))
            self._parts, self._key = [], None
            yield _decode_claims(reader) if kind == Kind.CLAIMS else _decode_report(reader)
