"""The document behind ``status`` and ``who``, and the socket that hands it out."""

import asyncio
import re
import socket
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import msgspec
import pytest

from l2announce.agent.serve import serve_state
from l2announce.agent.status import node_status
from l2announce.cli.ask import ask_agent
from l2announce.cli.reasons import REASONS, Meaning
from l2announce.control.blocker import Blocker
from l2announce.control.controller import Controller
from l2announce.control.services import Reason
from l2announce.errors import ConfigurationError
from l2announce.model.lease import INTERFACES_ANNOTATION, Lease
from l2announce.model.link import Device, Link
from l2announce.model.objects import AnnouncementPolicy, ClusterState, NamespacedName, Node, ObjectProblem, Service
from l2announce.model.report import AnswerRecord, Report
from l2announce.model.status import NodeStatus, ServiceStatus
from l2announce.model.timing import Timing

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
NOW = 1000.0
A, B = NamespacedName("shop", "a"), NamespacedName("shop", "b")
LEASE = "cilium-l2announce-shop.a"
VIP, OTHER = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
LINK = Link(1, "eth0", b"\2\0\0\0\0\1")
DEVICE = Device(1, "eth0", addresses=(IPv4Address("192.0.2.200"),), has_default_route=True, has_global_unicast_route=True)
POLICY = AnnouncementPolicy("all", load_balancer_ips=True)
SERVICE = Service(A, type="LoadBalancer", load_balancer_ips=(VIP,))
STATE = ClusterState({"n1": Node("n1", {})}, {A: SERVICE}, (), {"all": POLICY})


def controller(state: ClusterState = STATE, leases: Iterable[Lease] = (), *links: Link, problems: tuple[str, ...] = ()) -> Controller:
    """A Controller of n1 that has seen everything once, with eth0 unless ``links`` say otherwise."""
    made = Controller("n1", Timing(), NOW)
    made.replace_cluster(state, NOW)
    made.replace_devices((DEVICE,), NOW)
    made.leases_listed(leases, NOW)
    made.receive_report(Report(-1, NOW, links or (LINK,), (("answered", 3),), 7, (), problems), NOW)
    return made


def holding(state: ClusterState = STATE) -> Controller:
    """One that has won every lease it wanted."""
    made = controller(state)
    for write in made.next_writes(NOW + 0.5):
        lease = Lease(write.name, "n1", 15.0, "1", "2026-01-01T00:00:00Z", annotations=write.annotations)
        made.write_succeeded(write.name, lease, NOW, NOW)
        made.lease_observed(write.name, lease, NOW)
    made.next_writes(NOW)
    made.claim_set(NOW)
    return made


def of(made: Controller, key: NamespacedName = A, now: float = NOW) -> ServiceStatus:
    """One Service of the document."""
    return next(each for each in node_status(made, {}, now).services if each.service == str(key))


def test_what_is_held_here() -> None:
    record = AnswerRecord(VIP, "eth0", 5, NOW - 2.0, 10)
    status = node_status(holding(), {VIP: {"eth0": record}}, NOW)
    assert (status.node, status.ready, status.gate_open, status.failover_bound, status.restart_bound) == ("n1", True, True, 17.0, 8.5)
    assert (status.verdicts, status.announcements) == ({"answered": 3}, 7)
    assert [(link.name, link.mac, link.carrier) for link in status.links] == [("eth0", "02:00:00:00:00:01", True)]
    (found,) = status.services
    assert (found.announced, found.holder, found.reason, found.state) == (True, "n1", "", "holding")
    assert (found.since, found.macs) == ("2026-01-01T00:00:00Z", ("eth0=02:00:00:00:00:01",))
    assert found.deadline == pytest.approx(13.5)
    (address,) = found.addresses
    assert (address.address, address.interfaces, address.answers) == (str(VIP), ("eth0",), 5)
    assert (address.last_answer, address.announcements) == (2.0, 10)


def test_what_was_never_answered_has_no_last_answer() -> None:
    assert of(holding()).addresses[0].last_answer is None


def test_past_its_deadline_nothing_is_announced() -> None:
    found = of(holding(), now=NOW + 13.5)
    assert not found.announced
    assert found.reason


def test_what_another_holds() -> None:
    lease = Lease(LEASE, "n2", 15.0, "1", "then", annotations={INTERFACES_ANNOTATION: "eth0=02:00:00:00:00:02"})
    made = controller(STATE, [lease])
    found = of(made)
    assert (found.announced, found.holder, found.since, found.reason) == (False, "n2", "then", "HeldBy=n2")
    assert found.macs == ("eth0=02:00:00:00:00:02",)


def test_a_lease_that_ran_out_has_no_holder() -> None:
    lease = Lease(LEASE, "n2", 15.0, "1", "then", annotations={INTERFACES_ANNOTATION: "eth0=02:00:00:00:00:02"})
    made = controller(STATE, [lease])
    made.receive_report(Report(-1, NOW + 15.0, (LINK,)), NOW + 15.0)
    found = of(made, now=NOW + 15.0)
    assert (found.holder, found.since, found.macs, found.reason) == (None, "", (), "Electing")


