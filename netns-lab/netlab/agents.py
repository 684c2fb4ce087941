"""The agents of the lab's nodes: started, stopped, killed, frozen; always by process id."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from netlab.build import WITH_PARENT
from netlab.namespaces import Namespace
from netlab.topology import AgentSettings
from netlab.waiting import wait_until

PROGRAM = Path(sys.executable).with_name("l2announce")


def children(pid: int) -> list[int]:
    """The process ids of a process's children, over all its threads; none when it is gone."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


@dataclass(slots=True)
class Agent:
    """``l2announce agent`` of one node: a control process that starts a responder process. ``directory`` gets its socket and its log.

    ``cluster`` are the flags that name the cluster it works on; ``before`` is put in front of its command.
    """

    namespace: Namespace
    node: str
    cluster: tuple[str, ...]
    directory: Path
    settings: AgentSettings
    process: subprocess.Popen[bytes] | None = None
    stop_seconds: list[float] = field(default_factory=list)
    before: tuple[str, ...] = ()

    @property
    def socket(self) -> Path:
        """Where it serves its state."""
        return self.directory / f"{self.node}.sock"

    @property
    def log(self) -> Path:
        """Where its log lines go, JSON, over all its lives."""
        return self.directory / f"{self.node}.log"

    def command(self) -> list[str]:
        """The command line, as a user would type it."""
        flags = ["--node-name", self.node, *self.cluster, "--state-socket", str(self.socket), "--log-format", "json"]
        return [str(PROGRAM), "agent", *flags, *self.settings.flags()]

    def start(self) -> None:
        """Start it; returns at once."""
        with self.log.open("ab") as log:
            self.process = self.namespace.popen(
                *WITH_PARENT, *self.before, *self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The control process; LookupError when the agent was never started."""
        if self.process is None:
            raise LookupError(f"agent {self.node} was never started")
        return self.process.pid

    def is_running(self) -> bool:
        """Whether the control process lives (a frozen one does)."""
        return self.process is not None and self.process.poll() is None

    def both_pids(self) -> list[int]:
        """Control process and responder process."""
        return [self.pid, *children(self.pid)]

    def terminate(self) -> None:
        """Ask the agent to stop (SIGTERM)."""
        os.kill(self.pid, signal.SIGTERM)

    def wait_stopped(self, deadline_seconds: float) -> int:
        """Wait for its end; the exit code. WaitTimeout when it does not come."""
        wait_until(lambda: not self.is_running(), deadline_seconds, f"agent {self.node} to exit", interval=0.005)
        return self.process.returncode if self.process else 0

    def crash(self) -> None:
        """Kill both processes at the same moment (SIGKILL)."""
        for pid in self.both_pids():
            os.kill(pid, signal.SIGKILL)
        self.wait_stopped(5)

    def freeze(self) -> None:
        """Stop the control process in its tracks (SIGSTOP); the responder goes on."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen control process go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def last_words(self, lines: int = 8) -> str:
        """The end of its log, for a message about what went wrong."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
