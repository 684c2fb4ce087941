"""The plainest network that l2announce can work on, for tests and benchmarks: one switch, one client, three nodes."""

from dataclasses import dataclass

from netlab.namespaces import Namespace, Network


@dataclass(frozen=True, slots=True)
class Segment:
    """One Ethernet segment: a bridge ``br0`` with multicast snooping and a querier, a client and three nodes.

    Each host has eth0 on it: the client 10.99.0.1 and fd99::1, node n1 10.99.0.101 and fd99::101, and so on for n2 and n3. The port of a
    host on the bridge has the host's name.
    """

    network: Network
    switch: Namespace
    client: Namespace
    nodes: tuple[Namespace, Namespace, Namespace]


def build_segment(network: Network) -> Segment:
    """Make the segment in ``network`` and wait until every link is ready."""
    switch = network.namespace("switch")
    network.bridge(switch, "br0")
    client, n1, n2, n3 = (network.namespace(name) for name in ("c", "n1", "n2", "n3"))
    for number, host in ((1, client), (101, n1), (102, n2), (103, n3)):
        network.attach(switch, "br0", host)
        host.address("eth0", f"10.99.0.{number}/24", f"fd99::{number}/64")
    network.wait_ready()
    return Segment(network, switch, client, (n1, n2, n3))
