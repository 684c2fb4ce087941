"""What agents write to their logs in the lab."""

import json
from pathlib import Path
from typing import Any

import pytest
from netlab.lab import Lab
from netlab.namespaces import Network
from netlab.topology import LAB_DIRECTORY, load_topology
from netlab.waiting import wait_until

pytestmark = pytest.mark.netns

PATIENCE = 20.0


def lines(lab: Lab, message: str) -> list[dict[str, Any]]:
    """The log lines of all agents with this message about web, as far as they are whole."""
    texts = [agent.log.read_text() for agent in lab.agents.values()]
    found = [json.loads(line) for text in texts for line in text.splitlines(keepends=True) if line.endswith("}\n")]
    return [line for line in found if line["message"] == message and line.get("addresses") == "10.99.0.10"]


def test_a_service_that_is_gone_was_not_lost_for_want_of_a_link(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not network.namespaces
    monkeypatch.setenv("PYTHONPATH", str(LAB_DIRECTORY))
    with Lab(load_topology(), tmp_path) as lab:
        lab.start_agents()
        wait_until(lambda: lines(lab, "announcing"), PATIENCE, "somebody to announce web")
        services = lab.manifests / "services.yaml"
        documents = services.read_text().split("---\n")
        services.write_text("---\n".join(documents[1:]))
        gone = wait_until(lambda: lines(lab, "no longer announcing"), PATIENCE, "web to be given up")
    assert [line["why"] for line in gone] == ["NotSelected"]
