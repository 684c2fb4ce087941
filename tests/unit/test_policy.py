"""Policies x Services x node x interfaces: what is announced, what is wrong, and why not."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from l2announce.control.devices import Candidates
from l2announce.control.guard import Guarded, GuardList, GuardReason
from l2announce.control.policy import Announcement, Reason, Selection, select
from l2announce.model.link import Device
from l2announce.model.objects import (
    AnnouncementPolicy,
    ClusterState,
    Endpoint,
    LabelSelector,
    NamespacedName,
    Node,
    ObjectProblem,
    Requirement,
    Service,
)

WEB = NamespacedName("shop", "web")
VIP4 = IPv4Address("192.0.2.10")
VIP6 = IPv6Address("2001:db8::10")
EXTERNAL = IPv4Address("192.0.2.9")
LINK_LOCAL = IPv4Address("169.254.169.254")
SERVICE = Service(WEB, {"app": "web"}, type="LoadBalancer", load_balancer_ips=(VIP6, VIP4))
POLICY = AnnouncementPolicy("all", load_balancer_ips=True)
NODE = Node("n1", {"zone": "a"})
CANDIDATES = Candidates(frozenset({"eth0"}), (Device(2, "eth0", ("enp1s0",)), Device(3, "veth1"), Device(4, "wan0")))


def state(*policies: AnnouncementPolicy, service: Service = SERVICE, endpoints: tuple[Endpoint, ...] = ()) -> ClusterState:
    return ClusterState({NODE.name: NODE}, {service.key: service}, endpoints, {policy.name: policy for policy in policies})


def announced(selection: Selection) -> dict[str, set[str]]:
    return {str(each.address): set(each.interfaces) for each in selection.announcements}


def refused(cluster: ClusterState, candidates: Candidates = CANDIDATES) -> Reason | None:
    selection = select(cluster, "n1", candidates)
    assert bool(selection.announcements) != (WEB in selection.refusals)
    return selection.refusals.get(WEB)


def test_every_address_on_every_default_interface() -> None:
    assert select(state(POLICY), "n1", CANDIDATES) == Selection(
        (Announcement(WEB, VIP4, frozenset({"eth0"})), Announcement(WEB, VIP6, frozenset({"eth0"})))
    )


def test_flags_choose_the_kinds_of_address() -> None:
    both = replace(SERVICE, external_ips=(EXTERNAL, VIP4))
    external = replace(POLICY, external_ips=True, load_balancer_ips=False)
    assert set(announced(select(state(POLICY, service=both), "n1", CANDIDATES))) == {str(VIP4), str(VIP6)}
    assert set(announced(select(state(external, service=both), "n1", CANDIDATES))) == {str(VIP4), str(EXTERNAL)}
    every = replace(POLICY, external_ips=True)
    assert set(announced(select(state(every, service=both), "n1", CANDIDATES))) == {str(VIP4), str(VIP6), str(EXTERNAL)}


def test_policies_add_up_for_each_address_and_interface() -> None:
    service = replace(SERVICE, load_balancer_ips=(VIP4,), external_ips=(EXTERNAL,))
    policies = (
        POLICY,
        AnnouncementPolicy("b", interfaces=("wan",), external_ips=True),
        AnnouncementPolicy("c", interfaces=("^v",), load_balancer_ips=True),
        AnnouncementPolicy("d", interfaces=("^wan0$",), load_balancer_ips=True, node_selector=LabelSelector((("zone", "b"),))),
        AnnouncementPolicy("e", interfaces=("^wan0$",), load_balancer_ips=True, service_selector=LabelSelector((("app", "db"),))),
    )
    assert announced(select(state(*policies, service=service), "n1", CANDIDATES)) == {
        str(EXTERNAL): {"wan0"},
        str(VIP4): {"eth0", "veth1"},
    }


@pytest.mark.parametrize(
    ("interfaces", "expected"),
    [
        ((), {"eth0"}),
        (("eth",), {"eth0", "veth1"}),
        (("^eth",), {"eth0"}),
        (("^enp",), {"eth0"}),
        (("",), {"eth0", "veth1", "wan0"}),
        (("^wan", "1$"), {"veth1", "wan0"}),
    ],
)
def test_interfaces(interfaces: tuple[str, ...], expected: set[str]) -> None:
    service = replace(SERVICE, load_balancer_ips=(VIP4,))
    assert announced(select(state(replace(POLICY, interfaces=interfaces), service=service), "n1", CANDIDATES)) == {str(VIP4): expected}


def test_the_special_keys_select_and_cannot_be_spoofed() -> None:
    spoofer = replace(SERVICE, labels={"io.kubernetes.service.namespace": "other"})
    mine = replace(
        POLICY, service_selector=LabelSelector((("io.kubernetes.service.namespace", "shop"), ("io.kubernetes.service.name", "web")))
    )
    other = replace(POLICY, service_selector=LabelSelector((("io.kubernetes.service.namespace", "other"),)))
    assert refused(state(mine, service=spoofer)) is None
    assert refused(state(other, service=spoofer)) is Reason.NO_POLICY


NOT_HERE = replace(POLICY, node_selector=LabelSelector((("zone", "b"),)))
LOCAL = replace(SERVICE, external_traffic_policy="Local")


REASONS: list[tuple[ClusterState, Reason | None]] = [
    (state(POLICY, service=replace(SERVICE, load_balancer_class="other/class")), Reason.CLASS),
    (state(POLICY, service=replace(SERVICE, headless=True)), Reason.HEADLESS),
    (state(POLICY, service=replace(SERVICE, has_ports=False)), Reason.NO_PORTS),
    (state(POLICY, service=replace(SERVICE, load_balancer_ips=())), Reason.NO_ADDRESS),
    (state(POLICY, service=replace(SERVICE, load_balancer_ips=(), has_proxied_ips=True)), Reason.IP_MODE_PROXY),
    (state(POLICY, service=replace(SERVICE, has_proxied_ips=True)), None),
    (state(POLICY, service=replace(SERVICE, annotations={"service.cilium.io/type": "NodePort"})), Reason.TYPE_ANNOTATION),
    (replace(state(POLICY), nodes={}), Reason.NODE_UNKNOWN),
    (state(), Reason.NO_POLICY),
    (state(replace(POLICY, service_selector=LabelSelector((("app", "db"),)))), Reason.NO_POLICY),
    (state(replace(POLICY, load_balancer_ips=False)), Reason.ADDRESS_KIND),
    (state(replace(POLICY, load_balancer_ips=False, external_ips=True)), Reason.ADDRESS_KIND),
    (state(NOT_HERE), Reason.NODE_SELECTOR),
    (state(POLICY, service=replace(SERVICE, annotations={"service.cilium.io/node": "edge"})), Reason.NOT_FOR_THIS_NODE),
    (state(POLICY, service=replace(SERVICE, annotations={"service.cilium.io/node-selector": "zone=b"})), Reason.NOT_FOR_THIS_NODE),
    (state(POLICY, service=replace(SERVICE, annotations={"service.cilium.io/node-selector": "zone="})), Reason.NOT_FOR_THIS_NODE),
    (state(POLICY, service=replace(SERVICE, annotations={"service.cilium.io/node-selector": "("})), Reason.NOT_FOR_THIS_NODE),
    (state(replace(POLICY, interfaces=("^eno",))), Reason.NO_INTERFACE),
    (state(POLICY, service=LOCAL), Reason.NO_LOCAL_ENDPOINT),
    (state(POLICY, service=LOCAL, endpoints=(Endpoint(WEB, "n2"),)), Reason.NO_LOCAL_ENDPOINT),
    (state(POLICY, service=LOCAL, endpoints=(Endpoint(WEB, "n1", ready=False),)), Reason.NO_LOCAL_ENDPOINT),
    (state(POLICY, service=replace(SERVICE, load_balancer_ips=(LINK_LOCAL,))), Reason.GUARDED),
    (state(POLICY, service=replace(SERVICE, load_balancer_ips=(LINK_LOCAL, VIP4))), None),
    (state(POLICY, service=LOCAL, endpoints=(Endpoint(WEB, "n1"),)), None),
    (state(POLICY, service=LOCAL, endpoints=(Endpoint(WEB, None),)), None),
    (state(POLICY, service=replace(SERVICE, annotations={"service.cilium.io/node-selector": "zone in (a,b)"})), None),
    (state(POLICY, replace(NOT_HERE, name="elsewhere")), None),
]


@pytest.mark.parametrize(("cluster", "reason"), REASONS)
def test_reasons(cluster: ClusterState, reason: Reason | None) -> None:
    assert refused(cluster) is reason


def test_every_reason_is_reached() -> None:
    assert {reason for _, reason in REASONS} - {None} == set(Reason)


def test_a_guarded_address_costs_nothing_but_itself() -> None:
    gateway = Guarded(GuardReason.GATEWAY, "a gateway of this node, on eth0")
    selection = select(state(POLICY), "n1", CANDIDATES, GuardList({VIP4: gateway}))
    assert selection == Selection(
        (Announcement(WEB, VIP6, frozenset({"eth0"})),),
        (
            ObjectProblem(
                "service/shop/web",
                "Gateway",
                "192.0.2.10 is a gateway of this node, on eth0, so it is never announced; give the Service another address",
            ),
        ),
        {},
        {WEB: {VIP4: gateway}},
    )


@pytest.mark.parametrize("policies", [(), (NOT_HERE,), (replace(POLICY, load_balancer_ips=False),)])
def test_a_guarded_address_that_nobody_wants_here_is_no_problem(policies: tuple[AnnouncementPolicy, ...]) -> None:
    guard = GuardList({VIP4: Guarded(GuardReason.GATEWAY, "a gateway")})
    selection = select(state(*policies), "n1", CANDIDATES, guard)
    assert (selection.problems, selection.guarded) == ((), {})


def test_a_policy_without_interfaces_needs_a_default_interface() -> None:
    only_named = replace(CANDIDATES, default=frozenset())
    assert refused(state(POLICY), only_named) is Reason.NO_INTERFACE
    assert refused(state(replace(POLICY, interfaces=("eth0",))), only_named) is None


def test_the_node_annotation_equals_the_label_of_the_same_key() -> None:
    service = replace(SERVICE, annotations={"service.cilium.io/node": "edge"})
    edge = Node("n1", {"service.cilium.io/node": "edge"})
    assert refused(replace(state(POLICY, service=service), nodes={"n1": edge})) is None


def test_no_refusal_for_a_service_that_nobody_expects_to_be_announced() -> None:
    assert select(state(POLICY, service=Service(WEB)), "n1", CANDIDATES) == Selection()


BAD_SELECTOR = LabelSelector(match_expressions=(Requirement("app", "Within", ("web",)),))


@pytest.mark.parametrize("node_name", ["n1", "unknown"])
def test_problems_of_policies_are_found_on_every_node(node_name: str) -> None:
    policies = (
        replace(NOT_HERE, name="z", interfaces=("^eth0$", "eth(", "^wan", r"\C")),
        replace(POLICY, name="b", node_selector=BAD_SELECTOR, service_selector=BAD_SELECTOR),
        replace(POLICY, name="a", service_selector=BAD_SELECTOR, interfaces=("[",)),
    )
    problems = select(state(*policies), node_name, CANDIDATES).problems
    assert [(problem.subject, problem.reason) for problem in problems] == [
        ("ciliuml2announcementpolicy/a", "io.cilium/bad-interface-regex"),
        ("ciliuml2announcementpolicy/a", "io.cilium/bad-service-selector"),
        ("ciliuml2announcementpolicy/b", "io.cilium/bad-node-selector"),
        ("ciliuml2announcementpolicy/b", "io.cilium/bad-service-selector"),
        ("ciliuml2announcementpolicy/z", "io.cilium/bad-interface-regex"),
        ("ciliuml2announcementpolicy/z", "io.cilium/bad-interface-regex"),
    ]
    assert problems[2].message == (
        "spec.nodeSelector.matchExpressions[0]: operator 'Within' of key 'app' is unknown; use In, NotIn, Exists or DoesNotExist; "
        "the policy selects nothing until it is corrected"
    )
    assert problems[4].message == "spec.interfaces[1]: 'eth(' is not an RE2 expression: missing ): eth(; it is ignored until corrected"


def test_a_bad_interface_expression_costs_only_itself() -> None:
    assert announced(select(state(replace(POLICY, interfaces=("[", "^wan"))), "n1", CANDIDATES)) == {
        str(VIP4): {"wan0"},
        str(VIP6): {"wan0"},
    }


def test_a_policy_with_only_bad_expressions_does_not_fall_back_to_every_interface() -> None:
    assert refused(state(replace(POLICY, interfaces=("[",)))) is Reason.NO_INTERFACE


@pytest.mark.parametrize(
    "bad", [replace(POLICY, name="bad", node_selector=BAD_SELECTOR), replace(POLICY, name="bad", service_selector=BAD_SELECTOR)]
)
def test_a_bad_selector_selects_nothing_and_hurts_no_other_policy(bad: AnnouncementPolicy) -> None:
    assert refused(state(bad)) is Reason.NO_POLICY
    assert refused(state(bad, POLICY)) is None


def test_problems_of_annotations_are_told_after_those_of_policies() -> None:
    bad = replace(SERVICE, annotations={"service.cilium.io/node-selector": "("})
    problems = select(state(replace(POLICY, interfaces=("[",)), service=bad), "n1", CANDIDATES).problems
    assert [problem.subject for problem in problems] == ["ciliuml2announcementpolicy/all", "service/shop/web"]
    assert all(isinstance(problem, ObjectProblem) for problem in problems)
