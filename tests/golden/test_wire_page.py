"""docs/wire.md tells what the code does: its table is the one that the verdicts, their explanations and the corpus make."""

import pytest

from l2announce.cli.explain import RULES
from l2announce.responder.verdict import Verdict
from tests.golden.build import CASES
from tests.golden.wire_page import BEGIN, END, PAGE, examples, with_table


def test_the_table_is_up_to_date() -> None:
    page = PAGE.read_text()
    assert page == with_table(page), "docs/wire.md differs from the code: run make docs-update and review the change"


def test_every_verdict_has_a_rule_and_a_case() -> None:
    assert set(RULES) == set(Verdict)
    assert [verdict for verdict in Verdict if not examples(verdict)] == []


def test_the_examples_have_their_verdict() -> None:
    cases = {case.name: case for case in CASES}
    for verdict in Verdict:
        assert all(any(one.verdict is verdict for one in cases[name].frames) for name in examples(verdict))


def test_a_table_that_drifted_is_told() -> None:
    page = PAGE.read_text()
    assert with_table(page.replace("| `answered` |", "| `replied` |")) == page
    assert with_table(f"a\n{BEGIN}{END}b\n").startswith(f"a\n{BEGIN}| verdict |")


def test_a_page_without_a_place_for_the_table() -> None:
    with pytest.raises(ValueError, match="put them around the table"):
        with_table("# The wire\n")
