"""``--lease-mode node``: one heartbeat Lease for each node; Services' Leases are valid while the heartbeat of their holder is.

The rules, on top of those of ``election``; docs/adr/0015 proves them:

- **Break.** A Service's Lease does not change while its holder lives, so a swap of it alone proves nothing. A candidate takes a version of
  it only when the holder's heartbeat was over at an instant when that version stood already: because a write of its own, sent after it
  learnt the version, ended the heartbeat, exactly the version that stood unchanged for its duration, or swapped one that had ended; or
  because its watch, which keeps the order of changes, showed the version first and the end after it.
- **Echo.** The right of a holder ends FENCE of the duration after it sent the last heartbeat that *its own watch has shown it*. What came
  before that heartbeat has then been shown as well: no change of a Service's Lease older than that can be unknown to its holder.
- **Confirm.** After its heartbeat lapsed, and after anybody else wrote to a Service's Lease, that Lease is written again before its right
  goes on; a write that was sent under an earlier run of heartbeats gives no right.

Every node obeys the first rule for Leases with the annotation, whatever its own mode is. Here are the three machines, each an elector; who
feeds them is in heartbeats.py.
"""

from collections import Counter, deque
from collections.abc import Mapping

from l2announce.control.election import RELEASED_DURATION, REMEMBERED_VERSIONS, LeaseElector
from l2announce.control.states import Event, State
from l2announce.model.address import FOREVER, NEVER, Instant
from l2announce.model.lease import HEARTBEAT_PREFIX, LEASE_MODE_ANNOTATION, NODE_MODE, Lease, LeaseWrite, Verb
from l2announce.model.timing import FENCE, Timing

NOBODY = "/breaker"
"""The identity of a breaker: no node's name, and never written."""


def heartbeat_name(node: str) -> str:
    """The name of a node's heartbeat Lease."""
    return HEARTBEAT_PREFIX + node


def is_heartbeat(name: str) -> bool:
    """Whether a Lease of this name is a node's heartbeat."""
    return name.startswith(HEARTBEAT_PREFIX)


class HeldByHeartbeat(LeaseElector):
    """The candidate of a node in node mode for a Service's Lease: as LeaseElector, but its right is extended by ``beat``, not by writes."""

    def __init__(self, name: str, identity: str, timing: Timing) -> None:
        super().__init__(name, identity, timing)
        self._run = 0
        self._beat_is_lost = False
        self._beat_until: Instant = NEVER
        self._written_in = 0
        self._confirmed = False
        """The lease as observed is what our own acknowledged write of this run of heartbeats made of it."""

    @property
    def api_is_lost(self) -> bool:
        """As LeaseElector, for the heartbeat's writes too."""
        return self._beat_is_lost or super().api_is_lost

    def beat(self, run: int, until: Instant, is_lost: bool, now: Instant) -> None:
        """The node's heartbeat gives rights until ``until``. Another ``run`` than before: it lapsed in between. ``is_lost``: the API has
        not answered its last write."""
        self._beat_is_lost = is_lost
        self.is_held_over = self.is_held_over and is_lost
        if run != self._run:
            self._confirmed, self._right_until = False, NEVER
        self._run, self._beat_until = run, until
        if self._confirmed and self.state in (State.HOLDING, State.RESUMING):
            self._right_until = until
        self._settle(now)

    def write_succeeded(self, lease: Lease, sent_at: Instant, now: Instant) -> None:
        """As LeaseElector; the right lasts as long as the heartbeat, if that has not lapsed since the write was made."""
        write = self._in_flight
        good = write is not None and write.verb is not Verb.RELEASE and not self._overtaken and self._written_in == self._run
        super().write_succeeded(lease, sent_at, now)
        if good and self.observed is not None and self.observed.resource_version == lease.resource_version and self._carries_us():
            self._confirmed = True
            if self.state in (State.HOLDING, State.RESUMING):
                self._right_until = self._beat_until
            self._settle(now)

    def next_write(self, now: Instant) -> LeaseWrite | None:
        """As LeaseElector; claims only while the heartbeat gives rights."""
        if self.state is not State.RELEASING and now >= self._beat_until:
            self._settle(now)
            return None
        write = super().next_write(now)
        if write is not None:
            self._written_in = self._run
            self._confirmed = False
        return write

    def _write_due_at(self) -> Instant:
        due = super()._write_due_at()
        if self.state is State.RELEASING:
            return due
        needed = self.state is State.ACQUIRING or not self._confirmed or self._outdated
        return due if needed and due < self._beat_until else FOREVER

    def _grant(self, write: LeaseWrite, sent_at: Instant) -> None:
        """Writes give no right by themselves."""

    def _claim(self) -> LeaseWrite:
        claim = super()._claim()
        return LeaseWrite(
            claim.verb, claim.name, claim.holder_identity, claim.lease_duration, claim.base, {LEASE_MODE_ANNOTATION: NODE_MODE}
        )

    def _release(self) -> LeaseWrite:
        self._confirmed = False
        return super()._release()

    def _our_identity_observed(self, now: Instant) -> None:
        self._confirmed, self._renew_at = False, NEVER
        super()._our_identity_observed(now)

    def _not_ours_observed(self) -> None:
        self._confirmed = False
        super()._not_ours_observed()


