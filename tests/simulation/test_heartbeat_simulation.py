"""The properties of the election with ``--lease-mode node``, and with nodes of both modes in one cluster.

The storms also delete, usurp and touch heartbeats. A control process in its own mode's world restarts often, so mixed worlds change modes.
"""

import pytest

from l2announce.control.election import LeaseElector
from l2announce.control.heartbeat import HeldByHeartbeat
from l2announce.control.heartbeats import Heartbeats
from l2announce.model.address import Instant
from l2announce.model.timing import FENCE, Timing
from tests.simulation.conftest import Seeds
from tests.simulation.node import MakeHeartbeats, Node
from tests.simulation.world import Plan, Storm, World, excess_writes, overlaps

NAME = "lease-0"
CRYSTALS = (0.9995, 1.0005)
MODES = ("node", "mixed")


def storm(seed: int, mode: str, make_heartbeats: MakeHeartbeats = Heartbeats) -> World:
    """One run of bad weather over a cluster that started."""
    world = World(seed, Plan(nodes=2 + seed % 3, leases=1 + seed % 2, lease_mode=mode, make_heartbeats=make_heartbeats))
    world.start_all()
    world.run(world.rng.uniform(0.0, 20.0))
    Storm(world).rage(80.0, world.rng.choice((2.0, 4.0, 8.0)))
    return world


def calm(seed: int, leases: int = 1, timing: Timing | None = None) -> tuple[World, Node]:
    """A cluster without faults, and the node that holds the first lease."""
    world = World(seed, Plan(rates=CRYSTALS, lease_mode="node", leases=leases, timing=timing))
    world.start_all()
    world.run(world.rng.uniform(5.0, 30.0))
    return world, next(node for node in world.nodes if node.name == world.holder(NAME))


def dark(world: World, since: float) -> float:
    """The longest time since then in which nobody answered for the first lease."""
    gaps = world.answers.gaps(world.addresses[NAME], since, world.queue.now, [node.name for node in world.nodes])
    return max((end - start for start, end in gaps), default=0.0)


@pytest.mark.parametrize("mode", MODES)
def test_never_two_answers(seeds: Seeds, mode: str) -> None:
    """E1, and nobody writes more than the ration."""
    for seed in seeds(60):
        world = storm(seed, mode)
        assert not overlaps(world), overlaps(world)
        assert not excess_writes(world), excess_writes(world)


@pytest.mark.parametrize("mode", MODES)
def test_somebody_answers_after_a_storm(seeds: Seeds, mode: str) -> None:
    """E2: after each storm everything heals, and within the bound each address is answered without a break."""
    for seed in seeds(30):
        world = storm(seed, mode)
        world.heal()
        world.run(world.settling_time)
        since = world.queue.now
        world.run(2.5 * world.timing.lease_duration)
        for address in world.addresses.values():
            gaps = world.answers.gaps(address, since, world.queue.now, [node.name for node in world.nodes])
            assert not gaps, f"seed {seed}: {address}: {gaps}"


def test_crash(seeds: Seeds) -> None:
    for seed in seeds(40):
        world, holder = calm(seed)
        holder.kill_responder()
        holder.kill_control()
        since = world.queue.now
        world.run(3 * world.timing.lease_duration)
        assert dark(world, since) <= world.timing.failover_bound, f"seed {seed}"


def test_planned_stop(seeds: Seeds) -> None:
    """The heartbeat is released after the leases."""
    for seed in seeds(40):
        world, holder = calm(seed)
        holder.stop_control()
        since = world.queue.now
        world.run(3 * world.timing.lease_duration)
        assert 0.0 < dark(world, since) < 0.2, f"seed {seed}"


def test_control_restart_is_not_noticed(seeds: Seeds) -> None:
    for seed in seeds(40):
        world, holder = calm(seed)
        holder.kill_control()
        since = world.queue.now
        reserve = FENCE * world.timing.lease_duration - world.timing.renew_deadline
        world.queue.after(world.rng.uniform(0.1, 0.8 * reserve), holder.start_control)
        world.run(3 * world.timing.lease_duration)
        assert dark(world, since) == 0.0, f"seed {seed}"


def test_idle_writes_do_not_depend_on_the_number_of_leases() -> None:
    """Three nodes, one renewal each in renew_deadline, whether they hold one lease or forty."""
    for leases in (1, 40):
        world, _ = calm(1, leases, Timing())
        before = sum(len(sent) for node in world.nodes for sent in node.writes_sent)
        world.run(500.0)
        assert sum(len(sent) for node in world.nodes for sent in node.writes_sent) - before == 300


class Unbroken(Heartbeats):
    """Wrong: takes the leases of a heartbeat that stood unchanged without breaking it."""

    def follow(self, elector: LeaseElector, now: Instant) -> None:
        super().follow(elector, now)
        node = self._waits_for.get(elector.name)
        if node is not None and elector.observed is not None and now >= (until := self._breakers[node]._takeable_at):
            elector.holder_broken(elector.observed.resource_version, until, now)


class Unconfirmed(Heartbeats):
    """Wrong: goes on with its leases after its heartbeat lapsed."""

    def new_elector(self, name: str) -> LeaseElector:
        return NeverConfirms(name, self.identity, self.timing) if self.own else super().new_elector(name)


class NeverConfirms(HeldByHeartbeat):
    def beat(self, run: int, until: Instant, is_lost: bool, now: Instant) -> None:
        self._run = run
        super().beat(run, until, is_lost, now)


@pytest.mark.parametrize("wrong", [Unbroken, Unconfirmed])
def test_the_simulation_sees(wrong: MakeHeartbeats) -> None:
    """Each of these mistakes breaks E1 in some run."""
    assert any(overlaps(storm(seed, "node", wrong)) for seed in range(300))
