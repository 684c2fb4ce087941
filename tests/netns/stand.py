"""The stand of the responder's tests: a client and a node on a switch, a responder process on the node, the test in place of control."""

import contextlib
import errno
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TypeAlias

from netlab.frames import internet_checksum
from netlab.namespaces import Namespace, Network
from netlab.waiting import wait_until

from l2announce.kernel.channel import Channel, connect
from l2announce.kernel.clock import boot_time
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.report import Report
from l2announce.wire.messages import encode_claims

PATIENCE = 10.0
"""Seconds within which anything that is promised without a bound must happen, also on a busy machine."""
SO_RCVBUFFORCE = 33


@dataclass(frozen=True, slots=True)
class Wire:
    """One switch ``br0`` with multicast snooping and a querier; a client and a node on it by eth0.

    The client is 10.99.0.1 and fd99::1, the node 10.99.0.101 and fd99::101.
    """

    network: Network
    switch: Namespace
    client: Namespace
    node: Namespace


@dataclass(slots=True)
class Control:
    """The control process's end of a channel, driven by a test."""

    channel: Channel
    generation: int = 0
    reports: list[Report] = field(default_factory=list)

    def read(self) -> None:
        """Take the reports that have come."""
        self.reports += self.channel.receive(Report)

    def claim(self, *addresses: str, seconds: float = 600.0) -> float:
        """Replace the claims by these addresses on eth0, and wait until they are applied; returns the deadline."""
        return self.claim_on(dict.fromkeys(addresses, "eth0"), seconds)

    def claim_on(self, wanted: Mapping[str, str], seconds: float = 600.0) -> float:
        """Replace the claims by ``wanted``, address -> interface, and wait until they are applied; returns the deadline."""
        deadline = boot_time() + seconds
        self.generation += 1
        claims = tuple(Claim(ip_address(address), frozenset({interface}), deadline) for address, interface in wanted.items())
        self.send(encode_claims(ClaimSet(self.generation, claims)))
        self.wait(lambda report: report.generation == self.generation, f"claims {self.generation} to be applied")
        return deadline

    def send(self, datagrams: list[bytes]) -> None:
        """Send a message, however long it takes."""
        self.channel.send(datagrams)
        wait_until(self._flushed, PATIENCE, "room in the channel")

    def _flushed(self) -> bool:
        self.channel.flush()
        return not self.channel.wants_write

    def wait(self, condition: Callable[[Report], bool], what: str, seconds: float = PATIENCE) -> Report:
        """The newest report, as soon as it fulfils ``condition``."""

        def look() -> Report | None:
            self.read()
            return self.reports[-1] if self.reports and condition(self.reports[-1]) else None

        found = wait_until(look, seconds, what)
        assert found is not None
        return found

    def verdict(self, label: str) -> int:
        """How often the responder gave this verdict, by its newest report."""
        self.read()
        return dict(self.reports[-1].verdicts).get(label, 0)


class ResponderUnderTest:
    """A responder process in a namespace, with a channel to it in place of the control process."""

    def __init__(self, node: Namespace, directory: Path, *options: str) -> None:
        self.path = directory / "responder.sock"
        self.log_path = directory / "responder.log"
        self.command = (sys.executable, "-m", "l2announce.agent.responder", "--socket", str(self.path), *options)
        with self.log_path.open("ab") as log:
            self.process: subprocess.Popen[bytes] = node.popen(*self.command, stderr=log)
        self.control = self.connect()

    def connect(self) -> Control:
        """A (further) connection, once the process listens."""

        def look() -> Channel | None:
            assert self.process.poll() is None, self.log()
            return connect(self.path)

        channel = wait_until(look, PATIENCE, "the responder to listen")
        assert channel is not None
        control = Control(channel)
        control.wait(bool, "a first report")
        return control

    def log(self) -> str:
        """What it wrote to stderr."""
        return self.log_path.read_text()


class Tap:
    """A packet socket on a link of a namespace: sends frames, and keeps what comes in or, with ``own``, also goes out."""

    def __init__(self, namespace: Namespace, device: str = "eth0", protocol: int = 3) -> None:
        with namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            self._socket.bind((device, protocol))
        self.mac: bytes = self._socket.getsockname()[4]
        self.frames: list[tuple[float, bytes]] = []

    def send(self, frame: bytes) -> None:
        """Send one frame; waits where the queue of the link is full."""

        def sent() -> bool:
            try:
                self._socket.send(frame)
            except OSError as err:
                if not isinstance(err, BlockingIOError) and err.errno != errno.ENOBUFS:
                    raise
                return False
            return True

        wait_until(sent, PATIENCE, "room to send", interval=0.001)

    def read(self) -> list[bytes]:
        """Every frame so far; notes when it was first seen, by the boot clock."""
        with contextlib.suppress(BlockingIOError):
            while True:
                octets, (_, _, packet_type, _, _) = self._socket.recvfrom(2048)
                if packet_type != socket.PACKET_OUTGOING:
                    self.frames.append((boot_time(), octets))
        return [frame for _, frame in self.frames]

    def watch(self, until: Callable[[list[bytes]], object], what: str, seconds: float = PATIENCE) -> list[bytes]:
        """Read until the condition on all frames so far holds."""
        wait_until(lambda: until(self.read()), seconds, what, interval=0.002)
        return self.read()

    def listen_for(self, seconds: float) -> list[bytes]:
        """Read for a fixed time: only to show that nothing comes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read()
            time.sleep(0.002)
        return self.read()

    def close(self) -> None:
        """Close it."""
        self._socket.close()


Starter: TypeAlias = Callable[..., ResponderUnderTest]
"""The fixture ``start_responder``."""
Taps: TypeAlias = Callable[..., Tap]
"""The fixture ``tap``."""


def asked(client: Namespace, address: str) -> None:
    """Have the kernel of ``client`` ask for an address, by sending a datagram to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with client.entered(), socket.socket(family, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        sender.sendto(b"?", (address, 9))


def neighbor(client: Namespace, address: str) -> tuple[bytes | None, str]:
    """MAC and state of one neighbor; (None, "") when the kernel knows none."""
    return client.neighbors().get(address, (None, ""))


def is_neighbor(client: Namespace, address: str, expected: tuple[bytes | None, str]) -> bool:
    """Whether MAC and state of one neighbor are the expected ones."""
    return neighbor(client, address) == expected


def resolved_to(client: Namespace, address: str, mac: bytes) -> None:
    """Wait until the kernel of ``client`` has asked for the address and learnt ``mac``."""

    def look() -> bool:
        asked(client, address)
        return neighbor(client, address)[0] == mac

    wait_until(look, PATIENCE, f"{address} to be resolved to {mac.hex(':')}", interval=0.05)


def is_answer(frame: bytes, asker: bytes) -> bool:
    """An ARP reply or solicited advertisement to ``asker``."""
    if frame[:6] != asker:
        return False
    if frame[12:14] == b"\x08\x06":
        return frame[20:22] == b"\0\2"
    return frame[12:14] == b"\x86\xdd" and frame[54:55] == b"\x88"


def checksum_is_right(frame: bytes) -> bool:
    """ICMPv6's, over the pseudo header: zero when the sum is included."""
    message = frame[54:86]
    return internet_checksum(frame[22:54] + struct.pack("!II", len(message), 58) + message) == 0
