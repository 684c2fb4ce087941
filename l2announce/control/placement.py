"""Who should hold what: an order of the nodes for each group, so that leases spread over nodes without talking.

Rendezvous hashing: each node scores itself for a group, the highest score comes first. A node that comes or goes moves only the groups it
wins. The order is advice for the first acquisition (see RANK_STEP); it never takes a lease from a healthy holder.
"""

from collections.abc import Iterable
from hashlib import blake2b

from l2announce.control.groups import Group
from l2announce.control.policy import check_policies, matching_policies
from l2announce.control.selector import matches
from l2announce.control.services import Announceable, announceable, node_exposure
from l2announce.model.objects import ClusterState, Node, Service


def rank(group_key: str, node: str, candidates: Iterable[str]) -> int:
    """How many of ``candidates`` come before ``node`` for a group: 0 is first. ``group_key`` is the lease name of the group.

    The same in every process and on every machine. A node that is not among the candidates is ranked as if it were.
    """
    own = _score(group_key, node)
    return sum(_score(group_key, candidate) > own for candidate in set(candidates))


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

    def of_service(service: Service) -> frozenset[str]:
        addresses = announceable(service)
        if not isinstance(addresses, Announceable):
            return frozenset()
        matched = matching_policies(policies, service, addresses)
        selected = frozenset().union(*(nodes_of[match.name] for match in matched if match.addresses))
        return _exposed(service, selected, state.nodes)

    return {
        group: frozenset().union(*(of_service(state.services[key]) for key in group.services if key in state.services)) for group in groups
    }


def _exposed(service: Service, selected: frozenset[str], nodes: dict[str, Node]) -> frozenset[str]:
    """Those of ``selected`` that the Service's annotations mean it for."""
    try:
        exposure = node_exposure(service)
    except ValueError:
        return frozenset()
    return selected if exposure is None else frozenset(name for name in selected if matches(exposure, nodes[name].labels))


def _score(group_key: str, node: str) -> tuple[bytes, str]:
    """Evenly distributed; the name after the digest makes equal scores impossible."""
    return blake2b(f"{node}\0{group_key}".encode("utf-8", "surrogatepass"), digest_size=8).digest(), node
