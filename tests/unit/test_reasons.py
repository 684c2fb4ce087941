"""Each word that tells why a node does not announce a Service comes out of at least one scenario, alike in ``explain`` and ``status``."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from l2announce.agent.conflicts import Conflicts
from l2announce.agent.explain import explain
from l2announce.agent.status import node_status
from l2announce.cli.reasons import REASONS
from l2announce.control.controller import Controller
from l2announce.control.health import EXCLUDE_LABEL
from l2announce.model.address import Instant
from l2announce.model.eligibility import EligibilitySettings
from l2announce.model.lease import DRAIN_PREFIX, MOVE_TO, Lease
from l2announce.model.link import Link
from l2announce.model.objects import ClusterState, Endpoint, LabelSelector, Node, Service
from l2announce.model.report import ConflictRecord, Report
from l2announce.model.timing import GATE_TIMEOUT, Timing
from tests.unit.test_status import DEVICE, LEASE, LINK, NOW, OTHER, POLICY, SERVICE, STATE, VIP, A, B, controller, holding

OF_THE_ISSUE = (
    "NoPolicy NodeSelector NoInterface NoCarrier NoAddress Class IPModeProxy NoLocalEndpoint NodeUnhealthy NoSubnet Guarded Conflict "
    "HeldBy ApiUnreachable ResponderNotAnswering"
)
"""What was promised at least."""
PAIR = replace(STATE, nodes={"n1": Node("n1"), "n2": Node("n2")})
SILENT = NOW + GATE_TIMEOUT
TROUBLE = "leases of namespace kube-system: the API server did not answer within 5 s"


def service(**fields: object) -> Controller:
    """One that sees another Service."""
    return controller(replace(STATE, services={A: replace(SERVICE, **fields)}))  # type: ignore[arg-type]


def policy(**fields: object) -> Controller:
    """One that sees another policy."""
    return controller(replace(STATE, policies={"all": replace(POLICY, **fields)}))  # type: ignore[arg-type]


def node(**fields: object) -> Controller:
    """n1 is another Node, and n2 is well; everything is honoured."""
    return settings(replace(PAIR, nodes=PAIR.nodes | {"n1": replace(PAIR.nodes["n1"], **fields)}))  # type: ignore[arg-type]


def settings(state: ClusterState, leases: Iterable[Lease] = ()) -> Controller:
    """One that honours everything."""
    made = Controller("n1", Timing(), NOW, eligibility=EligibilitySettings(0.0, "withdraw", "withdraw", subnet_match="require"))
    made.replace_cluster(state, NOW)
    made.replace_devices((DEVICE,), NOW)
    made.leases_listed(leases, NOW)
    made.receive_report(Report(-1, NOW, (LINK,)), NOW)
    return made


def stopped() -> Controller:
    made = controller()
    made.stop(NOW)
    return made


def unready() -> Controller:
    made = Controller("n1", Timing(), NOW)
    made.replace_cluster(STATE, NOW)
    made.replace_devices((DEVICE,), NOW)
    return made


def asked_to_move() -> Controller:
    made = holding(PAIR)
    made.lease_observed(LEASE, Lease(LEASE, "n1", 15.0, "2", annotations={MOVE_TO: "n2"}), NOW)
    return made


def joined() -> Controller:
    """Two Services share an address, and n2 still has the lease of the second."""
    both = {A: SERVICE, B: Service(B, type="LoadBalancer", load_balancer_ips=(VIP, OTHER))}
    return controller(replace(PAIR, services=both), (Lease("cilium-l2announce-shop.b", "n2", 15.0, "1"),))


SCENARIOS: dict[str, Callable[[], Controller]] = {
    "Announces": holding,
    "HeldBy": lambda: controller(STATE, (Lease(LEASE, "n2", 15.0, "1"),)),
    "Electing": controller,
    "ApiUnreachable": controller,
    "Conflict": holding,
    "Class": lambda: service(load_balancer_class="example.com/other"),
    "Headless": lambda: service(headless=True),
    "NoPorts": lambda: service(has_ports=False),
    "IPModeProxy": lambda: service(load_balancer_ips=(), has_proxied_ips=True),
    "NoAddress": lambda: service(load_balancer_ips=()),
    "TypeAnnotation": lambda: service(annotations={"service.cilium.io/type": "ClusterIP"}),
    "NodeUnknown": lambda: controller(replace(STATE, nodes={"n2": Node("n2")})),
    "NoPolicy": lambda: policy(service_selector=LabelSelector((("app", "other"),))),
    "AddressKind": lambda: policy(load_balancer_ips=False, external_ips=True),
    "NodeSelector": lambda: policy(node_selector=LabelSelector((("edge", "yes"),))),
    "NotForThisNode": lambda: service(annotations={"service.cilium.io/node": "n2"}),
    "NoInterface": lambda: policy(interfaces=("^other$",)),
    "NoLocalEndpoint": lambda: controller(
        replace(PAIR, services={A: replace(SERVICE, external_traffic_policy="Local")}, endpoints=(Endpoint(A, "n2"),))
    ),
    "NodeUnhealthy": lambda: node(ready="False"),
    "Cordoned": lambda: node(unschedulable=True),
    "Excluded": lambda: node(labels={EXCLUDE_LABEL: ""}),
    "NoSubnet": lambda: settings(STATE),
    "Guarded": lambda: controller(replace(STATE, api_servers=frozenset({VIP}))),
    "Stopping": stopped,
    "NotReady": unready,
    "ResponderNotAnswering": holding,
    "NoCarrier": lambda: controller(STATE, (), replace(LINK, carrier=False)),
    "MemberHeldElsewhere": joined,
    "Moving": asked_to_move,
    "Drained": lambda: controller(STATE, (Lease(f"{DRAIN_PREFIX}n1", "l2announce-drain", 1.0, "1"),)),
}
"""What n1 sees when it says the word of itself."""


@pytest.mark.parametrize("word", SCENARIOS)
def test_each_word_is_told_of_this_node(word: str) -> None:
    made = SCENARIOS[word]()
    conflicts, trouble = Conflicts(), TROUBLE if word == "ApiUnreachable" else ""
    now: Instant = SILENT if word == "ResponderNotAnswering" else NOW
    if word == "Conflict":
        conflicts.note(ConflictRecord(VIP, "eth0", bytes(6), 3, NOW - 1, held_back=True))
    made.handle_timer(now)
    explanation = explain(made, {}, conflicts, A, now, trouble)
    (own,) = (each for each in explanation.nodes if each.node == "n1")
    assert own.seen
    assert own.reason.partition("=")[0] == word
    (told,) = (each for each in node_status(made, {}, now, conflicts, trouble).services if each.service == str(A))
    assert (told.announced, told.reason) == (word == "Announces", "" if word == "Announces" else own.reason), "status says the same"


def test_of_another_node_what_it_alone_knows_is_unknown() -> None:
    told = {each.node: each.reason for each in explain(controller(PAIR), {}, Conflicts(), A, NOW).nodes}
    assert told == {"n1": "Electing", "n2": "Unknown"}


def test_the_list_is_closed_and_every_word_of_it_is_reached() -> None:
    assert set(REASONS) == {*SCENARIOS, "Unknown"}
    assert set(OF_THE_ISSUE.split()) <= set(REASONS)


def test_who_cannot_reach_the_leases_says_so_with_the_error() -> None:
    status = node_status(controller(), {}, NOW, None, TROUBLE)
    assert [(each.subject, each.reason, each.message) for each in status.problems] == [("leases", "ApiUnreachable", TROUBLE)]
    explanation = explain(Controller("n1", Timing(), NOW), {}, Conflicts(), A, NOW, TROUBLE)
    assert explanation.refused == f"{A}: no such Service, as far as node n1 knows; ApiUnreachable: {TROUBLE}"


def test_what_is_known_for_certain_comes_before_what_cannot_be_seen() -> None:
    made = controller(STATE, (), replace(LINK, carrier=False))
    assert node_status(made, {}, NOW, None, TROUBLE).services[0].reason == "NoCarrier"
    assert node_status(holding(), {}, NOW, None, TROUBLE).services[0].announced, "until its deadline"


def test_a_node_does_not_name_itself_while_it_does_not_answer() -> None:
    """Though the lease still has its name: while the responder is silent, and after the deadline."""
    made = holding()
    silent = NOW + GATE_TIMEOUT
    made.handle_timer(silent)
    (found,) = node_status(made, {}, silent).services
    assert (found.announced, found.holder, found.macs, found.reason) == (False, None, (), "ResponderNotAnswering")
    late = holding()
    now = NOW + 13.5
    late.receive_report(Report(late.generation, now, (Link(1, "eth0", LINK.mac),)), now)
    late.handle_timer(now)
    (found,) = node_status(late, {}, now, None, TROUBLE).services
    assert (found.announced, found.holder, found.reason) == (False, None, "ApiUnreachable")


def test_a_node_that_adopts_names_itself_while_its_responder_reports() -> None:
    made = controller(STATE, (Lease(LEASE, "n1", 15.0, "1"),))
    assert node_status(made, {}, NOW).services[0].holder == "n1"
    assert node_status(made, {}, SILENT).services[0].holder is None
