"""Who should hold what: an order of the nodes for each group, so that leases spread over nodes without talking.

Rendezvous hashing with bounded loads. Each node has a score for each group. A group's first choice is the best scored candidate that is
not yet the first choice of its share of groups; its second choice is the same among those that are left, with the shares of each first
choice counted apart, so that also what one node loses spreads evenly; the others follow by score. Every node computes the same plan from
the cluster's objects alone. The order is advice for who takes a *free* lease first (see RANK_STEP and START_SPREAD); it never takes a lease
from a healthy holder.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

from l2announce.control.groups import Group
from l2announce.control.policy import check_policies, matching_policies
from l2announce.control.services import Announceable, announceable, node_exposure
from l2announce.model.objects import ClusterState, Node, Service
from l2announce.model.selector import matches

SHORTLIST = 24
"""How many nodes the order of a group names. Those behind wait as long as the last: longer than half a retry period none waits, and that is
at most so many rank steps at the default timings."""

_PRIME = 1_073_741_789
"""The largest prime below 2**30: products of two hashes are then quick in Python, which for 5,000 nodes counts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The order of nodes for each lease name, first choice first, at most SHORTLIST of them, and of how many groups each node is the first
    choice."""

    orders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    loads: dict[str, int] = field(default_factory=dict)

    def rank(self, name: str, node: str, without: str = "") -> int:
        """How many nodes come before ``node`` for the lease ``name``: 0 is first. ``without`` is not counted: it has just let go.

        A node that the order does not name comes behind all that it names; a lease without a plan has rank 0 for everybody.
        """
        order = self.orders.get(name, ())
        position = order.index(node) if node in order else len(order)
        return position - (without != node and without in order[:position])


def plan(
    candidates: Mapping[str, frozenset[str]],
    fit: Mapping[str, frozenset[str]] | None = None,
    preferred: Mapping[str, Sequence[str]] | None = None,
) -> Plan:
    """The plan for groups, by lease name, with these candidates. Pure: equal arguments give equal plans on every node.

    ``fit`` names for each group the candidates that can serve at present; where it names none, or not the group, all can. Those that
    cannot come last, by score. ``preferred`` puts nodes first, in its order, if they are fit candidates; such groups count as load, and
    the others are spread around them. Where all groups have the same candidates and no preference, loads differ by 1 at most.
    """
    able = _able(candidates, fit or {})
    ranked = {name: _Ranked(name, nodes) for name, nodes in able.items()}
    wished = {name: [node for node in dict.fromkeys(nodes) if node in able.get(name, ())] for name, nodes in (preferred or {}).items()}
    first = {name: nodes[0] for name, nodes in wished.items() if nodes}
    loads = Counter(first.values())
    first |= _spread([group for name, group in ranked.items() if name not in first], loads)
    second = _second_choices(ranked, first)
    orders = {}
    for name, group in ranked.items():
        unfit = candidates[name] - group.nodes
        leading = wished.get(name) or (first[name],)
        order = dict.fromkeys((*leading, *second.get(name, ()), *group.best, *(_best(name, unfit) if unfit else ())))
        orders[name] = tuple(order)[:SHORTLIST]
    return Plan(orders, dict(loads))


def _able(candidates: Mapping[str, frozenset[str]], fit: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The candidates that are fit, all where none is. Equal sets are one object: thousands of large ones would cost more than the plan."""
    known: dict[frozenset[str], frozenset[str]] = {}
    found = {}
    for name, nodes in candidates.items():
        if nodes:
            able = nodes & fit[name] or nodes if name in fit else nodes
            found[name] = known.setdefault(able, able)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """One group and its candidates: the best by score at hand, the others on demand."""

    name: str
    nodes: frozenset[str]
    best: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.best:
            object.__setattr__(self, "best", _best(self.name, self.nodes))

    def choose(self, has_room: Callable[[str], bool]) -> str:
        """The best of our nodes that has room; one has."""
        for node in self.best:
            if has_room(node):
                return node
        factor = _hash(self.name)
        return min(filter(has_room, self.nodes), key=lambda node: (_hash(node) * factor % _PRIME, node))


def _second_choices(ranked: Mapping[str, _Ranked], first: Mapping[str, str]) -> dict[str, tuple[str]]:
    """Who takes over from each first choice, so that what it had is spread evenly."""
    left: dict[str, list[_Ranked]] = {}
    others: dict[tuple[str, frozenset[str]], frozenset[str]] = {}
    for name, node in first.items():
        group = ranked[name]
        if len(group.nodes) > 1:
            nodes = others.get((node, group.nodes)) or others.setdefault((node, group.nodes), group.nodes - {node})
            left.setdefault(node, []).append(_Ranked(name, nodes, group.best))
    return {name: (heir,) for node, groups in left.items() for name, heir in _spread(groups, Counter(), node).items()}


