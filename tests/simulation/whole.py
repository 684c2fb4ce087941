"""Whole nodes in the simulated cluster: the real Controller and the real responder engine in place of their models.

The rules of world.py bind these storms too. A control process whose responder is gone stops, as the agent does; a new responder starts
with a new control process; a control process that dies alone leaves its responder to the next one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from l2announce.control.controller import Controller
from l2announce.control.groups import lease_name
from l2announce.model.address import BROADCAST_MAC, Address, Instant
from l2announce.model.claim import ClaimSet
from l2announce.model.lease import ANYBODY, DRAIN_PREFIX, MOVE_TO, Conflict, Lease, LeaseWrite, Unreachable
from l2announce.model.link import Device, Link
from l2announce.model.objects import AnnouncementPolicy, ClusterState, Endpoint, LabelSelector, NamespacedName, Service
from l2announce.model.objects import Node as NodeObject
from l2announce.model.report import Report
from l2announce.model.timing import Timing
from l2announce.responder.engine import Responder
from l2announce.responder.verdict import Verdict
from l2announce.wire import arp
from l2announce.wire.ethernet import ETH_P_ARP
from tests.simulation.node import LINK, Candidate, Node
from tests.simulation.world import Plan, Storm, World

MakeController = Callable[[str, Timing, Instant], Controller]

ASKER = b"\x02\0\0\0\0\x99"
DEVICE = Device(1, LINK, addresses=(IPv4Address("192.0.2.200"),), has_default_route=True, has_global_unicast_route=True)
SERVICES = tuple(NamespacedName("shop", name) for name in ("api", "web", "web-tls"))
"""The last two share an address."""
PARTED = IPv4Address("192.0.2.3")
"""The last one's, while it does not."""


def request(address: IPv4Address) -> bytes:
    """A broadcast ARP request, as a neighbour sends it."""
    packet = arp.ArpPacket(arp.REQUEST, ASKER, IPv4Address("192.0.2.99"), bytes(6), address)
    return BROADCAST_MAC + ASKER + ETH_P_ARP.to_bytes(2, "big") + arp.encode_arp(packet)


