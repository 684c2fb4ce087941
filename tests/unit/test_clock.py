"""The boot clock."""

import time
from pathlib import Path

from l2announce.kernel.clock import BootClock, boot_time


def test_it_is_the_boot_clock() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    now = boot_time()
    later = BootClock().now()
    assert before <= now <= later <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_it_counts_seconds_since_boot() -> None:
    """/proc/uptime counts on the same clock, in hundredths."""
    before = boot_time()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert before - 0.02 <= uptime <= boot_time()
