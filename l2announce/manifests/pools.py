"""The objects of LB-IPAM in the embedded cluster: pools and Services of a directory of YAML files, and their statuses beside them.

Fulfils ipam.ports.IpamObjects. The status of a Service is ``.cluster/services/NAMESPACE.NAME/``, with compare-and-swap on its version
(versioned.py); that of a pool is ``.cluster/status/ciliumloadbalancerippools/NAME.yaml``. When a Service goes, its status is emptied and
the version goes on, so who has not seen that writes nothing to the next Service of this name.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from l2announce.errors import ApiError
from l2announce.ipam.ports import PoolsSeen, Seen, ServiceSeen, ServicesSeen
from l2announce.manifests.cluster import statuses_place
from l2announce.manifests.live import LiveObjects, Snapshot, service_of, stored_name
from l2announce.manifests.loader import ObjectLoader
from l2announce.manifests.status import POOLS, Statuses
from l2announce.manifests.store import FileStore, StoreError
from l2announce.model.address import Address
from l2announce.model.conditions import Condition
from l2announce.model.events import ServiceEvent
from l2announce.model.objects import NamespacedName, ObjectProblem
from l2announce.model.pools import AddressPool, BalancedService
from l2announce.wire.pool_schema import BalancedStatus
from l2announce.wire.pools import POOL_KINDS, decode_stored_status, encode_stored_status, with_status

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """The status of a Service, and its version."""

    status: BalancedStatus
    version: str


class ManifestPools:
    """Pools and Services below ``directory``. One consumer of ``changes`` at a time."""

    def __init__(self, directory: Path) -> None:
        self._store = FileStore(directory, statuses_place(directory), "status", _decode)
        self._live = LiveObjects(directory, POOL_KINDS, self._store)
        self._statuses = Statuses(directory / ".cluster" / "status", POOLS)
        self._problems: tuple[ObjectProblem, ...] = ()
        self._last: Snapshot[AddressPool | BalancedService, StoredStatus] | None = None

    @property
    def problems(self) -> tuple[ObjectProblem, ...]:
        """What is wrong with objects, or with reading them."""
        return self._problems

    def read_anew(self) -> int:
        """Read the files and the statuses once more."""
        return self._live.read_anew()

    async def changes(self) -> AsyncIterator[Seen]:
        """All pools and all Services, then what changes. Errors as LiveObjects.snapshots."""
        pools: tuple[AddressPool, ...] | None = None
        services: dict[NamespacedName, BalancedService] | None = None
        reading = 0
        async for snapshot in self._live.snapshots():
            self._problems = snapshot.problems
            new = {value.key: _overlaid(value, snapshot) for value in snapshot.values.values() if isinstance(value, BalancedService)}
            new_pools = tuple(value for value in snapshot.values.values() if isinstance(value, AddressPool))
            self._last = snapshot
            again = snapshot.reading != reading
            reading = snapshot.reading
            if new_pools != pools or again:
                pools = new_pools
                yield PoolsSeen(tuple([replace(pool, conditions=await self._pool_conditions(pool.name)) for pool in pools]), reading)
            if services is None or again:
                yield ServicesSeen(tuple(new.values()), reading)
            else:
                for key in services.keys() | new.keys():
                    before, now = services.get(key), new.get(key)
                    if before != now or (before is not None and now is not None and before.version != now.version):
                        yield ServiceSeen(key, now)
            services = new

    async def write_service(self, service: BalancedService, addresses: Sequence[Address], conditions: Sequence[Condition]) -> None:
        """Write the status of a Service as it was read. ApiError 409 when it is another by now."""
        name = stored_name(service.key)
        octets = encode_stored_status(service.key, addresses, conditions)
        try:
            written = await self._store.in_time(name, lambda: self._swap(name, service.version, octets))
        except StoreError as err:
            raise ApiError(0, str(err)) from err
        if not written:
            raise ApiError(409, f"the status of service {service.key} is not of version {service.version or '0'} any more")

    async def write_pool(self, name: str, conditions: Sequence[Condition]) -> None:
        """Write the conditions of a pool."""
        try:
            await asyncio.to_thread(self._statuses.write, name, conditions)
        except OSError as err:
            raise ApiError(0, f"{err.filename}: {err.strerror}; it must be writable") from err

    async def forget_gone(self) -> None:
        """Empty the statuses of Services, and remove those of pools, that are not there any more. Not while an object may be missing only
        because its file is broken."""
        last = self._last
        if last is None or last.problems:
            return
        services = {value.key for value in last.values.values() if isinstance(value, BalancedService)}
        pools = {value.name for value in last.values.values() if isinstance(value, AddressPool)}
        for key, stored in last.statuses.items():
            if key not in services and stored.status != _EMPTY:
                try:
                    await self.write_service(BalancedService(key, version=stored.version), (), ())
                except ApiError as err:
                    _log.debug("status of %s not emptied: %s", key, err)
        try:
            await asyncio.to_thread(self._statuses.keep_only, pools)
        except OSError as err:
            _log.debug("statuses of pools that are gone not removed: %s", err)

    async def publish(self, event: ServiceEvent) -> bool:
        """Log it: there is no place for Events among manifests."""
        _log.warning(event.message, extra={"fields": {"service": str(event.service), "reason": event.reason.value}})
        return True

    def _swap(self, name: str, version: str, octets: bytes) -> bool:
        """Write, if that is the version still; "" is that of a status that was never written."""
        if not version:
            self._store.make(name)
        try:
            with self._store.open(name) as file:
                token, current = file.read()
                if (token.resource_version if current is not None else "") != version:
                    return False
                return file.replace(token, token.next(), octets)
        except FileNotFoundError:  # removed by hand
            return False

    async def _pool_conditions(self, name: str) -> tuple[Condition, ...]:
        return await asyncio.to_thread(self._statuses.read, name)


def read_pools(directory: Path) -> tuple[tuple[AddressPool, ...], tuple[BalancedService, ...], tuple[ObjectProblem, ...]]:
    """All pools, all Services, and what is wrong with any, as they are now. Writes nothing. OSError when they cannot be read."""
    loaded = ObjectLoader(directory, POOL_KINDS).refresh()
    stored = FileStore(directory, statuses_place(directory), "status", _decode).read_all()
    snapshot = Snapshot(loaded.values, loaded.problems, {service_of(name): status for name, status in stored.items()})
    values = loaded.values.values()
    pools = tuple(value for value in values if isinstance(value, AddressPool))
    return pools, tuple(_overlaid(value, snapshot) for value in values if isinstance(value, BalancedService)), loaded.problems


def _overlaid(service: BalancedService, snapshot: Snapshot[object, StoredStatus]) -> BalancedService:
    stored = snapshot.statuses.get(service.key)
    return replace(service, version="") if stored is None else with_status(service, stored.status, stored.version)


def _decode(octets: bytes, _name: str, version: str) -> StoredStatus:
    return StoredStatus(decode_stored_status(octets), version)


_EMPTY = decode_stored_status(encode_stored_status(NamespacedName("", "x"), (), ()))
