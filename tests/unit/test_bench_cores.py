"""Core time out of the kernel's counters, and rounds that are done again because something else ran."""

import pytest

from benchmarks.harness import cores
from benchmarks.harness.cores import Quiet, Sample, Usage, parse_stat, parse_timer_list, usage

TIMER_LIST = """Timer List Version: v0.10
now at 5000 nsecs

cpu: 0
  .idle_sleeptime : 111 nsecs
  .iowait_sleeptime: 1 nsecs
cpu: 1
  .idle_sleeptime : 2000 nsecs
  .iowait_sleeptime: 30 nsecs
"""
STAT = """cpu  5 0 6 30 7 0 0 0 0 0
cpu0 2 0 3 10 3 0 0 0 0 0
cpu1 3 0 3 20 4 0 0 0 0 0
cpu10 9 9 9 99 9 0 0 0 0 0
"""


def test_idle_time_of_one_core() -> None:
    assert [parse_timer_list(TIMER_LIST, core) for core in (0, 1)] == [112, 2030]
    assert [parse_stat(STAT, core, 100) for core in (0, 1)] == [130_000_000, 240_000_000]


def test_work_is_what_is_neither_idle_nor_others() -> None:
    before = Sample(at=0, idle=0, tasks=10, softirq_thread=0, process=0)
    after = Sample(at=10_000_000_000, idle=4_000_000_000, tasks=5_000_000_010, softirq_thread=1_000_000_000, process=2_500_000_000)
    assert usage(before, after) == Usage(elapsed=10.0, work=4.5, process=2.5, others=1.5)


def test_without_knowledge_of_others_all_that_is_not_idle_is_work() -> None:
    before = Sample(at=0, idle=0, tasks=0, softirq_thread=0, process=0)
    after = Sample(at=1_000_000_000, idle=250_000_000, tasks=0, softirq_thread=0, process=0)
    assert usage(before, after) == Usage(elapsed=1.0, work=0.75, process=0.0, others=0.0)


def test_clocks_that_disagree_make_no_negative_time() -> None:
    before = Sample(at=0, idle=0, tasks=10, softirq_thread=0, process=0)
    after = Sample(at=1000, idle=1100, tasks=20, softirq_thread=15, process=0)
    assert usage(before, after) == Usage(elapsed=1e-6, work=0.0, process=0.0, others=0.0)


class Machine:
    """Rounds of one second, in which other programs took the given shares."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *shares: float) -> None:
        self.shares, self.rounds = shares, 0
        monkeypatch.setattr(cores, "_others_now", lambda: 0.0)
        monkeypatch.setattr(cores, "sample", lambda _pid: None)
        monkeypatch.setattr(cores, "usage", lambda _before, _after: Usage(1.0, 0.5, 0.1, self.shares[self.rounds - 1]))

    def act(self) -> int:
        self.rounds += 1
        return self.rounds


def test_a_quiet_round_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, quiet = Machine(monkeypatch, 0.01), Quiet(10.0)
    assert quiet.measure(None, machine.act) == (1, Usage(1.0, 0.5, 0.1, 0.01))
    assert (quiet.disturbed, quiet.repeated, quiet.patience) == (0.01, 0, 10.0)


def test_a_disturbed_round_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, quiet = Machine(monkeypatch, 0.5, 0.02), Quiet(10.0)
    assert quiet.measure(None, machine.act)[0] == 2
    assert (quiet.disturbed, quiet.repeated, quiet.patience) == (0.02, 1, 9.0)


def test_without_patience_the_best_round_is_kept_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, quiet = Machine(monkeypatch, 0.2, 0.5, 0.4), Quiet(2.0)
    assert quiet.measure(None, machine.act)[0] == 1
    assert (quiet.disturbed, quiet.repeated, quiet.patience) == (0.2, 2, 0.0)
