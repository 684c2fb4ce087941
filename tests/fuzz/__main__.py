"""``python -m tests.fuzz TARGET SECONDS [INPUT]``: fuzz one target by coverage (atheris, libFuzzer), or try one input on it.

The corpus that grows is kept in ``$CACHE/fuzz/TARGET``; an input that breaks a promise is written to ``tests/fuzz/out/`` and named.
Exit status 1 when one was found. SEED and RUNS in the environment: where the random numbers begin, and after how many inputs to end.
"""

import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["l2announce"]):
    from tests.fuzz.targets import TARGETS, seeds, words

OUT = Path(__file__).parent / "out"
LONGEST = 2048
"""Octets of the longest input: above every frame, and enough of a file."""


def prepare(name: str) -> Path:
    """The corpus of a target, with its first inputs in it."""
    corpus = Path(os.environ.get("CACHE") or Path.home() / ".cache" / "l2announce") / "fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, octets in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(octets)
    OUT.mkdir(exist_ok=True)
    (OUT / "words").write_text("".join(f'"{word}"\n' for word in sorted(set(words()))))
    return corpus


def main(name: str, seconds: str, tried: str = "") -> None:
    """Run libFuzzer, which ends the process; or the target once."""
    target = TARGETS[name]
    if tried:
        target(Path(tried).read_bytes())
        sys.stdout.write(f"{name}: {tried} breaks no promise\n")
        return
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-seed={os.environ.get('SEED') or 1}",
        f"-runs={os.environ.get('RUNS') or -1}",
        f"-artifact_prefix={OUT}/{name}-",
        f"-dict={OUT / 'words'}",
        "-print_final_stats=1",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-detect_leaks=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(prepare(name))], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
