"""``l2announce explain``: the reason of every node, and how it is printed."""

from dataclasses import replace

import pytest

from l2announce.agent.conflicts import Conflicts
from l2announce.agent.explain import explain
from l2announce.cli import explain_service
from l2announce.cli.main import main
from l2announce.control.explain import refusal_by_objects
from l2announce.control.services import Reason
from l2announce.model.lease import Lease
from l2announce.model.objects import (
    AnnouncementPolicy,
    ClusterState,
    Endpoint,
    LabelSelector,
    NamespacedName,
    Node,
    Service,
)
from l2announce.model.report import ConflictRecord
from l2announce.model.status import AddressStatus, Explanation, NodeReason, ServiceStatus
from tests.unit.test_status import LEASE, NOW, STATE, VIP, A, controller, holding

EDGE = AnnouncementPolicy("edge", load_balancer_ips=True, node_selector=LabelSelector((("edge", "yes"),)))
THREE = replace(
    STATE, nodes={"n1": Node("n1", {"edge": "yes"}), "n2": Node("n2", {"edge": "yes"}), "n3": Node("n3")}, policies={"edge": EDGE}
)


def reasons(explanation: Explanation) -> dict[str, str]:
    return {node.node: node.reason for node in explanation.nodes}


def told(state: ClusterState, leases: tuple[Lease, ...] = ()) -> dict[str, str]:
    """The reasons as n1 tells them, which holds nothing."""
    return reasons(explain(controller(state, leases), {}, Conflicts(), A, NOW))


def test_each_node_has_one_reason() -> None:
    explanation = explain(holding(THREE), {}, Conflicts(), A, NOW)
    assert reasons(explanation) == {"n1": "Announces", "n2": "HeldBy=n1", "n3": "NodeSelector"}
    assert [node.seen for node in explanation.nodes] == [True, False, False]
    assert told(THREE, (Lease(LEASE, "n2", 15.0, "1"),)) == {"n1": "HeldBy=n2", "n2": "Announces", "n3": "NodeSelector"}
    assert told(THREE) == {"n1": "Electing", "n2": "Unknown", "n3": "NodeSelector"}


def test_endpoints_and_health_of_the_others_count() -> None:
    local = replace(with_service(external_traffic_policy="Local"), endpoints=(Endpoint(A, "n1"),))
    assert told(local) == {"n1": "Electing", "n2": "NoLocalEndpoint", "n3": "NodeSelector"}
    assert told(replace(THREE, nodes=THREE.nodes | {"n2": replace(THREE.nodes["n2"], deleting=True)}))["n2"] == "NodeUnhealthy"


def with_service(**fields: object) -> ClusterState:
    return replace(THREE, services={A: replace(THREE.services[A], **fields)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "node", "reason"),
    [
        (with_service(load_balancer_class="other/class"), "n2", Reason.CLASS),
        (with_service(load_balancer_ips=()), "n2", Reason.NO_ADDRESS),
        (THREE, "n4", Reason.NODE_UNKNOWN),
        (replace(THREE, policies={}), "n2", Reason.NO_POLICY),
        (replace(THREE, policies={"edge": replace(EDGE, load_balancer_ips=False)}), "n2", Reason.ADDRESS_KIND),
        (THREE, "n3", Reason.NODE_SELECTOR),
        (with_service(annotations={"service.cilium.io/node": "n1"}), "n2", Reason.NOT_FOR_THIS_NODE),
        (with_service(annotations={"service.cilium.io/node-selector": "((("}), "n2", Reason.NOT_FOR_THIS_NODE),
        (THREE, "n2", None),
    ],
)
def test_what_the_objects_tell_of_another_node(state: ClusterState, node: str, reason: Reason | None) -> None:
    assert refusal_by_objects(state, node, state.services[A]) is reason


def test_what_is_held_back_is_a_conflict() -> None:
    conflicts = Conflicts()
    conflicts.note(ConflictRecord(VIP, "eth0", bytes(6), 3, NOW - 1, held_back=True))
    assert reasons(explain(holding(), {}, conflicts, A, NOW)) == {"n1": "Conflict"}


def test_a_service_that_is_not_of_interest_and_one_that_is_not() -> None:
    key = NamespacedName("shop", "inner")
    state = replace(STATE, services={key: Service(key)})
    assert reasons(explain(controller(state), {}, Conflicts(), key, NOW)) == {"n1": "NoAddress"}
    assert explain(controller(), {}, Conflicts(), key, NOW).refused == "shop/inner: no such Service, as far as node n1 knows"


ADDRESS = AddressStatus(str(VIP), ("eth0",))
GUARDED = AddressStatus("192.0.2.255", guarded="SubnetAddress")
SERVICE = ServiceStatus("shop/a", (ADDRESS, GUARDED), True, LEASE, "n1", "2026-01-01T00:00:00Z", shares_with=("shop/b",))
EXPLAINED = Explanation("n1", SERVICE, (NodeReason("n1", "Announces", seen=True), NodeReason("n2", "HeldBy=n1")))


def run(monkeypatch: pytest.MonkeyPatch, answer: Explanation, *arguments: str) -> int:
    monkeypatch.setattr(explain_service, "ask_why", lambda _, service: answer if service == "shop/a" else None)
    monkeypatch.setattr("sys.argv", ["l2announce", "explain", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_what_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, EXPLAINED, "shop/a") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("shop/a  192.0.2.1 192.0.2.255\nshares an address with shop/b: one node owns them all\n")
    assert f"lease {LEASE}: held by n1 since 2026-01-01T00:00:00Z\n192.0.2.255: never announced here (SubnetAddress)\n" in printed
    rows = [line.split() for line in printed.splitlines()]
    assert ["n1", "Announces", "holds", "the", "lease,", "and", "answers", "none"] in rows
    assert ["n2", "HeldBy=n1"] in [row[:2] for row in rows]
    assert printed.endswith("as seen by n1; interfaces and responders of other nodes are known to their own agents alone\n")


def test_one_address_and_the_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, EXPLAINED, "shop/a", "--address", "192.0.2.255") == 1, "it is announced by nobody"
    assert "192.0.2.1 " not in capsys.readouterr().out
    assert run(monkeypatch, EXPLAINED, "shop/a", "-o", "json") == 0
    assert '"reason": "HeldBy=n1"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "arguments", "code", "words"),
    [
        (EXPLAINED, ("a",), 2, "'a': not a Service; write NAMESPACE/NAME, such as default/web"),
        (EXPLAINED, ("a/b/c",), 2, "'a/b/c': not a Service"),
        (EXPLAINED, ("shop/a", "--address", "x"), 2, "--address 'x': not an IPv4 or IPv6 address"),
        (EXPLAINED, ("shop/a", "--address", "192.0.2.9"), 1, "192.0.2.9: not an address of shop/a, which has 192.0.2.1, 192.0.2.255"),
        (Explanation("n1", refused="shop/a: no such Service"), ("shop/a",), 1, "shop/a: no such Service"),
    ],
)
def test_what_cannot_be_answered(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: Explanation,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    assert run(monkeypatch, answer, *arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"l2announce: {words}")
    assert printed.err.count("\n") == 1


def test_nobody_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = replace(EXPLAINED, service=replace(SERVICE, holder=None, announced=False), nodes=(NodeReason("n1", "NoCarrier", seen=True),))
    assert run(monkeypatch, nobody, "shop/a") == 1
