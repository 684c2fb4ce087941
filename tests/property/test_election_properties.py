"""LeaseElector against an adversary: any inputs in any order, also those that no honest store or watch would produce.

What holds whatever happens: the right to answer comes of acknowledged writes alone, nothing is released under a live claim, nothing is
taken early, writes are rationed, a timer never stands still; and from wherever the adversary leaves it, an honest store leads it to hold.
"""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from l2announce.control.election import WRITE_BURST, LeaseElector
from l2announce.control.states import State
from l2announce.model.address import NEVER
from l2announce.model.lease import Conflict, Lease, LeaseWrite, Unreachable, Verb
from l2announce.model.timing import FENCE, Timing

NAME = "lease"
TIMING = Timing()
LONGEST = 30.0

leases = st.builds(
    Lease, st.just(NAME), st.sampled_from(["n1", "n2", "n3", ""]), st.sampled_from([1.0, 15.0, LONGEST]), st.integers(1, 9).map(str)
)
delays = st.sampled_from([0.0, 0.001, 0.5, 2.0, 5.0, 13.5, 15.0, 60.0])


class Adversary(RuleBasedStateMachine):
    """One elector, and what a reader of its contract would keep account of."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.elector = LeaseElector(NAME, "n1", TIMING)
        self.eligible = False
        self.in_flight: LeaseWrite | None = None
        self.sent_at = NEVER
        self.right_until = NEVER
        self.claimed_until = NEVER
        self.known: Lease | None = None
        self.known_since = NEVER
        self.writes: list[float] = []

    def _after(self) -> None:
        """What every caller does after every input."""
        if self.elector.observed != self.known:
            self.known, self.known_since = self.elector.observed, self.now
        write = self.elector.next_write(self.now)
        if write is None:
            return
        assert self.in_flight is None, "two writes in flight"
        self.in_flight, self.sent_at = write, self.now
        self.writes.append(self.now)
        assert write.base == self.known
        if write.verb is Verb.ACQUIRE and self.known is not None and self.known.holder_identity:
            assert self.now >= self.known_since + self.known.lease_duration, "taken early"
        if write.verb is Verb.RELEASE:
            assert self.now >= self.claimed_until, "released under a live claim"
            self.right_until = NEVER

    @rule(seconds=delays)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.elector.handle_timer(self.now)
        self._after()

    @rule(lease=st.none() | leases)
    def watch_shows(self, lease: Lease | None) -> None:
        self.elector.lease_observed(lease, self.now)
        self._after()

    @rule(eligible=st.booleans(), patience=st.sampled_from([0.0, 0.05, 20.0]))
    def policy_changes(self, eligible: bool, patience: float) -> None:
        self.eligible = eligible
        self.elector.set_eligible(eligible, self.now, patience)
        self._after()

    @precondition(lambda self: self.elector.wants_withdrawal)
    @rule()
    def datapath_confirms(self) -> None:
        self.claimed_until = NEVER
        self.elector.withdrawn(self.now)
        self._after()

    @precondition(lambda self: self.in_flight is not None)
    @rule(version=st.integers(10, 99).map(str))
    def store_accepts(self, version: str) -> None:
        assert self.in_flight is not None
        write, self.in_flight = self.in_flight, None
        if write.verb is not Verb.RELEASE:
            self.right_until = max(self.right_until, self.sent_at + FENCE * TIMING.lease_duration)
        self.elector.write_succeeded(Lease(NAME, write.holder_identity, write.lease_duration, version), self.sent_at, self.now)
        self._after()

    @precondition(lambda self: self.in_flight is not None)
    @rule(outcome=st.builds(Conflict, st.none() | leases) | st.just(Unreachable("silence")))
    def store_fails(self, outcome: Conflict | Unreachable) -> None:
        self.in_flight = None
        self.elector.write_failed(outcome, self.now)
        self._after()

    @rule(lease=leases)
    def stray_replies(self, lease: Lease) -> None:
        if self.in_flight is None:
            self.elector.write_succeeded(lease, self.now, self.now)
            self.elector.write_failed(Conflict(lease), self.now)
            self._after()

    @invariant()
    def only_acknowledged_writes_give_a_right(self) -> None:
        deadline = self.elector.deadline
        assert (deadline is None) == (self.elector.state is not State.HOLDING)
        if deadline is not None:
            assert self.eligible
            assert self.now < deadline <= self.right_until
            assert self.elector.holder in ("n1", None)
            self.claimed_until = max(self.claimed_until, deadline)

    @invariant()
    def the_next_timer_lies_ahead(self) -> None:
        timer = self.elector.next_timer()
        assert timer is None or timer > self.now

    @invariant()
    def writes_are_rationed(self) -> None:
        last = len(self.writes)
        assert all(
            last - first <= WRITE_BURST + (self.writes[-1] - self.writes[first]) / TIMING.retry_period + 1e-9 for first in range(last)
        )

    @invariant()
    def an_expiry_is_announced_for_what_another_holds(self) -> None:
        assert self.elector.expires_at is None or self.elector.holder != "n1"

    def teardown(self) -> None:
        """From here on the store and the watch are honest and nobody else is there: it must come to hold, and keep holding."""
        if self.in_flight is not None:
            self.store_fails(Unreachable("silence"))
        stored: Lease | None = Lease(NAME, "n2", TIMING.lease_duration, "honest-0")
        self.watch_shows(stored)
        self.policy_changes(True, 0.0)
        start, version = self.now, 0
        while self.elector.state is not State.HOLDING or self.now < start + LONGEST + 20.0:
            if self.in_flight is not None:
                assert self.in_flight.base == stored
                version += 1
                stored = Lease(NAME, "n1", TIMING.lease_duration, f"honest-{version}")
                self.now += 0.01
                write, self.in_flight = self.in_flight, None
                self.elector.write_succeeded(stored, self.now - 0.01, self.now)
                assert write.verb is not Verb.RELEASE
                self._after()
            else:
                timer = self.elector.next_timer()
                assert timer is not None
                self.time_passes(timer - self.now)
            assert self.now < start + LONGEST + 30.0


Adversary.TestCase.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
TestElector = Adversary.TestCase
