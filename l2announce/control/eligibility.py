"""Whether a node may hold the lease of a group, and the first reason why not: interfaces, the health of nodes, endpoints, subnets.

Candidates are narrowed step by step, and no step leaves nobody: of those that can serve the group's Services as well as any, those that are
best off. So bad health alone costs an address its holder only where another node is better off. Decides nothing about leases: what the
answer means for one that is held is election.py's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from l2announce.control.blocker import Blocker
from l2announce.control.endpoints import LocalEndpoints, local_endpoints
from l2announce.control.groups import Group
from l2announce.control.health import Gravity, NodeHealth, gravities
from l2announce.control.policy import Announcement
from l2announce.control.segments import Segments
from l2announce.control.services import locally_served
from l2announce.model.address import FOREVER, NEVER, Instant
from l2announce.model.eligibility import EligibilitySettings
from l2announce.model.objects import ClusterState, NamespacedName


@dataclass(frozen=True, slots=True)
class Interfaces:
    """What counts of this node's interfaces: the names of those with carrier, and the routes."""

    with_carrier: frozenset[str]
    segments: Segments


def fit(
    state: ClusterState,
    candidates: Mapping[Group, frozenset[str]],
    settings: EligibilitySettings = EligibilitySettings(),  # noqa: B008 - frozen
) -> dict[Group, frozenset[str]]:
    """Those candidates of each group (see placement.py) that should come first, as far as the objects tell: they can serve it and are best
    off, with no grace for bad conditions. Never empty where ``candidates`` are not."""
    endpoints, grave = local_endpoints(state), gravities(state, settings)
    able = {group: endpoints.able(group, names) for group, names in candidates.items()}
    best = {names: _best(names, grave) for names in frozenset(able.values())}  # many groups have the same candidates
    return {group: best[names] for group, names in able.items()}


class Eligibility:
    """What speaks against nodes as holders of each lease. Sans-IO."""

    def __init__(self, node_name: str, settings: EligibilitySettings, handicap: float) -> None:
        """``handicap``: the seconds that a node waits longer for a free lease when others should rather have it."""
        self._node_name = node_name
        self._settings = settings
        self._handicap = handicap
        self._health = NodeHealth(settings)
        self._endpoints = LocalEndpoints()
        self._able: dict[str, frozenset[str]] = {}
        self._least: dict[frozenset[str], Gravity] = {}
        self._least_until = NEVER
        self.served: frozenset[NamespacedName] = frozenset()
        """The Services that this node can serve by endpoints of its own, or shall announce although nobody can."""

    def replace_cluster(
        self, state: ClusterState, groups: Mapping[str, Group], candidates: Mapping[Group, frozenset[str]], now: Instant
    ) -> None:
        """The objects of the cluster, and from these the group of each lease and the candidates of each group."""
        self._health.replace_nodes(state.nodes, now)
        self._least_until = NEVER
        endpoints = self._endpoints = local_endpoints(state)
        self._able = {name: endpoints.able(group, candidates[group]) for name, group in groups.items()}
        self.served = locally_served(state.endpoints, self._node_name)
        if self._settings.on_no_endpoints == "keep":
            self.served = self.served.union(*(endpoints.unserved(group, candidates[group]) for group in groups.values()))

    def blocker(self, name: str, wanted: Iterable[Announcement], here: Interfaces, now: Instant) -> Blocker | None:
        """Why this node may not hold the lease ``name``, for which it would announce ``wanted``."""
        announcements = tuple(wanted)
        if not any(each.interfaces & here.with_carrier for each in announcements):
            return Blocker.NO_CARRIER
        blocker = self.blocker_of_node(name, self._node_name, now)
        if blocker is None and self._settings.subnet_match == "require" and not _on_link(announcements, here):
            return Blocker.NO_SUBNET
        return blocker

    def blocker_of_node(self, name: str, node: str, now: Instant) -> Blocker | None:
        """What the cluster's objects say against any node as holder of the lease ``name``; its interfaces are known to itself alone."""
        able = self._able.get(name, frozenset())
        if able and node not in able:
            return Blocker.NO_LOCAL_ENDPOINT
        own = self._health.gravity(node, now)
        if not own:
            return None
        return self._health.blocker(node, now) if able and self._least_gravity(able, now) < own else None

    def handicap(self, wanted: Iterable[Announcement], here: Interfaces, now: Instant) -> float:
        """How many seconds longer this node waits before it takes a free lease: its conditions are bad but do not count yet, or the subnet
        of an address is preferred and not here."""
        off_link = self._settings.subnet_match == "prefer" and not _on_link(wanted, here)
        return self._handicap if off_link or self._health.in_doubt(self._node_name, now) else 0.0

    def next_timer(self) -> Instant | None:
        """When ``handle_timer`` should be called next."""
        return self._health.next_timer()

    def handle_timer(self, now: Instant) -> bool:
        """Whether time has changed answers since the last call."""
        return self._health.handle_timer(now)

    def _least_gravity(self, names: frozenset[str], now: Instant) -> Gravity:
        """The gravity of the best of them. Remembered until something changes: many groups have the same candidates."""
        if now >= self._least_until:
            self._least.clear()
            at = self._health.next_timer()
            self._least_until = FOREVER if at is None else at
        if (least := self._least.get(names)) is None:
            least = self._least[names] = min(self._health.gravity(name, now) for name in names)
        return least


def _best(names: frozenset[str], grave: Mapping[str, Gravity]) -> frozenset[str]:
    """Those of least gravity."""
    if names.isdisjoint(grave):
        return names
    least = min(grave.get(name, Gravity.NONE) for name in names)
    return frozenset(name for name in names if grave.get(name, Gravity.NONE) == least)


def _on_link(wanted: Iterable[Announcement], here: Interfaces) -> bool:
    """Whether each address lies in a connected subnet of an interface with carrier that announces it."""
    return all(here.segments.reach(each.address, each.interfaces & here.with_carrier) for each in wanted)
