"""Events on Services: which requests they become."""

import asyncio
from typing import Any

import msgspec
import pytest

from l2announce.errors import ApiError
from l2announce.kube import events as module
from l2announce.kube.events import ServiceEvents
from l2announce.model.events import EventReason, ServiceEvent
from l2announce.model.objects import NamespacedName


class Requests:
    """In place of a Transport: notes every request, and answers with ``failures`` first."""

    def __init__(self, *failures: ApiError | None) -> None:
        self.made: list[tuple[str, str, dict[str, Any]]] = []
        self.failures = list(failures)

    async def request(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> bytes:  # noqa: ARG002 - the Transport's
        """Note it."""
        self.made.append((method, path, msgspec.json.decode(body)))
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        return b""


def event(name: str = "web") -> ServiceEvent:
    return ServiceEvent(NamespacedName("shop", name), "uid", EventReason.ANNOUNCED, "words")


def publish(requests: Requests, *told: ServiceEvent) -> list[bool]:
    async def all_of_them() -> list[bool]:
        events = ServiceEvents(requests, "n1")  # type: ignore[arg-type]
        return [await events.publish(one) for one in told]

    return asyncio.run(all_of_them())


def test_one_that_is_repeated_is_counted_where_it_is() -> None:
    requests = Requests()
    assert publish(requests, event(), event()) == [True, True]
    (create, created, document), (patch, patched, counted) = requests.made
    assert (create, created, document["count"]) == ("POST", "/api/v1/namespaces/shop/events", 1)
    assert (patch, counted["count"]) == ("PATCH", 2)
    assert patched == f"{created}/{document['metadata']['name']}"


def test_one_that_the_server_has_forgotten_is_made_anew() -> None:
    requests = Requests(None, ApiError(404, "gone"), None)
    assert publish(requests, event(), event()) == [True, True]
    assert [method for method, _, _ in requests.made] == ["POST", "PATCH", "POST"]


def test_one_of_an_earlier_life_is_dated_anew() -> None:
    requests = Requests(ApiError(409, "exists"))
    assert publish(requests, event()) == [True]
    assert [method for method, _, _ in requests.made] == ["POST", "PATCH"]
    assert "count" not in requests.made[1][2]


def test_what_is_remembered_of_them_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    requests = Requests()
    publish(requests, event("a"), event("b"), event("c"), event("a"), event("c"))
    assert [method for method, _, _ in requests.made] == ["POST", "POST", "POST", "POST", "PATCH"]
