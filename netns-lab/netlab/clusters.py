"""Which cluster is under the lab: the embedded one, or Kubernetes. What differs between them is all in here and in the two modules."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from netlab.edits import Editor
from netlab.embedded import Embedded
from netlab.kube import Kubernetes
from netlab.leases import LeaseHistory
from netlab.namespaces import Network
from netlab.services import ServiceAddress
from netlab.topology import Topology


class LabCluster(Protocol):
    """Where the agents get their objects from, and how nodes bring service addresses to backends."""

    name: str
    guide: tuple[tuple[str, str], ...]
    """What to try in the lab's shell with this cluster only, and what it shows."""

    def start(self, network: Network, topology: Topology, services: tuple[ServiceAddress, ...]) -> None:
        """Set it up on the network that was built, until service addresses would be served."""

    def stop(self) -> None:
        """End what it runs, also after a start that failed halfway."""

    def summary(self) -> str:
        """What to tell of it at the start, "" for nothing."""

    def agent_flags(self, node: str) -> tuple[str, ...]:
        """The flags by which the agent of a node finds it."""

    def operator_flags(self) -> tuple[str, ...]:
        """The flags by which an operator finds it."""

    def create_service(self, service: Mapping[str, Any], topology: Topology) -> float:
        """Create a Service of the namespace default, every node's backend behind it. When that was, as time.monotonic()."""

    def addresses_of(self, name: str) -> list[str]:
        """The addresses in the status of a Service of the namespace default."""

    def serve(self, network: Network, topology: Topology, services: tuple[ServiceAddress, ...]) -> None:
        """Have every node bring these addresses to a backend; with Kubernetes it happens anyway."""

    def lease_history(self) -> LeaseHistory:
        """A history of its leases that begins now."""

    def lasting_history(self) -> LeaseHistory:
        """The same, that goes on after the cluster was away."""

    def editor(self) -> Editor:
        """Its administrator."""

    def shell_lines(self) -> str:
        """What the lab's shell defines, in bash: at least ``leases``."""


CLUSTERS: dict[str, Callable[[Path, Path], LabCluster]] = {
    "embedded": lambda manifests, _directory: Embedded(manifests),
    "kubernetes": lambda manifests, directory: Kubernetes(manifests, directory / "control-plane"),
}
"""By name: how to make one from its manifests and the lab's directory."""

EMBEDDED = "embedded"
