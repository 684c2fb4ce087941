"""Declares recvmmsg(2) and sendmmsg(2) to cffi and writes kernel/_mmsg.py from it: ``python -m l2announce.kernel.mmsg_build``.

The written module needs neither a compiler nor cffi's parser at run time, which keeps the responder process small.
"""

from pathlib import Path

from cffi import FFI

GENERATED = Path(__file__).with_name("_mmsg.py")

DECLARATIONS = """
struct iovec { void *iov_base; size_t iov_len; };
struct msghdr {
    void *msg_name; unsigned int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
    void *msg_control; size_t msg_controllen; int msg_flags;
};
struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
int recvmmsg(int, struct mmsghdr *, unsigned int, int, void *);
int sendmmsg(int, struct mmsghdr *, unsigned int, int);
"""


def write(path: Path = GENERATED) -> None:
    """Write the module to ``path``."""
    ffi = FFI()
    ffi.cdef(DECLARATIONS)
    ffi.set_source("l2announce.kernel._mmsg", None)
    ffi.emit_python_code(str(path))


if __name__ == "__main__":
    write()
