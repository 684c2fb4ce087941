"""The properties of the election, E1, E2 and E4 of the specification, over thousands of simulated clusters in virtual time.

A failure names its seed; ``SIM_SEED=<seed> pytest tests/simulation -k <test>`` repeats that run alone (see conftest.py).
E3, one holder for Services that share an address, holds because they share one lease.
"""

import pytest

from l2announce.control.election import LeaseElector
from l2announce.control.states import State
from l2announce.model.address import NEVER, Instant
from l2announce.model.lease import Lease
from l2announce.model.timing import FENCE, GATE_TIMEOUT, Timing
from tests.simulation.conftest import Seeds
from tests.simulation.node import HEARTBEAT, Node
from tests.simulation.world import Plan, Storm, World, excess_writes, overlaps

NAME = "lease-0"
CRYSTALS = (0.9995, 1.0005)
"""Rates of boot clocks that differ by a thousandth, as real ones never do. The storms have 0.95 to 1.05."""


def storm(seed: int, plan: Plan) -> World:
    """One run of bad weather over a cluster that started."""
    world = World(seed, plan)
    world.start_all()
    world.run(world.rng.uniform(0.0, 20.0))
    Storm(world).rage(80.0, world.rng.choice((2.0, 4.0, 8.0)))
    return world


def calm(seed: int, timing: Timing | None = None) -> tuple[World, Node]:
    """A cluster that runs without faults, at a random moment between two renewals, and the node that holds the lease."""
    world = World(seed, Plan(rates=CRYSTALS, timing=timing))
    world.start_all()
    world.run(world.rng.uniform(5.0, 30.0))
    return world, next(node for node in world.nodes if node.name == world.holder(NAME))


def dark(world: World, since: float) -> float:
    """The longest time since an instant in which the address of the first lease was answered by nobody."""
    gaps = world.answers.gaps(world.addresses[NAME], since, world.queue.now, [node.name for node in world.nodes])
    return max((end - start for start, end in gaps), default=0.0)


def holders_since(world: World, name: str, since: float) -> set[str]:
    """Every holder that the store has seen since an instant, the present one included."""
    seen = {lease.holder_identity if lease else "" for at, changed, lease in world.store.history if changed == name and at >= since}
    return seen | {world.holder(name) or ""}


class TestE1:
    """Never two nodes that answer for one address at one instant of global time."""

    def test_never_two_answers(self, seeds: Seeds) -> None:
        """Also checks that nobody writes more than the ration."""
        for seed in seeds(1500):
            world = storm(seed, Plan(nodes=2 + seed % 3, leases=1 + seed % 2))
            assert not overlaps(world), overlaps(world)
            assert not excess_writes(world), excess_writes(world)

    def test_the_storms_leave_somebody_to_answer(self, seeds: Seeds) -> None:
        """E1 would be easy to keep by silence."""
        worlds = [storm(seed, Plan()) for seed in seeds(20)]
        answered = sum(world.queue.now - sum(end - start for start, end in _all_gaps(world)) for world in worlds)
        assert answered > 0.3 * sum(world.queue.now for world in worlds)


def _all_gaps(world: World) -> list[tuple[float, float]]:
    return world.answers.gaps(world.addresses[NAME], 0.0, world.queue.now, [node.name for node in world.nodes])


