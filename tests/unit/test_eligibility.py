"""The first reason that speaks against a node, in its order, and what only makes it wait."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from l2announce.control.blocker import Blocker
from l2announce.control.eligibility import Eligibility, Interfaces, fit
from l2announce.control.groups import Group
from l2announce.control.policy import Announcement
from l2announce.control.segments import Segments, segments
from l2announce.model.eligibility import EligibilitySettings, SubnetMatch
from l2announce.model.link import ConnectedRoute, Device
from l2announce.model.objects import ClusterState, Endpoint, NamespacedName, Node, Service

A, B = NamespacedName("shop", "a"), NamespacedName("shop", "b")
VIP, VIP6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
GROUP = Group((A, B), frozenset({VIP}))
ALL = frozenset({"n1", "n2"})
WANTED = (Announcement(A, VIP, frozenset({"eth0", "eth1"})),)
HERE = Interfaces(frozenset({"eth0"}), Segments())
NOW = 100.0


def route(*destinations: str) -> tuple[ConnectedRoute, ...]:
    return tuple(ConnectedRoute(ip_network(destination)) for destination in destinations)


def state(*nodes: Node, endpoints: tuple[Endpoint, ...] = (), policy: str = "Local") -> ClusterState:
    services = {key: Service(key, external_traffic_policy=policy) for key in (A, B)}
    known = {node.name: node for node in (Node("n1"), Node("n2"), *nodes)}
    return ClusterState(known, services, endpoints)


def judged(known: ClusterState, settings: EligibilitySettings = EligibilitySettings(), node: str = "n1") -> Eligibility:  # noqa: B008 - frozen
    made = Eligibility(node, settings, handicap=2.0)
    made.replace_cluster(known, {"lease": GROUP}, {GROUP: ALL}, NOW)
    return made


def blocker(eligibility: Eligibility, now: float = NOW, here: Interfaces = HERE) -> Blocker | None:
    return eligibility.blocker("lease", WANTED, here, now)


def test_carrier_of_an_interface_that_announces() -> None:
    eligibility = judged(state())
    assert blocker(eligibility) is None
    assert blocker(eligibility, here=Interfaces(frozenset({"eth7"}), Segments())) is Blocker.NO_CARRIER
    assert eligibility.blocker("lease", (), HERE, NOW) is Blocker.NO_CARRIER


def test_endpoints_on_another_candidate() -> None:
    known = state(endpoints=(Endpoint(A, "n2"),))
    assert blocker(judged(known)) is Blocker.NO_LOCAL_ENDPOINT
    assert blocker(judged(known, node="n2")) is None
    assert blocker(judged(replace(known, services={}))) is None


@pytest.mark.parametrize(("setting", "served"), [("withdraw", {A}), ("keep", {A, B})])
def test_what_nobody_can_serve(setting: str, served: set[NamespacedName]) -> None:
    settings = EligibilitySettings(on_no_endpoints="keep" if setting == "keep" else "withdraw")
    eligibility = judged(state(endpoints=(Endpoint(A, "n1"),)), settings)
    assert eligibility.served == served
    assert blocker(eligibility) is None


def test_an_unhealthy_node_gives_way_after_the_grace_period() -> None:
    eligibility = judged(state(Node("n1", ready="False")))
    assert eligibility.next_timer() == NOW + 15
    assert (blocker(eligibility), eligibility.handicap(WANTED, HERE, NOW)) == (None, 2.0)
    assert not eligibility.handle_timer(NOW + 14)
    assert eligibility.handle_timer(NOW + 15)
    assert (blocker(eligibility, NOW + 15), eligibility.handicap(WANTED, HERE, NOW + 15)) == (Blocker.NODE_UNHEALTHY, 0.0)


def test_if_every_candidate_is_unhealthy_nobody_gives_way() -> None:
    both = judged(state(Node("n1", ready="False"), Node("n2", ready="Unknown")))
    assert blocker(both, NOW + 15) is None


def test_only_those_who_can_serve_are_better_off() -> None:
    eligibility = judged(state(Node("n1", ready="False"), endpoints=(Endpoint(A, "n1"),)))
    assert blocker(eligibility, NOW + 15) is None


@pytest.mark.parametrize(
    ("worse", "better", "word"),
    [
        (Node("n1", out_of_service=True), Node("n2", ready="False"), Blocker.NODE_UNHEALTHY),
        (Node("n1", ready="False"), Node("n2", unschedulable=True), Blocker.NODE_UNHEALTHY),
        (Node("n1", unschedulable=True), Node("n2"), Blocker.CORDONED),
    ],
)
def test_the_graver_fault_gives_way_to_the_lesser(worse: Node, better: Node, word: Blocker) -> None:
    settings = EligibilitySettings(node_grace=0, on_cordon="withdraw")
    assert blocker(judged(state(worse, better), settings)) is word
    assert blocker(judged(state(worse, better), settings, node="n2")) is None


def test_the_objects_judge_every_node_alike() -> None:
    eligibility = judged(state(Node("n2", deleting=True)))
    assert eligibility.blocker_of_node("lease", "n2", NOW) is Blocker.NODE_UNHEALTHY
    assert eligibility.blocker_of_node("lease", "n1", NOW) is None
    assert eligibility.blocker_of_node("unknown", "n2", NOW) is None


@pytest.mark.parametrize(
    ("match", "eth0", "word", "handicap"),
    [
        ("off", route("198.51.100.0/24"), None, 0.0),
        ("prefer", route("198.51.100.0/24"), None, 2.0),
        ("prefer", route("192.0.2.0/24"), None, 0.0),
        ("require", route("198.51.100.0/24"), Blocker.NO_SUBNET, 0.0),
        ("require", (), Blocker.NO_SUBNET, 0.0),
        ("require", route("198.51.100.0/24", "192.0.2.0/24"), None, 0.0),
    ],
)
def test_subnet_of_an_interface_that_announces(
    match: SubnetMatch, eth0: tuple[ConnectedRoute, ...], word: Blocker | None, handicap: float
) -> None:
    """That eth1, which has no carrier, and eth2, which is not chosen, have the subnet does not help."""
    devices = (Device(1, "eth0", connected=eth0), *(Device(number, f"eth{number}", connected=route("192.0.2.0/24")) for number in (1, 2)))
    here = Interfaces(frozenset({"eth0", "eth2"}), segments(devices))
    eligibility = judged(state(), EligibilitySettings(subnet_match=match))
    assert blocker(eligibility, here=here) is word
    assert eligibility.handicap(WANTED, here, NOW) == handicap


def test_every_address_needs_its_subnet() -> None:
    here = Interfaces(frozenset({"eth0"}), segments((Device(1, "eth0", connected=route("192.0.2.0/24")),)))
    eligibility = judged(state(), EligibilitySettings(subnet_match="require"))
    both = (*WANTED, Announcement(A, VIP6, frozenset({"eth0"})))
    assert eligibility.blocker("lease", WANTED, here, NOW) is None
    assert eligibility.blocker("lease", both, here, NOW) is Blocker.NO_SUBNET


def test_the_fit_come_first_without_grace() -> None:
    assert fit(state(), {GROUP: ALL}) == {GROUP: ALL}
    assert fit(state(Node("n1", ready="False"), Node("n9", ready="False")), {GROUP: ALL}) == {GROUP: {"n2"}}
    assert fit(state(Node("n1", ready="False"), Node("n2", ready="False")), {GROUP: ALL}) == {GROUP: ALL}
    assert fit(state(Node("n1", ready="False"), endpoints=(Endpoint(A, "n1"),)), {GROUP: ALL}) == {GROUP: {"n1"}}
    assert fit(state(), {GROUP: frozenset()}) == {GROUP: frozenset()}
