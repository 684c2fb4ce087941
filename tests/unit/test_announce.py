"""The schedule of announcements: offsets, gap, restart, stop. Instants are multiples of a power of two where they are compared exactly."""

from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import pytest

from l2announce.model.address import Address
from l2announce.model.timing import ANNOUNCE_GAP, ANNOUNCE_OFFSETS
from l2announce.responder.announce import AnnouncementSchedule

A, B, C = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), IPv6Address("2001:db8::1")
GAP = 2.0**-10


def run(schedule: AnnouncementSchedule, until: float = float("inf")) -> list[tuple[float, int, Address]]:
    """Handle every timer on time."""
    found: list[tuple[float, int, Address]] = []
    while (timer := schedule.next_timer()) is not None and timer <= until:
        found += [(timer, *key) for key in schedule.due(timer)]
    return found


def test_one_address_goes_out_at_the_offsets_of_timing() -> None:
    schedule = AnnouncementSchedule()
    assert schedule.next_timer() is None
    schedule.start(2, A, 0.0)
    assert [when for when, _, _ in run(schedule)] == list(ANNOUNCE_OFFSETS) == [0.0, 0.2, 1.1, 3.0, 7.0]
    assert schedule.next_timer() is None


def test_nothing_is_due_early() -> None:
    schedule = AnnouncementSchedule()
    schedule.start(2, A, 10.0)
    assert list(schedule.due(9.999)) == []
    assert list(schedule.due(10.0)) == [(2, A)]
    assert list(schedule.due(10.0)) == []
    assert schedule.next_timer() == 10.2


def test_addresses_of_one_link_keep_the_gap_and_links_do_not_wait_for_each_other() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0,), gap=GAP)
    for address in (A, B, C):
        schedule.start(2, address, 8.0)
        schedule.start(3, address, 8.0)
    found = run(schedule)
    for index in (2, 3):
        assert [(when, a) for when, i, a in found if i == index] == [(8.0, A), (8.0 + GAP, B), (8.0 + 2 * GAP, C)]


def test_a_failover_of_1000_addresses_is_spread_by_the_gap() -> None:
    """One address a millisecond; the rounds of the first second end after it, and nobody is left out."""
    schedule = AnnouncementSchedule()
    addresses = [IPv4Address(0x0A000000 + i) for i in range(1000)]
    for address in addresses:
        schedule.start(2, address, 0.0)
    found = run(schedule)
    times = [when for when, _, _ in found]
    assert [address for _, _, address in found[:200]] == addresses[:200], "first come, first served"
    assert all(later - earlier > ANNOUNCE_GAP * 0.99 for earlier, later in pairwise(times))
    first = {address: when for when, _, address in reversed(found)}
    assert set(first) == set(addresses)
    assert max(first.values()) < 1.2, "the second round of the early ones is mixed in"
    for address in addresses:
        mine = [when for when, _, a in found if a == address]
        assert 4 <= len(mine) <= 5
        assert 7.0 <= mine[-1] < 8.1


def test_offsets_that_have_passed_are_skipped() -> None:
    schedule = AnnouncementSchedule()
    schedule.start(2, A, 0.0)
    assert list(schedule.due(2.0)) == [(2, A)]
    assert [when for when, _, _ in run(schedule)] == [3.0, 7.0]
    schedule.start(2, A, 10.0)
    assert list(schedule.due(100.0)) == [(2, A)], "the round ends with it"
    assert schedule.next_timer() is None


def test_an_offset_that_is_just_due_is_skipped_too() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0, 2.0), gap=GAP)
    schedule.start(2, A, 0.0)
    assert list(schedule.due(1.0)) == [(2, A)]
    assert schedule.next_timer() == 2.0


def test_a_late_caller_is_given_what_was_reserved_meanwhile_and_no_more() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0,), gap=GAP)
    for i in range(10):
        schedule.start(2, IPv4Address(i), 0.0)
    assert len(list(schedule.due(0.0))) == 1
    assert len(list(schedule.due(4.5 * GAP))) == 4
    assert schedule.next_timer() == 5 * GAP


def test_a_stopped_round_is_silent() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0), gap=GAP)
    schedule.start(2, A, 0.0)
    schedule.start(2, B, 0.0)
    schedule.start(3, A, 0.0)
    assert list(schedule.due(0.0)) == [(2, A), (3, A)]
    schedule.stop(2, A)
    schedule.stop(2, B)
    schedule.stop(2, C)
    assert list(schedule.due(0.5)) == [], "B was reserved and is skipped"
    assert run(schedule) == [(1.0, 3, A)]


def test_a_round_begins_anew() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0), gap=GAP)
    schedule.start(2, A, 0.0)
    assert list(schedule.due(0.0)) == [(2, A)]
    schedule.start(2, A, 0.5)
    assert [when for when, _, _ in run(schedule)] == [0.5, 1.5]


def test_stop_then_start_forgets_the_reservation() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0,), gap=GAP)
    schedule.start(2, A, 0.0)
    schedule.start(2, B, 0.0)
    assert list(schedule.due(0.0)) == [(2, A)]
    schedule.stop(2, B)
    schedule.start(2, B, 0.0)
    assert run(schedule) == [(2 * GAP, 2, B)], "the moment that it had been given stays unused"


@pytest.mark.parametrize("count", [1, 7])
def test_starting_again_and_again_sends_one_round(count: int) -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0), gap=GAP)
    for _ in range(count):
        schedule.start(2, A, 4.0)
    assert [when for when, _, _ in run(schedule)] == [4.0, 5.0]


def test_leftovers_of_a_round_begun_anew_do_not_count() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0), gap=GAP)
    for address in (A, B, A):
        schedule.start(2, address, 0.0)
    assert list(schedule.due(0.0)) == [(2, B)], "A has gone to the end of the queue"
    assert run(schedule) == [(GAP, 2, A), (1.0, 2, B), (1.0 + GAP, 2, A)]
