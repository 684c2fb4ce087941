"""E1 to E4 and C1 with whole nodes: the real Controller and the real responder engine, asked with real frames, in virtual time.

A failure names its seed; ``SIM_SEED=<seed>`` repeats that run alone, ``SIM_RUNS=20`` makes twenty times as many (see conftest.py).
"""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from l2announce.control.controller import Controller
from l2announce.control.groups import lease_name
from l2announce.model.address import Instant
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.timing import GATE_TIMEOUT
from tests.simulation.conftest import Seeds
from tests.simulation.node import HEARTBEAT
from tests.simulation.whole import SERVICES, MakeController, WholeNode, WholeStorm, WholeWorld
from tests.simulation.world import Plan, excess_writes, overlaps


def storm(seed: int, make_controller: MakeController = Controller) -> tuple[WholeWorld, list[str]]:
    """One run of bad weather, and what was seen answered twice."""
    world = WholeWorld(seed, Plan(nodes=2 + seed % 3), make_controller)
    world.start_all()
    world.run(world.rng.uniform(0.0, 20.0))
    weather = WholeStorm(world)
    weather.rage(60.0, world.rng.choice((2.0, 4.0, 8.0)))
    return world, weather.found + overlaps(world)


def calm(seed: int) -> tuple[WholeWorld, str, WholeNode]:
    """A cluster without faults, one of its leases, and who holds it."""
    world = WholeWorld(seed, Plan(rates=(0.9995, 1.0005)))
    world.start_all()
    world.run(world.rng.uniform(8.0, 30.0))
    name = world.rng.choice(list(world.addresses))
    return world, name, next(node for node in world.whole if node.name == world.holder(name))


def dark(world: WholeWorld, name: str, since: float) -> float:
    """The longest time since then in which nobody answered."""
    gaps = world.answers.gaps(world.addresses[name], since, world.queue.now, [node.name for node in world.nodes])
    return max((end - start for start, end in gaps), default=0.0)


def answering(world: WholeWorld, name: str) -> list[str]:
    address = world.addresses[name]
    assert isinstance(address, IPv4Address)
    return world.answering(address)


def test_e1_never_two_answers_then_liveness_and_c1(seeds: Seeds) -> None:
    """Storm, then peace: one engine answers for each address without a break, as the store says, and claims what the objects want."""
    for seed in seeds(250):
        world, twice = storm(seed)
        assert not twice, twice
        assert not excess_writes(world), excess_writes(world)
        world.heal()
        world.run(world.settling_time)
        since = world.queue.now
        world.run(world.timing.lease_duration)
        assert not overlaps(world), overlaps(world)
        for name in world.addresses:
            assert dark(world, name, since) == 0.0, f"seed {seed}: {name}"
            assert answering(world, name) == [world.holder(name)], f"seed {seed}: {name}"
        for node in world.whole:
            wanted = {world.addresses[name] for name in world.addresses if world.holder(name) == node.name}
            assert {claim.address for claim in node.controller.claims()} == wanted, f"seed {seed}: {node.name}"


def test_e2_crash(seeds: Seeds) -> None:
    for seed in seeds(40):
        world, name, holder = calm(seed)
        holder.kill_responder()
        holder.kill_control()
        since = world.queue.now
        world.run(3 * world.timing.lease_duration)
        assert 0.0 < dark(world, name, since) <= world.timing.failover_bound, f"seed {seed}"


def test_e2_planned_stop(seeds: Seeds) -> None:
    for seed in seeds(40):
        world, name, holder = calm(seed)
        holder.stop_control()
        since = world.queue.now
        world.run(2 * world.timing.lease_duration)
        assert 0.0 < dark(world, name, since) < 0.3, f"seed {seed}"
        assert not overlaps(world), overlaps(world)


