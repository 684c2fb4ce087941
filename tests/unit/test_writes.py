"""The order of lease writes, against a store that answers when the test says so."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from l2announce.agent.writes import ACQUISITIONS, GIVEN_UP, SAID_AGAIN, LeaseWriter, WriteTrouble
from l2announce.control.ports import LeaseObserved, LeasesListed
from l2announce.model.address import Instant
from l2announce.model.lease import HEARTBEAT_PREFIX, Conflict, Lease, LeaseWrite, Unreachable, Verb, WriteOutcome, Written


class SteppedClock:
    """Stands still until it is set."""

    def __init__(self, at: Instant) -> None:
        self.at = at

    def now(self) -> Instant:
        """Where it stands."""
        return self.at


class SlowStore:
    """Holds every answer back until ``answer``."""

    def __init__(self) -> None:
        self.trouble = ""
        self.under_way: dict[str, asyncio.Future[WriteOutcome]] = {}

    async def watch(self) -> AsyncIterator[LeasesListed | LeaseObserved]:
        """Nothing ever changes."""
        return
        yield LeasesListed(())

    async def write(self, write: LeaseWrite) -> WriteOutcome:
        """Wait for ``answer``."""
        self.under_way[write.name] = asyncio.get_running_loop().create_future()
        return await self.under_way[write.name]

    async def delete(self, name: str) -> WriteOutcome:
        """Not needed here."""
        raise AssertionError(name)

    def answer(self, name: str) -> None:
        """Answer one write."""
        self.under_way.pop(name).set_result(Conflict())


def a_write(verb: Verb, name: str) -> LeaseWrite:
    return LeaseWrite(verb, name, "n1", 15.0, None if verb is Verb.ACQUIRE else Lease(name, "n1", 15.0, "1"))


async def turn() -> None:
    """Let everything that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_renewals_pass_acquisitions_that_wait() -> None:
    async def run() -> None:
        store, clock = SlowStore(), SteppedClock(100.0)
        writer = LeaseWriter(store, clock, lambda: False)
        async with asyncio.TaskGroup() as tasks:
            acquiring = [tasks.create_task(writer.write(a_write(Verb.ACQUIRE, f"new-{number}"))) for number in range(ACQUISITIONS + 1)]
            await turn()
            assert len(store.under_way) == ACQUISITIONS
            urgent = [a_write(Verb.RENEW, "kept"), a_write(Verb.RELEASE, "left"), a_write(Verb.ACQUIRE, HEARTBEAT_PREFIX + "n1")]
            kept = [tasks.create_task(writer.write(write)) for write in urgent]
            await turn()
            assert {write.name for write in urgent} <= store.under_way.keys()
            clock.at = 107.0
            store.answer("new-0")
            await turn()
            assert f"new-{ACQUISITIONS}" in store.under_way, "one ended, so that the next may go"
            for name in list(store.under_way):
                store.answer(name)
        assert acquiring[0].result() == (Conflict(), 100.0)
        assert acquiring[-1].result() == (Conflict(), 107.0), "its right counts from when it was sent, not from when it was wanted"
        assert [task.result() for task in kept] == [(Conflict(), 100.0)] * len(urgent)

    asyncio.run(run())


def test_what_waits_when_the_agent_stops_is_not_tried() -> None:
    async def run() -> None:
        store, stopping = SlowStore(), False
        writer = LeaseWriter(store, SteppedClock(100.0), lambda: stopping)
        async with asyncio.TaskGroup() as tasks:
            acquiring = [tasks.create_task(writer.write(a_write(Verb.ACQUIRE, f"new-{number}"))) for number in range(ACQUISITIONS + 1)]
            await turn()
            stopping = True
            for name in list(store.under_way):
                store.answer(name)
        assert acquiring[-1].result()[0] == Unreachable(f"lease new-{ACQUISITIONS}: not tried, as this agent stops")

    asyncio.run(run())


def test_trouble_with_the_store_is_said_once_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trouble = WriteTrouble()
    writes = [a_write(Verb.RENEW, f"lease-{number}") for number in range(3)]
    for now in (0.0, 1.0, 2.0):
        for write in writes:
            trouble.note(write, Unreachable(f"lease {write.name}: No space left on device"), now)
    assert [record.message for record in caplog.records] == ["lease not written"]
    trouble.note(writes[0], Unreachable("forbidden"), 3.0)
    assert len(caplog.records) == 2, "another reason is told"
    for write in writes:
        assert write.base is not None
        trouble.note(write, Conflict(), 4.0)
        trouble.note(write, Written(write.base), 4.0)
    assert [record.message for record in caplog.records][2:] == ["leases are written again"]
    trouble.note(writes[0], Unreachable("forbidden"), 5.0)
    assert len(caplog.records) == 4, "trouble that comes back is told again"


def test_lasting_trouble_is_said_each_minute_and_forgotten_when_nobody_tries_any_more(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trouble = WriteTrouble()
    gone, other = a_write(Verb.RENEW, "gone"), a_write(Verb.RENEW, "other")
    for now in (0.0, SAID_AGAIN - 1, SAID_AGAIN):
        trouble.note(gone, Unreachable("away"), now)
    assert len(caplog.records) == 2
    assert other.base is not None
    trouble.note(other, Written(other.base), SAID_AGAIN + 1)
    assert len(caplog.records) == 2, "one lease is still in trouble"
    trouble.note(other, Written(other.base), SAID_AGAIN + GIVEN_UP)
    assert [record.message for record in caplog.records][2:] == ["leases are written again"]
