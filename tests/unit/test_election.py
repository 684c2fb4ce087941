"""LeaseElector step by step: each rule of control/election.py, each row of its table, and the diagram in docs/election.md."""

from dataclasses import replace
from pathlib import Path

import pytest

from l2announce.control.election import REMEMBERED_VERSIONS, WRITE_BURST, LeaseElector
from l2announce.control.states import TRANSITIONS, Event, State
from l2announce.model.lease import Conflict, Lease, LeaseWrite, Unreachable, Verb
from l2announce.model.timing import FENCE, Timing

NAME = "cilium-l2announce-default.web"
TIMING = Timing()
DURATION = TIMING.lease_duration
LOST = Unreachable("no answer within 3 s")


def lease(holder: str, version: str, duration: float = DURATION) -> Lease:
    return Lease(NAME, holder, duration, version)


@pytest.fixture
def elector() -> LeaseElector:
    """n1, eligible, nothing seen yet, at 100 s."""
    elector = LeaseElector(NAME, "n1", TIMING)
    elector.set_eligible(True, 100.0)
    return elector


@pytest.fixture
def holding(elector: LeaseElector) -> LeaseElector:
    """n1 created the lease as version 1: sent at 100 s, acknowledged at 100.5 s."""
    elector.lease_observed(None, 100.0)
    assert elector.next_write(100.0) is not None
    elector.write_succeeded(lease("n1", "1"), 100.0, 100.5)
    assert elector.state is State.HOLDING
    return elector


def written(elector: LeaseElector, now: float) -> LeaseWrite:
    write = elector.next_write(now)
    assert write is not None
    return write


