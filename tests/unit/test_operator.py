"""How an operator begins to lead, on objects in memory: what it has seen may be behind what is, and must not be decided on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address

from l2announce.agent.operator import Operator
from l2announce.control.ports import LeasesListed
from l2announce.errors import ApiError
from l2announce.ipam.demand import IpamSettings
from l2announce.ipam.ports import PoolsSeen, Seen, ServiceSeen, ServicesSeen
from l2announce.kernel.clock import BootClock
from l2announce.model.address import Address
from l2announce.model.conditions import Condition
from l2announce.model.events import ServiceEvent
from l2announce.model.lease import LeaseWrite, WriteOutcome, Written
from l2announce.model.objects import NamespacedName
from l2announce.model.pools import AddressPool, BalancedService, Block
from l2announce.model.timing import Timing
from l2announce.wire.given import SATISFIED
from l2announce.wire.leases import lease_after

PATIENCE = 20.0
ONE = ip_address("192.0.2.1")
LAG = 0.01
"""Seconds after which a watch tells; a list takes twice that."""
TIMING = Timing(15.0, 5.0, 2.0)


class Objects:
    """Services with versions, and a watch of them that is late when it is told to be. Fulfils IpamObjects."""

    problems = ()

    def __init__(self, *names: str) -> None:
        self.services = {NamespacedName("default", name): BalancedService(NamespacedName("default", name), version="1") for name in names}
        self.pools = (AddressPool("one", (Block(start=str(ONE)),)),)
        self.late = False
        self.refused: list[str] = []
        self._version = 1
        self._queue: asyncio.Queue[Seen] = asyncio.Queue()
        self._reading = 0
        self._list()

    def _list(self) -> None:
        self._tell(PoolsSeen(self.pools, self._reading), 2 * LAG)
        self._tell(ServicesSeen(tuple(self.services.values()), self._reading), 2 * LAG)

    def _tell(self, seen: Seen, lag: float = LAG) -> None:
        asyncio.get_running_loop().call_later(lag, self._queue.put_nowait, seen)

    async def changes(self) -> AsyncIterator[Seen]:
        while True:
            yield await self._queue.get()

    def read_anew(self) -> int:
        self._reading += 1
        self.late = False
        self._list()
        return self._reading

    async def write_service(self, service: BalancedService, addresses: Sequence[Address], conditions: Sequence[Condition]) -> None:
        await asyncio.sleep(0)
        known = self.services.get(service.key)
        if known is None or known.version != service.version:
            self.refused.append(service.key.name)
            raise ApiError(409, "another version")
        self.put(service.key.name, addresses, conditions)

    def put(self, name: str, addresses: Sequence[Address], conditions: Sequence[Condition]) -> None:
        """Write a status, whoever does. One that says what the status says already makes no version, as on an API server."""
        key = NamespacedName("default", name)
        ours = next((one for one in conditions if one.type == SATISFIED), None)
        new = replace(self.services[key], ingress=tuple(addresses), conditions=tuple(conditions), condition=ours)
        if (new, new.conditions) == (self.services[key], self.services[key].conditions):
            return
        self._version += 1
        self.services[key] = replace(new, version=str(self._version))
        if not self.late:
            self._tell(ServiceSeen(key, self.services[key]))

    async def write_pool(self, name: str, conditions: Sequence[Condition]) -> None:
        """Nothing: of no interest here."""

    async def forget_gone(self) -> None:
        """Nothing: a status goes with its object."""

    async def publish(self, event: ServiceEvent) -> bool:  # noqa: ARG002 - the port's
        return True

    def given(self) -> dict[str, list[str]]:
        """The addresses of each Service, as they are."""
        return {key.name: [str(address) for address in service.ingress] for key, service in self.services.items()}

    def reason(self, name: str) -> str:
        """The reason of the condition of a Service."""
        condition = self.services[NamespacedName("default", name)].condition
        return condition.reason if condition else ""


class Leases:
    """The lease is free; every write succeeds, after ``before``, which may change what there is meanwhile."""

    trouble = ""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self._before = before

    async def watch(self) -> AsyncIterator[LeasesListed]:
        yield LeasesListed(())
        await asyncio.Event().wait()

    async def write(self, write: LeaseWrite) -> WriteOutcome:
        self._before()
        return Written(lease_after(write, "2026-01-01T00:00:00.000000Z", "1"))

    async def delete(self, name: str) -> WriteOutcome:
        raise NotImplementedError(name)


@asynccontextmanager
async def running(objects: Objects, leases: Leases) -> AsyncIterator[None]:
    """An operator."""
    operator = Operator("o1", TIMING, IpamSettings(), objects, leases, BootClock())
    task = asyncio.create_task(operator.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


def test_an_address_that_a_former_leader_gave_and_the_watch_has_not_told_is_not_given_again() -> None:
    """A Service comes and gets its address just before the lease changes hands, and the watch of the new leader is late."""

    async def story() -> None:
        objects = Objects("a")

        def last_write() -> None:
            if "z" not in objects.given():
                key = NamespacedName("default", "z")
                objects.services[key] = BalancedService(key, version="0")
                objects.late = True
                objects.put("z", (ONE,), (Condition(SATISFIED, "True", "satisfied", ""),))

        async with running(objects, Leases(last_write)):
            await until(lambda: objects.reason("a") == "out_of_ips")
            assert objects.given() == {"a": [], "z": ["192.0.2.1"]}

    asyncio.run(asyncio.wait_for(story(), PATIENCE))


def test_nothing_is_given_before_the_new_versions_have_come() -> None:
    """What it writes first makes new versions; it waits for them, so none of its own writes is refused."""

    async def story() -> None:
        objects = Objects("a", "b")
        async with running(objects, Leases()):
            await until(lambda: objects.reason("b") == "out_of_ips")
            assert objects.given() == {"a": ["192.0.2.1"], "b": []}
            assert objects.refused == []

    asyncio.run(asyncio.wait_for(story(), PATIENCE))


def test_what_changes_while_it_is_written_is_looked_at_again() -> None:
    """Somebody empties the status just after it was written, and both are seen before the answer to the write has come."""

    async def story() -> None:
        objects = Objects("a")
        emptied = asyncio.Event()

        async def slowly(service: BalancedService, addresses: Sequence[Address], conditions: Sequence[Condition]) -> None:
            await Objects.write_service(objects, service, addresses, conditions)
            if addresses and not emptied.is_set():
                objects.put("a", (), ())
                emptied.set()
                await asyncio.sleep(0.05)

        objects.write_service = slowly  # type: ignore[method-assign]
        async with running(objects, Leases()):
            await emptied.wait()
            await until(lambda: objects.given() == {"a": ["192.0.2.1"]})

    asyncio.run(asyncio.wait_for(story(), PATIENCE))