def _spread(groups: Iterable[_Ranked], loads: Counter[str], without: str = "") -> dict[str, str]:
    """A node for each group, so that the loads, which are added to, become as even as the candidates allow.

    Groups with the same candidates are placed together, those with the fewest candidates first. Their nodes are filled up to one level,
    some to one more; within that each group, in the order of its hash, takes the best that is left. ``without`` is no candidate of any,
    though it may be among their best.
    """
    classes: dict[frozenset[str], list[_Ranked]] = {}
    for group in groups:
        classes.setdefault(group.nodes, []).append(group)
    found = {}
    for nodes in sorted(classes, key=lambda nodes: (len(nodes), sorted(nodes))) if len(classes) > 1 else classes:
        members = classes[nodes]
        level, extra = _level(sorted([loads[node] for node in nodes]), len(members)) if loads else divmod(len(members), len(nodes))
        for group in sorted(members, key=lambda group: (_hash(group.name), group.name)) if len(members) > 1 else members:
            node = found[group.name] = group.choose(lambda node, top=level + (extra > 0): node != without and loads[node] < top)  # type: ignore[misc]
            extra -= loads[node] == level
            loads[node] += 1
    return found


def _level(loads: Sequence[int], groups: int) -> tuple[int, int]:
    """Water poured into a vessel with these floors, sorted and not empty: up to which level, and how many nodes get one more."""
    used, count = loads[0], 1
    while count < len(loads) and loads[count] * count - used < groups:
        used += loads[count]
        count += 1
    return divmod(groups + used, count)


@lru_cache(maxsize=16384)
def _best(name: str, nodes: frozenset[str]) -> tuple[str, ...]:
    """The best SHORTLIST by score, best first."""
    names, hashes = _hashes(nodes)
    factor = _hash(name)
    if len(names) <= SHORTLIST:
        return tuple([node for _, node in sorted(zip([known * factor % _PRIME for known in hashes], names, strict=True))])
    likely = _PRIME // len(names) * 2 * SHORTLIST
    scored = [(score, node) for known, node in zip(hashes, names, strict=True) if (score := known * factor % _PRIME) < likely]
    if len(scored) < SHORTLIST:
        scored = [(known * factor % _PRIME, node) for known, node in zip(hashes, names, strict=True)]
    return tuple([node for _, node in sorted(scored)[:SHORTLIST]])


@lru_cache(maxsize=256)
def _hashes(nodes: frozenset[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The nodes by name, and their hashes."""
    names = tuple(sorted(nodes))
    return names, tuple(_hash(name) for name in names)


def candidates_of(group: Group, state: ClusterState) -> frozenset[str]:
    """The names of the nodes that may hold the group's lease as far as the cluster's objects tell: a policy that announces an address of
    one of its Services selects the node, and that Service's annotations do not leave the node out. Interfaces, endpoints and health
    are known to each node alone and do not count."""
    return candidates_of_groups((group,), state)[group]


def candidates_of_groups(groups: Iterable[Group], state: ClusterState) -> dict[Group, frozenset[str]]:
    """``candidates_of`` for many groups, with the work on policies and nodes done once."""
    policies = check_policies(state.policies.values()).usable
    nodes_of = {
        checked.policy.name: frozenset(name for name, node in state.nodes.items() if matches(checked.policy.node_selector, node.labels))
        for checked in policies
    }

    unions: dict[frozenset[str], frozenset[str]] = {}
    merged: dict[tuple[frozenset[str], ...], frozenset[str]] = {}

    def of_service(service: Service) -> frozenset[str]:
        addresses = announceable(service)
        if not isinstance(addresses, Announceable):
            return frozenset()
        names = frozenset(match.name for match in matching_policies(policies, service, addresses) if match.addresses)
        if names not in unions:
            unions[names] = frozenset().union(*(nodes_of[name] for name in names))
        return _exposed(service, unions[names], state.nodes)

    def of_group(group: Group) -> frozenset[str]:
        parts = tuple(of_service(state.services[key]) for key in group.services if key in state.services)
        if len(parts) == 1:
            return parts[0]
        if parts not in merged:
            merged[parts] = frozenset().union(*parts)
        return merged[parts]

    return {group: of_group(group) for group in groups}


def _exposed(service: Service, selected: frozenset[str], nodes: dict[str, Node]) -> frozenset[str]:
    """Those of ``selected`` that the Service's annotations mean it for."""
    try:
        exposure = node_exposure(service)
    except ValueError:
        return frozenset()
    return selected if exposure is None else frozenset(name for name in selected if matches(exposure, nodes[name].labels))


@lru_cache(maxsize=65536)
def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()) % (_PRIME - 1) + 1
