"""Leases that this node asks their holders for: those of Services that prefer it (preempt), and its share of the others (rebalancing).

Who asks is alive and able to hold what it asks for, so nobody has to guess that of another. The asking is a MOVE_TO annotation, and the
hand-over is that of turns.py. Nothing is asked for before this node has been able to hold it for HOLD_DOWN, so that a node that comes and
goes moves nothing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from l2announce.control.election import LeaseElector
from l2announce.control.observed import ObservedLeases
from l2announce.control.states import State
from l2announce.control.turns import Turns
from l2announce.model.address import FOREVER, Instant
from l2announce.model.lease import MOVE_TO, LeaseWrite, Verb
from l2announce.model.timing import HOLD_DOWN


class Pulls:
    """The wishes of one node. ``interval``: seconds between two leases that are asked for to even the loads; 0 for never."""

    def __init__(self, node_name: str, interval: float, leases: ObservedLeases, turns: Turns) -> None:
        self._node = node_name
        self._interval = interval
        self._leases = leases
        self._turns = turns
        self._ask_at: dict[str, Instant] = {}
        self._rebalance_at: Instant = FOREVER

    def next_timer(self) -> Instant:
        """When ``next_requests`` should be called; FOREVER for never."""
        return min((self._rebalance_at, *self._ask_at.values()))

    def next_requests(self, electors: Mapping[str, LeaseElector], now: Instant) -> list[LeaseWrite]:
        """The annotations to write now. Whether one is written, or refused, the watch will tell; none is asked for again within
        HOLD_DOWN."""
        wanted = [*self._preempting(electors, now), *self._rebalancing(electors, now)]
        return [write for name in dict.fromkeys(wanted) if (write := self._ask(name)) is not None]

    def _ask(self, name: str) -> LeaseWrite | None:
        lease = self._leases.present(name)
        if lease is None or not lease.holder_identity or MOVE_TO in lease.annotations:
            return None
        annotations = {**lease.annotations, MOVE_TO: self._node}
        return LeaseWrite(Verb.ANNOTATE, name, lease.holder_identity, lease.lease_duration, lease, annotations)

    def _preempting(self, electors: Mapping[str, LeaseElector], now: Instant) -> Iterator[str]:
        """The leases of Services that prefer this node to their holder, and have for long enough."""
        ask_at = {}
        for name, preference in self._turns.preferences.items():
            if preference.preempt and self._node in preference.nodes and _is_able(electors, name):
                ask_at[name] = self._ask_at.get(name, now + HOLD_DOWN)
                if now >= ask_at[name]:
                    ask_at[name] = now + HOLD_DOWN
                    holder = self._leases.holder(name, now)
                    if holder is not None and holder not in preference.nodes[: preference.nodes.index(self._node)]:
                        yield name
        self._ask_at = ask_at

    def _rebalancing(self, electors: Mapping[str, LeaseElector], now: Instant) -> Iterator[str]:
        """One lease of the most loaded node, when this one holds least of all and at least two fewer."""
        if not self._interval:
            return
        if self._rebalance_at == FOREVER:
            if electors:
                self._rebalance_at = now + max(HOLD_DOWN, self._interval)
            return
        if now < self._rebalance_at:
            return
        self._rebalance_at = now + self._interval
        holders = {name: holder for name in self._turns.candidates if (holder := self._leases.holder(name, now)) is not None}
        loads = Counter(holders.values())
        mine = loads.pop(self._node, 0)
        if any(load < mine for load in loads.values()):
            return
        spare = [
            (-loads[holder], self._turns.plan.rank(name, self._node), name)
            for name, holder in holders.items()
            if holder in loads and loads[holder] >= mine + 2 and name not in self._turns.preferences and _is_able(electors, name)
        ]
        if spare:
            yield min(spare)[2]


def _is_able(electors: Mapping[str, LeaseElector], name: str) -> bool:
    return name in electors and electors[name].state is State.FOLLOWING
