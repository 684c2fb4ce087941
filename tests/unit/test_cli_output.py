"""Tables for people show every word as it is."""

import pytest

from l2announce.cli.output import make_console, print_table


@pytest.mark.parametrize("word", ["7a:f5:b0:cd:9b:c2", "^eth[a-z]$", "[bold]", "[/]", "fd99::cd:1"])
def test_a_cell_is_not_read_as_markup(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The console would make a compact disc of ``:cd:`` and swallow ``[bold]``."""
    print_table(make_console(), ("WHAT",), [(word,)])
    make_console().print(word)
    assert capsys.readouterr().out.split() == ["WHAT", word, word]
