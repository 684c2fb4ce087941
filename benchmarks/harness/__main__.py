"""``python -m benchmarks.harness [--quick] [--only CASE]...``: measure, compare, print, save. Runs inside ``netns-lab/enter``.

The exit code says whether everything could be measured, not whether the goals are met.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from netlab.namespaces import NamespaceError
from rich.console import Console

from benchmarks.harness.addresses import measure_addresses
from benchmarks.harness.bed import Bed
from benchmarks.harness.cases import FULL, OWNED_RATE, QUICK, Bench, Effort, measure_answers, measure_flood
from benchmarks.harness.cores import Quiet
from benchmarks.harness.forwarding import measure_forwarding
from benchmarks.harness.goals import judge
from benchmarks.harness.load import OUT
from benchmarks.harness.report import save, show
from benchmarks.harness.results import Result
from benchmarks.harness.starting import measure_responder_start, measure_start

Case = Callable[[Bench], Result]


def all_cases(quick: bool) -> Iterator[tuple[str, Case]]:
    """The cases by name, in the order in which they run. ``quick`` leaves out what takes long to set up."""
    arp = (1, 1000, 10_000) if quick else (1, 100, 1000, 10_000)
    ndp = (1, 1000) if quick else (1, 100, 1000, 10_000)
    for count in arp:
        yield f"arp {count}", partial(measure_answers, protocol="arp", count=count)
    if not quick:
        yield "arp 10000 scattered", partial(measure_answers, protocol="arp", count=10_000, scattered=True)
    for count in ndp:
        yield f"ndp {count}", partial(measure_answers, protocol="ndp", count=count)
    yield "flood", measure_flood
    if not quick:
        yield f"flood, {OWNED_RATE} owned/s", partial(measure_flood, owned_rate=OWNED_RATE)
    yield "forwarding", measure_forwarding
    if not quick:
        yield "responder start", measure_responder_start
    yield "start", measure_start
    yield "addresses", measure_addresses


def measure(effort: Effort, cases: list[tuple[str, Case]], console: Console) -> list[Result]:
    """Run the cases, one line each on ``console``."""
    results = []
    with tempfile.TemporaryDirectory(prefix="l2announce-bench-") as scratch, Bed(Path(scratch)) as bed:
        bench = Bench(bed, effort, Quiet(effort.patience))
        for name, case in cases:
            begun = time.monotonic()
            result = case(bench)
            results.append(result)
            note = f", disturbed {result.disturbed:.0%}" if result.is_disturbed else ""
            console.print(f"{name}: {time.monotonic() - begun:.0f} s{note}", style="dim")
    return results


def main() -> int:
    """Exit code 0 when all was measured, whatever was found; 2 when the machine does not allow it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harness", description="Measure l2announce beside the kernel.")
    parser.add_argument("--quick", action="store_true", help="shorter rounds and fewer cases: under 90 seconds")
    parser.add_argument("--only", action="append", metavar="CASE", help="only cases whose name begins so; may be repeated")
    arguments = parser.parse_args()
    chosen = [(name, case) for name, case in all_cases(arguments.quick) if not arguments.only or name.startswith(tuple(arguments.only))]
    console = Console(width=None if sys.stdout.isatty() else 180)
    if not chosen:
        parser.error(
            f"--only {' '.join(arguments.only)}: no such case; there are: {', '.join(name for name, _ in all_cases(arguments.quick))}"
        )
    try:
        results = measure(QUICK if arguments.quick else FULL, chosen, console)
    except NamespaceError as err:
        sys.stderr.write(f"benchmarks: {err}\n")
        return 2
    goals = judge(results)
    save(OUT / "results.json", results, goals)
    show(results, goals, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
