"""How ``l2announce agent`` comes to its responder: the one that serves at its socket, or, where it may start one, a new child process."""

import subprocess
import sys
import time
from pathlib import Path

from l2announce.errors import ConfigurationError, KernelError
from l2announce.kernel.channel import Channel, connect
from l2announce.kernel.privilege import effective_capabilities

_CAP_NET_RAW = 13
_FLAGS = 6
"""The place of the task's flags in /proc/PID/stat, counted after the name; proc_pid_stat(5)."""
_PF_EXITING = 0x4

START_LIMIT = 10.0
"""Seconds within which a new responder must listen, and one that somebody else starts must have come."""


class ResponderChild:
    """A connection to the responder process. An earlier agent's responder that is still answering is adopted, so no answer is missed."""

    def __init__(self, path: Path, *, may_start: bool = True) -> None:
        """Connect to the responder at ``path``, or start one there. KernelError when it does not come up; its own words are on stderr.

        With ``may_start`` false somebody else starts it, and no capability is needed: waits START_LIMIT for it, then ConfigurationError.
        """
        channel = connect(path) if may_start else _wait_for_other(path)
        if channel is None:
            _require_capability()
            command = [sys.executable, "-m", "l2announce.agent.responder", "--socket", str(path), "--exit-when-orphaned"]
            process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)  # noqa: S603 - our own module
            channel = self._wait(path, process)
        self.channel: Channel = channel
        self._pid = channel.peer_pid()

    def is_dead(self) -> bool:
        """True when the process is known to run no code any more, so that nothing answers.

        It has ended, or is on its way (PF_EXITING): the kernel needs about a second to take packet sockets down.
        """
        if self._pid == 0:
            return False
        try:
            stat = Path(f"/proc/{self._pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        flags = int(stat.rpartition(")")[2].split()[_FLAGS])
        return bool(flags & _PF_EXITING)

    @staticmethod
    def _wait(path: Path, process: subprocess.Popen[bytes]) -> Channel:
        give_up_at = time.monotonic() + START_LIMIT
        while time.monotonic() < give_up_at:
            if process.poll() is not None:
                raise KernelError("the responder process could not start; its message is above")
            channel = connect(path)
            if channel is not None:
                return channel
            time.sleep(0.005)
        process.kill()
        raise KernelError(f"the responder process did not listen at {path} within {START_LIMIT:g} s")


def _wait_for_other(path: Path) -> Channel:
    """A connection to a responder that is not ours to start."""
    give_up_at = time.monotonic() + START_LIMIT
    while (channel := connect(path)) is None:
        if time.monotonic() >= give_up_at:
            raise ConfigurationError(
                f"--responder-socket {path}: no responder came to listen there within {START_LIMIT:g} s; "
                f"start one: l2announce responder --socket {path}"
            )
        time.sleep(0.05)
    return channel


def _require_capability() -> None:
    """Refuse to start a responder that could not open its sockets."""
    if not effective_capabilities() >> _CAP_NET_RAW & 1:
        raise ConfigurationError(
            "needs the capability CAP_NET_RAW for packet sockets; run as root, or grant it: AmbientCapabilities=CAP_NET_RAW in a "
            "systemd unit, securityContext.capabilities.add [NET_RAW] in a container"
        )
