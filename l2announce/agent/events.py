"""Events about Services, told without flooding: each agent tells few in a second, and the same about a Service once in a while."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from l2announce.control.ports import Clock
from l2announce.model.address import NEVER, Instant
from l2announce.model.events import EventReason, ServiceEvent
from l2announce.model.objects import NamespacedName

BURST = 25
"""Events that may follow each other at once;"""
RATE = 5.0
"""then so many in a second. An agent that wins a thousand Services tells them all within minutes, and nothing waits for it."""
QUIET = 60.0
"""Seconds between two Events of one reason about one Service: the latest is told."""
CAPACITY = 2000
"""Events that wait at most; beyond it new ones are dropped: there are so many that nobody reads them."""

Key = tuple[NamespacedName, EventReason]


@dataclass(slots=True)
class EventQueue:
    """Events that wait for their turn, first come, first told. Reads no clock."""

    dropped: int = 0
    _waiting: dict[Key, ServiceEvent] = field(default_factory=dict)
    _told_at: dict[Key, Instant] = field(default_factory=dict)
    _free_at: Instant = NEVER

    def add(self, event: ServiceEvent) -> None:
        """Tell ``event`` some time, instead of one about the same that still waits."""
        key = (event.service, event.reason)
        if key in self._waiting or len(self._waiting) < CAPACITY:
            self._waiting[key] = event
        else:
            self.dropped += 1

    def drop(self, service: NamespacedName, reason: EventReason) -> None:
        """It is not so any more: what waits is not told."""
        self._waiting.pop((service, reason), None)

    def take(self, now: Instant) -> ServiceEvent | None:
        """The Event to tell now; None when there is none, or none may be told yet."""
        self._told_at = {key: at for key, at in self._told_at.items() if now < at + QUIET}
        key = next((key for key in self._waiting if key not in self._told_at), None)
        if key is None or now < self._free_at - (BURST - 1) / RATE:
            return None
        self._free_at = max(self._free_at, now) + 1 / RATE
        self._told_at[key] = now
        return self._waiting.pop(key)

    def next_timer(self) -> Instant | None:
        """When ``take`` may have something, even if nothing is added; None: never."""
        if not self._waiting:
            return None
        quiet = min(self._told_at[key] + QUIET if key in self._told_at else NEVER for key in self._waiting)
        return max(quiet, self._free_at - (BURST - 1) / RATE)


class EventSink(Protocol):
    """Where Events are told."""

    async def publish(self, event: ServiceEvent) -> bool:
        """Tell one; False when it was refused."""


class Publisher:
    """Tells Events through ``cluster``, one at a time. What cannot be told is lost: an Event is news, not state."""

    def __init__(self, cluster: EventSink, clock: Clock) -> None:
        self.queue = EventQueue()
        self._cluster = cluster
        self._clock = clock
        self._added = asyncio.Event()

    def add(self, event: ServiceEvent) -> None:
        """Tell ``event`` when its turn comes."""
        self.queue.add(event)
        self._added.set()

    async def run(self) -> None:
        """Never ends."""
        while True:
            self._added.clear()
            while (event := self.queue.take(self._clock.now())) is not None:
                await self._cluster.publish(event)
            at = self.queue.next_timer()
            try:
                async with asyncio.timeout(None if at is None else max(0.01, at - self._clock.now())):
                    await self._added.wait()
            except TimeoutError:
                pass
