"""A short run of every fuzz target; and that a run sees a broken promise."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.campaign import NAMES, REPOSITORY, fuzz, outcome

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64" or sys.version_info >= (3, 14),
    reason="atheris has no package for this platform",
)
RUNS = {
    "frames": 6000,
    "filters": 15_000,
    "channel": 30_000,
    "netlink": 80_000,
    "objects": 8000,
    "leases": 60_000,
    "claims": 1500,
    "captures": 2000,
}

PLANTED = """
import tests.fuzz.__main__ as fuzzer
from tests.fuzz.oracle import asked_for
from tests.fuzz.targets import MAC

def planted(octets):
    if asked_for(octets, MAC) == bytes((10, 99, 0, 77)):
        raise ValueError("the planted mistake")

fuzzer.TARGETS["frames"] = planted
fuzzer.main("frames", "60")
"""
"""A mistake for one address that no seed asks for."""


def test_every_target_is_run() -> None:
    from tests.fuzz import targets

    assert set(targets.TARGETS) == set(NAMES) == set(RUNS)


@pytest.mark.parametrize("target", NAMES)
def test_nothing_is_found(target: str, tmp_path: Path) -> None:
    found = fuzz(target, 60, RUNS[target], CACHE=str(tmp_path))
    assert not found.artifact, found.words[-4000:]
    assert found.runs >= RUNS[target]
    assert found.inputs > 1, "no corpus grew"


def test_a_broken_promise_is_found(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'netns-lab'}", "CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run((sys.executable, "-c", PLANTED), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    found = outcome("frames", done.returncode, done.stderr)
    assert done.returncode != 0
    assert "the planted mistake" in done.stdout + done.stderr
    assert Path(found.artifact).read_bytes()
    Path(found.artifact).unlink()
