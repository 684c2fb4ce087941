"""The event loop of the control process: uvloop, taught to carry the AF_NETLINK endpoints that pyroute2 makes."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvloop

_MAX_DATAGRAM = 1 << 18
_READS_PER_WAKE = 64


class NetlinkTransport(asyncio.DatagramTransport):
    """A datagram transport over a netlink socket, which uvloop does not have."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__({"socket": sock})
        self._loop, self._sock, self._protocol = loop, sock, protocol
        self._closing = False
        sock.setblocking(False)
        loop.call_soon(protocol.connection_made, self)
        loop.add_reader(sock.fileno(), self._read)

    def _read(self) -> None:
        for _ in range(_READS_PER_WAKE):
            try:
                octets, address = self._sock.recvfrom(_MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as err:  # ENOBUFS: the protocol must dump again
                self._protocol.error_received(err)
                return
            self._protocol.datagram_received(octets, address)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send one datagram; to the kernel unless told otherwise."""
        self._sock.sendto(data, addr or (0, 0))

    def is_closing(self) -> bool:
        """True after ``close``."""
        return self._closing

    def close(self) -> None:
        """Stop reading; the protocol is told, the socket is its owner's to close."""
        if not self._closing:
            self._closing = True
            self._loop.remove_reader(self._sock.fileno())
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close


class Loop(uvloop.Loop):
    """uvloop's loop, with netlink endpoints."""

    async def create_datagram_endpoint(  # type: ignore[override] # uvloop's own signature is untyped
        self, protocol_factory: Callable[[], asyncio.DatagramProtocol], *args: Any, sock: socket.socket | None = None, **kwargs: Any
    ) -> Any:
        """As asyncio's; a ``sock`` of family AF_NETLINK gets a NetlinkTransport."""
        if sock is None or sock.family != socket.AF_NETLINK:
            return await super().create_datagram_endpoint(protocol_factory, *args, sock=sock, **kwargs)
        protocol = protocol_factory()
        transport = NetlinkTransport(self, sock, protocol)
        await asyncio.sleep(0)
        return transport, protocol


def new_event_loop() -> Loop:
    """For asyncio.Runner's ``loop_factory``."""
    return Loop()
