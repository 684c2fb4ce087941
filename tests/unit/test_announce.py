"""The schedule of announcements: offsets, gap, restart, stop. Instants are multiples of a power of two where they are compared exactly."""

from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import pytest

from l2announce.model.address import Address
from l2announce.model.timing import ANNOUNCE_BURST, ANNOUNCE_GAP, ANNOUNCE_OFFSETS, ANNOUNCE_REFRESH, ANNOUNCE_RETRIES, ANNOUNCE_RETRY
from l2announce.responder.announce import REFRESH_JITTER, AnnouncementSchedule

A, B, C = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), IPv6Address("2001:db8::1")
GAP = 2.0**-10


def run(schedule: AnnouncementSchedule, until: float = float("inf")) -> list[tuple[float, int, Address]]:
    """Handle every timer on time."""
    found: list[tuple[float, int, Address]] = []
    while (timer := schedule.next_timer()) is not None and timer <= until:
        found += [(timer, *key) for key in schedule.due(timer)]
    return found


def assert_capped(times: list[float], gap: float = ANNOUNCE_GAP, burst: int = ANNOUNCE_BURST) -> None:
    """No stretch of time holds more announcements than the burst and what the link earned meanwhile."""
    credit, last = float(burst), -float("inf")
    for when in times:
        credit = min(float(burst), credit + (when - last) / gap) - 1
        last = when
        assert credit > -1e-6, f"at {when}"


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
    schedule = AnnouncementSchedule(offsets=(0.0,), gap=GAP, burst=1)
    for address in (A, B, C):
        schedule.start(2, address, 8.0)
        schedule.start(3, address, 8.0)
    found = run(schedule)
    for index in (2, 3):
        assert [(when, a) for when, i, a in found if i == index] == [(8.0, A), (8.0 + GAP, B), (8.0 + 2 * GAP, C)]


def test_a_failover_of_1000_addresses_is_spread_by_the_gap() -> None:
    """One address a millisecond behind the burst; nobody is announced twice before everybody was once, and nobody is left out."""
    schedule = AnnouncementSchedule()
    addresses = [IPv4Address(0x0A000000 + i) for i in range(1000)]
    for address in addresses:
        schedule.start(2, address, 0.0)
    found = run(schedule)
    times = [when for when, _, _ in found]
    assert [address for _, _, address in found[:1000]] == addresses, "first come, first served, and each once before any twice"
    assert_capped(times)
    assert times[999] < 1.0
    for address in addresses:
        mine = [when for when, _, a in found if a == address]
        assert 3 <= len(mine) <= 5
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
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0, 2.0), gap=GAP, burst=1)
    schedule.start(2, A, 0.0)
    assert list(schedule.due(1.0)) == [(2, A)]
    assert schedule.next_timer() == 2.0


def test_a_late_caller_is_given_the_burst_and_no_more() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0,), gap=GAP, burst=3)
    for i in range(10):
        schedule.start(2, IPv4Address(i), 0.0)
    assert len(list(schedule.due(0.0))) == 3
    assert schedule.next_timer() == GAP
    assert len(list(schedule.due(1.5 * GAP))) == 1
    assert len(list(schedule.due(100.0))) == 3, "however late"
    assert schedule.next_timer() == 100.0 + GAP


def test_a_stopped_round_is_silent() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0), gap=GAP, burst=1)
    schedule.start(2, A, 0.0)
    schedule.start(2, B, 0.0)
    schedule.start(3, A, 0.0)
    assert list(schedule.due(0.0)) == [(2, A), (3, A)]
    schedule.stop(2, A)
    schedule.stop(2, B)
    schedule.stop(2, C)
    assert list(schedule.due(0.5)) == [], "B waited for a token and is skipped"
    assert run(schedule) == [(1.0, 3, A)]


def test_a_round_begins_anew() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0), gap=GAP, burst=1)
    schedule.start(2, A, 0.0)
    assert list(schedule.due(0.0)) == [(2, A)]
    schedule.start(2, A, 0.5)
    assert [when for when, _, _ in run(schedule)] == [0.5, 1.5]


