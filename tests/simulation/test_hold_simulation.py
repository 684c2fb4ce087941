"""--on-api-loss hold, with whole nodes on one segment: addresses go on being answered while the API is out of reach, by one node.

Who holds an address over has no right to it, only its probes. So two can answer for a moment where two sides of a segment meet again; the
properties bound that moment.
"""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from l2announce.model.timing import FENCE, HOLD_GRANT, HOLD_PROBE_INTERVAL, PROBE_WAIT
from l2announce.responder.engine import Responder
from l2announce.responder.holding import HoldProbes
from l2announce.wire.arp import arp_announcements
from tests.simulation.conftest import Seeds
from tests.simulation.lan import SAMPLE, LanNode, LanStorm, LanWorld
from tests.simulation.world import TIMINGS, Plan

STRANGER = bytes.fromhex("0200000000aa")
MEETING = HOLD_PROBE_INTERVAL * 1.1 / 0.95 + PROBE_WAIT + 2 * SAMPLE
"""Seconds after two sides have met in which two may answer: until the next probe, on the slowest clock."""


def plan(seed: int, *, hold: bool = True, nodes: int = 3) -> Plan:
    return Plan(nodes=nodes, rates=(0.9995, 1.0005), timing=replace(TIMINGS[seed % len(TIMINGS)], hold_on_api_loss=hold))


def calm(seed: int, *, hold: bool = True) -> tuple[LanWorld, IPv4Address, LanNode]:
    """A cluster at rest, one of its addresses, and who answers for it."""
    world = LanWorld(seed, plan(seed, hold=hold))
    world.start_all()
    world.run(world.settling_time)
    name = world.rng.choice(list(world.addresses))
    address = world.addresses[name]
    assert isinstance(address, IPv4Address)
    (holder,) = [node for node in world.lan_nodes if node.answers_for(address)]
    assert holder.name == world.holder(name)
    return world, address, holder


def names(answering: list[LanNode]) -> list[str]:
    return [node.name for node in answering]


def longest_together(looks: list[list[LanNode]]) -> float:
    """The longest time in which two nodes answered on one side, in seconds."""
    longest = running = 0.0
    for answering in looks:
        sides = [node.side for node in answering]
        running = running + SAMPLE if len(sides) > len(set(sides)) else 0.0
        longest = max(longest, running)
    return longest


def test_without_the_api_the_holder_goes_on(seeds: Seeds) -> None:
    for seed in seeds(8):
        world, address, holder = calm(seed)
        world.network.api_up = False
        assert all(names(answering) == [holder.name] for answering in world.samples(address, 60.0)), f"seed {seed}"
        world.network.api_up = True
        assert all(names(answering) == [holder.name] for answering in world.samples(address, 20.0)), f"seed {seed}"
        assert holder.controller.held


def test_by_default_it_stops_at_its_deadline(seeds: Seeds) -> None:
    for seed in seeds(8):
        world, address, _ = calm(seed, hold=False)
        world.network.api_up = False
        looks = list(world.samples(address, 60.0))
        answered = [look for look in looks if look]
        assert looks[: len(answered)] == answered, f"seed {seed}: once silent, always silent"
        assert len(answered) * SAMPLE <= FENCE * world.timing.lease_duration * 1.001 + SAMPLE
        world.network.api_up = True
        world.run(world.settling_time)
        assert len([node for node in world.lan_nodes if node.answers_for(address)]) == 1


def test_only_the_holder_is_cut_off_from_the_api(seeds: Seeds) -> None:
    """Another takes the lease over, and its first announcement ends the holding."""
    for seed in seeds(8):
        world, address, holder = calm(seed)
        world.network.partitioned.add(holder.name)
        looks = list(world.samples(address, 60.0))
        assert all(looks), f"seed {seed}: nobody answered"
        assert longest_together(looks) <= SAMPLE, f"seed {seed}"
        assert names(looks[-1]) not in ([holder.name], []), f"seed {seed}"
        world.network.partitioned.clear()
        assert all(names(look) == names(looks[-1]) for look in world.samples(address, 30.0)), f"seed {seed}"


