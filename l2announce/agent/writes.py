"""The order in which lease writes go out: renewals, releases and heartbeats at once, acquisitions a few at a time.

A renewal that comes late costs an address its owner, an acquisition that comes late only time. So however many leases have become free
at once, there is always room for those that are held.
"""

import asyncio
from collections.abc import Callable

from l2announce.control.heartbeat import is_heartbeat
from l2announce.control.ports import Clock, LeaseStore
from l2announce.model.address import Instant
from l2announce.model.lease import LeaseWrite, Unreachable, Verb, WriteOutcome

ACQUISITIONS = 16
"""Leases that are being acquired at a time: half of the connections that there are for writes."""


class LeaseWriter:
    """Writes to ``leases``. Once ``is_stopping`` says so, acquisitions that still wait are not tried."""

    def __init__(self, leases: LeaseStore, clock: Clock, is_stopping: Callable[[], bool]) -> None:
        self._leases = leases
        self._clock = clock
        self._is_stopping = is_stopping
        self._acquisitions = asyncio.Semaphore(ACQUISITIONS)

    async def write(self, write: LeaseWrite) -> tuple[WriteOutcome, Instant]:
        """What came of a write, and an instant before it was sent."""
        if write.verb is not Verb.ACQUIRE or is_heartbeat(write.name):
            return await self._send(write)
        async with self._acquisitions:
            if self._is_stopping():
                return Unreachable(f"lease {write.name}: not tried, as this agent stops"), self._clock.now()
            return await self._send(write)

    async def _send(self, write: LeaseWrite) -> tuple[WriteOutcome, Instant]:
        sent_at = self._clock.now()
        return await self._leases.write(write), sent_at
