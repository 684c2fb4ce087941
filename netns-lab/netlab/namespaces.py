"""Network namespaces as objects: run commands and open sockets inside them, wire them up with veth pairs and bridges, remove them all.

Everything here presumes a private place made by ``netns-lab/enter``, where /run/netns is our own: names cannot collide with anybody's and
nothing can leak. It knows nothing of l2announce.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from netlab.waiting import wait_until

INSIDE = "NETLAB_INSIDE"
"""The environment variable by which ``netns-lab/enter`` says that we are in a private place."""

RUN_NETNS = Path("/run/netns")
CLONE_NEWNET = 0x40000000
STOP_GRACE = 2.0
"""Seconds that a process gets between SIGTERM and SIGKILL when its network goes."""

_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceError(Exception):
    """A command inside a namespace failed, or namespaces cannot be made here."""


def require_private_place() -> None:
    """Raise NamespaceError unless this process runs below ``netns-lab/enter``."""
    if os.environ.get(INSIDE) != "1":
        raise NamespaceError("network namespaces are made only in a private place: start this command with netns-lab/enter")


def run_command(
    *command: str, check: bool = True, timeout: float = 10.0, stdin_text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, output captured as text. With ``check``, a failure raises NamespaceError with its words."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout, input=stdin_text)
    if check and done.returncode != 0:
        raise NamespaceError(f"{' '.join(command)}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done


def _switch(descriptor: int) -> None:
    """setns(2) of the calling thread into the network namespace of ``descriptor``."""
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface as ``ip -j address`` shows it. ``addresses`` are texts with prefix length; ``tentative`` counts unfinished DAD."""

    index: int
    name: str
    mac: bytes
    up: bool
    carrier: bool
    addresses: tuple[str, ...] = ()
    tentative: int = 0


