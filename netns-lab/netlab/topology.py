"""topology.yaml as values: what the lab's network is made of. It builds nothing; netlab.build does."""

from pathlib import Path

import msgspec

LAB_DIRECTORY = Path(__file__).resolve().parent.parent
REPOSITORY = LAB_DIRECTORY.parent
TOPOLOGY_FILE = LAB_DIRECTORY / "topology.yaml"


class Switch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bridge and the namespace it lives in."""

    name: str
    bridge: str
    multicast_snooping: bool
    multicast_querier: bool


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The client: a namespace with a device on the switch. Addresses have prefix lengths."""

    name: str
    device: str
    addresses: tuple[str, ...]


class Backend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What serves behind one node: ``node_device`` and ``node_addresses`` are the node's end of the wire."""

    name: str
    device: str
    addresses: tuple[str, ...]
    node_device: str
    node_addresses: tuple[str, ...]


class LabNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One node: a host on the switch that also routes to its backend."""

    name: str
    device: str
    addresses: tuple[str, ...]
    backend: Backend


class Ports(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TCP port of HTTP and UDP port of the echo, on service addresses and backends alike."""

    http: int
    echo: int


class ProberSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often to ask, in seconds, and the first of the made-up hosts that ask; the next ones count up from it."""

    interval: float
    askers: int
    mac: str
    ipv4: str
    ipv6: str


class AgentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The lease timings of every agent, as its flags want them: seconds with an s."""

    lease_duration: str
    lease_renew_deadline: str
    lease_retry_period: str

    def flags(self) -> list[str]:
        """The command line flags that say so."""
        names = ("lease_duration", "lease_renew_deadline", "lease_retry_period")
        return [part for name in names for part in (f"--{name.replace('_', '-')}", str(getattr(self, name)))]

    @property
    def lease_seconds(self) -> float:
        """The lease duration in seconds."""
        return float(self.lease_duration.removesuffix("s"))

    @property
    def failover_bound(self) -> float:
        """The longest blackout of a crash: lease duration + retry period, in seconds."""
        return self.lease_seconds + float(self.lease_retry_period.removesuffix("s"))


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    switch: Switch
    client: Host
    nodes: tuple[LabNode, ...]
    ports: Ports
    prober: ProberSettings
    agents: AgentSettings


class TopologyError(Exception):
    """topology.yaml does not say what a topology must say."""


def load_topology(path: Path = TOPOLOGY_FILE) -> Topology:
    """Read the file; TopologyError names it and the field that is wrong."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=Topology)
    except (msgspec.DecodeError, OSError) as error:
        raise TopologyError(f"{path}: {error}") from error
