"""``python -m benchmarks.scale [--quick] [--only CASE]...``: measure, judge, print, save. Runs inside ``netns-lab/enter``.

The exit code says whether everything could be measured, not whether the goals are met.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import msgspec
from netlab.control_plane import find_programs
from netlab.namespaces import NamespaceError
from netlab.topology import REPOSITORY
from rich.console import Console
from rich.table import Table

from benchmarks.harness.report import machine
from benchmarks.scale.addresses import measure_addresses
from benchmarks.scale.cases import (
    HELD,
    MANY,
    MANY_NODES,
    measure_election,
    measure_hand_over,
    measure_large,
    measure_reaction,
    measure_requests,
)
from benchmarks.scale.plans import measure_plan
from benchmarks.scale.results import Case, Goal, judge

OUT = REPOSITORY / "benchmarks" / "out" / "scale.json"
SLOW = "slow "
"""Begins the names of cases that run only when they are asked for."""
Measurement = Callable[[Path, Path], Case]


def all_cases(quick: bool) -> Iterator[tuple[str, Measurement]]:
    """The cases by name, in the order in which they run."""
    if quick:
        yield "requests 3 30", partial(measure_requests, agents=3, services=30, idle=10.0)
        yield "reaction", partial(measure_reaction, agents=3, services=30, samples=30)
        yield "hand-over", partial(measure_hand_over, agents=3, services=30, samples=30)
        yield "election 3 100", partial(measure_election, agents=3, services=100, idle=10.0)
        yield "plan 2000 20", partial(measure_plan, services=2000, nodes=20)
        yield "addresses", partial(measure_addresses, services=1000, samples=20)
        yield "large", partial(measure_large, services=1000, nodes=50, held=100, announcers=3, idle=10.0)
        return
    for agents, services in ((3, 30), (3, 100), (10, 100)):
        yield f"requests {agents} {services}", partial(measure_requests, agents=agents, services=services, idle=30.0)
    for mode in ("service", "node"):
        for agents, services in ((3, 2000), (20, 300)):
            case = partial(measure_election, agents=agents, services=services, idle=30.0, mode=mode)
            yield f"election {agents} {services} {mode}", case
    for services, nodes in ((2000, 20), (10_000, 5000)):
        yield f"plan {services} {nodes}", partial(measure_plan, services=services, nodes=nodes)
    yield "reaction", partial(measure_reaction, agents=3, services=100, samples=100)
    yield "hand-over", partial(measure_hand_over, agents=3, services=100, samples=200)
    yield "addresses", partial(measure_addresses, services=2000, samples=50)
    yield f"{SLOW}addresses", partial(measure_addresses, services=10_000, samples=50)
    for announcers in (3, 1):
        yield f"large {announcers}", partial(measure_large, services=MANY, nodes=MANY_NODES, held=HELD, announcers=announcers, idle=30.0)


def show(goals: Sequence[Goal], console: Console) -> None:
    """The table."""
    table = Table(title="Costs on a real API server", header_style="bold")
    for header in ("goal", "wanted", "measured", "met"):
        table.add_column(header)
    words = {True: "[green]yes[/]", False: "[bold red]no[/]", None: "-"}
    for goal in goals:
        table.add_row(goal.name, goal.wanted, goal.measured, words[goal.is_met])
    console.print(table)


def save(path: Path, cases: Sequence[Case], goals: Sequence[Goal]) -> None:
    """Everything that was found, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "cases": [case.as_json() for case in cases],
        "goals": [asdict(goal) for goal in goals],
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def measure(chosen: Sequence[tuple[str, Measurement]], console: Console) -> list[Case]:
    """Run the cases, each on a cluster of its own, one line each on ``console``."""
    programs, cases = find_programs(), []
    for name, measurement in chosen:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="l2announce-scale-") as scratch:
            cases.append(measurement(programs, Path(scratch)))
        console.print(f"{name}: {time.monotonic() - begun:.0f} s", style="dim")
    return cases


def main() -> int:
    """Exit code 0 when all was measured, whatever was found; 2 when the machine does not allow it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="Measure what agents cost on a real API server.")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller cases: under two minutes")
    parser.add_argument(
        "--only", action="append", metavar="CASE", help="only cases whose name begins so; may be repeated; those called slow run only so"
    )
    arguments = parser.parse_args()
    known = list(all_cases(arguments.quick))
    wanted = tuple(arguments.only or ())
    chosen = [(name, case) for name, case in known if (name.startswith(wanted) if wanted else not name.startswith(SLOW))]
    if not chosen:
        parser.error(f"--only {' '.join(arguments.only)}: no such case; there are: {', '.join(name for name, _ in known)}")
    console = Console(width=None if sys.stdout.isatty() else 180)
    try:
        cases = measure(chosen, console)
    except NamespaceError as err:
        sys.stderr.write(f"scale: {err}\n")
        return 2
    goals = list(judge(cases))
    save(OUT, cases, goals)
    show(goals, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
