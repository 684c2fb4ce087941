"""The benchmarks' goals: judged at their limits, and by the figures that they name."""

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from benchmarks.harness.goals import Goal, Judgement, judge
from benchmarks.harness.report import save, show
from benchmarks.harness.results import Result

PASS, MISS, UNSURE = Judgement.PASS, Judgement.MISS, Judgement.UNSURE


def answers(case: str, cpu: float = 1.0, p50: float = 1.0, memory: float = 20.0, disturbed: float = 0.0) -> Result:
    """A result in which the kernel's figures are 1."""
    result = Result(case, disturbed=disturbed)
    common = {"answers_per_second": 100_000.0, "p99_us": 40.0, "p999_us": 90.0, "wrong": 0.0}
    result.add("kernel", cpu_us=1.0, p50_us=1.0, **common)
    result.add("responder", cpu_us=cpu, p50_us=p50, memory_mib=memory, **common)
    return result


def flood(kernel: tuple[float, ...], responder: tuple[float, ...], process: float = 1.0, case: str = "flood") -> Result:
    """A flood with so many rounds."""
    result = Result(case)
    for mine, theirs in zip(kernel, responder, strict=True):
        result.add("kernel", core_percent=mine)
        result.add("responder", core_percent=theirs, process_percent=process, lost=0.0)
    return result


def forwarding(kernel: tuple[float, ...], responder: float) -> Result:
    """A forwarding case."""
    result = Result("forwarding")
    for value in kernel:
        result.add("kernel", cpu_us=value)
        result.add("responder", cpu_us=responder)
    return result


def judgements(*results: Result) -> dict[str, Judgement]:
    """Goal by name."""
    return {goal.name: goal.judgement for goal in judge(results)}


def test_nothing_measured_nothing_judged() -> None:
    assert judge([]) == []


@pytest.mark.parametrize(
    ("case", "cpu", "goal", "expected"),
    [
        ("arp 1000", 3.3, "ARP, 1000 addresses: CPU per reply", PASS),
        ("arp 1000", 3.31, "ARP, 1000 addresses: CPU per reply", MISS),
        ("arp 10000 scattered", 3.31, "ARP, 10000 scattered addresses: CPU per reply", MISS),
        ("ndp 1000", 1.0, "NDP, 1000 addresses: CPU per reply", PASS),
        ("ndp 1000", 1.01, "NDP, 1000 addresses: CPU per reply", MISS),
    ],
)
def test_cpu_per_reply(case: str, cpu: float, goal: str, expected: Judgement) -> None:
    assert judgements(answers(case, cpu=cpu))[goal] is expected


@pytest.mark.parametrize("case", ["arp 1", "ndp 1", "ndp 100", "ndp 10000"])
def test_cpu_has_no_goal_where_the_issue_names_none(case: str) -> None:
    assert not any("CPU" in name for name in judgements(answers(case, cpu=99.0)))


@pytest.mark.parametrize(("p50", "expected"), [(1.5, PASS), (1.51, MISS)])
def test_latency(p50: float, expected: Judgement) -> None:
    assert judgements(answers("ndp 100", p50=p50))["ndp 100: p50, one in flight"] is expected


@pytest.mark.parametrize(("disturbed", "expected"), [(0.0, MISS), (0.5, UNSURE)])
def test_what_was_disturbed_is_neither_met_nor_missed(disturbed: float, expected: Judgement) -> None:
    assert judgements(answers("arp 100", cpu=9.0, disturbed=disturbed))["ARP, 100 addresses: CPU per reply"] is expected


@pytest.mark.parametrize(("memory", "expected"), [(25.0, PASS), (25.1, MISS)])
def test_memory_is_judged_even_when_disturbed(memory: float, expected: Judgement) -> None:
    assert judgements(answers("arp 1", memory=memory, disturbed=0.9))["arp 1: responder's memory"] is expected