class TestE2:
    """With a healthy node and a reachable API, somebody answers after lease duration + retry period."""

    def test_in_every_lull_the_healthy_answer(self, seeds: Seeds) -> None:
        """After each storm a random subset of the nodes stays broken. Of the others one answers, without a break, and keeps the lease."""
        for seed in seeds(250):
            world = World(seed, Plan(nodes=2 + seed % 3, leases=1 + seed % 2))
            world.start_all()
            for _ in range(2):
                Storm(world, blanking=seed % 2 == 0).rage(50.0, 4.0)
                self._lull(world)
            assert not excess_writes(world), excess_writes(world)

    def _lull(self, world: World) -> None:
        world.heal()
        broken = world.rng.sample(world.nodes, world.rng.randrange(len(world.nodes)))
        for node in broken:
            self._break(world, node)
        world.run(world.settling_time)
        since = world.queue.now
        world.run(2.5 * world.timing.lease_duration)
        healthy = [node.name for node in world.nodes if node not in broken]
        for name, address in world.addresses.items():
            where = f"seed {world.seed}: {address}, broken {[node.name for node in broken]}"
            assert not world.answers.gaps(address, since, world.queue.now, healthy), where
            assert len(holders_since(world, name, since)) == 1, where

    def _break(self, world: World, node: Node) -> None:
        match world.rng.randrange(7):
            case 0:
                node.kill_control()
            case 1:
                node.kill_responder()
            case 2:
                node.freeze(1e6, control=True, responder=False)
            case 3:
                node.freeze(1e6, control=False, responder=True)
            case 4:
                node.freeze(1e6, control=True, responder=True)
            case 5:
                world.network.partitioned.add(node.name)
            case _:
                node.set_carrier(False)

    def test_crash(self, seeds: Seeds) -> None:
        """Both processes of the holder die: lease duration + retry period bound the time without an answer."""
        for seed in seeds(150):
            world, holder = calm(seed)
            holder.kill_responder()
            holder.kill_control()
            since = world.queue.now
            world.run(3 * world.timing.lease_duration)
            assert dark(world, since) <= world.timing.failover_bound, f"seed {seed}"

    def test_planned_stop(self, seeds: Seeds) -> None:
        """SIGTERM: the time of a withdrawal, a release, a watch event and an acquisition."""
        for seed in seeds(150):
            world, holder = calm(seed)
            holder.stop_control()
            since = world.queue.now
            world.run(3 * world.timing.lease_duration)
            assert 0.0 < dark(world, since) < 0.2, f"seed {seed}"

    def test_link_down(self, seeds: Seeds) -> None:
        """Lost carrier is a planned stop of one node's answers."""
        for seed in seeds(150):
            world, holder = calm(seed)
            holder.set_carrier(False)
            since = world.queue.now
            world.run(3 * world.timing.lease_duration)
            assert 0.0 < dark(world, since) < 0.2, f"seed {seed}"

    def test_frozen_control(self, seeds: Seeds) -> None:
        """The responder of a frozen control process answers until its deadline; somebody else does after the lease duration. A process
        that was frozen between a renewal and its acknowledgement has told its responder of the one before."""
        late = []
        for seed in seeds(150):
            world, holder = calm(seed)
            holder.freeze(2 * world.timing.lease_duration, control=True, responder=False)
            since = world.queue.now
            world.run(4 * world.timing.lease_duration)
            usual = (1.0 - FENCE) * world.timing.lease_duration + 0.2
            assert dark(world, since) <= usual + world.timing.renew_deadline, f"seed {seed}"
            late += [seed] if dark(world, since) > usual else []
            assert not overlaps(world), overlaps(world)
        assert len(late) <= 3, late

    def test_control_restart_is_not_noticed(self, seeds: Seeds) -> None:
        """Killed and back within the deadline's reserve, under the same identity: the responder goes on, so does the lease."""
        for seed in seeds(150):
            world, holder = calm(seed)
            holder.kill_control()
            since = world.queue.now
            reserve = FENCE * world.timing.lease_duration - world.timing.renew_deadline
            world.queue.after(world.rng.uniform(0.1, 0.9 * reserve), holder.start_control)
            world.run(3 * world.timing.lease_duration)
            assert dark(world, since) == 0.0, f"seed {seed}"
            assert holders_since(world, NAME, since) == {holder.name}, f"seed {seed}"


class TestE4:
    """A responder that stops reporting loses the lease."""

    def test_hung_responder(self, seeds: Seeds) -> None:
        for seed in seeds(150):
            world, holder = calm(seed)
            holder.freeze(1e6, control=False, responder=True)
            bound = HEARTBEAT + GATE_TIMEOUT + FENCE * world.timing.lease_duration + 0.2
            world.run(bound)
            assert world.holder(NAME) not in (holder.name, ""), f"seed {seed}"

    def test_dead_responder(self, seeds: Seeds) -> None:
        """The end of file says at once that nothing answers any more."""
        for seed in seeds(150):
            world, holder = calm(seed)
            holder.kill_responder()
            world.run(0.2)
            assert world.holder(NAME) not in (holder.name, ""), f"seed {seed}"


