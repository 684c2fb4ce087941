"""When which lease wants to be looked at: a queue of timers of which each name has at most one."""

import heapq
from collections.abc import Iterator

from l2announce.model.address import Instant


class Wakeups:
    """Timers by name; setting one replaces it."""

    def __init__(self) -> None:
        self._at: dict[str, Instant] = {}
        self._queue: list[tuple[Instant, str]] = []

    def set(self, name: str, at: Instant | None) -> None:
        """Wake ``name`` at ``at``, and at no other time; None: not at all."""
        if at is None:
            self._at.pop(name, None)
        elif self._at.get(name) != at:
            self._at[name] = at
            heapq.heappush(self._queue, (at, name))

    def next_timer(self) -> Instant | None:
        """The earliest timer."""
        while self._queue and self._at.get(self._queue[0][1]) != self._queue[0][0]:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def due(self, now: Instant) -> Iterator[str]:
        """Take the names whose time has come, earliest first, each once."""
        while (at := self.next_timer()) is not None and at <= now:
            name = heapq.heappop(self._queue)[1]
            del self._at[name]
            yield name
