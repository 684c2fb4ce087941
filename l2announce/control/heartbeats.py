"""The heartbeats of all nodes, as one node sees and writes them: feeds the machines of heartbeat.py, and tells electors what comes of them.

Decides nothing about Services' Leases: their electors do. What an event costs does not depend on how many Services there are, only on how
many of them it concerns.
"""

from collections.abc import Iterable, Mapping

from l2announce.control.election import LeaseElector
from l2announce.control.heartbeat import Breaker, HeldByHeartbeat, OwnHeartbeat, heartbeat_name, is_heartbeat
from l2announce.control.observed import ObservedLeases
from l2announce.control.states import State
from l2announce.control.wakeups import Wakeups
from l2announce.model.address import NEVER, Instant
from l2announce.model.lease import HEARTBEAT_PREFIX, Conflict, Lease, LeaseWrite, Unreachable
from l2announce.model.timing import Timing


class Heartbeats:
    """Feed it every lease whose name begins with HEARTBEAT_PREFIX, after ``leases``. ``electors``: those of Services' Leases, by name."""

    def __init__(
        self, identity: str, timing: Timing, node_mode: bool, leases: ObservedLeases, electors: Mapping[str, LeaseElector]
    ) -> None:
        self.identity = identity
        self.timing = timing
        self.own = OwnHeartbeat(identity, timing) if node_mode else None
        self._leases = leases
        self._electors = electors
        self._breakers: dict[str, Breaker] = {}
        self._touched: set[str] = set()
        self._wakeups = Wakeups()
        self._waits_for: dict[str, str] = {}
        self._active: set[str] = set()
        self._told: tuple[int, Instant, bool] = (0, NEVER, False)

    def new_elector(self, name: str) -> LeaseElector:
        """The candidate for a Service's Lease that suits the mode of this node."""
        return (HeldByHeartbeat if self.own is not None else LeaseElector)(name, self.identity, self.timing)

    # What happened

    def listed(self, leases: Mapping[str, Lease], now: Instant) -> set[str]:
        """Every lease of the namespace. Returns the names of the electors that were told something."""
        known = {*map(heartbeat_name, self._breakers), heartbeat_name(self.identity)}
        return set().union(*(self.lease_observed(name, leases.get(name), now) for name in filter(is_heartbeat, leases.keys() | known)))

    def lease_observed(self, name: str, lease: Lease | None, now: Instant) -> set[str]:
        """One heartbeat changed; None: it was deleted. Returns the names of the electors that were told something.

        Where it has ended, this holds for every version of a Service's Lease that was shown before.
        """
        node = name.removeprefix(HEARTBEAT_PREFIX)
        if node == self.identity:
            if self.own is not None:
                self.own.lease_observed(lease, now)
            return set()
        breaker = self._breakers.get(node)
        if breaker is None:  # nobody waits for its end
            return set()
        self._touched.add(node)
        breaker.lease_observed(lease, now)
        if lease is None or lease.holder_identity:
            return set()
        shown = {waiting: self._leases.present(waiting) for waiting in breaker.waiting}
        return self._tell_broken(breaker, {waiting: lease.resource_version for waiting, lease in shown.items() if lease is not None}, now)

    def write_succeeded(self, lease: Lease, sent_at: Instant, now: Instant) -> set[str]:
        """A heartbeat was written. Returns the names of the electors that were told something."""
        if self.own is not None and lease.name == self.own.name:
            self.own.write_succeeded(lease, sent_at, now)
            return set()
        breaker = self._breaker(lease.name.removeprefix(HEARTBEAT_PREFIX))
        return self._tell_broken(breaker, breaker.broken(lease, sent_at, now), now)

    def write_failed(self, name: str, outcome: Conflict | Unreachable, now: Instant) -> None:
        """A write of a heartbeat was refused, or its fate is unknown."""
        if self.own is not None and name == self.own.name:
            self.own.write_failed(outcome, now)
        else:
            self._breaker(name.removeprefix(HEARTBEAT_PREFIX)).write_failed(outcome, now)

    def _tell_broken(self, breaker: Breaker, versions: Mapping[str, str], now: Instant) -> set[str]:
        told = versions.keys() & self._electors.keys()
        for name in told:
            self._electors[name].holder_broken(versions[name], breaker.expired_at, now)
        return told

    # What electors are told, and tell

    def news(self, now: Instant) -> set[str]:
        """The names of the electors for which what the own heartbeat gives them has changed."""
        if self.own is None:
            return set()
        before, self._told = self._told, (self.own.run, self.own.rights_until(now), self._api_is_lost)
        return set(self._active) if self._told != before else set()

    @property
    def _api_is_lost(self) -> bool:
        """The own heartbeat is not renewed for want of the API, and not because it was seen to be another's or nobody's."""
        return self.own is not None and self.own.api_is_lost and self.own.state in (State.HOLDING, State.RESUMING)

    def next_write_of(self, elector: LeaseElector, now: Instant) -> LeaseWrite | None:
        """What a Service's elector wants to write now that it knows of the own heartbeat. Call after ``news``."""
        if isinstance(elector, HeldByHeartbeat):
            elector.beat(*self._told, now)
        return elector.next_write(now)

    def follow(self, elector: LeaseElector, now: Instant) -> None:
        """Note whether an elector that was touched lives by the own heartbeat, and whether it waits for another's end."""
        name = elector.name
        (self._active.discard if elector.state in (State.IDLE, State.FOLLOWING) else self._active.add)(name)
        before, node = self._waits_for.pop(name, None), elector.awaits_break_of
        if before is not None and before != node:
            self._breaker(before).wait_no_more(name, now)
        if node is not None and elector.observed is not None:
            self._waits_for[name] = node
            self._breaker(node).wait(name, elector.observed.resource_version, elector.patience, now)

    # Writing

    @property
    def is_idle(self) -> bool:
        """Whether the own heartbeat is given up, or there is none."""
        return self.own is None or self.own.state is State.IDLE

    def next_timer(self) -> Instant | None:
        """When to call ``handle_timer`` next."""
        own = self.own.next_timer() if self.own is not None else None
        return min((at for at in (own, self._wakeups.next_timer()) if at is not None), default=None)

    def handle_timer(self, now: Instant) -> None:
        """Act on what is due."""
        if self.own is not None:
            self.own.handle_timer(now)
        for node in self._wakeups.due(now):
            self._breaker(node).handle_timer(now)

    def next_writes(self, wanted: bool, now: Instant) -> list[LeaseWrite]:
        """The heartbeat to renew, those to end. ``wanted``: this node may hold leases; it also needs its heartbeat while it still has some.
        Call after ``follow``."""
        return [write for write in (self._own_write(wanted, now), *self._breaks(now)) if write is not None]

    def _own_write(self, wanted: bool, now: Instant) -> LeaseWrite | None:
        if self.own is None:
            return None
        needed = wanted or bool(self._active)
        self.own.set_eligible(needed, now)
        if not needed:  # nothing answers by it
            self.own.withdrawn(now)
        return self.own.next_write(now)

    def _breaks(self, now: Instant) -> Iterable[LeaseWrite | None]:
        touched, self._touched = self._touched, set()
        for node in sorted(touched):
            breaker = self._breakers[node]
            yield breaker.next_write(now)
            self._wakeups.set(node, breaker.next_timer())
            if not breaker.waiting and breaker.state is State.IDLE and not breaker.is_writing:
                self._wakeups.set(node, None)
                del self._breakers[node]

    def _breaker(self, node: str) -> Breaker:
        """The breaker of a node's heartbeat, which is looked at again by ``next_writes``."""
        self._touched.add(node)
        if node not in self._breakers:
            breaker = self._breakers[node] = Breaker(node, self.timing)
            self._leases.replay(breaker, NEVER)
        return self._breakers[node]
