"""AF_PACKET sockets, many frames a call. A pool of them is opened while the process may; binding them later needs no capability.

Each socket serves one link and one protocol, so its descriptor tells the link. A filter that drops everything is attached whenever a socket
is not in use or is being bound, so that no frame is delivered that its filter did not see.
"""

import ctypes
import errno
import socket
import struct

from l2announce.errors import KernelError
from l2announce.kernel._mmsg import ffi
from l2announce.model.link import Link
from l2announce.wire.bpf import DROP_ALL, Program, assemble

BATCH = 64
"""Frames in one system call."""
RECEIVE_BUFFER = 4 << 20

_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_MSG_DONTWAIT = 0x40

_libc = ffi.dlopen(None)
_MESSAGE_SIZE = ffi.sizeof("struct mmsghdr")
_LENGTH_AT = ffi.offsetof("struct mmsghdr", "msg_len")
_LENGTHS = [struct.Struct("@" + f"{_LENGTH_AT}xI{_MESSAGE_SIZE - _LENGTH_AT - 4}x" * count) for count in range(BATCH + 1)]


class Vector:
    """Memory for BATCH frames, one in each slot of ``slot`` octets, and the headers that point recvmmsg and sendmmsg to them."""

    def __init__(self, slot: int, length: int) -> None:
        """``length`` octets of each slot are received or sent."""
        self.slot = slot
        self._octets = ffi.new("char[]", BATCH * slot)
        self._iovecs = ffi.new("struct iovec[]", BATCH)
        self.messages = ffi.new("struct mmsghdr[]", BATCH)
        self._headers = ffi.buffer(self.messages)
        for i in range(BATCH):
            self._iovecs[i].iov_base = self._octets + i * slot
            self._iovecs[i].iov_len = length
            self.messages[i].msg_hdr.msg_iov = self._iovecs + i
            self.messages[i].msg_hdr.msg_iovlen = 1

    def take(self, count: int) -> tuple[bytes, tuple[int, ...]]:
        """The first ``count`` slots as octets, and the lengths of the frames in them."""
        octets: bytes = ffi.unpack(self._octets, count * self.slot)
        return octets, _LENGTHS[count].unpack_from(self._headers)

    def put(self, octets: bytes) -> int:
        """Fill the slots from the start; returns how many were filled."""
        ffi.memmove(self._octets, octets, len(octets))
        return len(octets) // self.slot


class PacketSocket:
    """One packet socket, bound to one link and protocol at a time."""

    def __init__(self) -> None:
        """Open it, receiving nothing yet. KernelError without CAP_NET_RAW."""
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        except PermissionError as err:
            raise KernelError(
                "cannot open a packet socket: needs CAP_NET_RAW; run as root, in a user namespace, or grant the container NET_RAW"
            ) from err
        self._fd = self._socket.fileno()
        self.unsent = 0
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.attach(DROP_ALL)

    def fileno(self) -> int:
        """The descriptor, for epoll."""
        return self._fd

    def bind(self, link: Link, protocol: int) -> None:
        """Serve ``link`` for frames of EtherType ``protocol``; nothing is received until a filter is attached. OSError when it is gone."""
        self.attach(DROP_ALL)
        self._socket.bind((link.name, protocol))
        if socket.if_nametoindex(link.name) != link.index:
            raise OSError(errno.ENODEV, f"{link.name} is no longer link {link.index}")

    def attach(self, program: Program) -> None:
        """Let only frames through that ``program`` accepts, from now on. OSError(ENOMEM) when it outgrows net.core.optmem_max."""
        octets = ctypes.create_string_buffer(assemble(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(octets)))

    def receive(self, vector: Vector) -> tuple[bytes, tuple[int, ...]] | None:
        """Up to BATCH waiting frames and their lengths; None when there are none. A link that goes down is not an error here."""
        count = _libc.recvmmsg(self._fd, vector.messages, BATCH, _MSG_DONTWAIT, ffi.NULL)
        return vector.take(count) if count > 0 else None

    def send_batch(self, replies: bytes, vector: Vector) -> None:
        """Send the frames in the slots of ``replies``, at most BATCH. What the kernel refuses is counted in ``unsent``."""
        count = vector.put(replies)
        sent = _libc.sendmmsg(self._fd, vector.messages, count, _MSG_DONTWAIT)
        self.unsent += count - max(sent, 0)

    def send(self, frame: bytes) -> bool:
        """Send a frame of any length on the bound link. What the kernel refuses is False, and counted in ``unsent``."""
        try:
            self._socket.send(frame)
        except OSError:
            self.unsent += 1
            return False
        return True

    def close(self) -> None:
        """Close it."""
        self._socket.close()