def test_stop_then_start_waits_as_everybody() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0,), gap=GAP, burst=1)
    schedule.start(2, A, 0.0)
    schedule.start(2, B, 0.0)
    assert list(schedule.due(0.0)) == [(2, A)]
    schedule.stop(2, B)
    schedule.start(2, B, 0.0)
    assert run(schedule) == [(GAP, 2, B)]


@pytest.mark.parametrize("count", [1, 7])
def test_starting_again_and_again_sends_one_round(count: int) -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0), gap=GAP, burst=1)
    for _ in range(count):
        schedule.start(2, A, 4.0)
    assert [when for when, _, _ in run(schedule)] == [4.0, 5.0]


def test_leftovers_of_a_round_begun_anew_do_not_count() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0), gap=GAP, burst=1)
    for address in (A, B, A):
        schedule.start(2, address, 0.0)
    assert list(schedule.due(0.0)) == [(2, B)], "A has gone to the end of the queue"
    assert run(schedule) == [(GAP, 2, A), (1.0, 2, B), (1.0 + GAP, 2, A)]


def test_leftovers_do_not_wake_anybody() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0,), gap=GAP, burst=1)
    schedule.start(2, A, 0.0)
    schedule.start(2, B, 0.0)
    assert list(schedule.due(0.0)) == [(2, A)]
    schedule.stop(2, B)
    assert schedule.next_timer() is None


def test_a_link_that_is_gone_owes_nothing() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0,), gap=GAP, burst=1)
    schedule.start(2, A, 0.0)
    assert list(schedule.due(0.0)) == [(2, A)]
    schedule.stop(2, A)
    schedule.forget_link(2)
    schedule.forget_link(9)
    schedule.start(2, A, 0.0)
    assert schedule.next_timer() == 0.0
    assert list(schedule.due(0.0)) == [(2, A)]


# -- refresh


def test_a_held_address_is_refreshed_once_in_each_interval() -> None:
    schedule = AnnouncementSchedule(refresh=ANNOUNCE_REFRESH)
    schedule.start(2, A, 1000.0)
    times = [when for when, _, _ in run(schedule, 20_000.0)]
    assert times[:5] == [1000.0 + offset for offset in ANNOUNCE_OFFSETS]
    refreshes = times[5:]
    assert refreshes[0] - times[4] <= 1.1 * ANNOUNCE_REFRESH
    distances = [after - before for before, after in pairwise(refreshes)]
    assert all((1 - REFRESH_JITTER) * ANNOUNCE_REFRESH <= d <= (1 + REFRESH_JITTER) * ANNOUNCE_REFRESH for d in distances)
    assert len({round(d, 3) for d in distances}) > 50, "jittered"
    assert max(distances) < 300, "below the ageing time of switches"


def test_refreshes_are_spread_over_the_interval_and_the_same_every_time() -> None:
    addresses = [IPv4Address(0x0A000000 + i) for i in range(1000)]

    def refreshes() -> list[tuple[float, int, Address]]:
        schedule = AnnouncementSchedule(refresh=180.0)
        for address in addresses:
            schedule.start(2, address, 0.0)
        return [item for item in run(schedule, 900.0) if item[0] > 360.0]

    found = refreshes()
    assert found == refreshes()
    assert {address for _, _, address in found} == set(addresses)
    times = [when for when, _, _ in found]
    assert_capped(times)
    in_second = [sum(1 for when in times if second <= when < second + 1) for second in range(361, 899)]
    assert max(in_second) <= 25, "1000 in 180 s: 5.6 a second"
    in_tenth = [sum(1 for when in times if start <= when < start + 18) for start in range(361, 850, 18)]
    assert 50 <= min(in_tenth) <= max(in_tenth) <= 160, "100 in each tenth of the interval"


