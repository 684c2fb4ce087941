"""The objects of LB-IPAM on the API server: pools and Services, watched; their statuses, written.

A Service's status is written for exactly the version that was read: whoever has not seen another's write is refused, and decides anew.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from l2announce.errors import ApiError
from l2announce.kube.reflector import Listed, Reflector, Resource
from l2announce.kube.table import Table
from l2announce.kube.transport import APPLY_PATCH, MERGE_PATCH, Transport
from l2announce.model.address import Address
from l2announce.model.conditions import Condition
from l2announce.model.objects import NamespacedName, ObjectProblem
from l2announce.model.pools import AddressPool, BalancedService
from l2announce.wire import pool_schema
from l2announce.wire.fields import decode
from l2announce.wire.pools import decode_balanced_service, decode_pool, encode_pool_status, encode_service_status

VERSIONS = ("v2", "v2alpha1")
"""Of the pools; best first."""
FIELD_MANAGER = "l2announce-ipam"
_SERVICES = Resource("/api/v1/services")


@dataclass(frozen=True, slots=True)
class PoolsSeen:
    """These are all pools."""

    pools: tuple[AddressPool, ...]


@dataclass(frozen=True, slots=True)
class ServicesSeen:
    """These are all Services."""

    services: tuple[BalancedService, ...]


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """A Service as it is now; ``service`` None: it is gone."""

    key: NamespacedName
    service: BalancedService | None


Seen: TypeAlias = PoolsSeen | ServicesSeen | ServiceSeen


class KubePools:
    """Pools in ``version`` of the API, and Services, through one Transport. One consumer of ``changes`` at a time."""

    def __init__(self, transport: Transport, version: str = VERSIONS[0]) -> None:
        self._transport = transport
        self._version = version
        self._pools = Table("CiliumLoadBalancerIPPool", lambda octets: decode_pool(decode(octets, pool_schema.CiliumLoadBalancerIPPool)))
        self._services = Table("Service", lambda octets: decode_balanced_service(decode(octets, pool_schema.BalancedService)))
        self._queue: asyncio.Queue[Seen | BaseException] = asyncio.Queue()

    @property
    def problems(self) -> tuple[ObjectProblem, ...]:
        """What is wrong with objects, or with reading them."""
        return self._pools.problems() + self._services.problems()

    async def changes(self) -> AsyncIterator[Seen]:
        """All pools and all Services, in either order, then what changes. Never ends."""
        pools = Resource(f"/apis/cilium.io/{self._version}/ciliumloadbalancerippools")
        tasks = [asyncio.create_task(self._follow(pools, self._pools)), asyncio.create_task(self._follow(_SERVICES, self._services))]
        for task in tasks:
            task.add_done_callback(self._ended)
        try:
            while True:
                seen = await self._queue.get()
                if isinstance(seen, BaseException):
                    raise seen
                yield seen
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    async def write_service(self, service: BalancedService, addresses: Sequence[Address], conditions: Sequence[Condition]) -> None:
        """Write the status of a Service as it was read. ApiError 409 when it is another by now."""
        path = f"/api/v1/namespaces/{service.key.namespace}/services/{service.key.name}/status"
        body = encode_service_status(service.version, addresses, conditions)
        await self._transport.request("PATCH", path, {"fieldManager": FIELD_MANAGER}, body, MERGE_PATCH)

    async def write_pool(self, name: str, conditions: Sequence[Condition]) -> None:
        """Apply the conditions of a pool. ApiError as the server refuses it; a pool that is gone is no error."""
        path = f"/apis/cilium.io/{self._version}/ciliumloadbalancerippools/{name}/status"
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        try:
            await self._transport.request("PATCH", path, query, encode_pool_status(self._version, name, conditions), APPLY_PATCH)
        except ApiError as err:
            if err.code != 404:
                raise

    async def _follow(self, resource: Resource, table: Table[Any]) -> None:
        async with aclosing(Reflector(self._transport, resource, failing=lambda err: self._note_failure(table, err)).changes()) as changes:
            async for change in changes:
                table.apply(change)
                if table is self._pools:
                    self._queue.put_nowait(PoolsSeen(tuple(table.values.values())))
                elif isinstance(change, Listed):
                    self._queue.put_nowait(ServicesSeen(tuple(table.values.values())))
                else:
                    key = NamespacedName(change.namespace, change.name)
                    self._queue.put_nowait(ServiceSeen(key, table.values.get((change.namespace, change.name))))
                del change

    @staticmethod
    def _note_failure(table: Table[Any], err: ApiError | None) -> None:
        table.fail(err)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (err := task.exception()) is not None:
            self._queue.put_nowait(err)
