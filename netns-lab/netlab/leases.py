"""The history of the leases: who held what since when, read from the embedded cluster's files or from an API server's watch.

In files, a lease is a directory; the file ``current.VERSION`` in it names the version in force, ``VERSION.json`` is its content (see
l2announce/manifests/versioned.py). A thread looks every 10 ms; the time of a change is the file's own (ctime: when it was renamed to that
version), so looking late does not make it late.

An API server tells the changes in its order. The time of one is what the lease itself says, to the microsecond: who acquires or releases
notes the moment, then asks the server. Where clocks were stepped on purpose, it is what makes that time closest to when the change came.
"""

import http.client
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

POLL_SECONDS = 0.01
CONNECT_SECONDS = 10.0
WATCH = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?watch=1&timeoutSeconds=86400"


RESUME_SECONDS = 0.05
"""Between two attempts to watch again."""


class _Spec(msgspec.Struct, frozen=True):
    holderIdentity: str | None = None  # noqa: N815  the API's name
    leaseDurationSeconds: int | None = None  # noqa: N815  as above
    acquireTime: datetime | None = None  # noqa: N815  as above
    renewTime: datetime | None = None  # noqa: N815


class _Metadata(msgspec.Struct, frozen=True):
    name: str = ""


class _Lease(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()
    metadata: _Metadata = _Metadata()


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: _Lease


@dataclass(frozen=True, slots=True)
class Renewal:
    """That a lease was acquired or renewed: when (ns since the epoch), by whom, for how many seconds."""

    time: int
    holder: str
    seconds: int


class LeaseHistory(ABC):
    """``changes`` maps a lease's name to its (time in ns since the epoch, holder) pairs in order; "" is released.

    ``renewals`` has every write that gave its holder a right. ``steps``: by how many ns clocks of those who write may be ahead.
    """

    def __init__(self) -> None:
        self.changes: dict[str, list[tuple[int, str]]] = {}
        self.renewals: dict[str, list[Renewal]] = {}
        self.steps: set[int] = {0}
        self._renewed: dict[str, datetime | None] = {}

    def holder(self, lease: str) -> str:
        """Who holds a lease now; empty when nobody does."""
        changes = self.changes.get(lease)
        return changes[-1][1] if changes else ""

    @abstractmethod
    def stop(self) -> None:
        """Observe no more. Safe to call twice."""

    def _note(self, lease: str, moment: int, holder: str) -> None:
        changes = self.changes.setdefault(lease, [])
        if not changes or changes[-1][1] != holder:
            changes.append((moment, holder))

    def _note_renewal(self, lease: str, moment: int, spec: _Spec) -> None:
        """A version with another renew time than the one before is a renewal."""
        if spec.holderIdentity and self._renewed.get(lease) != spec.renewTime:
            self.renewals.setdefault(lease, []).append(Renewal(moment, spec.holderIdentity, spec.leaseDurationSeconds or 0))
        self._renewed[lease] = spec.renewTime


class FileLeaseHistory(LeaseHistory):
    """From the directory of the leases."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._seen: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

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
                if not lease.name.startswith("."):  # being made or removed
                    self._look_at(lease)

    def _look_at(self, lease: Path) -> None:
        """Read the version in force if it is new. It may be superseded meanwhile: the next look tells more."""
        try:
            token = next(lease.glob("current.*"), None)
            if token is None or token.name == self._seen.get(lease.name):
                return
            moment = token.stat().st_ctime_ns
            content = (lease / f"{token.name.removeprefix('current.')}.json").read_bytes()
        except FileNotFoundError:
            return
        self._seen[lease.name] = token.name
        spec = msgspec.json.decode(content, type=_Lease).spec
        self._note(lease.name, moment, spec.holderIdentity or "")
        self._note_renewal(lease.name, moment, spec)


class WatchedLeaseHistory(LeaseHistory):
    """From a watch of the leases in kube-system, through a connection made in the caller's network namespace.

    A watch that ends by itself leaves a gap: ``stop`` raises ConnectionError then. With ``resume`` there is another one instead, made in
    the place that it gives; of what happened between the two the last is known.
    """

    def __init__(self, url: str, authority: Path, token: str, resume: Callable[[], AbstractContextManager[None]] | None = None) -> None:
        super().__init__()
        self._url = url
        self._authority = authority
        self._token = token
        self._resume = resume
        self._socket: socket.socket
        self._answer: http.client.HTTPResponse
        self._connect()
        self._stopping = False
        self._fault = ""
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _connect(self) -> None:
        at = urlsplit(self._url)
        context = ssl.create_default_context(cafile=str(self._authority))
        connection = http.client.HTTPSConnection(at.hostname or "", at.port, timeout=CONNECT_SECONDS, context=context)
        connection.request("GET", WATCH, headers={"Authorization": f"Bearer {self._token}"})
        made: socket.socket = connection.sock  # which is the answer's alone where the server does not keep connections
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise ConnectionError(f"{self._url}{WATCH}: {answer.status} {answer.read().decode(errors='replace')}")
        made.settimeout(None)
        self._socket, self._answer = made, answer

    def is_watching(self) -> bool:
        """Whether the watch goes on."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the watch and the thread."""
        self._stopping = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        if self._fault:
            raise ConnectionError(f"the watch of the leases ended during the run: {self._fault}")

    def _follow(self) -> None:
        """Watch, and where it is wanted again and again."""
        self._watch()
        while self._resume is not None and not self._stopping:
            self._fault = ""
            with suppress(OSError, http.client.HTTPException), self._resume():
                self._connect()
                if not self._stopping:
                    self._watch()
            time.sleep(RESUME_SECONDS)

    def _watch(self) -> None:
        decoder = msgspec.json.Decoder(_Event)
        fault = "the API server closed it"
        try:
            for line in self._answer:
                self._take(decoder.decode(line))
        except (OSError, http.client.HTTPException, ValueError) as error:
            fault = str(error)
        if not self._stopping:
            self._fault = fault

    def _take(self, event: _Event) -> None:
        """Note a change. ValueError when the server says that the watch cannot go on."""
        name, spec = event.object.metadata.name, event.object.spec
        if event.type == "ERROR":
            raise ValueError("the API server sent an ERROR event")
        if event.type == "DELETED" or spec.renewTime is None:
            self._note(name, time.time_ns(), "")
            return
        unseen = event.type == "ADDED" and name in self.changes and self.holder(name) != spec.holderIdentity
        began = spec.acquireTime if unseen and spec.holderIdentity and spec.acquireTime else spec.renewTime
        self._note(name, self._corrected(began), spec.holderIdentity or "")
        self._note_renewal(name, self._corrected(spec.renewTime), spec)

    def _corrected(self, said: datetime) -> int:
        """By the clock that was not stepped."""
        now = time.time_ns()
        return min((_nanoseconds(said) - step for step in self.steps.copy()), key=lambda moment: abs(now - moment))


def _nanoseconds(moment: datetime) -> int:
    """Since the epoch; exact to the microsecond that the API has."""
    return round(moment.timestamp() * 1_000_000) * 1000
