"""Objects of one kind, each a directory of versions (versioned.py) below one place of ``DIR/.cluster/``: read, watched and written.

Shared by every process of one machine. Decides nothing about what it stores.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from asyncinotify import Event, Mask

from l2announce.errors import ConfigurationError
from l2announce.manifests.inotify import LOST, TRY_AGAIN, Watcher, refusal, wait_until_there
from l2announce.manifests.versioned import DamagedError, Decoder, T, VersionedFile, create, is_token
from l2announce.model.names import is_name

TIME_LIMIT = 3.0
"""Seconds after which a write counts as unanswered."""

LEFT_OVER = 60.0
"""Seconds after which a directory that its maker never finished is removed."""

R = TypeVar("R")

_log = logging.getLogger(__name__)


class StoreError(Exception):
    """A write or a read that did not come about, one sentence. After the time limit it may still happen."""


@dataclass(frozen=True, slots=True)
class AllListed(Generic[T]):
    """All objects at one moment, by name."""

    values: Mapping[str, T]


@dataclass(frozen=True, slots=True)
class OneChanged(Generic[T]):
    """An object as it is now; None: it was deleted."""

    name: str
    value: T | None


class FileStore(Generic[T]):
    """The objects at ``place``, which is below ``directory``; ``kind`` is what messages call one of them."""

    def __init__(self, directory: Path, place: Path, kind: str, decoder: Decoder[T], time_limit: float = TIME_LIMIT) -> None:
        self._directory = directory
        self._place = place
        self._kind = kind
        self._decoder = decoder
        self._time_limit = time_limit
        self._changed: set[str] = set()
        self._rebuild = False
        self._refused: dict[str, str] = {}

    async def watch(self) -> AsyncIterator[AllListed[T] | OneChanged[T]]:
        """AllListed, then OneChanged for each object that changed. After a gap, AllListed again. One consumer at a time.

        An object that changes again before it was read is reported once, with its last value. One that cannot be watched or read is told
        in the log and tried again every ``TRY_AGAIN`` seconds; until then it stands as it was last seen. ConfigurationError when the place
        cannot be made or watched at the start; later that, too, is tried again.
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

    async def in_time(self, name: str, work: Callable[[], R]) -> R:
        """The result of ``work``, which reads or writes the object of this name, in a thread; StoreError when there is none in time."""
        if not is_name(name):
            raise StoreError(f"{self._kind} {name!r}: is not the name of a {self._kind.capitalize()}")
        try:
            return await asyncio.wait_for(asyncio.to_thread(work), self._time_limit)
        except TimeoutError:
            raise StoreError(f"{self._kind} {name}: the disk of {self._place} did not answer within {self._time_limit:g} s") from None
        except OSError as err:
            raise StoreError(f"{self._kind} {name}: {err.filename or self._place}: {err.strerror}; it must be there and writable") from err
        except DamagedError as err:
            raise StoreError(f"{self._kind} {name}: {err}") from err

    def make(self, name: str) -> None:
        """Make the object of this name as one that is deleted, if there is none."""
        if not (self._place / name).is_dir():
            self._make_place()
            create(self._place, name)

    def open(self, name: str) -> VersionedFile[T]:
        """An object; FileNotFoundError when it never was."""
        return VersionedFile(self._place / name, self._decoder)

    def delete(self, name: str) -> T | None:
        """Delete an object, whatever its version; the one that it was, None when there was none."""
        try:
            with self.open(name) as file:
                while True:
                    token, current = file.read()
                    if current is None or file.replace(token, token.next(deleted=True), None):
                        return current
        except FileNotFoundError:
            return None

    def read_all(self) -> dict[str, T]:
        """All objects, sorted by name; none when nobody has written any. Writes nothing. OSError when they cannot be read."""
        if not self._place.is_dir():
            return {}
        return {name: value for name in _names(self._place) if (value := self._read(name)) is not None}

    async def _watch_once(self, watcher: Watcher) -> AsyncIterator[AllListed[T] | OneChanged[T]]:
        """The list and the changes after it, until the watches must be built anew."""
        self._changed, self._rebuild, self._refused = set(), False, {}
        try:
            seen = await asyncio.to_thread(self._list, watcher)
        except FileNotFoundError:  # the directory went away meanwhile
            return
        except OSError as err:
            message = f"{err.filename or self._place}: {refusal(err)}; a {self._kind} needs a directory that can be written and watched"
            raise ConfigurationError(message) from err
        yield AllListed({name: value for name, value in seen.items() if value is not None})
        while not self._rebuild:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(watcher.wait(), TRY_AGAIN if self._refused else None)
            names, self._changed = sorted(self._changed | self._refused.keys()), set()
            for name, value in (await asyncio.to_thread(self._look, watcher, names)).items():
                if value != seen.get(name):
                    seen[name] = value
                    yield OneChanged(name, value)

    def _list(self, watcher: Watcher) -> dict[str, T | None]:
        """Watch the place, then every object in it, then read each: whatever changes meanwhile is an event.

        The directories above are watched for their own going: a renamed one takes those below along without a word from them.
        """
        self._make_place()
        for above in (self._directory, *_between(self._directory, self._place)):
            watcher.add(above, Mask(0))
        watcher.add(self._place, Mask.MOVED_TO | Mask.CREATE)
        self._remove_left_overs()
        return dict(self._look(watcher, _names(self._place)))

    def _look(self, watcher: Watcher, names: list[str]) -> Mapping[str, T | None]:
        """Watch and read each object. One that the kernel refuses is left out if it cannot be read, and looked at again later."""
        found: dict[str, T | None] = {}
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
                    found[name] = self._read(name)
            except OSError as err:
                refused = f"cannot be read: {refusal(err)}"
            self._note_refusal(name, refused)
        return found

    def _note_refusal(self, name: str, refused: str) -> None:
        """Remember which objects to try again, and tell each trouble once."""
        if not refused:
            self._refused.pop(name, None)
        elif self._refused.get(name) != refused:
            self._refused[name] = refused
            message = f"{self._kind} {self._place / name}: {refused}; trying again every {TRY_AGAIN:g} s"
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
                if time.time() - path.stat().st_mtime > LEFT_OVER:
                    for file in path.iterdir():
                        file.unlink()
                    path.rmdir()
            except OSError as err:
                _log.debug("%s: not removed: %s", path, err)

    def _read(self, name: str) -> T | None:
        try:
            with self.open(name) as file:
                return file.read()[1]
        except FileNotFoundError:
            return None
        except DamagedError as err:
            _log.warning("%s", err)
            return None


def _between(top: Path, place: Path) -> list[Path]:
    """The directories below ``top`` and above ``place``."""
    return [path for path in place.parents if top in path.parents]


def _names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
