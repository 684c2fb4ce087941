"""wait_until: returns the value, names what it waited for, looks once more at the deadline."""

import pytest
from netlab.waiting import WaitTimeout, wait_until


def test_returns_the_first_true_value() -> None:
    values = iter([0, "", "here", "later"])
    assert wait_until(lambda: next(values), 5, "a value") == "here"


def test_looks_once_even_without_time() -> None:
    assert wait_until(lambda: 7, 0, "a value") == 7


def test_names_what_was_missing_and_last_seen() -> None:
    with pytest.raises(WaitTimeout, match=r"waited 0\.02 seconds for the moon; last seen: \[\]"):
        wait_until(list[int], 0.02, "the moon")
