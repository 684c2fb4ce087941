"""The history of the leases: who held what since when, read from the embedded cluster's files or from an API server's watch.

In files, a lease is a directory; the file ``current.VERSION`` in it names the version in force, ``VERSION.json`` is its content (see
l2announce/manifests/leasefile.py). A thread looks every 10 ms; the time of a change is the file's own (ctime: when it was renamed to that
version), so looking late does not make it late.

An API server tells the changes in its order. The time of one is what the lease itself says, to the microsecond: who acquires or releases
notes the moment, then asks the server.
"""

import http.client
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

POLL_SECONDS = 0.01
CONNECT_SECONDS = 10.0
WATCH = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?watch=1&timeoutSeconds=86400"


class _Spec(msgspec.Struct, frozen=True):
    holderIdentity: str | None = None  # noqa: N815  the API's name
    renewTime: datetime | None = None  # noqa: N815


class _Metadata(msgspec.Struct, frozen=True):
    name: str = ""


class _Lease(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()
    metadata: _Metadata = _Metadata()


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: _Lease


class LeaseHistory(ABC):
    """``changes`` maps a lease's name to its (time in ns since the epoch, holder) pairs in order; "" is released."""

    def __init__(self) -> None:
        self.changes: dict[str, list[tuple[int, str]]] = {}

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
                self._look_at(lease)

    def _look_at(self, lease: Path) -> None:
        """Read the version in force if it is new. It may be superseded meanwhile: the next look tells more."""
        token = next(lease.glob("current.*"), None)
        if token is None or token.name == self._seen.get(lease.name):
            return
        try:
            moment = token.stat().st_ctime_ns
            content = (lease / f"{token.name.removeprefix('current.')}.json").read_bytes()
        except FileNotFoundError:
            return
        self._seen[lease.name] = token.name
        self._note(lease.name, moment, msgspec.json.decode(content, type=_Lease).spec.holderIdentity or "")


class WatchedLeaseHistory(LeaseHistory):
    """From a watch of the leases in kube-system, through a connection made in the caller's network namespace.

    A watch that ends by itself leaves a gap: ``stop`` raises ConnectionError then.
    """

    def __init__(self, url: str, authority: Path, token: str) -> None:
        super().__init__()
        at = urlsplit(url)
        context = ssl.create_default_context(cafile=str(authority))
        connection = http.client.HTTPSConnection(at.hostname or "", at.port, timeout=CONNECT_SECONDS, context=context)
        connection.request("GET", WATCH, headers={"Authorization": f"Bearer {token}"})
        self._socket: socket.socket = connection.sock
        self._answer = connection.getresponse()
        if self._answer.status != http.HTTPStatus.OK:
            raise ConnectionError(f"{url}{WATCH}: {self._answer.status} {self._answer.read().decode(errors='replace')}")
        self._socket.settimeout(None)
        self._stopping = False
        self._fault = ""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

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
        spec = event.object.spec
        if event.type == "ERROR":
            raise ValueError("the API server sent an ERROR event")
        if event.type == "DELETED" or spec.renewTime is None:
            self._note(event.object.metadata.name, time.time_ns(), "")
        else:
            self._note(event.object.metadata.name, _nanoseconds(spec.renewTime), spec.holderIdentity or "")


def _nanoseconds(moment: datetime) -> int:
    """Since the epoch; exact to the microsecond that the API has."""
    return round(moment.timestamp() * 1_000_000) * 1000
