"""Receiving with the kernel's own time stamps, so that a late reader does not make an answer late."""

import socket
import struct
import time

SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 8 << 20
_TIMESPEC = struct.Struct("qq")
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size)


def stamp(receiving: socket.socket) -> None:
    """Ask for time stamps on a socket, and for room enough that a pause of its reader loses nothing."""
    receiving.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    try:
        receiving.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:  # an ordinary user's namespace: as much as net.core.rmem_max allows
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def receive(receiving: socket.socket, size: int = 2048) -> tuple[int, bytes]:
    """One datagram or frame and when the kernel got it, nanoseconds since the epoch. OSError as recvmsg(2) raises it."""
    octets, ancillary, _, _ = receiving.recvmsg(size, _ANCILLARY)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return seconds * 1_000_000_000 + nanoseconds, octets
    return time.time_ns(), octets
