"""Whose turn it is: how long this node leaves a free lease to others, and when it gives a held one away because somebody asks for it.

Reads the plan (placement.py) and what stands in the leases: the annotations of a hand-over (model/lease.py) and the drain leases. Decides
nothing about leases that are held by others, and writes nothing: the electors do.

A hand-over: somebody writes MOVE_TO on a held lease. Its holder stops answering, has that confirmed, and releases the lease with
RESERVED_FOR; the node named there takes it at once, the others leave it alone for a retry period. MOVED_FROM is the same for everybody but
the former holder. Whoever takes the lease writes neither.
"""

from collections.abc import Mapping

from l2announce.control.election import LeaseElector
from l2announce.control.groups import Group
from l2announce.control.observed import ObservedLeases
from l2announce.control.placement import Plan, plan
from l2announce.control.preferences import Preference, preference_of
from l2announce.control.states import State
from l2announce.model.address import FOREVER, NEVER, Instant
from l2announce.model.lease import ANYBODY, MOVE_TO, MOVED_FROM, RESERVED_FOR, Lease
from l2announce.model.objects import NamespacedName, Service
from l2announce.model.timing import RANK_STEP, START_SPREAD, Timing


class Turns:
    """The turns of one node. ``leases`` are those that its controller sees."""

    def __init__(self, node_name: str, timing: Timing, leases: ObservedLeases) -> None:
        self.plan = Plan()
        self.candidates: dict[str, frozenset[str]] = {}
        self.preferences: dict[str, Preference] = {}
        self._node = node_name
        self._timing = timing
        self._leases = leases
        self._fit: Mapping[str, frozenset[str]] | None = None
        self._planned: tuple[object, ...] = ()
        self._spread_until: Instant = FOREVER

    # What happened

    def replace_groups(
        self,
        groups: Mapping[str, Group],
        services: Mapping[NamespacedName, Service],
        candidates: Mapping[Group, frozenset[str]],
        fit: Mapping[Group, frozenset[str]] | None = None,
    ) -> None:
        """The groups by lease name, the Services, and the candidates of each group. ``fit``: those that can serve at present, where that
        is known."""
        self.candidates = {name: candidates[group] for name, group in groups.items()}
        found = {name: preference_of(group, services) for name, group in groups.items()}
        self.preferences = {name: preference for name, preference in found.items() if preference is not None}
        self._fit = None if fit is None else {name: fit[group] for name, group in groups.items()}
        self.look_again()

    def look_again(self) -> None:
        """Plan anew if the candidates, their preferences or the drained nodes have changed."""
        drained = self.drained
        fit = self._fit
        if drained:
            fit = {name: (fit or {}).get(name, nodes) - drained for name, nodes in self.candidates.items()}
        basis = (self.candidates, fit, self.preferences)
        if basis != self._planned:
            self._planned = basis
            self.plan = plan(self.candidates, fit, {name: preference.nodes for name, preference in self.preferences.items()})

    def ready(self, now: Instant) -> None:
        """This node may hold leases from here on; only the first call counts."""
        if self._spread_until == FOREVER:
            self._spread_until = now + START_SPREAD

    # Whose turn it is

    @property
    def drained(self) -> frozenset[str]:
        """The nodes that have a drain lease."""
        return self._leases.drained

    def patience(self, name: str, elector: LeaseElector | None = None) -> float:
        """Seconds for which a lease that became free is left to those before us in rank. The elector may know more than the watch."""
        lease, _ = self._known(name, elector)
        if lease is not None and _released(lease) and lease.annotations.get(RESERVED_FOR) == self._node:
            return 0.0
        without = lease.annotations.get(MOVED_FROM, "") if lease is not None and _released(lease) else ""
        return min(self.plan.rank(name, self._node, without) * RANK_STEP, self._timing.retry_period / 2)

    def not_before(self, name: str, elector: LeaseElector | None = None) -> Instant:
        """The instant before which we do not take the lease, however free it is.

        A lease that was handed over is its successor's for a retry period; one that was never held, as far as we have seen, is left to its
        first choice while nodes that were started together come up.
        """
        lease, since = self._known(name, elector)
        if lease is not None and _released(lease):
            reserved = lease.annotations.get(RESERVED_FOR)
            if reserved == self._node:
                return NEVER
            if reserved or lease.annotations.get(MOVED_FROM) == self._node:
                return since + self._timing.retry_period
        if self._leases.was_held(name) or self.plan.rank(name, self._node) == 0:
            return NEVER
        return NEVER if self._spread_until == FOREVER else self._spread_until + self.patience(name, elector)

    def _known(self, name: str, elector: LeaseElector | None) -> tuple[Lease | None, Instant]:
        """The lease as it stands, and since when."""
        if elector is not None and elector.observed is not None:
            return elector.observed, elector.observed_since
        return self._leases.present(name), self._leases.seen_at(name)

    # Giving away

    def wish(self, elector: LeaseElector | None) -> str | None:
        """Whom somebody wants the lease to go to that this elector holds, or is giving up; None when nobody does.

        A wish does not outlive the right: a lease that carries our identity and that we do not hold is resumed without it.
        """
        if elector is None or elector.state not in (State.HOLDING, State.WITHDRAWING, State.RELEASING) or elector.observed is None:
            return None
        return elector.observed.annotations.get(MOVE_TO)

    def refusal(self, elector: LeaseElector | None) -> str | None:
        """Why a wish is not granted, one sentence; None when it is, or there is none."""
        target = self.wish(elector)
        if target is None or elector is None:
            return None
        if target == self._node:
            return f"{target} holds it already"
        others = self.candidates.get(elector.name, frozenset()) - {self._node} - self.drained
        if target == ANYBODY:
            return None if others else "no other node may hold it"
        if target in self.drained:
            return f"{target} is drained"
        return None if target in others else f"{target[:253]!r} is no candidate for it"

    def gives_away(self, elector: LeaseElector | None) -> bool:
        """Whether the lease is to be handed over now."""
        return self.wish(elector) is not None and self.refusal(elector) is None

    def parting_words(self, elector: LeaseElector) -> dict[str, str]:
        """The annotations with which we release the lease."""
        target = self.wish(elector) if self.gives_away(elector) else None
        if target is not None and target != ANYBODY:
            return {RESERVED_FOR: target}
        return {MOVED_FROM: self._node} if target == ANYBODY or self._node in self.drained else {}


def _released(lease: Lease) -> bool:
    return not lease.holder_identity