class ControllerCandidate:
    """A Controller behind the seam of node.py, driven as the agent drives it: timers first, then writes, then claims."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller

    def observe_leases(self, leases: Mapping[str, Lease], now: Instant) -> None:
        self.controller.leases_listed(leases.values(), now)

    def observe_lease(self, name: str, lease: Lease | None, now: Instant) -> None:
        self.controller.lease_observed(name, lease, now)

    def write_succeeded(self, lease: Lease, sent_at: Instant, now: Instant) -> None:
        self.controller.write_succeeded(lease.name, lease, sent_at, now)

    def write_failed(self, name: str, outcome: Conflict | Unreachable, now: Instant) -> None:
        self.controller.write_failed(name, outcome, now)

    def receive_report(self, report: Report, now: Instant) -> None:
        self.controller.receive_report(report, now)

    def responder_lost(self, now: Instant) -> None:
        self.controller.stop(now)
        self.controller.responder_lost(now, dead=True)

    def stop(self, now: Instant) -> None:
        self.controller.stop(now)

    def next_timer(self) -> Instant | None:
        return self.controller.next_timer()

    def handle_timer(self, now: Instant) -> None:
        self.controller.handle_timer(now)

    def next_writes(self, now: Instant) -> Sequence[LeaseWrite]:
        self.controller.handle_timer(now)
        return [*self.controller.next_writes(now), *self.controller.next_requests(now)]

    def claim_set(self, now: Instant) -> ClaimSet | None:
        claims = self.controller.claim_set(now)
        timer = self.controller.next_timer()
        assert timer is None or timer > now, f"busy loop: at {now} a timer is due at {timer}"
        return claims

    def knows(self, name: str) -> bool:
        return self.controller.leases.present(name) is not None


class WholeNode(Node):
    """The real decisions and the real answers."""

    def __init__(self, model: Node, world: "WholeWorld", make_controller: MakeController) -> None:
        """Takes the place of ``model``."""
        super().__init__(
            model.name, world.queue, model.clock, world.network, world.rng, world.answers, lambda name: self._make(name, make_controller)
        )
        self.world = world
        self._fed_at = 0.0
        self.engine = Responder()
        self.devices: tuple[Device, ...] = (DEVICE,)
        self.mac = bytes((2, 0, 0, 0, 1, int(model.name[1:])))

    def _make(self, name: str, make_controller: MakeController) -> Candidate:
        return ControllerCandidate(make_controller(name, self.world.timing, self._now()))

    @property
    def controller(self) -> Controller:
        assert isinstance(self.candidate, ControllerCandidate)
        return self.candidate.controller

    def start_control(self) -> None:
        if not self.control.alive:
            super().start_control()
            self.feed()

    def feed(self) -> None:
        """The cluster's objects and the interfaces as they now stand, to a control process that lives."""
        if self.control.alive:
            state, devices = self.world.cluster, self.devices
            self._into_control(self._rng.uniform(0.001, 0.1), lambda _, now: self.controller.replace_devices(devices, now))
            self._fed_at = max(self._fed_at, self._queue.now + self._rng.uniform(0.001, 0.1))  # a watch keeps the order
            self._into_control(self._fed_at - self._queue.now, lambda _, now: self.controller.replace_cluster(state, now))

    def start_responder(self) -> None:
        if not self.responder.alive:
            self.kill_control()
            self._sent = None
            self.engine = Responder()
            self.engine.replace_links((self._link(),), self._now())
            super().start_responder()

    def kill_responder(self) -> None:
        self.stopping = self.stopping or (self.control.alive and self.responder.alive)
        super().kill_responder()
        life = self.control.life
        self._queue.after(1.0, lambda: self.kill_control() if self.stopping and self.control.life == life else None)

    def set_carrier(self, carrier: bool) -> None:
        self.carrier = carrier
        self.responder.deliver(self._queue.now, self._follow_link)

    def _follow_link(self) -> None:
        self.engine.replace_links((self._link(),), self._now())
        self._report()

    def _link(self) -> Link:
        return Link(1, LINK, self.mac, self.carrier)

    def _apply(self, claims: ClaimSet, life: int) -> None:
        """A connection that a newer control process replaced delivers nothing any more."""
        if life == self.control.life or not self.control.alive:
            self.engine.replace_claims(claims, self._now())
            super()._apply(claims, life)

    def _report(self) -> None:
        report = self.engine.report(self._now())
        self._up_at = max(self._up_at, self._queue.now + self._rng.uniform(*self.channel_delay))
        self._into_control(self._up_at - self._queue.now, lambda candidate, now: candidate.receive_report(report, now))

    def answers_for(self, address: IPv4Address) -> bool:
        """Whether a request that arrives now is answered: with a frame, by the engine itself."""
        if not self.responder.alive:
            return False
        while (timer := self.engine.next_timer()) is not None and timer <= self._now():
            self.engine.handle_timer(timer)
        self.engine.frames_to_send()
        verdict = self.engine.receive_frame(request(address), 1, self._now())
        replies = self.engine.frames_to_send()
        assert (verdict is Verdict.ANSWERED) == any(sent.frame[6:12] == self.mac and sent.frame[:6] == ASKER for sent in replies)
        return verdict is Verdict.ANSWERED


class WholeWorld(World):
    """Two groups of Services, one policy, whole nodes."""

    node_type: type[WholeNode] = WholeNode

    def __init__(self, seed: int, plan: Plan, make_controller: MakeController = Controller) -> None:
        super().__init__(seed, plan)
        first, shared = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
        self.addresses = {lease_name(SERVICES[0], "dot"): first, lease_name(SERVICES[1], "dot"): shared}
        self.full = ClusterState(
            nodes={node.name: NodeObject(node.name, {"edge": "yes"}) for node in self.nodes},
            services={
                key: Service(key, type="LoadBalancer", load_balancer_ips=(address,))
                for key, address in zip(SERVICES, (first, shared, shared), strict=True)
            },
            policies={"all": AnnouncementPolicy("all", load_balancer_ips=True, node_selector=LabelSelector((("edge", "yes"),)))},
        )
        self.cluster = self.full
        self.whole = [self.node_type(node, self, make_controller) for node in self.nodes]
        self.nodes = list(self.whole)

    @property
    def watched(self) -> tuple[Address, ...]:
        return (*super().watched, PARTED)

    @property
    def lease_count(self) -> int:
        return len(self.full.services)

    def change(self, state: ClusterState) -> None:
        """Users write objects; every node hears of it."""
        self.cluster = state
        for node in self.whole:
            node.feed()

    def heal(self) -> None:
        super().heal()
        for node in self.whole:
            node.devices = (DEVICE,)
            self.store.delete(DRAIN_PREFIX + node.name)
        self.change(self.full)

    def move(self, name: str, target: str) -> None:
        """A user wants a lease that is held to go to a node, or to anybody else."""
        if (lease := self.store.leases.get(name)) is not None and lease.holder_identity:
            self.store.put(replace(lease, annotations={**lease.annotations, MOVE_TO: target}))

    def drain(self, node: str) -> None:
        """A user drains a node."""
        if DRAIN_PREFIX + node not in self.store.leases:
            self.store.put(Lease(DRAIN_PREFIX + node, "drain", 1.0, ""))

    def undo_drain(self, node: str) -> None:
        """And lets it hold leases again."""
        self.store.delete(DRAIN_PREFIX + node)

    def answering(self, address: IPv4Address) -> list[str]:
        """Which engines answer a request for the address at this instant of global time."""
        return [node.name for node in self.whole if node.answers_for(address)]


