"""The test bed: one client, and a node for each system under test, each on its own veth pair with its softirqs steered to fixed cores."""

import contextlib
import ipaddress
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from netlab.namespaces import Namespace, NamespaceError, Network, run_command
from netlab.waiting import wait_until

from benchmarks.harness.cores import ANSWERING_CORE, GENERATOR_CORE, keep_off_answering_core, require_cores
from benchmarks.harness.load import Asker, build_generator
from l2announce.kernel.clock import boot_time
from l2announce.model.address import Address
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.report import Report
from l2announce.model.timing import ANNOUNCE_OFFSETS, HEARTBEAT
from l2announce.wire.messages import MAX_DATAGRAM, Assembler, encode_claims

ROOT = Path(__file__).parent.parent.parent
DEVICE = "eth0"
RESPONDER = ("-m", "l2announce.agent.responder")
"""Arguments of the Python interpreter that start the system under test."""
CLAIM_SECONDS = 3600.0
APPLY_LIMIT = 60.0
"""Seconds that a responder may take to apply a claim set."""
ANNOUNCING_LIMIT = 60.0
"""Seconds within which the announcements of a claim set must be over where a case waits for that."""
_SILENCE = 0.2 + max(after - before for before, after in pairwise(ANNOUNCE_OFFSETS))
"""Seconds without a frame after which no announcement is to come."""
_SEED = 826


def owned_addresses(protocol: str, count: int, scattered: bool = False) -> list[Address]:
    """``count`` addresses to own: in one row, or each somewhere else, alike in every run."""
    version6 = protocol != "arp"
    first = ipaddress.ip_address("fd00:64::1" if version6 else "10.64.0.1")
    if not scattered:
        return [first + i for i in range(count)]
    picks = random.Random(_SEED).sample(range(1 << (62 if version6 else 22)), count)  # noqa: S311 - addresses, not secrets
    return [first + 2 * pick for pick in picks]


def foreign_addresses(count: int = 4096) -> list[Address]:
    """IPv4 addresses that nobody owns here."""
    return [ipaddress.IPv4Address("172.20.0.1") + i for i in range(count)]


@dataclass(slots=True)
class Node:
    """One node: a namespace with an interface to the client."""

    namespace: Namespace
    client: Namespace
    client_device: str
    number: int
    mac: bytes

    def asker(self, protocol: str) -> Asker:
        """The client as it asks this node."""
        source = f"10.99.{self.number}.2" if protocol == "arp" else f"fd00:99:{self.number}::2"
        return Asker(self.client, self.client_device, protocol, source, self.mac)

    def wait_announced(self) -> None:
        """Wait until the responder has announced what it was told to: no frame for longer than it ever pauses."""
        sent, since = -1, 0.0

        def silent() -> bool:
            nonlocal sent, since
            if (now_sent := self._frames_sent()) != sent:
                sent, since = now_sent, time.monotonic()
            return time.monotonic() - since > _SILENCE

        wait_until(silent, ANNOUNCING_LIMIT, "the announcements to be over", interval=0.1)

    def _frames_sent(self) -> int:
        """Frames that the client has received from the node."""
        with self.client.entered():
            for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
                name, _, counters = line.strip().partition(":")
                if name == self.client_device:
                    return int(counters.split()[1])
        raise NamespaceError(f"{self.client_device}: not in /proc/net/dev of the client")

    def assign(self, addresses: Sequence[Address]) -> None:
        """Have the kernel own ``addresses``."""
        lines = (
            f"address add {address}/{address.max_prefixlen} dev {DEVICE}{' nodad' if address.version == 6 else ''}" for address in addresses
        )
        run_command("ip", "-n", self.namespace.name, "-batch", "-", stdin_text="\n".join(lines), timeout=120)


