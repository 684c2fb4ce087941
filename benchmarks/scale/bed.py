"""The bed: a control plane in a namespace of its own, and agents in theirs, on one switch and on a management network."""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from netlab.agents import Agent
from netlab.control_plane import ControlPlane, User
from netlab.namespaces import Namespace, Network
from netlab.topology import REPOSITORY, AgentSettings
from netlab.waiting import wait_until

from benchmarks.scale.api import Api, Order
from benchmarks.scale.audit import POLICY as AUDIT_POLICY
from benchmarks.scale.audit import AuditLog
from benchmarks.scale.objects import POLICY, Document, node, node_status, service
from benchmarks.scale.usage import Traffic, parse_traffic
from l2announce.cli.ask import ask_agent
from l2announce.errors import ConfigurationError

CONTROL = "10.200.0.1"
GROUP = "scale:agents"
CRD = "customresourcedefinition/ciliuml2announcementpolicies.cilium.io"
SETTINGS = AgentSettings("15s", "5s", "2s")
"""Cilium's defaults."""
RENEW_DEADLINE = 5.0
START_SECONDS = 120.0
"""How long the agents may take to start, all at once on this machine."""
SERVICES = "/api/v1/namespaces/default/services"


def _is_ready(agent: Agent) -> bool:
    try:
        status = ask_agent(agent.socket)
    except ConfigurationError:
        return False
    return status.ready and status.gate_open


class AuditedPlane(ControlPlane):
    """A control plane that writes an audit log."""

    @property
    def audit_path(self) -> Path:
        """Where it goes."""
        return self.directory / "audit.log"

    def start_api_server(self, *flags: str) -> None:
        """Start the API server with the log on; it is not ready yet."""
        policy = self.directory / "audit.yaml"
        policy.write_text(AUDIT_POLICY)
        super().start_api_server(f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_path}", *flags)


@dataclass(slots=True)
class Bed:
    """``agents`` agents, not started; the first ``announcers`` of their Nodes are selected by the policy. ``flags`` are
    added to their command lines. A context manager."""

    programs: Path
    directory: Path
    agent_count: int
    announcers: int
    flags: tuple[str, ...] = ()
    network: Network = field(default_factory=Network)
    agents: dict[str, Agent] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _plane: AuditedPlane | None = None
    _api: Api | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.network)
            self._plane = stack.enter_context(self._build())
            with self.network["control"].entered():
                self._api = Api(self._plane)
            self._create_basics()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def plane(self) -> AuditedPlane:
        """The control plane."""
        assert self._plane is not None  # noqa: S101 - within the context
        return self._plane

    @property
    def api(self) -> Api:
        """Its administrator."""
        assert self._api is not None  # noqa: S101 - within the context
        return self._api

    @property
    def switch(self) -> Namespace:
        """Where each agent's Node has a port named after it."""
        return self.network["switch"]

    def audit(self) -> AuditLog:
        """The log of what the agents ask."""
        return AuditLog(self.plane.audit_path, frozenset(self.agents))

    def create_services(self, numbers: Iterable[int], announced: bool) -> None:
        """Services by number."""
        self.api.send_all([("POST", SERVICES, service(number, announced)) for number in numbers])

    def create_nodes(self, names: Iterable[str], announcer: bool) -> None:
        """Nodes with a status."""
        names = list(names)
        self.api.send_all([("POST", "/api/v1/nodes", node(name, announcer)) for name in names])
        orders: list[Order] = [("PATCH", f"/api/v1/nodes/{name}/status", node_status(name)) for name in names]
        self.api.send_all(orders)

    def announce(self) -> None:
        """Create the policy: from here on there is something to announce."""

        def accepted() -> bool:
            return self.plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(POLICY), check=False).returncode == 0

        wait_until(accepted, 10, "the API server to serve policies", interval=0.2)

    def start(self) -> None:
        """Start all agents."""
        for agent in self.agents.values():
            agent.start()

    def wait_ready(self) -> None:
        """Wait until each agent has seen everything that it decides by."""
        for agent in self.agents.values():
            wait_until(partial(_is_ready, agent), START_SECONDS, f"the agent of {agent.node} to be ready", interval=0.1)

    def traffic(self, name: str) -> Traffic:
        """What the agent of a Node exchanged with the API server."""
        with self.network[name].entered():
            return parse_traffic(Path("/proc/thread-self/net/dev").read_text(), "eth1")

    def _build(self) -> AuditedPlane:
        control, switch = self.network.namespace("control"), self.network.namespace("switch")
        self.network.bridge(control, "br0", snooping=False, querier=False)
        control.address("br0", f"{CONTROL}/16")
        self.network.bridge(switch, "br0", snooping=False, querier=False)
        users = []
        for number in range(1, self.agent_count + 1):
            host = self.network.namespace(f"n{number}")
            self.network.attach(switch, "br0", host, "eth0")
            self.network.attach(control, "br0", host, "eth1")
            host.address("eth0", f"10.99.0.{number}/16")
            host.address("eth1", f"10.200.1.{number}/16")
            users.append(User(host.name, (GROUP,)))
        plane = AuditedPlane(self.programs, self.directory, tuple(users), control, CONTROL)
        for user in users:
            flags = ("--kubeconfig", str(plane.kubeconfig(user.name)), "--probe-wait", "0", *self.flags)
            self.agents[user.name] = Agent(self.network[user.name], user.name, flags, self.directory, SETTINGS)
        return plane

    def _create_basics(self) -> None:
        """The definition, the rights, the agents' own Nodes."""
        policies = REPOSITORY / "policies"
        self.plane.kubectl("apply", "--server-side", "-f", str(policies / "crds"), "-f", str(policies / "rbac.yaml"))
        self.plane.kubectl("wait", "--for=condition=Established", CRD)
        self.plane.apply(binding("l2announce", "ClusterRole", {}), binding("l2announce", "Role", {"namespace": "kube-system"}))
        names = list(self.agents)
        self.create_nodes(names[: self.announcers], announcer=True)
        self.create_nodes(names[self.announcers :], announcer=False)


def binding(role: str, kind: str, place: dict[str, str]) -> Document:
    """The files in policies/ bind service accounts; here the agents are users of a group."""
    api_group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{api_group}/v1",
        "kind": f"{kind}Binding",
        "metadata": {"name": f"scale-{role}", **place},
        "roleRef": {"apiGroup": api_group, "kind": kind, "name": role},
        "subjects": [{"apiGroup": api_group, "kind": "Group", "name": GROUP}],
    }
