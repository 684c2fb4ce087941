"""What faults act on, and what a fault is."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from netlab.agents import Agent
from netlab.chaos.plan import Planned
from netlab.edits import Editor, Undo
from netlab.lab import Lab
from netlab.leases import LeaseHistory
from netlab.services import ServiceAddress


@dataclass(slots=True)
class Scene:
    """What faults act on. ``nodes`` has every MAC that a node has had. ``kept_down``: how many faults keep an agent from being started
    again."""

    lab: Lab
    history: LeaseHistory
    nodes: dict[bytes, str]
    editor: Editor
    kept_down: Counter[str] = field(default_factory=Counter)

    @property
    def everything(self) -> frozenset[str]:
        """Every service address."""
        return frozenset(str(item.address) for item in self.lab.services)

    def sharers(self, item: ServiceAddress) -> frozenset[str]:
        """The addresses that the lease of an address decides about."""
        return frozenset(str(other.address) for other in self.lab.services if other.lease == item.lease)

    def holder(self, item: ServiceAddress, otherwise: str) -> str:
        """Who holds the lease of an address; ``otherwise`` when no node does."""
        holder = self.history.holder(item.lease)
        return holder if holder in self.lab.agents else otherwise

    def target(self, planned: Planned) -> ServiceAddress:
        """The address that a plan means."""
        return self.lab.services[int(planned.chance * len(self.lab.services))]

    def victim(self, planned: Planned) -> str:
        """Two times of three the holder of an address, else the node of the plan: harm that hits nobody shows little."""
        return self.holder(self.target(planned), planned.node) if planned.chance * 3 % 1 < 2 / 3 else planned.node

    def agent(self, node: str) -> Agent:
        """The agent of a node."""
        return self.lab.agents[node]

    def keep_down(self, node: str) -> Undo:
        """Do not start the agent of a node again until what is returned is called."""
        self.kept_down[node] += 1
        return lambda: self.kept_down.subtract([node])

    def note_macs(self) -> None:
        """Learn the MACs that the nodes have now."""
        self.nodes.update(self.lab.macs())

    def pids(self, node: str, which: str) -> list[int]:
        """The control process, the responder, or both; none of one that is gone."""
        agent = self.agent(node)
        if not agent.is_running():
            return []
        both = agent.both_pids()
        return {"control": both[:1], "responder": both[1:], "both": both}[which]

    def signal(self, pids: list[int], number: signal.Signals) -> None:
        """Signal processes that we started, those that are left."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that has begun: whom it hit, and how to end it. ``over``: asked after ``undo`` whether it has ended. For the others see Span.

    An ``undo`` that raises OSError is tried again.
    """

    what: str
    undo: Undo = lambda: None
    excuses: frozenset[str] = frozenset()
    over: Callable[[], bool] = lambda: True
    allowance: float = 0.0


Begin = Callable[[Scene, Planned], Done]
"""OSError when the fault is not possible now."""
