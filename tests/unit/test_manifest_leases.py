"""Leases in files: compare-and-swap that holds between processes, whatever is killed, spoilt or removed meanwhile."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from asyncinotify import Event, Mask

from l2announce.control.ports import LeaseObserved, LeasesListed
from l2announce.errors import ConfigurationError
from l2announce.manifests import store as under_test
from l2announce.manifests.inotify import Watcher
from l2announce.manifests.leases import FileLeases, decode_stored, read_leases
from l2announce.manifests.versioned import DamagedError, Token, VersionedFile, create, is_token, new_token
from l2announce.model.lease import Conflict, Lease, LeaseWrite, Unreachable, Verb, WriteOutcome, Written

NAMESPACE = "kube-system"
NAME = "cilium-l2announce-default.web"
PATIENCE = 30.0
"""Seconds that a busy machine is given for what takes milliseconds."""

T = TypeVar("T")


def place(directory: Path) -> Path:
    return directory / ".cluster" / "leases" / NAMESPACE


def opened(directory: Path) -> VersionedFile[Lease]:
    """The directory of one lease, open."""
    return VersionedFile(directory, decode_stored)


def store(directory: Path, wall_clock: Callable[[], float] = lambda: 1_700_000_000.25, time_limit: float = PATIENCE) -> FileLeases:
    return FileLeases(directory, NAMESPACE, wall_clock, time_limit)


def wanted(verb: Verb, holder: str, base: Lease | None, name: str = NAME, **annotations: str) -> LeaseWrite:
    return LeaseWrite(verb, name, holder, 15.0, base, annotations)


def write(directory: Path, verb: Verb, holder: str, base: Lease | None, name: str = NAME) -> WriteOutcome:
    return asyncio.run(store(directory).write(wanted(verb, holder, base, name)))


def written(outcome: WriteOutcome) -> Lease:
    assert isinstance(outcome, Written), outcome
    return outcome.lease


def acquired(directory: Path, holder: str = "n1", name: str = NAME) -> Lease:
    return written(write(directory, Verb.ACQUIRE, holder, None, name))


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in (place(directory) / NAME).iterdir())


# -- one writer


def test_a_lease_is_created_renewed_taken_and_released(tmp_path: Path) -> None:
    first = acquired(tmp_path)
    assert (first.name, first.holder_identity, first.lease_duration, first.lease_transitions) == (NAME, "n1", 15.0, 0)
    assert first.acquire_time == first.renew_time == "2023-11-14T22:13:20.250000Z"
    second = written(write(tmp_path, Verb.RENEW, "n1", first))
    assert second.resource_version != first.resource_version
    third = written(write(tmp_path, Verb.ACQUIRE, "n2", second))
    assert (third.holder_identity, third.lease_transitions) == ("n2", 1)
    fourth = written(write(tmp_path, Verb.RELEASE, "n2", third))
    assert (fourth.holder_identity, fourth.lease_duration, fourth.lease_transitions) == ("", 1.0, 1)
    assert read_leases(tmp_path, NAMESPACE) == (fourth,)


def test_what_is_on_the_disk_is_one_token_and_one_lease_in_json(tmp_path: Path) -> None:
    lease = acquired(tmp_path)
    assert files(tmp_path) == sorted([f"current.{lease.resource_version}", f"{lease.resource_version}.json"])
    document = json.loads((place(tmp_path) / NAME / f"{lease.resource_version}.json").read_bytes())
    assert (document["apiVersion"], document["kind"]) == ("coordination.k8s.io/v1", "Lease")
    assert document["metadata"] == {"name": NAME, "namespace": NAMESPACE, "resourceVersion": lease.resource_version}
    assert document["spec"] == {
        "holderIdentity": "n1",
        "leaseDurationSeconds": 15,
        "acquireTime": "2023-11-14T22:13:20.250000Z",
        "renewTime": "2023-11-14T22:13:20.250000Z",
        "leaseTransitions": 0,
    }


def test_old_versions_are_removed(tmp_path: Path) -> None:
    lease = acquired(tmp_path)
    for _ in range(5):
        lease = written(write(tmp_path, Verb.RENEW, "n1", lease))
    assert lease.resource_version.startswith("6-")
    assert len(files(tmp_path)) == 2


def test_a_write_on_an_old_version_is_a_conflict_and_changes_nothing(tmp_path: Path) -> None:
    first = acquired(tmp_path)
    second = written(write(tmp_path, Verb.RENEW, "n1", first))
    before = files(tmp_path)
    assert write(tmp_path, Verb.ACQUIRE, "n2", first) == Conflict(second)
    assert write(tmp_path, Verb.ACQUIRE, "n2", None) == Conflict(second)
    assert (read_leases(tmp_path, NAMESPACE), files(tmp_path)) == ((second,), before)


def test_a_deleted_lease_is_a_tombstone_so_that_no_version_comes_twice(tmp_path: Path) -> None:
    first = acquired(tmp_path)
    assert asyncio.run(store(tmp_path).delete(NAME)) == Written(first)
    assert asyncio.run(store(tmp_path).delete(NAME)) == Conflict(None)
    assert read_leases(tmp_path, NAMESPACE) == ()
    (token,) = files(tmp_path)
    assert token.startswith("deleted.2-")
    assert write(tmp_path, Verb.RENEW, "n1", first) == Conflict(None)
    again = acquired(tmp_path, "n2")
    assert again.resource_version.startswith("3-")
    assert again.lease_transitions == 0
    assert write(tmp_path, Verb.RENEW, "n1", first) == Conflict(again)


def test_deleting_what_is_not_there(tmp_path: Path) -> None:
    assert asyncio.run(store(tmp_path).delete(NAME)) == Conflict(None)


def test_a_directory_that_was_removed_and_made_anew_has_other_versions(tmp_path: Path) -> None:
    first = acquired(tmp_path)
    for path in (place(tmp_path) / NAME).iterdir():
        path.unlink()
    (place(tmp_path) / NAME).rmdir()
    assert write(tmp_path, Verb.RENEW, "n1", first) == Conflict(None)
    second = acquired(tmp_path, "n2")
    assert second.resource_version.startswith("1-")
    assert write(tmp_path, Verb.RENEW, "n1", first) == Conflict(second)


def test_annotations_are_those_of_the_last_write(tmp_path: Path) -> None:
    first = written(asyncio.run(store(tmp_path).write(wanted(Verb.ACQUIRE, "n1", None, a="b"))))
    assert read_leases(tmp_path, NAMESPACE)[0].annotations == {"a": "b"}
    written(asyncio.run(store(tmp_path).write(wanted(Verb.RENEW, "n1", first, c="d"))))
    assert read_leases(tmp_path, NAMESPACE)[0].annotations == {"c": "d"}


def test_leases_are_listed_by_name(tmp_path: Path) -> None:
    assert read_leases(tmp_path, NAMESPACE) == ()
    for name in ("b", "a", "c"):
        acquired(tmp_path, name=name)
    assert [lease.name for lease in read_leases(tmp_path, NAMESPACE)] == ["a", "b", "c"]
    assert read_leases(tmp_path, "other") == ()


# -- bad input


@pytest.mark.parametrize("name", ["../x", "", "A", "a/b", ".hidden"])
def test_a_name_that_no_lease_has(tmp_path: Path, name: str) -> None:
    reason = Unreachable(f"lease {name!r}: is not the name of a Lease")
    assert write(tmp_path, Verb.ACQUIRE, "n1", None, name) == reason
    assert asyncio.run(store(tmp_path).delete(name)) == reason
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("namespace", ["..", "a.b", "", "Kube"])
def test_a_namespace_that_cannot_be(tmp_path: Path, namespace: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a namespace"):
        FileLeases(tmp_path, namespace)


# -- what others may leave behind or spoil


@pytest.mark.parametrize("spoilt", [b"", b"{", b'{"metadata": {}}', b"\xff\xfe", b"[]", b'{"metadata": {"name": 3}}'])
def test_a_spoilt_lease_counts_as_deleted_is_reported_and_can_be_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoilt: bytes
) -> None:
    first = acquired(tmp_path)
    content = place(tmp_path) / NAME / f"{first.resource_version}.json"
    content.write_bytes(spoilt)
    assert read_leases(tmp_path, NAMESPACE) == ()
    assert f"{content}: counts as deleted: " in caplog.text
    assert write(tmp_path, Verb.RENEW, "n1", first) != Conflict(first)
    again = read_leases(tmp_path, NAMESPACE) or (acquired(tmp_path, "n2"),)
    assert again[0].resource_version.startswith("2-")


def test_a_lease_whose_content_was_removed_counts_as_deleted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = acquired(tmp_path)
    (place(tmp_path) / NAME / f"{first.resource_version}.json").unlink()
    assert read_leases(tmp_path, NAMESPACE) == ()
    assert "counts as deleted: [Errno 2]" in caplog.text
    assert acquired(tmp_path, "n2").resource_version.startswith("2-")


def test_the_name_and_version_of_a_lease_are_those_of_its_place(tmp_path: Path) -> None:
    first = acquired(tmp_path)
    content = place(tmp_path) / NAME / f"{first.resource_version}.json"
    document = json.loads(content.read_bytes())
    document["metadata"].update(name="other", resourceVersion="99-x")
    content.write_text(json.dumps(document))
    assert read_leases(tmp_path, NAMESPACE) == (first,)


def test_a_directory_without_a_token_is_told_with_a_remedy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = acquired(tmp_path)
    (place(tmp_path) / NAME / f"current.{first.resource_version}").unlink()
    message = f"{place(tmp_path) / NAME}: holds no object any more; remove the directory"
    with opened(place(tmp_path) / NAME) as file, pytest.raises(DamagedError) as caught:
        file.read()
    assert str(caught.value) == message
    assert write(tmp_path, Verb.RENEW, "n1", first) == Unreachable(f"lease {NAME}: {message}")
    assert asyncio.run(store(tmp_path).delete(NAME)) == Unreachable(f"lease {NAME}: {message}")
    assert read_leases(tmp_path, NAMESPACE) == ()
    assert message in caplog.text


def test_files_of_others_in_a_lease_directory_are_left_alone(tmp_path: Path) -> None:
    first = acquired(tmp_path)
    (place(tmp_path) / NAME / "notes.txt").write_text("mine")
    (place(tmp_path) / "README").write_text("mine")
    assert read_leases(tmp_path, NAMESPACE) == (first,)
    written(write(tmp_path, Verb.RENEW, "n1", first))
    assert "notes.txt" in files(tmp_path)


def test_a_lease_that_is_a_file(tmp_path: Path) -> None:
    place(tmp_path).mkdir(parents=True)
    (place(tmp_path) / NAME).write_text("mine")
    outcome = write(tmp_path, Verb.ACQUIRE, "n1", None)
    assert isinstance(outcome, Unreachable)
    assert "Not a directory; it must be there and writable" in outcome.reason
    assert [path.name for path in place(tmp_path).iterdir()] == [NAME]


@pytest.mark.parametrize("step", ["put_content", "swap", "clean"])
def test_a_writer_that_dies_before_a_step_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> bool:
        raise Killed

    first = acquired(tmp_path)
    with monkeypatch.context() as patch, opened(place(tmp_path) / NAME) as file:
        patch.setattr(VersionedFile, step, die)
        token, _ = file.read()
        with pytest.raises(Killed):
            file.replace(token, token.next(), (place(tmp_path) / NAME / f"{first.resource_version}.json").read_bytes())
    (lease,) = read_leases(tmp_path, NAMESPACE)
    assert (lease.resource_version == first.resource_version) == (step != "clean")  # before the swap nothing happened, after it everything
    for _ in range(2):
        lease = written(write(tmp_path, Verb.RENEW, "n1", lease))
    assert len(files(tmp_path)) == 2  # what the dead writer left is gone as well


def test_a_creator_that_dies_leaves_a_directory_that_is_removed_later(tmp_path: Path) -> None:
    first = acquired(tmp_path)
    left_over = place(tmp_path) / ".0123456789abcdef"
    left_over.mkdir()
    (left_over / new_token(0, deleted=True).name).touch()
    fresh = place(tmp_path) / ".fedcba9876543210"
    fresh.mkdir()
    now = left_over.stat().st_mtime
    os.utime(left_over, (now - 61, now - 61))
    odd = place(tmp_path) / ".file"
    odd.touch()
    os.utime(odd, (now - 61, now - 61))

    async def first_event() -> LeasesListed | LeaseObserved:
        return await anext(store(tmp_path, lambda: now).watch())

    assert asyncio.run(first_event()) == LeasesListed((first,))
    assert not left_over.exists()
    assert fresh.exists()
    assert odd.exists()


def test_two_creators_at_once_make_one_lease(tmp_path: Path) -> None:
    place(tmp_path).mkdir(parents=True)
    create(place(tmp_path), NAME)
    token = files(tmp_path)
    create(place(tmp_path), NAME)
    assert files(tmp_path) == token
    assert [path.name for path in place(tmp_path).iterdir()] == [NAME]


def test_a_writer_that_was_overtaken_fails_even_if_it_sleeps_between_its_steps(tmp_path: Path) -> None:
    acquired(tmp_path)
    with opened(place(tmp_path) / NAME) as sleeper, opened(place(tmp_path) / NAME) as other:
        old, lease = sleeper.read()
        assert lease is not None
        mine, theirs = old.next(), old.next()
        data = (place(tmp_path) / NAME / f"{old.resource_version}.json").read_bytes()
        sleeper.put_content(mine, data)
        assert other.replace(old, theirs, data)
        assert not sleeper.swap(old, mine)
        assert sleeper.token() == theirs


def test_a_writer_that_fails_takes_its_content_back(tmp_path: Path) -> None:
    acquired(tmp_path)
    before = files(tmp_path)
    with opened(place(tmp_path) / NAME) as file:
        token = file.token()
        assert not file.replace(token.next(), token.next().next(), b"{}")
    assert files(tmp_path) == before


def test_a_full_disk_is_unreachable_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = acquired(tmp_path)
    before = files(tmp_path)

    class FullFile:
        def __init__(self, descriptor: int, _mode: str) -> None:
            self._descriptor = descriptor

        def __enter__(self) -> "FullFile":
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self._descriptor)

        def write(self, _: bytes) -> None:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, opened(place(tmp_path) / NAME) as file:
        token, _ = file.read()
        patch.setattr("l2announce.manifests.versioned.os.fdopen", FullFile)
        with pytest.raises(OSError, match="No space left"):
            file.replace(token, token.next(), b"{}")
    assert (files(tmp_path), read_leases(tmp_path, NAMESPACE)) == (before, (first,))


def test_reading_goes_on_while_others_write_and_gives_up_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = acquired(tmp_path)
    directory = place(tmp_path) / NAME
    data = (directory / f"{first.resource_version}.json").read_bytes()
    missed = 0
    real = VersionedFile._content

    def overtaken(self: VersionedFile[Lease], token: Token) -> Lease:
        nonlocal missed
        if missed < limit:
            missed += 1
            with opened(directory) as other:
                assert other.replace(token, token.next(), data)
        return real(self, token)

    monkeypatch.setattr(VersionedFile, "_content", overtaken)
    limit = 5
    with opened(directory) as file:
        assert file.read()[0].version == 6
    missed, limit = 0, 10**6
    with opened(directory) as file, pytest.raises(DamagedError, match="changes faster than it can be read"):
        file.read()


def test_tokens() -> None:
    token = Token(5, "5-0123456789abcdef", deleted=False)
    assert token.name == "current.5-0123456789abcdef"
    assert token.next(deleted=True).name.startswith("deleted.6-")
    assert token.next() != token.next()
    assert is_token(token.name)
    assert not any(map(is_token, ["current.5", "current.5-0123456789abcdef.json", "5-0123456789abcdef.json", "current.x-0123456789abcdef"]))
    assert Token(10, "10-0", deleted=False) > Token(9, "9-f", deleted=False)


# -- a disk that is slow, away, or not for us


def test_a_disk_that_does_not_answer_is_unreachable_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acquired(tmp_path)
    answers = threading.Event()

    def stuck(_self: VersionedFile[Lease]) -> tuple[Token, None]:
        assert answers.wait(PATIENCE)
        return new_token(0, deleted=True), None

    monkeypatch.setattr(VersionedFile, "read", stuck)

    async def attempt() -> WriteOutcome:
        try:
            return await store(tmp_path, time_limit=0.05).write(wanted(Verb.ACQUIRE, "n1", None))
        finally:
            answers.set()

    assert asyncio.run(attempt()) == Unreachable(f"lease {NAME}: the disk of {place(tmp_path)} did not answer within 0.05 s")


def test_a_directory_that_is_gone_is_unreachable_and_not_made_again(tmp_path: Path) -> None:
    outcome = write(tmp_path / "gone", Verb.ACQUIRE, "n1", None)
    assert outcome == Unreachable(f"lease {NAME}: {tmp_path / 'gone'}: No such directory; it must be there and writable")
    assert not (tmp_path / "gone").exists()


def test_the_trouble_of_the_last_write_is_known(tmp_path: Path) -> None:
    async def attempts() -> list[str]:
        leases = store(tmp_path)
        found = [leases.trouble]
        (tmp_path / ".cluster").write_text("in the way")
        await leases.write(wanted(Verb.ACQUIRE, "n1", None))
        found.append(leases.trouble)
        (tmp_path / ".cluster").unlink()
        await leases.write(wanted(Verb.ACQUIRE, "n1", None))
        return [*found, leases.trouble]

    before, refused, after = asyncio.run(attempts())
    assert refused.startswith(f"lease {NAME}: {tmp_path / '.cluster'}")
    assert before == after == ""


def test_a_place_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / ".cluster").write_text("in the way")
    outcome = write(tmp_path, Verb.ACQUIRE, "n1", None)
    assert isinstance(outcome, Unreachable)
    assert outcome.reason.startswith(f"lease {NAME}: {tmp_path / '.cluster'}")

    async def first_event() -> object:
        return await anext(store(tmp_path).watch())

    with pytest.raises(ConfigurationError, match="a lease needs a directory that can be written and watched"):
        asyncio.run(first_event())


# -- several processes

_INCREMENT = """
import asyncio, sys
from pathlib import Path
from l2announce.manifests.leases import FileLeases
from l2announce.model.lease import Conflict, LeaseWrite, Verb, Written