class TestTaking:
    def test_waits_for_the_first_sight(self, elector: LeaseElector) -> None:
        assert elector.state is State.FOLLOWING
        assert elector.next_write(1e6) is None
        assert elector.next_timer() is None

    def test_creates_an_absent_lease_at_once(self, elector: LeaseElector) -> None:
        elector.lease_observed(None, 100.0)
        assert elector.state is State.ACQUIRING
        assert elector.expires_at is None
        assert elector.next_write(100.0) == LeaseWrite(Verb.ACQUIRE, NAME, "n1", DURATION, None)
        assert elector.next_timer() is None

    def test_takes_a_released_lease_at_once(self, elector: LeaseElector) -> None:
        free = lease("", "7", 1.0)
        elector.lease_observed(free, 100.0)
        assert (elector.holder, elector.expires_at) == (None, None)
        assert elector.next_write(100.0) == LeaseWrite(Verb.ACQUIRE, NAME, "n1", DURATION, free)

    def test_a_held_lease_is_taken_a_full_duration_of_the_record_after_first_sight(self, elector: LeaseElector) -> None:
        theirs = lease("n2", "7", 30.0)
        elector.lease_observed(theirs, 100.0)
        assert (elector.holder, elector.expires_at, elector.next_timer()) == ("n2", 130.0, 130.0)
        assert elector.next_write(129.999) is None
        assert elector.next_write(130.0) == LeaseWrite(Verb.ACQUIRE, NAME, "n1", DURATION, theirs)

    def test_each_change_starts_the_duration_again_and_a_repetition_does_not(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("n2", "7"), 100.0)
        elector.lease_observed(lease("n2", "8"), 105.0)
        elector.lease_observed(lease("n2", "8"), 110.0)
        assert elector.next_timer() == 120.0

    def test_a_superseded_version_changes_nothing(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("n2", "7"), 100.0)
        elector.lease_observed(lease("n2", "8"), 105.0)
        elector.lease_observed(lease("n2", "7"), 110.0)
        assert elector.observed == lease("n2", "8")
        assert elector.next_timer() == 120.0

    def test_only_so_many_versions_are_remembered(self, elector: LeaseElector) -> None:
        for version in range(REMEMBERED_VERSIONS + 2):
            elector.lease_observed(lease("n2", str(version)), 100.0)
        elector.lease_observed(lease("n2", "1"), 110.0)
        assert elector.next_timer() == 100.0 + DURATION
        elector.lease_observed(lease("n2", "0"), 110.0)
        assert elector.next_timer() == 110.0 + DURATION

    def test_a_vanished_lease_counts_as_held_for_a_full_duration(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("n2", "7", 20.0), 100.0)
        elector.lease_observed(None, 101.0)
        elector.lease_observed(None, 110.0)
        assert (elector.holder, elector.expires_at, elector.next_timer()) == (None, 121.0, 121.0)
        assert written(elector, 121.0).base is None

    def test_a_vanished_released_lease_is_no_exception(self, elector: LeaseElector) -> None:
        elector.set_eligible(False, 100.0)
        elector.lease_observed(lease("", "7", 1.0), 100.0)
        elector.lease_observed(None, 101.0)
        elector.set_eligible(True, 102.0)
        assert elector.next_timer() == 101.0 + DURATION

    def test_after_a_disappearance_versions_may_start_again(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("n2", "1"), 100.0)
        elector.lease_observed(lease("n2", "2"), 100.0)
        elector.lease_observed(None, 101.0)
        elector.lease_observed(lease("n3", "1"), 102.0)
        assert elector.holder == "n3"

    def test_patience_counts_from_when_the_lease_became_free(self, elector: LeaseElector) -> None:
        elector.set_eligible(True, 100.0, patience=0.1)
        elector.lease_observed(lease("", "7"), 100.0)
        assert elector.next_timer() == 100.1
        elector.set_eligible(True, 100.05, patience=0.2)
        assert elector.next_timer() == 100.2
        elector.lease_observed(lease("", "8"), 100.15)
        assert elector.next_timer() == pytest.approx(100.35)
        assert elector.next_write(100.3) is None
        assert written(elector, 100.36).verb is Verb.ACQUIRE

    def test_patience_applies_to_an_expired_lease_too(self, elector: LeaseElector) -> None:
        elector.set_eligible(True, 100.0, patience=0.1)
        elector.lease_observed(lease("n2", "7"), 100.0)
        assert elector.expires_at == 115.0
        assert elector.next_timer() == pytest.approx(115.1)

    def test_more_patience_calls_a_write_back_that_was_not_sent(self, elector: LeaseElector) -> None:
        elector.lease_observed(None, 100.0)
        assert elector.next_timer() == 100.0
        elector.set_eligible(True, 100.0, patience=1.0)
        assert (elector.state, elector.next_timer()) == (State.FOLLOWING, 101.0)
        assert elector.next_write(100.5) is None

    def test_another_was_faster_as_the_watch_tells(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("", "7"), 100.0)
        elector.lease_observed(lease("n2", "8"), 100.0)
        assert elector.state is State.FOLLOWING
        assert elector.next_write(100.0) is None

    def test_another_was_faster_as_the_store_tells(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("", "7"), 100.0)
        written(elector, 100.0)
        elector.write_failed(Conflict(lease("n2", "8")), 100.1)
        assert elector.state is State.FOLLOWING
        assert elector.next_timer() == 100.1 + DURATION

    def test_a_conflict_that_shows_a_free_lease_is_followed_by_another_try(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("", "7"), 100.0)
        written(elector, 100.0)
        elector.write_failed(Conflict(lease("", "8")), 100.1)
        assert written(elector, 100.1).base == lease("", "8")

    @pytest.mark.parametrize("outcome", [Conflict(), LOST, Conflict(lease("", "7"))])
    def test_a_failure_that_tells_nothing_is_retried_after_the_retry_period(
        self, elector: LeaseElector, outcome: Conflict | Unreachable
    ) -> None:
        elector.lease_observed(lease("", "7"), 100.0)
        written(elector, 100.0)
        elector.write_failed(outcome, 101.0)
        assert elector.state is State.ACQUIRING
        assert elector.next_timer() == 103.0
        assert elector.next_write(102.9) is None
        assert written(elector, 103.0).base == lease("", "7")

    def test_an_observation_ends_the_wait(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("", "7"), 100.0)
        written(elector, 100.0)
        elector.write_failed(Conflict(), 100.1)
        elector.lease_observed(lease("", "8"), 100.2)
        assert written(elector, 100.2).base == lease("", "8")

    def test_a_conflict_after_the_watch_told_more_is_not_waited_for(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("", "7"), 100.0)
        written(elector, 100.0)
        elector.lease_observed(lease("", "8"), 100.1)
        elector.write_failed(Conflict(lease("", "7")), 100.2)
        assert written(elector, 100.2).base == lease("", "8")

    def test_the_store_is_believed_when_it_went_back_to_an_old_version(self, elector: LeaseElector) -> None:
        """A store restored from a backup: without this the candidate would ignore its answer for ever."""
        elector.lease_observed(lease("n2", "7"), 100.0)
        elector.lease_observed(lease("n2", "8"), 101.0)
        written(elector, 101.0 + DURATION)
        elector.write_failed(Conflict(lease("n2", "7")), 116.5)
        assert elector.observed == lease("n2", "7")
        assert written(elector, 116.5 + DURATION).base == lease("n2", "7")

    def test_one_write_in_flight(self, elector: LeaseElector) -> None:
        elector.lease_observed(None, 100.0)
        written(elector, 100.0)
        assert elector.next_write(1000.0) is None


