"""A whole simulated cluster, the storms that break it, and what must be true of it whatever happened.

Everything random comes from one seed, so that one number repeats a run. The rules that bind the storms are the assumptions of
docs/election.md: an identity is one candidate, nobody blanks a live lease or writes a candidate's name into it, no candidate starts
within a lease duration after a lease was deleted, and none is deleted while a request to create it is still on its way.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from l2announce.control.election import WRITE_BURST, LeaseElector
from l2announce.control.heartbeat import heartbeat_name
from l2announce.control.heartbeats import Heartbeats
from l2announce.model.address import Address
from l2announce.model.timing import GATE_TIMEOUT, RANK_STEP, Timing
from tests.simulation.api import CALM, RELIST_PERIOD, REQUEST_TIMEOUT, Network, Store, Weather
from tests.simulation.node import Candidate, ElectorCandidate, MakeElector, MakeHeartbeats, Node, NodeModeCandidate
from tests.simulation.record import Answers
from tests.simulation.virtual import BootClock, EventQueue

TIMINGS = (Timing(), Timing(), Timing(5.0, 2.0, 1.0), Timing(3.0, 1.3, 1.0))
SLOWEST_CLOCK, FASTEST_CLOCK = 0.95, 1.05
SLOWEST_MESSAGE = 6.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of; the rest is drawn from the seed."""

    nodes: int = 3
    leases: int = 1
    rates: tuple[float, float] = (SLOWEST_CLOCK, FASTEST_CLOCK)
    timing: Timing | None = None
    make_elector: MakeElector = LeaseElector
    lease_mode: str = "service"
    """Of the nodes: ``service``, ``node``, or ``mixed``, where each life of a control process draws its own."""
    make_heartbeats: MakeHeartbeats = Heartbeats