@dataclass(slots=True)
class Namespace:
    """One named network namespace. Made by ``Network.namespace``; gone with its network."""

    name: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(
        self, *command: str, check: bool = True, timeout: float = 10.0, stdin_text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end; NamespaceError with its words when it fails and ``check`` is true."""
        return run_command("ip", "netns", "exec", self.name, *command, check=check, timeout=timeout, stdin_text=stdin_text)

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command inside. Its pid is the command's own. The network ends it when it goes, if nobody did before."""
        process = subprocess.Popen(("ip", "netns", "exec", self.name, *command), **options)
        self.processes.append(process)
        return process

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread inside, and back at the end. Sockets opened meanwhile stay inside for good."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            inside = os.open(RUN_NETNS / self.name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _switch(inside)
            finally:
                os.close(inside)
            try:
                yield
            finally:
                _switch(home)
        finally:
            os.close(home)

    def ip(self, arguments: str, check: bool = True) -> None:
        """``ip ARGUMENTS`` inside, split at blanks."""
        run_command("ip", "-n", self.name, *arguments.split(), check=check)

    def sysctl(self, name: str, value: object) -> None:
        """Set a sysctl below net/, with slashes in its name: ``net/ipv4/ip_forward``."""
        with self.entered():
            Path("/proc/sys", name).write_text(f"{value}\n")

    def address(self, device: str, *prefixes: str) -> None:
        """Give an interface addresses with prefix lengths; the IPv6 ones are usable at once (no DAD)."""
        for prefix in prefixes:
            self.ip(f"address add {prefix} dev {device}{' nodad' if ':' in prefix else ''}")

    def interfaces(self) -> dict[str, Interface]:
        """Every interface by name."""
        shown = msgspec.json.decode(run_command("ip", "-n", self.name, "-j", "address").stdout)
        return {item["ifname"]: _interface(item) for item in shown}

    def interface(self, name: str) -> Interface:
        """One interface; KeyError when there is none of that name."""
        return self.interfaces()[name]

    def mac(self, device: str) -> bytes:
        """The hardware address of an interface."""
        return self.interface(device).mac

    def neighbors(self) -> dict[str, tuple[bytes | None, str]]:
        """The kernel's neighbor table, ``ip neigh``: address -> (MAC or None, state)."""
        shown = msgspec.json.decode(run_command("ip", "-n", self.name, "-j", "neigh").stdout or "[]")
        return {item["dst"]: (_octets(item["lladdr"]) if "lladdr" in item else None, "|".join(item.get("state", []))) for item in shown}


def _octets(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _interface(item: dict[str, Any]) -> Interface:
    """One element of ``ip -j address`` as a value."""
    addresses = item.get("addr_info", [])
    return Interface(
        index=item["ifindex"],
        name=item["ifname"],
        mac=_octets(item["address"]) if item.get("link_type") in {"ether", "loopback"} else b"",
        up="UP" in item["flags"],
        carrier="LOWER_UP" in item["flags"],
        addresses=tuple(f"{entry['local']}/{entry['prefixlen']}" for entry in addresses),
        tentative=sum(1 for entry in addresses if entry.get("tentative")),
    )


class Network:
    """A set of namespaces and the wires between them; a context manager that removes all on exit, also after a failure.

    IPv6 addresses are usable as soon as they are set: duplicate address detection is off, and no router is solicited or believed.
    """

    def __init__(self) -> None:
        self.namespaces: dict[str, Namespace] = {}

    def __enter__(self) -> Self:
        require_private_place()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __getitem__(self, name: str) -> Namespace:
        return self.namespaces[name]

    def close(self) -> None:
        """End what ``popen`` started in any namespace, then remove the namespaces. Safe to call twice."""
        stop_processes([process for namespace in self.namespaces.values() for process in namespace.processes])
        for name in list(self.namespaces):
            run_command("ip", "netns", "delete", name, check=False)
            del self.namespaces[name]

    def namespace(self, name: str, forwarding: bool = False) -> Namespace:
        """Make a namespace with loopback up. With ``forwarding`` it routes, both families."""
        run_command("ip", "netns", "add", name)
        made = self.namespaces[name] = Namespace(name)
        for scope in ("all", "default"):
            made.sysctl(f"net/ipv6/conf/{scope}/accept_dad", 0)
            made.sysctl(f"net/ipv6/conf/{scope}/accept_ra", 0)
            made.sysctl(f"net/ipv6/conf/{scope}/router_solicitations", 0)
            if forwarding:
                made.sysctl(f"net/ipv6/conf/{scope}/forwarding", 1)
        if forwarding:
            made.sysctl("net/ipv4/ip_forward", 1)
        made.ip("link set lo up")
        return made

    def veth(self, left: Namespace, left_name: str, right: Namespace, right_name: str, left_mac: str = "", right_mac: str = "") -> None:
        """A veth pair, one end in each namespace, both up. A MAC left empty is the kernel's choice."""
        left_part = f"address {left_mac}" if left_mac else ""
        right_part = f"address {right_mac}" if right_mac else ""
        left.ip(f"link add {left_name} {left_part} type veth peer name {right_name} {right_part} netns {right.name}")
        left.ip(f"link set {left_name} up")
        right.ip(f"link set {right_name} up")

    def bridge(self, namespace: Namespace, name: str, snooping: bool = True, querier: bool = True) -> None:
        """A bridge, up. With ``snooping`` and ``querier`` multicast goes only where MLD and IGMP reports asked for it.

        Linux floods until its querier has been there for one query response interval: 10 s by default, 1 s here.
        """
        namespace.ip(
            f"link add {name} type bridge forward_delay 0 mcast_snooping {int(snooping)} mcast_querier 0 "
            "mcast_query_response_interval 100 mcast_startup_query_interval 100 mcast_query_interval 1000"
        )
        if querier:  # a command of its own: the interval above counts from here only when it is set already
            namespace.ip(f"link set {name} type bridge mcast_querier 1")
        namespace.ip(f"link set {name} up")

    def attach(self, switch: Namespace, bridge: str, host: Namespace, device: str = "eth0", mac: str = "") -> None:
        """Connect a host to a bridge: ``device`` in the host, a port named after the host on the bridge."""
        self.veth(switch, host.name, host, device, right_mac=mac)
        switch.ip(f"link set {host.name} master {bridge}")

    def wait_ready(self, deadline_seconds: float = 5.0) -> None:
        """Wait until every interface that is up has carrier and no address is tentative."""
        for namespace in self.namespaces.values():
            wait_until(partial(_ready, namespace), deadline_seconds, f"the interfaces of {namespace.name} to be ready")


def _ready(namespace: Namespace) -> bool:
    shown = namespace.interfaces().values()
    return all(item.carrier and not item.tentative for item in shown if item.up)


def stop_processes(processes: list[subprocess.Popen[bytes]], grace: float = STOP_GRACE) -> None:
    """End processes: SIGTERM (and SIGCONT, for a stopped one) to all, SIGKILL to those left after ``grace`` seconds; then reap them."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
    for process in running:
        try:
            process.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
