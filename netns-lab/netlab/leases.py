"""The history of the leases, read from the embedded cluster's files: who held what since when.

A lease is a directory; the file ``current.VERSION`` in it names the version in force, ``VERSION.json`` is its content (see
l2announce/manifests/leasefile.py). A thread looks every 10 ms; the time of a change is the file's own (ctime: when it was renamed to that
version), so looking late does not make it late.
"""

import threading
from pathlib import Path

import msgspec

POLL_SECONDS = 0.01


class _Spec(msgspec.Struct, frozen=True):
    holderIdentity: str | None = None  # noqa: N815  the API's name


class _Lease(msgspec.Struct, frozen=True):
    spec: _Spec


class LeaseHistory:
    """``changes`` maps a lease's name to its (time in ns since the epoch, holder) pairs in order; "" is released."""

    def __init__(self, directory: Path) -> None:
        self.changes: dict[str, list[tuple[int, str]]] = {}
        self._directory = directory
        self._seen: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def holder(self, lease: str) -> str:
        """Who holds a lease now; empty when nobody does."""
        changes = self.changes.get(lease)
        return changes[-1][1] if changes else ""

    def stop(self) -> None:
        """Look once more, then end the thread."""
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self._look()

    def _look(self) -> None:
        if self._directory.is_dir():
            for lease in self._directory.iterdir():
                self._look_at(lease)

    def _look_at(self, lease: Path) -> None:
        """Read the version in force if it is new. It may be superseded meanwhile: the next look tells more."""
        token = next(lease.glob("current.*"), None)
        if token is None or token.name == self._seen.get(lease.name):
            return
        try:
            time = token.stat().st_ctime_ns
            content = (lease / f"{token.name.removeprefix('current.')}.json").read_bytes()
        except FileNotFoundError:
            return
        self._seen[lease.name] = token.name
        holder = msgspec.json.decode(content, type=_Lease).spec.holderIdentity or ""
        changes = self.changes.setdefault(lease.name, [])
        if not changes or changes[-1][1] != holder:
            changes.append((time, holder))
