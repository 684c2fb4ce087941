"""The loss of the API under whole agents: the lease store becomes read-only for one, or for all.

What an agent cannot write it can still read here; tests/apiserver has agents that are cut off altogether.
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab.agents import Agent
from netlab.segment import Segment
from netlab.waiting import wait_until

from l2announce.model.timing import HOLD_PROBE_INTERVAL, PROBE_WAIT
from tests.netns.agents_stand import FENCE_SECONDS, PATIENCE, SETTINGS, SHOP, SLACK, Asker, Cluster

pytestmark = pytest.mark.netns

IPV4, IPV6 = "10.99.0.20", "fd99::20"
LONG = 3 * SETTINGS.lease_seconds


class Mounts:
    """The manifests as each node sees them: a mount of its own, which can be made read-only."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._mounted: dict[str, Path] = {}

    def of(self, node: str) -> Path:
        place = self._mounted[node] = self._cluster.directory / f"manifests-of-{node}"
        place.mkdir()
        subprocess.run(("mount", "--bind", self._cluster.manifests, place), check=True)
        return place

    def cut(self, *nodes: str) -> None:
        for node in nodes or self._mounted:
            self._remount(node, "ro")

    def restore(self, *nodes: str) -> None:
        for node in nodes or self._mounted:
            self._remount(node, "rw")

    def _remount(self, node: str, mode: str) -> None:
        """In the mount namespace of the agent, as ``ip netns exec`` gives it one of its own."""
        inside = ("nsenter", "-t", str(self._cluster.agents[node].pid), "-m")
        subprocess.run((*inside, "mount", "-o", f"remount,bind,{mode}", self._mounted[node]), check=True)

    def close(self) -> None:
        for place in self._mounted.values():
            subprocess.run(("umount", "-l", place), check=True)


MOMENT = 0.1
"""Seconds in which a holder hears of its successor: an ask that was under way before the first announcement is answered by both."""


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes, the usual objects, no agent yet."""
    made = Cluster(segment, tmp_path)
    made.write_usual("n1", "n2", "n3")
    yield made
    made.close()


@pytest.fixture
def mounts(cluster: Cluster) -> Iterator[Mounts]:
    made = Mounts(cluster)
    yield made
    made.close()


def start(cluster: Cluster, mounts: Mounts, *flags: str) -> tuple[str, Asker]:
    """Agents on all nodes, each with a mount of its own; who holds SHOP, and a client that asks for its addresses."""
    for node in cluster.segment.nodes:
        place = mounts.of(node.name)
        cluster.agents[node.name] = Agent(node, node.name, ("--manifests", str(place), *flags), cluster.directory, SETTINGS)
        cluster.agents[node.name].start()
    for name in cluster.agents:
        cluster.wait_status(name, lambda status: status.ready and status.gate_open, "to be ready")
    holder = cluster.wait_holder(SHOP)
    asker = cluster.ask(IPV4, IPV6)
    for address in (IPV4, IPV6):
        asker.wait_answer(address, cluster.mac(holder))
    return holder, asker


def silent_since(asker: Asker, address: str) -> bool:
    """Whether nobody has answered for a while."""
    return bool(answers := asker.of(address)) and time.time() - answers[-1].at > 1.0


def test_by_default_nobody_answers_beyond_the_fence_and_all_is_well_afterwards(cluster: Cluster, mounts: Mounts) -> None:
    holder, asker = start(cluster, mounts)
    before = time.time()
    mounts.cut()
    for address in (IPV4, IPV6):
        wait_until(lambda address=address: silent_since(asker, address), FENCE_SECONDS + PATIENCE, "the answers to end")  # type: ignore[misc]
        assert asker.last(address, cluster.mac(holder)) - before <= FENCE_SECONDS + 0.05
        assert asker.owners(address) == [cluster.mac(holder)]
    back = time.time()
    mounts.restore()
    heir = cluster.wait_holder(SHOP)
    for address in (IPV4, IPV6):
        assert asker.wait_answer(address, cluster.mac(heir), since=back) - back < SETTINGS.failover_bound + SLACK


def test_the_holder_goes_on_while_nobody_can_write(cluster: Cluster, mounts: Mounts) -> None:
    holder, asker = start(cluster, mounts, "--on-api-loss", "hold")
    before = time.time()
    mounts.cut()
    cluster.wait_status(
        holder,
        lambda status: [service.state for service in status.services if service.service == SHOP] == ["held over"],
        "to hold over",
    )
    asker.wait_asked(round(LONG / 0.01))
    mounts.restore(holder)  # whoever can write first takes a lease that has run out
    cluster.wait_status(
        holder, lambda status: [service.state for service in status.services if service.service == SHOP] == ["holding"], "to renew"
    )
    asker.wait_asked(100)
    for address in (IPV4, IPV6):
        assert asker.owners(address) == [cluster.mac(holder)]
        assert asker.longest_gap(address, before) < 0.5
    mounts.restore()
    assert cluster.holder(SHOP) == holder


def test_a_stranger_ends_the_holding(cluster: Cluster, mounts: Mounts) -> None:
    """A host that has the address is there for good; it is not argued with."""
    holder, asker = start(cluster, mounts, "--on-api-loss", "hold")
    mounts.cut()
    cluster.wait_status(
        holder,
        lambda status: [service.state for service in status.services if service.service == SHOP] == ["held over"],
        "to hold over",
    )
    stranger = next(node for node in cluster.segment.nodes if node.name != holder)
    stranger.address("eth0", f"{IPV4}/32")
    took = asker.wait_answer(IPV4, stranger.mac("eth0"))
    wait_until(lambda: asker.last(IPV4, cluster.mac(holder)) < time.time() - 1.0, HOLD_PROBE_INTERVAL + PATIENCE, "the holder to yield")
    assert asker.last(IPV4, cluster.mac(holder)) - took < HOLD_PROBE_INTERVAL * 1.1 + PROBE_WAIT + SLACK
    assert cluster.command("who", "--state-socket", str(cluster.agents[holder].socket), IPV4, check=False).returncode == 1
    assert asker.last(IPV6, cluster.mac(holder)) > took, "the other address is nobody else's"


def test_who_alone_cannot_write_loses_the_lease_and_stops(cluster: Cluster, mounts: Mounts) -> None:
    holder, asker = start(cluster, mounts, "--on-api-loss", "hold")
    before = time.time()
    mounts.cut(holder)
    heir = cluster.wait_holder(SHOP, other_than=holder)
    for address in (IPV4, IPV6):
        taken = asker.wait_answer(address, cluster.mac(heir))
        asker.wait_asked(200)
        assert asker.owners(address, taken + MOMENT) == [cluster.mac(heir)]
        assert {answer.mac for answer in asker.of(address, before) if answer.at < taken} == {cluster.mac(holder)}
        assert asker.longest_gap(address, before) < 0.5
    mounts.restore()
