"""A responder that the agent does not start itself: how the agent finds it, who may connect, and whether it is alive."""

import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from l2announce.agent import responder_child
from l2announce.agent.responder_alive import ALIVE_LIMIT, mark_alive, why_dead
from l2announce.agent.responder_child import ResponderChild
from l2announce.agent.settings import LONGEST_SOCKET_PATH, Settings, prepare_sockets
from l2announce.errors import ConfigurationError
from l2announce.kernel.channel import listen
from l2announce.kernel.clock import boot_time
from l2announce.model.timing import Timing


def test_an_agent_waits_for_a_responder_that_it_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder_child, "effective_capabilities", lambda: 0)
    listeners = []
    late = threading.Timer(0.2, lambda: listeners.append(listen(tmp_path / "socket")))
    late.start()
    child = ResponderChild(tmp_path / "socket", may_start=False)
    late.join()
    assert not child.is_dead()
    child.channel.close()
    listeners[0].close()


def test_an_agent_whose_responder_never_comes_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder_child, "START_LIMIT", 0.1)
    with pytest.raises(ConfigurationError, match=r"--responder-socket \S+/socket: no responder .* l2announce responder --socket"):
        ResponderChild(tmp_path / "socket", may_start=False)


def test_a_socket_is_for_its_owner_unless_the_group_is_let_in(tmp_path: Path) -> None:
    for name, mode in (("own", 0o600), ("group", 0o660)):
        with listen(tmp_path / name, mode) if mode != 0o600 else listen(tmp_path / name):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


def test_the_responders_socket_is_the_one_named_and_its_length_is_checked(tmp_path: Path) -> None:
    where = tmp_path / "elsewhere" / "responder.sock"
    settings = Settings("n1", Timing(), state_socket=tmp_path / "agent.sock", other_responder=where)
    assert settings.responder_socket == where
    prepare_sockets(settings)
    assert not where.parent.exists(), "the responder makes its own directory"
    long = Settings("n1", Timing(), state_socket=tmp_path / "agent.sock", other_responder=Path("/" + "x" * LONGEST_SOCKET_PATH))
    with pytest.raises(ConfigurationError, match=r"^--responder-socket .*too long"):
        prepare_sockets(long)


def test_a_mark_lasts_a_while(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    mark_alive(path, 1000.0)
    assert "No such file" in why_dead(path, 1000.0)
    with listen(path):
        mark_alive(path, 1000.0)
        assert why_dead(path, 1000.0 + ALIVE_LIMIT) == ""
        assert "no sign of life for 5.5 s" in why_dead(path, 1000.5 + ALIVE_LIMIT)


def test_the_probe_speaks_by_its_exit_code(tmp_path: Path) -> None:
    def probe(*arguments: str) -> tuple[int, str]:
        command = (sys.executable, "-m", "l2announce.agent.responder_alive", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    path = tmp_path / "socket"
    assert probe() == (1, "usage: python -m l2announce.agent.responder_alive PATH\n")
    with listen(path):
        mark_alive(path, boot_time())
        assert probe(str(path)) == (0, "")
        mark_alive(path, boot_time() - 60)
        code, line = probe(str(path))
    assert code == 1
    assert "no sign of life for 60" in line
