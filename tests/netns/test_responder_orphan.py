"""A responder whose starter died before it connected does not stay behind."""

import subprocess
import sys
from pathlib import Path

import pytest
from netlab.namespaces import Network
from netlab.waiting import wait_until

pytestmark = pytest.mark.netns

SHORT_GRACE = "import l2announce.agent.responder as process; process.CONTROL_GRACE = 0.2; process.main()"


def test_a_responder_that_never_saw_a_control_process_ends(network: Network, tmp_path: Path) -> None:
    """The agent that started it was stopped between starting and connecting: nobody will ever come."""
    socket = tmp_path / "responder.sock"
    host = network.namespace("n1")
    command = (sys.executable, "-c", SHORT_GRACE, "--socket", str(socket), "--exit-when-orphaned")
    process = host.popen(*command, stdin=subprocess.DEVNULL)
    wait_until(lambda: process.poll() is not None, 10, "the orphaned responder to end")
    assert process.returncode == 0
    assert not socket.exists()
