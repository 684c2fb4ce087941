"""Giving privileges up, in a process of its own: what is given up here does not come back."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from l2announce.kernel.privilege import effective_capabilities, raise_file_limit

DROP = """
import ctypes
from pathlib import Path
import subprocess
from l2announce.kernel.privilege import drop_capabilities, effective_capabilities
drop_capabilities()
assert effective_capabilities() == 0
print(f"securebits: {ctypes.CDLL(None).prctl(27, 0, 0, 0, 0):#x}")
print(Path("/proc/self/status").read_text())
print(subprocess.run(["cat", "/proc/self/status"], check=True, capture_output=True, text=True).stdout)
drop_capabilities()
"""


def capabilities(status: str) -> dict[str, set[str]]:
    """Field -> the values it has in one or more texts of /proc/PID/status."""
    found: dict[str, set[str]] = {}
    for line in status.splitlines():
        name, _, value = line.partition(":\t")
        if name in {"CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd", "NoNewPrivs"}:
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
        "CapBnd": nothing if has_setpcap() else {own_status("CapBnd")},
    }
    if has_setpcap():
        assert "securebits: 0xef" in done.stdout


def test_without_setpcap_the_rest_is_given_up_all_the_same() -> None:
    """As in a container that has CAP_NET_RAW alone."""
    only = "import ctypes; libc = ctypes.CDLL(None)\n"
    only += "assert libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(0, 0, 0, 0, 0, 0)) == 0\n"
    done = subprocess.run([sys.executable, "-c", only + DROP], check=True, capture_output=True, text=True, timeout=60)
    found = capabilities(done.stdout)
    assert (found["CapPrm"], found["NoNewPrivs"]) == ({"0" * 16}, {"1"})
    assert found["CapBnd"] == {own_status("CapBnd")}


def own_status(field: str) -> str:
    """A field of this process's /proc/self/status."""
    (value,) = capabilities(Path("/proc/self/status").read_text())[field]
    return value


def has_setpcap() -> bool:
    """Whether this process may drop the bounding set."""
    return bool(effective_capabilities() >> 8 & 1)


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
