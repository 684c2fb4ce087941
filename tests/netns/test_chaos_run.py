"""A short run of chaos against live agents; and that a run sees an answer that should not be."""

from pathlib import Path

import pytest
from netlab.chaos import run as chaos
from netlab.chaos.plan import Kind, Planned
from netlab.chaos.run import play_round
from netlab.chaos.scene import Done, Scene
from netlab.topology import REPOSITORY

pytestmark = pytest.mark.netns

ROGUE = "a rogue answers"


@pytest.fixture(autouse=True)
def _lab_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backends, prober and capture are programs of netlab."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "netns-lab"))


def test_forty_seconds_of_chaos(tmp_path: Path) -> None:
    lines: list[str] = []
    played = play_round(4, 0, 40.0, tmp_path, lines.append)
    assert len(played.spans) >= 3
    assert not played.violations, [*lines, *played.violations]
    assert (tmp_path / "round-0.pcapng").stat().st_size > 100_000


def test_a_rogue_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that answers every ask for an address, as another node would that believes to hold the lease."""

    def begin(scene: Scene, _: Planned) -> Done:
        item = next(item for item in scene.lab.services if item.address.version == 4)
        other = next(node for node in scene.lab.agents if node != scene.holder(item, ""))
        namespace = scene.lab.network[other]
        namespace.sysctl("net/ipv4/conf/all/arp_ignore", 0)
        namespace.ip(f"address add {item.address}/32 dev lo", check=False)
        return Done(other, lambda: namespace.ip(f"address del {item.address}/32 dev lo", check=False))

    monkeypatch.setattr(chaos, "faults_on", lambda _: {ROGUE: (Kind(ROGUE, 1.0, 1.5), begin)})
    played = play_round(1, 0, 20.0, tmp_path, lambda _: None)
    assert any("one ask answered by" in violation.what for violation in played.violations)
    assert any("while the lease is held by" in violation.what for violation in played.violations)
