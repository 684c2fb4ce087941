"""The lab itself, with one scenario: its report, its picture and its capture, and nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from netlab.kube import ProgramsMissing, lab_programs
from netlab.namespaces import RUN_NETNS, Network
from netlab.pcapng import read_capture
from netlab.records import MARK

pytestmark = pytest.mark.netns

RUN_SECONDS = 90


def play(tmp_path: Path, *options: str) -> dict[str, Any]:
    """A planned stop from nothing to the report, which is returned; the exit code says that every bound was kept."""
    command = (sys.executable, "-m", "netlab", *options, "run", "--out", str(tmp_path / "out"), "--scenario", "stop")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    netlab = Path(__file__).parents[2] / "netns-lab"
    environment = {**os.environ, "PYTHONPATH": str(netlab), "TMPDIR": str(temporary), MARK: ""}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=RUN_SECONDS, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every bound was kept" in done.stdout

    report: dict[str, Any] = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["passed"]
    assert report["capture"]["lost"] == 0
    (scenario,) = report["scenarios"]
    assert scenario["key"] == "stop"
    lost = [item for item in scenario["blackouts"] if item["lost"]]
    assert lost
    for item in scenario["blackouts"]:
        assert 0 < item["asks"] <= item["bound"]
        assert 0 < item["traffic"] <= item["bound"]
    assert all(item["heir"] in {"n1", "n2", "n3"} - {scenario["node"]} for item in lost)
    for proof in report["proof"]:
        assert proof["answers"] > 100
        assert proof["announcements"] > 0
        assert (proof["doubles"], proof["interleavings"], proof["strangers"]) == (0, 0, 0)
    newcomer = report["newcomer"]
    assert newcomer["passed"]
    assert (newcomer["service"], [item["address"] for item in newcomer["reached"]]) == ("default/news", ["10.99.0.11", "fd99::11"])
    assert newcomer["given"] <= newcomer["given_bound"]
    assert all(item["node"] in {"n1", "n2", "n3"} and item["backend"] for item in newcomer["reached"])
    assert {"10.99.0.10", "10.99.0.20", "fd99::10", "fd99::20"} == set(report["ownership"]) == set(report["http"])
    assert list(temporary.iterdir()) == []
    assert list(RUN_NETNS.iterdir()) == []
    return report


def test_a_planned_stop_in_the_lab(network: Network, tmp_path: Path) -> None:
    """On the embedded cluster, where each node sends everything to its own backend; the picture and the capture are what they should be."""
    assert not network.namespaces
    report = play(tmp_path)
    assert report["cluster"] == "embedded"
    assert ET.fromstring((tmp_path / "out" / "timeline.svg").read_text()).tag.endswith("svg")  # noqa: S314 - our own text
    assert sum(1 for _ in read_capture(tmp_path / "out" / "lab.pcapng")) == report["capture"]["frames"]


@pytest.mark.apiserver
def test_a_planned_stop_on_a_kubernetes_control_plane(network: Network, tmp_path: Path) -> None:
    """The same on an API server, with kube-proxy on the nodes: every bound kept, and backends behind other nodes than the owner answer."""
    assert not network.namespaces
    try:
        lab_programs()
    except ProgramsMissing as error:
        pytest.skip(str(error))
    report = play(tmp_path, "--cluster", "kubernetes")
    assert report["cluster"] == "kubernetes"
    assert {backend for counts in report["http"].values() for backend in counts} == {"b1", "b2", "b3"}
    assert all(sum(counts.values()) >= 3 for counts in report["http"].values())