def test_links_have_phases_of_their_own() -> None:
    schedule = AnnouncementSchedule(refresh=180.0)
    schedule.start(2, A, 0.0)
    schedule.start(3, A, 0.0)
    by_link = {index: when for when, index, _ in run(schedule, 190.0) if when > 7.0}
    assert by_link[2] != by_link[3]


def test_a_late_refresh_is_not_made_up_for() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0,), refresh=10.0)
    schedule.start(2, A, 0.0)
    assert list(schedule.due(0.0)) == [(2, A)]
    assert list(schedule.due(1000.0)) == [(2, A)]
    timer = schedule.next_timer()
    assert timer is not None
    assert 1000.0 < timer <= 1011.0


def test_won_addresses_go_before_repetitions_and_those_before_refreshes() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0), gap=GAP, burst=1, refresh=10.0)
    schedule.start(2, A, 0.0)
    assert [address for _, _, address in run(schedule, 1.0)] == [A, A]
    refresh_at = schedule.next_timer()
    assert refresh_at is not None
    schedule.start(2, B, refresh_at - 1.0)
    assert list(schedule.due(refresh_at - 1.0)) == [(2, B)]
    schedule.start(2, C, refresh_at)
    late = refresh_at + 0.25
    found = [list(schedule.due(late + number * GAP)) for number in range(3)]
    assert found == [[(2, C)], [(2, B)], [(2, A)]]


def test_refreshes_can_be_turned_on_and_off() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0))
    schedule.start(2, A, 0.0)
    schedule.start(2, B, 0.5)
    assert len(run(schedule, 1.2)) == 3
    schedule.set_refresh(10.0, 1.2)
    schedule.set_refresh(10.0, 1.2)
    assert [address for _, _, address in run(schedule, 1.5)] == [B], "a round in progress goes on"
    assert {address for _, _, address in run(schedule, 14.0)} == {A, B}
    schedule.set_refresh(0.0, 14.0)
    assert schedule.next_timer() is None
    schedule.start(2, A, 20.0)
    assert [when for when, _, _ in run(schedule)] == [20.0, 21.0]


# -- once more, and failures


def test_an_address_can_be_announced_once_more() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0, 1.0), gap=GAP, burst=1)
    schedule.again(2, A, 0.0)
    assert schedule.next_timer() is None, "no round was ever started"
    schedule.start(2, A, 0.0)
    assert len(run(schedule)) == 2
    schedule.again(2, A, 5.0)
    assert run(schedule) == [(5.0, 2, A)]


def test_a_failed_announcement_is_tried_again_a_few_times() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0,))
    schedule.failed(2, A, 0.0)
    schedule.start(2, A, 8.0)
    times = []
    while (timer := schedule.next_timer()) is not None:
        assert list(schedule.due(timer)) == [(2, A)]
        times.append(timer)
        schedule.failed(2, A, timer)
    assert len(times) == 1 + ANNOUNCE_RETRIES
    assert times[1] == 8.0 + ANNOUNCE_RETRY
    assert [round((c - b) / (b - a), 6) for a, b, c in zip(times, times[1:], times[2:], strict=False)] == [2.0] * (ANNOUNCE_RETRIES - 1)


def test_a_failure_costs_no_later_announcement() -> None:
    schedule = AnnouncementSchedule()
    schedule.start(2, A, 0.0)
    assert list(schedule.due(0.0)) == [(2, A)]
    schedule.failed(2, A, 0.0)
    assert [when for when, _, _ in run(schedule)] == [ANNOUNCE_RETRY, 0.2, 1.1, 3.0, 7.0]


def test_every_refresh_has_its_own_tries() -> None:
    schedule = AnnouncementSchedule(offsets=(0.0,), refresh=10.0)
    schedule.start(2, A, 0.0)
    found = 0
    while (timer := schedule.next_timer()) is not None and timer < 105.0:
        for key in schedule.due(timer):
            found += 1
            schedule.failed(*key, timer)
    assert 10 * (1 + ANNOUNCE_RETRIES) <= found <= 12 * (1 + ANNOUNCE_RETRIES)
