"""Giving privileges up, in a process of its own: what is given up here does not come back."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from l2announce.kernel.privilege import effective_capabilities, raise_file_limit

DROP = """
from pathlib import Path
import subprocess
from l2announce.kernel.privilege import drop_capabilities, effective_capabilities
drop_capabilities()
assert effective_capabilities() == 0
print(Path("/proc/self/status").read_text())
print(subprocess.run(["cat", "/proc/self/status"], check=True, capture_output=True, text=True).stdout)
drop_capabilities()
"""


def capabilities(status: str) -> dict[str, set[str]]:
    """Field -> the values it has in one or more texts of /proc/PID/status."""
    found: dict[str, set[str]] = {}
    for line in status.splitlines():
        name, _, value = line.partition(":\t")
        if name in {"CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs"}:
            found.setdefault(name, set()).add(value)
    return found


def test_every_capability_is_gone_for_good() -> None:
    """Of the process itself and of whatever it starts, also as root; giving up again is no error."""
    done = subprocess.run([sys.executable, "-c", DROP], check=True, capture_output=True, text=True, timeout=60)
    nothing = {"0" * 16}
    assert capabilities(done.stdout) == {
        "CapInh": nothing,
        "CapPrm": nothing,
        "CapEff": nothing,
        "CapAmb": nothing,
        "NoNewPrivs": {"1"},
    }


def test_effective_capabilities_are_read_from_the_kernel() -> None:
    shown = capabilities(Path("/proc/self/status").read_text())["CapEff"]
    assert {f"{effective_capabilities():016x}"} == shown


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (1024, 4096, (4096, 4096)),
        (1024, 1 << 20, (65536, 1 << 20)),
        (1024, resource.RLIM_INFINITY, (65536, resource.RLIM_INFINITY)),
        (1 << 20, 1 << 20, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
        (4096, 4096, None),
    ],
)
def test_file_limit(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, expected: tuple[int, int] | None) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: asked.append(limits))
    raise_file_limit()
    assert asked == ([] if expected is None else [expected])
