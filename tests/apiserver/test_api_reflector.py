"""List and watch on a real API server, through a proxy that hurts the connection."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from netlab.api_proxy import ApiProxy, Fault, Rule, Seen, api_proxy
from netlab.control_plane import ControlPlane

from l2announce.errors import ApiError
from l2announce.kube import reflector as under_test
from l2announce.kube.reflector import Change, Listed, Reflector, Resource
from l2announce.kube.transport import Transport
from tests.apiserver.rig import CONFIG_MAPS, Admin, administrator, asynchronous, following, start_api_server, transport, until

pytestmark = pytest.mark.apiserver

RESOURCE = Resource(CONFIG_MAPS, label_selector="test=yes")


@dataclass
class Stand:
    """A reflector of the ConfigMaps with the label test=yes, whose requests go through ``proxy``."""

    admin: Admin
    proxy: ApiProxy
    transport: Transport

    def reflector(self, silence: float = 30.0) -> Reflector:
        self.failures: list[ApiError | None] = []
        return Reflector(self.transport, RESOURCE, silence, self.failures.append)

    async def make(self, *names: str) -> None:
        for name in names:
            await self.admin.create(CONFIG_MAPS, name, {"test": "yes"})

    def lists(self) -> list[Seen]:
        """The lists that ask for content; those of one item only ask how far the server is."""
        return [seen for seen in self.proxy.seen if seen.is_list and seen.query.get("limit") != "1"]

    def watches(self) -> list[Seen]:
        return [seen for seen in self.proxy.seen if seen.is_watch]

    async def watching(self) -> None:
        await until(lambda: self.proxy.watching, "a watch to be under way")


@asynccontextmanager
async def stand(control_plane: ControlPlane) -> AsyncIterator[Stand]:
    """Everything of a test; the cluster is empty."""
    root = control_plane.users[0]
    async with (
        administrator(control_plane) as admin,
        api_proxy(control_plane, (root,)) as (proxy, kubeconfigs),
        transport(kubeconfigs[root.name], 4) as made,
    ):
        yield Stand(admin, proxy, made)


def names(changes: list[Change]) -> list[str]:
    """What was told, as text: ``[a b]`` for a list, ``+a`` ``~a`` ``-a`` for events."""
    signs = {"ADDED": "+", "MODIFIED": "~", "DELETED": "-"}
    return [
        f"[{' '.join(sorted(json.loads(item)['metadata']['name'] for item in change.items))}]"
        if isinstance(change, Listed)
        else signs[change.type] + change.name
        for change in changes
    ]


def first(count: int, fault: Fault, *, watch: bool) -> Rule:
    """Hurt the first ``count`` watches, or lists, and let everything else pass."""
    left = iter(range(count))
    return lambda seen: fault if seen.is_watch is watch and next(left, None) is not None else None


@asynchronous
async def test_list_comes_in_pages_and_the_watch_goes_on_from_it(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "PAGE_SIZE", 3)
    async with stand(control_plane) as at:
        await at.make(*"abcdefgh")
        async with following(at.reflector().changes()) as came:
            await at.watching()
            await at.make("i")
            await until(lambda: len(came) == 2, "the event")
        assert names(came) == ["[a b c d e f g h]", "+i"]
        assert [(seen.query["limit"], "continue" in seen.query) for seen in at.lists()] == [("3", False), ("3", True), ("3", True)]
        [watch] = at.watches()
        assert {key: watch.query[key] for key in ("allowWatchBookmarks", "labelSelector")} == {
            "allowWatchBookmarks": "true",
            "labelSelector": "test=yes",
        }
        assert 300 <= int(watch.query["timeoutSeconds"]) <= 600
        assert int(watch.query["resourceVersion"]) > 0


@asynchronous
async def test_events_come_in_order(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at, following(at.reflector().changes()) as came:
        await at.watching()
        await at.make("a", "b")
        await at.admin.merge(f"{CONFIG_MAPS}/a", data={"x": "1"})
        await at.admin.delete(f"{CONFIG_MAPS}/b")
        await at.admin.merge(f"{CONFIG_MAPS}/a", metadata={"labels": {"test": "no"}})
        await until(lambda: len(came) == 6, "the events")
        assert names(came) == ["[]", "+a", "+b", "~a", "-b", "-a"]


@asynchronous
async def test_bookmarks_carry_the_version_on(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "WATCH_SECONDS", (3, 3))
    async with stand(control_plane) as at, following(at.reflector().changes()) as came:
        await at.watching()
        await at.admin.create(CONFIG_MAPS, "not-selected")
        await until(lambda: len(at.watches()) == 2, "the watch to be renewed")
        assert names(came) == ["[]"]
        assert len(at.lists()) == 1
        former, present = (int(watch.query["resourceVersion"]) for watch in at.watches())
        assert present > former


@asynchronous
async def test_watch_goes_on_after_a_cut_without_a_new_list(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at, following(at.reflector().changes()) as came:
        for name in "abc":
            await at.watching()
            await at.make(name)
            await until(lambda name=name: names(came)[-1] == f"+{name}", "the event")  # type: ignore[misc]
            assert at.proxy.cut_watches() == 1
            await at.make(name * 2)
            await until(lambda name=name: names(came)[-1] == f"+{name * 2}", "the event of the gap")  # type: ignore[misc]
        assert names(came) == ["[]", "+a", "+aa", "+b", "+bb", "+c", "+cc"]
        assert len(at.lists()) == 1
        assert at.failures[-1] is None


@asynchronous
async def test_watch_cut_in_the_middle_of_an_object(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at, following(at.reflector().changes()) as came:
        at.proxy.rule = first(1, Fault(cut_within=b'"kind":"ConfigMap"'), watch=True)
        await until(lambda: names(came) == ["[]"], "the list")
        await at.watching()
        await at.make("a", "b")
        await until(lambda: len(came) == 3, "both events")
        assert names(came) == ["[]", "+a", "+b"]
        assert (len(at.lists()), len(at.watches())) == (1, 2)


@asynchronous
async def test_nothing_is_lost_when_the_version_is_no_longer_kept(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "LONGEST_WAIT", 1.0)
    async with stand(control_plane) as at, following(at.reflector().changes()) as came:
        await at.watching()
        await at.make("stays", "goes")
        await until(lambda: "+goes" in names(came), "the first events")
        at.proxy.rule = lambda _: Fault(status=503)
        at.proxy.cut_watches()
        await at.admin.delete(f"{CONFIG_MAPS}/goes")
        await at.make("new")
        await asyncio.to_thread(control_plane.compact_etcd)
        control_plane.kill("kube-apiserver")
        await start_api_server(control_plane)
        told = len(came)
        at.proxy.seen.clear()
        at.proxy.rule = lambda _: None
        await until(lambda: len(came) > told, "a new list")
        assert names(came)[told:] == ["[new stays]"]
        [watch] = at.watches()[:1]
        assert watch.at < at.lists()[0].at
        await at.watching()
        await at.make("later")
        await until(lambda: names(came)[-1] == "+later", "the watch to go on")


@asynchronous
async def test_expired_continuation_begins_the_list_anew(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "PAGE_SIZE", 2)
    async with stand(control_plane) as at:
        await at.make(*"abc")
        expired = iter([Fault(status=410, body=b'{"kind":"Status","code":410,"reason":"Expired","message":"too old"}')])
        at.proxy.rule = lambda seen: next(expired, None) if "continue" in seen.query else None
        async with following(at.reflector().changes()) as came:
            await until(lambda: came, "the list")
        assert names(came) == ["[a b c]"]
        assert [("continue" in seen.query) for seen in at.lists()] == [False, True, False, True]


@pytest.mark.parametrize("watch", [False, True])
@asynchronous
async def test_retry_after_is_obeyed(control_plane: ControlPlane, watch: bool) -> None:
    async with stand(control_plane) as at:
        at.proxy.rule = first(1, Fault(status=429, headers={"Retry-After": "1"}), watch=watch)
        async with following(at.reflector().changes()) as came:
            await at.watching()
            await at.make("a")
            await until(lambda: names(came) == ["[]", "+a"], "things to be well")
        refused, again = [seen for seen in at.proxy.seen if seen.is_watch is watch and seen.query.get("limit") != "1"]
        assert again.at - refused.at >= 1.0
        assert at.failures[0] is not None or watch
        assert 429 in [failure.code for failure in at.failures if failure is not None]
        assert at.failures[-1] is None


@asynchronous
async def test_failing_server_is_asked_again_after_waits(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        at.proxy.rule = first(5, Fault(status=500), watch=False)
        async with following(at.reflector().changes()) as came:
            await until(lambda: came, "the list")
        gaps = [later.at - earlier.at for earlier, later in zip(at.lists(), at.lists()[1:], strict=False)]
        assert len(gaps) == 5
        assert len({round(gap, 3) for gap in gaps}) > 1
        assert [failure.code if failure else 0 for failure in at.failures[:6]] == [500, 500, 500, 500, 500, 0]


@asynchronous
async def test_silent_watch_is_noticed(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        at.proxy.rule = first(1, Fault(silent=True), watch=True)
        async with following(at.reflector(silence=1.2).changes()) as came:
            await at.watching()
            await at.make("a")
            await until(lambda: names(came) == ["[]", "+a"], "the event that the silent watch kept back")
        assert (len(at.lists()), len(at.watches())) == (1, 2)


@asynchronous
async def test_garbage_ends_the_watch_and_nothing_else(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        at.proxy.rule = first(2, Fault(status=200, body=b"<html>captive portal</html>\n"), watch=True)
        async with following(at.reflector().changes()) as came:
            await until(lambda: names(came) == ["[]"], "the list")
            await at.make("a")
            await until(lambda: names(came) == ["[]", "+a"], "the event")
        assert "not a watch event" in str(next(failure for failure in at.failures if failure))


@asynchronous
async def test_nothing_grows_over_a_thousand_reconnections(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "LONGEST_WAIT", 0.001)
    kubeconfig = control_plane.kubeconfig()
    watched = 0

    async def end_watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal watched
        asked = await reader.readuntil(b"\r\n\r\n")
        if b"watch=true" in asked:
            watched += 1
            body, headers = b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"7"}}}\n{"type":', b""
        else:
            body = b'{"metadata":{"resourceVersion":"7"},"items":[]}'
            headers = b"Content-Length: %d\r\n" % len(body)
        writer.write(b"HTTP/1.1 200 OK\r\n" + headers + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(end_watch, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    local = control_plane.directory / "plain.kubeconfig"
    local.write_text(kubeconfig.read_text().replace(control_plane.url, f"http://127.0.0.1:{port}"))
    async with server, transport(local, 2) as made:
        count = 0

        async def count_changes() -> None:
            nonlocal count
            async for _ in Reflector(made, RESOURCE).changes():
                count += 1

        task = asyncio.create_task(count_changes())

        async def size_after(reconnections: int) -> tuple[int, int]:
            await until(lambda: watched >= reconnections, f"{reconnections} reconnections", 60)
            gc.collect()
            return len(gc.get_objects()), len(list(Path("/proc/self/fd").iterdir()))

        objects, descriptors = await size_after(100)
        objects_later, descriptors_later = await size_after(1100)
        task.cancel()
    assert count >= 1000
    assert objects_later - objects < 1000, "less than one object for a reconnection"
    assert abs(descriptors_later - descriptors) <= 4
