"""What ``status`` and ``who`` print of whole agents is the truth, in every form."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from netlab.agents import children
from netlab.namespaces import run_command
from netlab.segment import Segment
from netlab.waiting import wait_until

from l2announce.model.lease import STATUS_LEASE
from l2announce.model.timing import GATE_TIMEOUT
from tests.netns.agents_stand import PATIENCE, SETTINGS, SLACK, WEB, Cluster, node_object, policy, service
from tests.netns.stand import resolved_to

pytestmark = pytest.mark.netns

IPV4, IPV6, LONELY, FOREIGN = "10.99.0.10", "fd99::10", "10.99.0.40", "10.99.0.50"
LONELY_SERVICE, FOREIGN_SERVICE = "default/lonely", "default/foreign"


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """Two agents; a dual-stack Service, one that no policy selects, and one of another implementation."""
    made = Cluster(segment, tmp_path)
    made.write("nodes.yaml", node_object("n1"), node_object("n2"))
    made.write("policy.yaml", policy(serviceSelector={"matchLabels": {"io.kubernetes.service.name": "web"}}))
    made.write("web.yaml", service(WEB, IPV4, IPV6))
    made.write("lonely.yaml", service(LONELY_SERVICE, LONELY))
    made.write("foreign.yaml", service(FOREIGN_SERVICE, FOREIGN, loadBalancerClass="example.com/other"))
    made.start("n1", "n2")
    yield made
    made.close()


def rows(printed: str, first: str) -> dict[str, list[str]]:
    """The table whose first column is headed ``first``, by that column; cells are separated by two blanks or more."""
    lines = printed.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(first))
    table = []
    for line in lines[start + 1 :]:
        if not line.strip():
            break
        table.append(re.split(r"\s{2,}", line.strip()))
    return {row[0]: row[1:] for row in table}


def test_status_tells_the_truth_in_every_form(cluster: Cluster) -> None:
    holder = cluster.wait_holder(WEB)
    other = "n2" if holder == "n1" else "n1"
    mac = cluster.mac(holder)
    for address in (IPV4, IPV6):
        resolved_to(cluster.client, address, mac)
    socket = str(cluster.agents[holder].socket)
    wait_until(lambda: all(each.answers for each in cluster.service(holder, WEB).addresses), PATIENCE, "the answers to be counted")

    table = cluster.command("status", "--state-socket", socket).stdout
    bounds = "failover bound 3.3s  restart bound 1.7s"
    assert table.splitlines()[0].startswith(f"node {holder}  ready  gate open  {bounds}  l2announce ")
    services = rows(table, "SERVICE")
    assert services == {
        WEB: [f"{IPV4} {IPV6}", holder, "announced", "-"],
        LONELY_SERVICE: [LONELY, "nobody", "-", "NoPolicy"],
        FOREIGN_SERVICE: [FOREIGN, "nobody", "-", "Class"],
    }
    assert rows(table, "INTERFACE")["eth0"] == [mac.hex(":"), "yes"]

    lease = cluster.leases()[WEB]
    wide = cluster.command("status", "--state-socket", socket, "-o", "wide").stdout
    row = rows(wide, "SERVICE")[WEB]
    assert row[:7] == [f"{IPV4} {IPV6}", holder, "announced", "-", lease.name, "holding", lease.acquire_time]
    assert row[7] == f"eth0={mac.hex(':')}"
    assert int(row[8]) >= 2
    assert re.fullmatch(r"[0-9.]+s ago", row[9])
    assert int(rows(wide, "VERDICT")["answered"][0]) >= 2

    as_json = json.loads(cluster.command("status", "--state-socket", socket, "-o", "json").stdout)
    as_yaml = yaml.safe_load(cluster.command("status", "--state-socket", socket, "-o", "yaml").stdout)
    for document in (as_json, as_yaml):
        assert (document["node"], document["ready"], document["gate_open"]) == (holder, True, True)
        assert document["generation_applied"] == document["generation_sent"] > 0
        web = next(each for each in document["services"] if each["service"] == WEB)
        assert (web["announced"], web["holder"], web["reason"]) == (True, holder, "")
        assert 0 < web["deadline"] <= 0.9 * SETTINGS.lease_seconds
        assert {each["address"]: each["interfaces"] for each in web["addresses"]} == {IPV4: ["eth0"], IPV6: ["eth0"]}
    assert as_json.keys() == as_yaml.keys()

    elsewhere = rows(cluster.command("status", "--state-socket", str(cluster.agents[other].socket)).stdout, "SERVICE")
    assert elsewhere[WEB] == [f"{IPV4} {IPV6}", holder, "-", f"HeldBy={holder}"]


def test_status_of_the_manifests_tells_what_the_leases_say(cluster: Cluster) -> None:
    holder = cluster.wait_holder(WEB)
    lease = cluster.leases()[WEB]
    where = ("status", "--manifests", str(cluster.manifests))
    row = rows(cluster.command(*where).stdout, "LEASE")[lease.name]
    assert (row[0], row[1], row[3]) == (holder, lease.acquire_time, "0")
    document = json.loads(cluster.command(*where, "-o", "json").stdout)
    assert [(each["name"], each["holder_identity"], each["lease_duration"]) for each in document[:1]] == [(lease.name, holder, 3.0)]
    assert [each["name"] for each in document[1:]] == [STATUS_LEASE]
    assert yaml.safe_load(cluster.command(*where, "-o", "yaml").stdout)[0]["name"] == lease.name
    assert rows(cluster.command(*where, "--lease-namespace", "elsewhere").stdout, "LEASE") == {}

    for agent in cluster.agents.values():
        agent.terminate()
    for agent in cluster.agents.values():
        assert agent.wait_stopped(PATIENCE) == 0
    assert rows(cluster.command(*where).stdout, "LEASE")[lease.name][0] == "nobody", "it needs no agent"


def test_who_tells_whose_an_address_is(cluster: Cluster) -> None:
    holder = cluster.wait_holder(WEB)
    other = "n2" if holder == "n1" else "n1"
    mac = cluster.mac(holder)
    resolved_to(cluster.client, IPV4, mac)
    wait_until(lambda: cluster.service(holder, WEB).addresses[0].answers, PATIENCE, "the answer to be counted")
    since = cluster.leases()[WEB].acquire_time
    here, there = (("--state-socket", str(cluster.agents[node].socket)) for node in (holder, other))

    row = rows(cluster.command("who", IPV4, *here).stdout, "SERVICE")[WEB]
    assert row[:3] == [holder, f"eth0={mac.hex(':')}", since]
    assert re.fullmatch(r"[0-9.]+s ago", row[3])
    assert row[4] == "-"
    row = rows(cluster.command("who", "FD99:0::0010", *there).stdout, "SERVICE")[WEB]
    assert row == [holder, f"eth0={mac.hex(':')}", since, f"ask {holder}", f"HeldBy={holder}"]

    for address, key, reason in ((LONELY, LONELY_SERVICE, "NoPolicy"), (FOREIGN, FOREIGN_SERVICE, "Class")):
        nobody = cluster.command("who", address, *here, check=False)
        assert nobody.returncode == 1
        assert rows(nobody.stdout, "SERVICE")[key] == ["nobody", "-", "-", "never", reason]

    unknown = cluster.command("who", "192.0.2.1", *here, check=False)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == f"l2announce: 192.0.2.1: no Service has this address, as far as node {holder} knows\n"


def test_explain_has_a_reason_for_every_node(cluster: Cluster) -> None:
    holder = cluster.wait_holder(WEB)
    other = "n2" if holder == "n1" else "n1"
    cluster.write("nodes.yaml", *(node_object(name) for name in ("n1", "n2", "n9")))
    cluster.wait_status(other, lambda status: any(each.service == WEB for each in status.services), "to see the nodes")
    here, there = (("--state-socket", str(cluster.agents[node].socket)) for node in (holder, other))

    def reasons(*where: str) -> dict[str, str]:
        printed = cluster.command("explain", WEB, *where).stdout
        return {name: row[0] for name, row in rows(printed[printed.index("NODE") :], "NODE").items() if name.startswith("n")}

    wait_until(lambda: "n9" in reasons(*here), PATIENCE, "the third Node to be seen")
    assert reasons(*here) == {holder: "Announces", other: f"HeldBy={holder}", "n9": f"HeldBy={holder}"}
    wait_until(lambda: reasons(*there) == reasons(*here), PATIENCE, "both agents to tell the same")
    for address, key, reason in ((LONELY, LONELY_SERVICE, "NoPolicy"), (FOREIGN, FOREIGN_SERVICE, "Class")):
        nobody = cluster.command("explain", key, "--address", address, *here, check=False)
        assert nobody.returncode == 1
        assert nobody.stdout.count(f"  {reason}  ") == 3, "one for each node"
    nothing = cluster.command("explain", "shop/none", *here, check=False)
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr == f"l2announce: shop/none: no such Service, as far as node {holder} knows\n"


def test_a_dead_holders_name_is_not_told_as_if_it_served(cluster: Cluster) -> None:
    """When its lease has run out and nobody may take over, nobody holds the address."""
    holder = cluster.wait_holder(WEB)
    other = "n2" if holder == "n1" else "n1"
    cluster.segment.switch.ip(f"link set {other} down")
    cluster.wait_status(other, lambda status: not any(link.carrier for link in status.links if link.name == "eth0"), "to lose its carrier")
    cluster.agents[holder].crash()
    where = ("--state-socket", str(cluster.agents[other].socket))
    wait_until(lambda: cluster.service(other, WEB).holder is None, PATIENCE, "the lease to count as nobody's")
    found = cluster.command("who", IPV4, *where, check=False)
    assert found.returncode == 1
    assert rows(found.stdout, "SERVICE")[WEB][0] == "nobody"
    assert rows(found.stdout, "SERVICE")[WEB][-1] == "NoCarrier"


def test_a_node_whose_responder_is_frozen_is_not_named(cluster: Cluster) -> None:
    """It says so itself, within the time of the gate; then who has taken over is named everywhere."""
    holder = cluster.wait_holder(WEB)
    other = "n2" if holder == "n1" else "n1"
    here, there = (("--state-socket", str(cluster.agents[node].socket)) for node in (holder, other))
    (responder,) = children(cluster.agents[holder].pid)
    os.kill(responder, signal.SIGSTOP)
    try:
        silent = cluster.wait_status(
            holder,
            lambda status: any(each.service == WEB and not each.announced for each in status.services),
            "to say that it does not answer",
            GATE_TIMEOUT + SLACK,
        )
        (web,) = (each for each in silent.services if each.service == WEB)
        assert (web.reason, web.holder) == ("ResponderNotAnswering", None)
        assert rows(cluster.command("who", IPV4, *here, check=False).stdout, "SERVICE")[WEB][0] != holder
        assert cluster.wait_holder(WEB, other_than=holder) == other
        for where in (here, there):
            wait_until(
                lambda where=where: rows(cluster.command("who", IPV4, *where, check=False).stdout, "SERVICE")[WEB][0] == other,  # type: ignore[misc]
                PATIENCE,
                "the new holder to be named",
            )
        printed = cluster.command("explain", WEB, *here).stdout
        assert rows(printed[printed.index("NODE") :], "NODE")[holder][0] == "ResponderNotAnswering"
    finally:
        os.kill(responder, signal.SIGCONT)


def test_a_second_agent_leaves_the_first_alone(cluster: Cluster) -> None:
    holder = cluster.wait_holder(WEB)
    agent = cluster.agents[holder]
    second = run_command("ip", "netns", "exec", holder, *agent.command(), check=False)
    assert second.returncode == 2
    (line,) = second.stderr.splitlines()
    assert f"--state-socket {agent.socket}: another agent serves there" in line
    assert cluster.service(holder, WEB).announced
    assert agent.is_running()
