"""Fixtures for tests that need network namespaces. Run them with ``netns-lab/enter .venv/bin/pytest tests/netns``."""

import os
from collections.abc import Iterator

import pytest
from netlab.namespaces import INSIDE, Network
from netlab.segment import Segment, build_segment


@pytest.fixture
def network() -> Iterator[Network]:
    """An empty network of our own, removed after the test."""
    if os.environ.get(INSIDE) != "1":
        pytest.skip("needs a private network namespace: netns-lab/enter .venv/bin/pytest tests/netns")
    with Network() as made:
        yield made


@pytest.fixture
def segment(network: Network) -> Segment:
    """A client and three nodes on one bridge; see netlab.segment."""
    return build_segment(network)
