"""Random faults from a seed: exit status 1 when a promise was broken. Enters a private network namespace by itself."""

import argparse
import os
import random
import sys
from pathlib import Path

from netlab.chaos.report import describe, merge, table, write
from netlab.chaos.run import RESTART_ALLOWANCE, ROUND_SECONDS, Round, load_chaos_topology, play_round
from netlab.clusters import CLUSTERS, EMBEDDED
from netlab.lab import OUT
from netlab.namespaces import INSIDE
from netlab.standing import ENTER


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m netlab.chaos", description="random faults against live agents, from a seed")
    parser.add_argument("--seed", type=int, help="the same faults again; drawn and printed when left out")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default: %(default)s)")
    parser.add_argument("--round", type=int, help="only this round of the run")
    parser.add_argument("--cluster", choices=CLUSTERS, default=EMBEDDED, help="where objects and leases live (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=OUT / "chaos", help="where chaos.json, chaos.svg, captures and logs go")
    return parser


def main() -> int:
    """The exit code: 0 every promise was kept, 1 one was broken."""
    options = _parser().parse_args()
    if os.environ.get(INSIDE) != "1":
        os.execv(ENTER, [str(ENTER), sys.executable, "-m", "netlab.chaos", *sys.argv[1:]])  # noqa: S606 - our own script
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    bound = load_chaos_topology().agents.failover_bound + RESTART_ALLOWANCE
    seconds = options.minutes * 60
    count = max(1, round(seconds / ROUND_SECONDS))
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"chaos: {options.cluster} cluster, seed {seed}, {options.minutes:g} minutes in rounds of {seconds / count:.0f} s", flush=True)
    numbers = range(count) if options.round is None else [options.round]
    rounds: list[Round] = []
    again = f"make chaos SEED={seed} MINUTES={options.minutes:g}{'' if options.cluster == EMBEDDED else f' CLUSTER={options.cluster}'}"
    for number in numbers:
        print(f"round {number}", flush=True)
        rounds.append(play_round(seed, number, seconds / count, options.out, lambda line: print(line, flush=True), options.cluster))
        for violation in rounds[-1].violations:
            print(describe(violation, rounds[-1], again), flush=True)
    write(rounds, seed, bound, options.out)
    print(f"\nseconds that a fault left an address without an answer (bound {bound:.1f} s)\n{table(merge(rounds))}\n")
    broken = sum(len(one.violations) for one in rounds)
    asks = sum(one.asks for one in rounds)
    print(f"{asks:,} asks, {sum(len(one.spans) for one in rounds)} faults and restarts, {broken} violations; files in {options.out}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