class TestRight:
    def test_counts_from_the_sending(self, holding: LeaseElector) -> None:
        assert holding.deadline == 100.0 + FENCE * DURATION
        assert holding.holder == "n1"
        assert holding.expires_at is None
        assert not holding.wants_withdrawal

    def test_a_late_acknowledgement_gives_none(self, elector: LeaseElector) -> None:
        elector.lease_observed(None, 100.0)
        written(elector, 100.0)
        elector.write_succeeded(lease("n1", "1"), 100.0, 100.0 + FENCE * DURATION)
        assert (elector.state, elector.deadline) == (State.RESUMING, None)
        assert written(elector, 120.0).verb is Verb.RENEW

    def test_a_freeze_between_clock_and_request_gives_none(self, elector: LeaseElector) -> None:
        elector.lease_observed(None, 100.0)
        written(elector, 100.0)
        elector.write_succeeded(lease("n1", "1"), 100.0, 160.0)
        assert elector.deadline is None

    def test_an_observation_of_our_own_write_gives_none(self, elector: LeaseElector) -> None:
        elector.lease_observed(None, 100.0)
        written(elector, 100.0)
        elector.lease_observed(lease("n1", "1"), 100.1)
        assert (elector.state, elector.deadline, elector.next_write(100.1)) == (State.RESUMING, None, None)
        elector.write_succeeded(lease("n1", "1"), 100.0, 100.2)
        assert elector.deadline == 100.0 + FENCE * DURATION

    def test_none_for_a_lease_that_the_store_gave_to_another(self, elector: LeaseElector) -> None:
        elector.lease_observed(None, 100.0)
        written(elector, 100.0)
        elector.write_succeeded(lease("n2", "1"), 100.0, 100.1)
        assert (elector.state, elector.deadline) == (State.FOLLOWING, None)

    def test_none_by_a_reply_to_no_write(self, elector: LeaseElector) -> None:
        elector.lease_observed(None, 100.0)
        elector.write_succeeded(lease("n1", "1"), 100.0, 100.1)
        elector.write_failed(Conflict(lease("n2", "1")), 100.1)
        assert (elector.state, elector.observed) == (State.ACQUIRING, None)

    def test_none_when_another_was_seen_during_the_flight(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("", "7"), 100.0)
        written(elector, 100.0)
        elector.lease_observed(lease("n2", "x"), 100.1)
        elector.write_succeeded(lease("n1", "8"), 100.0, 100.2)
        assert (elector.state, elector.deadline, elector.holder) == (State.FOLLOWING, None, "n2")
        elector.lease_observed(lease("n1", "8"), 100.3)  # so the other was an older message
        assert elector.state is State.RESUMING
        assert written(elector, 100.3).base == lease("n1", "8")


