"""Which nodes are better left alone, as far as the Node objects tell: faults in order of gravity, and since when.

Conditions flap, so they count only after a grace period on the boot clock, from when this process first saw them; what a person or a
controller has decided (taint, deletion, cordon, label) counts at once. Whether a fault costs a node anything is decided by eligibility.py:
only where another node is better off.
"""

from collections.abc import Mapping
from enum import IntEnum

from l2announce.control.blocker import Blocker
from l2announce.control.wakeups import Wakeups
from l2announce.model.address import Instant
from l2announce.model.eligibility import EligibilitySettings
from l2announce.model.objects import ClusterState, Node

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
"""Counts whatever its value, as in Kubernetes."""


class Gravity(IntEnum):
    """How bad a node is off: it gives way to every node of less gravity."""

    NONE = 0
    SET_ASIDE = 1
    """It works, but its operator asked not to use it: cordoned or labelled, where that is honoured."""
    UNHEALTHY = 2
    """Its Ready condition is False or Unknown, or NetworkUnavailable is True."""
    GONE = 3
    """It is out of service by taint, or its Node is being deleted."""


def gravity(node: Node, settings: EligibilitySettings) -> Gravity:
    """How bad the node is off by its object, at once: without the grace period."""
    if node.out_of_service or node.deleting:
        return Gravity.GONE
    return Gravity.UNHEALTHY if _has_bad_conditions(node) else _set_aside(node, settings)


def gravities(state: ClusterState, settings: EligibilitySettings) -> dict[str, Gravity]:
    """The nodes that are not well, with their gravity, without the grace period."""
    found = {name: gravity(node, settings) for name, node in state.nodes.items()}
    return {name: grave for name, grave in found.items() if grave}


class NodeHealth:
    """The gravity of every node at a moment, with the grace period of its conditions. Sans-IO."""

    def __init__(self, settings: EligibilitySettings) -> None:
        self._settings = settings
        self._nodes: dict[str, Node] = {}
        self._grave: dict[str, Gravity] = {}
        self._counts_from: dict[str, Instant] = {}
        self._timers = Wakeups()

    def replace_nodes(self, nodes: Mapping[str, Node], now: Instant) -> None:
        """Every Node of the cluster. One whose conditions were bad before keeps its time."""
        before = self._counts_from
        self._nodes = dict(nodes)
        found = {name: gravity(node, self._settings) for name, node in nodes.items()}
        self._grave = {name: grave for name, grave in found.items() if grave}
        self._counts_from = {
            name: before.get(name, now + self._settings.node_grace) for name, node in nodes.items() if _has_bad_conditions(node)
        }
        for name in before.keys() | self._counts_from.keys():
            at = self._counts_from.get(name)
            self._timers.set(name, at if at is not None and now < at else None)

    def gravity(self, name: str, now: Instant) -> Gravity:
        """What counts for the node now. A node without an object has nothing wrong with it."""
        grave = self._grave.get(name, Gravity.NONE)
        if grave is Gravity.UNHEALTHY and now < self._counts_from[name]:
            return _set_aside(self._nodes[name], self._settings)
        return grave

    def in_doubt(self, name: str, now: Instant) -> bool:
        """Whether the node's conditions are bad, but do not count yet."""
        return now < self._counts_from.get(name, now)

    def blocker(self, name: str, now: Instant) -> Blocker | None:
        """The word for what counts for the node now."""
        grave = self.gravity(name, now)
        if grave is Gravity.SET_ASIDE:
            return Blocker.CORDONED if _is_cordoned(self._nodes[name], self._settings) else Blocker.EXCLUDED
        return Blocker.NODE_UNHEALTHY if grave else None

    def next_timer(self) -> Instant | None:
        """When the conditions of some node begin to count."""
        return self._timers.next_timer()

    def handle_timer(self, now: Instant) -> bool:
        """Whether the conditions of some node have begun to count since the last call."""
        return bool(list(self._timers.due(now)))


def _has_bad_conditions(node: Node) -> bool:
    return node.ready in ("False", "Unknown") or node.network_unavailable


def _is_cordoned(node: Node, settings: EligibilitySettings) -> bool:
    return node.unschedulable and settings.on_cordon == "withdraw"


def _set_aside(node: Node, settings: EligibilitySettings) -> Gravity:
    is_excluded = EXCLUDE_LABEL in node.labels and settings.on_exclude_label == "withdraw"
    return Gravity.SET_ASIDE if is_excluded or _is_cordoned(node, settings) else Gravity.NONE
