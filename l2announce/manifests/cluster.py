"""The embedded cluster: the objects of a directory of YAML files, live. Leases are in leases.py.

Fulfils control.ports.Cluster. Reading happens in a worker thread, so a large directory does not hold up renewals. What the program writes
is below ``.cluster/``, which is hidden and therefore neither read nor watched.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from asyncinotify import Event, Mask

from l2announce.errors import ConfigurationError
from l2announce.manifests.inotify import LOST, TRY_AGAIN, Watcher, refusal, wait_until_there
from l2announce.manifests.loader import ManifestLoader, directories_below, is_manifest
from l2announce.manifests.status import write_conditions
from l2announce.model.conditions import Condition
from l2announce.model.events import ServiceEvent
from l2announce.model.objects import ClusterState, ObjectProblem

QUIET = 0.01
"""A burst of changes ends when nothing came for this many seconds,"""

LONGEST = 0.04
"""or after this many, so that a directory that never rests is read nevertheless."""

_MASK = Mask.CLOSE_WRITE | Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO | Mask.ATTRIB

_log = logging.getLogger(__name__)


class ManifestCluster:
    """The objects below ``directory``. ``wall_clock`` gives seconds since 1970, for the times in statuses only."""

    def __init__(self, directory: Path, wall_clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._wall_clock = wall_clock
        self._loader = ManifestLoader(directory)
        self._changed: set[Path] = set()
        self._rescan = False
        self._rebuild = False

    async def states(self) -> AsyncIterator[ClusterState]:
        """The whole state, then again after every change that makes a difference, about 10 ms (at most 40 ms) after the last one.

        ConfigurationError when the directory is not there at the start, or the kernel gives no inotify instance then; later that is tried
        again every ``TRY_AGAIN`` seconds. One consumer at a time.
        """
        if not self._directory.is_dir():
            raise ConfigurationError(f"--manifests {self._directory}: is not a directory; create it or name another one")
        previous: ClusterState | None = None
        while True:
            try:
                with Watcher(self._note) as watcher:
                    async for state in self._watch_once(watcher):
                        if state != previous:
                            previous = state
                            yield state
            except ConfigurationError as err:
                if previous is None:
                    raise
                _log.warning("%s; trying again every %g s", err, TRY_AGAIN)
                await asyncio.sleep(TRY_AGAIN)

    async def _watch_once(self, watcher: Watcher) -> AsyncIterator[ClusterState]:
        """The state after every burst of changes, until the watches must be built anew."""
        self._rescan, self._rebuild = True, False
        unwatched = await asyncio.to_thread(self._watch, watcher)
        while not self._rebuild:
            yield await asyncio.to_thread(self._refresh, unwatched or ())
            if unwatched is None:
                await wait_until_there(self._directory)
                return
            await watcher.wait_for_burst(QUIET, LONGEST)

    async def write_policy_status(self, wanted: Mapping[str, Sequence[Condition]]) -> bool:
        """Write the conditions of policies below ``.cluster/status/``."""
        now = datetime.fromtimestamp(self._wall_clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            await asyncio.to_thread(write_conditions, self._directory / ".cluster" / "status", wanted, now)
        except OSError as err:
            _log.warning("%s: policy status not written: %s; make %s writable", err.filename, err.strerror, self._directory / ".cluster")
            return False
        return True

    async def publish(self, event: ServiceEvent) -> bool:  # noqa: ARG002 - the port's
        """Nothing: there is no place for Events among manifests; the log has them."""
        return True

    def _refresh(self, unwatched: tuple[ObjectProblem, ...]) -> ClusterState:
        changed, self._changed = self._changed, set()
        rescan, self._rescan = self._rescan, False
        state = self._loader.refresh(changed, rescan=rescan)
        return replace(state, problems=state.problems + unwatched)

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


def _being_written(path: Path) -> bool:
    """Whether a name that just appeared is a new file, whose closing will be reported too, rather than a link to a finished one."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return facts.st_nlink == 1 and not path.is_symlink()
