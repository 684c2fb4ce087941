"""Whether a responder process still turns its loop: a mark that it leaves, and the question a liveness probe asks about it.

``python -m l2announce.agent.responder_alive PATH``: exit code 0 when the responder with its socket at PATH is alive, else 1 and one line.
The mark is the socket's own time of modification, set to the boot clock, so that no step of the wall clock counts. Nobody connects: to
the responder a new connection is a new control process.
"""

import os
import sys
import time
from pathlib import Path

ALIVE_LIMIT = 5.0
"""Seconds without a mark after which a responder counts as hung; it leaves two a second."""


def mark_alive(path: Path, now: float) -> None:
    """Say that the responder at ``path`` is alive at ``now``, in seconds of the boot clock. A socket that was removed gets no mark."""
    try:
        os.utime(path, (now, now))
    except OSError:
        return


def why_dead(path: Path, now: float) -> str:
    """Why the responder at ``path`` counts as dead at ``now``, in seconds of the boot clock; "" when it is alive."""
    try:
        silence = now - path.stat().st_mtime
    except OSError as err:
        return f"{path}: {err.strerror or err}"
    return "" if silence <= ALIVE_LIMIT else f"{path}: no sign of life for {silence:.1f} s"


def main() -> None:
    """Entry point of the probe."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m l2announce.agent.responder_alive PATH")
    sys.exit(why_dead(Path(sys.argv[1]), time.clock_gettime(time.CLOCK_BOOTTIME)) or 0)


if __name__ == "__main__":
    main()
