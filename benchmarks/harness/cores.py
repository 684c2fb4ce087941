"""CPU time of one core, all of it: the process that answers and the kernel's work for it, without what other programs did there.

The kernel answers ARP and NDP in softirqs, which belong to no process, so the time of a process says nothing about it. What both systems
under test have in common is the core on which they run: its busy time is the time that passed less the time it was idle. Programs that
have nothing to do with the measurement run on that core too; their time, which the cpuacct controller knows for each core, is subtracted.
Softirqs that interrupt *them* are then lost, so a round that was disturbed too much is done again, while patience lasts.
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from netlab.namespaces import NamespaceError

from benchmarks.harness.results import DISTURBED

T = TypeVar("T")

GENERATOR_CORE = 0
ANSWERING_CORE = 1

_TIMER_LIST = Path("/proc/timer_list")
_STAT = Path("/proc/stat")
_CPUACCT = Path("/sys/fs/cgroup/cpuacct/cpuacct.usage_percpu")


def require_cores() -> None:
    """Raise NamespaceError unless there is a core for the generator and one for the answers, and we may steer work to them."""
    if os.cpu_count() is None or os.cpu_count() == 1:
        raise NamespaceError("the benchmarks need two cores: one that asks and one that answers")
    if os.geteuid() != 0 or Path("/proc/self/uid_map").read_text().split()[2] == "1":
        raise NamespaceError("the benchmarks need root: an ordinary user cannot steer the kernel's work to a core (rps_cpus)")


def keep_off_answering_core() -> None:
    """Run this process, and what it starts, on the generator's core."""
    os.sched_setaffinity(0, {GENERATOR_CORE})


def parse_timer_list(text: str, core: int) -> int:
    """Nanoseconds that ``core`` has been idle since boot, from the text of /proc/timer_list."""
    section = re.split(r"^cpu: ", text, flags=re.MULTILINE)[core + 1]
    return sum(int(found) for found in re.findall(r"\.(?:idle|iowait)_sleeptime\s*: (\d+) nsecs", section))


def parse_stat(text: str, core: int, ticks_per_second: int) -> int:
    """As ``parse_timer_list``, from /proc/stat, which counts in ticks of 10 ms."""
    fields = re.search(rf"^cpu{core} (.*)$", text, flags=re.MULTILINE)
    assert fields is not None  # noqa: S101 - the kernel's format
    idle, iowait = fields[1].split()[3:5]
    return (int(idle) + int(iowait)) * 1_000_000_000 // ticks_per_second


def _idle(core: int) -> int:
    if _TIMER_LIST.exists():
        return parse_timer_list(_TIMER_LIST.read_text(), core)
    return parse_stat(_STAT.read_text(), core, os.sysconf("SC_CLK_TCK"))


def run_time(pid: int) -> int:
    """Nanoseconds that the threads of a process have run; includes softirqs that happened to interrupt it."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def _find_softirq_thread(core: int) -> int | None:
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == f"ksoftirqd/{core}":
                return int(path.parent.name)
        except OSError:
            continue
    return None


_SOFTIRQ_THREAD = _find_softirq_thread(ANSWERING_CORE)
_KNOWS_OTHERS = _CPUACCT.exists() and _SOFTIRQ_THREAD is not None


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of the answering core at one moment, in nanoseconds. ``tasks`` counts every process that ran on it."""

    at: int
    idle: int
    tasks: int
    softirq_thread: int
    process: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What the answering core did between two samples, in seconds.

    ``work`` is the answering: everything but idleness and other programs. ``process`` is the part of it within the responder process.
    """

    elapsed: float
    work: float
    process: float
    others: float


def sample(pid: int | None) -> Sample:
    """Read the counters; ``pid`` is the process that answers, None when the kernel does."""
    tasks = int(_CPUACCT.read_text().split()[ANSWERING_CORE]) if _KNOWS_OTHERS else 0
    thread = run_time(_SOFTIRQ_THREAD) if _KNOWS_OTHERS and _SOFTIRQ_THREAD is not None else 0
    process = run_time(pid) if pid is not None else 0
    return Sample(time.monotonic_ns(), _idle(ANSWERING_CORE), tasks, thread, process)


def usage(before: Sample, after: Sample) -> Usage:
    """What happened between two samples."""
    elapsed = after.at - before.at
    process = after.process - before.process
    others = max(0, (after.tasks - before.tasks) - (after.softirq_thread - before.softirq_thread) - process) if after.tasks else 0
    work = max(0, elapsed - (after.idle - before.idle) - others)
    return Usage(elapsed / 1e9, work / 1e9, process / 1e9, others / 1e9)


_LOOK = 0.15


@dataclass(slots=True)
class Quiet:
    """Waits for the machine to be quiet; ``patience`` is how many seconds are left for waiting and for doing rounds again, in all.

    ``disturbed`` is the share of the answering core that others took in the worst round that had to be kept.
    """

    patience: float
    disturbed: float = 0.0
    repeated: int = 0

    def measure(self, pid: int | None, act: Callable[[], T]) -> tuple[T, Usage]:
        """Run ``act``, on a quiet machine if there is one; what it returned and what the answering core did meanwhile."""
        best: tuple[T, Usage] | None = None
        while True:
            self._wait()
            before = sample(pid)
            result = act()
            used = usage(before, sample(pid))
            if best is None or used.others / used.elapsed < best[1].others / best[1].elapsed:
                best = result, used
            share = best[1].others / best[1].elapsed
            if share <= DISTURBED or self.patience <= 0:
                self.disturbed = max(self.disturbed, share)
                return best
            self.patience -= used.elapsed
            self.repeated += 1

    def _wait(self) -> None:
        """Until other programs take less than DISTURBED of all cores."""
        while self.patience > 0 and _others_now() > DISTURBED:
            self.patience -= _LOOK


def _others_now() -> float:
    if not _KNOWS_OTHERS:
        return 0.0
    before = sum(map(int, _CPUACCT.read_text().split()))
    time.sleep(_LOOK)
    return (sum(map(int, _CPUACCT.read_text().split())) - before) / 1e9 / _LOOK
