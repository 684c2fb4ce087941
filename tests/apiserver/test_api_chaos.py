"""A short run of chaos on a real API server, with cuts of the way to it among its faults."""

from pathlib import Path

import pytest
from netlab.chaos import run as chaos
from netlab.chaos.faults import faults_on
from netlab.chaos.run import play_round
from netlab.topology import REPOSITORY

from tests.apiserver.agents import inside_namespace

pytestmark = [pytest.mark.apiserver, pytest.mark.netns]


def test_half_a_minute_of_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not inside_namespace():
        pytest.skip("needs a private network namespace: make apiserver, or netns-lab/enter .venv/bin/pytest tests/apiserver")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "netns-lab"))
    cuts = {name: fault for name, fault in faults_on("kubernetes").items() if name.startswith(("API cut", "clock"))}
    monkeypatch.setattr(chaos, "faults_on", lambda _: cuts)
    lines: list[str] = []
    played = play_round(3, 0, 35.0, tmp_path, lines.append, "kubernetes")
    assert len(played.spans) >= 2, lines
    assert not played.violations, [*lines, *played.violations]
