"""The objects of a directory of YAML files, and the statuses of Services beside them, live.

Reading happens in a worker thread, so a large directory does not hold up renewals. What the program writes is below ``.cluster/``, which
is hidden and therefore not read as manifests.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from asyncinotify import Event, Mask

from l2announce.errors import ConfigurationError
from l2announce.manifests.inotify import LOST, TRY_AGAIN, Watcher, refusal, wait_until_there
from l2announce.manifests.loader import Loaded, ObjectLoader, V, directories_below, is_manifest
from l2announce.manifests.store import AllListed, FileStore
from l2announce.model.objects import NamespacedName, ObjectProblem
from l2announce.wire.objects import Kinds, ObjectKey

QUIET = 0.01
"""A burst of changes ends when nothing came for this many seconds,"""

LONGEST = 0.04
"""or after this many, so that a directory that never rests is read nevertheless."""

_MASK = Mask.CLOSE_WRITE | Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO | Mask.ATTRIB

S = TypeVar("S")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[V, S]):
    """All objects, what is wrong with any, and the statuses that are stored of Services, also of such as are no longer there."""

    values: Mapping[ObjectKey, V]
    problems: tuple[ObjectProblem, ...]
    statuses: Mapping[NamespacedName, S]
    reading: int = 0
    """What ``read_anew`` returned last before all was read; 0 before that."""


class LiveObjects(Generic[V, S]):
    """The objects of ``kinds`` below ``directory``, and what ``statuses`` has of the Services."""

    def __init__(self, directory: Path, kinds: Kinds[V], statuses: FileStore[S]) -> None:
        self._directory = directory
        self._loader = ObjectLoader(directory, kinds)
        self._statuses = statuses
        self._changed: set[Path] = set()
        self._rescan = False
        self._rebuild = False
        self._reading = 0
        self._changed_any = asyncio.Event()

    def read_anew(self) -> int:
        """Have everything read once more, from now on. The number that the snapshots carry then."""
        self._reading += 1
        self._changed_any.set()
        return self._reading

    async def snapshots(self) -> AsyncIterator[Snapshot[V, S]]:
        """All there is, then again after every change that may make a difference.

        ConfigurationError when the directory is not there at the start, or the kernel gives no inotify instance then; later that is tried
        again every ``TRY_AGAIN`` seconds. One consumer at a time.
        """
        if not self._directory.is_dir():
            raise ConfigurationError(f"--manifests {self._directory}: is not a directory; create it or name another one")
        while True:
            self._changed_any.clear()
            async for snapshot in self._snapshots(self._reading):
                yield snapshot

    async def _snapshots(self, reading: int) -> AsyncIterator[Snapshot[V, S]]:
        """The same, until all is to be read anew."""
        loaded: Loaded[V] | None = None
        known: dict[NamespacedName, S] | None = None
        changed = self._changed_any

        async def follow_files() -> None:
            nonlocal loaded
            async for one in self._files():
                loaded = one
                changed.set()

        async def follow_statuses() -> None:
            nonlocal known
            async for event in self._statuses.watch():
                if isinstance(event, AllListed):
                    known = {service_of(name): status for name, status in event.values.items()}
                elif known is not None:
                    known.pop(service_of(event.name), None)
                    if event.value is not None:
                        known[service_of(event.name)] = event.value
                changed.set()

        async with _Tasks() as tasks:
            tasks.start(follow_files())
            tasks.start(follow_statuses())
            while reading == self._reading:
                await tasks.wait(changed)
                if loaded is not None and known is not None and reading == self._reading:
                    yield Snapshot(loaded.values, loaded.problems, dict(known), reading)

    async def _files(self) -> AsyncIterator[Loaded[V]]:
        """The objects, then again about 10 ms (at most 40 ms) after the last change."""
        started = False
        while True:
            try:
                with Watcher(self._note) as watcher:
                    async for loaded in self._watch_once(watcher):
                        started = True
                        yield loaded
            except ConfigurationError as err:
                if not started:
                    raise
                _log.warning("%s; trying again every %g s", err, TRY_AGAIN)
                await asyncio.sleep(TRY_AGAIN)

    async def _watch_once(self, watcher: Watcher) -> AsyncIterator[Loaded[V]]:
        """The objects after every burst of changes, until the watches must be built anew."""
        self._rescan, self._rebuild = True, False
        unwatched = await asyncio.to_thread(self._watch, watcher)
        while not self._rebuild:
            yield await asyncio.to_thread(self._refresh, unwatched or ())
            if unwatched is None:
                await wait_until_there(self._directory)
                return
            await watcher.wait_for_burst(QUIET, LONGEST)

    def _refresh(self, unwatched: tuple[ObjectProblem, ...]) -> Loaded[V]:
        changed, self._changed = self._changed, set()
        rescan, self._rescan = self._rescan, False
        loaded = self._loader.refresh(changed, rescan=rescan)
        return replace(loaded, problems=loaded.problems + unwatched)

    def _watch(self, watcher: Watcher) -> tuple[ObjectProblem, ...] | None:
        """Watch every directory, and tell which cannot be; None when the topmost is gone.

        A directory that appears meanwhile is reported by its parent, which is watched before its content is listed.
        """
        problems = []
        for directory in directories_below(self._directory):
            try:
                watcher.add(directory, _MASK)
            except (FileNotFoundError, NotADirectoryError):
                if directory == self._directory:
                    return None
            except OSError as err:
                message = f"changes of it are not seen until the next start: {refusal(err)}"
                problems.append(ObjectProblem(str(directory), "NotWatched", message))
        return tuple(problems)

    def _note(self, event: Event) -> None:
        """Remember what an event makes it necessary to look at."""
        path = event.path
        if event.mask & LOST or path is None:
            self._rebuild = True
        elif path.name == "..data":  # a ConfigMap volume swaps its files by renaming this link
            self._rescan = True
        elif path.name.startswith("."):
            return
        elif event.mask & Mask.ISDIR:
            self._rebuild = self._rebuild or not event.mask & Mask.ATTRIB
            self._rescan = True
        elif is_manifest(path) and not (event.mask & Mask.CREATE and _being_written(path)):
            self._changed.add(path)


class _Tasks:
    """Tasks that never end on their own: what one raises, ``wait`` raises. A context manager, which ends them."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> "_Tasks":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside the others."""
        self._tasks.append(asyncio.create_task(work))

    async def wait(self, event: asyncio.Event) -> None:
        """Return when ``event`` is set, and clear it."""
        waiting = asyncio.create_task(event.wait())
        try:
            await asyncio.wait((*self._tasks, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        for task in self._tasks:
            if task.done():
                task.result()
        event.clear()


def service_of(name: str) -> NamespacedName:
    """Whose status is stored under this name."""
    namespace, _, service = name.partition(".")
    return NamespacedName(namespace, service)


def stored_name(key: NamespacedName) -> str:
    """Where the status of a Service is stored: neither part has a dot."""
    return f"{key.namespace}.{key.name}"


def _being_written(path: Path) -> bool:
    """Whether a name that just appeared is a new file, whose closing will be reported too, rather than a link to a finished one."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return facts.st_nlink == 1 and not path.is_symlink()