def meeting(seed: int) -> tuple[LanWorld, IPv4Address, list[list[LanNode]]]:
    """One node holds over on a side of its own while another takes the lease over; then the sides meet. What is seen from there on."""
    world, address, holder = calm(seed)
    world.network.partitioned.add(holder.name)
    holder.side = 1
    looks = list(world.samples(address, 60.0))
    assert longest_together(looks) == 0.0, f"seed {seed}"
    assert len(looks[-1]) == 2, f"seed {seed}: one on each side"
    holder.side = 0
    return world, address, list(world.samples(address, 20.0))


def test_the_holder_is_cut_off_from_the_api_and_from_the_others(seeds: Seeds) -> None:
    """Each side has one who answers; when the sides meet, the one without the lease yields."""
    for seed in seeds(8):
        world, address, looks = meeting(seed)
        assert longest_together(looks) <= MEETING, f"seed {seed}"
        name = next(name for name, known in world.addresses.items() if known == address)
        assert all(names(look) == [world.holder(name)] for look in looks[round(MEETING / SAMPLE) :]), f"seed {seed}"


def test_two_that_hold_over_both_yield_and_the_api_decides(seeds: Seeds) -> None:
    for seed in seeds(8):
        world, address, holder = calm(seed)
        world.network.partitioned.add(holder.name)
        holder.side = 1
        world.run(40.0)
        world.network.api_up = False
        world.run(40.0)
        holder.side = 0
        looks = list(world.samples(address, 10.0))
        assert longest_together(looks) <= MEETING, f"seed {seed}"
        assert len(looks[-1]) <= 1, f"seed {seed}"
        world.heal()
        world.run(world.settling_time)
        assert len([node for node in world.lan_nodes if node.answers_for(address)]) == 1, f"seed {seed}"


@pytest.mark.parametrize("killed", [True, False])
def test_who_has_lost_its_control_process_holds_nothing(seeds: Seeds, killed: bool) -> None:
    for seed in seeds(8):
        world, address, holder = calm(seed)
        world.network.api_up = False
        world.run(40.0)
        assert holder.answers_for(address)
        if killed:
            holder.kill_control()
        else:
            holder.freeze(100.0, control=True, responder=False)
        world.run(0.01 if killed else HOLD_GRANT / 0.9995 + 0.01)
        assert not any(world.samples(address, 20.0)), f"seed {seed}"


def test_whoever_appears_with_the_address_has_it(seeds: Seeds) -> None:
    """A stranger's claim ends the holding too, and it stays ended when the stranger goes."""
    for seed in seeds(8):
        world, address, holder = calm(seed)
        world.network.api_up = False
        world.run(40.0)
        holder.receive(arp_announcements(STRANGER, address)[0])
        assert not any(world.samples(address, 20.0)), f"seed {seed}"
        world.network.api_up = True
        world.run(world.settling_time)
        assert holder.answers_for(address), f"seed {seed}: the lease was never another's"


def storm(seed: int) -> float:
    """One run of bad weather with holding; the longest time that two nodes answered on one side."""
    world = LanWorld(seed, plan(seed, nodes=2 + seed % 3))
    world.start_all()
    world.run(world.rng.uniform(0.0, 20.0))
    weather = LanStorm(world)
    looks: list[list[LanNode]] = []
    address = next(iter(world.addresses.values()))
    assert isinstance(address, IPv4Address)

    def look() -> None:
        looks.append([node for node in world.lan_nodes if node.answers_for(address)])
        world.queue.after(SAMPLE, look)

    look()
    weather.rage(60.0, world.rng.choice((2.0, 4.0, 8.0)))
    return longest_together(looks)


def test_whatever_happens_two_answer_for_a_moment_at_most(seeds: Seeds) -> None:
    for seed in seeds(60):
        assert storm(seed) <= MEETING, f"seed {seed}: {storm(seed)}"


def test_the_simulation_sees_who_never_yields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Responder, "_judge_claim", lambda *_: None)
    assert any(storm(seed) > MEETING for seed in range(200))


def test_the_simulation_sees_who_never_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes silence for consent."""

    def unasked(self: HoldProbes, ifindex: int, answer: object, now: float) -> None:
        answer.asked_at = now  # type: ignore[attr-defined]
        self._asked.append((now, (ifindex, answer.address), answer))  # type: ignore[attr-defined, arg-type]

    monkeypatch.setattr(HoldProbes, "asked", unasked)
    monkeypatch.setattr("l2announce.responder.engine.probe_frame", lambda *_: bytes(60))
    assert all(longest_together(meeting(seed)[2]) > MEETING for seed in range(3))
