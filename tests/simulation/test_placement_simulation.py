"""Placement with whole nodes in virtual time: agents that start together share evenly; moves and drains end where they should."""

from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address

from l2announce.control.groups import lease_name
from l2announce.control.preferences import PREEMPT_ANNOTATION, PREFERRED_NODES_ANNOTATION
from l2announce.model.lease import ANYBODY, MOVE_TO
from l2announce.model.objects import NamespacedName, Service
from l2announce.model.timing import HOLD_DOWN, START_SPREAD, Timing
from tests.simulation.conftest import Seeds
from tests.simulation.whole import WholeWorld
from tests.simulation.world import Plan, excess_writes, overlaps

GROUPS = 30
TIMING = Timing(5.0, 2.0, 1.0)
HANDOVER = 0.3
"""Seconds: the messages of the simulated network and channel take up to 10 and 2 ms each, timers up to 1 ms more."""


def many(seed: int, nodes: int = 3, timing: Timing = TIMING) -> WholeWorld:
    """A calm cluster with many groups, nothing started."""
    world = WholeWorld(seed, Plan(nodes=nodes, rates=(0.9995, 1.0005), timing=timing))
    keys = [NamespacedName("shop", f"s{number}") for number in range(GROUPS)]
    found = {key: IPv4Address(f"192.0.2.{number + 1}") for number, key in enumerate(keys)}
    services = {key: Service(key, type="LoadBalancer", load_balancer_ips=(address,)) for key, address in found.items()}
    world.addresses = {lease_name(key, "dot"): address for key, address in found.items()}
    world.full = world.cluster = replace(world.full, services=services)
    return world


def shares(world: WholeWorld) -> Counter[str | None]:
    return Counter(world.holder(name) for name in world.addresses)


def started(seed: int, nodes: int = 3) -> WholeWorld:
    """Nodes that started in random order within a second, when all is settled."""
    world = many(seed, nodes)
    for node in world.rng.sample(world.nodes, nodes):
        world.queue.after(world.rng.uniform(0.0, 1.0), lambda node=node: world.start(node))  # type: ignore[misc]
    world.run(START_SPREAD + 3.0)
    return world


def dark(world: WholeWorld, name: str, since: float) -> float:
    gaps = world.answers.gaps(world.addresses[name], since, world.queue.now, [node.name for node in world.nodes])
    return max((end - start for start, end in gaps), default=0.0)


def test_nodes_that_start_together_share_evenly(seeds: Seeds) -> None:
    for seed in seeds(200):
        world = started(seed)
        share = shares(world)
        assert all(9 <= share[node.name] <= 11 for node in world.nodes), f"seed {seed}: {share}"
        assert not overlaps(world), overlaps(world)


def test_what_a_stopped_node_had_is_spread_over_the_others_at_once(seeds: Seeds) -> None:
    for seed in seeds(20):
        world = started(seed)
        gone = world.rng.choice(world.nodes)
        since = world.queue.now
        gone.stop_control()
        world.run(2.0)
        share = shares(world)
        assert all(14 <= share[node.name] <= 16 for node in world.nodes if node is not gone), f"seed {seed}: {share}"
        assert max(dark(world, name, since) for name in world.addresses) < HANDOVER, f"seed {seed}"


def test_a_healthy_holder_is_not_disturbed_by_who_comes_back(seeds: Seeds) -> None:
    for seed in seeds(20):
        world = started(seed)
        late = world.rng.choice(world.nodes)
        late.stop_control()
        world.run(5.0)
        before = {name: world.holder(name) for name in world.addresses}
        since = world.queue.now
        world.start(late)
        world.run(10.0)
        assert {name: world.holder(name) for name in world.addresses} == before, f"seed {seed}"
        assert max(dark(world, name, since) for name in world.addresses) == 0.0, f"seed {seed}"


def test_a_move_ends_at_its_target_and_is_short(seeds: Seeds) -> None:
    for seed in seeds(60):
        world = started(seed)
        name = world.rng.choice(list(world.addresses))
        source, since = world.holder(name), world.queue.now
        target = world.rng.choice([ANYBODY, *(node.name for node in world.nodes if node.name != source)])
        world.move(name, target)
        world.run(3.0)
        assert world.holder(name) not in (source, "", None), f"seed {seed}"
        assert target in (ANYBODY, world.holder(name)), f"seed {seed}"
        assert 0.0 < dark(world, name, since) < HANDOVER, f"seed {seed}: {dark(world, name, since)}"
        assert MOVE_TO not in world.store.leases[name].annotations
        assert not overlaps(world), overlaps(world)


