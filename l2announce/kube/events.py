"""Events on Services. One that is repeated is counted in the Event that there is, as client-go does."""

import hashlib
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from l2announce.errors import ApiError
from l2announce.kube.transport import MERGE_PATCH, Transport
from l2announce.model.events import ServiceEvent

COMPONENT = "l2announce"
NAME_LIMIT = 253
REMEMBERED = 4096
"""Events whose count is known; of older ones it begins anew."""

_log = logging.getLogger(__name__)


class ServiceEvents:
    """Events that come from ``node``. A failure is logged once until it is over."""

    def __init__(self, transport: Transport, node: str) -> None:
        self._transport = transport
        self._node = node
        self._counts: dict[str, int] = {}
        self._failure = ""

    async def publish(self, event: ServiceEvent) -> bool:
        """Create the Event, or count it once more where it is. False when it was refused."""
        name = _name(event, self._node)
        path = f"/api/v1/namespaces/{event.service.namespace}/events"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        failure = ""
        try:
            if not await self._count(f"{path}/{name}", name, now):
                await self._create(path, event, name, now)
        except ApiError as err:
            if err.code != 404:  # the namespace is going
                remedy = "; grant create and patch on events" if err.code == 403 else ""
                failure = f"service/{event.service}: Event {event.reason.value} not written: {err}{remedy}"
        if failure and failure != self._failure:
            _log.warning(failure)
        self._failure = failure
        return not failure

    async def _create(self, path: str, event: ServiceEvent, name: str, now: str) -> None:
        try:
            await self._transport.request("POST", path, body=msgspec.json.encode(_document(event, name, self._node, now)))
            self._counts[name] = 1
            if len(self._counts) > REMEMBERED:
                del self._counts[next(iter(self._counts))]
        except ApiError as err:
            if err.code != 409:
                raise
            body = msgspec.json.encode({"lastTimestamp": now})  # an earlier life of this agent made it; how often it came is not known
            await self._transport.request("PATCH", f"{path}/{name}", body=body, content_type=MERGE_PATCH)

    async def _count(self, path: str, name: str, now: str) -> bool:
        """Count an Event once more; False when there is none to count."""
        if name not in self._counts:
            return False
        try:
            body = msgspec.json.encode({"count": self._counts[name] + 1, "lastTimestamp": now})
            await self._transport.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        except ApiError as err:
            if err.code != 404:
                raise
            del self._counts[name]  # forgotten by the server after its time
            return False
        self._counts[name] += 1
        return True


def _name(event: ServiceEvent, node: str) -> str:
    """The same for the same words about the same life of a Service from the same node."""
    words = "\0".join((event.uid, event.reason.value, event.message, node))
    digest = hashlib.sha256(words.encode()).hexdigest()[:16]
    return f"{event.service.name[: NAME_LIMIT - 17]}.{digest}"


def _document(event: ServiceEvent, name: str, node: str, now: str) -> dict[str, Any]:
    involved = {"apiVersion": "v1", "kind": "Service", "namespace": event.service.namespace, "name": event.service.name}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": event.service.namespace},
        "involvedObject": involved | ({"uid": event.uid} if event.uid else {}),
        "reason": event.reason.value,
        "message": event.message[:1024],
        "type": "Warning" if event.is_warning else "Normal",
        "source": {"component": COMPONENT, "host": node},
        "reportingComponent": COMPONENT,
        "reportingInstance": node,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
