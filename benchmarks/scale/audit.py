"""The API server's audit log: who asked what, when, with which answer. Read as it grows; nothing is asked of the server for it."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
"""
"""What the API server is to write: each answer, and each watch once more when it begins."""


LEASE_PREFIX = "cilium-l2announce-"


@dataclass(frozen=True, slots=True)
class Request:
    """One answered request, or a watch that began. ``at`` is when it was answered, in seconds since 1970."""

    user: str
    verb: str
    resource: str
    name: str
    code: int
    at: float

    @property
    def is_ok(self) -> bool:
        """Whether it was granted."""
        return 200 <= self.code < 300


def parse(line: str) -> Request | None:
    """One line of the log; None for the end of a watch, which began as another line, and for what is no resource."""
    event = json.loads(line)
    subject, verb = event.get("objectRef"), event["verb"]
    if subject is None or (verb == "watch") != (event["stage"] == "ResponseStarted"):
        return None
    return Request(
        user=event["user"]["username"],
        verb=verb,
        resource=subject["resource"],
        name=subject.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        at=datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
    )


@dataclass(slots=True)
class AuditLog:
    """The log at ``path``, read on from where it was left. ``users`` are those whose requests count."""

    path: Path
    users: frozenset[str]
    _offset: int = 0
    requests: list[Request] = field(default_factory=list)

    def read(self) -> list[Request]:
        """Every request so far."""
        with self.path.open("rb") as log:
            log.seek(self._offset)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        found = (parse(line) for line in whole.decode().splitlines() if line)
        self.requests += (request for request in found if request is not None and request.user in self.users)
        return self.requests

    def during(self, wait: Callable[[], object]) -> list[Request]:
        """The requests answered while ``wait`` runs."""
        before = len(self.read())
        wait()
        return self.read()[before:]


def by_kind(requests: Iterable[Request]) -> dict[str, int]:
    """How many, by verb, resource and, where it was refused, the code."""
    kinds = (f"{item.verb} {item.resource}{'' if item.is_ok else f' {item.code}'}" for item in requests)
    return dict(sorted(Counter(kinds).items()))


def holders(requests: Iterable[Request]) -> dict[str, str]:
    """Who last wrote each Lease."""
    return {item.name: item.user for item in requests if is_lease_write(item)}


def service_holders(requests: Iterable[Request]) -> dict[str, str]:
    """The same of the Leases that belong to Services."""
    return {item.name: item.user for item in requests if is_service_lease(item)}


def lease_writes(requests: Iterable[Request]) -> int:
    """How many Leases were written."""
    return sum(1 for item in requests if is_lease_write(item))


def polls(requests: Iterable[Request]) -> int:
    """How many requests read something other than by a watch."""
    return sum(1 for item in requests if item.verb in ("get", "list"))


def is_service_lease(item: Request) -> bool:
    """Whether the Lease of a Service was written, not the heartbeat of a node."""
    return is_lease_write(item) and item.name.startswith(LEASE_PREFIX)


def is_lease_write(item: Request) -> bool:
    """Whether a Lease was written."""
    return item.is_ok and item.resource == "leases" and item.verb in ("create", "update")
