"""Build the golden corpus: ``.venv/bin/python -m tests.golden.build [FOLDER]``. The same octets every time."""

import shutil
import sys
from pathlib import Path

from tests.golden import cases_arp, cases_claims, cases_cooked, cases_ndp, cases_other
from tests.golden.corpus import Case, build

HERE = Path(__file__).parent
CASES: tuple[Case, ...] = (*cases_arp.CASES, *cases_ndp.CASES, *cases_other.CASES, *cases_claims.CASES, *cases_cooked.CASES)


def build_all(root: Path) -> None:
    """Write every case below ``root``; ValueError when two have the same name."""
    names = [one.name for one in CASES]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"cases with the same name: {sorted(twice)}")
    for one in CASES:
        build(one, root)


def main() -> None:
    """Rebuild all; directories of cases that are gone are removed."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for verdicts in root.glob("*/verdicts.txt"):
        shutil.rmtree(verdicts.parent)
    build_all(root)
    sys.stdout.write(f"{len(CASES)} cases, {sum(len(one.frames) for one in CASES)} frames in {root}\n")


if __name__ == "__main__":
    main()
