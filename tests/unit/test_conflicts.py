"""Conflicts on their way from the responder's report to people: when one begins, when it is over, how it is said."""

from ipaddress import IPv4Address

from l2announce.agent.conflicts import Conflicts
from l2announce.cli.conflicts import conflict_lines
from l2announce.cli.who import _is_held_back
from l2announce.model.address import Address
from l2announce.model.report import ConflictRecord
from l2announce.model.status import AddressStatus, ConflictStatus
from l2announce.model.timing import CONFLICT_MEMORY

A, B = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
MAC, OTHER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"


def record(address: Address = A, mac: bytes = MAC, last: float = 0.0, interface: str = "eth0", held_back: bool = False) -> ConflictRecord:
    return ConflictRecord(address, interface, mac, 3, last, held_back)


def test_a_conflict_begins_once_with_each_stranger_and_anew_after_peace() -> None:
    conflicts = Conflicts()
    assert conflicts.note(record())
    assert not conflicts.note(record(last=CONFLICT_MEMORY))
    assert conflicts.note(record(last=CONFLICT_MEMORY, mac=OTHER))
    assert conflicts.note(record(last=CONFLICT_MEMORY, interface="eth1"))
    assert conflicts.note(record(address=B))
    assert conflicts.note(record(last=2.5 * CONFLICT_MEMORY, mac=OTHER))


def test_a_conflict_is_shown_for_a_while_even_if_it_was_held_back_when_its_claim_went() -> None:
    conflicts = Conflicts()
    conflicts.note(record())
    conflicts.note(record(address=B, held_back=True))
    assert conflicts.of(A, 3.0) == (ConflictStatus("eth0", "02:00:00:00:00:01", 3, 3.0),)
    assert conflicts.of(A, CONFLICT_MEMORY + 1) == ()
    assert conflicts.of(B, CONFLICT_MEMORY)[0].held_back
    assert conflicts.of(B, CONFLICT_MEMORY + 1) == ()
    conflicts.keep([A])
    assert conflicts.of(B, 1.0) == ()
    assert conflicts.of(A, 1.0)


def test_what_people_read() -> None:
    shown = AddressStatus(
        "192.0.2.1",
        interfaces=("eth0", "eth1"),
        conflicts=(ConflictStatus("eth0", "02:00:00:00:00:01", 3, 2.6), ConflictStatus("eth1", "02:00:00:00:00:02", 1, 0.0, True)),
    )
    assert list(conflict_lines(shown)) == [
        "192.0.2.1: CONFLICT with 02:00:00:00:00:01 on eth0, 3 times, last 3 s ago",
        "192.0.2.1: CONFLICT with 02:00:00:00:00:02 on eth1, once, last 0 s ago; not announced there while it answers: "
        "take the address off that host",
    ]
    assert not _is_held_back(shown)
    assert _is_held_back(AddressStatus("192.0.2.1", interfaces=("eth1",), conflicts=shown.conflicts))
    assert not _is_held_back(AddressStatus("192.0.2.1"))
