"""The stand of the agents' tests: a client and three nodes on a switch, whole agents on the nodes, one directory of manifests.

What is asserted about time is what the program promises; how fast it usually is, the lab and the benchmarks show.
"""

import contextlib
import json
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from netlab.agents import PROGRAM, Agent
from netlab.frames import Address, Kind, ask, parse
from netlab.namespaces import Namespace
from netlab.segment import Segment
from netlab.stamps import receive, stamp
from netlab.topology import AgentSettings
from netlab.waiting import wait_until

from l2announce.cli.ask import ask_agent
from l2announce.errors import ConfigurationError
from l2announce.manifests.leases import read_leases
from l2announce.model.lease import Lease
from l2announce.model.status import NodeStatus, ServiceStatus

PATIENCE = 15.0
"""Seconds within which anything that is promised without a bound must happen, also on a busy machine."""
SETTINGS = AgentSettings("3s", "1s", "0.3s")
FENCE_SECONDS = 0.9 * SETTINGS.lease_seconds
SLACK = 1.0
"""Seconds by which a busy machine may be late."""
INTERVAL = 0.01
ETH_P_ALL = 3

WEB, API, SHOP = "default/web", "default/api", "default/shop"
ADDRESSES = {WEB: ("10.99.0.10",), API: ("fd99::10",), SHOP: ("10.99.0.20", "fd99::20")}


def node_object(name: str, **labels: str) -> dict[str, Any]:
    """A Node."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def policy(name: str = "l2", **spec: Any) -> dict[str, Any]:
    """A policy for everything on eth0, unless ``spec`` says otherwise."""
    whole = {"loadBalancerIPs": True, "externalIPs": True, "interfaces": ["^eth0$"], **spec}
    return {"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumL2AnnouncementPolicy", "metadata": {"name": name}, "spec": whole}


def service(key: str, *addresses: str, **spec: Any) -> dict[str, Any]:
    """A Service of type LoadBalancer."""
    namespace, name = key.split("/")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}},
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: when (seconds since the epoch, by the kernel's stamp), for which address, with which MAC."""

    at: float
    address: str
    mac: bytes


class Asker(threading.Thread):
    """A client that asks everyone for every address each 10 ms, and keeps what comes back; a thread."""

    def __init__(self, client: Namespace, addresses: Iterable[str]) -> None:
        super().__init__(name="asker", daemon=True)
        self.answers: list[Answer] = []
        self._done = threading.Event()
        with client.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
            self._socket.bind(("eth0", ETH_P_ALL))
        stamp(self._socket)
        mac: bytes = self._socket.getsockname()[4]
        self._frames = [ask(address, _asker(address), mac) for address in map(ip_address, addresses)]

    def run(self) -> None:
        """Ask and listen until ``stop``."""
        due = time.monotonic()
        while not self._done.is_set():
            for frame in self._frames:
                with contextlib.suppress(OSError):  # a full queue: the next one follows
                    self._socket.send(frame)
            due = max(due + INTERVAL, time.monotonic())
            while (left := due - time.monotonic()) > 0:
                if select.select([self._socket], [], [], left)[0]:
                    self._read()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                when, frame = receive(self._socket)
                seen = parse(frame)
                if seen is not None and seen.kind is Kind.ANSWER:
                    self.answers.append(Answer(when / 1e9, str(seen.address), seen.mac))

    def stop(self) -> None:
        """End the thread and close the socket."""
        self._done.set()
        self.join(PATIENCE)
        self._socket.close()

    def of(self, address: str, since: float = 0.0) -> list[Answer]:
        """The answers for one address."""
        return [answer for answer in self.answers.copy() if answer.address == address and answer.at >= since]

    def last(self, address: str, mac: bytes) -> float:
        """When this MAC last answered for the address; 0 when it never did."""
        return max((answer.at for answer in self.of(address) if answer.mac == mac), default=0.0)

    def longest_gap(self, address: str, since: float) -> float:
        """The longest time without an answer from ``since`` until now."""
        times = [since, *(answer.at for answer in self.of(address, since)), time.time()]
        return max(after - before for before, after in pairwise(times))

    def owners(self, address: str, since: float = 0.0) -> list[bytes]:
        """The MACs that answered, one after the other; one that comes back is there twice."""
        macs = [answer.mac for answer in self.of(address, since)]
        return [mac for number, mac in enumerate(macs) if number == 0 or macs[number - 1] != mac]

    def wait_answer(self, address: str, mac: bytes, since: float = 0.0, seconds: float = PATIENCE) -> float:
        """Wait until this MAC answers for the address; when it first did so after ``since``."""

        def look() -> list[float]:
            return [answer.at for answer in self.of(address, since) if answer.mac == mac]

        return wait_until(look, seconds, f"{mac.hex(':')} to answer for {address}")[0]

    def wait_asked(self, times: int) -> None:
        """Let so many rounds of asking pass: only to show what does not happen meanwhile."""
        end = time.monotonic() + times * INTERVAL
        wait_until(lambda: time.monotonic() >= end, times * INTERVAL + PATIENCE, "time to pass")


