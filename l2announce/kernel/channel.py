"""The channel between the two processes of an agent: SOCK_SEQPACKET on a path, never blocking, with an end of file."""

import errno
import socket
import stat
import struct
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from l2announce.errors import ChannelError
from l2announce.model.claim import ClaimSet
from l2announce.model.report import Report
from l2announce.wire.messages import MAX_DATAGRAM, Assembler

MessageT = TypeVar("MessageT", ClaimSet, Report)

BUFFER = 1 << 20
"""Asked for in both directions; the kernel gives what net.core.wmem_max allows. One part always fits."""

_UCRED = struct.Struct("=iII")
"""struct ucred: pid, uid, gid, unix(7)."""


class PeerGone(ChannelError):  # noqa: N818 - says what happened
    """The process at the other end has closed the channel, or has ended."""


class Channel:
    """One end of a connection. What cannot be sent at once waits, and is replaced by the next whole message."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._socket = connection
        self._assembler = Assembler()
        self._begun: deque[bytes] = deque()
        self._next: list[bytes] = []

    def fileno(self) -> int:
        """The descriptor, to wait for."""
        return self._socket.fileno()

    def peer_pid(self) -> int:
        """The process at the other end, as it was when the connection was made; 0 when it is not visible from here."""
        pid, _, _ = _UCRED.unpack(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        return int(pid)

    @property
    def wants_write(self) -> bool:
        """True while parts wait for room."""
        return bool(self._begun or self._next)

    def send(self, datagrams: list[bytes]) -> None:
        """Send a whole message as far as there is room; ``flush`` goes on. A message that was not yet begun is given up for it."""
        self._next = datagrams
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as there is room. PeerGone when the other side is."""
        while self.wants_write:
            if not self._begun:
                self._begun.extend(self._next)
                self._next = []
            try:
                self._socket.send(self._begun[0], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError as err:
                raise PeerGone(f"the other process of the agent is gone: {err.strerror}") from err
            self._begun.popleft()

    def receive(self, kind: type[MessageT]) -> Iterator[MessageT]:
        """Every message that has come, all of one kind. PeerGone at end of file, ChannelError for anything that is no such message."""
        while True:
            try:
                datagram = self._socket.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as err:
                raise PeerGone(f"the other process of the agent is gone: {err.strerror}") from err
            if not datagram:
                raise PeerGone("the other process of the agent is gone: end of file")
            for message in self._assembler.feed(datagram):
                if not isinstance(message, kind):
                    raise ChannelError(f"the other process sent a {type(message).__name__}, not a {kind.__name__}")
                yield message

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def listen(path: Path, mode: int = 0o600) -> socket.socket:
    """A non-blocking listener at ``path``, for its owner alone unless ``mode`` says else. A socket that nobody listens on is replaced.

    ChannelError when the path cannot be made, is something else, or is in use; who uses it is not disturbed.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_stale(path)
        listener.bind(str(path))
        path.chmod(mode)
    except OSError as err:
        listener.close()
        raise ChannelError(f"cannot listen at {path}: {err.strerror or err}; choose another path") from err
    except ChannelError:
        listener.close()
        raise
    listener.listen(4)
    return listener


def connect(path: Path) -> Channel | None:
    """A connection to the process that listens at ``path``; None when there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(str(path))
    except OSError as err:
        connection.close()
        if err.errno in (errno.ENOENT, errno.ECONNREFUSED):
            return None
        raise ChannelError(f"cannot connect to {path}: {err.strerror or err}") from err
    return Channel(connection)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ChannelError(f"{path} exists and is not a socket: remove it or choose another path")
    if _is_served(path):
        raise ChannelError(f"another process listens at {path}: stop it or choose another path")
    path.unlink()


def _is_served(path: Path) -> bool:
    """Whether a process has the socket open: then one of another type is refused for its type, and no connection is made."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        return other.connect_ex(str(path)) != errno.ECONNREFUSED
