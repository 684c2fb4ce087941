"""What the lab does to a node, and how it sees that the others have taken over: stop, crash, freeze, link down."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from netlab.agents import Agent
from netlab.feed import ProberFeed
from netlab.namespaces import Namespace
from netlab.services import ServiceAddress
from netlab.timeline import Event
from netlab.topology import AgentSettings
from netlab.view import View
from netlab.waiting import wait_until

ORDERLY_BOUND = 1.0
"""Seconds of blackout allowed where a node can still act: a planned stop, a link down."""

SETTLE_SECONDS = 12.0
"""How much longer than the failover bound the lab waits for a network at rest."""

FREEZE_MARGIN = 1.5
"""A freeze lasts this much longer than a lease, in seconds."""

DOWN_SECONDS = 2.0


@dataclass(slots=True)
class Stage:
    """What scenarios act on. ``events`` collects what was done, times in nanoseconds since the epoch."""

    agents: dict[str, Agent]
    switch: Namespace
    view: View
    feed: ProberFeed
    settings: AgentSettings
    events: list[tuple[int, Event]]
    say: Callable[[str], None]

    @property
    def patience(self) -> float:
        """Seconds within which the network must come to rest after any harm; a bound missed by less is measured, not waited for in vain."""
        return self.settings.failover_bound + SETTLE_SECONDS

    def mark(self, label: str, main: bool) -> int:
        """Note an event now; returns its time."""
        now = time.time_ns()
        self.events.append((now, Event(0.0, label, main)))
        return now

    def wait_taken_over(self, node: str, addresses: tuple[ServiceAddress, ...]) -> None:
        """Wait until somebody else holds and serves every one of the addresses."""

        def taken_over() -> bool:
            self.feed.check()
            return not self.view.unsettled() and all(self.view.holder(item) not in {"", node} for item in addresses)

        try:
            wait_until(taken_over, self.patience, f"the other nodes to take over from {node}", interval=0.02)
        except TimeoutError as error:
            raise TimeoutError("\n".join([str(error), *self.view.unsettled(), self.agents[node].last_words()])) from error


@dataclass(frozen=True, slots=True)
class Played:
    """A scenario that was played: ``lost`` are the addresses that the node held, ``start`` and ``end`` nanoseconds since the epoch."""

    key: str
    title: str
    node: str
    bound: float
    start: int
    end: int
    lost: tuple[ServiceAddress, ...]
    heirs: tuple[str, ...]
    note: str = ""


Act = Callable[[Stage, Agent], str]
"""Does the harm to an agent's node, waits for the take-over, undoes the harm; returns a note for the report."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of harm. ``done`` completes "nX: ...". ``bound`` is the blackout allowed, from the agents' timings."""

    key: str
    title: str
    done: str
    act: Act
    bound: Callable[[AgentSettings], float]


def play(stage: Stage, scenario: Scenario) -> Played:
    """Play a scenario on the node that holds most addresses, until the network is at rest again."""
    node = max(sorted(stage.agents), key=lambda name: len(stage.view.held_by(name)))
    lost = stage.view.held_by(node)
    stage.feed.watch_gaps()
    start = stage.mark(f"{node}: {scenario.done}", main=True)
    stage.say(f"[bold]{scenario.title}[/]: {node} ({', '.join(str(item.address) for item in lost)}) - {scenario.done}")
    note = scenario.act(stage, stage.agents[node])
    heirs = tuple(stage.view.holder(item) for item in lost)
    stage.view.wait_settled(stage.patience, "the network to come to rest")
    end = time.time_ns()
    stage.view.wait_served_after(end, stage.patience)  # so that the next scenario's blackout is not this one's
    return Played(scenario.key, scenario.title, node, scenario.bound(stage.settings), start, end, lost, heirs, note)


def _stop(stage: Stage, agent: Agent) -> str:
    """SIGTERM; the agent is to exit with 0 within a second."""
    before, lost = time.monotonic(), stage.view.held_by(agent.node)
    agent.terminate()
    code = agent.wait_stopped(5.0)
    seconds = time.monotonic() - before
    stage.wait_taken_over(agent.node, lost)
    _start_again(stage, agent)
    if code != 0 or seconds > 1.0:
        raise ChildProcessError(
            f"agent {agent.node}: exited with {code}, {seconds:.2f} s after SIGTERM; it should exit with 0 within 1 s\n{agent.last_words()}"
        )
    return f"exit code 0 after {seconds * 1000:.0f} ms"


def _crash(stage: Stage, agent: Agent) -> str:
    """SIGKILL of both processes."""
    lost = stage.view.held_by(agent.node)
    killed = len(agent.both_pids())
    agent.crash()
    if killed != 2:
        raise ChildProcessError(f"agent {agent.node} had {killed} processes, not two")
    stage.wait_taken_over(agent.node, lost)
    _start_again(stage, agent)
    return "both processes killed"


def _freeze(stage: Stage, agent: Agent) -> str:
    """SIGSTOP of the control process for longer than a lease, then SIGCONT; the responder is left alone."""
    until = time.monotonic() + stage.settings.lease_seconds + FREEZE_MARGIN
    lost = stage.view.held_by(agent.node)
    agent.freeze()
    try:
        stage.wait_taken_over(agent.node, lost)
        wait_until(lambda: time.monotonic() >= until, stage.settings.lease_seconds + 2 * FREEZE_MARGIN, "the freeze to outlast the lease")
    finally:
        agent.thaw()
    stage.mark(f"{agent.node}: SIGCONT", main=False)
    return f"frozen for {stage.settings.lease_seconds + FREEZE_MARGIN:g} s or more"


def _link_down(stage: Stage, agent: Agent) -> str:
    """The node's port of the switch goes down: its eth0 loses carrier, as with a pulled cable."""
    until = time.monotonic() + DOWN_SECONDS
    lost = stage.view.held_by(agent.node)
    stage.switch.ip(f"link set {agent.node} down")
    try:
        stage.wait_taken_over(agent.node, lost)
        wait_until(lambda: time.monotonic() >= until, 2 * DOWN_SECONDS, "the link to have been down long enough")
    finally:
        stage.switch.ip(f"link set {agent.node} up")
    stage.mark(f"{agent.node}: link up", main=False)
    return "carrier lost and found again"


def _start_again(stage: Stage, agent: Agent) -> None:
    """Start a stopped agent and wait until it serves its state."""
    agent.start()
    stage.mark(f"{agent.node}: started again", main=False)
    wait_until(agent.socket.exists, stage.patience, f"agent {agent.node} to start again")


SCENARIOS = (
    Scenario("stop", "Planned stop", "SIGTERM", _stop, lambda _: ORDERLY_BOUND),
    Scenario("crash", "Crash", "SIGKILL of both processes", _crash, lambda settings: settings.failover_bound),
    Scenario("freeze", "Freeze", "SIGSTOP of control", _freeze, lambda settings: settings.failover_bound),
    Scenario("link", "Link down", "link down", _link_down, lambda _: ORDERLY_BOUND),
)
