"""A wall clock that can be stepped, for the Python processes that have this directory in PYTHONPATH: see netlab.wallclock.

Python imports this module by its name when it starts, before anything else reads the time. ``time.time`` and ``time.time_ns`` are then
ahead of the machine's clock by the seconds that the file NETLAB_CLOCK says, read at each call. Other clocks, and time read by C code (the
times of files, the validity of certificates), are the machine's.
"""

import os
import time
from pathlib import Path


def _install(step: Path) -> None:
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + int(step.read_text())
    time.time_ns = lambda: true_time_ns() + int(step.read_text()) * 1_000_000_000


if "NETLAB_CLOCK" in os.environ:
    _install(Path(os.environ["NETLAB_CLOCK"]))
