"""docs/wire.md tells what the code does: its tables are those that the verdicts, their explanations and the corpus make."""

import pytest

from l2announce.cli.explain import RULES
from l2announce.responder.verdict import Verdict
from tests.golden.build import CASES
from tests.golden.differences import DIFFERENCES
from tests.golden.wire_page import PAGE, examples, with_tables


def test_the_tables_are_up_to_date() -> None:
    page = PAGE.read_text()
    assert page == with_tables(page), "docs/wire.md differs from the code: run make docs-update and review the change"


def test_every_verdict_has_a_rule_and_a_case() -> None:
    assert set(RULES) == set(Verdict)
    assert [verdict for verdict in Verdict if not examples(verdict)] == []


def test_the_examples_have_their_verdict() -> None:
    cases = {case.name: case for case in CASES}
    for verdict in Verdict:
        assert all(any(one.verdict is verdict for one in cases[name].frames) for name in examples(verdict))


def test_each_difference_is_of_cases_that_there_are() -> None:
    replied = {case.name: any(one.reply is not None for one in case.frames) for case in CASES}
    named = {name: not difference.kernel for difference in DIFFERENCES for name in difference.cases}
    assert {name: replied.get(name) for name in named} == named


@pytest.mark.parametrize("row", ["| `answered` |", "| ARP of hardware type 6"])
def test_a_row_that_drifted_is_told(row: str) -> None:
    page = PAGE.read_text()
    assert row in page
    assert with_tables(page.replace(row, "| other |")) == page


def test_a_page_without_a_place_for_a_table() -> None:
    with pytest.raises(ValueError, match="put them around the table"):
        with_tables("# The wire\n")