class Bed:
    """A network with a client; ``node`` adds nodes to it. A context manager that removes all of it."""

    def __init__(self, scratch: Path) -> None:
        """``scratch`` is a directory for sockets and lists of addresses. NamespaceError when the machine does not allow what is needed."""
        require_cores()
        build_generator()
        self.scratch = scratch
        self._network = Network()
        self._count = 0

    def __enter__(self) -> "Bed":
        self._network.__enter__()
        keep_off_answering_core()
        self.client = self._network.namespace("client")
        return self

    def __exit__(self, *error: object) -> None:
        self._network.close()

    def namespace(self, name: str, forwarding: bool = False) -> Namespace:
        """A further namespace."""
        return self._network.namespace(name, forwarding)

    def wire(self, left: Namespace, left_device: str, right: Namespace, right_device: str) -> None:
        """A veth pair; frames for ``right`` cost the answering core, frames for ``left`` the generator's."""
        self._network.veth(left, left_device, right, right_device)
        steer(left, left_device, GENERATOR_CORE)
        steer(right, right_device, ANSWERING_CORE)

    def node(self, forwarding: bool = False) -> Node:
        """A node of its own, with an address in either family beside those under test."""
        self._count += 1
        number, name = self._count, f"n{self._count}"
        namespace = self._network.namespace(name, forwarding)
        self.wire(self.client, name, namespace, DEVICE)
        self.client.address(name, f"10.99.{number}.2/24", f"fd00:99:{number}::2/64")
        namespace.address(DEVICE, f"10.99.{number}.1/24", f"fd00:99:{number}::1/64")
        self._network.wait_ready()
        return Node(namespace, self.client, name, number, namespace.mac(DEVICE))

    def remove(self, node: Node) -> None:
        """Take a node away, with all that runs in it."""
        for process in node.namespace.processes:
            process.kill()
            process.wait()
        run_command("ip", "netns", "delete", node.namespace.name)
        del self._network.namespaces[node.namespace.name]


def steer(namespace: Namespace, device: str, core: int) -> None:
    """Receive packet steering: what arrives at ``device`` is processed on ``core``."""
    path = f"/sys/class/net/{device}/queues/rx-0/rps_cpus"
    run_command("ip", "netns", "exec", namespace.name, "sh", "-c", f"echo {1 << core:x} > {path}")


@dataclass(slots=True)
class ResponderUnderTest:
    """A responder process on a node, bound to the answering core, and the control side of its channel."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    generation: int = 0
    _assembler: Assembler = field(default_factory=Assembler)
    _reader: threading.Thread | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(cls, node: Node, scratch: Path) -> "ResponderUnderTest":
        """Start it and connect."""
        path = scratch / f"{node.namespace.name}.sock"
        with node.namespace.entered():
            process = subprocess.Popen((sys.executable, *RESPONDER, "--socket", str(path)), cwd=ROOT)
        node.namespace.processes.append(process)
        os.sched_setaffinity(process.pid, {ANSWERING_CORE})
        connection = wait_until(lambda: _connect(path, process), 10.0, "the responder to listen", interval=0.001)
        assert connection is not None  # noqa: S101 - wait_until returns what is true
        return cls(process, connection)

    def claim(self, addresses: Sequence[Address]) -> float:
        """Have it answer for ``addresses`` on the node's interface, and wait until it says so. Returns the seconds that it took.

        Its reports are read from then on, so that it goes on making them.
        """
        self.pause_reading()
        self.generation += 1
        deadline = boot_time() + CLAIM_SECONDS
        claims = ClaimSet(self.generation, tuple(Claim(address, frozenset((DEVICE,)), deadline) for address in addresses))
        started = time.monotonic()
        for datagram in encode_claims(claims):
            self.connection.sendall(datagram)
        self.connection.settimeout(APPLY_LIMIT)
        wait_until(self._applied, APPLY_LIMIT, f"the responder to apply {len(addresses)} claims", interval=0.0)
        took = time.monotonic() - started
        self._stop.clear()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return took

    def pause_reading(self) -> None:
        """Stop reading reports."""
        if self._reader is not None:
            self._stop.set()
            self._reader.join()
            self._reader = None

    def stop(self) -> None:
        """End the process."""
        self.pause_reading()
        self.process.terminate()
        self.process.wait(timeout=5)
        self.connection.close()

    def _applied(self) -> bool:
        for message in self._assembler.feed(self.connection.recv(MAX_DATAGRAM)):
            if isinstance(message, Report) and message.generation == self.generation:
                if message.problems:
                    sys.stderr.write(f"responder: {'; '.join(message.problems)}\n")
                return True
        return False

    def _read(self) -> None:
        """Take whole messages until told to stop: between two of them, as ``_applied`` goes on with the next one."""
        self.connection.settimeout(HEARTBEAT)
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                while not any(self._assembler.feed(self.connection.recv(MAX_DATAGRAM))):
                    pass


def _connect(path: Path, process: subprocess.Popen[bytes]) -> socket.socket | None:
    if process.poll() is not None:
        raise RuntimeError(f"the responder ended with exit code {process.returncode}")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return connection


def resident_memory(pid: int) -> float:
    """Resident memory of a process in MiB, shared pages included (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
