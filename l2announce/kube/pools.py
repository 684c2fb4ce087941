"""The objects of LB-IPAM on the API server: pools and Services, watched; their statuses, written.

A Service's status is written for exactly the version that was read: whoever has not seen another's write is refused, and decides anew.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

from l2announce.errors import ApiError
from l2announce.ipam.ports import PoolsSeen, Seen, ServiceSeen, ServicesSeen
from l2announce.kube.definitions import best_version, decode_definition, definition
from l2announce.kube.events import ServiceEvents
from l2announce.kube.reflector import Change, Listed, Reflector, Resource
from l2announce.kube.table import Table
from l2announce.kube.transport import APPLY_PATCH, MERGE_PATCH, Transport
from l2announce.model.address import Address
from l2announce.model.conditions import Condition
from l2announce.model.events import ServiceEvent
from l2announce.model.objects import NamespacedName, ObjectProblem
from l2announce.model.pools import BalancedService
from l2announce.wire import pool_schema
from l2announce.wire.fields import decode
from l2announce.wire.pools import decode_balanced_service, decode_pool, encode_pool_status, encode_service_status

DEFINITION = "ciliumloadbalancerippools.cilium.io"
VERSIONS = ("v2", "v2alpha1")
"""Of the pools; best first."""
FIELD_MANAGER = "l2announce-ipam"
_SERVICES = Resource("/api/v1/services")

_log = logging.getLogger(__name__)


class KubePools:
    """Pools, in the best version that the server has, and Services, through one Transport; fulfils ipam.ports.IpamObjects.

    One consumer of ``changes`` at a time.
    """

    def __init__(self, transport: Transport, identity: str) -> None:
        """``identity``: from whom Events come."""
        self._transport = transport
        self._events = ServiceEvents(transport, identity)
        self._version: str | None = None
        self._definition = Table("CustomResourceDefinition", decode_definition)
        self._pools = Table("CiliumLoadBalancerIPPool", lambda octets: decode_pool(decode(octets, pool_schema.CiliumLoadBalancerIPPool)))
        self._services = Table("Service", lambda octets: decode_balanced_service(decode(octets, pool_schema.BalancedService)))
        self._queue: asyncio.Queue[Seen | BaseException] = asyncio.Queue()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reading = 0

    @property
    def problems(self) -> tuple[ObjectProblem, ...]:
        """What is wrong with objects, or with reading them."""
        missing: tuple[ObjectProblem, ...] = ()
        if self._definition.is_complete and self._version is None:
            message = "the API server does not have this CustomResourceDefinition, so no address is given; apply policies/crds"
            missing = (ObjectProblem(f"customresourcedefinition/{DEFINITION}", "NotInstalled", message),)
        return missing + self._definition.problems() + self._pools.problems() + self._services.problems()

    async def changes(self) -> AsyncIterator[Seen]:
        """All pools and all Services, in either order, then what changes. No pools where there is no definition of them. Never ends."""
        self._start("definition", self._follow_definition())
        self._start_services()
        try:
            while True:
                seen = await self._queue.get()
                if isinstance(seen, BaseException):
                    raise seen
                yield seen
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def read_anew(self) -> int:
        """List both again; a list without a version is as new as the server's data when it is asked for."""
        self._reading += 1
        if "services" in self._tasks:
            self._stop("services")
            self._start_services()
        if "pools" in self._tasks:
            self._stop("pools")
            self._start_pools()
        elif self._definition.is_complete:
            self._queue.put_nowait(PoolsSeen((), self._reading))
        return self._reading

    async def write_service(self, service: BalancedService, addresses: Sequence[Address], conditions: Sequence[Condition]) -> None:
        """Write the status of a Service as it was read. ApiError 409 when it is another by now."""
        path = f"/api/v1/namespaces/{service.key.namespace}/services/{service.key.name}/status"
        body = encode_service_status(service.version, addresses, conditions)
        with _remedied("services/status"):
            await self._transport.request("PATCH", path, {"fieldManager": FIELD_MANAGER}, body, MERGE_PATCH)

    async def write_pool(self, name: str, conditions: Sequence[Condition]) -> None:
        """Apply the conditions of a pool. ApiError as the server refuses it; a pool that is gone is no error."""
        path = f"/apis/cilium.io/{self._version}/ciliumloadbalancerippools/{name}/status"
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        if self._version is None:
            return
        try:
            with _remedied("ciliumloadbalancerippools/status"):
                await self._transport.request("PATCH", path, query, encode_pool_status(self._version, name, conditions), APPLY_PATCH)
        except ApiError as err:
            if err.code != 404:
                raise

    async def forget_gone(self) -> None:
        """Nothing: a status goes with its object."""

    async def publish(self, event: ServiceEvent) -> bool:
        """Create an Event on a Service, or count one more."""
        return await self._events.publish(event)

    async def _follow_definition(self) -> None:
        def tell(_: Change) -> None:
            version = best_version(self._definition.values, VERSIONS)
            if version == self._version and "pools" in self._tasks:
                return
            if version is None and self._definition.values:
                return  # there is one, which is not ready, or no longer for a moment: what was known stays
            self._version = version
            self._stop("pools")
            if version is None:
                self._queue.put_nowait(PoolsSeen((), self._reading))
            else:
                self._start_pools()

        await self._follow(definition(DEFINITION), self._definition, tell)

    async def _follow(self, resource: Resource, table: Table[Any], tell: Callable[[Change], None]) -> None:
        def failing(err: ApiError | None) -> None:
            if table.fail(err) and err is not None:
                _log.warning(table.problems()[0].message, extra={"fields": {"object": table.problems()[0].subject}})

        async with aclosing(Reflector(self._transport, resource, failing=failing).changes()) as changes:
            async for change in changes:
                table.apply(change)
                tell(change)
                del change  # a list may be many MiB, and the next change hours away

    def _tell_pools(self, _: Change) -> None:
        self._queue.put_nowait(PoolsSeen(tuple(self._pools.values.values()), self._reading))

    def _tell_services(self, change: Change) -> None:
        if isinstance(change, Listed):
            self._queue.put_nowait(ServicesSeen(tuple(self._services.values.values()), self._reading))
        else:
            key = (change.namespace, change.name)
            self._queue.put_nowait(ServiceSeen(NamespacedName(*key), self._services.values.get(key)))

    def _start_services(self) -> None:
        self._start("services", self._follow(_SERVICES, self._services, self._tell_services))

    def _start_pools(self) -> None:
        pools = Resource(f"/apis/cilium.io/{self._version}/ciliumloadbalancerippools")
        self._start("pools", self._follow(pools, self._pools, self._tell_pools))

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = asyncio.create_task(work)
        self._tasks[name].add_done_callback(self._ended)

    def _stop(self, name: str) -> None:
        if name in self._tasks:
            self._tasks.pop(name).cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (err := task.exception()) is not None:
            self._queue.put_nowait(err)


@contextmanager
def _remedied(resource: str) -> Iterator[None]:
    """A refusal for want of rights says which."""
    try:
        yield
    except ApiError as err:
        if err.code != 403:
            raise
        raise ApiError(err.code, f"{err}; grant patch on {resource}") from err
