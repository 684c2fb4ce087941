"""``--lease-mode node``: one heartbeat Lease for each node; Services' Leases are valid while the heartbeat of their holder is.

The rules, on top of those of ``election``; docs/adr/0015 proves them:

- **Break.** A Service's Lease does not change while its holder lives, so a swap of it alone proves nothing. Before a candidate takes one,
  a write of its own must have ended the holder's heartbeat: a swap of exactly the version that stood unchanged for its duration, or that is
  released already, sent after the candidate learnt the version of the Service's Lease that it will take. A Conflict means: it lives.
- **Echo.** The right of a holder ends FENCE of the duration after it sent the last heartbeat that *its own watch has shown it*. What came
  before that heartbeat has then been shown as well: no change of a Service's Lease older than that can be unknown to its holder.
- **Confirm.** After its heartbeat lapsed, and after anybody else wrote to a Service's Lease, that Lease is written again before its right
  goes on; a write that was sent under an earlier run of heartbeats gives no right.

Every node obeys the first rule for Leases with the annotation, whatever its own mode is.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from l2announce.control.election import RELEASED_DURATION, REMEMBERED_VERSIONS, Event, LeaseElector, State
from l2announce.model.address import FOREVER, NEVER, Instant
from l2announce.model.lease import (
    HEARTBEAT_PREFIX,
    LEASE_MODE_ANNOTATION,
    NODE_MODE,
    Conflict,
    Lease,
    LeaseWrite,
    Unreachable,
    Verb,
)
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
        self._beat_until: Instant = NEVER
        self._written_in = 0
        self._confirmed = False
        """The lease as observed is what our own acknowledged write of this run of heartbeats made of it."""

    @property
    def heard(self) -> tuple[int, Instant]:
        """What ``beat`` said last."""
        return self._run, self._beat_until

    def beat(self, run: int, until: Instant, now: Instant) -> None:
        """The node's heartbeat gives rights until ``until``. Another ``run`` than before: it lapsed in between."""
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
        return write

    def _write_due_at(self) -> Instant:
        if self.state is not State.RELEASING and (self._beat_until == NEVER or (self.state is not State.ACQUIRING and self._confirmed)):
            return FOREVER
        due = super()._write_due_at()
        return due if self.state is State.RELEASING or due < self._beat_until else FOREVER

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
        self.waiting: dict[str, str] = {}
        """Versions of Services' Leases that wait, by name."""
        self._covered: dict[str, str] = {}

    def next_write(self, now: Instant) -> LeaseWrite | None:
        """Covers the versions that wait now, not those that are learnt while it is on its way."""
        write = super().next_write(now)
        if write is not None:
            self._covered = dict(self.waiting)
        return write

    def broken(self, lease: Lease, sent_at: Instant, now: Instant) -> Mapping[str, str]:
        """The write was accepted: the versions, by name of the lease, that may be taken now."""
        self.write_succeeded(lease, sent_at, now)
        return self._covered

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


