"""Announcements as they enter the switch, and answers as a client gets them, with the kernel's time stamps."""

import select
import socket
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from itertools import pairwise
from types import TracebackType
from typing import Self, TypeAlias

from netlab.capture import open_port
from netlab.frames import ETHERTYPE_ARP, Kind, ask, parse
from netlab.namespaces import Namespace
from netlab.stamps import receive, stamp
from netlab.waiting import WaitTimeout

ASKER = IPv4Address("10.99.255.1")
ASK_SECONDS = 0.002
SETTLED = 50
"""Answers by which a client knows who owns an address."""
Answer: TypeAlias = tuple[int, bytes]
"""When, in nanoseconds since 1970, and the MAC."""


class Watcher:
    """A packet socket on each of the switch's ports. A context manager."""

    def __init__(self, switch: Namespace, ports: tuple[str, ...]) -> None:
        with switch.entered():
            self._sockets: list[socket.socket] = [open_port(port) for port in ports]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for one in self._sockets:
            one.close()

    def wait_announced(self, address: IPv4Address, seconds: float) -> int:
        """When ``address`` was announced, nanoseconds since 1970; WaitTimeout when not within ``seconds``. Other frames are dropped."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for port in select.select(self._sockets, [], [], left)[0]:
                stamp, octets = receive(port)
                frame = parse(octets)
                if frame is not None and frame.kind is Kind.ANNOUNCEMENT and frame.address == address:
                    return stamp
        raise WaitTimeout(f"{address} was not announced within {seconds:g} s")


class Client:
    """A host that asks everyone for one address again and again, at ``ASKER`` on ``eth0`` of its namespace. A context manager."""

    def __init__(self, host: Namespace) -> None:
        with host.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP))
            self._socket.bind(("eth0", ETHERTYPE_ARP))
        stamp(self._socket)
        self._mac: bytes = self._socket.getsockname()[4]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def watch_move(self, address: IPv4Address, move: Callable[[], object], seconds: float) -> tuple[float, int]:
        """``move`` the address and ask for it each ``ASK_SECONDS`` until another MAC has answered ``SETTLED`` times since. The longest time
        in seconds between two answers, and how often the MAC changed. WaitTimeout when not within ``seconds``."""
        answers = self._ask(address, [], time.monotonic() + seconds, lambda got: len(got) >= SETTLED)
        first = answers[-1][1]
        mover = threading.Thread(target=move)
        mover.start()
        try:
            self._ask(address, answers, time.monotonic() + seconds, lambda got: all(mac != first for _, mac in got[-SETTLED:]))
        finally:
            mover.join()
        gap = max(later[0] - earlier[0] for earlier, later in pairwise(answers)) / 1e9
        return gap, sum(later[1] != earlier[1] for earlier, later in pairwise(answers))

    def _ask(self, address: IPv4Address, answers: list[Answer], end: float, done: Callable[[list[Answer]], bool]) -> list[Answer]:
        frame = ask(address, ASKER, self._mac)
        while not done(answers):
            due = time.monotonic() + ASK_SECONDS
            if due > end:
                raise WaitTimeout(f"{address} was not answered for as it should be")
            self._socket.send(frame)
            while (left := due - time.monotonic()) > 0 and select.select([self._socket], [], [], left)[0]:
                when, octets = receive(self._socket)
                seen = parse(octets)
                if seen is not None and seen.kind is Kind.ANSWER and seen.address == address:
                    answers.append((when, seen.mac))
        return answers