async def main(directory, identity, times):
    store, base, done = FileLeases(Path(directory), "kube-system", time_limit=60.0), None, 0
    while done < times:
        count = int(base.annotations["count"]) if base else 0
        outcome = await store.write(LeaseWrite(Verb.ACQUIRE, "counter", identity, 15.0, base, {"count": str(count + 1)}))
        if isinstance(outcome, Written):
            base, done = outcome.lease, done + 1
            print(count + 1, flush=True)
        elif isinstance(outcome, Conflict):
            base = outcome.current
        else:
            raise SystemExit(outcome.reason)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def incrementer(directory: Path, identity: str, times: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _INCREMENT, str(directory), identity, str(times)], stdout=subprocess.PIPE, text=True)


def counted(directory: Path) -> int:
    return next(int(lease.annotations["count"]) for lease in read_leases(directory, NAMESPACE) if lease.name == "counter")


def test_increments_by_several_processes_at_once_are_never_lost(tmp_path: Path) -> None:
    processes = [incrementer(tmp_path, f"p{number}", 200) for number in range(3)]
    outputs = [process.communicate(timeout=90)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert counted(tmp_path) == 600
    assert sorted(int(line) for output in outputs for line in output.split()) == list(range(1, 601))  # each value once: no write twice
    assert len(list((place(tmp_path) / "counter").iterdir())) == 2


def test_writers_that_are_killed_lose_no_increment_of_the_others(tmp_path: Path) -> None:
    steady = incrementer(tmp_path, "steady", 150)
    told: list[int] = []
    killed = 0
    try:
        while steady.poll() is None:
            victim = incrementer(tmp_path, f"victim-{killed}", 10**6)
            assert victim.stdout is not None
            told += [int(victim.stdout.readline()) for _ in range(5)]
            victim.send_signal(signal.SIGKILL)
            told += [int(line) for line in victim.stdout.read().split()]
            victim.stdout.close()
            victim.wait()
            killed += 1
    finally:
        steady.kill()
    told += [int(line) for line in steady.communicate()[0].split()]
    assert steady.returncode == 0
    assert killed >= 1
    assert len(set(told)) == len(told)  # no version was won twice
    # a victim may be killed after its swap and before it told
    assert len(told) <= counted(tmp_path) <= len(told) + killed


def test_a_stopped_writer_holds_nobody_up(tmp_path: Path) -> None:
    frozen = incrementer(tmp_path, "frozen", 10**6)
    try:
        assert frozen.stdout is not None
        assert frozen.stdout.readline()
        frozen.send_signal(signal.SIGSTOP)
        other = incrementer(tmp_path, "other", 20)
        output, _ = other.communicate(timeout=PATIENCE)
        assert (other.returncode, len(output.split())) == (0, 20)
    finally:
        frozen.kill()
        frozen.communicate()


# -- watching


async def until(events: AsyncIterator[T], condition: Callable[[T], bool]) -> T:
    async def search() -> T:
        async for event in events:
            if condition(event):
                return event
        raise AssertionError("a watch never ends")

    return await asyncio.wait_for(search(), PATIENCE)


def watched(directory: Path, story: Callable[[AsyncIterator[LeasesListed | LeaseObserved]], Awaitable[None]]) -> None:
    async def run() -> None:
        events = store(directory).watch()
        await story(events)

    asyncio.run(run())


def test_a_watch_starts_with_the_whole_list(tmp_path: Path) -> None:
    leases = tuple(acquired(tmp_path, name=name) for name in ("a", "b"))
    acquired(tmp_path, name="gone")
    asyncio.run(store(tmp_path).delete("gone"))

    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        assert await anext(events) == LeasesListed(leases)

    watched(tmp_path, story)


def test_a_watch_tells_of_creation_change_and_deletion(tmp_path: Path) -> None:
    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        mine = store(tmp_path)
        assert await anext(events) == LeasesListed(())
        lease = written(await mine.write(wanted(Verb.ACQUIRE, "n1", None)))
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved(NAME, lease)
        lease = written(await mine.write(wanted(Verb.RENEW, "n1", lease)))
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved(NAME, lease)
        await mine.delete(NAME)
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved(NAME, None)
        lease = written(await mine.write(wanted(Verb.ACQUIRE, "n2", None)))
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved(NAME, lease)

    watched(tmp_path, story)


def test_a_watch_tells_of_what_another_process_writes(tmp_path: Path) -> None:
    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        assert await anext(events) == LeasesListed(())
        other = incrementer(tmp_path, "other", 50)
        seen: list[int] = []

        def is_last(event: LeasesListed | LeaseObserved) -> bool:
            assert isinstance(event, LeaseObserved)
            if event.lease is not None:
                seen.append(int(event.lease.annotations["count"]))
            return seen[-1:] == [50]

        try:
            await until(events, is_last)
        finally:
            other.communicate(timeout=PATIENCE)
        assert seen == sorted(set(seen))  # in order, none twice; some may be left out

    watched(tmp_path, story)


def test_a_lease_directory_removed_under_a_watch_starts_it_anew(tmp_path: Path) -> None:
    kept = acquired(tmp_path, name="kept")
    lease = acquired(tmp_path)

    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        assert await anext(events) == LeasesListed((lease, kept))
        for path in (place(tmp_path) / NAME).iterdir():
            path.unlink()
        (place(tmp_path) / NAME).rmdir()
        assert await until(events, lambda event: event == LeasesListed((kept,)))
        again = written(await store(tmp_path).write(wanted(Verb.ACQUIRE, "n2", None)))
        assert await until(events, lambda event: LeaseObserved(NAME, again) == event or event == LeasesListed((again, kept)))

    watched(tmp_path, story)


def test_the_whole_directory_may_go_and_come_back_under_a_watch(tmp_path: Path) -> None:
    directory = tmp_path / "m"
    directory.mkdir()
    lease = acquired(directory)

    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        assert await anext(events) == LeasesListed((lease,))
        directory.rename(tmp_path / "away")
        waiting = asyncio.ensure_future(until(events, lambda event: isinstance(event, LeasesListed)))
        outcome = await store(directory).write(wanted(Verb.RENEW, "n1", lease))
        assert isinstance(outcome, Conflict)
        assert not directory.exists()
        (tmp_path / "away").rename(directory)
        assert await waiting == LeasesListed((lease,))

    watched(directory, story)


@pytest.mark.parametrize("name", [".cluster", ".cluster/leases", f".cluster/leases/{NAMESPACE}"])
def test_a_directory_of_ours_that_is_moved_away_under_a_watch_is_made_anew(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "m"
    directory.mkdir()
    lease = acquired(directory)

    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        assert await anext(events) == LeasesListed((lease,))
        (directory / name).rename(tmp_path / "away")
        assert await until(events, lambda event: isinstance(event, LeasesListed)) == LeasesListed(())
        assert read_leases(directory, NAMESPACE) == ()
        assert place(directory).is_dir()

    watched(directory, story)


def test_other_files_make_no_event(tmp_path: Path) -> None:
    lease = acquired(tmp_path)

    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        assert await anext(events) == LeasesListed((lease,))
        (place(tmp_path) / "README").write_text("mine")
        (place(tmp_path) / ".hidden").mkdir()
        (place(tmp_path) / NAME / "notes.txt").write_text("mine")
        (place(tmp_path) / NAME / "notes.txt").rename(place(tmp_path) / NAME / "notes.md")
        renewed = written(await store(tmp_path).write(wanted(Verb.RENEW, "n1", lease)))
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved(NAME, renewed)

    watched(tmp_path, story)


def test_a_token_that_vanishes_under_a_watch_is_a_deletion(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lease = acquired(tmp_path)

    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        assert await anext(events) == LeasesListed((lease,))
        directory = place(tmp_path) / NAME
        with opened(directory) as file:
            token = file.token()
            assert file.swap(token, token.next(deleted=True))
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved(NAME, None)

    watched(tmp_path, story)
    assert caplog.text == ""


def test_a_place_that_vanishes_while_it_is_listed_is_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = acquired(tmp_path)
    real, calls = under_test._names, 0

    def vanishing(where: Path) -> list[str]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise FileNotFoundError(2, "No such file or directory", str(where))
        return real(where)

    monkeypatch.setattr(under_test, "_names", vanishing)

    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        assert await anext(events) == LeasesListed((lease,))

    watched(tmp_path, story)
    assert calls == 2


def test_a_lease_whose_token_was_removed_is_seen_as_gone_when_the_watch_looks_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lease = acquired(tmp_path)

    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        assert await anext(events) == LeasesListed((lease,))
        directory = place(tmp_path) / NAME
        new = Token(2, "2-0123456789abcdef", deleted=False)
        with opened(directory) as file:
            assert file.swap(file.token(), new)
            (directory / new.name).unlink()
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved(NAME, None)

    watched(tmp_path, story)
    assert "holds no object any more; remove the directory" in caplog.text


def test_a_directory_removed_between_two_steps_of_a_write_is_a_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acquired(tmp_path)

    def gone(_path: Path, _decoder: object) -> VersionedFile[Lease]:
        raise FileNotFoundError(2, "No such file or directory", str(_path))

    monkeypatch.setattr(under_test, "VersionedFile", gone)
    assert write(tmp_path, Verb.ACQUIRE, "n1", None) == Conflict(None)
    assert read_leases(tmp_path, NAMESPACE) == ()


# -- a kernel that refuses


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "fs.inotify.max_user_watches"), (errno.EMFILE, "limit of open files"), (errno.EACCES, "make it readable")],
)
def test_a_lease_that_cannot_be_watched_is_told_and_followed_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int, remedy: str
) -> None:
    kept = acquired(tmp_path, name="kept")
    real, refuses = Watcher.add, True

    def add(watcher: Watcher, directory: Path, mask: Mask) -> None:
        if refuses and directory.name == NAME:
            raise OSError(number, os.strerror(number), str(directory))
        real(watcher, directory, mask)

    monkeypatch.setattr(Watcher, "add", add)
    monkeypatch.setattr(under_test, "TRY_AGAIN", 0.02)

    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        nonlocal refuses
        assert await anext(events) == LeasesListed((kept,))
        lease = written(await store(tmp_path).write(wanted(Verb.ACQUIRE, "n1", None)))
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved(NAME, lease)
        lease = written(await store(tmp_path).write(wanted(Verb.RENEW, "n1", lease)))
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved(NAME, lease)  # looked at again
        other = written(await store(tmp_path).write(wanted(Verb.RENEW, "n1", kept, name="kept")))
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved("kept", other)  # the others go on
        refuses = False
        lease = written(await store(tmp_path).write(wanted(Verb.RENEW, "n1", lease)))
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved(NAME, lease)

    watched(tmp_path, story)
    (told,) = [record.getMessage() for record in caplog.records]  # once, however often it was tried
    assert str(place(tmp_path) / NAME) in told
    assert os.strerror(number) in told
    assert remedy in told


