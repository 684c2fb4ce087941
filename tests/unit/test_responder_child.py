"""How an agent comes to its responder, and how it knows that nothing answers any more."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab.waiting import wait_until

from l2announce.agent.responder_child import ResponderChild
from l2announce.kernel.channel import Channel, listen


class FakeChannel(Channel):
    """A channel whose peer is whom the test says."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def peer_pid(self) -> int:
        """The test's choice."""
        return self._pid


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    with subprocess.Popen(("sleep", "60")) as process:
        yield process
        process.kill()


def child_with_peer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pid: int) -> ResponderChild:
    """A ResponderChild that has adopted the process ``pid``."""
    monkeypatch.setattr("l2announce.agent.responder_child.connect", lambda _: FakeChannel(pid))
    return ResponderChild(tmp_path / "socket")


def test_a_responder_that_listens_is_adopted(tmp_path: Path) -> None:
    with listen(tmp_path / "socket"):
        child = ResponderChild(tmp_path / "socket")
        assert child.channel.peer_pid() == os.getpid()
        assert not child.is_dead()
        child.channel.close()


def test_dead_is_what_runs_no_code_any_more(sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child = child_with_peer(monkeypatch, tmp_path, sleeper.pid)
    assert not child.is_dead()
    sleeper.send_signal(signal.SIGSTOP)
    assert not child.is_dead(), "a stopped process may go on"
    sleeper.kill()
    wait_until(child.is_dead, 5, "the killed process, not yet waited for, to count as dead")
    assert sleeper.wait(5) == -signal.SIGKILL
    assert child.is_dead()


def test_of_a_process_that_is_not_visible_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not child_with_peer(monkeypatch, tmp_path, 0).is_dead()
