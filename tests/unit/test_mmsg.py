"""The generated module is what its generator writes, and its structures are those of the C library."""

import ast
import ctypes
from pathlib import Path

from l2announce.kernel import mmsg_build
from l2announce.kernel._mmsg import ffi


def test_generated_module_is_up_to_date(tmp_path: Path) -> None:
    """Equal as programs; the formatter may have laid it out in another way."""
    fresh = tmp_path / "_mmsg.py"
    mmsg_build.write(fresh)
    assert ast.dump(ast.parse(mmsg_build.GENERATED.read_text())) == ast.dump(ast.parse(fresh.read_text()))


class MessageHeader(ctypes.Structure):
    """struct msghdr as recvmsg(2) has it, laid out by ctypes."""

    _fields_ = (
        ("msg_name", ctypes.c_void_p),
        ("msg_namelen", ctypes.c_uint),
        ("msg_iov", ctypes.c_void_p),
        ("msg_iovlen", ctypes.c_size_t),
        ("msg_control", ctypes.c_void_p),
        ("msg_controllen", ctypes.c_size_t),
        ("msg_flags", ctypes.c_int),
    )


class MultipleMessageHeader(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("msg_hdr", MessageHeader), ("msg_len", ctypes.c_uint))


def test_layout() -> None:
    assert ffi.sizeof("struct mmsghdr") == ctypes.sizeof(MultipleMessageHeader)
    assert ffi.offsetof("struct mmsghdr", "msg_len") == MultipleMessageHeader.msg_len.offset
    assert ffi.offsetof("struct msghdr", "msg_iov") == MessageHeader.msg_iov.offset
