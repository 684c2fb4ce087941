"""Fixtures for tests that need network namespaces. Run them with ``netns-lab/enter .venv/bin/pytest tests/netns``."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab.namespaces import INSIDE, Namespace, Network
from netlab.segment import Segment, build_segment

from tests.netns.stand import ResponderUnderTest, Starter, Tap, Taps, Wire


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


@pytest.fixture
def wire(network: Network) -> Wire:
    """A client and a node on one switch."""
    switch, client, node = (network.namespace(name) for name in ("switch", "client", "node"))
    network.bridge(switch, "br0")
    for number, host in ((1, client), (101, node)):
        network.attach(switch, "br0", host)
        host.address("eth0", f"10.99.0.{number}/24", f"fd99::{number}/64")
    network.wait_ready()
    return Wire(network, switch, client, node)


@pytest.fixture
def start_responder(tmp_path: Path) -> Iterator[Starter]:
    """Starts a responder: ``start_responder(namespace, *options)``. The network ends the process; its channel is closed here."""
    started: list[ResponderUnderTest] = []

    def start(node: Namespace, *options: str) -> ResponderUnderTest:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(ResponderUnderTest(node, directory, *options))
        return started[-1]

    yield start
    for responder in started:
        responder.control.channel.close()


@pytest.fixture
def responder(wire: Wire, start_responder: Starter) -> ResponderUnderTest:
    """A responder on the node of ``wire``."""
    return start_responder(wire.node)


@pytest.fixture
def tap() -> Iterator[Taps]:
    """Opens taps: ``tap(namespace, device)``; closes them after the test."""
    opened: list[Tap] = []

    def open_tap(namespace: Namespace, device: str = "eth0", protocol: int = 3) -> Tap:
        opened.append(Tap(namespace, device, protocol))
        return opened[-1]

    yield open_tap
    for each in opened:
        each.close()
