"""Whole agents with ``--lease-mode node``: one renewal for each node, the same failover, and a change of the mode under way."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from netlab.agents import Agent
from netlab.segment import Segment
from netlab.waiting import wait_until

from l2announce.manifests.leases import read_leases
from l2announce.model.lease import HEARTBEAT_PREFIX, LEASE_MODE_ANNOTATION, STATUS_LEASE
from tests.netns.agents_stand import ADDRESSES, API, PATIENCE, SETTINGS, SHOP, SLACK, WEB, Cluster

pytestmark = pytest.mark.netns

NODES = ("n1", "n2", "n3")
EVERY = tuple(address for addresses in ADDRESSES.values() for address in addresses)


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes, the usual objects, no agent yet."""
    made = Cluster(segment, tmp_path)
    made.write_usual(*NODES)
    yield made
    made.close()


def start(cluster: Cluster, node: str, mode: str) -> None:
    namespace = next(each for each in cluster.segment.nodes if each.name == node)
    flags = ("--manifests", str(cluster.manifests), "--lease-mode", mode)
    cluster.agents[node] = Agent(namespace, node, flags, cluster.directory, SETTINGS)
    cluster.agents[node].start()
    cluster.wait_status(node, lambda status: status.ready and status.gate_open, "to be ready")


def versions(cluster: Cluster) -> dict[str, str]:
    return {lease.name: lease.resource_version for lease in read_leases(cluster.manifests, "kube-system")}


def test_one_lease_is_renewed_for_each_node(cluster: Cluster) -> None:
    for node in NODES:
        start(cluster, node, "node")
    holders = cluster.settled(WEB, API, SHOP)
    asker = cluster.ask(*EVERY)
    for key, addresses in ADDRESSES.items():
        for address in addresses:
            asker.wait_answer(address, cluster.mac(holders[key]))
    since, before = time.time(), versions(cluster)
    wait_until(lambda: time.time() - since > 2 * SETTINGS.lease_seconds, PATIENCE, "the leases to run out if nobody kept them")
    after = versions(cluster)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {STATUS_LEASE, *(HEARTBEAT_PREFIX + node for node in NODES)}
    for key, addresses in ADDRESSES.items():
        for address in addresses:
            assert asker.owners(address, since) == [cluster.mac(holders[key])]
    assert cluster.leases()[WEB].annotations[LEASE_MODE_ANNOTATION] == "node"
    assert cluster.command("who", "--state-socket", str(cluster.agents["n1"].socket), "10.99.0.10").returncode == 0


def test_a_crash_costs_no_more_than_with_a_renewal_for_each_service(cluster: Cluster) -> None:
    for node in NODES:
        start(cluster, node, "node")
    holder = cluster.settled(WEB, API, SHOP)[WEB]
    asker = cluster.ask(*EVERY)
    asker.wait_answer("10.99.0.10", cluster.mac(holder))
    before = time.time()
    cluster.agents[holder].crash()
    heir = cluster.wait_holder(WEB, other_than=holder)
    taken = asker.wait_answer("10.99.0.10", cluster.mac(heir), since=before)
    assert taken - before < SETTINGS.failover_bound + SLACK
    assert asker.owners("10.99.0.10", before) in ([cluster.mac(heir)], [cluster.mac(holder), cluster.mac(heir)])


def test_the_mode_changes_node_by_node(cluster: Cluster) -> None:
    """From renewals for each Service to heartbeats and back: every moment has one owner, and each address moves as by a planned stop."""
    for node in NODES:
        start(cluster, node, "service")
    cluster.settled(WEB, API, SHOP)
    asker = cluster.ask(*EVERY)
    before = time.time()
    for mode in ("node", "service"):
        for node in NODES:
            cluster.agents[node].terminate()
            assert cluster.agents[node].wait_stopped(1.0 + SLACK) == 0
            cluster.settled(WEB, API, SHOP)
            start(cluster, node, mode)
        asker.wait_asked(round(SETTINGS.lease_seconds * 100))
        modes = {lease.annotations.get(LEASE_MODE_ANNOTATION) for lease in cluster.leases().values()}
        assert modes <= ({"node", None} if mode == "node" else {None})
    for address in EVERY:
        answers = asker.of(address, before)
        assert asker.longest_gap(address, before) < 1.0 + SLACK
        changes = [later.at for earlier, later in pairwise(answers) if earlier.mac != later.mac]
        assert all(later - earlier > 0.1 for earlier, later in pairwise(changes)), f"{address}: two answered in turn"
