"""The leases of the embedded cluster: ``DIR/.cluster/leases/NAMESPACE/NAME/``, shared by every agent of one machine.

Fulfils control.ports.LeaseStore. How they are stored is in store.py. Decides nothing about leases.
"""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from l2announce.control.ports import LeaseObserved, LeasesListed
from l2announce.errors import ConfigurationError
from l2announce.manifests.store import TIME_LIMIT, AllListed, FileStore, StoreError
from l2announce.model.lease import Conflict, Lease, LeaseWrite, Unreachable, WriteOutcome, Written
from l2announce.model.names import is_name
from l2announce.wire.leases import decode_lease, encode_lease, lease_after


class FileLeases:
    """The leases of one namespace below ``directory``. ``wall_clock`` gives seconds since 1970, for the times that leases carry."""

    def __init__(
        self, directory: Path, namespace: str, wall_clock: Callable[[], float] = time.time, time_limit: float = TIME_LIMIT
    ) -> None:
        if not is_name(namespace, label=True):
            raise ConfigurationError(f"lease namespace {namespace!r}: is not a namespace; use lower-case letters, digits and '-'")
        self._namespace = namespace
        self._wall_clock = wall_clock
        self._store = _store(directory, namespace, time_limit)
        self.trouble = ""
        """What the last write has failed with."""

    async def write(self, write: LeaseWrite) -> WriteOutcome:
        """Try one write, once. Unreachable when the disk refuses it, or when the time limit is over: then it may still happen."""
        outcome = await self._in_time(write.name, lambda: self._write(write))
        self.trouble = outcome.reason if isinstance(outcome, Unreachable) else ""
        return outcome

    async def delete(self, name: str) -> WriteOutcome:
        """Delete a lease, whoever holds it. Written with the lease that was deleted, Conflict when there is none."""
        return await self._in_time(name, lambda: self._delete(name))

    async def watch(self) -> AsyncIterator[LeasesListed | LeaseObserved]:
        """LeasesListed, then LeaseObserved for each lease that changed, as FileStore.watch."""
        async for event in self._store.watch():
            yield LeasesListed(tuple(event.values.values())) if isinstance(event, AllListed) else LeaseObserved(event.name, event.value)

    async def _in_time(self, name: str, work: Callable[[], WriteOutcome]) -> WriteOutcome:
        try:
            return await self._store.in_time(name, work)
        except StoreError as err:
            return Unreachable(str(err))

    def _write(self, write: LeaseWrite) -> WriteOutcome:
        if write.base is None:
            self._store.make(write.name)
        try:
            with self._store.open(write.name) as file:
                token, current = file.read()
                matches = current is None if write.base is None else token.resource_version == write.base.resource_version
                if not matches:
                    return Conflict(current)
                new = token.next()
                lease = lease_after(write, _micro_time(self._wall_clock()), new.resource_version)
                if file.replace(token, new, encode_lease(lease, self._namespace)):
                    return Written(lease)
                return Conflict(file.read()[1])
        except FileNotFoundError:  # the directory was removed by hand
            return Conflict(None)

    def _delete(self, name: str) -> WriteOutcome:
        deleted = self._store.delete(name)
        return Conflict(None) if deleted is None else Written(deleted)


def read_leases(directory: Path, namespace: str) -> tuple[Lease, ...]:
    """The leases of one namespace below ``directory``, sorted by name; none when nobody has written any. Writes nothing.

    OSError when they cannot be read.
    """
    return tuple(_store(directory, namespace).read_all().values())


def decode_stored(octets: bytes, name: str, resource_version: str) -> Lease:
    """A lease as it is stored; its directory knows name and version. ObjectError as decode_lease."""
    return replace(decode_lease(octets), name=name, resource_version=resource_version)


def _store(directory: Path, namespace: str, time_limit: float = TIME_LIMIT) -> FileStore[Lease]:
    return FileStore(directory, directory / ".cluster" / "leases" / namespace, "lease", decode_stored, time_limit)


def _micro_time(seconds: float) -> str:
    """RFC 3339 with microseconds, as metav1.MicroTime."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