class World:
    """Nodes, a store and a network in virtual time, everything up, nothing started."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self.rng = rng = random.Random(seed)
        self.seed = seed
        self.timing = plan.timing or rng.choice(TIMINGS)
        self.queue = EventQueue()
        self.store = Store(self.queue)
        self.network = Network(self.queue, rng, self.store)
        self.answers = Answers()
        self.addresses: dict[str, Address] = {f"lease-{n}": IPv4Address(f"192.0.2.{n + 1}") for n in range(plan.leases)}
        self.make_elector = plan.make_elector
        self.plan = plan
        self.heartbeats = [] if plan.lease_mode == "service" else [heartbeat_name(f"n{n + 1}") for n in range(plan.nodes)]
        self._no_start_before = 0.0
        self._peace = 0
        self.nodes = [
            Node(
                f"n{n + 1}",
                self.queue,
                BootClock(rng.uniform(0.0, 1e5), rng.uniform(*plan.rates)),
                self.network,
                rng,
                self.answers,
                self._candidate_of(n * RANK_STEP),
            )
            for n in range(plan.nodes)
        ]

    def _candidate_of(self, patience: float) -> Callable[[str], Candidate]:
        if self.plan.lease_mode == "service":
            return lambda name: ElectorCandidate(name, self.timing, self.addresses, patience, self.make_elector)
        return lambda name: NodeModeCandidate(
            name, self.timing, self.addresses, patience, self._draws_node_mode(), self.plan.make_heartbeats
        )

    def _draws_node_mode(self) -> bool:
        return self.plan.lease_mode == "node" or self.rng.random() < 0.5

    @property
    def lease_names(self) -> list[str]:
        """Every lease that strangers may spoil: those of Services and the heartbeats."""
        return [*self.addresses, *self.heartbeats]

    @property
    def watched(self) -> tuple[Address, ...]:
        """The addresses that nobody may answer for twice."""
        return tuple(self.addresses.values())

    @property
    def lease_count(self) -> int:
        """How many leases a node may write."""
        return len(self.lease_names)

    @property
    def settling_time(self) -> float:
        """How long, at most, after the last disturbance until somebody answers: lease duration + retry period, on the slowest clock, and
        the slack for what the storms leave behind: slow messages, a watch to list again, a write to time out, the gate to close."""
        bound = self.timing.failover_bound + GATE_TIMEOUT + REQUEST_TIMEOUT + len(self.nodes) * RANK_STEP
        return bound / SLOWEST_CLOCK + 2 * SLOWEST_MESSAGE + RELIST_PERIOD[1] + 0.5

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.queue.run_until(self.queue.now + seconds)

    def start(self, node: Node) -> None:
        """Both processes, as soon as the rules allow it."""
        if self.queue.now < self._no_start_before:
            self.later(self._no_start_before - self.queue.now, lambda: self.start(node))
            return
        node.start_responder()
        node.start_control()

    def start_all(self) -> None:
        """Everything."""
        for node in self.nodes:
            self.start(node)

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Do something after ``delay`` seconds unless everything was healed meanwhile."""
        peace = self._peace
        self.queue.after(delay, lambda: action() if self._peace == peace else None)

    def heal(self) -> None:
        """No more faults: whatever is dead starts, whatever is frozen goes on, calm weather. Takes as long as starts are not allowed."""
        self._peace += 1
        self.queue.run_until(max(self.queue.now, self._no_start_before))
        self.network.weather = CALM
        self.network.api_up = True
        self.network.partitioned.clear()
        for node in self.nodes:
            node.channel_delay = (0.0001, 0.002)
            node.freeze_before_next_request(0.0)
            node.control.thaw()
            node.responder.thaw()
            node.set_carrier(True)
            if node.stopping:
                node.kill_control()
            self.start(node)

    def holder(self, name: str) -> str | None:
        """Who holds a lease according to the store."""
        lease = self.store.leases.get(name)
        return lease.holder_identity if lease else None

    # What strangers do

    def delete_lease(self, name: str) -> None:
        """Delete it, if every candidate has seen it and none creates it; no other candidate starts until old holders are silent."""
        if not self.network.creation_under_way(name) and all(
            node.candidate.knows(name) for node in self.nodes if node.candidate is not None
        ):
            self.store.delete(name)
            self._no_start_before = self.queue.now + self.timing.lease_duration / SLOWEST_CLOCK

    def usurp_lease(self, name: str) -> None:
        """Write a foreign holder into it, who will neither answer nor renew."""
        if (lease := self.store.leases.get(name)) is not None:
            self.store.put(replace(lease, holder_identity="stranger", lease_duration=self.timing.lease_duration))

    def blank_lease(self, name: str) -> None:
        """Clear its holder. Not for runs that look at E1: a blanked live lease is a released one to everybody."""
        if (lease := self.store.leases.get(name)) is not None:
            self.store.put(replace(lease, holder_identity="", lease_duration=1.0))

    def touch_lease(self, name: str) -> None:
        """Change something that does not matter."""
        if (lease := self.store.leases.get(name)) is not None:
            self.store.put(replace(lease, annotations={"touched": str(self.queue.now)}))