class TestRenewing:
    def test_after_renew_deadline(self, holding: LeaseElector) -> None:
        assert holding.next_timer() == 105.0
        assert holding.next_write(104.9) is None
        assert holding.next_write(105.0) == LeaseWrite(Verb.RENEW, NAME, "n1", DURATION, lease("n1", "1"))
        assert holding.next_timer() == holding.deadline
        holding.write_succeeded(lease("n1", "2"), 105.0, 105.5)
        assert (holding.deadline, holding.next_timer()) == (105.0 + FENCE * DURATION, 110.0)

    def test_retried_until_the_deadline_and_beyond(self, holding: LeaseElector) -> None:
        now = 105.0
        while holding.state is State.HOLDING:
            holding.handle_timer(now)
            if holding.next_write(now):
                holding.write_failed(LOST, now)
            now += 0.5
        assert now - 0.5 == 113.5
        assert (holding.state, holding.deadline) == (State.RESUMING, None)
        assert written(holding, 120.0).verb is Verb.RENEW
        holding.write_succeeded(lease("n1", "2"), 120.0, 120.1)
        assert holding.deadline == 120.0 + FENCE * DURATION

    def test_our_own_late_renewal_is_the_next_base(self, holding: LeaseElector) -> None:
        written(holding, 105.0)
        holding.write_failed(LOST, 108.0)
        holding.lease_observed(lease("n1", "2"), 109.0)
        assert (holding.state, holding.deadline) == (State.HOLDING, 113.5)
        assert written(holding, 109.0).base == lease("n1", "2")

    def test_a_conflict_with_ourselves_is_retried_at_once(self, holding: LeaseElector) -> None:
        written(holding, 105.0)
        holding.write_failed(Conflict(lease("n1", "2")), 105.1)
        assert (holding.state, holding.deadline) == (State.HOLDING, 113.5)
        assert written(holding, 105.1).base == lease("n1", "2")

    def test_a_conflict_with_another_ends_it_at_once(self, holding: LeaseElector) -> None:
        written(holding, 105.0)
        holding.write_failed(Conflict(lease("n2", "2")), 105.1)
        assert (holding.state, holding.deadline, holding.expires_at) == (State.FOLLOWING, None, 105.1 + DURATION)

    def test_a_conflict_that_says_nothing_waits(self, holding: LeaseElector) -> None:
        written(holding, 105.0)
        holding.write_failed(Conflict(), 105.1)
        assert (holding.state, holding.next_timer()) == (State.HOLDING, 107.1)


class TestLosing:
    @pytest.mark.parametrize("holder", ["n2", ""])
    def test_another_or_nobody_in_the_lease_ends_it_at_once(self, holding: LeaseElector, holder: str) -> None:
        holding.set_eligible(True, 101.0, patience=0.1)
        holding.lease_observed(lease(holder, "2"), 102.0)
        assert (holding.state, holding.deadline) == (State.FOLLOWING, None)

    def test_what_we_replaced_does_not(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("n2", "7"), 100.0)
        written(elector, 115.0)
        elector.write_succeeded(lease("n1", "8"), 115.0, 115.1)
        elector.lease_observed(lease("n2", "7"), 115.2)
        assert elector.state is State.HOLDING

    def test_a_vanished_lease_is_created_again_under_the_right_we_have(self, holding: LeaseElector) -> None:
        holding.lease_observed(None, 102.0)
        assert (holding.state, holding.deadline) == (State.HOLDING, 113.5)
        assert holding.next_write(102.0) == LeaseWrite(Verb.ACQUIRE, NAME, "n1", DURATION, None)
        holding.write_succeeded(lease("n1", "3"), 102.0, 102.1)
        assert holding.deadline == 102.0 + FENCE * DURATION

    def test_when_the_right_ends_it_is_like_any_vanished_lease(self, holding: LeaseElector) -> None:
        holding.lease_observed(None, 112.0)
        written(holding, 112.0)
        holding.write_failed(LOST, 112.5)
        holding.handle_timer(113.5)
        assert (holding.state, holding.next_timer()) == (State.FOLLOWING, 127.0)

    def test_a_renewal_acknowledged_after_the_lease_vanished_gives_no_more_right(self, holding: LeaseElector) -> None:
        written(holding, 105.0)
        holding.lease_observed(None, 105.1)
        holding.write_succeeded(lease("n1", "2"), 105.0, 105.2)
        assert holding.deadline == 113.5
        assert written(holding, 105.2).base is None