class Heartbeats:
    """The heartbeats of all nodes, as one node sees and writes them. Feed it every lease whose name begins with HEARTBEAT_PREFIX."""

    def __init__(self, identity: str, timing: Timing, node_mode: bool) -> None:
        self.identity = identity
        self.timing = timing
        self.own = OwnHeartbeat(identity, timing) if node_mode else None
        self._breakers: dict[str, Breaker] = {}
        self._waits_for: dict[str, str] = {}

    def new_elector(self, name: str) -> LeaseElector:
        """The candidate for a Service's Lease that suits the mode of this node."""
        return (HeldByHeartbeat if self.own is not None else LeaseElector)(name, self.identity, self.timing)

    def listed(self, leases: Mapping[str, Lease], now: Instant) -> None:
        """Every lease of the namespace."""
        for name in leases.keys() | {breaker.name for breaker in self._breakers.values()} | {heartbeat_name(self.identity)}:
            if name.startswith(HEARTBEAT_PREFIX):
                self.lease_observed(name, leases.get(name), now)

    def lease_observed(self, name: str, lease: Lease | None, now: Instant) -> None:
        """One heartbeat changed; None: it was deleted."""
        node = name.removeprefix(HEARTBEAT_PREFIX)
        if node != self.identity:
            if node not in self._breakers:
                self._breakers[node] = Breaker(node, self.timing)
            self._breakers[node].lease_observed(lease, now)
        elif self.own is not None:
            self.own.lease_observed(lease, now)

    def knows(self, name: str) -> bool:
        """Whether it has seen this heartbeat exist, so that it would notice its disappearance."""
        return any(elector.name == name and elector.observed is not None for elector in self._all())

    def write_succeeded(self, lease: Lease, sent_at: Instant, now: Instant, electors: Mapping[str, LeaseElector]) -> set[str]:
        """A heartbeat was written. Returns the names of the electors that were told."""
        if self.own is not None and lease.name == self.own.name:
            self.own.write_succeeded(lease, sent_at, now)
            return set()
        covered = self._breakers[lease.name.removeprefix(HEARTBEAT_PREFIX)].broken(lease, sent_at, now)
        told = covered.keys() & electors.keys()
        for name in told:
            electors[name].holder_broken(covered[name], now)
        return told

    def write_failed(self, name: str, outcome: Conflict | Unreachable, now: Instant) -> None:
        """A write of a heartbeat was refused, or its fate is unknown."""
        elector = self.own if self.own is not None and name == self.own.name else self._breakers[name.removeprefix(HEARTBEAT_PREFIX)]
        elector.write_failed(outcome, now)

    def set_wanted(self, wanted: bool, now: Instant) -> None:
        """Whether this node needs a heartbeat: it may hold leases, or still has some. Without, nothing answers by it."""
        if self.own is not None:
            self.own.set_eligible(wanted, now)
            if not wanted:
                self.own.withdrawn(now)

    def tell(self, electors: Iterable[LeaseElector], now: Instant) -> set[str]:
        """Tell electors what the own heartbeat gives them; returns the names of those for which that is news."""
        if self.own is None:
            return set()
        until = self.own.rights_until(now)
        news = (self.own.run, until)
        changed = set()
        for elector in electors:
            if isinstance(elector, HeldByHeartbeat) and elector.heard != news:
                elector.beat(*news, now)
                changed.add(elector.name)
        return changed

    def follow(self, elector: LeaseElector, now: Instant) -> None:
        """Note whether an elector waits for a heartbeat to be broken."""
        node, name = elector.awaits_break_of, elector.name
        before = self._waits_for.pop(name, None)
        if before is not None:
            self._breakers[before].waiting.pop(name, None)
        if node is not None and elector.observed is not None:
            if node not in self._breakers:
                self.lease_observed(heartbeat_name(node), None, now)
            self._waits_for[name] = node
            self._breakers[node].waiting[name] = elector.observed.resource_version
        for touched in {node, before} - {None}:
            self._judge(str(touched), elector.patience, now)

    def _judge(self, node: str, patience: float, now: Instant) -> None:
        breaker = self._breakers[node]
        breaker.set_eligible(bool(breaker.waiting), now, patience)

    @property
    def is_idle(self) -> bool:
        """Whether the own heartbeat is given up, or there is none."""
        return self.own is None or self.own.state is State.IDLE

    def next_timer(self) -> Instant | None:
        """When to call ``handle_timer`` next."""
        return min((at for elector in self._all() if (at := elector.next_timer()) is not None), default=None)

    def handle_timer(self, now: Instant) -> None:
        """Act on what is due."""
        for elector in self._all():
            elector.handle_timer(now)

    def next_writes(self, now: Instant) -> list[LeaseWrite]:
        """The heartbeat to renew, those to break."""
        return [write for elector in self._all() if (write := elector.next_write(now)) is not None]

    def _all(self) -> list[LeaseElector]:
        return [*([self.own] if self.own is not None else []), *self._breakers.values()]
