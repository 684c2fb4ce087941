"""A network segment between whole nodes: what one engine sends, the others on its side receive; and who answers there, by sampling."""

from collections.abc import Iterator
from ipaddress import IPv4Address

from l2announce.control.controller import Controller
from l2announce.model.address import Instant
from l2announce.model.claim import ClaimSet
from l2announce.responder.verdict import Verdict
from tests.simulation.node import Node
from tests.simulation.whole import MakeController, WholeNode, WholeStorm, WholeWorld, request
from tests.simulation.world import Plan

FRAME_DELAY = 0.0005
SAMPLE = 0.02
"""Seconds between two looks at who answers."""


class LanNode(WholeNode):
    """A node whose engine hears the others. ``side``: nodes with the same one hear each other."""

    def __init__(self, model: Node, world: "LanWorld", make_controller: MakeController) -> None:
        super().__init__(model, world, make_controller)
        self.lan = world
        self.side = 0
        self._tick_at: Instant | None = None

    def start_responder(self) -> None:
        if not self.responder.alive:
            self._tick_at = None
            super().start_responder()

    def kill_control(self) -> None:
        if self.control.alive:
            self.responder.deliver(self._queue.now, lambda: self.engine.control_lost(self._now()))
        super().kill_control()

    def receive(self, frame: bytes) -> None:
        """A frame from the segment."""
        self.engine.receive_frame(frame, 1, self._now())
        self._pump()

    def answers_for(self, address: IPv4Address) -> bool:
        """A process that stands still answers nobody now."""
        if not (self.responder.running and self.carrier):
            return False
        self._pump()
        verdict = self.engine.receive_frame(request(address), 1, self._now())
        self.engine.frames_to_send()
        return verdict is Verdict.ANSWERED

    def _apply(self, claims: ClaimSet, life: int) -> None:
        super()._apply(claims, life)
        self._pump()

    def _follow_link(self) -> None:
        super()._follow_link()
        self._pump()

    def _tick(self) -> None:
        self._tick_at = None
        self._pump()

    def _pump(self) -> None:
        """What is due, what is to be sent, and when to look again."""
        self.engine.handle_timer(self._now())
        for transmit in self.engine.frames_to_send():
            if self.carrier:
                self.lan.carry(self, transmit.frame)
        timer = self.engine.next_timer()
        if timer is not None and timer != self._tick_at:
            self._tick_at = timer
            self.responder.deliver(max(self._queue.now + 1e-6, self.clock.instant(timer) + 1e-6), self._tick)


class LanWorld(WholeWorld):
    """Whole nodes on one segment, which can be cut in two."""

    node_type = LanNode

    def __init__(self, seed: int, plan: Plan, make_controller: MakeController = Controller) -> None:
        super().__init__(seed, plan, make_controller)
        self.lan_nodes: list[LanNode] = [node for node in self.whole if isinstance(node, LanNode)]

    def carry(self, sender: LanNode, frame: bytes) -> None:
        """Bring a frame to every other node on the sender's side."""
        for node in self.lan_nodes:
            if node is not sender and node.side == sender.side and node.carrier:
                node.responder.deliver(self.queue.now + FRAME_DELAY, lambda node=node: node.receive(frame))  # type: ignore[misc]

    def heal(self) -> None:
        for node in self.lan_nodes:
            node.side = 0
        super().heal()

    def samples(self, address: IPv4Address, seconds: float) -> Iterator[list[LanNode]]:
        """Who answers, every SAMPLE seconds."""
        end = self.queue.now + seconds
        while self.queue.now < end:
            self.run(SAMPLE)
            yield [node for node in self.lan_nodes if node.answers_for(address)]


class LanStorm(WholeStorm):
    """The storms of whole.py, and a segment that is cut."""

    def __init__(self, world: LanWorld) -> None:
        super().__init__(world)
        self._lan = world
        self._faults.remove(self._ask)
        self._faults += [self._cut, self._cut, self._partition, self._outage]

    def _cut(self, node: Node) -> None:
        assert isinstance(node, LanNode)
        node.side = 1
        self._lan.later(self._duration(), lambda: setattr(node, "side", 0))