class TestReleasing:
    def test_stop_confirm_release(self, holding: LeaseElector) -> None:
        holding.set_eligible(False, 102.0)
        assert (holding.state, holding.deadline, holding.wants_withdrawal) == (State.WITHDRAWING, None, True)
        assert holding.next_write(102.0) is None
        assert holding.next_timer() == 113.5
        holding.withdrawn(102.1)
        assert (holding.state, holding.wants_withdrawal) == (State.RELEASING, False)
        assert holding.next_write(102.1) == LeaseWrite(Verb.RELEASE, NAME, "", 1.0, lease("n1", "1"))
        holding.write_succeeded(lease("", "2", 1.0), 102.1, 102.2)
        assert (holding.state, holding.next_timer()) == (State.IDLE, None)

    def test_without_a_confirmation_at_the_last_deadline(self, holding: LeaseElector) -> None:
        written(holding, 105.0)
        holding.write_succeeded(lease("n1", "2"), 105.0, 105.1)
        holding.set_eligible(False, 106.0)
        assert holding.next_write(118.4) is None
        assert written(holding, 118.5).verb is Verb.RELEASE

    def test_a_renewal_in_flight_comes_first(self, holding: LeaseElector) -> None:
        written(holding, 105.0)
        holding.set_eligible(False, 105.1)
        holding.withdrawn(105.2)
        assert holding.next_write(105.2) is None
        holding.write_succeeded(lease("n1", "2"), 105.0, 105.3)
        assert (holding.state, holding.deadline) == (State.RELEASING, None)
        assert written(holding, 105.3).base == lease("n1", "2")

    def test_an_acquisition_acknowledged_too_late_is_released(self, elector: LeaseElector) -> None:
        elector.lease_observed(None, 100.0)
        written(elector, 100.0)
        elector.set_eligible(False, 100.1)
        assert elector.state is State.IDLE
        elector.write_succeeded(lease("n1", "1"), 100.0, 100.2)
        assert (elector.deadline, elector.state) == (None, State.RELEASING)
        assert written(elector, 100.2).verb is Verb.RELEASE

    def test_an_acquisition_that_came_through_unacknowledged_is_released(self, elector: LeaseElector) -> None:
        elector.lease_observed(None, 100.0)
        written(elector, 100.0)
        elector.set_eligible(False, 100.1)
        elector.write_failed(LOST, 103.0)
        elector.lease_observed(lease("n1", "1"), 104.0)
        assert written(elector, 104.0) == LeaseWrite(Verb.RELEASE, NAME, "", 1.0, lease("n1", "1"))

    def test_retried_until_others_may_take_the_lease_anyway(self, holding: LeaseElector) -> None:
        holding.set_eligible(False, 102.0)
        holding.withdrawn(102.0)
        written(holding, 102.0)
        holding.write_failed(LOST, 103.0)
        assert holding.next_timer() == 105.0
        written(holding, 105.0)
        holding.write_failed(LOST, 114.0)
        assert holding.next_timer() == 100.5 + DURATION
        holding.handle_timer(100.5 + DURATION)
        assert (holding.state, holding.next_timer()) == (State.IDLE, None)

    def test_a_conflict_that_says_nothing_is_the_end(self, holding: LeaseElector) -> None:
        holding.set_eligible(False, 102.0)
        holding.withdrawn(102.0)
        written(holding, 102.0)
        holding.write_failed(Conflict(), 102.1)
        assert holding.state is State.IDLE

    def test_a_conflict_with_our_own_late_renewal_is_not(self, holding: LeaseElector) -> None:
        holding.set_eligible(False, 102.0)
        holding.withdrawn(102.0)
        written(holding, 102.0)
        holding.write_failed(Conflict(lease("n1", "2")), 102.1)
        assert written(holding, 102.1).base == lease("n1", "2")

    @pytest.mark.parametrize("seen", [lease("n2", "2"), lease("", "2"), None])
    def test_nothing_to_release_when_the_lease_is_not_ours(self, holding: LeaseElector, seen: Lease | None) -> None:
        holding.set_eligible(False, 102.0)
        holding.withdrawn(102.0)
        holding.lease_observed(seen, 102.0)
        assert (holding.state, holding.next_timer()) == (State.IDLE, None)

    def test_nothing_to_withdraw_when_another_has_it(self, holding: LeaseElector) -> None:
        holding.set_eligible(False, 102.0)
        holding.lease_observed(lease("n2", "2"), 102.0)
        assert (holding.state, holding.wants_withdrawal) == (State.IDLE, False)

    def test_a_lease_that_vanishes_while_withdrawing(self, holding: LeaseElector) -> None:
        holding.set_eligible(False, 102.0)
        holding.lease_observed(None, 102.0)
        assert holding.wants_withdrawal
        holding.withdrawn(102.1)
        assert holding.state is State.IDLE

    def test_withdrawn_means_nothing_while_holding(self, holding: LeaseElector) -> None:
        holding.withdrawn(101.0)
        assert holding.state is State.HOLDING
        holding.set_eligible(False, 102.0)
        assert holding.next_timer() == 113.5