class Storm:
    """Faults at random instants."""

    def __init__(self, world: World, *, blanking: bool = False) -> None:
        self._world = world
        self._rng = world.rng
        self._faults: list[Callable[[Node], None]] = [
            self._freeze, self._freeze, self._freeze_before_sending, self._kill_control, self._kill_responder, self._kill_node,
            self._stop, self._partition, self._outage, self._unplug, self._flap, self._slow_channel,
            self._delete, self._usurp, self._touch,
        ]  # fmt: skip
        if blanking:
            self._faults += [self._blank, self._blank]

    def rage(self, seconds: float, mean_interval: float) -> None:
        """Break things for so long; returns when that time has passed. What is broken then heals when its time comes, or by ``heal``."""
        world = self._world
        worse = self._rng.random()
        world.network.weather = Weather(
            delay=(0.0005, self._rng.choice((0.01, 0.2, 1.0))),
            loss=0.2 * worse * self._rng.random(),
            repetition=0.3 * self._rng.random(),
            slow=0.2 * worse,
            slow_delay=SLOWEST_MESSAGE,
            stale_list=0.5 * self._rng.random(),
        )
        end = world.queue.now + seconds
        while (pause := self._rng.expovariate(1.0 / mean_interval)) < end - world.queue.now:
            world.run(pause)
            self._rng.choice(self._faults)(self._rng.choice(world.nodes))
        world.queue.run_until(end)

    def _duration(self) -> float:
        return self._rng.choice((self._rng.uniform(0.2, 3.0), self._rng.uniform(1.0, 60.0), self._world.timing.lease_duration))

    def _freeze(self, node: Node) -> None:
        control, responder = self._rng.choice(((True, False), (True, True), (True, True), (False, True)))
        node.freeze(self._duration(), control=control, responder=responder)

    def _freeze_before_sending(self, node: Node) -> None:
        node.freeze_before_next_request(self._duration())

    def _kill_control(self, node: Node) -> None:
        node.kill_control()
        self._world.later(self._rng.uniform(0.1, 20.0), lambda: self._world.start(node))

    def _kill_responder(self, node: Node) -> None:
        node.kill_responder()
        self._world.later(self._rng.uniform(0.1, 20.0), node.start_responder)

    def _kill_node(self, node: Node) -> None:
        node.kill_responder()
        self._kill_control(node)

    def _stop(self, node: Node) -> None:
        node.stop_control()
        self._world.later(self._rng.uniform(1.1, 20.0), lambda: self._world.start(node))

    def _partition(self, node: Node) -> None:
        self._world.network.partitioned.add(node.name)
        self._world.later(self._duration(), lambda: self._world.network.partitioned.discard(node.name))

    def _outage(self, _: Node) -> None:
        self._world.network.api_up = False
        self._world.later(self._duration() / 2, self._end_outage)

    def _end_outage(self) -> None:
        self._world.network.api_up = True

    def _unplug(self, node: Node) -> None:
        node.set_carrier(False)
        self._world.later(self._duration(), lambda: node.set_carrier(True))

    def _flap(self, node: Node) -> None:
        for n in range(self._rng.randrange(2, 8)):
            self._world.later(n * self._rng.uniform(0.001, 0.2), lambda: node.set_carrier(not node.carrier))
        self._world.later(2.0, lambda: node.set_carrier(True))

    def _slow_channel(self, node: Node) -> None:
        node.channel_delay = (0.0001, self._rng.choice((0.002, 0.5)))

    def _delete(self, _: Node) -> None:
        self._world.delete_lease(self._rng.choice(self._world.lease_names))

    def _usurp(self, _: Node) -> None:
        self._world.usurp_lease(self._rng.choice(self._world.lease_names))

    def _blank(self, _: Node) -> None:
        self._world.blank_lease(self._rng.choice(self._world.lease_names))

    def _touch(self, _: Node) -> None:
        self._world.touch_lease(self._rng.choice(self._world.lease_names))


def overlaps(world: World) -> list[str]:
    """E1: sentences about two nodes that answered for one address at one instant."""
    return [
        f"seed {world.seed}: {address} answered by {first.node} [{first.start:.4f}, {first.end:.4f}) and {second.node} "
        f"[{second.start:.4f}, {second.end:.4f}), lease duration {world.timing.lease_duration:g}s"
        for address in world.watched
        for first, second in world.answers.overlaps(address)
    ]


def excess_writes(world: World) -> list[str]:
    """Lives of control processes that wrote more than the ration of each lease allows."""
    found = []
    for node in world.nodes:
        for sent in node.writes_sent:
            allowed = WRITE_BURST * world.lease_count
            rate = world.lease_count / world.timing.retry_period
            earned = [instant * rate - count for count, instant in enumerate(sent)]
            # n writes within t seconds: n <= allowed + t * rate, for every pair of a first and a last write
            highest = float("-inf")
            for level in earned:
                highest = max(highest, level)
                if highest - level > allowed - 1 + 1e-3:
                    found.append(f"seed {world.seed}: {node.name} wrote {len(sent)} times in {sent[-1] - sent[0]:.1f}s")
                    break
    return found
