"""Virtual time: an event queue in global time, boot clocks that run at their own rates, processes that freeze and die.

Knows nothing of leases. Global time is what an outside observer's perfect clock would show; no simulated part can read it.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

Action = Callable[[], None]


class EventQueue:
    """Actions at instants of global time, run in order; those of one instant in the order in which they were added."""

    def __init__(self) -> None:
        self.now = 0.0
        self._added = 0
        self._heap: list[tuple[float, int, Action]] = []

    def at(self, instant: float, action: Action) -> None:
        """Run ``action`` at ``instant``, or next when that has passed."""
        self._added += 1
        heapq.heappush(self._heap, (max(instant, self.now), self._added, action))

    def after(self, delay: float, action: Action) -> None:
        """Run ``action`` ``delay`` seconds from now."""
        self.at(self.now + delay, action)

    def run_until(self, end: float) -> None:
        """Run everything up to ``end``, which is then the present."""
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = end


@dataclass(frozen=True, slots=True)
class BootClock:
    """A node's CLOCK_BOOTTIME: reads ``offset`` at global 0 and gains ``rate`` seconds in each second of global time."""

    offset: float
    rate: float

    def read(self, instant: float) -> float:
        """What the clock shows at a global instant."""
        return self.offset + self.rate * instant

    def instant(self, reading: float) -> float:
        """The global instant at which the clock shows ``reading``."""
        return (reading - self.offset) / self.rate


@dataclass(slots=True)
class Process:
    """Something that runs: while it is frozen its work waits in order, when it dies its work is lost.

    A freeze is known by a token, so that overlapping freezes end one by one.
    """

    queue: EventQueue
    alive: bool = False
    life: int = 0
    _freezes: set[int] = field(default_factory=set)
    _backlog: list[Action] = field(default_factory=list)

    @property
    def running(self) -> bool:
        """Alive and not frozen."""
        return self.alive and not self._freezes

    def start(self) -> None:
        """A new life."""
        self.alive = True
        self.life += 1

    def kill(self) -> None:
        """The end of this life and of all its work."""
        self.alive = False
        self._backlog.clear()

    def freeze(self, token: int) -> None:
        """SIGSTOP, or a stalled host."""
        self._freezes.add(token)

    def thaw(self, token: int | None = None) -> None:
        """The end of one freeze, or of all; work that waited is done at once."""
        if token is None:
            self._freezes.clear()
        else:
            self._freezes.discard(token)
        while self._backlog and self.running:
            self._backlog.pop(0)()

    def deliver(self, instant: float, action: Action) -> None:
        """Work that reaches this life of the process at ``instant``."""
        life = self.life

        def arrive() -> None:
            if not self.alive or life != self.life:
                return
            if self._freezes:
                self._backlog.append(arrive)
            else:
                action()

        self.queue.at(instant, arrive)
