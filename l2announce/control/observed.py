"""Every lease of the namespace with the moment when its present version was first seen: what an elector that is made later must know."""

from collections.abc import Iterable
from dataclasses import dataclass

from l2announce.control.election import LeaseElector
from l2announce.model.address import NEVER, Instant, parse_mac
from l2announce.model.lease import DRAIN_PREFIX, INTERFACES_ANNOTATION, Lease

MAX_MACS = 4096
"""A bound on what writers of leases can make us remember."""


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
        elif known is None or known.gone_at is not None or known.lease.resource_version != lease.resource_version:
            self._sights[name] = _Sight(lease, now)

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
        if lease is None or now >= self._sights[name].seen_at + lease.lease_duration:
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
        return (sight.seen_at if sight.gone_at is None else sight.gone_at) + sight.lease.lease_duration
