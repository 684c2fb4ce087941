"""Announcements as they enter the switch, with the kernel's time stamp."""

import select
import socket
import time
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self

from netlab.capture import open_port
from netlab.frames import Kind, parse
from netlab.namespaces import Namespace
from netlab.stamps import receive
from netlab.waiting import WaitTimeout


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
