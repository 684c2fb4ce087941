"""``LeaseElector``: one Lease, one candidate, no I/O, no clock, no randomness.

The rules, which no other module repeats:

- A candidate watches, it never polls. It takes a lease that is absent or released, or that stood unchanged for the lease duration *found
  in it* since this candidate *observed* its last change, on its own boot clock. Wall clocks are never compared.
- How long a lease that may be taken is left to others (``patience``, ``not_before``) is advice from outside. It only ever adds to the wait,
  so no advice, however wrong, makes two nodes answer.
- A lease that vanishes counts as held for a full duration after its disappearance was observed: whoever held it may still answer.
- The right to answer comes from an acknowledged write alone and ends ``FENCE`` of the lease duration after that write was *sent*.
  Observations never lengthen it; another holder, or none, seen in the lease ends it at once.
- A lease that carries our identity is ours to resume with a renewal (a restart, or a write whose answer was lost), not ours to answer for.
- With ``hold_on_api_loss`` a lease whose right runs out while the API is out of reach is *held over*. That is no right: it only lets the
  datapath answer while nobody else is seen to claim the addresses. It ends with the next word from the API.
- Lost eligibility ends answering first, then, when the datapath confirmed it or every deadline passed, the lease is released.
- Resource versions are opaque. A version that was already superseded is an old message and is ignored; a write on a stale version costs
  one Conflict, nothing more, because the store compares and swaps.
- At most one write is in flight, and writes are rationed whatever the inputs: ``WRITE_BURST`` at once, then one per retry period.

The table of states is in states.py; the class below walks it.
"""

from collections import deque

from l2announce.control.states import TRANSITIONS, Event, State
from l2announce.model.address import FOREVER, NEVER, Instant
from l2announce.model.lease import Conflict, Lease, LeaseWrite, Unreachable, Verb
from l2announce.model.timing import FENCE, Timing

WRITE_BURST = 5
"""Writes of one lease that may follow each other at once; each retry period earns one more. Five let acquire, release and acquire again
pass with a Conflict between them; a renewal costs less than it earns because renew_deadline is above 1.2 retry periods."""

REMEMBERED_VERSIONS = 64
"""Superseded versions of one lease that are recognised when a watch repeats them: five minutes of renewals at Cilium's timings."""

RELEASED_DURATION = 1.0
"""The lease duration, in seconds, that a release writes, as client-go does."""