def test_a_lease_that_cannot_be_opened_stands_as_it_was_last_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = acquired(tmp_path)
    kept = acquired(tmp_path, name="kept")
    real, refuses = VersionedFile._content, True

    def content(file: VersionedFile[Lease], token: Token) -> Lease:
        if refuses and file._path.name == NAME:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), f"{token.resource_version}.json")
        return real(file, token)

    monkeypatch.setattr(under_test, "TRY_AGAIN", 0.02)

    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        nonlocal refuses
        assert await anext(events) == LeasesListed((first, kept))
        second = written(await store(tmp_path).write(wanted(Verb.RENEW, "n1", first)))
        monkeypatch.setattr(VersionedFile, "_content", content)
        other = written(await store(tmp_path).write(wanted(Verb.RENEW, "n1", kept, name="kept")))
        assert await until(events, lambda event: event != LeaseObserved(NAME, second)) == LeaseObserved("kept", other)
        refused = await store(tmp_path).write(wanted(Verb.ACQUIRE, "n2", None))
        assert isinstance(refused, Unreachable)  # and is not taken from whoever holds it
        refuses = False
        assert await asyncio.wait_for(anext(events), PATIENCE) == LeaseObserved(NAME, second)

    watched(tmp_path, story)
    assert "cannot be read: Permission denied; make it readable for the agent" in caplog.text


def test_no_inotify_instance_after_the_start_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lease = acquired(tmp_path)
    calls = 0

    def watcher(note: Callable[[Event], None]) -> Watcher:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConfigurationError("no inotify instance: Too many open files; raise the sysctl fs.inotify.max_user_instances")
        return Watcher(note)

    monkeypatch.setattr(under_test, "Watcher", watcher)
    monkeypatch.setattr(under_test, "TRY_AGAIN", 0.02)

    async def story(events: AsyncIterator[LeasesListed | LeaseObserved]) -> None:
        assert await anext(events) == LeasesListed((lease,))
        place(tmp_path).rename(tmp_path / "away")
        assert await until(events, lambda event: isinstance(event, LeasesListed)) == LeasesListed(())

    watched(tmp_path, story)
    assert calls == 3
    assert "fs.inotify.max_user_instances; trying again" in caplog.text
