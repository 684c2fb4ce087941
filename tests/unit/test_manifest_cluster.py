"""The directory of manifests, live: every way in which files change is seen, on asyncio and on uvloop."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
import yaml
from asyncinotify import Event, Mask

from l2announce.control.policy import BAD_INTERFACE_REGEX, BAD_NODE_SELECTOR
from l2announce.errors import ConfigurationError
from l2announce.manifests import inotify
from l2announce.manifests import live as under_test
from l2announce.manifests.cluster import ManifestCluster
from l2announce.manifests.inotify import Watcher
from l2announce.model.conditions import Condition
from l2announce.model.objects import ClusterState

PATIENCE = 30.0
"""Seconds that a busy machine is given for what takes milliseconds."""

Story = Callable[["View"], Awaitable[None]]
Play = Callable[[Path, Story], None]


class View:
    """The states of one cluster as they come."""

    def __init__(self, states: AsyncIterator[ClusterState]) -> None:
        self._states = states

    async def until(self, condition: Callable[[ClusterState], bool]) -> ClusterState:
        """The next state for which ``condition`` holds; fails when none comes in time."""

        async def search() -> ClusterState:
            async for state in self._states:
                if condition(state):
                    return state
            raise AssertionError("the states never end")

        return await asyncio.wait_for(search(), PATIENCE)

    async def nodes(self, *names: str) -> ClusterState:
        """The next state with exactly these nodes."""
        return await self.until(lambda state: set(state.nodes) == set(names))


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Play:
    """Play a story against a directory, on each kind of event loop."""
    factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    def run(directory: Path, story: Story) -> None:
        async def main() -> None:
            await story(View(ManifestCluster(directory).states()))

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run


def node(name: str) -> str:
    return f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n"


def test_files_appear_change_move_and_go(tmp_path: Path, play: Play) -> None:
    (tmp_path / "a.yaml").write_text(node("a"))

    async def story(view: View) -> None:
        await view.nodes("a")
        (tmp_path / "b.yaml").write_text(node("b"))
        await view.nodes("a", "b")
        (tmp_path / "b.yaml").write_text(node("bb"))
        await view.nodes("a", "bb")
        (tmp_path / "b.new").write_text(node("b"))
        (tmp_path / "b.new").replace(tmp_path / "b.yaml")  # as careful editors do
        await view.nodes("a", "b")
        (tmp_path / "b.yaml").rename(tmp_path / "b.off")
        await view.nodes("a")
        (tmp_path / "b.off").rename(tmp_path / "c.yml")
        await view.nodes("a", "b")
        (tmp_path / "a.yaml").unlink()
        await view.nodes("b")

    play(tmp_path, story)


def test_a_file_is_read_when_its_writer_is_done(tmp_path: Path, play: Play) -> None:
    async def story(view: View) -> None:
        await view.nodes()
        with (tmp_path / "slow.yaml").open("w") as file:
            file.write("apiVersion: v1\nkind: [")
            file.flush()
            (tmp_path / "other.yaml").write_text(node("other"))
            state = await view.nodes("other")
            assert state.problems == ()  # the half-written file was not looked at
            file.seek(0)
            file.write(node("slow"))
            file.truncate()
        assert (await view.nodes("other", "slow")).problems == ()

    play(tmp_path, story)


def test_files_of_editors_and_our_own_make_no_state(tmp_path: Path, play: Play) -> None:
    (tmp_path / "a.yaml").write_text(node("a"))

    async def story(view: View) -> None:
        await view.nodes("a")
        for name in (".a.yaml.swp", "a.yaml~", "4913", ".#a.yaml", "notes.txt"):
            (tmp_path / name).write_text("{ not yaml")
        (tmp_path / ".cluster" / "status").mkdir(parents=True)
        (tmp_path / ".cluster" / "x.yaml").write_text(node("hidden"))
        (tmp_path / "a.yaml").touch()
        (tmp_path / "a.yaml").chmod(0o600)
        (tmp_path / "b.yaml").write_text(node("b"))
        state = await view.until(lambda _: True)  # the very next state is that of b.yaml
        assert (set(state.nodes), state.problems) == ({"a", "b"}, ())

    play(tmp_path, story)


def test_links_to_finished_files_are_read_at_once(tmp_path: Path, play: Play) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "one").write_text(node("one"))
    (store / "two").write_text(node("two"))
    manifests = tmp_path / "m"
    manifests.mkdir()

    async def story(view: View) -> None:
        await view.nodes()
        (manifests / "soft.yaml").symlink_to(store / "one")
        await view.nodes("one")
        (manifests / "hard.yaml").hardlink_to(store / "two")
        await view.nodes("one", "two")

    play(manifests, story)


def test_directories_appear_move_and_go(tmp_path: Path, play: Play) -> None:
    manifests = tmp_path / "m"
    manifests.mkdir()

    async def story(view: View) -> None:
        await view.nodes()
        (manifests / "sub" / "deep").mkdir(parents=True)
        (manifests / "sub" / "deep" / "a.yaml").write_text(node("a"))
        await view.nodes("a")
        (manifests / "sub" / "deep" / "a.yaml").write_text(node("aa"))
        await view.nodes("aa")
        (manifests / "sub").rename(tmp_path / "away")
        await view.nodes()
        (tmp_path / "away").rename(manifests / "back")
        await view.nodes("aa")
        (manifests / "back" / "deep" / "b.yaml").write_text(node("b"))
        await view.nodes("aa", "b")
        (manifests / "back" / "deep").chmod(0o755)
        (manifests / "back" / "deep" / "a.yaml").unlink()
        await view.nodes("b")
        (manifests / "back" / "deep" / "b.yaml").unlink()
        (manifests / "back" / "deep").rmdir()
        (manifests / "back").rmdir()
        await view.nodes()

    play(manifests, story)


def test_a_swap_of_a_configmap_volume(tmp_path: Path, play: Play) -> None:
    for version, name in (("..v1", "one"), ("..v2", "two")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(node(name))
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")

    async def story(view: View) -> None:
        await view.nodes("one")
        (tmp_path / "..data_tmp").symlink_to("..v2")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await view.nodes("two")

    play(tmp_path, story)


def test_a_broken_file_is_told_and_mended(tmp_path: Path, play: Play) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(node("a"))

    async def story(view: View) -> None:
        before = await view.nodes("a")
        file.write_text("kind: [")
        broken = await view.until(lambda state: bool(state.problems))
        assert broken.nodes == before.nodes
        assert [(found.subject, found.reason) for found in broken.problems] == [(f"{file}:1", "BrokenFile")]
        file.write_text(node("a") + "# mended\n")
        assert await view.until(lambda state: not state.problems) == before

    play(tmp_path, story)


@pytest.mark.parametrize("parents", [False, True])
def test_the_directory_may_go_and_come_back(tmp_path: Path, play: Play, parents: bool) -> None:
    top = tmp_path / "top"
    manifests = top / "m"
    manifests.mkdir(parents=True)
    (manifests / "a.yaml").write_text(node("a"))

    async def story(view: View) -> None:
        before = await view.nodes("a")
        (manifests / "a.yaml").unlink()
        for path in (manifests, *([top] if parents else [])):  # whole: what is removed bit by bit, is filled again meanwhile
            shutil.rmtree(path.rename(tmp_path / "away"))
        gone = await view.until(lambda state: any(found.reason == "NoDirectory" for found in state.problems))
        assert set(gone.nodes) <= set(before.nodes)
        manifests.mkdir(parents=True)
        await view.until(lambda state: not state.problems)
        (manifests / "b.yaml").write_text(node("b"))
        await view.nodes("b")

    play(manifests, story)


def test_a_directory_that_moves_away_whole_keeps_its_objects_in_force(tmp_path: Path, play: Play) -> None:
    manifests = tmp_path / "m"
    manifests.mkdir()
    (manifests / "a.yaml").write_text(node("a"))

    async def story(view: View) -> None:
        before = await view.nodes("a")
        manifests.rename(tmp_path / "away")
        gone = await view.until(lambda state: bool(state.problems))
        assert gone.nodes == before.nodes
        (tmp_path / "away").rename(manifests)
        assert await view.until(lambda state: not state.problems) == before

    play(manifests, story)


def test_a_burst_makes_few_states(tmp_path: Path, play: Play) -> None:
    count = 0

    async def story(view: View) -> None:
        nonlocal count
        await view.nodes()
        names = [f"n{number}" for number in range(200)]
        for name in names:
            (tmp_path / f"{name}.yaml").write_text(node(name))

        def complete(state: ClusterState) -> bool:
            nonlocal count
            count += 1
            return set(state.nodes) == set(names)

        await view.until(complete)

    play(tmp_path, story)
    assert count == 1  # written without giving the loop a turn: seen as one


def test_a_directory_that_never_rests_is_read_nevertheless(tmp_path: Path) -> None:
    async def main() -> None:
        view = View(ManifestCluster(tmp_path).states())
        await view.nodes()
        (tmp_path / "a.yaml").write_text(node("a"))

        async def never_rest() -> None:
            number = 0
            while True:
                (tmp_path / "noise.yaml").write_text(node(f"n{number % 2}"))
                number += 1
                await asyncio.sleep(0.002)

        noise = asyncio.create_task(never_rest())
        try:
            await view.until(lambda state: "a" in state.nodes)
        finally:
            noise.cancel()

    asyncio.run(main())


def test_a_directory_that_is_not_there_at_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        await anext(ManifestCluster(tmp_path / "gone").states())

    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(main())
    assert str(caught.value) == f"--manifests {tmp_path / 'gone'}: is not a directory; create it or name another one"


def test_no_inotify_instance_is_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(inotify, "Inotify", refuse)

    async def main() -> None:
        await anext(ManifestCluster(tmp_path).states())

    with pytest.raises(
        ConfigurationError, match=r"no inotify instance: Too many open files; raise the sysctl fs.inotify.max_user_instances"
    ):
        asyncio.run(main())


def test_a_directory_that_cannot_be_watched_is_told_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.yaml").write_text(node("a"))
    real = Watcher.add

    def refuse(self: Watcher, directory: Path, mask: Mask) -> None:
        if directory.name == "sub":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, directory, mask)

    monkeypatch.setattr(Watcher, "add", refuse)

    async def main() -> ClusterState:
        return await anext(ManifestCluster(tmp_path).states())

    state = asyncio.run(main())
    assert set(state.nodes) == {"a"}
    assert [(found.subject, found.reason) for found in state.problems] == [(str(tmp_path / "sub"), "NotWatched")]
    assert "raise the sysctl fs.inotify.max_user_watches" in state.problems[0].message


def test_a_lower_directory_that_goes_before_it_is_watched_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text(node("a"))
    real = Watcher.add

    def vanish(self: Watcher, directory: Path, mask: Mask) -> None:
        if directory.name == "sub":
            directory.rmdir()
        real(self, directory, mask)

    monkeypatch.setattr(Watcher, "add", vanish)

    async def main() -> ClusterState:
        return await anext(ManifestCluster(tmp_path).states())

    state = asyncio.run(main())
    assert (set(state.nodes), state.problems) == ({"a"}, ())


def test_after_an_overflow_everything_is_looked_at_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip("the kernel's queue is too long to overflow it here")

    async def main() -> None:
        view = View(ManifestCluster(tmp_path).states())
        await view.nodes()
        one, two = tmp_path / "one.txt", tmp_path / "two.txt"
        one.touch()
        for _ in range(limit // 2 + 1):  # two events each, and no turn for the loop
            one.rename(two)
            two.rename(one)
        (tmp_path / "a.yaml").write_text(node("a"))  # its events are lost
        await view.nodes("a")

    asyncio.run(main())


# -- the watcher itself


def test_waiting_returns_once_for_what_happened_meanwhile(tmp_path: Path) -> None:
    async def main() -> None:
        events: list[str] = []
        with Watcher(lambda event: events.append(str(event.name))) as watcher:
            watcher.add(tmp_path, Mask.CREATE)
            (tmp_path / "a").touch()
            await asyncio.wait_for(watcher.wait(), PATIENCE)
            assert events == ["a"]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watcher.wait(), 0.02)

    asyncio.run(main())


def test_watching_what_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def main() -> None:
        with Watcher(lambda _event: None) as watcher:
            with pytest.raises(NotADirectoryError):
                watcher.add(tmp_path / "file", Mask.CREATE)
            with pytest.raises(FileNotFoundError):
                watcher.add(tmp_path / "gone", Mask.CREATE)

    asyncio.run(main())


def test_watchers_leave_no_descriptor_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def main() -> None:
        with Watcher(lambda _event: None):
            pass
        before = descriptors()
        for _ in range(5):
            with Watcher(lambda _event: None) as watcher:
                watcher.add(tmp_path, Mask.CREATE)
        assert descriptors() == before

    asyncio.run(main())


def test_waiting_for_a_directory_whose_parents_come_one_by_one(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c"

    async def main() -> None:
        waiting = asyncio.create_task(inotify.wait_until_there(target))
        for path in (*reversed(target.parents), target):
            if path.is_relative_to(tmp_path) and path != tmp_path:
                await asyncio.sleep(0)
                assert not waiting.done()
                path.mkdir()
        await asyncio.wait_for(waiting, PATIENCE)
        await asyncio.wait_for(inotify.wait_until_there(target), PATIENCE)

    asyncio.run(main())


def test_waiting_for_a_directory_whose_parent_goes_as_it_is_to_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a" / "b"
    target.parent.mkdir()
    real, calls = Watcher.add, 0

    def vanish(self: Watcher, directory: Path, mask: Mask) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            directory.rmdir()
        real(self, directory, mask)

    monkeypatch.setattr(Watcher, "add", vanish)

    async def main() -> None:
        waiting = asyncio.create_task(inotify.wait_until_there(target))
        while calls < 2:
            await asyncio.sleep(0)
        target.mkdir(parents=True)
        await asyncio.wait_for(waiting, PATIENCE)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


# -- statuses

POLICY = "apiVersion: cilium.io/v2alpha1\nkind: CiliumL2AnnouncementPolicy\nmetadata: {name: NAME, generation: 3}\n"


def status_of(directory: Path, name: str) -> list[dict[str, object]]:
    document = yaml.safe_load((directory / ".cluster/status/ciliuml2announcementpolicies" / f"{name}.yaml").read_text())
    assert (document["kind"], document["metadata"]) == ("CiliumL2AnnouncementPolicy", {"name": name})
    found: list[dict[str, object]] = document["status"]["conditions"]
    return found


def wanted(kind: str, message: str) -> tuple[Condition, ...]:
    return (Condition(kind, "True", "error", message, 3),)


def test_conditions_of_policies_become_files(tmp_path: Path) -> None:
    place = tmp_path / ".cluster/status/ciliuml2announcementpolicies"
    now = 1_700_000_000.0

    async def main() -> None:
        nonlocal now
        cluster = ManifestCluster(tmp_path, lambda: now)
        assert await cluster.write_policy_status({"bad.one": wanted(BAD_INTERFACE_REGEX, "first; second"), "good": ()})
        true = {
            "type": BAD_INTERFACE_REGEX,
            "status": "True",
            "reason": "error",
            "message": "first; second",
            "observedGeneration": 3,
            "lastTransitionTime": "2023-11-14T22:13:20Z",
        }
        assert [path.name for path in place.iterdir()] == ["bad.one.yaml"]
        assert status_of(tmp_path, "bad.one") == [true]
        inode = (place / "bad.one.yaml").stat().st_ino
        now += 60
        await cluster.write_policy_status({"bad.one": wanted(BAD_INTERFACE_REGEX, "first; second")})
        assert (place / "bad.one.yaml").stat().st_ino == inode  # nothing new: left alone
        await cluster.write_policy_status({"bad.one": wanted(BAD_INTERFACE_REGEX, "else")})
        assert status_of(tmp_path, "bad.one") == [{**true, "message": "else"}]  # no transition
        await cluster.write_policy_status({})
        assert list(place.iterdir()) == []  # the policy is gone

    asyncio.run(main())


@pytest.mark.parametrize(
    "spoilt",
    [
        b"{",
        b"\xff",
        b"[]",
        b"status: {conditions: [x]}",
        b"status: {conditions: [{type: [a], status: x, message: y, lastTransitionTime: z}]}",
        b"status: {conditions: [{type: a, status: x}]}",
        b"a: !!timestamp x",
        b"a: !!int ''",
    ],
)
def test_a_spoilt_status_file_is_replaced(tmp_path: Path, spoilt: bytes) -> None:
    (tmp_path / "l2.yaml").write_text(POLICY.replace("NAME", "l2"))
    place = tmp_path / ".cluster/status/ciliuml2announcementpolicies"
    place.mkdir(parents=True)
    (place / "l2.yaml").write_bytes(spoilt)

    async def main() -> None:
        assert await ManifestCluster(tmp_path).write_policy_status({"l2": wanted(BAD_NODE_SELECTOR, "words")})

    asyncio.run(main())
    assert [condition["message"] for condition in status_of(tmp_path, "l2")] == ["words"]
    assert [path.name for path in place.iterdir()] == ["l2.yaml"]


def test_a_status_that_cannot_be_written_is_logged_and_not_fatal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "l2.yaml").write_text(POLICY.replace("NAME", "l2"))
    (tmp_path / ".cluster").write_text("in the way")

    async def main() -> None:
        assert not await ManifestCluster(tmp_path).write_policy_status({"l2": wanted(BAD_NODE_SELECTOR, "words")})

    asyncio.run(main())
    assert f"policy status not written: Not a directory; make {tmp_path / '.cluster'} writable" in caplog.text


def test_the_descriptor_of_a_watcher_never_blocks() -> None:
    async def main() -> None:
        with Watcher(lambda _event: None) as watcher:
            assert not os.get_blocking(watcher._inotify.fd)

    asyncio.run(main())


def test_no_inotify_instance_after_the_start_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def watcher(note: Callable[[Event], None]) -> Watcher:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConfigurationError("no inotify instance: Too many open files; raise the sysctl fs.inotify.max_user_instances")
        return Watcher(note)

    monkeypatch.setattr(under_test, "Watcher", watcher)
    monkeypatch.setattr(under_test, "TRY_AGAIN", 0.02)

    async def run() -> None:
        states = ManifestCluster(tmp_path).states()
        assert not (await anext(states)).problems
        (tmp_path / "sub").mkdir()  # is to be watched, too
        (tmp_path / "sub" / "bad.yaml").write_text("{")
        assert (await asyncio.wait_for(anext(states), 30)).problems

    asyncio.run(run())
    assert calls == 3
    assert "fs.inotify.max_user_instances; trying again" in caplog.text
