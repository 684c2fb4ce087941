"""Restarts, one agent after the other, while a client asks: nothing moves that need not, and nobody is silent beyond the bound."""

import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from netlab.segment import Segment
from netlab.topology import AgentSettings
from netlab.waiting import wait_until

from l2announce.model.timing import Timing
from tests.netns.agents_stand import ADDRESSES, API, PATIENCE, SHOP, SLACK, WEB, Asker, Cluster

pytestmark = pytest.mark.netns

SETTINGS = AgentSettings("10s", "2s", "0.5s")
RESTART_BOUND = Timing(10.0, 2.0, 0.5).restart_bound
NODES = ("n1", "n2", "n3")
NOTICED = 0.3
"""Seconds without an answer from which a client, on a busy machine, has noticed something."""


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes with their agents, settled."""
    made = Cluster(segment, tmp_path)
    made.write_usual(*NODES)
    made.start(*NODES, settings=SETTINGS)
    yield made
    made.close()


def asked(cluster: Cluster) -> tuple[dict[str, str], Asker]:
    """Who holds what, and a client that has heard from all of them."""
    holders = cluster.settled(WEB, API, SHOP)
    asker = cluster.ask(*(address for addresses in ADDRESSES.values() for address in addresses))
    for key, addresses in ADDRESSES.items():
        for address in addresses:
            asker.wait_answer(address, cluster.mac(holders[key]))
    return holders, asker


def test_control_processes_that_come_back_in_time_are_not_missed(cluster: Cluster) -> None:
    holders, asker = asked(cluster)
    before = time.time()
    for node in NODES:
        killed = time.time()
        os.kill(cluster.agents[node].pid, signal.SIGKILL)
        cluster.agents[node].wait_stopped(PATIENCE)
        cluster.agents[node].start()
        mine = [key for key, holder in holders.items() if holder == node]
        cluster.wait_status(
            node,
            lambda status, mine=mine: status.ready and {each.service for each in status.services if each.state == "holding"} >= set(mine),
            "to hold again what it held",
        )
        assert time.time() - killed < RESTART_BOUND
    assert cluster.settled(WEB, API, SHOP) == holders
    for key, addresses in ADDRESSES.items():
        for address in addresses:
            assert asker.owners(address, before) == [cluster.mac(holders[key])]
            assert asker.longest_gap(address, before) < NOTICED


def test_a_rolling_restart_moves_what_the_stopping_agent_had_and_nothing_back(cluster: Cluster) -> None:
    holders, asker = asked(cluster)
    before = time.time()
    for node in NODES:
        stopped = time.time()
        cluster.agents[node].terminate()
        assert cluster.agents[node].wait_stopped(1.0 + SLACK) == 0
        wait_until(lambda node=node: node not in {cluster.holder(key) for key in ADDRESSES}, PATIENCE, f"{node} to have nothing")  # type: ignore[misc]
        heirs = cluster.settled(WEB, API, SHOP)
        assert {key: heirs[key] for key in heirs if holders[key] != node} == {key: holders[key] for key in heirs if holders[key] != node}
        cluster.agents[node].start()
        cluster.wait_status(node, lambda status: status.ready and status.gate_open, "to be ready")
        asker.wait_asked(100)
        assert cluster.settled(WEB, API, SHOP) == heirs, "nothing moves back"
        for addresses in ADDRESSES.values():
            for address in addresses:
                assert asker.longest_gap(address, stopped) < 1.0 + SLACK
        holders = heirs
    for addresses in ADDRESSES.values():
        for address in addresses:
            changes = [later.at for earlier, later in pairwise(asker.of(address, before)) if earlier.mac != later.mac]
            assert len(changes) <= len(NODES)