class WholeStorm(Storm):
    """The storms of world.py, and users who change their minds."""

    def __init__(self, world: WholeWorld) -> None:
        super().__init__(world)
        self._whole = world
        self._faults += [self._drop_service, self._drop_policy, self._relabel, self._ail, self._localize, self._drop_device, self._ask]
        self._faults += [self._part, self._join]
        self._faults += [self._move, self._move, self._drain]
        self.found: list[str] = []

    def _kill_responder(self, node: Node) -> None:
        node.kill_responder()
        self._whole.later(self._rng.uniform(1.1, 20.0), lambda: self._whole.start(node))

    def _ask(self, _: Node) -> None:
        for address in self._whole.watched:
            assert isinstance(address, IPv4Address)
            if len(answering := self._whole.answering(address)) > 1:
                self.found.append(f"seed {self._whole.seed}: {address} answered by {answering} at {self._whole.queue.now}")

    def _for_a_while(self, state: ClusterState) -> None:
        self._whole.change(state)
        self._whole.later(self._duration(), lambda: self._whole.change(self._whole.full))

    def _move(self, node: Node) -> None:
        self._whole.move(self._rng.choice(list(self._whole.addresses)), self._rng.choice((node.name, ANYBODY, "n9")))

    def _drain(self, node: Node) -> None:
        self._whole.drain(node.name)
        self._whole.later(self._duration(), lambda: self._whole.undo_drain(node.name))

    def _drop_service(self, _: Node) -> None:
        gone = self._rng.choice((SERVICES[0], SERVICES[2]))
        services = {key: service for key, service in self._whole.full.services.items() if key != gone}
        self._for_a_while(replace(self._whole.full, services=services))

    def _with_addresses(self, key: NamespacedName, *addresses: IPv4Address) -> ClusterState:
        services = {**self._whole.full.services, key: Service(key, type="LoadBalancer", load_balancer_ips=addresses)}
        return replace(self._whole.full, services=services)

    def _part(self, _: Node) -> None:
        """The group of two parts for a while, and is joined again."""
        self._for_a_while(self._with_addresses(SERVICES[2], PARTED))

    def _join(self, _: Node) -> None:
        """The Service that is first by name joins the group, or its address does, and it decides for all."""
        first, shared = self._whole.addresses.values()
        assert isinstance(first, IPv4Address)
        assert isinstance(shared, IPv4Address)
        self._for_a_while(self._with_addresses(SERVICES[0], first, shared))

    def _drop_policy(self, _: Node) -> None:
        self._for_a_while(replace(self._whole.full, policies={}))

    def _relabel(self, node: Node) -> None:
        self._for_a_while(replace(self._whole.full, nodes={**self._whole.full.nodes, node.name: NodeObject(node.name)}))

    def _ail(self, node: Node) -> None:
        """Some nodes fall ill: by a condition, which counts later, or by what counts at once."""
        ill = self._rng.choice((NodeObject("", ready="Unknown"), NodeObject("", out_of_service=True), NodeObject("", deleting=True)))
        nodes = {
            name: replace(ill, name=name, labels=known.labels) if name == node.name or self._rng.random() < 0.3 else known
            for name, known in self._whole.full.nodes.items()
        }
        self._for_a_while(replace(self._whole.full, nodes=nodes))

    def _localize(self, node: Node) -> None:
        """Services become ones that need local endpoints, of which this node has one, and others have some, or none at all."""
        services = {key: replace(service, external_traffic_policy="Local") for key, service in self._whole.full.services.items()}
        on = [node.name, *self._rng.sample(list(self._whole.full.nodes), 1)]
        endpoints = tuple(Endpoint(key, name) for key in services for name in on if self._rng.random() < 0.6)
        self._for_a_while(replace(self._whole.full, services=services, endpoints=endpoints))

    def _drop_device(self, node: Node) -> None:
        assert isinstance(node, WholeNode)
        node.devices = ()
        node.feed()
        self._whole.later(self._duration(), lambda: self._return_device(node))

    def _return_device(self, node: WholeNode) -> None:
        node.devices = (DEVICE,)
        node.feed()
