"""The operator: of several one leads, by a Lease, and gives the addresses of pools to Services.

Only the one that leads decides, and it begins by adopting what the statuses say. A write goes out only while its right lasts, on the boot
clock, and only for the version of the Service that it has seen; and whoever begins to lead gives no address before it has written to
every Service that waits for one, as it found them in a list that it read when it led already. So of one that was frozen, and wakes when
another leads, even the write that was on its way is refused.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from l2announce.agent.events import Publisher
from l2announce.agent.operator_metrics import OperatorMetrics
from l2announce.agent.problems import ProblemLog
from l2announce.agent.writes import WriteTrouble
from l2announce.control.election import LeaseElector
from l2announce.control.ports import Clock, LeasesListed, LeaseStore
from l2announce.control.states import State
from l2announce.errors import ApiError
from l2announce.ipam.allocator import Allocator
from l2announce.ipam.demand import IpamSettings
from l2announce.ipam.ports import IpamObjects, PoolsSeen, ServiceSeen, ServicesSeen
from l2announce.ipam.refusals import Refusal
from l2announce.ipam.statuses import merged, pool_conditions, service_status, waits
from l2announce.model.events import EventReason, ServiceEvent
from l2announce.model.lease import LeaseWrite, Written
from l2announce.model.objects import NamespacedName
from l2announce.model.pools import AddressPool, BalancedService
from l2announce.model.timing import Timing

OPERATOR_LEASE = "l2announce-operator"
WRITES = 16
"""Statuses that are written at a time."""
RETRY = 1.0
"""Seconds after which a write that was refused or lost is looked at again, where no change of the object has come before."""

_log = logging.getLogger(__name__)


class Operator:
    """One candidate, and while it leads the one who allocates."""

    def __init__(
        self, identity: str, timing: Timing, settings: IpamSettings, objects: IpamObjects, leases: LeaseStore, clock: Clock
    ) -> None:
        self._settings = settings
        self._objects = objects
        self._leases = leases
        self._clock = clock
        self._elector = LeaseElector(OPERATOR_LEASE, identity, timing)
        self._pools: dict[str, AddressPool] | None = None
        self._services: dict[NamespacedName, BalancedService] | None = None
        self._allocator: Allocator | None = None
        self._due: set[NamespacedName] = set()
        self._writing: set[NamespacedName] = set()
        self._written: dict[NamespacedName, str] = {}
        self._taking_over = False
        self._term = 0
        self._read = {"pools": 0, "services": 0}
        self._seen = asyncio.Event()
        self._publisher = Publisher(objects, clock)
        self._problems = ProblemLog()
        self._lease_trouble = WriteTrouble()
        self.metrics = OperatorMetrics(lambda: self._allocator)
        self._endless: list[asyncio.Task[None]] = []
        self._unwritten: set[tuple[str, str]] = set()
        self._refusals: dict[NamespacedName, Refusal] = {}
        self._pools_due = asyncio.Event()
        self._room = asyncio.Semaphore(WRITES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._look_is_due = False

    @property
    def leads(self) -> bool:
        """Whether this is the one, now."""
        deadline = self._elector.deadline
        return deadline is not None and self._clock.now() < deadline

    async def run(self) -> None:
        """Serve until ``stop``."""
        for endless in (self._follow_objects(), self._follow_leases(), self._write_pools(), self._publisher.run()):
            self._endless.append(self._spawn(endless))
        self._look()
        try:
            await self._ended
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        """End in order: let the lease go first."""
        self._stopping = True
        self._look()

    # -- what happens

    async def _follow_objects(self) -> None:
        async for seen in self._objects.changes():
            match seen:
                case PoolsSeen(pools, reading):
                    self._read["pools"] = reading
                    self._pools = {pool.name: pool for pool in pools}
                    if self._allocator is not None:
                        self._allocator.replace_pools(pools)
                case ServicesSeen(services, reading):
                    self._read["services"] = reading
                    self._services = {service.key: service for service in services}
                    self._written = {key: version for key, version in self._written.items() if key in self._services}
                    if self._allocator is not None:
                        self._allocator.replace_services(services)
                        self._due |= self._services.keys()
                case ServiceSeen(key, service):
                    self._see(key, service)
            self._seen.set()
            self._problems.tell(self._objects.problems)
            self._look_soon()

    def _see(self, key: NamespacedName, service: BalancedService | None) -> None:
        if self._services is None:
            return
        if service is None:
            self._services.pop(key, None)
            self._written.pop(key, None)
            self._unwritten.discard(("service", str(key)))
        else:
            self._services[key] = service
        if self._allocator is not None:
            if service is None:
                self._allocator.remove_service(key)
            else:
                self._allocator.set_service(service)
                self._due.add(key)

    async def _follow_leases(self) -> None:
        async for event in self._leases.watch():
            now = self._clock.now()
            if isinstance(event, LeasesListed):
                self._elector.lease_observed(next((lease for lease in event.leases if lease.name == OPERATOR_LEASE), None), now)
            elif event.name == OPERATOR_LEASE:
                self._elector.lease_observed(event.lease, now)
            self._look()

    async def _write_lease(self, write: LeaseWrite) -> None:
        sent_at = self._clock.now()
        outcome = await self._leases.write(write)
        now = self._clock.now()
        self._lease_trouble.note(write, outcome, now)
        if isinstance(outcome, Written):
            self._elector.write_succeeded(outcome.lease, sent_at, now)
        else:
            self._elector.write_failed(outcome, now)
        self._look()

    # -- what to do about it

    def _look_soon(self) -> None:
        """Decide once about all that comes together."""
        if not self._look_is_due:
            self._look_is_due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Decide, and carry it out."""
        self._look_is_due = False
        now = self._clock.now()
        self._elector.set_eligible(self._pools is not None and self._services is not None and not self._stopping, now)
        self._lead_or_not()
        if self._elector.wants_withdrawal:
            self._elector.withdrawn(now)
        write = self._elector.next_write(now)
        if write is not None:
            self._spawn(self._write_lease(write))
        if self._allocator is not None:
            touched = self._allocator.settle()
            self._due |= touched
            if touched:
                self._pools_due.set()
                self._tell_refusals(self._allocator, touched)
            self._send_what_is_due()
        if self._stopping and self._elector.state is State.IDLE and not self._ended.done():
            self._ended.set_result(None)
        at = self._elector.next_timer()
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if at is None else loop.call_later(max(0.001, at - now), self._look)

    def _lead_or_not(self) -> None:
        """Begin with what the statuses say, as another may have led before; forget everything when it is over."""
        if not self.leads:
            if self._allocator is not None:
                _log.info("no longer leading")
            self._term += 1
            self._allocator = None
            self._due.clear()
            self._refusals.clear()
        elif self._allocator is None and not self._taking_over:
            self._taking_over = True
            self._spawn(self._take_over())

    async def _take_over(self) -> None:
        """Read all anew, outdate what a former leader may have seen of the Services that wait, then begin."""
        term = self._term
        wanted = self._objects.read_anew()
        while self._leads_since(term) and min(self._read.values()) < wanted:
            await self._something_seen()
        found = {key: (self._services or {})[key].version for key in self._new_allocator().adopt()} if self._leads_since(term) else {}
        if self._leads_since(term):
            _log.info("leading", extra={"fields": {"services": len(self._services or ()), "waiting": len(found)}})
        waiting = set(found)
        while waiting and self._leads_since(term):
            await asyncio.gather(*(self._outdate(key, waiting) for key in tuple(waiting)))
            if waiting:
                await asyncio.sleep(RETRY)
        while self._leads_since(term) and any(self._is_as_found(key, version) for key, version in found.items()):
            await self._something_seen()
        self._taking_over = False
        if self._leads_since(term):
            self._allocator = self._new_allocator()
            self._due = set(self._services or ())
            self._written.clear()
            self._pools_due.set()
        self._look()

    def _leads_since(self, term: int) -> bool:
        """Whether this one leads, and nobody can have led meanwhile."""
        return self.leads and self._term == term

    def _is_as_found(self, key: NamespacedName, version: str) -> bool:
        """Whether the newer version, which there is, has not come yet."""
        service = (self._services or {}).get(key)
        return service is not None and service.version == version

    async def _something_seen(self) -> None:
        """Return when an object was seen, or after a while."""
        self._seen.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._seen.wait(), RETRY)

    def _new_allocator(self) -> Allocator:
        """One that knows all that was seen, and has decided nothing."""
        made = Allocator(self._settings)
        made.replace_pools((self._pools or {}).values())
        made.replace_services((self._services or {}).values())
        return made

    async def _outdate(self, key: NamespacedName, waiting: set[NamespacedName]) -> None:
        """Write to a Service what it has, so that it has another version. One that has changed, or is gone, has one already."""
        service = (self._services or {}).get(key)
        try:
            async with self._room:
                if service is not None and self.leads:
                    await self._objects.write_service(service, service.ingress, waits(service, _now()))
        except ApiError as err:
            if err.code not in (404, 409):
                self._tell_unwritten("service", str(key), err)
                return
        waiting.discard(key)

    def _tell_refusals(self, allocator: Allocator, touched: Iterable[NamespacedName]) -> None:
        """An Event on each Service that is refused something, again when it is for another reason."""
        for key in touched:
            decision, service = allocator.decisions.get(key), allocator.services.get(key)
            refusal = decision.refusal if decision else None
            if refusal is None or service is None:
                if self._refusals.pop(key, None):
                    self._publisher.queue.drop(key, EventReason.ADDRESS_REFUSED)
            elif self._refusals.get(key) != refusal:
                self._refusals[key] = refusal
                self._publisher.add(
                    ServiceEvent(key, service.uid, EventReason.ADDRESS_REFUSED, f"{refusal.reason.value}: {refusal.message}")
                )

    def _send_what_is_due(self) -> None:
        ready = self._due - self._writing
        self._due -= ready  # the others are looked at when what is being written to them has been
        self._writing |= ready
        for key in ready:
            self._spawn(self._write_service(key))

    async def _write_service(self, key: NamespacedName) -> None:
        """Bring one status up to what is decided, if it is not so already."""
        try:
            async with self._room:
                while (allocator := self._allocator) is not None and (service := allocator.services.get(key)) is not None:
                    status = service_status(service, allocator.decisions.get(key), _now())
                    if status is None or self._written.get(key) == service.version or not self.leads:
                        return
                    self._written[key] = service.version
                    try:
                        await self._objects.write_service(service, status.addresses, status.conditions)
                        self.metrics.written("service", "Written")
                        self._unwritten.discard(("service", str(key)))
                    except ApiError as err:
                        self._refused(key, err)
                    return
        finally:
            self._writing.discard(key)
            if key in self._due:
                self._look_soon()

    def _refused(self, key: NamespacedName, err: ApiError) -> None:
        """Another version is on its way (409), the Service is gone (404), or the server is away: look again in a while."""
        self.metrics.written("service", "Conflict" if err.code == 409 else "Refused")
        if err.code not in (404, 409):
            self._tell_unwritten("service", str(key), err)

        def again() -> None:
            self._written.pop(key, None)
            self._due.add(key)
            self._look()

        if err.code != 404:
            asyncio.get_running_loop().call_later(RETRY, again)

    def _tell_unwritten(self, kind: str, name: str, err: ApiError) -> None:
        """Once for each object, until it was written."""
        if (kind, name) not in self._unwritten:
            self._unwritten.add((kind, name))
            _log.warning("status not written, trying again", extra={"fields": {kind: name, "why": str(err)}})

    async def _write_pools(self) -> None:
        """Bring the conditions of pools up to date, one pass at a time."""
        while True:
            await self._pools_due.wait()
            self._pools_due.clear()
            allocator = self._allocator
            if allocator is None:
                continue
            await self._objects.forget_gone()
            usage = allocator.usage()
            for one in allocator.book.pools:
                live = (self._pools or {}).get(one.pool.name)
                wanted = merged(live.conditions if live else (), pool_conditions(one, usage[one.pool.name]), _now())
                if wanted is None or not self.leads:
                    continue
                try:
                    await self._objects.write_pool(one.pool.name, wanted)
                    self.metrics.written("pool", "Written")
                    self._unwritten.discard(("pool", one.pool.name))
                    if live is not None and self._pools is not None and self._pools.get(live.name) is live:
                        self._pools[live.name] = replace(live, conditions=wanted)
                except ApiError as err:
                    self.metrics.written("pool", "Refused")
                    self._tell_unwritten("pool", one.pool.name, err)
                    asyncio.get_running_loop().call_later(RETRY, self._pools_due.set)
            await asyncio.sleep(0.1)

    def not_live(self) -> str:
        """What only a restart can mend; "" while all is well."""
        ended = sum(task.done() for task in self._endless)
        return f"{ended} of its tasks ended" if ended and not self._ended.done() else ""

    def not_ready(self) -> str:
        """Why it could not lead now; "" when it could."""
        if self._stopping:
            return "stopping"
        return "" if self._pools is not None and self._services is not None else "pools or Services were not seen yet"

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (err := task.exception()) is not None and not self._ended.done():
            self._ended.set_exception(err)


def _now() -> str:
    """The time as conditions have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
