"""The load generator: builds benchmarks/arpload.c, runs it in a namespace, reads what it found."""

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from netlab.namespaces import Namespace, NamespaceError

from benchmarks.harness.cores import GENERATOR_CORE
from l2announce.model.address import format_mac

SOURCE = Path(__file__).parent.parent / "arpload.c"
OUT = Path(__file__).parent.parent / "out"

IN_FLIGHT = 64
"""Requests that wait for an answer at any time, when throughput is measured."""


class Latency(msgspec.Struct, frozen=True):
    """Microseconds from the request to its answer, as the asker sees it."""

    p50: float
    p99: float
    p999: float = msgspec.field(name="p99.9")


class Answers(msgspec.Struct, frozen=True):
    """What arpload prints. ``..._in_all`` counts the warm-up as well; ``first_answer`` is an instant of the wall clock, 0 for none."""

    seconds: float
    sent: int
    answered: int
    answers_per_second: float
    lost: int
    bad: int
    unasked: int
    late: int
    announcements: int
    refused: int
    sent_in_all: int
    answered_in_all: int
    foreign_sent_in_all: int
    first_answer: float
    latency_us: Latency


@dataclass(frozen=True, slots=True)
class Asker:
    """Whoever asks: where, as whom, and whose answers are right."""

    namespace: Namespace
    device: str
    protocol: str
    source: str
    node_mac: bytes

    def command(self, targets: Path, *more: str) -> list[str]:
        """The command line of arpload."""
        return [
            *(str(OUT / "arpload"), "--device", self.device, "--protocol", self.protocol, "--source", self.source),
            *("--node-mac", format_mac(self.node_mac), "--targets", str(targets), "--core", str(GENERATOR_CORE), *more),
        ]

    def ask(self, targets: Path, *more: str) -> Answers:
        """Run arpload to its end. NamespaceError with its words when it fails."""
        return self.finish(self.start(targets, *more))

    def start(self, targets: Path, *more: str) -> subprocess.Popen[str]:
        """Start arpload; its result comes from ``finish``."""
        with self.namespace.entered():
            return subprocess.Popen(self.command(targets, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, process: subprocess.Popen[str]) -> Answers:
        """Wait for arpload and read what it printed."""
        output, errors = process.communicate(timeout=60)
        if process.returncode != 0:
            raise NamespaceError(f"arpload: exit code {process.returncode}: {errors.strip()}")
        return msgspec.json.decode(output, type=Answers)


def build_generator() -> None:
    """Compile arpload into benchmarks/out unless it is there and newer than its source."""
    OUT.mkdir(exist_ok=True)
    binary = OUT / "arpload"
    if binary.exists() and binary.stat().st_mtime > SOURCE.stat().st_mtime:
        return
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NamespaceError("benchmarks/arpload.c: needs a C compiler: apt-get install gcc libc6-dev")
    done = subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", binary, SOURCE], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NamespaceError(f"{compiler} {SOURCE}: exit code {done.returncode}: {done.stderr.strip()}")


def write_targets(path: Path, addresses: Iterable[object]) -> Path:
    """A file of addresses, one a line, as arpload reads it."""
    path.write_text("".join(f"{address}\n" for address in addresses))
    return path
