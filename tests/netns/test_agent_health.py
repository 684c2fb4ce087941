"""/metrics, /livez and /readyz of live agents, asked in their network namespace."""

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab.agents import PROGRAM, children
from netlab.namespaces import Namespace
from netlab.segment import Segment
from netlab.waiting import wait_until
from prometheus_client.parser import text_string_to_metric_families

from tests.netns.agents_stand import ADDRESSES, API, PATIENCE, SHOP, WEB, Cluster

pytestmark = pytest.mark.netns

NODES = ("n1", "n2")


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """Two nodes with their agents, settled."""
    made = Cluster(segment, tmp_path)
    made.write_usual(*NODES)
    made.start(*NODES)
    made.settled(WEB, API, SHOP)
    yield made
    made.close()


def namespace(cluster: Cluster, node: str) -> Namespace:
    return next(each for each in cluster.segment.nodes if each.name == node)


def ask(cluster: Cluster, node: str, path: str) -> tuple[int, str]:
    try:
        with namespace(cluster, node).entered(), urllib.request.urlopen(f"http://127.0.0.1:9967{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as err:
        return err.code, err.read().decode()


def sample(cluster: Cluster, node: str, name: str, **labels: str) -> float:
    """One number; 0 where there is none."""
    families = text_string_to_metric_families(ask(cluster, node, "/metrics")[1])
    return next((each.value for family in families for each in family.samples if each.name == name and each.labels == labels), 0.0)


def test_the_numbers_are_those_of_what_is_seen_on_the_wire(cluster: Cluster) -> None:
    asker = cluster.ask(*(address for addresses in ADDRESSES.values() for address in addresses))
    holders = {key: cluster.holder(key) for key in ADDRESSES}
    for key, addresses in ADDRESSES.items():
        for address in addresses:
            asker.wait_answer(address, cluster.mac(holders[key]))
    for node in NODES:
        mine = [key for key, holder in holders.items() if holder == node]
        held = sum(len(ADDRESSES[key]) for key in mine)
        wait_until(lambda node=node, held=held: sample(cluster, node, "l2announce_claims", state="applied") == held, PATIENCE, "claims")  # type: ignore[misc]
        assert sample(cluster, node, "l2announce_leases_held") == len(mine)
        assert sample(cluster, node, "l2announce_services", reason="Announces") == len(mine)
        assert sample(cluster, node, "l2announce_claims", state="desired") == held
        if mine:
            wait_until(lambda node=node: sample(cluster, node, "l2announce_verdicts_total", verdict="answered") > 0, PATIENCE, "answers")  # type: ignore[misc]
            assert sample(cluster, node, "l2announce_announcements_total") > 0
            assert sample(cluster, node, "l2announce_ownership_transitions_total", to="announced", reason="Won") == len(mine)
        assert ask(cluster, node, "/livez") == (200, "ok\n")
        assert ask(cluster, node, "/readyz") == (200, "ok\n")
        assert ask(cluster, node, "/other")[0] == 404
    writers = [node for node in NODES if "l2announce_services_without_owner" in ask(cluster, node, "/metrics")[1]]
    assert len(writers) == 1


def test_a_frozen_responder_is_seen(cluster: Cluster) -> None:
    (responder,) = children(cluster.agents["n1"].pid)
    os.kill(responder, signal.SIGSTOP)
    try:
        wait_until(lambda: ask(cluster, "n1", "/readyz")[0] == 503, PATIENCE, "it not to be ready")
        assert "gate closed" in ask(cluster, "n1", "/readyz")[1]
        assert sample(cluster, "n1", "l2announce_gate_open") == 0
        assert ask(cluster, "n1", "/livez") == (200, "ok\n"), "to start control again would not help"
    finally:
        os.kill(responder, signal.SIGCONT)
    wait_until(lambda: ask(cluster, "n1", "/readyz")[0] == 200, PATIENCE, "it to be ready again")


def test_a_failover_is_measured(cluster: Cluster) -> None:
    holder = cluster.holder(WEB)
    heir = next(node for node in NODES if node != holder)
    before = sample(cluster, heir, "l2announce_failover_seconds_count")
    cluster.agents[holder].crash()
    cluster.wait_holder(WEB, other_than=holder)
    wait_until(lambda: sample(cluster, heir, "l2announce_failover_seconds_count") > before, PATIENCE, "the failover to be counted")
    assert sample(cluster, heir, "l2announce_failover_seconds_sum") > 1.0


def test_a_port_in_use_is_one_clear_line(cluster: Cluster, tmp_path: Path) -> None:
    flags = ("--node-name", "other", "--manifests", str(cluster.manifests), "--state-socket", str(tmp_path / "other.sock"))
    ended = namespace(cluster, "n1").run(str(PROGRAM), "agent", *flags, check=False)
    assert ended.returncode == 2
    lines = [line for line in ended.stderr.splitlines() if line.startswith("l2announce: ")]
    assert lines == ["l2announce: --metrics-address 127.0.0.1:9967: cannot listen there: Address already in use; name another one, or none"]
