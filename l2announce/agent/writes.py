"""The order in which lease writes go out: renewals, releases and heartbeats at once, acquisitions a few at a time.

A renewal that comes late costs an address its owner, an acquisition that comes late only time. So however many leases have become free
at once, there is always room for those that are held.

What a store that is away or full says is logged once, not once for each lease and try.
"""

import asyncio
import logging
from collections.abc import Callable

from l2announce.control.heartbeat import is_heartbeat
from l2announce.control.ports import Clock, LeaseStore
from l2announce.model.address import Instant
from l2announce.model.lease import LeaseWrite, Unreachable, Verb, WriteOutcome, Written

ACQUISITIONS = 16
"""Leases that are being acquired at a time: half of the connections that there are for writes."""
SAID_AGAIN = 60.0
"""Seconds after which the same trouble is worth another line."""
GIVEN_UP = 5.0
"""Seconds without a failure after which a lease is no longer in trouble: nobody tries, perhaps as another node has it."""

_log = logging.getLogger(__name__)


class WriteTrouble:
    """Logs what keeps leases from being written: each reason once a minute, whichever leases it befalls, and that it is over."""

    def __init__(self) -> None:
        self._failing: dict[str, Instant] = {}
        self._said: dict[str, Instant] = {}

    def note(self, write: LeaseWrite, outcome: WriteOutcome, now: Instant) -> None:
        """Note what came of a write. A conflict is none of it: another node was faster."""
        if isinstance(outcome, Unreachable):
            self._failing[write.name] = now
            reason = outcome.reason.replace(write.name, "")
            level = logging.DEBUG if now < self._said.get(reason, -SAID_AGAIN) + SAID_AGAIN else logging.WARNING
            if level is logging.WARNING:
                self._said[reason] = now
            _log.log(level, "lease not written", extra={"fields": {"lease": write.name, "verb": write.verb.value, "why": outcome.reason}})
        elif isinstance(outcome, Written) and self._failing:
            self._failing.pop(write.name, None)
            self._failing = {name: at for name, at in self._failing.items() if now < at + GIVEN_UP}
            if not self._failing:
                self._said.clear()
                _log.info("leases are written again")


class LeaseWriter:
    """Writes to ``leases``. Once ``is_stopping`` says so, acquisitions that still wait are not tried."""

    def __init__(self, leases: LeaseStore, clock: Clock, is_stopping: Callable[[], bool]) -> None:
        self._leases = leases
        self._clock = clock
        self._is_stopping = is_stopping
        self._acquisitions = asyncio.Semaphore(ACQUISITIONS)
        self._trouble = WriteTrouble()

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
        outcome = await self._leases.write(write)
        self._trouble.note(write, outcome, self._clock.now())
        return outcome, sent_at
