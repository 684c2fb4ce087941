"""``python -m tests.fuzz.campaign SECONDS [TARGET...]``: each target for so long, one line each; exit status 1 when a promise was broken.

``make fuzz`` runs it. The fuzzer itself is a process of its own for each target: it ends by an exit of libFuzzer.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NAMES = ("frames", "filters", "channel", "netlink", "objects", "leases", "claims", "captures")
SEED = int(os.environ.get("SEED") or 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of libFuzzer said. ``artifact``: the file with the input that broke a promise, "" when none did."""

    target: str
    runs: int
    features: int
    inputs: int
    artifact: str
    words: str


def fuzz(target: str, seconds: int, runs: int = -1, **environment: str) -> Outcome:
    """One target in a process of its own; at most ``seconds`` and ``runs`` inputs."""
    settings = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'netns-lab'}", "SEED": str(SEED), "RUNS": str(runs), **environment}
    done = subprocess.run(
        (sys.executable, "-m", "tests.fuzz", target, str(seconds)),
        cwd=REPOSITORY,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return outcome(target, done.returncode, done.stdout)


def outcome(target: str, code: int, printed: str) -> Outcome:
    """Read what libFuzzer printed."""
    found = re.search(r"Test unit written to (\S+)", printed)
    last = re.findall(r" ft: (\d+) corp: (\d+)/", printed)
    units = re.search(r"number_of_executed_units: (\d+)", printed)
    artifact = found[1] if found else ("" if code == 0 else "none")
    features, inputs = last[-1] if last else ("0", "0")
    return Outcome(target, int(units[1]) if units else 0, int(features), int(inputs), artifact, printed)


def main(seconds: int, targets: tuple[str, ...]) -> int:
    """Every target in turn; the number of broken promises."""
    sys.stdout.write(f"seed {SEED}, {seconds} s for each of {len(targets)} targets\n{'target':10}{'inputs tried':>14}{'a second':>10}")
    sys.stdout.write(f"{'features':>10}{'corpus':>8}\n")
    broken = 0
    for target in targets:
        one = fuzz(target, seconds)
        sys.stdout.write(f"{one.target:10}{one.runs:14,}{one.runs // max(1, seconds):10,}{one.features:10,}{one.inputs:8,}\n")
        sys.stdout.flush()
        if one.artifact:
            broken += 1
            sys.stdout.write("\n".join(one.words.splitlines()[-40:]) + f"\n\nBROKEN: make fuzz TARGET={target} INPUT={one.artifact}\n")
    return broken


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]), tuple(sys.argv[2:]) or NAMES)))
