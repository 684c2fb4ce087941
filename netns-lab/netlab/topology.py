"""topology.yaml as values: what the lab's network is made of. It builds nothing; netlab.build does."""

import re
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_interface
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


class Uplink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node's device on the management network."""

    device: str
    addresses: tuple[str, ...]


class LabNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One node: a host on the switch that also routes to its backend. ``management`` is used with a Kubernetes control plane only."""

    name: str
    device: str
    addresses: tuple[str, ...]
    management: Uplink
    backend: Backend


class Management(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The network between nodes and control plane: its namespace, and the bridge there, which has the control plane's addresses."""

    name: str
    bridge: str
    addresses: tuple[str, ...]


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
    management: Management
    nodes: tuple[LabNode, ...]
    ports: Ports
    prober: ProberSettings
    agents: AgentSettings


class TopologyError(Exception):
    """topology.yaml does not say what a topology must say."""


NAME = re.compile(r"[a-z][a-z0-9-]{0,14}")
SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?s")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def load_topology(path: Path = TOPOLOGY_FILE) -> Topology:
    """Read the file; TopologyError names it, the field that is wrong, its value and what it should be."""
    try:
        topology = msgspec.yaml.decode(path.read_bytes(), type=Topology)
    except (msgspec.DecodeError, OSError) as error:
        raise TopologyError(f"{path}: {error}") from error
    if problems := list(topology_problems(topology)):
        raise TopologyError("\n".join(f"{path}: {problem}" for problem in problems))
    return topology


def topology_problems(topology: Topology) -> Iterator[str]:
    """What a file of the right shape can still say wrong, a sentence each."""
    if len(topology.nodes) < 2:
        yield f"nodes: there are {len(topology.nodes)}; a failover needs two or more"
    yield from _name_problems(topology)
    yield from _address_problems(topology)
    for name in ("lease_duration", "lease_renew_deadline", "lease_retry_period"):
        if not SECONDS.fullmatch(value := str(getattr(topology.agents, name))):
            yield f"agents.{name}: {value!r} is no number of seconds like 3s or 0.3s"
    prober = topology.prober
    if prober.interval <= 0:
        yield f"prober.interval: {prober.interval:g} is not above 0 seconds"
    if not 1 <= prober.askers <= 64:
        yield f"prober.askers: {prober.askers} is not from 1 to 64"
    for name, port in (("http", topology.ports.http), ("echo", topology.ports.echo)):
        if not 1 <= port <= 65535:
            yield f"ports.{name}: {port} is not from 1 to 65535"


def _name_problems(topology: Topology) -> Iterator[str]:
    """Names become namespaces and switch ports: each once, and no longer than an interface name may be."""
    names = [topology.switch.name, topology.client.name, topology.management.name]
    names += [name for node in topology.nodes for name in (node.name, node.backend.name)]
    devices = [topology.switch.bridge, topology.client.device, topology.management.bridge]
    for node in topology.nodes:
        devices += [node.device, node.management.device, node.backend.node_device, node.backend.device]
    yield from (f"the name {name!r} is given to {count} hosts" for name, count in Counter(names).items() if count > 1)
    for name in dict.fromkeys(names + devices):
        if not NAME.fullmatch(name):
            yield f"the name {name!r} is not 1 to 15 lower case letters, digits and dashes that begin with a letter"


def _address_problems(topology: Topology) -> Iterator[str]:
    """Every address must parse, and have a prefix length where it is given to a device."""
    owned = [("client", topology.client.addresses), ("management", topology.management.addresses)]
    for node in topology.nodes:
        owned += [(f"node {node.name}", (*node.addresses, *node.management.addresses))]
        owned += [(f"backend {node.backend.name}", (*node.backend.addresses, *node.backend.node_addresses))]
    for owner, addresses in owned:
        yield from (f"{owner}: {text!r} is no address with prefix length like 10.99.0.1/24" for text in addresses if not _is_prefixed(text))
    prober = topology.prober
    if not MAC.fullmatch(prober.mac):
        yield f"prober.mac: {prober.mac!r} is no MAC address like 02:a5:00:00:00:00"
    for name, kind in (("ipv4", IPv4Address), ("ipv6", IPv6Address)):
        try:
            kind(getattr(prober, name))
        except ValueError as error:
            yield f"prober.{name}: {error}"


def _is_prefixed(text: str) -> bool:
    try:
        ip_interface(text)
    except ValueError:
        return False
    return "/" in text
