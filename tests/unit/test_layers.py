"""Imports go down only, the core is pure, the responder process is small; and the rules that say so bite."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")
SECONDS = 60

NOT_IN_THE_RESPONDER = ("asyncio", "uvloop", "pyroute2", "typer", "rich", "yaml", "kubernetes", "scapy", "re2", "logging", "subprocess")
"""What the responder process has no use for: each costs memory and start-up time, and is code beside the packet sockets."""

IMPURE = ("asyncio", "socket", "select", "os", "random", "logging", "uvloop", "kubernetes", "pyroute2", "scapy", "threading", "subprocess")
"""What a core layer must not bring with it. ``time`` is built into the interpreter, so only the import rules can forbid it."""


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package below ``directory``."""
    command = (str(LINT), "--no-logo", "--no-cache", "--config", "pyproject.toml")
    return subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True, timeout=SECONDS)


def loaded_by(modules: list[str]) -> set[str]:
    """The top-level names of everything that a fresh interpreter has loaded after importing ``modules``, beyond what it starts with."""
    code = (
        "import sys, json; before = set(sys.modules); "
        f"[__import__(name) for name in {modules!r}]; "
        "print(json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run((sys.executable, "-c", code), cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=SECONDS)
    found: list[str] = json.loads(done.stdout)
    return set(found)


def modules_of(layer: str) -> list[str]:
    """Every module of one layer."""
    package = REPOSITORY / "l2announce" / layer
    if not package.is_dir():
        return [f"l2announce.{layer}"]
    return [f"l2announce.{layer}", *(f"l2announce.{layer}.{path.stem}" for path in package.glob("*.py") if path.stem != "__init__")]


def test_the_import_rules_are_kept() -> None:
    done = lint(REPOSITORY)
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("model/address.py", "from l2announce.wire import arp", "Imports go down only"),
        ("control/gate.py", "from l2announce.responder import engine", "Imports go down only"),
        ("responder/engine.py", "from l2announce.kernel import clock", "Imports go down only"),
        ("manifests/loader.py", "from l2announce.cli import output", "Imports go down only"),
        ("control/election.py", "import time", "The core does no I/O and reads no clock"),
        ("responder/announce.py", "import random", "The core does no I/O and reads no clock"),
        ("wire/arp.py", "from socket import AF_INET", "The core does no I/O and reads no clock"),
        ("agent/responder.py", "from l2announce.manifests import loader", "The responder process knows nothing of Kubernetes"),
        ("kernel/packet.py", "import kubernetes", "The responder process knows nothing of Kubernetes"),
    ],
)
def test_a_bad_import_is_caught(tmp_path: Path, file: str, line: str, broken: str) -> None:
    shutil.copytree(REPOSITORY / "l2announce", tmp_path / "l2announce", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    with (tmp_path / "l2announce" / file).open("a") as module:
        module.write(f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode != 0
    assert f"{broken} BROKEN" in done.stdout


def test_the_responder_process_loads_little() -> None:
    assert loaded_by(["l2announce.agent.responder"]).isdisjoint(NOT_IN_THE_RESPONDER)


@pytest.mark.parametrize("layer", ["wire", "model", "errors", "responder"])
def test_a_core_layer_brings_nothing_impure_with_it(layer: str) -> None:
    """Not even through a library. control/ is not here: google-re2, which has Go's syntax, is a library with needs of its own."""
    assert loaded_by(modules_of(layer)).isdisjoint(IMPURE)


def test_what_control_brings_comes_from_its_one_library_alone() -> None:
    assert loaded_by(modules_of("control")) & set(IMPURE) <= loaded_by(["re2"])
