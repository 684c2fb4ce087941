"""The only reader of the boot clock."""

import time

from l2announce.model.address import Instant


def boot_time() -> Instant:
    """Seconds of CLOCK_BOOTTIME: like the monotonic clock, but it goes on while the machine is suspended, as a lease does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class BootClock:
    """The boot clock as the Clock port."""

    def now(self) -> Instant:
        """Seconds of CLOCK_BOOTTIME."""
        return boot_time()
