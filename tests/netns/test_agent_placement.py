"""Whole agents share, hand over and drain: what ``l2announce move`` and ``drain`` promise, seen on the wire."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab.segment import Segment
from netlab.waiting import wait_until

from tests.netns.agents_stand import PATIENCE, WEB, Cluster, service

NODES = ("n1", "n2", "n3")
MOVE_BOUND = 0.5
"""Seconds without an answer while an address is handed over, on a busy machine; four messages on a quiet one."""
MANY = {f"default/s{number}": f"10.99.0.{150 + number}" for number in range(30)}


pytestmark = pytest.mark.netns


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes, the usual objects, no agent yet."""
    made = Cluster(segment, tmp_path)
    made.write_usual(*NODES)
    yield made
    made.close()


def tool(cluster: Cluster, *arguments: str, check: bool = True) -> tuple[int, str]:
    """Run a command on the directory of manifests; its exit code, and all that it says."""
    done = cluster.command(*arguments, "--manifests", str(cluster.manifests), check=check)
    return done.returncode, done.stdout + done.stderr


def test_agents_that_start_together_share_evenly(cluster: Cluster) -> None:
    cluster.write("many.yaml", *(service(key, address) for key, address in MANY.items()))
    cluster.start(*NODES)
    holders = wait_until(
        lambda: found if all((found := {key: cluster.holder(key) for key in MANY}).values()) else None, PATIENCE, "every Service to be held"
    )
    assert holders is not None
    share = Counter(holders.values())
    assert all(9 <= share[node] <= 11 for node in NODES), share


def test_a_move_is_short_and_goes_where_it_is_told(cluster: Cluster) -> None:
    cluster.start(*NODES)
    source = cluster.wait_holder(WEB)
    asker = cluster.ask("10.99.0.10")
    asker.wait_answer("10.99.0.10", cluster.mac(source))
    for target in [node for node in NODES if node != source]:
        since = time.time()
        code, said = tool(cluster, "move", "web", target)
        assert (code, said.split(" in ")[0]) == (0, f"{WEB}: {source} -> {target}"), said
        asker.wait_answer("10.99.0.10", cluster.mac(target), since)
        assert asker.longest_gap("10.99.0.10", since) < MOVE_BOUND
        assert asker.owners("10.99.0.10", since)[-1] == cluster.mac(target)
        source = target
    code, said = tool(cluster, "move", WEB)
    assert code == 0, said
    assert cluster.wait_holder(WEB, other_than=source)
    asker.wait_asked(50)
    macs = asker.owners("10.99.0.10")
    assert len(macs) == 4, "each node answered in one piece"


def test_a_drained_node_holds_nothing_until_undone(cluster: Cluster) -> None:
    cluster.write("many.yaml", *(service(key, address) for key, address in MANY.items()))
    cluster.start(*NODES)
    cluster.settled(*MANY)
    code, said = tool(cluster, "drain", "n1")
    assert code == 0, said
    assert "n1" not in {lease.holder_identity for lease in cluster.leases().values()}
    share = Counter(cluster.holder(key) for key in MANY)
    assert abs(share["n2"] - share["n3"]) <= 4, share
    cluster.wait_status("n1", lambda status: all(known.reason == "Drained" for known in status.services), "to be drained")
    assert tool(cluster, "move", "web", "n1", check=False)[0] == 1
    code, said = tool(cluster, "drain", "n1", "--undo")
    assert (code, said) == (0, "node n1 may hold addresses again\n")
    cluster.wait_status("n1", lambda status: not any(known.reason == "Drained" for known in status.services), "to be a candidate")
    assert tool(cluster, "move", "web", "n1")[0] == 0
    assert cluster.holder(WEB) == "n1"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("move", "nothing"), 2, "service default/nothing: there is none of this name"),
        (("move", "web", "n9"), 2, "node 'n9': there is no such node; the nodes are n1, n2, n3"),
        (("move", "web"), 1, "nobody holds it"),
        (("drain", "n9"), 2, "there is no such node"),
        (("drain", "n1", "--undo"), 0, "node n1 was not drained"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(cluster: Cluster, arguments: tuple[str, ...], code: int, words: str) -> None:
    found, said = tool(cluster, *arguments, check=False)
    assert (found, said.count("\n")) == (code, 1)
    assert words in said