def _asker(address: Address) -> Address:
    return IPv4Address("10.99.0.1") if address.version == 4 else IPv6Address("fd99::1")


@dataclass(slots=True)
class Cluster:
    """Agents on the three nodes of a segment. ``write`` changes the manifests as a user would."""

    segment: Segment
    directory: Path
    agents: dict[str, Agent] = field(default_factory=dict)
    askers: list[Asker] = field(default_factory=list)

    @property
    def manifests(self) -> Path:
        """The directory of manifests."""
        return self.directory / "manifests"

    @property
    def client(self) -> Namespace:
        """The client's namespace."""
        return self.segment.client

    def write(self, name: str, *objects: dict[str, Any]) -> None:
        """Put a file of objects in its place, whole."""
        self.manifests.mkdir(exist_ok=True)
        draft = self.manifests / f".{name}"
        draft.write_text(yaml.safe_dump_all(objects, sort_keys=False))
        draft.rename(self.manifests / name)

    def write_usual(self, *nodes: str) -> None:
        """The three Services, one policy, and the Nodes."""
        self.write("nodes.yaml", *(node_object(name) for name in nodes))
        self.write("policy.yaml", policy())
        for key, addresses in ADDRESSES.items():
            self.write(f"{key.split('/')[1]}.yaml", service(key, *addresses))

    def start(self, *nodes: str, settings: AgentSettings = SETTINGS) -> None:
        """Start agents and wait until every one is ready."""
        for name in nodes:
            namespace = next(node for node in self.segment.nodes if node.name == name)
            self.agents[name] = Agent(namespace, name, ("--manifests", str(self.manifests)), self.directory, settings)
            self.agents[name].start()
        for name in nodes:
            self.wait_status(name, lambda status: status.ready and status.gate_open, "to be ready")

    def mac(self, node: str) -> bytes:
        """The MAC of a node's eth0."""
        return self.agents[node].namespace.mac("eth0")

    def status(self, node: str) -> NodeStatus | None:
        """What the agent says; None when it does not answer."""
        try:
            return ask_agent(self.agents[node].socket)
        except ConfigurationError:
            return None

    def wait_status(self, node: str, condition: Any, what: str, seconds: float = PATIENCE) -> NodeStatus:
        """Wait until the status of a node fulfils ``condition``."""

        def look() -> NodeStatus | None:
            agent = self.agents[node]
            assert agent.is_running(), f"{node} ended: {agent.last_words()}"
            found = self.status(node)
            return found if found is not None and condition(found) else None

        found = wait_until(look, seconds, f"agent {node} {what}")
        assert found is not None
        return found

    def service(self, node: str, key: str) -> ServiceStatus:
        """A Service as a node sees it; LookupError when it does not."""
        status = self.status(node)
        found = [each for each in status.services if each.service == key] if status else []
        if not found:
            raise LookupError(f"{node} does not know {key}")
        return found[0]

    def leases(self) -> dict[str, Lease]:
        """The leases by the name of their Service: ``default/web``."""
        prefix = "cilium-l2announce-"
        return {
            lease.name.removeprefix(prefix).replace(".", "/", 1): lease
            for lease in read_leases(self.manifests, "kube-system")
            if lease.name.startswith(prefix)
        }

    def holder(self, key: str) -> str:
        """Who holds the lease of a Service, "" when nobody does."""
        lease = self.leases().get(key)
        return lease.holder_identity if lease else ""

    def wait_holder(self, key: str, *, other_than: str = "", seconds: float = PATIENCE) -> str:
        """Wait for a holder who also announces; its name."""

        def look() -> str | None:
            name = self.holder(key)
            if name in ("", other_than):
                return None
            with contextlib.suppress(LookupError):
                return name if self.service(name, key).announced else None
            return None

        found = wait_until(look, seconds, f"a holder of {key} other than {other_than or 'nobody'}")
        assert found is not None
        return found

    def ask(self, *addresses: str) -> Asker:
        """Begin to ask for addresses each 10 ms."""
        asker = Asker(self.client, addresses)
        self.askers.append(asker)
        asker.start()
        return asker

    def settled(self, *keys: str) -> dict[str, str]:
        """Wait until every Service has its holder; Service -> node."""
        return {key: self.wait_holder(key) for key in keys}

    @staticmethod
    def command(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``l2announce ARGUMENTS``, as a user would."""
        return subprocess.run((str(PROGRAM), *arguments), check=check, capture_output=True, text=True, timeout=PATIENCE)

    @staticmethod
    def begin(*arguments: str) -> subprocess.Popen[str]:
        """Start ``l2announce ARGUMENTS``; the caller waits for it."""
        return subprocess.Popen((str(PROGRAM), *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def log(self, node: str) -> str:
        """Everything an agent has logged."""
        return self.agents[node].log.read_text()

    def log_entries(self, node: str) -> list[dict[str, Any]]:
        """What its control process has logged; the responder writes plain text beside it."""
        return [json.loads(line) for line in self.log(node).splitlines() if line.startswith("{")]

    def close(self) -> None:
        """End the askers; the network ends the agents."""
        for asker in self.askers:
            asker.stop()