class Breaker(LeaseElector):
    """Ends the heartbeat of another node, when it stood unchanged for its duration. Eligible as long as somebody waits for that."""

    def __init__(self, node: str, timing: Timing) -> None:
        super().__init__(heartbeat_name(node), NOBODY, timing)
        self.waiting: dict[str, tuple[str, float]] = {}
        """The versions of Services' Leases that wait, each with the patience of its elector, by name."""
        self.expired_at: Instant = NEVER
        """When the heartbeat was over that was seen to end last."""
        self._patiences: Counter[float] = Counter()
        self._covered: dict[str, str] = {}

    def wait(self, name: str, version: str, patience: float, now: Instant) -> None:
        """A Service's Lease waits for the end of the heartbeat. The least patient of all decides when it is ended."""
        self.wait_no_more(name, now)
        self.waiting[name] = version, max(0.0, patience)
        self._patiences[max(0.0, patience)] += 1
        self.set_eligible(True, now, min(self._patiences))

    def wait_no_more(self, name: str, now: Instant) -> None:
        """A Service's Lease does not wait, or not any more."""
        if (before := self.waiting.pop(name, None)) is not None:
            self._patiences[before[1]] -= 1
            self._patiences += Counter()  # forgets what is zero
            self.set_eligible(bool(self.waiting), now, min(self._patiences, default=0.0))

    def lease_observed(self, lease: Lease | None, now: Instant) -> None:
        """As LeaseElector."""
        before = self._takeable_at
        super().lease_observed(lease, now)
        self._note_end(before, now)

    def next_write(self, now: Instant) -> LeaseWrite | None:
        """Covers the versions that wait now, not those that are learnt while it is on its way."""
        write = super().next_write(now)
        if write is not None:
            self._covered = {name: version for name, (version, _) in self.waiting.items()}
        return write

    def broken(self, lease: Lease, sent_at: Instant, now: Instant) -> Mapping[str, str]:
        """The write was accepted: the versions, by name of the lease, that may be taken now."""
        before = self._takeable_at
        self.write_succeeded(lease, sent_at, now)
        self._note_end(before, now)
        return self._covered

    def _note_end(self, takeable_before: Instant, now: Instant) -> None:
        if self.observed is not None and not self.observed.holder_identity and self._takeable_at != takeable_before:
            self.expired_at = min(now, takeable_before)

    def _claim(self) -> LeaseWrite:
        return LeaseWrite(Verb.RELEASE, self.name, "", RELEASED_DURATION, self.observed)


class OwnHeartbeat(LeaseElector):
    """The heartbeat of this node: an ordinary candidate that also knows which of its writes its watch has shown it."""

    def __init__(self, identity: str, timing: Timing) -> None:
        super().__init__(heartbeat_name(identity), identity, timing)
        self.run = 0
        self._shown: deque[str] = deque(maxlen=REMEMBERED_VERSIONS)
        self._sent: dict[str, Instant] = {}
        self._echoed = NEVER

    def lease_observed(self, lease: Lease | None, now: Instant) -> None:
        """As LeaseElector. A version that is not known from an acknowledged write yet is remembered until it is."""
        if lease is not None:
            self._shown.append(lease.resource_version)
            self._echo(lease.resource_version)
        super().lease_observed(lease, now)

    def write_succeeded(self, lease: Lease, sent_at: Instant, now: Instant) -> None:
        """As LeaseElector."""
        if len(self._sent) >= REMEMBERED_VERSIONS:
            del self._sent[next(iter(self._sent))]
        self._sent[lease.resource_version] = sent_at
        if lease.resource_version in self._shown:
            self._echo(lease.resource_version)
        super().write_succeeded(lease, sent_at, now)

    def _echo(self, version: str) -> None:
        self._echoed = max(self._echoed, self._sent.get(version, NEVER))

    def rights_until(self, now: Instant) -> Instant:
        """Until when the leases of this node give rights; a lapse begins a new run."""
        self._settle(now)
        if self.deadline is None:
            self._echoed = NEVER
            return NEVER
        until = min(self.deadline, self._echoed + FENCE * self.timing.lease_duration)
        return until if now < until else NEVER

    def _fire(self, event: Event) -> None:
        was = self.state
        super()._fire(event)
        if was is State.HOLDING and self.state is not State.HOLDING:
            self.run += 1
