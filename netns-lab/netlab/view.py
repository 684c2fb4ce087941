"""What the lab sees of its network at this moment, for people and for its own waiting: leases, neighbor table, HTTP, the prober's word."""

import threading
import time
from collections import Counter
from dataclasses import dataclass

from netlab.build import fetch
from netlab.feed import Gap, Heard, ProberFeed
from netlab.leases import LeaseHistory
from netlab.namespaces import Namespace
from netlab.services import ServiceAddress
from netlab.waiting import wait_until

FRESH = 0.3
"""Seconds for which an answer proves that the address is served."""

HTTP_TIMEOUT = 0.5
LOOK_EVERY = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """One address now. ``neighbor`` and ``answered_by`` are node names where the MAC is known; ``http`` is what the backend said;
    ``gap`` the longest blackouts since the last scenario began."""

    item: ServiceAddress
    holder: str
    answered_by: str
    neighbor: str
    neighbor_mac: str
    neighbor_state: str
    http: str
    heard: Heard
    gap: Gap


class View:
    """Looks at the client twice a second in a thread of its own; everything else is asked of the feeds.

    ``backends`` counts which backend answered HTTP at each address.
    """

    def __init__(
        self,
        client: Namespace,
        services: tuple[ServiceAddress, ...],
        nodes: dict[bytes, str],
        leases: LeaseHistory,
        feed: ProberFeed,
        http_port: int,
    ) -> None:
        self.services = services
        self.nodes = nodes
        self._client = client
        self._leases = leases
        self._feed = feed
        self._http_port = http_port
        self._http: dict[str, str] = {}
        self.backends: dict[str, Counter[str]] = {str(item.address): Counter() for item in services}
        self._neighbors: dict[str, tuple[bytes | None, str]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        """Ask the client's kernel and the backends, until stopped."""
        while not self._stop.wait(LOOK_EVERY):
            for item in self.services:
                answer = self._http[str(item.address)] = fetch(self._client, str(item.address), self._http_port, HTTP_TIMEOUT)
                if answer:
                    self.backends[str(item.address)][answer.split()[0]] += 1
            self._neighbors = self._client.neighbors()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def holder(self, item: ServiceAddress) -> str:
        """Who holds the lease of an address now, "" for nobody."""
        return self._leases.holder(item.lease)

    def held_by(self, node: str) -> tuple[ServiceAddress, ...]:
        """The addresses that a node holds now."""
        return tuple(item for item in self.services if self.holder(item) == node)

    def rows(self) -> list[Row]:
        """Everything, an address a row."""
        return [self._row(item) for item in self.services]

    def _row(self, item: ServiceAddress) -> Row:
        heard = self._feed.of(item.address)
        mac, state = self._neighbors.get(str(item.address), (None, ""))
        answered_by = self.nodes.get(bytes.fromhex(heard.mac.replace(":", "")), heard.mac)
        neighbor = self.nodes.get(mac, mac.hex(":")) if mac else ""
        return Row(
            item,
            self.holder(item),
            answered_by,
            neighbor,
            mac.hex(":") if mac else "",
            state,
            self._http.get(str(item.address), ""),
            heard,
            self._feed.worst[str(item.address)],
        )

    def unsettled(self, seen_http: bool = False) -> list[str]:
        """Why the network is not at rest, a sentence for each address that is not served by its lease's holder. Empty: all is well."""
        now = time.time_ns()
        return [reason for row in self.rows() if (reason := _unrest(row, now, seen_http))]

    def wait_settled(self, deadline_seconds: float, what: str, steady_seconds: float = 1.0, seen_http: bool = False) -> None:
        """Wait until the network has been at rest for ``steady_seconds``. WaitTimeout says what was missing."""
        since: list[float] = []
        missing: list[str] = []

        def steady() -> bool:
            self._feed.check()
            missing[:] = self.unsettled(seen_http)
            if missing:
                since.clear()
            elif not since:
                since.append(time.monotonic())
            return bool(since) and time.monotonic() - since[0] >= steady_seconds

        try:
            wait_until(steady, deadline_seconds, what, interval=0.02)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n" + "\n".join(missing)) from error

    def wait_served_after(self, moment: int, deadline_seconds: float) -> None:
        """Wait until every address has answered an ask and a datagram after ``moment``, nanoseconds since the epoch."""

        def served() -> bool:
            self._feed.check()
            return all(min(row.heard.last_answer, row.heard.last_reply) > moment for row in self.rows())

        wait_until(served, deadline_seconds, "every address to be served once more", interval=0.02)


def _unrest(row: Row, now: int, seen_http: bool) -> str:
    """What is missing for one address, or nothing."""
    subject = f"{row.item.service} {row.item.address}"
    if not row.holder:
        return f"{subject}: nobody holds lease {row.item.lease}"
    if row.answered_by != row.holder:
        return f"{subject}: lease held by {row.holder}, last answer from {row.answered_by or 'nobody'}"
    for name, last in (("ask", row.heard.last_answer), ("datagram", row.heard.last_reply)):
        if now - last > FRESH * 1e9:
            return (
                f"{subject}: held by {row.holder}, but no {name} was answered for {(now - last) / 1e9:.1f} s"
                if last
                else f"{subject}: no {name} answered yet"
            )
    if seen_http and row.item.address and not row.http:
        return f"{subject}: no HTTP answer"
    return ""
