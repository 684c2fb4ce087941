"""docs/conformance.md names every golden case once, and none that is not there."""

import re

from tests.golden.build import CASES, HERE

PAGE = HERE.parent.parent / "docs" / "conformance.md"


def test_each_case_is_named_once() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][2:]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split(" | ")[2])]
    assert sorted(named) == sorted(one.name for one in CASES)
