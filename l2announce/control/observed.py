"""Every lease of the namespace with the moment when its present version was first seen: what an elector that is made later must know."""

from collections import deque
from collections.abc import Iterable, Set
from dataclasses import dataclass

from l2announce.control.election import LeaseElector
from l2announce.model.address import NEVER, Instant, parse_mac
from l2announce.model.lease import DRAIN_PREFIX, HEARTBEAT_PREFIX, INTERFACES_ANNOTATION, Lease

MAX_MACS = 4096
"""A bound on what writers of leases can make us remember."""


FORGET = 3600.0
"""Seconds after which a lease that vanished is as if it had never been; at least its duration."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """A lease, since when it stood so, and when it vanished if it has."""

    lease: Lease
    seen_at: Instant
    gone_at: Instant | None = None


class ObservedLeases:
    """The leases as the watch shows them. Not ready before the first list."""

    def __init__(self) -> None:
        self.is_ready = False
        self.drained: frozenset[str] = frozenset()
        """The nodes that have a drain lease."""
        self._sights: dict[str, _Sight] = {}
        self._held: set[str] = set()
        self._gone: deque[tuple[Instant, str]] = deque()
        self._by_heartbeat: dict[str, set[str]] = {}
        self.macs: frozenset[bytes] = frozenset()
        """Every MAC that a holder wrote to a lease so far, up to MAX_MACS of them: those of the nodes of this cluster."""

    def list_received(self, leases: Iterable[Lease], now: Instant) -> dict[str, Lease]:
        """Take a whole list; returns it by name."""
        listed = {lease.name: lease for lease in leases}
        for name in self._sights.keys() - listed.keys():
            self.lease_observed(name, None, now)
        for name, lease in listed.items():
            self.lease_observed(name, lease, now)
        self.is_ready = True
        return listed

    def lease_observed(self, name: str, lease: Lease | None, now: Instant) -> None:
        """Take one change. A lease that vanished is remembered for its duration: its holder may still answer."""
        known = self._sights.get(name)
        self._index(name, lease)
        if name.startswith(DRAIN_PREFIX):
            node = {name.removeprefix(DRAIN_PREFIX)}
            self.drained = self.drained - node if lease is None else self.drained | node
        if lease is not None:
            if lease.holder_identity:
                self._held.add(name)
            self._learn_macs(lease.annotations.get(INTERFACES_ANNOTATION, ""))
        if lease is None:
            if known is not None and known.gone_at is None:
                self._sights[name] = _Sight(known.lease, known.seen_at, now)
                self._gone.append((now + max(FORGET, known.lease.lease_duration), name))
                self._forget(now)
        elif known is None or known.gone_at is not None or known.lease.resource_version != lease.resource_version:
            self._sights[name] = _Sight(lease, now)

    def _forget(self, now: Instant) -> None:
        """Those that vanished long ago, and did not come back."""
        while self._gone and self._gone[0][0] <= now:
            _, name = self._gone.popleft()
            sight = self._sights.get(name)
            if sight is not None and sight.gone_at is not None and sight.gone_at + max(FORGET, sight.lease.lease_duration) <= now:
                del self._sights[name]
                self._held.discard(name)

    def _learn_macs(self, pairs: str) -> None:
        for pair in filter(None, pairs.split(",")):
            try:
                mac = parse_mac(pair.rpartition("=")[2])
            except ValueError:
                continue  # written by somebody else
            if mac not in self.macs and len(self.macs) < MAX_MACS:
                self.macs |= {mac}

    def knows(self, name: str) -> bool:
        """Whether the lease was ever seen, so that somebody may have held it."""
        return name in self._sights

    def was_held(self, name: str) -> bool:
        """Whether the lease was ever seen with a holder."""
        return name in self._held

    def seen_at(self, name: str) -> Instant:
        """Since when the lease stands as it does; NEVER when it was never seen."""
        sight = self._sights.get(name)
        return NEVER if sight is None else sight.seen_at

    def present(self, name: str) -> Lease | None:
        """The lease as it stands; None when there is none."""
        sight = self._sights.get(name)
        return sight.lease if sight is not None and sight.gone_at is None else None

    def holder(self, name: str, now: Instant) -> str | None:
        """Who holds the lease, as far as we have seen; None when nobody does or its holder let it run out."""
        lease = self.present(name)
        if lease is None or now >= self._valid_until(self._sights[name]):
            return None
        return lease.holder_identity or None

    def replay(self, elector: LeaseElector, now: Instant) -> None:
        """Show a new elector what happened to its lease so far, as if it had watched."""
        sight = self._sights.get(elector.name)
        if sight is None:
            elector.lease_observed(None, now)
            return
        elector.lease_observed(sight.lease, sight.seen_at)
        if sight.gone_at is not None:
            elector.lease_observed(None, sight.gone_at)

    def foreign_until(self, name: str, identity: str) -> Instant | None:
        """Until when another than ``identity`` holds the lease, as far as we have seen; None when nobody else does."""
        sight = self._sights.get(name)
        if sight is None or sight.lease.holder_identity in ("", identity):
            return None
        return self._valid_until(sight)

    def held_by_heartbeat_of(self, identity: str) -> Set[str]:
        """The leases that ``identity`` holds by its heartbeat."""
        return self._by_heartbeat.get(identity, frozenset())

    def _index(self, name: str, lease: Lease | None) -> None:
        """Keep the leases by the holder on whose heartbeat they rely."""
        before = self.present(name)
        if before is not None and before.follows_heartbeat:
            kept = self._by_heartbeat[before.holder_identity]
            kept.discard(name)
            if not kept:
                del self._by_heartbeat[before.holder_identity]
        if lease is not None and lease.follows_heartbeat:
            self._by_heartbeat.setdefault(lease.holder_identity, set()).add(name)

    def _valid_until(self, sight: _Sight) -> Instant:
        """Until when a lease binds: by its own renewals, or by the heartbeat of its holder if its annotation says so."""
        own = (sight.seen_at if sight.gone_at is None else sight.gone_at) + sight.lease.lease_duration
        beat = self._sights.get(HEARTBEAT_PREFIX + sight.lease.holder_identity) if sight.lease.follows_heartbeat else None
        if beat is None or beat.lease.holder_identity != sight.lease.holder_identity:
            return own
        return max(own, (beat.seen_at if beat.gone_at is None else beat.gone_at) + beat.lease.lease_duration)