class TestChangingOnesMind:
    def test_while_withdrawing_the_old_right_is_still_good(self, holding: LeaseElector) -> None:
        holding.set_eligible(False, 102.0)
        holding.set_eligible(True, 103.0)
        assert (holding.state, holding.deadline) == (State.HOLDING, 113.5)

    def test_before_the_release_is_sent_too(self, holding: LeaseElector) -> None:
        holding.set_eligible(False, 102.0)
        holding.withdrawn(102.0)
        holding.set_eligible(True, 103.0)
        assert (holding.state, holding.deadline) == (State.HOLDING, 113.5)

    def test_a_release_on_its_way_ends_the_right(self, holding: LeaseElector) -> None:
        holding.set_eligible(False, 102.0)
        holding.withdrawn(102.0)
        written(holding, 102.0)
        holding.set_eligible(True, 102.1)
        assert (holding.state, holding.deadline) == (State.RESUMING, None)
        holding.write_failed(LOST, 103.0)
        assert written(holding, 105.0) == LeaseWrite(Verb.RENEW, NAME, "n1", DURATION, lease("n1", "1"))

    def test_a_release_that_conflicts_meanwhile_is_forgotten(self, holding: LeaseElector) -> None:
        holding.set_eligible(False, 102.0)
        holding.withdrawn(102.0)
        written(holding, 102.0)
        holding.set_eligible(True, 102.1)
        holding.write_failed(Conflict(), 102.2)
        assert (holding.state, holding.next_timer()) == (State.RESUMING, 104.2)

    def test_after_the_release_it_is_a_free_lease_like_any(self, holding: LeaseElector) -> None:
        holding.set_eligible(False, 102.0)
        holding.withdrawn(102.0)
        written(holding, 102.0)
        holding.set_eligible(True, 102.1, patience=0.5)
        holding.write_succeeded(lease("", "2", 1.0), 102.0, 102.2)
        assert holding.state is State.FOLLOWING
        assert holding.next_timer() == pytest.approx(102.7)

    def test_losing_eligibility_before_anything_is_held(self, elector: LeaseElector) -> None:
        elector.set_eligible(False, 100.0)
        elector.lease_observed(None, 100.0)
        assert (elector.state, elector.next_write(1e6), elector.next_timer()) == (State.IDLE, None, None)