class LeaseElector:
    """One candidate for one lease. Feed it what happens, then send what ``next_write`` returns and wake it at ``next_timer``.

    ``now`` and ``sent_at`` are instants of one boot clock that never goes back; every call with ``now`` also acts on timers that are due.
    """

    def __init__(self, name: str, identity: str, timing: Timing) -> None:
        """``name`` of the lease; ``identity`` is unique to this candidate (two processes with one identity are one candidate to all)."""
        self.name = name
        self.identity = identity
        self.timing = timing
        self.state = State.IDLE
        self.observed: Lease | None = None
        """The lease as last seen or written: the base of the next write. None when absent, or not seen yet."""
        self._seen = False
        self._superseded: deque[str] = deque(maxlen=REMEMBERED_VERSIONS)
        self._changed_at: Instant = NEVER
        self._takeable_at: Instant = FOREVER
        self.patience = 0.0
        """Seconds that a free lease is left to better placed candidates."""
        self._not_before: Instant = NEVER
        self._right_until: Instant = NEVER
        self._silent_at: Instant = NEVER
        """From here on no claim that was ever made of this lease lets our datapath answer."""
        self._renew_at: Instant = NEVER
        self._retry_at: Instant = NEVER
        self._ration_at: Instant = NEVER
        self._in_flight: LeaseWrite | None = None
        self._overtaken = False
        self._unreachable = False
        self.is_held_over = False
        """The right has run out because the API was out of reach, and that is all that is known since."""
        self._attempted = False
        self._outdated = False

    # What happened

    def lease_observed(self, lease: Lease | None, now: Instant) -> None:
        """The watch shows ``lease``; None when the store has none. Repeated and superseded versions change nothing."""
        if not self._is_known(lease):
            self._replace_observed(lease, now)
        self._settle(now)

    def write_succeeded(self, lease: Lease, sent_at: Instant, now: Instant) -> None:
        """The store accepted the write in flight, which was sent not before ``sent_at``, and now holds ``lease``.

        The right counts from ``sent_at``. No right comes of it when something that is not ours was observed meanwhile: whether that is
        older or newer than our write the watch will tell. A reply to no write is ignored.
        """
        write, self._in_flight = self._in_flight, None
        self._unreachable = False
        if write is not None and not self._overtaken:
            self._retry_at = NEVER
            if write.verb is not Verb.RELEASE and lease.holder_identity == self.identity:
                self._grant(write, sent_at)
            if not self._is_known(lease):
                self._replace_observed(lease, now)
        self._settle(now)

    def write_failed(self, outcome: Conflict | Unreachable, now: Instant) -> None:
        """The write in flight was refused, or its fate is unknown.

        When the lease is known to have changed since, the next try may follow at once, else after retry_period.
        """
        write, self._in_flight = self._in_flight, None
        if write is None:
            return
        unchanged = self.observed == write.base
        self._unreachable = isinstance(outcome, Unreachable)
        self.is_held_over = self.is_held_over and self._unreachable
        if isinstance(outcome, Conflict):
            self._learn_conflict(outcome.current, unchanged, now)
        if isinstance(outcome, Unreachable) or self.observed == write.base:
            self._retry_at = now + self.timing.retry_period
        if write.verb is Verb.RELEASE and isinstance(outcome, Conflict) and self.observed == write.base:
            self._fire(Event.GAVE_UP)
        self._settle(now)

    def set_eligible(self, eligible: bool, now: Instant, patience: float = 0.0, not_before: Instant = NEVER) -> None:
        """Whether this node should hold the lease at all: selected by policy, link with carrier, datapath alive.

        ``patience``: seconds that a free lease is left to better placed candidates, counted from when it was seen to become free. Negative
        when the caller knows that its holder's right has ended so much earlier. ``not_before``: it is not taken before this instant.
        """
        self.patience, self._not_before = patience, not_before
        self._fire(Event.ELIGIBLE if eligible else Event.INELIGIBLE)
        self._settle(now)

    def renew_soon(self) -> None:
        """What the lease should say besides its holder has changed: a renewal is due that begins after this."""
        self._outdated = True

    def withdrawn(self, now: Instant) -> None:
        """The datapath confirmed a claim set without this lease, made after ``wants_withdrawal`` was seen. Ignored while HOLDING."""
        if self.state is not State.HOLDING:
            self._silent_at = NEVER
        self._settle(now)

    def holder_broken(self, version: str, expired_at: Instant, now: Instant) -> None:
        """The heartbeat on which exactly this version of the lease relied was over, by ``expired_at`` as far as we saw, at an instant when
        the version stood already: it may be taken, but not before it stood for its own duration, as whoever held it before the one that it
        names may not know yet."""
        if self.observed is not None and self.observed.resource_version == version and not self._carries_us():
            self._takeable_at = max(expired_at, self._changed_at + self.observed.lease_duration)
        self._settle(now)

    def handle_timer(self, now: Instant) -> None:
        """Act on whatever is due."""
        self._settle(now)

    # What to do

    def next_timer(self) -> Instant | None:
        """When to call ``handle_timer``, then ``next_write``, even if nothing happens. None: never."""
        wake = {
            State.FOLLOWING: self._taken_at(),
            State.HOLDING: self._right_until,
            State.WITHDRAWING: self._silent_at,
            State.RELEASING: self._takeable_at,
        }
        at = min(wake.get(self.state, FOREVER), self._write_due_at())
        return None if at == FOREVER else at

    def next_write(self, now: Instant) -> LeaseWrite | None:
        """The write to send now, if any. It is in flight from here on: report its outcome by write_succeeded or write_failed.

        Read ``sent_at`` from the clock before sending, not after.
        """
        self._settle(now)
        if now < self._write_due_at():
            return None
        self._ration_at = max(self._ration_at, now) + self.timing.retry_period
        self._overtaken = self._outdated = False
        self._attempted = True
        self._in_flight = self._release() if self.state is State.RELEASING else self._claim()
        return self._in_flight

    # What it is

    def hold_granted(self, until: Instant) -> None:
        """The datapath was told that it may hold the addresses over until then."""
        self._silent_at = max(self._silent_at, until)

    @property
    def is_writing(self) -> bool:
        """Whether a write is in flight."""
        return self._in_flight is not None

    @property
    def api_is_lost(self) -> bool:
        """Whether the API has not answered our last write, or has not said yes or no."""
        return self._unreachable or self._in_flight is not None

    @property
    def deadline(self) -> Instant | None:
        """Our datapath may answer strictly before this instant; None: not at all. In the past while the lease is held over."""
        return self._right_until if self.state is State.HOLDING or self.is_held_over else None

    @property
    def held_over_from(self) -> Instant:
        """From when the datapath should be told that it may have to hold the addresses over; FOREVER for never."""
        if not self.timing.hold_on_api_loss or self.deadline is None:
            return FOREVER
        return NEVER if self.is_held_over else self._right_until - self.timing.hold_lead

    @property
    def observed_since(self) -> Instant:
        """When the lease was first seen, or written, as it is known."""
        return self._changed_at

    @property
    def awaits_break_of(self) -> str | None:
        """The node whose heartbeat must be broken before this candidate may take the lease."""
        waiting = self.state is State.FOLLOWING and self._takeable_at == FOREVER
        return self.observed.holder_identity if waiting and self.observed is not None else None

    @property
    def wants_withdrawal(self) -> bool:
        """The lease waits for ``withdrawn``: send a claim set without it and wait until that is applied."""
        return self.state is State.WITHDRAWING

    @property
    def holder(self) -> str | None:
        """The identity in the lease as last observed; None when it is free or absent."""
        return (self.observed and self.observed.holder_identity) or None

    @property
    def expires_at(self) -> Instant | None:
        """When a lease that another holds (or held when it vanished) may be taken unless it changes; None when it is free or ours."""
        if self._carries_us() or not self._changed_at < self._takeable_at < FOREVER:
            return None
        return self._takeable_at

    # Walking the table

    def _fire(self, event: Event) -> None:
        expires = self.state is State.HOLDING and event is Event.EXPIRED
        self.state = TRANSITIONS[self.state].get(event, self.state)
        if expires:
            self.is_held_over = self.timing.hold_on_api_loss and self.api_is_lost
        elif self.state is not State.RESUMING:
            self.is_held_over = False
        if self.state in (State.IDLE, State.FOLLOWING):
            self._right_until = NEVER

    def _settle(self, now: Instant) -> None:
        """Fire what follows from the lease as we know it and from the time, until nothing does."""
        while event := self._pending_event(now):
            self._fire(event)
        if self.state is State.HOLDING:
            self._silent_at = max(self._silent_at, self._right_until)

    def _pending_event(self, now: Instant) -> Event | None:
        """Each state's own conditions. No two states' conditions form a circle at one ``now``."""
        ours = self._is_ours(now)
        free = now >= self._taken_at()
        match self.state:
            case State.FOLLOWING | State.ACQUIRING if ours:
                return Event.OURS
            case State.FOLLOWING if free:
                return Event.FREE
            case State.ACQUIRING if not free:
                return Event.NOT_OURS
            case State.RESUMING | State.HOLDING | State.WITHDRAWING if not ours:
                return Event.NOT_OURS
            case State.RELEASING if not self._carries_us():
                return Event.NOT_OURS
            case State.RESUMING if now < self._right_until:
                return Event.GRANTED
            case State.HOLDING if now >= self._right_until:
                return Event.EXPIRED
            case State.WITHDRAWING if now >= self._silent_at:
                return Event.WITHDRAWN
            case State.RELEASING if now >= self._takeable_at:
                return Event.GAVE_UP
        return None

    def _taken_at(self) -> Instant:
        """When we take the lease unless it changes."""
        return max(self._takeable_at + self.patience, self._not_before)

    def _carries_us(self) -> bool:
        return self.observed is not None and self.observed.holder_identity == self.identity

    def _is_ours(self, now: Instant) -> bool:
        """The lease carries our identity; or it vanished while we have the right, so that nobody else can have it yet."""
        return self._carries_us() or (self.observed is None and now < self._right_until)

    # Learning about the lease

    def _is_known(self, lease: Lease | None) -> bool:
        """Seen before: the version that we know, or an older one."""
        if lease is None or self.observed is None:
            return self._seen and lease is self.observed
        return lease.resource_version == self.observed.resource_version or lease.resource_version in self._superseded

    def _learn_conflict(self, current: Lease | None, unchanged: bool, now: Instant) -> None:
        """What the store says it holds. It beats our memory of versions unless the watch has told something since the write was made."""
        if current is None or current == self.observed:
            return
        if unchanged or not self._is_known(current):
            self._replace_observed(current, now)

    def _replace_observed(self, lease: Lease | None, now: Instant) -> None:
        previous, self.observed = self.observed, lease
        first, self._seen = not self._seen, True
        if lease is None:
            self._superseded.clear()
        elif previous is not None:
            self._superseded.append(previous.resource_version)
        self._changed_at = now
        self._takeable_at = now + (0.0 if lease is None and first else self._hold_time(lease, previous))
        self._retry_at = NEVER
        if self._carries_us():
            self._our_identity_observed(now)
        else:
            self._not_ours_observed()

    def _hold_time(self, lease: Lease | None, previous: Lease | None) -> float:
        """How long an unchanged lease binds those who observe it; one that vanished, as long as its last holder may have believed."""
        if lease is not None and lease.follows_heartbeat:
            return FOREVER  # until holder_broken
        if lease is not None:
            return max(0.0, lease.lease_duration) if lease.holder_identity else 0.0
        return max(self.timing.lease_duration, previous.lease_duration if previous else 0.0)

    def _our_identity_observed(self, now: Instant) -> None:
        if not self._attempted and self.observed is not None:  # an earlier life of ours: its claims may still be obeyed
            self._silent_at = max(self._silent_at, now + FENCE * self.observed.lease_duration)
        unexpiring = self.observed is not None and self.observed.follows_heartbeat
        if (self._attempted or unexpiring) and self.state is State.IDLE:  # a write that came through after all, or that nobody would end
            self._fire(Event.OURS)

    def _not_ours_observed(self) -> None:
        self._overtaken = self._in_flight is not None
        if self.observed is None:
            self._renew_at = NEVER
        else:
            self._right_until = NEVER

    # Writing

    def _grant(self, write: LeaseWrite, sent_at: Instant) -> None:
        self._right_until = sent_at + FENCE * write.lease_duration
        self._renew_at = sent_at + self.timing.renew_deadline

    def _write_due_at(self) -> Instant:
        """When the next write may go out; FOREVER when none is wanted or one is in flight."""
        if self._in_flight is not None or self.state not in (State.ACQUIRING, State.RESUMING, State.HOLDING, State.RELEASING):
            return FOREVER
        rationed_until = self._ration_at - (WRITE_BURST - 1) * self.timing.retry_period
        wanted_at = self._renew_at if self.state is State.HOLDING and not self._outdated else NEVER
        return max(self._changed_at, wanted_at, self._retry_at, rationed_until)

    def _claim(self) -> LeaseWrite:
        verb = Verb.RENEW if self._carries_us() else Verb.ACQUIRE
        return LeaseWrite(verb, self.name, self.identity, self.timing.lease_duration, self.observed)

    def _release(self) -> LeaseWrite:
        """From here on the lease may become another's at any time, however late the store gets the request: the right ends now."""
        self._right_until = NEVER
        return LeaseWrite(Verb.RELEASE, self.name, "", RELEASED_DURATION, self.observed)