def test_a_move_to_a_node_that_cannot_take_it_comes_back(seeds: Seeds) -> None:
    for seed in seeds(20):
        world = started(seed)
        name = world.rng.choice(list(world.addresses))
        target = world.rng.choice([node for node in world.nodes if node.name != world.holder(name)])
        target.set_carrier(False)
        world.run(1.0)
        since = world.queue.now
        world.move(name, target.name)
        world.run(5.0)
        assert world.holder(name) not in (target.name, "", None), f"seed {seed}"
        assert dark(world, name, since) < world.timing.retry_period + HANDOVER, f"seed {seed}"


def test_a_move_to_a_stranger_is_refused_and_costs_nothing(seeds: Seeds) -> None:
    for seed in seeds(20):
        world = started(seed)
        name = world.rng.choice(list(world.addresses))
        source, since = world.holder(name), world.queue.now
        world.move(name, world.rng.choice(("n9", source or "")))
        world.run(0.5)
        assert MOVE_TO not in world.store.leases[name].annotations, f"seed {seed}"
        assert (world.holder(name), dark(world, name, since)) == (source, 0.0), f"seed {seed}"


def test_a_preferred_node_gets_its_service_back(seeds: Seeds) -> None:
    """It has to have been back for a while; without preempt it does not ask."""
    for seed in seeds(20):
        world = many(seed)
        key = world.rng.choice(list(world.full.services))
        name, preempt = lease_name(key, "dot"), seed % 2 == 0
        annotations = {PREFERRED_NODES_ANNOTATION: "n2,n3", PREEMPT_ANNOTATION: str(preempt).lower()}
        services = {**world.full.services, key: replace(world.full.services[key], annotations=annotations)}
        world.full = world.cluster = replace(world.full, services=services)
        world.start_all()
        world.run(START_SPREAD + 3.0)
        assert world.holder(name) == "n2", f"seed {seed}"
        world.nodes[1].stop_control()
        world.run(5.0)
        assert world.holder(name) == "n3", f"seed {seed}"
        world.start(world.nodes[1])
        world.run(HOLD_DOWN - 2.0)
        assert world.holder(name) == "n3", f"seed {seed}: not before the hold-down is over"
        since = world.queue.now
        world.run(6.0)
        assert world.holder(name) == ("n2" if preempt else "n3"), f"seed {seed}"
        assert dark(world, name, since) < HANDOVER, f"seed {seed}"
        settled = len(world.store.history)
        world.run(2 * HOLD_DOWN)
        assert world.holder(name) == ("n2" if preempt else "n3"), f"seed {seed}"
        assert not any(MOVE_TO in lease.annotations for _, _, lease in world.store.history[settled:] if lease), f"seed {seed}"


def test_rebalancing_evens_loads_slowly_and_then_rests(seeds: Seeds) -> None:
    for seed in seeds(5):
        world = many(seed, timing=replace(TIMING, rebalance=5.0))
        world.start(world.nodes[0])
        world.run(10.0)
        assert shares(world) == {"n1": GROUPS}
        for node in world.nodes[1:]:
            world.start(node)
        world.run(HOLD_DOWN - 1.0)
        assert shares(world) == {"n1": GROUPS}, f"seed {seed}: the hold-down"
        since = world.queue.now
        world.run(5.0 * 20)  # both may ask for one lease in the same interval
        share = shares(world)
        assert max(share.values()) - min(share[node.name] for node in world.nodes) <= 1, f"seed {seed}: {share}"
        assert max(dark(world, name, since) for name in world.addresses) < HANDOVER, f"seed {seed}"
        world.run(60.0)
        assert shares(world) == share, f"seed {seed}: at rest"
        assert not overlaps(world), overlaps(world)


def test_a_drained_node_holds_nothing_and_comes_back_when_undone(seeds: Seeds) -> None:
    for seed in seeds(20):
        world = started(seed)
        node = world.rng.choice(world.nodes)
        since = world.queue.now
        world.drain(node.name)
        world.run(2.0)
        share = shares(world)
        assert share[node.name] == share[""] == 0, f"seed {seed}: {share}"
        assert max(dark(world, name, since) for name in world.addresses) < HANDOVER, f"seed {seed}"
        world.undo_drain(node.name)
        world.run(3.0)
        assert shares(world) == share, f"seed {seed}: undoing moves nothing"
        name = world.rng.choice(list(world.addresses))
        world.move(name, node.name)
        world.run(2.0)
        assert world.holder(name) == node.name, f"seed {seed}"
        assert not overlaps(world), overlaps(world)
        assert not excess_writes(world), excess_writes(world)
