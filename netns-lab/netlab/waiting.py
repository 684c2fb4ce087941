"""Waiting for a condition with a deadline: the only way in which lab and tests wait. Nobody sleeps for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_INTERVAL = 0.01
"""Seconds between two looks at a condition."""


class WaitTimeout(TimeoutError):  # noqa: N818  says what happened, better than "error"
    """A condition did not come true before its deadline."""


def wait_until(condition: Callable[[], T], deadline_seconds: float, what: str, interval: float = POLL_INTERVAL) -> T:
    """Call ``condition`` until it returns something true, and return that.

    ``what`` completes the sentence "waited ... seconds for". Raises WaitTimeout when ``deadline_seconds`` have passed, with the last value
    seen. The condition is called at least once, and once more at the deadline.
    """
    deadline = time.monotonic() + deadline_seconds
    while True:
        last_look = time.monotonic() >= deadline
        value = condition()
        if value:
            return value
        if last_look:
            raise WaitTimeout(f"waited {deadline_seconds:g} seconds for {what}; last seen: {value!r}")
        time.sleep(min(interval, max(0.0, deadline - time.monotonic())))
