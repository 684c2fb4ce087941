"""A Kubernetes cluster under the lab: a control plane behind a management network, kube-proxy on each node, objects made by kubectl.

There are no kubelets: Nodes get their status, and Services their EndpointSlices, from here. A user per node has the rights of an agent.
"""

import json
import os
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import yaml

from netlab.api_editor import ApiEditor
from netlab.build import WITH_PARENT, fetch
from netlab.control_plane import ADMIN, ControlPlane, User, find_programs
from netlab.leases import LeaseHistory, WatchedLeaseHistory
from netlab.namespaces import Namespace, Network, stop_processes
from netlab.services import ServiceAddress, load_documents
from netlab.topology import REPOSITORY, LabNode, Topology
from netlab.waiting import wait_until

POLICIES = REPOSITORY / "policies"
CRDS = tuple(f"customresourcedefinition/{plural}.cilium.io" for plural in ("ciliuml2announcementpolicies", "ciliumloadbalancerippools"))
AGENTS = "l2announce:agents"
"""The group of the agents' users."""
OPERATOR, OPERATORS = "l2announce-operator", "l2announce:operators"
"""The user of the operator, and its group."""
RIGHTS = ("-f", str(POLICIES / "rbac.yaml"), "-f", str(POLICIES / "rbac-operator.yaml"))

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kubectl")
API_SERVER = "kube-apiserver"
KUBE_PROXY = "system:kube-proxy"
KUBE_PROXY_FLAGS = (
    "--proxy-mode=nftables",
    "--healthz-bind-address=",
    "--metrics-bind-address=127.0.0.1:10249",
    # what conntrack is set to belongs to the whole machine
    "--conntrack-max-per-core=0",
    "--conntrack-min=0",
    "--conntrack-tcp-timeout-established=0s",
    "--conntrack-tcp-timeout-close-wait=0s",
)
PROGRAMMED_SECONDS = 30.0
"""Within which every kube-proxy must serve every address."""

ELECTIONS = "!apiserver.kubernetes.io/identity"
"""All leases in kube-system but those by which API servers know each other."""

COLUMNS = "LEASE:.metadata.name,HOLDER:.spec.holderIdentity,ACQUIRED:.spec.acquireTime,RENEWED:.spec.renewTime"
"""What ``leases`` shows."""


class ProgramsMissing(Exception):  # noqa: N818  says what is the matter, better than "error"
    """There is no control plane to run, and none can be built."""


