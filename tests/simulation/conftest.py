"""Which runs: ``SIM_SEED=17`` repeats one run, ``SIM_RUNS=10`` makes ten times as many, ``SIM_FIRST=100000`` starts at another seed.

The order of sets of texts is part of a run: repeat one with the ``PYTHONHASHSEED`` that `make unit` sets, 0.
"""

import os
from collections.abc import Callable, Iterable

import pytest

Seeds = Callable[[int], Iterable[int]]


@pytest.fixture
def seeds() -> Seeds:
    """``seeds(n)``: the seeds of a test that by default makes ``n`` runs."""
    one = os.environ.get("SIM_SEED")
    first = int(os.environ.get("SIM_FIRST", "0"))
    factor = float(os.environ.get("SIM_RUNS", "1"))
    return lambda runs: [int(one)] if one else range(first, first + max(1, round(runs * factor)))
