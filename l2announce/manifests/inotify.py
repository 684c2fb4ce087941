"""Changes of directories, as the kernel reports them (inotify(7)), on the running event loop. Says where to look again, never what changed.

Works on asyncio and uvloop alike: the descriptor is read from a reader callback, so a slow consumer loses nothing but the order.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from asyncinotify import Event, Inotify, Mask

from l2announce.errors import ConfigurationError

GONE = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT
"""The watched directory itself went away."""

LOST = GONE | Mask.Q_OVERFLOW
"""After one of these, what is watched must be built anew."""

TRY_AGAIN = 1.0
"""Seconds after which what the kernel refused is tried again: the limits belong to all programs of the user, and others end."""


def refusal(err: OSError) -> str:
    """Why the kernel refused to watch or to read, and what helps."""
    remedies = {
        errno.ENOSPC: "raise the sysctl fs.inotify.max_user_watches",
        errno.EMFILE: "raise the limit of open files",
        errno.ENFILE: "raise the sysctl fs.file-max",
    }
    return f"{err.strerror}; {remedies.get(err.errno or 0, 'make it readable for the agent')}"


class Watcher:
    """One inotify instance. ``note`` is called for each event, from the event loop, and must be quick; ``wait`` returns after some came.

    Use as a context manager inside a running loop. ConfigurationError when the kernel gives no inotify instance.
    """

    def __init__(self, note: Callable[[Event], None]) -> None:
        self._note = note
        self._happened = asyncio.Event()
        try:
            self._inotify = Inotify(cache_size=64)
        except OSError as err:
            message = f"no inotify instance: {err.strerror}; raise the sysctl fs.inotify.max_user_instances"
            raise ConfigurationError(message) from err
        os.set_blocking(self._inotify.fd, False)  # asyncinotify 4.4 does not; uvloop does it in add_reader, asyncio does not

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._inotify.fd, self._drain)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.remove_reader(self._inotify.fd)
        self._inotify.close()

    def add(self, directory: Path, mask: Mask) -> None:
        """Watch one directory for the events of ``mask`` and for its own going. OSError when it is gone or the kernel has no watch left."""
        self._inotify.add_watch(directory, mask | GONE | Mask.ONLYDIR)

    async def wait(self) -> None:
        """Return once something happened since the last call returned."""
        await self._happened.wait()
        self._happened.clear()

    async def wait_for_burst(self, quiet: float, longest: float) -> None:
        """As ``wait``, then go on while further events come within ``quiet`` seconds of each other, at most ``longest`` seconds in all."""
        await self.wait()
        end = self._loop.time() + longest
        while (left := end - self._loop.time()) > 0:
            await asyncio.sleep(min(quiet, left))
            if not self._happened.is_set():
                return
            self._happened.clear()

    def _drain(self) -> None:
        try:
            while (event := self._inotify.sync_get()) is not None:
                self._note(event)
                self._happened.set()
        except BlockingIOError:
            return


async def wait_until_there(directory: Path) -> None:
    """Return when ``directory`` exists, watching the nearest of its parents that does. ConfigurationError when that cannot be watched."""
    while not directory.is_dir():
        with Watcher(lambda _event: None) as watcher:
            nearest = next(parent for parent in directory.absolute().parents if parent.is_dir())
            try:
                watcher.add(nearest, Mask.CREATE | Mask.MOVED_TO)
            except (FileNotFoundError, NotADirectoryError):  # gone in between: look for the next nearest
                continue
            except OSError as err:
                raise ConfigurationError(f"{nearest}: cannot be watched: {refusal(err)}") from err
            step = nearest / directory.absolute().relative_to(nearest).parts[0]
            if not step.is_dir():
                await watcher.wait()