class TestRestart:
    """The lease carries our identity from an earlier life, whose claims the responder may still obey."""

    def test_resumes_without_a_wait(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("n1", "7"), 100.0)
        assert (elector.state, elector.deadline) == (State.RESUMING, None)
        assert elector.next_write(100.0) == LeaseWrite(Verb.RENEW, NAME, "n1", DURATION, lease("n1", "7"))
        elector.write_succeeded(lease("n1", "8"), 100.0, 100.1)
        assert elector.deadline == 100.0 + FENCE * DURATION

    def test_another_took_it_first(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("n1", "7"), 100.0)
        elector.lease_observed(lease("n2", "8"), 100.1)
        assert elector.state is State.FOLLOWING

    def test_is_left_alone_by_one_that_was_never_eligible(self) -> None:
        elector = LeaseElector(NAME, "n1", TIMING)
        elector.lease_observed(lease("n1", "7"), 100.0)
        assert (elector.state, elector.next_timer()) == (State.IDLE, None)

    def test_is_released_only_after_the_earlier_claims_are_withdrawn(self, elector: LeaseElector) -> None:
        elector.lease_observed(lease("n1", "7"), 100.0)
        elector.set_eligible(False, 101.0)
        assert elector.wants_withdrawal
        assert elector.next_write(113.4) is None
        assert written(elector, 100.0 + FENCE * DURATION).verb is Verb.RELEASE


def test_writes_are_rationed(elector: LeaseElector) -> None:
    """A store that keeps conflicting with ever newer free versions gets a burst, then one write each retry period."""
    elector.lease_observed(lease("", "0"), 100.0)
    sent = []
    for tick in range(1000):
        now = 100.0 + tick / 100
        if elector.next_write(now):
            sent.append(now)
            elector.write_failed(Conflict(lease("", str(tick + 1))), now)
    assert sent == pytest.approx([*[100.0 + n / 100 for n in range(WRITE_BURST)], 102.0, 104.0, 106.0, 108.0])


def test_negative_durations_of_strangers_do_not_reach_back(elector: LeaseElector) -> None:
    elector.lease_observed(lease("n2", "1", -1e9), 100.0)
    elector.set_eligible(True, 100.0, patience=1.0)
    assert elector.next_timer() == 101.0


class TestTable:
    def test_every_state_has_a_row_and_a_way_back_to_holding(self) -> None:
        assert set(TRANSITIONS) == set(State)
        for start in State:
            reached = {start}
            while more := {after for state in reached for after in TRANSITIONS[state].values()} - reached:
                reached |= more
            assert State.HOLDING in reached

    def test_holding_is_entered_by_a_grant_alone(self) -> None:
        ways = {event for row in TRANSITIONS.values() for event, after in row.items() if after is State.HOLDING}
        assert ways == {Event.GRANTED}

    def test_the_diagram_in_the_docs_is_the_table(self) -> None:
        lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.IDLE.value}"]
        for state, row in TRANSITIONS.items():
            lines += [f"    {state.value} --> {after.value}: {event.value}" for event, after in row.items()]
        diagram = "\n".join([*lines, "```"])
        text = (Path(__file__).parents[2] / "docs" / "election.md").read_text(encoding="utf-8")
        assert diagram in text, f"docs/election.md must contain:\n{diagram}"


def test_leases_compare_by_value(holding: LeaseElector) -> None:
    """A repeated observation is a new object with the same version."""
    holding.lease_observed(replace(lease("n1", "1"), renew_time="x"), 101.0)
    assert holding.observed == lease("n1", "1")
