"""An agent ends within a second of SIGTERM whatever else it is doing, and leaves nothing behind."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab.agents import children
from netlab.segment import Segment
from netlab.waiting import wait_until

from tests.netns.agents_stand import PATIENCE, WEB, Cluster, service

pytestmark = pytest.mark.netns

SERVICES = 12_000
"""So many in one file take several seconds to read."""


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """The usual objects, no agent yet."""
    made = Cluster(segment, tmp_path)
    made.write_usual("n1")
    yield made
    made.close()


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processor so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_stop_does_not_wait_for_a_file_that_is_being_read(cluster: Cluster) -> None:
    cluster.start("n1")
    assert cluster.wait_holder(WEB) == "n1"
    agent = cluster.agents["n1"]
    (responder,) = children(agent.pid)
    used = cpu_seconds(agent.pid)
    cluster.write("big.yaml", *(service(f"default/s{number}") for number in range(SERVICES)))
    wait_until(lambda: cpu_seconds(agent.pid) > used + 0.3, PATIENCE, "the file to be under way", interval=0.005)
    begun = time.monotonic()
    agent.terminate()
    assert agent.wait_stopped(PATIENCE) == 0
    took = time.monotonic() - begun
    print(f"stopped within {took * 1000:.0f} ms")
    assert took < 1.0
    assert cluster.holder(WEB) == ""
    assert not agent.socket.exists()
    assert '"message":"stopping"' in cluster.log("n1")  # the log is whole
    wait_until(lambda: not Path(f"/proc/{responder}/exe").exists(), PATIENCE, "the responder to end, too")
