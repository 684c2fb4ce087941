"""Leases that are held over while the API is out of reach: when control says so to the responder, and what ends it."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from l2announce.agent.status import node_status
from l2announce.control.controller import Controller
from l2announce.control.election import LeaseElector
from l2announce.control.holdover import HoldOver
from l2announce.control.states import State
from l2announce.model.address import FOREVER, NEVER, Address
from l2announce.model.lease import Conflict, Lease, LeaseWrite, Unreachable
from l2announce.model.link import Device, Link
from l2announce.model.objects import AnnouncementPolicy, ClusterState, NamespacedName, Node, Service
from l2announce.model.report import Report
from l2announce.model.timing import FENCE, HOLD_GRANT, HOLD_LEAD, Timing

NAME = "cilium-l2announce-shop.a"
HOLDING = Timing(hold_on_api_loss=True)
LOST = Unreachable("no answer within 3 s")
RIGHT = FENCE * HOLDING.lease_duration


def lease(holder: str, version: str) -> Lease:
    return Lease(NAME, holder, HOLDING.lease_duration, version)


def elector(timing: Timing = HOLDING) -> LeaseElector:
    """Has created the lease at 0 s, and sent its renewal, in vain so far, when that was due."""
    found = LeaseElector(NAME, "n1", timing)
    found.set_eligible(True, 0.0)
    found.lease_observed(None, 0.0)
    assert found.next_write(0.0) is not None
    found.write_succeeded(lease("n1", "1"), 0.0, 0.0)
    assert found.next_write(timing.renew_deadline) is not None
    return found


def expired(timing: Timing = HOLDING) -> LeaseElector:
    """The same when its right has run out."""
    found = elector(timing)
    found.write_failed(LOST, 8.0)
    found.handle_timer(RIGHT)
    assert found.state is State.RESUMING
    return found


class TestElector:
    def test_a_right_that_runs_out_without_the_api_is_held_over(self) -> None:
        held = elector()
        assert held.held_over_from == RIGHT - HOLD_LEAD
        held.write_failed(LOST, 8.0)
        held.handle_timer(RIGHT)
        assert (held.is_held_over, held.deadline, held.held_over_from) == (True, RIGHT, NEVER)

    def test_so_is_one_whose_renewal_is_on_its_way(self) -> None:
        held = elector()
        held.handle_timer(RIGHT)
        assert held.is_held_over

    def test_but_not_when_the_api_answers(self) -> None:
        """Whoever stood still too long has nobody else to blame."""
        late = elector()
        late.write_succeeded(lease("n1", "2"), 5.0, 5.1)
        late.handle_timer(5.0 + RIGHT)
        assert (late.is_held_over, late.deadline) == (False, None)

    def test_nor_by_default(self) -> None:
        lost = expired(Timing())
        assert (lost.is_held_over, lost.deadline, lost.held_over_from) == (False, None, FOREVER)

    def test_an_answer_ends_it_for_good_or_bad(self) -> None:
        held = expired()
        assert held.next_write(RIGHT) is not None
        held.write_succeeded(lease("n1", "2"), RIGHT, RIGHT + 0.1)
        assert (held.state, held.is_held_over, held.deadline) == (State.HOLDING, False, RIGHT + RIGHT)
        other = expired()
        assert other.next_write(RIGHT) is not None
        other.write_failed(Conflict(), RIGHT + 0.1)
        assert (other.state, other.is_held_over, other.deadline) == (State.RESUMING, False, None)

    def test_a_further_silence_does_not(self) -> None:
        held = expired()
        assert held.next_write(RIGHT) is not None
        held.write_failed(LOST, RIGHT + 3.0)
        assert held.is_held_over

    @pytest.mark.parametrize("seen", [lease("n2", "2"), lease("", "2"), None])
    def test_another_holder_or_none_ends_it(self, seen: Lease | None) -> None:
        held = expired()
        held.lease_observed(seen, RIGHT + 1.0)
        assert not held.is_held_over
        assert held.deadline is None

    def test_after_lost_eligibility_the_lease_is_kept_until_the_leave_has_ended(self) -> None:
        held = expired()
        held.hold_granted(20.0)
        held.set_eligible(False, 18.5)
        assert (held.state, held.is_held_over) == (State.WITHDRAWING, False)
        held.handle_timer(19.999)
        assert held.next_timer() == 20.0
        held.handle_timer(20.0)
        assert held.state.value == "idle", "too late to release what ran out long ago"

    def test_a_confirmed_withdrawal_need_not_wait(self) -> None:
        held = expired()
        held.hold_granted(20.0)
        held.set_eligible(False, 18.5)
        held.withdrawn(18.6)
        assert held.state.value == "idle"

    def test_who_is_eligible_again_has_to_renew_first(self) -> None:
        held = expired()
        held.set_eligible(False, 18.5)
        held.set_eligible(True, 18.6)
        assert (held.state, held.is_held_over) == (State.RESUMING, False)

    def test_short_leases_leave_time_to_ask(self) -> None:
        short = Timing(3.0, 1.3, 1.0, hold_on_api_loss=True)
        assert short.hold_lead == pytest.approx((2.7 - 1.3) / 2)


def test_when_to_tell() -> None:
    electors = {name: LeaseElector(name, "n1", HOLDING) for name in ("a", "b")}
    holds = HoldOver()
    assert holds.due_at() == FOREVER
    holds.note("a", 10.0)
    holds.note("b", 30.0)
    alone = tuple
    assert (holds.due_at(), holds.grant(electors, alone, 9.0)) == (10.0, {})
    assert holds.grant(electors, alone, 10.0) == {"a": 10.0 + HOLD_GRANT}
    assert holds.due_at() == 10.0 + HOLD_GRANT / 2
    holds.note("a", FOREVER)
    assert holds.due_at() == 30.0
    holds.note("b", FOREVER)
    assert holds.due_at() == FOREVER


def test_leases_that_are_due_before_the_next_grant_are_told_with_the_first() -> None:
    """Else what is due a moment later would be told a whole HOLD_GRANT / 2 later, too late to find out whether anybody is there."""
    electors = {name: LeaseElector(name, "n1", HOLDING) for name in ("a", "b", "c")}
    holds = HoldOver()
    for name, since in (("a", 10.0), ("b", 10.0 + HOLD_GRANT / 2 - 0.01), ("c", 10.0 + HOLD_GRANT / 2)):
        holds.note(name, since)
    assert holds.grant(electors, lambda _: (), 10.0) == {"a": 10.0 + HOLD_GRANT, "b": 10.0 + HOLD_GRANT}
    assert holds.due_at() == 10.0 + HOLD_GRANT / 2
    assert holds.grant(electors, lambda _: (), holds.due_at()).keys() == {"a", "b", "c"}


def test_every_lease_of_a_group_knows_until_when_its_addresses_may_be_held() -> None:
    deciding, member = expired(), LeaseElector("member", "n1", HOLDING)
    holds = HoldOver()
    holds.note("member", RIGHT)
    assert holds.grant({NAME: deciding, "member": member}, lambda _: (NAME, "member", "not ours"), RIGHT) == {"member": RIGHT + HOLD_GRANT}
    deciding.set_eligible(False, RIGHT)
    deciding.handle_timer(RIGHT + HOLD_GRANT - 0.01)
    assert deciding.wants_withdrawal, "the responder may answer still"
    deciding.handle_timer(RIGHT + HOLD_GRANT)
    assert not deciding.wants_withdrawal


LEASE_B = "cilium-l2announce-shop.b"
VIP_A, VIP_B = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
LINK = Link(1, "eth0", b"\2\0\0\0\0\1")
DEVICE = Device(1, "eth0", addresses=(IPv4Address("192.0.2.200"),), has_default_route=True, has_global_unicast_route=True)


def cluster(**addresses: tuple[Address, ...]) -> ClusterState:
    services = {
        (key := NamespacedName("shop", name)): Service(key, type="LoadBalancer", load_balancer_ips=found)
        for name, found in addresses.items()
    }
    return ClusterState({"n1": Node("n1", {})}, services, (), {"all": AnnouncementPolicy("all", load_balancer_ips=True)})


class Bench:
    """A Controller of node n1; the store obeys until it is out of reach, and the responder reports."""

    def __init__(self, state: ClusterState, timing: Timing = HOLDING) -> None:
        self.now = 1000.0
        self.controller = Controller("n1", timing, self.now)
        self.version = 0
        self.reachable = True
        self.claims: dict[Address, tuple[float, float]] = {}
        self.sets = 0
        self.controller.replace_cluster(state, self.now)
        self.controller.replace_devices((DEVICE,), self.now)
        self.controller.leases_listed((), self.now)

    def _answer(self, write: LeaseWrite) -> None:
        if not self.reachable:
            self.controller.write_failed(write.name, LOST, self.now)
            return
        self.version += 1
        written = Lease(write.name, write.holder_identity, write.lease_duration, str(self.version), annotations=write.annotations)
        self.controller.write_succeeded(write.name, written, self.now, self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.1
            self.controller.receive_report(Report(self.controller.generation, self.now, (LINK,)), self.now)
            self.controller.handle_timer(self.now)
            while writes := self.controller.next_writes(self.now):
                for write in writes:
                    self._answer(write)
            if (claims := self.controller.claim_set(self.now)) is not None:
                self.sets += 1
                self.claims = {claim.address: (claim.deadline, claim.held_until) for claim in claims.claims}
            assert (timer := self.controller.next_timer()) is None or timer > self.now


def held(state: ClusterState, timing: Timing = HOLDING) -> Bench:
    bench = Bench(state, timing)
    bench.run(3.0)
    return bench


def test_claims_may_be_held_while_the_api_is_out_of_reach_and_not_before() -> None:
    bench = held(cluster(a=(VIP_A,)))
    assert bench.claims[VIP_A][1] == NEVER
    bench.reachable = False
    bench.run(30.0)
    deadline, held_until = bench.claims[VIP_A]
    assert deadline < bench.now < held_until <= bench.now + HOLD_GRANT
    assert bench.controller.held == {NAME}
    sets = bench.sets
    bench.run(10.0)
    assert bench.sets - sets == pytest.approx(10.0 / (HOLD_GRANT / 2), abs=1)
    bench.reachable = True
    bench.run(3.0)
    deadline, held_until = bench.claims[VIP_A]
    assert bench.now < deadline
    assert held_until == NEVER


def test_by_default_nothing_is_left_of_them() -> None:
    bench = held(cluster(a=(VIP_A,)), Timing())
    bench.reachable = False
    bench.run(30.0)
    assert bench.claims == {}
    assert bench.controller.held == set()


def test_nothing_is_added_to_what_is_held() -> None:
    bench = held(cluster(a=(VIP_A,)))
    bench.reachable = False
    bench.run(30.0)
    bench.controller.replace_cluster(cluster(a=(VIP_A, VIP_B)), bench.now)
    bench.run(5.0)
    assert bench.claims[VIP_A][1] > bench.now
    assert bench.claims[VIP_B] == (bench.claims[VIP_A][0], NEVER)


def test_services_that_share_an_address_are_held_as_one() -> None:
    bench = held(cluster(a=(VIP_A,), b=(VIP_A, VIP_B)))
    bench.reachable = False
    bench.run(30.0)
    assert {address: until > bench.now for address, (_, until) in bench.claims.items()} == {VIP_A: True, VIP_B: True}


def test_a_group_of_which_a_lease_is_lost_is_not_held() -> None:
    bench = held(cluster(a=(VIP_A,), b=(VIP_A, VIP_B)))
    bench.reachable = False
    bench.run(30.0)
    bench.controller.lease_observed(LEASE_B, Lease(LEASE_B, "n2", 15.0, "900"), bench.now)
    bench.run(0.1)
    assert all(until == NEVER for _, until in bench.claims.values())


def test_status_says_so() -> None:
    bench = held(cluster(a=(VIP_A,)))
    bench.reachable = False
    bench.run(30.0)
    (service,) = node_status(bench.controller, {}, bench.now).services
    assert (service.announced, service.holder, service.state, service.deadline) == (True, "n1", "held over", None)


def test_a_stop_ends_it_in_order() -> None:
    bench = held(cluster(a=(VIP_A,)))
    bench.reachable = False
    bench.run(30.0)
    bench.controller.stop(bench.now)
    bench.run(0.1)
    assert bench.claims == {}
    assert replace(HOLDING, hold_on_api_loss=False) == Timing()
