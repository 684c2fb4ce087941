"""Giving privileges up: capabilities of the responder once its sockets are open; and asking for the descriptors that it needs."""

import ctypes
import os
import resource
from pathlib import Path

from l2announce.errors import KernelError

MAX_FILES = 65536
"""Enough for 256 multicast memberships a socket, whatever the number of addresses."""

_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_PR_CAPBSET_DROP = 24
_PR_SET_SECUREBITS = 28
_SECUREBITS = 0b1110_1111
"""NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, each locked, and KEEP_CAPS locked off; capabilities(7)."""
_CAP_SETPCAP = 8

_libc = ctypes.CDLL(None, use_errno=True)


def drop_capabilities() -> None:
    """Give up every capability of this process, for good: effective, permitted, inheritable, ambient, and no_new_privs.

    The bounding set, too, and root's special place with capabilities (securebits, locked), where CAP_SETPCAP allows it: without that
    capability, no_new_privs alone keeps a program that is executed from getting any.
    """
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs")
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "clear ambient capabilities")
    if effective_capabilities() >> _CAP_SETPCAP & 1:
        for capability in range(_last_capability() + 1):
            _check(_libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), "drop the capability bounding set")
        _check(_libc.prctl(_PR_SET_SECUREBITS, _SECUREBITS, 0, 0, 0), "set securebits")
    _check(_libc.capset(header, nothing), "drop capabilities")


def effective_capabilities() -> int:
    """The effective capability set of this process as a bit mask."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(header, data), "read capabilities")
    return data[0] | data[3] << 32


def _last_capability() -> int:
    """The highest capability that this kernel knows."""
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one, at most MAX_FILES."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _check(result: int, what: str) -> None:
    if result != 0:
        raise KernelError(f"cannot {what}: {os.strerror(ctypes.get_errno())}")