@pytest.mark.parametrize(
    ("kernel", "responder", "expected"),
    [
        ((8.0, 8.0, 8.0), (8.9, 8.9, 8.9), PASS),
        ((8.0, 8.0, 8.0), (9.1, 9.1, 9.1), MISS),
        ((7.0, 8.0, 10.0), (10.9, 10.9, 10.9), PASS),
        ((7.0, 8.0, 10.0), (11.1, 11.1, 11.1), MISS),
    ],
)
def test_flood_beyond_what_the_kernel_spreads(kernel: tuple[float, ...], responder: tuple[float, ...], expected: Judgement) -> None:
    assert judgements(flood(kernel, responder))["50,000 foreign ARP/s: core"] is expected


def test_flood_within_the_process() -> None:
    name = "50,000 foreign ARP/s: process"
    assert judgements(flood((8.0,), (8.0,), process=3.0))[name] is PASS
    assert judgements(flood((8.0,), (8.0,), process=3.1))[name] is MISS


def test_flood_may_lose_nothing_in_any_round() -> None:
    result = flood((8.0, 8.0, 8.0), (99.0, 99.0, 99.0), case="flood, 100 owned/s")
    name = "flood, 100 owned/s: owned requests lost"
    assert judgements(result) == {name: PASS}
    result.add("responder", lost=1.0)
    assert judgements(result) == {name: MISS}


@pytest.mark.parametrize(("milliseconds", "expected"), [(50.0, PASS), (50.1, MISS)])
def test_first_answer_after_winning(milliseconds: float, expected: Judgement) -> None:
    result = Result("start", disturbed=0.9)
    result.add("program", lease_to_answer_ms=milliseconds)
    assert judgements(result) == {"lease won to first answer": expected}


@pytest.mark.parametrize(
    ("kernel", "responder", "expected"),
    [
        ((1.0, 1.0, 1.0), 1.049, PASS),
        ((1.0, 1.0, 1.0), 1.06, MISS),
        ((0.9, 1.0, 1.1), 1.19, PASS),
        ((0.9, 1.0, 1.1), 1.21, MISS),
    ],
)
def test_forwarding_beyond_what_rounds_spread(kernel: tuple[float, ...], responder: float, expected: Judgement) -> None:
    assert judgements(forwarding(kernel, responder)) == {"forwarded IPv6: CPU per datagram": expected}


def test_a_goal_shows_both_systems_and_their_spread() -> None:
    result = answers("arp 1000", cpu=3.0)
    result.add("kernel", cpu_us=1.5)
    result.add("kernel", cpu_us=2.5)
    goal = judge([result])[0]
    assert (goal.measured, goal.kernel, goal.ratio) == ("3.00 µs (3.00 to 3.00)", "1.50 µs (1.00 to 2.50)", "2.00")
    assert goal.wanted == "<= 3.3 x kernel"


def test_report_and_file_say_the_same(tmp_path: Path) -> None:
    results = [answers("arp 1000", cpu=9.0), answers("ndp 1000", disturbed=0.5), forwarding((1.0,), 1.0)]
    goals: list[Goal] = judge(results)
    output = io.StringIO()
    show(results, goals, Console(file=output, width=180))
    path = tmp_path / "results.json"
    save(path, results, goals)
    saved = msgspec.json.decode(path.read_bytes())
    counted = {word: sum(goal["judgement"] == word for goal in saved["goals"]) for word in ("PASS", "MISS", "UNSURE")}
    assert counted == {"PASS": 4, "MISS": 1, "UNSURE": 2}
    assert f"4 of {len(goals)} goals met, 1 missed, 2 unsure" in output.getvalue()
    assert [result["case"] for result in saved["results"]] == ["arp 1000", "ndp 1000", "forwarding"]
    assert all(goal.name in output.getvalue() for goal in goals)


def test_a_quiet_run_speaks_of_no_doubt() -> None:
    results = [answers("arp 1000")]
    output = io.StringIO()
    show(results, judge(results), Console(file=output, width=180))
    assert "3 of 3 goals met, 0 missed\n" in output.getvalue()
    assert "unsure" not in output.getvalue()