class TestCalm:
    def test_a_healthy_holder_is_never_preempted(self, seeds: Seeds) -> None:
        """Whatever the other nodes suffer, the holder holds and answers without a break."""
        for seed in seeds(60):
            world, holder = calm(seed)
            others = [node for node in world.nodes if node is not holder]
            since = world.queue.now
            for _ in range(30):
                node = world.rng.choice(others)
                node.freeze(world.rng.uniform(0.1, 30.0), control=world.rng.random() < 0.7, responder=world.rng.random() < 0.7)
                node.set_carrier(world.rng.random() < 0.5)
                if world.rng.random() < 0.5:
                    node.kill_control()
                    world.queue.after(world.rng.uniform(0.1, 5.0), node.start_control)
                world.run(world.rng.uniform(0.0, 10.0))
            assert dark(world, since) == 0.0, f"seed {seed}"
            assert holders_since(world, NAME, since) == {holder.name}, f"seed {seed}"

    def test_a_holder_renews_and_followers_write_nothing(self) -> None:
        world, holder = calm(1, Timing())
        before = [sum(map(len, node.writes_sent)) for node in world.nodes]
        world.run(500.0)
        writes = [sum(map(len, node.writes_sent)) - count for node, count in zip(world.nodes, before, strict=True)]
        assert writes == [100 if node is holder else 0 for node in world.nodes]

    def test_a_free_lease_goes_to_the_first_in_rank(self, seeds: Seeds) -> None:
        for seed in seeds(60):
            world, _ = calm(seed)
            assert world.holder(NAME) == "n1", f"seed {seed}"

    def test_one_seed_is_one_run(self) -> None:
        histories = [storm(7, Plan()).store.history for _ in range(2)]
        assert histories[0] == histories[1]
        assert histories[0] != storm(8, Plan()).store.history


class FromTheReply(LeaseElector):
    """Wrong: counts the deadline from when the reply came."""

    def write_succeeded(self, lease: Lease, sent_at: Instant, now: Instant) -> None:  # noqa: ARG002 - the mistake is to ignore it
        super().write_succeeded(lease, now, now)


class Hasty(LeaseElector):
    """Wrong: takes over after 0.8 of the lease duration."""

    def _hold_time(self, lease: Lease | None, previous: Lease | None) -> float:
        return 0.8 * super()._hold_time(lease, previous)


class Unfenced(LeaseElector):
    """Wrong: answers a little longer than a lease lasts."""

    @property
    def deadline(self) -> Instant | None:
        deadline = super().deadline
        return None if deadline is None else deadline + 0.15 * self.timing.lease_duration


class Forgetful(LeaseElector):
    """Wrong: takes a lease that vanished at once."""

    def _hold_time(self, lease: Lease | None, previous: Lease | None) -> float:
        return 0.0 if lease is None else super()._hold_time(lease, previous)


class Trusting(LeaseElector):
    """Wrong: takes its own name in the lease for a right, whenever the write was sent."""

    def lease_observed(self, lease: Lease | None, now: Instant) -> None:
        super().lease_observed(lease, now)
        if lease is not None and lease.holder_identity == self.identity and self.state in (State.RESUMING, State.HOLDING):
            self._right_until = now + FENCE * self.timing.lease_duration
            self.handle_timer(now)


class Rash(LeaseElector):
    """Wrong: releases before the datapath has stopped."""

    def set_eligible(self, eligible: bool, now: Instant, patience: float = 0.0, not_before: Instant = NEVER) -> None:
        super().set_eligible(eligible, now, patience, not_before)
        if self.wants_withdrawal:
            self.withdrawn(now)


@pytest.mark.parametrize("wrong", [FromTheReply, Hasty, Unfenced, Forgetful, Trusting, Rash])
def test_the_simulation_sees(wrong: type[LeaseElector]) -> None:
    """Each of these mistakes breaks E1 in some run: so a simulation without a violation says something."""
    assert any(overlaps(storm(seed, Plan(nodes=2 + seed % 3, make_elector=wrong))) for seed in range(2000))
