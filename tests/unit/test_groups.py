"""Shared-address groups and the names of their leases."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from l2announce.control.groups import Group, GroupLeases, LeaseNameStyle, clash_problems, group_leases, lease_name, shared_address_groups
from l2announce.model.objects import AnnouncementPolicy, ClusterState, LabelSelector, NamespacedName, Node, Requirement, Service

POLICY = AnnouncementPolicy("all", load_balancer_ips=True)


def vip(number: int) -> IPv4Address:
    return IPv4Address(f"192.0.2.{number}")


def service(name: str, *numbers: int, **fields: object) -> Service:
    namespace, _, short = name.partition("/")
    base = Service(NamespacedName(namespace, short), type="LoadBalancer", load_balancer_ips=tuple(map(vip, numbers)))
    return replace(base, **fields)  # type: ignore[arg-type]


def state(*services: Service, policies: tuple[AnnouncementPolicy, ...] = (POLICY,), nodes: tuple[Node, ...] = ()) -> ClusterState:
    return ClusterState(
        {node.name: node for node in nodes}, {each.key: each for each in services}, (), {policy.name: policy for policy in policies}
    )


def shape(groups: tuple[Group, ...]) -> list[tuple[list[str], list[str]]]:
    return [([str(each) for each in group.services], sorted(str(address) for address in group.addresses)) for group in groups]


def group(*names: str, numbers: tuple[int, ...] = ()) -> Group:
    return Group(tuple(NamespacedName(*name.split("/")) for name in names), frozenset(map(vip, numbers)))


def test_a_service_that_shares_nothing_is_a_group() -> None:
    groups = shared_address_groups(state(service("b/x", 2), service("a/x", 1)))
    assert shape(groups) == [(["a/x"], ["192.0.2.1"]), (["b/x"], ["192.0.2.2"])]


def test_a_chain_of_shared_addresses_is_one_group() -> None:
    groups = shared_address_groups(
        state(service("d/x", 1, 2), service("b/x", 2, 3), service("a/x", 9), service("c/x", 3), service("e/x", 3, 1))
    )
    assert shape(groups) == [(["a/x"], ["192.0.2.9"]), (["b/x", "c/x", "d/x", "e/x"], ["192.0.2.1", "192.0.2.2", "192.0.2.3"])]
    assert groups[1].deciding_service == NamespacedName("b", "x")


def test_long_chains_are_joined() -> None:
    names = [f"n/{number:03}" for number in range(200)]
    services = [service(name, number, number + 1) for number, name in enumerate(names)]
    assert shape(shared_address_groups(state(*services[::2], *reversed(services[1::2]))))[0][0] == names


def test_an_external_ip_and_a_load_balancer_ip_can_be_the_same_address() -> None:
    external = service("b/x", type="ClusterIP", external_ips=(vip(1),))
    every = replace(POLICY, external_ips=True)
    assert shape(shared_address_groups(state(service("a/x", 1), external, policies=(every,)))) == [(["a/x", "b/x"], ["192.0.2.1"])]
    assert shape(shared_address_groups(state(service("a/x", 1), external))) == [(["a/x"], ["192.0.2.1"])]


@pytest.mark.parametrize(
    "unannounced",
    [
        service("a/x"),
        service("a/x", 1, headless=True),
        service("a/x", 1, load_balancer_class="other/class"),
        service("a/x", 1, type="ClusterIP"),
        service("a/x", 1, labels={"announce": "no"}),
    ],
)
def test_no_lease_for_a_service_with_nothing_to_announce(unannounced: Service) -> None:
    policy = replace(POLICY, service_selector=LabelSelector(match_expressions=(Requirement("announce", "NotIn", ("no",)),)))
    groups = shared_address_groups(state(unannounced, service("b/x", 1), policies=(policy,)))
    assert shape(groups) == [(["b/x"], ["192.0.2.1"])]


def test_a_policy_without_a_flag_or_with_a_bad_selector_makes_no_group() -> None:
    bad = replace(POLICY, node_selector=LabelSelector((("-", ""),)))
    assert shared_address_groups(state(service("a/x", 1), policies=(replace(POLICY, load_balancer_ips=False),))) == ()
    assert shared_address_groups(state(service("a/x", 1), policies=(bad,))) == ()


def test_groups_do_not_depend_on_nodes() -> None:
    policies = (replace(POLICY, node_selector=LabelSelector((("zone", "b"),))),)
    services = (service("a/x", 1, annotations={"service.cilium.io/node": "edge"}), service("b/x", 1, external_traffic_policy="Local"))
    without = shared_address_groups(state(*services, policies=policies))
    assert shape(without) == [(["a/x", "b/x"], ["192.0.2.1"])]
    assert shared_address_groups(state(*services, policies=policies, nodes=(Node("n1", {"zone": "a"}),))) == without


@pytest.mark.parametrize(("style", "expected"), [("dot", "cilium-l2announce-shop.web"), ("dash", "cilium-l2announce-shop-web")])
def test_lease_name(style: LeaseNameStyle, expected: str) -> None:
    assert lease_name(NamespacedName("shop", "web"), style) == expected


CLASHING = (group("foo/bar-baz", "zoo/x", numbers=(1,)), group("foo-bar/baz", numbers=(2,)), group("a/b", numbers=(3,)))


def test_dot_names_do_not_clash() -> None:
    leases = group_leases(CLASHING, "dot")
    assert leases == GroupLeases(
        {
            "cilium-l2announce-foo.bar-baz": CLASHING[0],
            "cilium-l2announce-foo-bar.baz": CLASHING[1],
            "cilium-l2announce-a.b": CLASHING[2],
        },
        {},
    )
    assert clash_problems(leases) == ()


def test_dash_names_that_clash_make_one_group_that_keeps_the_name() -> None:
    leases = group_leases(CLASHING, "dash")
    merged = group("foo/bar-baz", "foo-bar/baz", "zoo/x", numbers=(1, 2))
    assert leases.groups == {"cilium-l2announce-foo-bar-baz": merged, "cilium-l2announce-a-b": CLASHING[2]}
    assert lease_name(merged.deciding_service, "dash") == "cilium-l2announce-foo-bar-baz"
    assert leases.clashes == {"cilium-l2announce-foo-bar-baz": (NamespacedName("foo", "bar-baz"), NamespacedName("foo-bar", "baz"))}


def test_a_clash_is_a_problem_of_each_service() -> None:
    problems = clash_problems(group_leases(CLASHING, "dash"))
    assert [(problem.subject, problem.reason) for problem in problems] == [
        ("service/foo/bar-baz", "LeaseNameClash"),
        ("service/foo-bar/baz", "LeaseNameClash"),
    ]
    assert problems[0].message == (
        "its lease cilium-l2announce-foo-bar-baz is also that of foo-bar/baz: one node announces all of them; "
        "use --lease-name-style dot on every node to tell them apart"
    )


def test_a_service_that_does_not_decide_does_not_clash() -> None:
    leases = group_leases((group("aaa/x", "foo/bar-baz"), group("foo-bar/baz")), "dash")
    assert (len(leases.groups), leases.clashes) == (2, {})
