"""The prober process: asks for every service address each 10 ms, in the two ways in which a client notices an outage.

*Asks*: an ARP request or neighbor solicitation to everyone, so that every node could answer, from made-up hosts that take turns. An
answer names the host it is for, so it belongs to exactly one ask. They are not the client's own: its kernel learns nothing from them.
*Traffic*: a UDP datagram through the client kernel's neighbor table, echoed by the backend.

Runs in the client's namespace: ``python -m netlab.prober CONFIG.json``, until SIGTERM; then it writes what it saw (ProbeLog as JSON). While
it runs it prints one line of JSON each 100 ms, for the live view: address -> the state of AddressProbe.live().
"""

import json
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path

from netlab.frames import ETHERTYPE_ARP, ETHERTYPE_IPV6, Address, Kind, ask, parse
from netlab.stamps import receive, stamp

PRINT_EVERY = 0.1
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_MR_PROMISC = 1
PACKET_IGNORE_OUTGOING = 23


@dataclass(slots=True)
class AddressProbe:
    """Everything seen about one address. Times are nanoseconds since the epoch.

    ``asks``: when sent; ``answers``: (when, which ask, MAC). ``sent`` and ``replies`` are the same for traffic, without a MAC.
    """

    address: Address
    traffic: socket.socket
    frames: list[bytes]
    asks: list[int] = field(default_factory=list)
    answers: list[tuple[int, int, str]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    replies: list[tuple[int, int]] = field(default_factory=list)
    shown_answers: int = 0
    shown_replies: int = 0

    def send(self, asking: socket.socket) -> None:
        """One ask and one datagram. What the kernel refuses to send stays an ask without an answer."""
        self._try(asking, self.frames[len(self.asks) % len(self.frames)], self.asks)
        self._try(self.traffic, len(self.sent).to_bytes(4, "big"), self.sent)

    @staticmethod
    def _try(through: socket.socket, octets: bytes, times: list[int]) -> None:
        times.append(time.time_ns())
        try:
            through.send(octets)
        except OSError:  # no route, no buffer, host unreachable: the client is without service, and the log says so
            return

    def receive_traffic(self) -> None:
        """Take every waiting echo."""
        while True:
            try:
                when, octets = receive(self.traffic)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for an earlier datagram: that one has no reply
                continue
            self.replies.append((when, int.from_bytes(octets[:4], "big")))

    def answered(self, when: int, number: int, mac: bytes) -> None:
        """An answer to asker ``number``: it belongs to the latest ask of that asker."""
        turn = len(self.frames)
        latest = len(self.asks) - 1
        if latest >= number:
            self.answers.append((when, latest - (latest - number) % turn, mac.hex(":")))

    def live(self) -> dict[str, object]:
        """The state now, in few words: the last times, whose answer was last, and the longest gaps (ns) since the line before."""
        answers = [when for when, _, _ in self.answers[max(0, self.shown_answers - 1) :]]
        replies = [when for when, _ in self.replies[max(0, self.shown_replies - 1) :]]
        self.shown_answers, self.shown_replies = len(self.answers), len(self.replies)
        return {
            "last_answer": answers[-1] if answers else 0,
            "last_reply": replies[-1] if replies else 0,
            "mac": self.answers[-1][2] if self.answers else "",
            "ask_gap": _longest_gap([*answers, time.time_ns()]),
            "traffic_gap": _longest_gap([*replies, time.time_ns()]),
        }

    def log(self) -> dict[str, object]:
        """What the file says about this address."""
        return {"asks": self.asks, "answers": self.answers, "sent": self.sent, "replies": self.replies}


def _longest_gap(times: list[int]) -> int:
    return max((after - before for before, after in pairwise(times)), default=0)


@dataclass(frozen=True, slots=True)
class ProberConfig:
    """What to probe, as the lab writes it to a JSON file. ``interval`` in seconds; ``log`` is the file to write at the end.

    Asker N has the address N after ``asker_ipv4``, and likewise its others.
    """

    device: str
    interval: float
    addresses: list[str]
    traffic_port: int
    asker_count: int
    asker_mac: str
    asker_ipv4: str
    asker_ipv6: str
    log: str

    def frames(self, address: Address) -> list[bytes]:
        """The ask for an address from each asker."""
        first_mac = int.from_bytes(bytes.fromhex(self.asker_mac.replace(":", "")), "big")
        first: Address = IPv4Address(self.asker_ipv4) if address.version == 4 else IPv6Address(self.asker_ipv6)
        return [ask(address, first + number, (first_mac + number).to_bytes(6, "big")) for number in range(self.asker_count)]

    def askers(self) -> dict[Address, int]:
        """The number of each asker by its address, both families."""
        firsts: tuple[Address, Address] = (IPv4Address(self.asker_ipv4), IPv6Address(self.asker_ipv6))
        return {first + number: number for first in firsts for number in range(self.asker_count)}


class Prober:
    """One loop over the packet sockets and the traffic sockets; see the module."""

    def __init__(self, config: ProberConfig) -> None:
        self.interval = config.interval
        self.askers = config.askers()
        self.asking = {4: _packet_socket(config.device, ETHERTYPE_ARP), 6: _packet_socket(config.device, ETHERTYPE_IPV6)}
        self.probes = {
            address: AddressProbe(address, _traffic_socket(address, config.traffic_port), config.frames(address))
            for address in map(ip_address, config.addresses)
        }

    def run(self) -> None:
        """Ask until SIGTERM."""
        stop_socket = _signal_socket()
        watched = select.epoll()
        for used in (stop_socket, *self.asking.values(), *(probe.traffic for probe in self.probes.values())):
            watched.register(used, select.EPOLLIN)
        next_ask = next_print = time.monotonic()
        while True:
            ready = {descriptor for descriptor, _ in watched.poll(max(0.0, next_ask - time.monotonic()))}
            if stop_socket.fileno() in ready:
                break
            self.receive(ready)
            now = time.monotonic()
            if now >= next_ask:
                for probe in self.probes.values():
                    probe.send(self.asking[probe.address.version])
                next_ask = max(next_ask + self.interval, now)
            if now >= next_print:
                print(json.dumps({str(address): probe.live() for address, probe in self.probes.items()}), flush=True)
                next_print = now + PRINT_EVERY

    def receive(self, ready: set[int]) -> None:
        """Take what waits at the sockets that epoll named."""
        for listening in self.asking.values():
            if listening.fileno() in ready:
                self.receive_answers(listening)
        for probe in self.probes.values():
            if probe.traffic.fileno() in ready:
                probe.receive_traffic()

    def receive_answers(self, listening: socket.socket) -> None:
        """Take every waiting frame; keep the answers to our askers."""
        while True:
            try:
                when, frame = receive(listening)
            except BlockingIOError:
                return
            seen = parse(frame)
            if seen is None or seen.kind is not Kind.ANSWER or seen.asker is None or seen.address not in self.probes:
                continue
            number = self.askers.get(seen.asker)
            if number is not None:
                self.probes[seen.address].answered(when, number, seen.mac)


def _packet_socket(device: str, ethertype: int) -> socket.socket:
    """A packet socket on the device that also hears what is for our made-up hosts."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    stamp(made)
    made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    made.bind((device, ethertype))
    membership = socket.if_nametoindex(device).to_bytes(4, sys.byteorder) + PACKET_MR_PROMISC.to_bytes(2, sys.byteorder) + bytes(10)
    made.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
    made.setblocking(False)
    return made


def _traffic_socket(address: Address, port: int) -> socket.socket:
    """A UDP socket connected to the service address."""
    made = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    stamp(made)
    made.connect((str(address), port))
    made.setblocking(False)
    return made


def _signal_socket() -> socket.socket:
    """A socket that becomes readable at SIGTERM, so that the loop ends between two frames."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.fileno())
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    _kept_open.extend((reading, writing))  # a second signal may come when the loop has ended
    return reading


_kept_open: list[socket.socket] = []


def main(config_path: str) -> None:
    """Probe as the file says, then write the log to the file it names."""
    config = ProberConfig(**json.loads(Path(config_path).read_text()))
    prober = Prober(config)
    prober.run()
    log = {"interval": prober.interval, "addresses": {str(address): probe.log() for address, probe in prober.probes.items()}}
    Path(config.log).write_text(json.dumps(log))


if __name__ == "__main__":
    main(*sys.argv[1:])