def test_an_ill_holder_hands_over_and_is_not_missed(seeds: Seeds) -> None:
    """Then all are ill: whoever holds goes on."""
    for seed in seeds(20):
        world, name, holder = calm(seed)
        nodes = world.full.nodes
        world.change(replace(world.full, nodes={**nodes, holder.name: replace(nodes[holder.name], out_of_service=True)}))
        since = world.queue.now
        world.run(world.timing.lease_duration)
        heir = world.holder(name)
        assert heir not in (None, holder.name), f"seed {seed}"
        assert answering(world, name) == [heir], f"seed {seed}"
        assert dark(world, name, since) < 2.0, f"seed {seed}"
        world.change(replace(world.full, nodes={key: replace(node, out_of_service=True) for key, node in nodes.items()}))
        since = world.queue.now
        world.run(world.timing.lease_duration)
        assert (world.holder(name), dark(world, name, since)) == (heir, 0.0), f"seed {seed}"
        assert not overlaps(world), overlaps(world)


def test_a_restart_of_control_is_not_noticed(seeds: Seeds) -> None:
    """The responder is adopted: no gap, no other holder, whatever its generation was."""
    for seed in seeds(40):
        world, name, holder = calm(seed)
        since = world.queue.now
        for _ in range(2):
            holder.kill_control()
            world.run(world.rng.uniform(0.05, 0.5))
            holder.start_control()
            world.run(2 * world.timing.lease_duration)
        assert dark(world, name, since) == 0.0, f"seed {seed}"
        assert answering(world, name) == [holder.name], f"seed {seed}"


def test_e3_services_that_share_an_address_have_one_holder(seeds: Seeds) -> None:
    """Also by their leases: those of the others follow the one that decides."""
    for seed in seeds(20):
        world, _, holder = calm(seed)
        decides, follows = (lease_name(service, "dot") for service in SERVICES[1:])
        assert world.holder(decides) == world.holder(follows) != ""
        holder.kill_responder()
        holder.kill_control()
        world.run(3 * world.timing.lease_duration)
        assert world.holder(decides) == world.holder(follows) != ""


def test_e4_a_hung_responder_loses_its_leases(seeds: Seeds) -> None:
    for seed in seeds(40):
        world, name, holder = calm(seed)
        holder.freeze(1e6, control=False, responder=True)
        world.run(HEARTBEAT + GATE_TIMEOUT + world.timing.lease_duration + 0.2)
        assert world.holder(name) not in (holder.name, ""), f"seed {seed}"
        assert not overlaps(world), overlaps(world)


def test_a_policy_that_goes_ends_answers_at_once() -> None:
    world, name, _ = calm(5)
    world.change(replace(world.full, policies={}))
    world.run(0.3)
    assert answering(world, name) == []
    world.run(0.3)
    assert world.holder(name) == ""


class Unconfirmed(Controller):
    """Wrong: takes a claim set that was sent for one that is obeyed."""

    def claim_set(self, now: Instant) -> ClaimSet | None:
        claims = super().claim_set(now)
        for name in list(self._withdrawn_in):
            self._confirm_withdrawal(name, now)
        return claims


class Unfenced(Controller):
    """Wrong: claims last longer than the right to them."""

    def claim_set(self, now: Instant) -> ClaimSet | None:
        if (claims := super().claim_set(now)) is None:
            return None
        longer = (replace(claim, deadline=claim.deadline + 0.3 * self.timing.lease_duration) for claim in claims.claims)
        return replace(claims, claims=tuple(longer))


class Grasping(Controller):
    """Wrong: believes that its own name in a lease is a right."""

    def claim_set(self, now: Instant) -> ClaimSet | None:
        if (claims := super().claim_set(now)) is None:
            return None
        named = [name for name, elector in self.electors.items() if elector.holder == self.node_name]
        wanted = [announcement for name in named for announcement in self.picture.wanted(name)]
        return replace(claims, claims=tuple(Claim(one.address, one.interfaces, now + 15.0) for one in wanted))


@pytest.mark.parametrize("wrong", [Unconfirmed, Unfenced, Grasping])
def test_the_simulation_sees(wrong: type[Controller]) -> None:
    """Each of these mistakes breaks E1 in some run."""
    assert any(storm(seed, wrong)[1] for seed in range(1000))
