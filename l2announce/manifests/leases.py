"""The leases of the embedded cluster: ``DIR/.cluster/leases/NAMESPACE/NAME/``, shared by every agent of one machine.

Fulfils control.ports.LeaseStore. How one lease is stored is in leasefile.py. Decides nothing about leases.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from asyncinotify import Event, Mask

from l2announce.control.ports import LeaseObserved, LeasesListed
from l2announce.errors import ConfigurationError
from l2announce.manifests.inotify import LOST, TRY_AGAIN, Watcher, refusal, wait_until_there
from l2announce.manifests.leasefile import DamagedLeaseError, LeaseFile, create, is_token
from l2announce.model.lease import Conflict, Lease, LeaseWrite, Unreachable, WriteOutcome, Written
from l2announce.model.names import is_name
from l2announce.wire.leases import encode_lease, lease_after

TIME_LIMIT = 3.0
"""Seconds after which a write counts as unanswered."""

LEFT_OVER = 60.0
"""Seconds after which a directory that its maker never finished is removed."""

_log = logging.getLogger(__name__)


class FileLeases:
    """The leases of one namespace below ``directory``. ``wall_clock`` gives seconds since 1970, for the times that leases carry."""

    def __init__(
        self, directory: Path, namespace: str, wall_clock: Callable[[], float] = time.time, time_limit: float = TIME_LIMIT
    ) -> None:
        if not is_name(namespace, label=True):
            raise ConfigurationError(f"lease namespace {namespace!r}: is not a namespace; use lower-case letters, digits and '-'")
        self._directory = directory
        self._namespace = namespace
        self._place = _place(directory, namespace)
        self._wall_clock = wall_clock
        self._time_limit = time_limit
        self._changed: set[str] = set()
        self._rebuild = False
        self._refused: dict[str, str] = {}
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
        """LeasesListed, then LeaseObserved for each lease that changed. After a gap, LeasesListed again. One consumer at a time.

        A lease that changes again before it was read is reported once, with its last value. One that cannot be watched or read is told in
        the log and tried again every ``TRY_AGAIN`` seconds; until then it stands as it was last seen. ConfigurationError when the place of
        the leases cannot be made or watched at the start; later that, too, is tried again.
        """
        started = False
        while True:
            try:
                await wait_until_there(self._directory)
                with Watcher(self._note) as watcher:
                    async for event in self._watch_once(watcher):
                        started = True
                        yield event
            except ConfigurationError as err:
                if not started:
                    raise
                _log.warning("%s; trying again every %g s", err, TRY_AGAIN)
                await asyncio.sleep(TRY_AGAIN)

    async def _watch_once(self, watcher: Watcher) -> AsyncIterator[LeasesListed | LeaseObserved]:
        """The list and the changes after it, until the watches must be built anew."""
        self._changed, self._rebuild, self._refused = set(), False, {}
        try:
            seen = await asyncio.to_thread(self._list, watcher)
        except FileNotFoundError:  # the directory went away meanwhile
            return
        except OSError as err:
            message = f"{err.filename or self._place}: {refusal(err)}; leases need a directory that the agent can write and watch"
            raise ConfigurationError(message) from err
        yield LeasesListed(tuple(lease for lease in seen.values() if lease is not None))
        while not self._rebuild:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(watcher.wait(), TRY_AGAIN if self._refused else None)
            names, self._changed = sorted(self._changed | self._refused.keys()), set()
            for name, lease in (await asyncio.to_thread(self._look, watcher, names)).items():
                if lease != seen.get(name):
                    seen[name] = lease
                    yield LeaseObserved(name, lease)

    async def _in_time(self, name: str, work: Callable[[], WriteOutcome]) -> WriteOutcome:
        if not is_name(name):
            return Unreachable(f"lease {name!r}: is not the name of a Lease")
        try:
            return await asyncio.wait_for(asyncio.to_thread(work), self._time_limit)
        except TimeoutError:
            return Unreachable(f"lease {name}: the disk of {self._place} did not answer within {self._time_limit:g} s")
        except OSError as err:
            return Unreachable(f"lease {name}: {err.filename or self._place}: {err.strerror}; it must be there and writable")
        except DamagedLeaseError as err:
            return Unreachable(f"lease {name}: {err}")

    def _write(self, write: LeaseWrite) -> WriteOutcome:
        path = self._place / write.name
        if write.base is None and not path.is_dir():
            self._make_place()
            create(self._place, write.name)
        try:
            with LeaseFile(path) as file:
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
        try:
            with LeaseFile(self._place / name) as file:
                while True:
                    token, current = file.read()
                    if current is None:
                        return Conflict(None)
                    if file.replace(token, token.next(deleted=True), None):
                        return Written(current)
        except FileNotFoundError:
            return Conflict(None)

    def _list(self, watcher: Watcher) -> dict[str, Lease | None]:
        """Watch the namespace, then every lease in it, then read each: whatever changes meanwhile is an event.

        The directories above are watched for their own going: a renamed one takes those below along without a word from them.
        """
        self._make_place()
        for above in (self._directory, *_between(self._directory, self._place)):
            watcher.add(above, Mask(0))
        watcher.add(self._place, Mask.MOVED_TO | Mask.CREATE)
        self._remove_left_overs()
        return dict(self._look(watcher, _lease_names(self._place)))

    def _look(self, watcher: Watcher, names: list[str]) -> Mapping[str, Lease | None]:
        """Watch and read each lease. One that the kernel refuses is left out if it cannot be read, and looked at again later."""
        found: dict[str, Lease | None] = {}
        for name in names:
            path, refused = self._place / name, ""
            try:
                try:
                    watcher.add(path, Mask.MOVED_TO)
                except (FileNotFoundError, NotADirectoryError):
                    found[name] = None
                except OSError as err:
                    refused = f"cannot be watched: {refusal(err)}"
                if name not in found:
                    found[name] = _read(path)
            except OSError as err:
                refused = f"cannot be read: {refusal(err)}"
            self._note_refusal(name, refused)
        return found

    def _note_refusal(self, name: str, refused: str) -> None:
        """Remember which leases to try again, and tell each trouble once."""
        if not refused:
            self._refused.pop(name, None)
        elif self._refused.get(name) != refused:
            self._refused[name] = refused
            message = f"lease {self._place / name}: {refused}; trying again every {TRY_AGAIN:g} s"
            _log.warning(message, extra={"fields": {"object": name, "reason": "NotWatched"}})

    def _note(self, event: Event) -> None:
        path = event.path
        if event.mask & LOST or path is None:
            self._rebuild = True
        elif path.parent == self._place:
            if event.mask & Mask.ISDIR and not path.name.startswith("."):
                self._changed.add(path.name)
        elif is_token(path.name):
            self._changed.add(path.parent.name)

    def _make_place(self) -> None:
        if not self._directory.is_dir():
            raise FileNotFoundError(2, "No such directory", str(self._directory))
        self._place.mkdir(parents=True, exist_ok=True)

    def _remove_left_overs(self) -> None:
        """Remove directories of makers that were killed before they were done; one that is only slow fails, and tries again."""
        for path in self._place.glob(".*"):
            try:
                if self._wall_clock() - path.stat().st_mtime > LEFT_OVER:
                    for file in path.iterdir():
                        file.unlink()
                    path.rmdir()
            except OSError as err:
                _log.debug("%s: not removed: %s", path, err)


def read_leases(directory: Path, namespace: str) -> tuple[Lease, ...]:
    """The leases of one namespace below ``directory``, sorted by name; none when nobody has written any. Writes nothing.

    OSError when they cannot be read.
    """
    place = _place(directory, namespace)
    if not place.is_dir():
        return ()
    return tuple(lease for name in _lease_names(place) if (lease := _read(place / name)) is not None)


def _place(directory: Path, namespace: str) -> Path:
    return directory / ".cluster" / "leases" / namespace


def _between(top: Path, place: Path) -> list[Path]:
    """The directories below ``top`` and above ``place``."""
    return [path for path in place.parents if top in path.parents]


def _lease_names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read(path: Path) -> Lease | None:
    try:
        with LeaseFile(path) as file:
            return file.read()[1]
    except FileNotFoundError:
        return None
    except DamagedLeaseError as err:
        _log.warning("%s", err)
        return None


def _micro_time(seconds: float) -> str:
    """RFC 3339 with microseconds, as metav1.MicroTime."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
