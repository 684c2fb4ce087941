"""A Service is born: it asks for nothing, gets addresses of the pool from the operator, and is announced, resolved and reached."""

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import msgspec

from netlab.agents import PROGRAM
from netlab.build import WITH_PARENT, fetch
from netlab.lab import Lab
from netlab.namespaces import stop_processes
from netlab.services import ServiceAddress
from netlab.waiting import wait_until

NAME = "news"
SERVICE: Mapping[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": NAME, "namespace": "default"},
    "spec": {
        "type": "LoadBalancer",
        "loadBalancerClass": "io.cilium/l2-announcer",
        "ipFamilyPolicy": "RequireDualStack",
        "ipFamilies": ["IPv4", "IPv6"],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "echo", "port": 7, "protocol": "UDP"}],
    },
}
GIVEN_BOUND, REACHED_BOUND = 1.0, 5.0
"""Seconds from the creation until it has its addresses, and until the last of them is reached."""
PATIENCE = 30.0


class Reached(msgspec.Struct, frozen=True):
    """The client got an HTTP answer at ``address``, ``seconds`` after the Service was created, through ``node`` and from ``backend``."""

    address: str
    node: str
    backend: str
    seconds: float


class NewService(msgspec.Struct, frozen=True):
    """A Service that was created while the lab ran; ``given`` is how many seconds later its status had its addresses."""

    service: str
    given: float
    given_bound: float
    reached: tuple[Reached, ...]
    reached_bound: float
    passed: bool


@dataclass(slots=True)
class Operator:
    """``l2announce operator`` of a lab, on its first node. A context manager; the Services keep what they have when it ends."""

    lab: Lab
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Operator":
        log = self.lab.directory / "operator.log"
        flags = ("--identity", "lab", "--metrics-address", "none", "--log-format", "json", *self.lab.cluster.operator_flags())
        host = next(iter(self.lab.agents.values())).namespace
        with log.open("wb") as file:
            self._process = host.popen(*WITH_PARENT, str(PROGRAM), "operator", *flags, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        process = self._process

        def leads_or_dead() -> bool:
            return '"leading"' in log.read_text(errors="replace") or process.poll() is not None

        wait_until(leads_or_dead, PATIENCE, "the operator to lead")
        if process.poll() is not None:
            raise ChildProcessError(f"the operator did not start:\n{log.read_text(errors='replace')}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            stop_processes([self._process])


def watch_birth(lab: Lab) -> NewService:
    """Create the Service and wait for all that follows. WaitTimeout when it does not."""
    created = lab.cluster.create_service(SERVICE, lab.topology)
    wanted = len(SERVICE["spec"]["ipFamilies"])
    wait_until(lambda: len(lab.cluster.addresses_of(NAME)) == wanted, PATIENCE, f"{NAME} to get {wanted} addresses", interval=0.002)
    given = time.monotonic() - created
    addresses = [ServiceAddress(f"default/{NAME}", ip_address(text)) for text in lab.cluster.addresses_of(NAME)]
    lab.cluster.serve(lab.network, lab.topology, tuple(addresses))
    reached = tuple(_reach(lab, item, created) for item in addresses)
    passed = given <= GIVEN_BOUND and all(item.seconds <= REACHED_BOUND for item in reached)
    return NewService(f"default/{NAME}", round(given, 4), GIVEN_BOUND, reached, REACHED_BOUND, passed)


def _reach(lab: Lab, item: ServiceAddress, created: float) -> Reached:
    """Ask as the client until it is answered."""
    client, address = lab.network[lab.topology.client.name], str(item.address)
    answers: list[str] = []

    def is_reached() -> bool:
        answers.append(fetch(client, address, lab.topology.ports.http, timeout=0.2))
        return bool(answers[-1])

    wait_until(is_reached, PATIENCE, f"{address} to be reached", interval=0.005)
    seconds = time.monotonic() - created
    neighbors = json.loads(client.run("ip", "-json", "neigh", "show", address).stdout)
    mac = bytes.fromhex(neighbors[0]["lladdr"].replace(":", ""))
    return Reached(address, lab.macs().get(mac, ""), answers[-1].partition(":")[0], round(seconds, 4))
