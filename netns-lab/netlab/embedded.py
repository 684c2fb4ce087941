"""The embedded cluster under the lab: objects and leases are files, and an nftables rule on each node plays kube-proxy."""

import json
import shlex
import time
from collections.abc import Iterable, Mapping
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import yaml

from netlab.edits import Editor
from netlab.file_editor import FileEditor
from netlab.leases import FileLeaseHistory, LeaseHistory
from netlab.namespaces import Network
from netlab.services import ServiceAddress
from netlab.topology import Backend, Ports, Topology

LEASES = Path(".cluster/leases/kube-system")


class Embedded:
    """The cluster of ``l2announce agent --manifests``; see clusters.LabCluster."""

    name = "embedded"
    guide: tuple[tuple[str, str], ...] = (("edit $LAB/manifests/policy.yaml", "the agents follow the files"),)

    def __init__(self, manifests: Path) -> None:
        self._manifests = manifests

    def start(self, network: Network, topology: Topology, services: tuple[ServiceAddress, ...]) -> None:
        """Have every node send service addresses to its own backend."""
        self.serve(network, topology, services)

    def serve(self, network: Network, topology: Topology, services: tuple[ServiceAddress, ...]) -> None:
        """A rule on each node."""
        for node in topology.nodes:
            network[node.name].run("nft", "-f", "-", stdin_text=dnat_rules(services, node.backend, topology.ports))

    def stop(self) -> None:
        """Nothing runs."""

    def summary(self) -> str:
        """Nothing is to be told."""
        return ""

    def agent_flags(self, _node: str) -> tuple[str, ...]:
        """The directory, alike for every node."""
        return ("--manifests", str(self._manifests))

    def operator_flags(self) -> tuple[str, ...]:
        """The same."""
        return ("--manifests", str(self._manifests))

    def create_service(self, service: Mapping[str, Any], topology: Topology) -> float:  # noqa: ARG002 - nodes know their backends
        """A file of its own."""
        path = self._manifests / f"{service['metadata']['name']}.yaml"
        draft = path.with_name(f".{path.name}")
        draft.write_text(yaml.safe_dump(dict(service)))
        created = time.monotonic()
        draft.rename(path)
        return created

    def addresses_of(self, name: str) -> list[str]:
        """As the operator stored them."""
        for path in (self._manifests / ".cluster" / "services" / f"default.{name}").glob("current.*"):
            document = json.loads(path.with_name(f"{path.name.removeprefix('current.')}.json").read_bytes())
            return [entry["ip"] for entry in document["status"]["loadBalancer"]["ingress"]]
        return []

    def lease_history(self) -> LeaseHistory:
        """From the files."""
        return FileLeaseHistory(self._manifests / LEASES)

    def lasting_history(self) -> LeaseHistory:
        """The same: files are always there."""
        return self.lease_history()

    def editor(self) -> Editor:
        """Of the files."""
        return FileEditor(self._manifests)

    def shell_lines(self) -> str:
        """``leases`` asks the program about the directory, not an agent."""
        manifests = shlex.quote(str(self._manifests))
        return f'leases() {{ env -u L2ANNOUNCE_STATE_SOCKET l2announce status --manifests {manifests} "$@"; }}'


def dnat_rules(services: Iterable[ServiceAddress], backend: Backend, ports: Ports) -> str:
    """The nftables ruleset that sends service addresses to a node's backend: a minimal kube-proxy, alike on every node.

    A node that does not own an address would rewrite it just the same; nobody sends it the packets.
    """
    targets = {interface.version: interface.ip for interface in map(ip_interface, backend.addresses)}
    rules = []
    for version, word in ((4, "ip"), (6, "ip6")):
        addresses = ", ".join(str(item.address) for item in services if item.address.version == version)
        if addresses and version in targets:
            rules += [
                f"{word} daddr {{ {addresses} }} {protocol} dport {port} dnat {word} to {targets[version]}"
                for protocol, port in (("tcp", ports.http), ("udp", ports.echo))
            ]
    body = "\n".join(f"    {rule}" for rule in rules)
    return f"table inet service_addresses {{\n  chain prerouting {{\n    type nat hook prerouting priority dstnat;\n{body}\n  }}\n}}\n"