class Kubernetes:
    """The cluster of ``l2announce agent --kubeconfig``; see clusters.LabCluster. ``directory`` gets what the control plane writes."""

    name = "kubernetes"
    guide: tuple[tuple[str, str], ...] = (
        ("kubectl get nodes,services,endpointslices", "what the cluster consists of; kubectl is its administrator"),
        ("kubectl edit l2announcement l2", "the policy; the agents follow at once"),
        ("on n1 nft list table ip kube-proxy", "what kube-proxy makes of the Services"),
    )

    def __init__(self, manifests: Path, directory: Path) -> None:
        self._manifests = manifests
        self._directory = directory
        self._programs = lab_programs()
        self._started: tuple[ControlPlane, Namespace] | None = None
        self._proxies: list[subprocess.Popen[bytes]] = []
        self._editor: ApiEditor | None = None
        self._away = False
        self._frozen = 0
        self._cuts: Counter[str] = Counter()

    def start(self, network: Network, topology: Topology, services: tuple[ServiceAddress, ...]) -> None:
        """Everything up to the moment when each kube-proxy serves each address; then ``stop`` must be called."""
        control = _build_management(network, topology)
        users = (User(KUBE_PROXY), User(OPERATOR, (OPERATORS,)), *(User(node.name, (AGENTS,)) for node in topology.nodes))
        address = str(ip_interface(topology.management.addresses[0]).ip)
        plane = ControlPlane(self._programs, self._directory, users, control, address, with_controllers=True)
        plane.__enter__()
        self._started = (plane, control)
        self._create_objects(plane, topology)
        for node in topology.nodes:
            self._start_proxy(network[node.name], plane.kubeconfig(KUBE_PROXY))
        for node in topology.nodes:
            for item in services:
                served = partial(fetch, network[node.name], str(item.address), topology.ports.http)
                wait_until(served, PROGRAMMED_SECONDS, f"kube-proxy on {node.name} to serve {item.service} at {item.address}")

    def stop(self) -> None:
        """End kube-proxies and control plane."""
        stop_processes(self._proxies)
        if self._started is not None:
            self._started[0].stop()

    def summary(self) -> str:
        """What kubectl shows of the cluster, and its version."""
        shown = self._running.kubectl("get", "services", "-o", "wide").stdout.rstrip()
        return f"{shown}\n"

    def agent_flags(self, node: str) -> tuple[str, ...]:
        """The kubeconfig of the node's user."""
        return ("--kubeconfig", str(self._running.kubeconfig(node)))

    def operator_flags(self) -> tuple[str, ...]:
        """The kubeconfig of a user with an operator's rights."""
        return ("--kubeconfig", str(self._running.kubeconfig(OPERATOR)))

    def create_service(self, service: Mapping[str, Any], topology: Topology) -> float:
        """The Service, and EndpointSlices before it."""
        self._running.apply(*endpoint_slices([service], topology.nodes))
        created = time.monotonic()
        self.editor().create_service(service)
        return created

    def addresses_of(self, name: str) -> list[str]:
        """In its status."""
        return self.editor().addresses_of(name)

    def serve(self, network: Network, topology: Topology, services: tuple[ServiceAddress, ...]) -> None:
        """kube-proxy does."""

    def lease_history(self) -> LeaseHistory:
        """From a watch."""
        plane = self._running
        with self._control.entered():
            return WatchedLeaseHistory(plane.url, plane.directory / "ca.crt", User(ADMIN).token)

    def lasting_history(self) -> LeaseHistory:
        """From one watch after the other."""
        plane = self._running
        with self._control.entered():
            return WatchedLeaseHistory(plane.url, plane.directory / "ca.crt", User(ADMIN).token, self._control.entered)

    def editor(self) -> ApiEditor:
        """Through the API server."""
        if self._editor is None:
            self._editor = ApiEditor(self._running, self._control, self.is_away)
        return self._editor

    # -- its faults

    def is_away(self) -> bool:
        """Whether the API server was frozen or killed, and is not back yet."""
        if self._away and not self._frozen and self._running.is_running(API_SERVER) and self.editor().is_ready():
            self._away = False
        return self._away

    def freeze(self) -> None:
        """Stop the API server in its tracks; ``thaw`` lets it go on."""
        self._away, self._frozen = True, self._frozen + 1
        with suppress(KeyError, ProcessLookupError):
            self._running.signal(API_SERVER, signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo one ``freeze``."""
        self._frozen -= 1
        if not self._frozen:
            with suppress(KeyError, ProcessLookupError):
                self._running.signal(API_SERVER, signal.SIGCONT)

    def kill(self) -> None:
        """Kill the API server, if it runs."""
        self._away = True
        with suppress(KeyError):
            self._running.kill(API_SERVER)

    def start_again(self) -> None:
        """Start it after ``kill``; it is away until it is ready."""
        if not self._running.is_running(API_SERVER):
            self._running.start_api_server()

    def cut(self, node: str) -> None:
        """Take a node's path to the API server away; ``join`` gives it back."""
        self._cuts[node] += 1
        self._control.ip(f"link set {node} down")

    def join(self, node: str) -> None:
        """Undo one ``cut``."""
        self._cuts[node] -= 1
        if not self._cuts[node]:
            self._control.ip(f"link set {node} up")

    def shell_lines(self) -> str:
        """``kubectl`` as the administrator, and ``leases``."""
        plane = self._running
        return f"""\
export KUBECONFIG={shlex.quote(str(plane.kubeconfig()))} KUBECACHEDIR="$LAB/kubectl"
kubectl() {{ ip netns exec {self._control.name} {shlex.quote(str(plane.programs / "kubectl"))} "$@"; }}
leases() {{ kubectl --namespace kube-system get leases --selector '{ELECTIONS}' --output custom-columns={COLUMNS} "$@"; }}"""

    @property
    def _running(self) -> ControlPlane:
        return self._parts()[0]

    @property
    def _control(self) -> Namespace:
        return self._parts()[1]

    def _parts(self) -> tuple[ControlPlane, Namespace]:
        if self._started is None:
            raise LookupError("the control plane was not started")
        return self._started

    def _create_objects(self, plane: ControlPlane, topology: Topology) -> None:
        """The definition, the rights, policies/lab and what a kubelet or a cloud would add."""
        services = [document for document in load_documents(self._manifests) if document.get("kind") == "Service"]
        plane.kubectl("apply", "--server-side", "-f", str(POLICIES / "crds"), *RIGHTS)
        plane.kubectl("wait", "--for=condition=Established", *CRDS)
        plane.kubectl("apply", "--server-side", "-f", str(self._manifests))
        plane.apply(*_bindings(), *endpoint_slices(services, topology.nodes))
        plane.kubectl("apply", "--server-side", "--subresource=status", "-f", "-", stdin=yaml.safe_dump_all(services))
        for node in topology.nodes:  # a patch: server-side apply takes one address of a type only
            plane.kubectl("patch", "node", node.name, "--subresource=status", "--type=merge", f"--patch={json.dumps(node_status(node))}")

    def _start_proxy(self, host: Namespace, kubeconfig: Path) -> None:
        command = (str(self._programs / "kube-proxy"), f"--kubeconfig={kubeconfig}", f"--hostname-override={host.name}", *KUBE_PROXY_FLAGS)
        with (self._directory / f"{host.name}.kube-proxy.log").open("wb") as log:
            self._proxies.append(host.popen(*WITH_PARENT, *command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))


def lab_programs() -> Path:
    """Where the programs are. Builds them when they are missing, with progress on stderr: it takes minutes, once, and the host's network.

    ProgramsMissing when they cannot be built, or are somebody's own and not all that the lab needs.
    """
    try:
        found = find_programs()
    except subprocess.CalledProcessError as error:
        raise ProgramsMissing("there is no control plane, for the reason above; the lab needs none without CLUSTER=kubernetes") from error
    if missing := [name for name in PROGRAMS if not os.access(found / name, os.X_OK)]:
        raise ProgramsMissing(
            f"KUBEBUILDER_ASSETS={found} lacks {', '.join(missing)}: make apiserver runs without, the lab not; unset it to have all built"
        )
    return found


def _build_management(network: Network, topology: Topology) -> Namespace:
    """The control plane's namespace, wired to each node; each node routes to the other nodes' backends there."""
    wanted = topology.management
    control = network.namespace(wanted.name)
    network.bridge(control, wanted.bridge, snooping=False, querier=False)
    control.address(wanted.bridge, *wanted.addresses)
    for node in topology.nodes:
        network.attach(control, wanted.bridge, network[node.name], node.management.device)
        network[node.name].address(node.management.device, *node.management.addresses)
    for node in topology.nodes:
        for other in topology.nodes:
            if other is not node:
                _route_to_backend(network[node.name], other)
    network.wait_ready()
    return control


def _route_to_backend(host: Namespace, other: LabNode) -> None:
    hops = {interface.version: interface.ip for interface in map(ip_interface, other.management.addresses)}
    for prefix in other.backend.addresses:
        network = ip_network(prefix, strict=False)
        host.ip(f"-{network.version} route add {network} via {hops[network.version]}")


def node_status(node: LabNode) -> dict[str, Any]:
    """The addresses and the condition that a kubelet would report."""
    addresses = [{"type": "InternalIP", "address": str(ip_interface(text).ip)} for text in node.management.addresses]
    ready = {"type": "Ready", "status": "True", "reason": "Lab", "message": "no kubelet reports here"}
    return {"status": {"addresses": addresses, "conditions": [ready]}}


def endpoint_slices(services: Sequence[Mapping[str, Any]], nodes: tuple[LabNode, ...]) -> Iterator[dict[str, Any]]:
    """For each Service without a selector an EndpointSlice per family: the backends, each on its node."""
    for service in services:
        name = service["metadata"]["name"]
        for family in service["spec"]["ipFamilies"]:
            version = int(family[-1])
            yield {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{name}-{family.lower()}",
                    "namespace": service["metadata"].get("namespace", "default"),
                    "labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "netlab"},
                },
                "addressType": family,
                "ports": service["spec"]["ports"],
                "endpoints": [
                    {"addresses": [str(interface.ip)], "nodeName": node.name, "conditions": {"ready": True}}
                    for node in nodes
                    for interface in map(ip_interface, node.backend.addresses)
                    if interface.version == version
                ],
            }


def _bindings() -> Iterator[dict[str, Any]]:
    """The files bind service accounts; here agents and operator are users of groups."""
    for role, group in (("l2announce", AGENTS), ("l2announce-operator", OPERATORS)):
        subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}]
        for kind, namespace in (("ClusterRole", None), ("Role", "kube-system")):
            yield {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": f"{kind}Binding",
                "metadata": {"name": f"netlab-{role}"} | ({"namespace": namespace} if namespace else {}),
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
                "subjects": subjects,
            }