def test_every_service_has_its_addresses_also_when_it_is_refused() -> None:
    """Or nobody could ask ``who`` for them."""
    foreign = replace(SERVICE, load_balancer_class="example.com/other")
    found = of(controller(replace(STATE, services={A: foreign})))
    assert (found.reason, [each.address for each in found.addresses]) == ("Class", [str(VIP)])


def test_a_guarded_address_says_so_and_the_rest_is_announced() -> None:
    made = holding(replace(STATE, services={A: replace(SERVICE, load_balancer_ips=(VIP, OTHER))}, api_servers=frozenset({OTHER})))
    status = node_status(made, {}, NOW)
    (found,) = status.services
    assert (found.announced, found.reason) == (True, "")
    assert [(each.address, each.guarded, each.interfaces) for each in found.addresses] == [
        (str(VIP), "", ("eth0",)),
        (str(OTHER), "ApiServer", ()),
    ]
    assert [(each.subject, each.reason) for each in status.problems] == [(f"service/{A}", "ApiServer")]


def test_a_service_with_guarded_addresses_alone_says_so() -> None:
    found = of(controller(replace(STATE, api_servers=frozenset({VIP}))))
    assert (found.announced, found.reason, found.addresses[0].guarded) == (False, "Guarded", "ApiServer")


def test_a_member_that_is_refused_here_says_why_although_its_group_is_held() -> None:
    local = Service(B, type="LoadBalancer", load_balancer_ips=(VIP, OTHER), external_traffic_policy="Local")
    made = holding(replace(STATE, services={A: SERVICE, B: local}))
    assert of(made, A).announced
    assert of(made, A).shares_with == (str(B),)
    found = of(made, B)
    assert (found.announced, found.reason, found.holder) == (False, "NoLocalEndpoint", "n1")


def test_problems_of_objects_and_of_the_responder_are_told() -> None:
    problem = ObjectProblem("web.yaml:1", "BrokenFile", "correct the syntax")
    status = node_status(controller(replace(STATE, problems=(problem,)), (), problems=("eth0: filter made coarser",)), {}, NOW)
    assert [(each.subject, each.reason, each.message) for each in status.problems] == [("web.yaml:1", "BrokenFile", "correct the syntax")]
    assert status.responder_problems == ("eth0: filter made coarser",)


def test_before_anything_was_seen() -> None:
    status = node_status(Controller("n1", Timing(), NOW), {}, NOW)
    assert (status.ready, status.gate_open, status.services, status.links) == (False, False, (), ())


def test_without_carrier_the_blocker_is_told() -> None:
    found = of(controller(STATE, (), replace(LINK, carrier=False)))
    assert (found.announced, found.reason) == (False, Blocker.NO_CARRIER.value)


def test_the_socket_hands_the_document_out_to_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "agent.sock"
    document = node_status(holding(), {}, NOW)

    async def ask() -> NodeStatus:
        async with await serve_state(path, lambda question: document if question == "status" else None):
            return await asyncio.to_thread(ask_agent, path)

    assert asyncio.run(ask()) == document
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_place_where_nothing_can_listen_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--state-socket .*: cannot listen there: .+"):
        asyncio.run(serve_state(tmp_path / ("x" * 120), lambda _: node_status(holding(), {}, NOW)))


@pytest.mark.parametrize("octets", [b"", b"{}", b"hello"])
def test_an_answer_that_is_no_agents_is_named(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "other.sock"

    async def ask() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(octets)
            writer.close()

        async with await asyncio.start_unix_server(answer, path=str(path)):
            await asyncio.to_thread(ask_agent, path)

    with pytest.raises(ConfigurationError, match=r"other\.sock: the answer is not an agent's"):
        asyncio.run(ask())


@pytest.mark.parametrize("bound", [False, True], ids=["no socket", "nobody listens"])
def test_without_an_agent_one_line_says_so(tmp_path: Path, bound: bool) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        if bound:
            left_over.bind(str(path))
        with pytest.raises(ConfigurationError, match=r"no agent answers there \(.+\); start one, or name its socket"):
            ask_agent(path)


def test_an_agent_that_does_not_answer_may_be_frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l2announce.cli.ask.ANSWER_LIMIT", 0.05)
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(path))
        frozen.listen()
        with pytest.raises(ConfigurationError, match=r"does not answer within 0.05 s; it may be frozen"):
            ask_agent(path)


def test_the_document_survives_its_way_as_json() -> None:
    document = node_status(holding(), {}, NOW)
    assert msgspec.json.decode(msgspec.json.encode(document), type=NodeStatus) == document


def test_the_table_of_reasons_is_complete() -> None:
    """Every word that status and explain can give has its meaning, and docs/operations.md says the same."""
    words = {each.value for each in (*Reason, *Blocker)} | {"HeldBy", "Electing", "Announces", "Unknown", "Conflict", "ApiUnreachable"}
    assert set(REASONS) == words
    section = OPERATIONS.read_text().partition("<!-- reasons -->")[2].partition("<!-- end of reasons -->")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in section.strip().splitlines()[2:]]
    told = {re.sub(r"[`=].*", "", word.strip("`")): Meaning(*cells) for word, *cells in rows}
    assert told == REASONS
