"""The order of nodes for each group: stable, spread evenly, moved little by a change of nodes."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from l2announce.control.groups import Group, shared_address_groups
from l2announce.control.placement import candidates_of, candidates_of_groups, rank
from l2announce.model.objects import AnnouncementPolicy, ClusterState, LabelSelector, NamespacedName, Node, Service

NODES = [f"node-{number}" for number in range(1, 6)]
KEYS = [f"cilium-l2announce-team-{number % 7}.service-{number}" for number in range(5000)]


def test_ranks_are_a_permutation_in_any_order_of_candidates() -> None:
    for key in KEYS[:100]:
        ranks = {node: rank(key, node, NODES) for node in NODES}
        assert sorted(ranks.values()) == [0, 1, 2, 3, 4]
        assert ranks == {node: rank(key, node, [*reversed(NODES), *NODES]) for node in NODES}


def test_a_node_outside_the_candidates_is_ranked_as_if_it_were_one() -> None:
    for key in KEYS[:100]:
        assert rank(key, "node-1", NODES[1:]) == rank(key, "node-1", NODES)
    assert rank("key", "node-1", []) == 0


@pytest.mark.parametrize("position", range(5))
def test_every_place_is_spread_evenly(position: int) -> None:
    share = Counter(node for key in KEYS for node in NODES if rank(key, node, NODES) == position)
    expected = len(KEYS) / len(NODES)
    assert set(share) == set(NODES)
    assert all(abs(count - expected) < 0.12 * expected for count in share.values()), share


def test_a_node_that_leaves_moves_only_what_it_had() -> None:
    for key in KEYS[:500]:
        before = min(NODES, key=lambda node: rank(key, node, NODES))
        after = min(NODES[:-1], key=lambda node: rank(key, node, NODES[:-1]))
        assert after == before or before == NODES[-1]


def test_ranks_are_the_same_in_another_process() -> None:
    program = (
        "import sys; from l2announce.control.placement import rank; nodes = sys.argv[1].split(); "
        "print([rank(key, node, nodes) for key in sys.argv[2].split() for node in nodes])"
    )
    command = [sys.executable, "-c", program, " ".join(NODES), " ".join(KEYS[:20])]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}).stdout
    assert output.strip() == str([rank(key, node, NODES) for key in KEYS[:20] for node in NODES])


def test_the_order_is_pinned() -> None:
    """Nodes of different releases must agree, so the hash may not change unnoticed."""
    assert sorted(NODES, key=lambda node: rank("cilium-l2announce-shop.web", node, NODES)) == PINNED


PINNED = ["node-3", "node-5", "node-4", "node-1", "node-2"]

WEB, API = NamespacedName("shop", "web"), NamespacedName("shop", "api")
VIP = IPv4Address("192.0.2.1")
SERVICES = {key: Service(key, {"app": key.name}, type="LoadBalancer", load_balancer_ips=(VIP,)) for key in (WEB, API)}
CLUSTER = {name: Node(name, {"zone": zone}) for name, zone in (("n1", "a"), ("n2", "b"), ("n3", "c"))}


def policy(name: str, app: str, zone: str, *, load_balancer_ips: bool = True) -> AnnouncementPolicy:
    return AnnouncementPolicy(
        name,
        service_selector=LabelSelector((("app", app),)),
        node_selector=LabelSelector((("zone", zone),)),
        load_balancer_ips=load_balancer_ips,
    )


def state(*policies: AnnouncementPolicy, services: dict[NamespacedName, Service] = SERVICES) -> ClusterState:
    return ClusterState(CLUSTER, services, (), {each.name: each for each in policies})


def only_group(cluster: ClusterState) -> Group:
    (group,) = shared_address_groups(cluster)
    return group


def test_candidates_are_the_nodes_of_every_matching_policy() -> None:
    cluster = state(policy("p", "web", "a"), policy("q", "api", "b"), policy("r", "db", "c"))
    assert candidates_of(only_group(cluster), cluster) == {"n1", "n2"}


def test_a_policy_that_chooses_no_address_makes_no_candidate() -> None:
    cluster = state(policy("p", "web", "a"), policy("q", "web", "b", load_balancer_ips=False))
    assert candidates_of(only_group(cluster), cluster) == {"n1"}


def test_a_policy_without_a_node_makes_no_candidate() -> None:
    cluster = state(policy("p", "web", "z"))
    assert candidates_of(only_group(cluster), cluster) == frozenset()


@pytest.mark.parametrize(
    ("selector", "expected"), [("zone notin (a)", {"n2", "n3"}), ("zone=z", set()), ("(", set()), ("", {"n1", "n2", "n3"})]
)
def test_annotations_leave_nodes_out(selector: str, expected: set[str]) -> None:
    web = replace(SERVICES[WEB], annotations={"service.cilium.io/node-selector": selector})
    cluster = state(AnnouncementPolicy("p", load_balancer_ips=True), services={WEB: web})
    assert candidates_of(only_group(cluster), cluster) == expected


def test_a_group_of_an_older_state_has_the_candidates_that_are_left() -> None:
    cluster = state(AnnouncementPolicy("p", load_balancer_ips=True))
    group = only_group(cluster)
    headless = replace(SERVICES[API], headless=True)
    assert candidates_of(group, replace(cluster, services={API: headless})) == frozenset()
    assert candidates_of_groups((group,), cluster) == {group: frozenset({"n1", "n2", "n3"})}
