"""The reflector's waits and doubts, on a transport that follows a script and a clock that nobody waits for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

import pytest

from l2announce.errors import ApiError, GoneError
from l2announce.kube import reflector as under_test
from l2announce.kube.reflector import Listed, Reflector, Resource
from l2announce.kube.transport import Transport

Answer: TypeAlias = bytes | ApiError
Sleep: TypeAlias = Callable[[float], Any]


def page(version: str, *names: str) -> bytes:
    items = ",".join(f'{{"metadata":{{"name":"{name}"}}}}' for name in names)
    return f'{{"metadata":{{"resourceVersion":"{version}"}},"items":[{items}]}}'.encode()


def added(name: str, version: str) -> bytes:
    return f'{{"type":"ADDED","object":{{"metadata":{{"name":"{name}","resourceVersion":"{version}"}}}}}}\n'.encode()


class Script:
    """A Transport whose answers are given beforehand: to requests, and to watches. Ends the test's reflector when they are used up."""

    def __init__(self, lists: list[Answer], watches: list[list[Answer]]) -> None:
        self.lists: Iterator[Answer] = iter(lists)
        self.watches: Iterator[list[Answer]] = iter(watches)
        self.asked: list[str] = []
        self.waits: list[float] = []
        """The seconds that were waited for; each wait is over at once."""

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def request(self, _method: str, path: str, query: Mapping[str, str], **_: float) -> bytes:
        self.asked.append(f"check {path}" if query.get("limit") == "1" else f"list {path}")
        answer = next(self.lists)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    @asynccontextmanager
    async def stream(self, _path: str, query: Mapping[str, str], _silence: float) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append(f"watch from {query['resourceVersion']}")
        answers = next(self.watches, None)
        if answers is None:
            raise asyncio.CancelledError

        async def chunks() -> AsyncIterator[bytes]:
            for answer in answers:
                if isinstance(answer, ApiError):
                    raise answer
                yield answer

        yield chunks()


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every watch counts as one that lasted."""
    monkeypatch.setattr(under_test, "SHORT", 0.0)


def follow(script: Script, failures: list[ApiError | None] | None = None) -> list[str]:
    """What the reflector tells until the script ends: ``[a b]`` for a list, ``+a`` for an event."""
    told: list[str] = []

    async def run() -> None:
        note = failures.append if failures is not None else lambda _: None
        reflector = Reflector(cast(Transport, script), Resource("/things"), failing=note, sleep=script.sleep)
        async for change in reflector.changes():
            text = f"[{len(change.items)}]" if isinstance(change, Listed) else f"+{change.name}"
            told.append(text)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    return told


def test_query_has_the_selectors_that_there_are() -> None:
    assert Resource("/things").query() == {}
    assert Resource("/things", "a=b", "spec.type=LoadBalancer").query(watch="true", limit="") == {
        "labelSelector": "a=b",
        "fieldSelector": "spec.type=LoadBalancer",
        "watch": "true",
    }


def test_watch_that_ends_at_once_again_and_again_is_not_asked_for_without_pause() -> None:
    cuts: list[list[Answer]] = [[added(f"n{number}", str(number)), ApiError(0, "cut")] for number in range(10, 40)]
    script = Script([page("9"), *(page("99") for _ in cuts)], cuts)
    told, waits = follow(script), script.waits
    assert told == ["[0]", *(f"+n{number}" for number in range(10, 40))], "and yet nothing is lost"
    assert len(waits) == 30
    assert sum(waits[10:]) > 20 * 1.0, "the limit of the waits is 10 s by then, so their mean 5 s"
    assert max(waits) <= 10.0


def test_watch_that_ends_at_once_in_good_order_is_a_failure_too() -> None:
    failures: list[ApiError | None] = []
    script = Script([page("9")], [[], [], []])
    follow(script, failures)
    assert len(script.waits) == 3
    assert "the API server ended a watch after 0.0" in str(failures[2])


def test_version_gone_again_and_again_is_not_listed_for_without_pause() -> None:
    failures: list[ApiError | None] = []
    script = Script([page(str(number)) for number in range(20)], [[GoneError(410, "too old")] for _ in range(19)])
    assert follow(script, failures) == ["[0]"] * 20
    assert len(script.waits) == 19
    assert sum(script.waits[8:]) > 10.0
    assert set(failures) == {None}, "to list again is our own remedy, and no problem to tell"


@pytest.mark.usefixtures("lasting")
def test_waits_begin_anew_after_a_watch_that_lasted() -> None:
    script = Script([page("9"), page("9")], [[ApiError(0, "cut")], []])
    follow(script)
    assert script.waits == []


@pytest.mark.parametrize(("asked", "obeyed"), [(7.0, 7.0), (3600.0, 60.0)])
def test_retry_after_is_obeyed_up_to_a_minute(asked: float, obeyed: float) -> None:
    script = Script([ApiError(429, "slow down", asked), page("9")], [])
    follow(script)
    assert script.waits == [obeyed]


def test_waits_of_many_agents_differ() -> None:
    scripts = [Script([ApiError(500, "etcd is away"), page("9")], []) for _ in range(20)]
    for script in scripts:
        follow(script)
    waits = [wait for script in scripts for wait in script.waits]
    assert len(set(waits)) > 15
    assert all(0 <= wait <= 0.1 for wait in waits)


@pytest.mark.usefixtures("lasting")
def test_watch_that_ended_in_good_order_goes_on_unasked() -> None:
    script = Script([page("9")], [[added("a", "10")], [added("b", "11")]])
    assert follow(script) == ["[0]", "+a", "+b"]
    assert script.asked == ["list /things", "watch from 9", "watch from 10", "watch from 11"]


@pytest.mark.usefixtures("lasting")
def test_watch_goes_on_after_a_failure_where_the_server_knows_the_version() -> None:
    script = Script([page("9"), page("10"), page("12")], [[added("a", "10"), ApiError(0, "cut")], [ApiError(0, "cut")]])
    assert follow(script) == ["[0]", "+a"]
    assert script.asked == ["list /things", "watch from 9", "check /things", "watch from 10", "check /things", "watch from 10"]


@pytest.mark.parametrize("present", ["3", "09x"])
@pytest.mark.usefixtures("lasting")
def test_server_that_lost_its_data_is_listed_again(present: str) -> None:
    script = Script([page("900", "a"), page(present), page("5", "b", "c")], [[ApiError(0, "cut")]])
    assert follow(script) == ["[1]", "[2]"]
    assert script.asked == ["list /things", "watch from 900", "check /things", "list /things", "watch from 5"]


def test_list_that_is_none_is_asked_for_again() -> None:
    failures: list[ApiError | None] = []
    assert follow(Script([b"<html>", page("9", "a")], []), failures) == ["[1]"]
    assert "something that is not a list" in str(failures[0])
    assert failures[1] is None


def test_closing_it_closes_the_watch() -> None:
    closed: list[bool] = []

    class Endless(Script):
        @asynccontextmanager
        async def stream(self, *_: object) -> AsyncIterator[AsyncIterator[bytes]]:
            async def chunks() -> AsyncIterator[bytes]:
                yield added("a", "10")
                await asyncio.sleep(3600)

            try:
                yield chunks()
            finally:
                closed.append(True)

    async def run() -> None:
        changes = Reflector(cast(Transport, Endless([page("9")], [])), Resource("/things")).changes()
        await anext(changes)
        await anext(changes)
        await changes.aclose()
        assert closed == [True]

    asyncio.run(run())
