"""Shows what was found: tables for people, benchmarks/out/results.json for programs."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.harness.goals import Goal, Judgement
from benchmarks.harness.results import Figures, Result

_COLORS = {Judgement.PASS: "green", Judgement.MISS: "bold red", Judgement.UNSURE: "yellow"}


def _figure(result: Result, system: str, name: str, form: str) -> str:
    figures = result.systems.get(system, Figures())
    return format(figures[name].median, form) if name in figures else "-"


def _pair(result: Result, name: str, form: str) -> tuple[str, str]:
    return _figure(result, "kernel", name, form), _figure(result, "responder", name, form)


def answers_table(results: Sequence[Result]) -> Table:
    """Kernel and responder side by side, one row for each number of addresses."""
    table = Table(title="Answers: kernel | responder, medians", header_style="bold")
    table.add_column("case")
    for header in (
        "replies/s, 64 in flight",
        "CPU µs/reply",
        "ratio",
        "p50 µs, 1 in flight",
        "ratio",
        "p99 µs",
        "p99.9 µs",
        "MiB",
        "wrong or lost",
        "disturbed",
    ):
        table.add_column(header, justify="right")
    for result in results:
        columns = [
            " | ".join(_pair(result, "answers_per_second", ",.0f")),
            " | ".join(_pair(result, "cpu_us", ".2f")),
            f"{result.ratio('cpu_us'):.2f}",
        ]
        columns += [" | ".join(_pair(result, "p50_us", ".1f")), f"{result.ratio('p50_us'):.2f}"]
        columns += [" | ".join(_pair(result, "p99_us", ".0f")), " | ".join(_pair(result, "p999_us", ".0f"))]
        columns += [_figure(result, "responder", "memory_mib", ".1f"), " | ".join(_pair(result, "wrong", ".0f")), f"{result.disturbed:.0%}"]
        table.add_row(result.case, *columns)
    return table


def others_table(results: Sequence[Result]) -> Table:
    """Every figure of the other cases: a row each."""
    table = Table(title="Everything else, medians", header_style="bold")
    for header in ("case", "system", "figure"):
        table.add_column(header)
    for header in ("median", "least", "greatest"):
        table.add_column(header, justify="right")
    for result in results:
        for system, figures in result.systems.items():
            for name, series in figures.items():
                table.add_row(
                    result.case, system, name, *(f"{value:,.2f}" for value in (series.median, min(series.values), max(series.values)))
                )
    return table


def goals_table(goals: Sequence[Goal]) -> Table:
    """The goals and whether they are met."""
    table = Table(title="Goals", header_style="bold")
    for header in ("goal", "measured (least to greatest round)", "kernel", "ratio", "wanted", ""):
        table.add_column(header)
    for goal in goals:
        table.add_row(
            goal.name, goal.measured, goal.kernel, goal.ratio, goal.wanted, f"[{_COLORS[goal.judgement]}]{goal.judgement.value}[/]"
        )
    return table


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    return {"kernel": platform.release(), "python": platform.python_version(), "cores": os.cpu_count(), "processor": model}


def show(results: Sequence[Result], goals: Sequence[Goal], console: Console) -> None:
    """Print all tables, and in one line how many goals are met."""
    answers = [result for result in results if result.case.startswith(("arp", "ndp"))]
    rest = [result for result in results if result not in answers]
    if answers:
        console.print(answers_table(answers))
    if rest:
        console.print(others_table(rest))
    console.print(goals_table(goals))
    by_judgement = {judgement: sum(goal.judgement is judgement for goal in goals) for judgement in Judgement}
    line = f"{by_judgement[Judgement.PASS]} of {len(goals)} goals met, {by_judgement[Judgement.MISS]} missed"
    if by_judgement[Judgement.UNSURE]:
        line += f", {by_judgement[Judgement.UNSURE]} unsure: other programs used the answering core; run again on a quiet machine"
    console.print(line)


def save(path: Path, results: Sequence[Result], goals: Sequence[Goal]) -> None:
    """Write everything that was found, every round of it, as JSON."""
    document = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "results": [result.as_json() for result in results],
        "goals": [{**asdict(goal), "judgement": goal.judgement.value} for goal in goals],
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
