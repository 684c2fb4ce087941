"""The lab itself, with one scenario: its report, its picture and its capture, and nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from netlab.namespaces import RUN_NETNS, Network
from netlab.pcapng import read_capture
from netlab.records import MARK

pytestmark = pytest.mark.netns

RUN_SECONDS = 90


def test_a_planned_stop_in_the_lab(network: Network, tmp_path: Path) -> None:
    """One scenario from nothing to the report; the exit code says that every bound was kept."""
    assert not network.namespaces
    command = (sys.executable, "-m", "netlab", "run", "--out", str(tmp_path / "out"), "--scenario", "stop")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    netlab = Path(__file__).parents[2] / "netns-lab"
    environment = {**os.environ, "PYTHONPATH": str(netlab), "TMPDIR": str(temporary), MARK: ""}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=RUN_SECONDS, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every bound was kept" in done.stdout

    report = json.loads((tmp_path / "out" / "report.json").read_text())
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
    assert {"10.99.0.10", "10.99.0.20", "fd99::10", "fd99::20"} == set(report["ownership"])

    assert ET.fromstring((tmp_path / "out" / "timeline.svg").read_text()).tag.endswith("svg")  # noqa: S314 - our own text
    assert sum(1 for _ in read_capture(tmp_path / "out" / "lab.pcapng")) == report["capture"]["frames"]
    assert list(temporary.iterdir()) == []
    assert list(RUN_NETNS.iterdir()) == []
