"""An agent without any capability, whose responder is a process of its own with CAP_NET_RAW alone: as in the two containers of a pod."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from netlab.agents import PROGRAM
from netlab.waiting import wait_until

from l2announce.agent.responder_alive import why_dead
from l2announce.cli.ask import ask_agent
from l2announce.errors import ConfigurationError
from l2announce.kernel.clock import boot_time
from tests.netns.agents_stand import node_object, policy, service
from tests.netns.stand import Wire

pytestmark = pytest.mark.netns

CONTROL = 65532
"""User and group of the control container."""
DROPPED = ("--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs")
RESPONDER_RIGHTS = ("setpriv", f"--groups={CONTROL}", "--bounding-set=-all,+net_raw", *DROPPED)
CONTROL_RIGHTS = ("setpriv", f"--reuid={CONTROL}", f"--regid={CONTROL}", "--clear-groups", "--bounding-set=-all", *DROPPED)


@pytest.fixture
def pod() -> Iterator[Path]:
    """Volumes as a kubelet makes them for ``fsGroup``: of root and the group, set-group-ID, for both."""
    if int(Path("/proc/self/uid_map").read_text().split()[2]) <= CONTROL:
        pytest.skip("needs a second user id, so real root")
    directory = Path(tempfile.mkdtemp(prefix="l2a-pod-"))
    directory.chmod(0o755)
    for name in ("responder", "run", "manifests"):
        volume = directory / name
        volume.mkdir()
        os.chown(volume, 0, CONTROL)
        volume.chmod(0o2777)
    yield directory
    shutil.rmtree(directory)


def is_announced(socket: Path) -> bool:
    """Whether the agent announces the one Service."""
    try:
        return any(each.announced for each in ask_agent(socket).services)
    except ConfigurationError:
        return False


def capabilities(pid: int) -> set[str]:
    """The permitted and effective sets of a process."""
    return {line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(("CapPrm", "CapEff"))}


def test_control_and_responder_in_two_containers(wire: Wire, pod: Path) -> None:
    objects = [node_object("n1"), policy(), service("default/web", "10.99.0.10")]
    (pod / "manifests" / "all.yaml").write_text(yaml.safe_dump_all(objects))
    socket, state = pod / "responder" / "responder.sock", pod / "run" / "agent.sock"
    agent = (str(PROGRAM), "agent", "--node-name", "n1", "--manifests", str(pod / "manifests"))
    control = wire.node.popen(
        *CONTROL_RIGHTS, *agent, "--state-socket", str(state), "--responder-socket", str(socket), stdin=subprocess.DEVNULL
    )
    module = (sys.executable, "-m", "l2announce.agent.responder", "--socket", str(socket), "--group-access")
    responder = wire.node.popen(*RESPONDER_RIGHTS, *module, stdin=subprocess.DEVNULL)
    wait_until(lambda: is_announced(state), 20, "the Service to be announced")
    assert capabilities(control.pid) == capabilities(responder.pid) == {"0000000000000000"}
    assert why_dead(socket, boot_time()) == ""
    wire.client.run("arping", "-f", "-w", "5", "-I", "eth0", "10.99.0.10")
    control.terminate()
    assert control.wait(5) == 0
    assert responder.poll() is None, "it waits for the next control process"
    again = wire.node.popen(
        *CONTROL_RIGHTS, *agent, "--state-socket", str(state), "--responder-socket", str(socket), stdin=subprocess.DEVNULL
    )
    wait_until(lambda: is_announced(state), 20, "the next control process to announce it by the same responder")
    responder.terminate()
    assert responder.wait(5) == 0
    assert again.wait(5) == 1, "no half an agent"
