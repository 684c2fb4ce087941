"""The composition of one node's decisions: what goes in, which writes and claim sets come out, in which order, and why not."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from itertools import permutations

import pytest

from l2announce.control.blocker import Blocker
from l2announce.control.controller import Controller
from l2announce.control.heartbeat import heartbeat_name
from l2announce.control.services import Reason
from l2announce.control.states import State
from l2announce.model.address import Address, Instant
from l2announce.model.claim import ClaimSet
from l2announce.model.eligibility import EligibilitySettings
from l2announce.model.lease import (
    DRAIN_PREFIX,
    FOLLOWS_ANNOTATION,
    INTERFACES_ANNOTATION,
    LEASE_MODE_ANNOTATION,
    MOVE_TO,
    MOVED_FROM,
    NODE_MODE,
    RESERVED_FOR,
    Conflict,
    Lease,
    LeaseWrite,
    Unreachable,
    Verb,
)
from l2announce.model.link import ConnectedRoute, Device, Link
from l2announce.model.objects import AnnouncementPolicy, ClusterState, Endpoint, LabelSelector, NamespacedName, Node, Service
from l2announce.model.report import Report
from l2announce.model.timing import GATE_TIMEOUT, START_SPREAD, Timing

A, B = NamespacedName("shop", "a"), NamespacedName("shop", "b")
LEASE_A, LEASE_B = "cilium-l2announce-shop.a", "cilium-l2announce-shop.b"
VIP_A, VIP_B = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
MAC = b"\2\0\0\0\0\1"
LINK = Link(1, "eth0", MAC)
DEVICE = Device(1, "eth0", addresses=(IPv4Address("192.0.2.200"),), has_default_route=True, has_global_unicast_route=True)
POLICY = AnnouncementPolicy("all", load_balancer_ips=True, node_selector=LabelSelector((("edge", "yes"),)))


def service(key: NamespacedName, *addresses: Address) -> Service:
    return Service(key, type="LoadBalancer", load_balancer_ips=addresses)


def cluster(*services: Service) -> ClusterState:
    return ClusterState({"n1": Node("n1", {"edge": "yes"})}, {each.key: each for each in services}, (), {"all": POLICY})


TWO = cluster(service(A, VIP_A), service(B, VIP_B))
JOINED = cluster(service(A, VIP_A), service(B, VIP_A, VIP_B))


class Bench:
    """A Controller of node n1 with a store that obeys and a clock; the responder obeys when told to."""

    def __init__(self, state: ClusterState = TWO, leases: Iterable[Lease] = (), now: Instant = 1000.0, node_mode: bool = False) -> None:
        self.now = now
        self.controller = Controller("n1", Timing(), now, node_mode=node_mode)
        self.version = 100
        self.writes: list[LeaseWrite] = []
        self.sent: list[ClaimSet] = []
        self.controller.replace_cluster(state, now)
        self.controller.replace_devices((DEVICE,), now)
        self.controller.leases_listed(leases, now)

    def look(self) -> list[LeaseWrite]:
        """One turn of the agent."""
        self.controller.handle_timer(self.now)
        writes = self.controller.next_writes(self.now)
        claims = self.controller.claim_set(self.now)
        if claims is not None:
            self.sent.append(claims)
        timer = self.controller.next_timer()
        assert timer is None or timer > self.now
        self.writes += writes
        return writes

    def grant(self, write: LeaseWrite) -> Lease:
        self.version += 1
        return Lease(write.name, write.holder_identity, write.lease_duration, str(self.version), annotations=write.annotations)

    def settle(self) -> None:
        """Turns until nothing is written any more; the store grants everything, and the watch shows it."""
        while writes := self.look():
            for write in writes:
                lease = self.grant(write)
                self.controller.write_succeeded(write.name, lease, self.now, self.now)
                self.controller.lease_observed(write.name, lease, self.now)

    def report(self, *links: Link, generation: int | None = None) -> None:
        applied = self.controller.generation if generation is None else generation
        self.controller.receive_report(Report(applied, self.now, links), self.now)

    def run(self, seconds: float, *links: Link) -> None:
        """Time passes with heartbeats."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.5, end)
            self.report(*(links or (LINK,)))
            self.settle()

    @property
    def claimed(self) -> set[Address]:
        return {claim.address for claim in self.sent[-1].claims}


def holding(state: ClusterState = TWO) -> Bench:
    """Holds everything, and the responder said that it obeys."""
    bench = Bench(state)
    bench.report(LINK, generation=-1)
    bench.settle()
    bench.run(1.0)
    return bench


def test_nothing_before_everything_was_seen_once() -> None:
    controller = Controller("n1", Timing(), 0.0)
    steps: tuple[Callable[[], None], ...] = (
        lambda: controller.replace_cluster(TWO, 0.0),
        lambda: controller.replace_devices((DEVICE,), 0.0),
        lambda: controller.leases_listed((), 0.0),
    )
    controller.lease_observed(LEASE_A, None, 0.0)
    for step in steps:
        assert controller.blocker(LEASE_A, 0.0) is Blocker.NOT_READY
        step()
        assert not controller.is_ready
        assert controller.next_writes(0.0) == []
        assert controller.claim_set(0.0) is None
        assert controller.next_timer() is None
    assert controller.blocker(LEASE_A, 0.0) is Blocker.RESPONDER_NOT_ANSWERING
    controller.receive_report(Report(-1, 0.0, (LINK,)), 0.0)
    assert controller.is_ready
    assert {write.name for write in controller.next_writes(0.1)} == {LEASE_A, LEASE_B}


def test_devices_before_objects() -> None:
    controller = Controller("n1", Timing(), 0.0)
    controller.replace_devices((DEVICE,), 0.0)
    controller.replace_devices((DEVICE,), 0.0)
    assert controller.picture.addresses_of(A) == ()
    controller.replace_cluster(TWO, 0.0)
    assert controller.picture.addresses_of(A) == (VIP_A,)
    assert controller.picture.addresses_of(NamespacedName("shop", "z")) == ()
    assert {wanted.address for wanted in controller.picture.wanted(LEASE_A)} == {VIP_A}


def test_from_free_leases_to_claims() -> None:
    bench = holding()
    assert {write.verb for write in bench.writes} == {Verb.ACQUIRE}
    assert [write.annotations for write in bench.writes] == [{INTERFACES_ANNOTATION: "eth0=02:00:00:00:00:01"}] * 2
    assert bench.claimed == {VIP_A, VIP_B}
    assert set(bench.controller.held) == {LEASE_A, LEASE_B}
    assert all(claim.interfaces == {"eth0"} for claim in bench.sent[-1].claims)
    assert all(1013.0 < claim.deadline < 1015.0 for claim in bench.sent[-1].claims)
    lease = bench.controller.leases.present(LEASE_A)
    assert lease is not None
    assert lease.holder_identity == "n1"
    assert bench.controller.blocker(LEASE_A, bench.now) is None


def test_replaying_the_same_inputs_changes_nothing() -> None:
    bench = holding()
    sent, writes = len(bench.sent), len(bench.writes)
    for _ in range(3):
        bench.controller.replace_cluster(TWO, bench.now)
        bench.controller.replace_devices((DEVICE,), bench.now)
        bench.controller.leases_listed(
            [lease for name in bench.controller.held if (lease := bench.controller.leases.present(name))], bench.now
        )
        bench.report(LINK)
        bench.settle()
    assert (len(bench.sent), len(bench.writes)) == (sent, writes)


def test_extensions_are_gathered_losses_are_not() -> None:
    bench = holding()
    bench.run(20.0)
    renewals = [write for write in bench.writes if write.verb is Verb.RENEW]
    assert len(renewals) == 2 * 4
    assert len(bench.sent) <= 2 + 4 * 2
    before = len(bench.sent)
    bench.controller.replace_cluster(cluster(service(A, VIP_A)), bench.now)
    bench.look()
    assert len(bench.sent) == before + 1
    assert bench.claimed == {VIP_A}


def test_many_leases_won_one_after_the_other_are_few_sets() -> None:
    services = [service(NamespacedName("default", f"s{number}"), IPv4Address(f"198.51.100.{number}")) for number in range(1, 251)]
    bench = Bench(cluster(*services))
    bench.report(LINK, generation=-1)
    for write in bench.look():
        bench.controller.write_succeeded(write.name, bench.grant(write), bench.now, bench.now)
        bench.now += 0.0001
        bench.look()
    won = len(bench.controller.held)
    assert won == 250
    assert len(bench.sent) <= 100 + 100 / 20 + 50 / 40 + 2, "one each up to a hundred, then one for 2 ms, then one for 4 ms"
    bench.now += 0.004
    bench.look()
    assert len(bench.claimed) == won


def test_an_extension_waits_a_tenth_of_the_renew_deadline_and_has_a_timer() -> None:
    bench = holding()
    elector = bench.controller.electors[LEASE_A]
    due = elector.next_timer()
    assert due is not None
    bench.run(due - 0.1 - bench.now)
    bench.controller.replace_cluster(cluster(service(A, VIP_A)), bench.now)  # something is sent just before the renewal
    bench.settle()
    sent, written = len(bench.sent), len(bench.writes)
    bench.now = due
    bench.report(LINK)
    bench.settle()
    assert (Verb.RENEW, LEASE_A) in [(write.verb, write.name) for write in bench.writes[written:]]
    assert len(bench.sent) == sent
    assert bench.controller.next_timer() == pytest.approx(due - 0.1 + 0.5)
    bench.now = due + 0.4
    bench.report(LINK)
    bench.look()
    assert len(bench.sent) == sent + 1


def test_a_withdrawal_is_confirmed_before_the_lease_is_released() -> None:
    bench = holding()
    obeyed = bench.controller.generation
    bench.controller.replace_cluster(cluster(service(A, VIP_A)), bench.now)
    assert bench.look() == []
    bench.report(LINK, generation=obeyed)
    assert bench.look() == []
    bench.report(LINK)
    (release,) = bench.look()
    assert (release.verb, release.name, release.annotations) == (Verb.RELEASE, LEASE_B, {})
    bench.controller.write_succeeded(LEASE_B, bench.grant(release), bench.now, bench.now)
    bench.settle()
    assert set(bench.controller.electors) == {LEASE_A}


@pytest.mark.parametrize(
    "state",
    [
        replace(TWO, policies={}),
        replace(TWO, services={}),
        replace(TWO, nodes={"n1": Node("n1")}),
        replace(TWO, services={key: replace(each, external_traffic_policy="Local") for key, each in TWO.services.items()}),
    ],
    ids=["policy deleted", "Services deleted", "label changed", "no local endpoint"],
)
def test_what_ends_the_selection_ends_the_claims_then_the_leases(state: ClusterState) -> None:
    bench = holding()
    bench.controller.replace_cluster(state, bench.now)
    bench.look()
    assert bench.sent[-1].claims == ()
    bench.run(0.5)
    assert [write.verb for write in bench.writes[-2:]] == [Verb.RELEASE] * 2
    assert list(bench.controller.held) == []


def test_an_endpoint_that_comes_brings_local_services() -> None:
    services = {A: replace(service(A, VIP_A), external_traffic_policy="Local")}
    bench = Bench(replace(TWO, services=services))
    bench.report(LINK, generation=-1)
    bench.settle()
    assert bench.sent[-1].claims == ()
    bench.controller.replace_cluster(replace(TWO, services=services, endpoints=(Endpoint(A, "n1"),)), bench.now)
    bench.settle()
    assert bench.claimed == {VIP_A}


def unhealthy(*names: str) -> ClusterState:
    """n1 and n2, of which some are not ready."""
    labels = {"edge": "yes"}
    return replace(TWO, nodes={name: Node(name, labels, ready="False" if name in names else "True") for name in ("n1", "n2")})


def test_a_node_that_stays_unhealthy_stops_then_releases() -> None:
    bench = holding()
    bench.controller.replace_cluster(unhealthy("n1"), bench.now)
    bench.run(14.5)
    assert bench.claimed == {VIP_A, VIP_B}
    bench.run(1.0)
    assert bench.controller.blocker(LEASE_A, bench.now) is Blocker.NODE_UNHEALTHY
    assert bench.sent[-1].claims == ()
    assert [write.verb for write in bench.writes[-2:]] == [Verb.RELEASE] * 2


def test_health_is_woken_for() -> None:
    bench = holding()
    bench.controller.replace_cluster(unhealthy("n1"), bench.now)
    bench.settle()
    due = bench.now + 15
    bench.run(14.9)
    assert bench.controller.next_timer() == pytest.approx(due)


def test_nobody_gives_up_when_all_are_unhealthy() -> None:
    bench = holding()
    bench.controller.replace_cluster(unhealthy("n1", "n2"), bench.now)
    bench.run(30.0)
    assert bench.claimed == {VIP_A, VIP_B}
    assert bench.controller.blocker(LEASE_A, bench.now) is None


def test_an_unhealthy_node_waits_longer_for_a_free_lease() -> None:
    taken = {}
    for state in (unhealthy(), unhealthy("n1")):
        bench = Bench(state, [Lease(name, "n2", 15.0, "1") for name in (LEASE_A, LEASE_B)])
        bench.report(LINK, generation=-1)
        bench.run(4.0)
        for name in (LEASE_A, LEASE_B):
            bench.controller.lease_observed(name, Lease(name, "", 1.0, "2"), bench.now)
        start = bench.now
        while not bench.look():
            bench.now += 0.01
            bench.report(LINK)
        taken[state.nodes["n1"].ready] = bench.now - start
    assert taken["True"] < 0.1
    assert taken["False"] == pytest.approx(Timing().retry_period / 2, abs=0.2), "and it is behind the others in rank"


def test_a_route_that_goes_ends_what_must_match_a_subnet() -> None:
    bench = Bench()
    bench.controller = Controller("n1", Timing(), bench.now, eligibility=EligibilitySettings(subnet_match="require"))
    with_route = replace(DEVICE, connected=(ConnectedRoute(ip_network("192.0.2.0/24")),))
    bench.controller.replace_cluster(TWO, bench.now)
    bench.controller.replace_devices((with_route,), bench.now)
    bench.controller.leases_listed((), bench.now)
    bench.report(LINK, generation=-1)
    bench.settle()
    assert bench.claimed == {VIP_A, VIP_B}
    bench.controller.replace_devices((DEVICE,), bench.now)
    bench.look()
    assert bench.controller.blocker(LEASE_A, bench.now) is Blocker.NO_SUBNET
    assert bench.sent[-1].claims == ()
    bench.controller.replace_devices((with_route,), bench.now)
    assert bench.controller.blocker(LEASE_A, bench.now) is None


def test_endpoints_of_a_group_are_elsewhere() -> None:
    """n2 can serve both Services that share an address, so n1, which serves one, gives them up."""
    services = {key: replace(service(key, VIP_A), external_traffic_policy="Local") for key in (A, B)}
    state = replace(unhealthy(), services=services, endpoints=(Endpoint(A, "n1"), Endpoint(B, "n2")))
    bench = holding(state)
    bench.run(3.0)
    assert bench.claimed == {VIP_A}
    assert bench.controller.picture.selection.refusals == {B: Reason.NO_LOCAL_ENDPOINT}
    bench.controller.replace_cluster(replace(state, endpoints=(*state.endpoints, Endpoint(A, "n2"))), bench.now)
    assert bench.controller.blocker(LEASE_A, bench.now) is Blocker.NO_LOCAL_ENDPOINT
    bench.run(0.5)
    assert bench.sent[-1].claims == ()


def test_device_gone_and_back() -> None:
    bench = holding()
    bench.controller.replace_devices((), bench.now)
    bench.run(0.5)
    assert bench.sent[-1].claims == ()
    bench.controller.replace_devices((DEVICE,), bench.now)
    bench.run(4.0)
    assert bench.claimed == {VIP_A, VIP_B}


def test_carrier_lost() -> None:
    bench = holding()
    bench.report(replace(LINK, carrier=False))
    assert bench.controller.blocker(LEASE_A, bench.now) is Blocker.NO_CARRIER
    bench.look()
    assert bench.sent[-1].claims == ()


SUBNET = ip_network("192.0.2.0/24")
LAN = (
    replace(DEVICE, connected=(ConnectedRoute(SUBNET),)),
    replace(DEVICE, index=2, name="eth1", connected=(ConnectedRoute(SUBNET, 100),)),
)
LINKS = (LINK, Link(2, "eth1", b"\2\0\0\0\0\2"))


def on_two_links() -> Bench:
    """Holds both addresses, with two interfaces in their subnet."""
    bench = Bench()
    bench.controller.replace_devices(LAN, bench.now)
    bench.report(*LINKS, generation=-1)
    bench.settle()
    bench.run(1.0, *LINKS)
    return bench


def answered_on(bench: Bench) -> set[str]:
    return set().union(*(claim.interfaces for claim in bench.sent[-1].claims))


def test_one_of_two_interfaces_in_a_subnet_answers() -> None:
    bench = on_two_links()
    assert bench.claimed == {VIP_A, VIP_B}
    assert answered_on(bench) == {"eth0"}
    assert {write.annotations[INTERFACES_ANNOTATION] for write in bench.writes} == {"eth0=02:00:00:00:00:01"}
    assert bench.controller.interfaces(LEASE_A) == {VIP_A: frozenset({"eth0"})}


def test_the_other_one_takes_over_at_once_and_the_lease_stays() -> None:
    bench = on_two_links()
    writes = len(bench.writes)
    bench.report(replace(LINK, carrier=False), LINKS[1])
    bench.look()
    assert (answered_on(bench), bench.claimed, len(bench.writes)) == ({"eth1"}, {VIP_A, VIP_B}, writes)
    bench.report(*LINKS)
    bench.look()
    assert (answered_on(bench), len(bench.writes)) == ({"eth0"}, writes)
    bench.report(*(replace(link, carrier=False) for link in LINKS))
    bench.look()
    assert bench.sent[-1].claims == ()


def test_a_route_that_changes_moves_the_answer() -> None:
    bench = on_two_links()
    bench.controller.replace_devices((LAN[0], replace(LAN[1], connected=(ConnectedRoute(ip_network("192.0.2.0/28")),))), bench.now)
    bench.look()
    assert answered_on(bench) == {"eth1"}
    sent = len(bench.sent)
    bench.controller.replace_devices((replace(LAN[0], connected=()), LAN[1]), bench.now)
    bench.look()
    assert len(bench.sent) == sent + 1, "eth1 it is still; told anew"


def test_changes_of_links_that_choose_nothing_send_nothing() -> None:
    bench = holding()
    sent = len(bench.sent)
    bench.report(LINK, LINKS[1])
    bench.controller.replace_devices((replace(DEVICE, connected=(ConnectedRoute(SUBNET),)),), bench.now)
    bench.look()
    assert len(bench.sent) == sent


def test_an_address_that_becomes_guarded_is_withdrawn_and_the_others_stay() -> None:
    """Of a group that is held, and of all of it; and it comes back."""
    bench = holding(JOINED)
    own = replace(DEVICE, addresses=(*DEVICE.addresses, VIP_B))
    bench.controller.replace_devices((own,), bench.now)
    bench.look()
    assert bench.claimed == {VIP_A}
    (problem,) = bench.controller.picture.selection.problems
    assert (problem.subject, problem.reason) == (f"service/{B}", "OwnAddress")
    bench.controller.replace_cluster(replace(JOINED, api_servers=frozenset({VIP_A})), bench.now)
    bench.settle()
    bench.run(0.5)
    assert (bench.sent[-1].claims, list(bench.controller.held)) == ((), [])
    bench.controller.replace_cluster(replace(JOINED, nodes={**JOINED.nodes, "n2": Node("n2", addresses=(VIP_A,))}), bench.now)
    assert [each.reason for each in bench.controller.picture.selection.problems] == ["NodeAddress", "NodeAddress", "OwnAddress"]
    bench.controller.replace_cluster(JOINED, bench.now)
    bench.controller.replace_devices((DEVICE,), bench.now)
    bench.settle()
    assert bench.claimed == {VIP_A, VIP_B}


def test_an_address_that_changes_goes_out_at_once() -> None:
    bench = holding()
    bench.controller.replace_cluster(cluster(service(A, IPv4Address("192.0.2.77")), service(B, VIP_B)), bench.now)
    bench.look()
    assert bench.claimed == {IPv4Address("192.0.2.77"), VIP_B}


def test_a_silent_responder_costs_the_leases_but_only_after_their_deadlines() -> None:
    bench = holding()
    deadline = max(claim.deadline for claim in bench.sent[-1].claims)
    gate = bench.controller.next_timer()
    assert gate == bench.now + GATE_TIMEOUT
    bench.now = gate
    bench.look()
    assert bench.controller.blocker(LEASE_A, bench.now) is Blocker.RESPONDER_NOT_ANSWERING
    assert bench.sent[-1].claims == ()
    bench.now = deadline - 0.01
    assert bench.look() == []
    bench.now = deadline
    assert {write.verb for write in bench.look()} == {Verb.RELEASE}


@pytest.mark.parametrize("dead", [True, False])
def test_a_lost_responder(dead: bool) -> None:
    """Dead: nothing answers, release now. Merely disconnected: it may answer until its deadline."""
    bench = holding()
    bench.controller.responder_lost(bench.now, dead)
    writes = bench.look()
    assert not bench.controller.is_ready
    assert {write.verb for write in writes} == ({Verb.RELEASE} if dead else set())
    if not dead:
        bench.now = 1014.0
        released = bench.look()
        assert {(write.verb, write.name) for write in released} == {(Verb.RELEASE, LEASE_A), (Verb.RELEASE, LEASE_B)}


def ours(name: str = LEASE_A) -> Lease:
    return Lease(name, "n1", 15.0, "7")


def test_an_adopted_responder_is_told_nothing_before_its_leases_are_resumed() -> None:
    bench = Bench(leases=[ours(), ours(LEASE_B)])
    bench.report(LINK, generation=57)
    first, second = bench.look()
    assert {first.verb, second.verb} == {Verb.RENEW}
    assert bench.sent == []
    bench.controller.write_succeeded(first.name, bench.grant(first), bench.now, bench.now)
    bench.look()
    assert bench.sent == []
    bench.controller.write_succeeded(second.name, bench.grant(second), bench.now, bench.now)
    bench.look()
    assert bench.claimed == {VIP_A, VIP_B}


def test_generations_go_on_where_an_earlier_life_stopped() -> None:
    """Or else what it obeyed would look like a confirmation."""
    bench = Bench(leases=[ours()])
    bench.report(LINK, generation=57)
    bench.settle()
    assert bench.sent[0].generation == 58
    bench.controller.replace_cluster(replace(TWO, services={}), bench.now)
    bench.look()
    bench.report(LINK, generation=58)
    assert bench.look() == []
    bench.report(LINK, generation=59)
    assert {write.verb for write in bench.look()} == {Verb.RELEASE}


def test_adoption_waits_a_lease_duration_at_most() -> None:
    """One lease is resumed and extended; the other never gets an answer: no busy loop, then what is held is claimed."""
    bench = Bench(leases=[ours(), ours(LEASE_B)])
    started = bench.now
    while bench.now < started + 15.0:
        assert bench.sent == []
        bench.report(LINK, generation=57)
        for write in bench.look():
            if write.name == LEASE_A:
                bench.controller.write_succeeded(LEASE_A, bench.grant(write), bench.now, bench.now)
        bench.now += 0.5
        timer = bench.controller.next_timer()
        assert timer is not None
        assert timer <= started + 15.0
    bench.look()
    assert bench.claimed == {VIP_A}


def test_a_lease_that_another_has_taken_is_not_resumed() -> None:
    bench = Bench(cluster(service(A, VIP_A)), [ours()])
    bench.report(LINK, generation=57)
    (write,) = bench.look()
    bench.controller.write_failed(write.name, Conflict(Lease(LEASE_A, "n2", 15.0, "8")), bench.now)
    bench.look()
    assert bench.sent[-1].claims == ()


def test_a_lost_lease_is_withdrawn_at_once() -> None:
    bench = holding()
    bench.controller.lease_observed(LEASE_A, Lease(LEASE_A, "n2", 15.0, "999"), bench.now)
    assert bench.look() == []
    assert bench.claimed == {VIP_B}


def test_an_unreachable_store_leaves_the_deadline() -> None:
    bench = holding()
    deadline = bench.controller.electors[LEASE_A].deadline
    assert deadline is not None
    while bench.now < deadline:
        bench.now = min(bench.now + 0.5, deadline)
        bench.report(LINK)
        for write in bench.look():
            bench.controller.write_failed(write.name, Unreachable("refused"), bench.now)
    assert list(bench.controller.held) == []
    assert bench.controller.electors[LEASE_A].state is State.RESUMING


def test_a_joined_group_waits_for_the_owner_of_its_member() -> None:
    bench = Bench(JOINED, [Lease(LEASE_B, "n2", 15.0, "7")])
    bench.report(LINK, generation=-1)
    assert bench.look() == []
    assert bench.controller.blocker(LEASE_A, bench.now) is Blocker.MEMBER_HELD_ELSEWHERE
    bench.controller.lease_observed(LEASE_B, Lease(LEASE_B, "", 1.0, "8"), bench.now)
    (write,) = bench.look()
    assert (write.verb, write.name) == (Verb.ACQUIRE, LEASE_A)
    assert bench.controller.blocker(LEASE_A, bench.now) is None


def test_a_joined_group_goes_on_when_the_member_expires() -> None:
    bench = Bench(JOINED, [Lease(LEASE_B, "n2", 15.0, "7")])
    started = bench.now
    while bench.now < started + 15.0:
        bench.report(LINK, generation=0)
        assert bench.look() == []
        bench.now += 1.0
    bench.report(LINK, generation=bench.controller.generation)
    assert [write.name for write in bench.look()] == [LEASE_A]


def holders(bench: Bench) -> dict[str, str]:
    """Lease -> holder, as the last writes left them."""
    last = {write.name: write for write in bench.writes}
    return {name: "" if write.verb is Verb.RELEASE else write.holder_identity for name, write in last.items()}


def test_a_group_splits_and_joins_without_a_gap() -> None:
    """The leases of all Services of a group follow the deciding one, so that a split finds its owner there, and a join keeps it."""
    bench = holding(JOINED)
    assert bench.claimed == {VIP_A, VIP_B}
    assert list(bench.controller.held) == [LEASE_A]
    assert holders(bench) == {LEASE_A: "n1", LEASE_B: "n1"}
    before = len(bench.sent)
    bench.controller.replace_cluster(TWO, bench.now)
    bench.settle()
    bench.run(1.0)
    assert set(bench.controller.held) == {LEASE_A, LEASE_B}
    bench.controller.replace_cluster(JOINED, bench.now)
    bench.run(1.0)
    assert list(bench.controller.held) == [LEASE_A]
    assert holders(bench) == {LEASE_A: "n1", LEASE_B: "n1"}
    assert all({claim.address for claim in sent.claims} == {VIP_A, VIP_B} for sent in bench.sent[before:])


def test_followers_are_renewed_and_released_with_the_deciding_lease() -> None:
    bench = holding(JOINED)
    bench.run(20.0)
    renewals = [write.name for write in bench.writes if write.verb is Verb.RENEW]
    assert renewals.count(LEASE_A) == renewals.count(LEASE_B) == 4
    told = {INTERFACES_ANNOTATION: "eth0=02:00:00:00:00:01"}
    assert all(write.annotations == (told if write.name == LEASE_A else told | {FOLLOWS_ANNOTATION: LEASE_A}) for write in bench.writes)
    bench.controller.stop(bench.now)
    bench.run(2.0)
    assert holders(bench) == {LEASE_A: "", LEASE_B: ""}
    assert bench.controller.is_stopped


def test_a_lost_deciding_lease_takes_its_followers_along() -> None:
    bench = holding(JOINED)
    bench.controller.lease_observed(LEASE_A, Lease(LEASE_A, "n2", 15.0, "999"), bench.now)
    bench.run(1.0)
    assert bench.claimed == set()
    assert holders(bench)[LEASE_B] == ""


def test_the_owner_of_a_member_answers_until_somebody_decides() -> None:
    """Service a joins b, which this node holds: nothing of b goes silent, nothing of a is answered before its lease is ours."""
    bench = Bench(cluster(service(B, VIP_B)))
    bench.report(LINK, generation=-1)
    bench.settle()
    bench.run(1.0)
    before = len(bench.sent)
    bench.controller.replace_cluster(cluster(service(A, VIP_A, VIP_B), service(B, VIP_B)), bench.now)
    (write,) = bench.look()
    assert (write.verb, write.name) == (Verb.ACQUIRE, LEASE_A)
    assert {claim.address for claim in bench.controller.claims()} == {VIP_B}
    bench.controller.write_succeeded(write.name, bench.grant(write), bench.now, bench.now)
    bench.run(1.0)
    assert holders(bench) == {LEASE_A: "n1", LEASE_B: "n1"}
    assert bench.claimed == {VIP_A, VIP_B}
    assert all(VIP_B in {claim.address for claim in sent.claims} for sent in bench.sent[before:])


def test_the_owner_of_a_member_lets_go_when_another_decides() -> None:
    bench = Bench(cluster(service(B, VIP_B)), [Lease(LEASE_A, "n2", 15.0, "7")])
    bench.report(LINK, generation=-1)
    bench.settle()
    bench.run(1.0)
    assert bench.claimed == {VIP_B}
    bench.controller.replace_cluster(cluster(service(A, VIP_A, VIP_B), service(B, VIP_B)), bench.now)
    bench.run(1.0)
    assert bench.claimed == set()
    assert holders(bench)[LEASE_B] == ""


def test_the_owner_of_a_group_adds_nothing_while_a_member_is_anothers() -> None:
    bench = Bench(cluster(service(A, VIP_A)), [Lease(LEASE_B, "n2", 15.0, "7")])
    bench.report(LINK, generation=-1)
    bench.settle()
    bench.run(1.0)
    before = len(bench.sent)
    bench.controller.replace_cluster(JOINED, bench.now)
    bench.run(1.0)
    assert bench.claimed == {VIP_A}
    bench.controller.lease_observed(LEASE_B, Lease(LEASE_B, "", 1.0, "8"), bench.now)
    bench.run(1.0)
    assert bench.claimed == {VIP_A, VIP_B}
    assert holders(bench) == {LEASE_A: "n1", LEASE_B: "n1"}
    assert all(VIP_A in {claim.address for claim in sent.claims} for sent in bench.sent[before:])


def test_a_group_whose_holder_died_waits_for_the_deciding_lease_alone() -> None:
    """Its followers are renewed at other times; to wait for them too would make the failover longer."""
    follows = {FOLLOWS_ANNOTATION: LEASE_A}
    bench = Bench(JOINED, [Lease(LEASE_A, "n2", 15.0, "7"), Lease(LEASE_B, "n2", 15.0, "8", annotations=follows)])
    bench.report(LINK, generation=-1)
    started = bench.now
    bench.run(4.0)
    bench.controller.lease_observed(LEASE_B, Lease(LEASE_B, "n2", 15.0, "9", annotations=follows), bench.now)
    bench.run(started + 15.2 - bench.now)
    assert bench.claimed == {VIP_A, VIP_B}
    bench.run(6.0)
    assert holders(bench) == {LEASE_A: "n1", LEASE_B: "n1"}


def test_stop_ends_answers_first_then_leases() -> None:
    bench = holding()
    bench.controller.stop(bench.now)
    assert bench.controller.blocker(LEASE_A, bench.now) is Blocker.STOPPING
    assert bench.look() == []
    assert bench.sent[-1].claims == ()
    assert not bench.controller.is_stopped
    bench.report(LINK)
    writes = bench.look()
    assert {write.verb for write in writes} == {Verb.RELEASE}
    for write in writes:
        assert not bench.controller.is_stopped
        bench.controller.write_succeeded(write.name, bench.grant(write), bench.now, bench.now)
    bench.look()
    assert bench.controller.is_stopped


def test_the_first_in_rank_takes_a_free_lease_first() -> None:
    nodes = {name: Node(name, {"edge": "yes"}) for name in ("n1", "n2", "n3")}
    firsts = []
    for name in nodes:
        controller = Controller(name, Timing(), 0.0)
        controller.replace_cluster(replace(cluster(service(A, VIP_A)), nodes=nodes), 0.0)
        controller.replace_devices((DEVICE,), 0.0)
        controller.leases_listed((), 0.0)
        controller.receive_report(Report(-1, 0.0, (LINK,)), 0.0)
        at = 0.0
        while at < 3.0 and not controller.next_writes(at):
            controller.claim_set(at)
            at = min(controller.next_timer() or 3.0, at + 1.0)
            controller.receive_report(Report(controller.generation, at, (LINK,)), at)
            controller.handle_timer(at)
        firsts.append(round(at, 3))
    assert sorted(firsts) == [0.0, START_SPREAD + 0.05, START_SPREAD + 0.1]


def test_a_lease_seen_before_its_service() -> None:
    """What a lease did before anybody was a candidate for it counts: it expires from when it was first seen."""
    bench = Bench(replace(TWO, services={}), [Lease(LEASE_A, "n2", 15.0, "7")])
    bench.report(LINK, generation=-1)
    bench.look()
    started = bench.now
    bench.run(10.0)
    bench.controller.replace_cluster(cluster(service(A, VIP_A)), bench.now)
    bench.run(started + 14.9 - bench.now)
    assert bench.writes == []
    bench.run(0.2)
    assert bench.writes[0].verb is Verb.ACQUIRE


def test_a_lease_that_vanished_before_its_service_came() -> None:
    bench = Bench(replace(TWO, services={}), [Lease(LEASE_A, "n2", 15.0, "7")])
    bench.report(LINK, generation=-1)
    started = bench.now
    bench.controller.leases_listed((), bench.now)
    assert bench.controller.leases.present(LEASE_A) is None
    bench.run(1.0)
    bench.controller.replace_cluster(cluster(service(A, VIP_A)), bench.now)
    bench.run(started + 14.9 - bench.now)
    assert bench.writes == []
    bench.run(0.2)
    assert bench.writes[0].verb is Verb.ACQUIRE


def test_claims_follow_from_the_state_not_from_the_order_of_events() -> None:
    """C1: every order of the last word of each source, each given twice, ends in the same claims and the same leases."""
    final = cluster(service(A, VIP_B), service(B, VIP_A, VIP_B))
    ends = set()
    for order in permutations(range(4)):
        bench = holding()
        lease = Lease(LEASE_B, "", 1.0, "900")
        steps: tuple[Callable[[], None], ...] = (
            lambda bench=bench: bench.controller.replace_cluster(final, bench.now),  # type: ignore[misc]
            lambda bench=bench: bench.controller.replace_devices((replace(DEVICE, up=True),), bench.now),  # type: ignore[misc]
            lambda bench=bench, lease=lease: bench.controller.lease_observed(LEASE_B, lease, bench.now),  # type: ignore[misc]
            lambda bench=bench: bench.report(replace(LINK, mac=b"\2\0\0\0\0\2")),  # type: ignore[misc]
        )
        for position in (*order, *order):
            steps[position]()
            bench.settle()
        bench.run(3.0)
        ends.add((frozenset((claim.address, claim.interfaces) for claim in bench.sent[-1].claims), frozenset(bench.controller.held)))
    assert ends == {(frozenset({(VIP_A, frozenset({"eth0"})), (VIP_B, frozenset({"eth0"}))}), frozenset({LEASE_A}))}


def test_a_member_that_left_its_group_wakes_nobody() -> None:
    bench = Bench(JOINED, [Lease(LEASE_B, "n2", 15.0, "7")])
    bench.report(LINK, generation=-1)
    bench.look()
    bench.controller.replace_cluster(cluster(service(A, VIP_A)), bench.now)
    bench.settle()
    assert bench.claimed == {VIP_A}
    bench.run(16.0)
    assert bench.claimed == {VIP_A}


def test_the_holder_as_observed() -> None:
    bench = Bench(leases=[Lease(LEASE_A, "n2", 15.0, "1")])
    assert bench.controller.holder(LEASE_A, bench.now + 14.9) == "n2"
    assert bench.controller.holder(LEASE_A, bench.now + 15.0) is None
    assert bench.controller.holder(LEASE_B, bench.now) is None


# -- what the responder is told besides claims


def probed(bench: Bench) -> set[bool]:
    return {claim.probe for claim in bench.sent[-1].claims}


def test_a_lease_that_nobody_held_is_probed_for_and_a_taken_one_is_not() -> None:
    assert probed(holding()) == {True}
    bench = Bench(leases=[Lease(name, "", 15.0, "1") for name in (LEASE_A, LEASE_B)])
    bench.run(1.0)
    assert bench.claimed
    assert probed(bench) == {False}


def probes(bench: Bench) -> dict[Address, bool]:
    return {claim.address: claim.probe for claim in bench.sent[-1].claims}


def test_an_address_added_to_a_held_lease_is_probed_for_unless_a_service_had_it() -> None:
    bench = Bench(cluster(service(A, VIP_A), service(B, VIP_B)), leases=[Lease(LEASE_A, "n2", 15, "1"), Lease(LEASE_B, "n2", 15, "2")])
    bench.report(LINK, generation=-1)
    bench.settle()
    bench.run(20.0, LINK)
    assert probes(bench) == {VIP_A: False, VIP_B: False}, "both were taken over"
    new = IPv4Address("198.51.100.1")
    bench.controller.replace_cluster(cluster(service(A, VIP_A, VIP_B, new)), bench.now)
    bench.settle()
    bench.run(1.0, LINK)
    assert probes(bench) == {VIP_A: False, VIP_B: False, new: True}
    bench.controller.replace_cluster(cluster(service(A, VIP_A, VIP_B)), bench.now)
    bench.settle()
    bench.controller.replace_cluster(cluster(service(A, VIP_A, VIP_B, new)), bench.now)
    bench.settle()
    assert probes(bench)[new], "it was nobody's in between"


def test_an_address_that_moves_to_a_created_lease_is_not_probed_for() -> None:
    bench = holding()
    assert probes(bench) == {VIP_A: True, VIP_B: True}
    bench.controller.replace_cluster(cluster(service(A, VIP_A, VIP_B)), bench.now)
    bench.run(1.0)
    assert probes(bench) == {VIP_A: True, VIP_B: False}


def test_a_lease_given_back_and_taken_again_is_not_probed_for() -> None:
    bench = holding()
    bench.controller.replace_devices((), bench.now)
    bench.run(1.0)
    assert bench.claimed == set()
    bench.controller.replace_devices((DEVICE,), bench.now)
    bench.run(20.0)
    assert bench.claimed
    assert probed(bench) == {False}


def test_the_nodes_of_the_cluster_and_the_intervals_are_told() -> None:
    bench = holding()
    sent = bench.sent[-1]
    assert (sent.refresh_interval, sent.probe_wait, sent.answer_limit, sent.peers) == (180.0, 0.2, 20_000, frozenset({MAC}))
    foreign = Lease("other", "n2", 15.0, "7", annotations={INTERFACES_ANNOTATION: "eth0=02:00:00:00:00:07"})
    bench.controller.lease_observed("other", foreign, bench.now)
    bench.run(1.0)
    assert bench.sent[-1].peers == {MAC, bytes.fromhex("020000000007")}
    later = Lease("third", "n3", 15.0, "8", annotations={INTERFACES_ANNOTATION: "eth0=02:00:00:00:00:08"})
    bench.controller.leases_listed([bench.grant(write) for write in bench.writes] + [foreign, later], bench.now)
    bench.run(1.0)
    assert len(bench.sent[-1].peers) == 3


# -- hand-overs


def wish(bench: Bench, target: str) -> None:
    """Somebody writes that this node's lease of A is to go to ``target``."""
    lease = bench.controller.leases.present(LEASE_A)
    assert lease is not None
    bench.version += 1
    wished = replace(lease, resource_version=str(bench.version), annotations={**lease.annotations, MOVE_TO: target})
    bench.controller.lease_observed(LEASE_A, wished, bench.now)


def last(bench: Bench, name: str) -> LeaseWrite:
    return [write for write in bench.writes if write.name == name][-1]


def two_nodes() -> Bench:
    """Holds A and B; n2 is a candidate too."""
    state = replace(TWO, nodes={name: Node(name, {"edge": "yes"}) for name in ("n1", "n2")})
    bench = Bench(state)
    bench.report(LINK, generation=-1)
    bench.settle()
    bench.run(4.0)
    assert bench.claimed == {VIP_A, VIP_B}
    return bench


def test_a_lease_that_is_wished_for_is_withdrawn_and_released_with_whom_it_is_for() -> None:
    bench = two_nodes()
    wish(bench, "n2")
    assert bench.controller.blocker(LEASE_A, bench.now) is Blocker.MOVING
    bench.look()
    assert bench.claimed == {VIP_B}
    bench.report(LINK)
    (write,) = bench.look()
    bench.controller.write_succeeded(LEASE_A, bench.grant(write), bench.now, bench.now)
    bench.controller.replace_devices((replace(DEVICE, up=True),), bench.now)
    bench.controller.responder_lost(bench.now, dead=False)
    bench.report(LINK)
    assert bench.look() == [], "it is n2's turn, though the watch has not shown the release yet"
    assert (last(bench, LEASE_A).verb, last(bench, LEASE_A).annotations) == (Verb.RELEASE, {RESERVED_FOR: "n2"})


def test_a_wish_that_cannot_be_granted_is_wiped_off_by_a_renewal() -> None:
    bench = two_nodes()
    wish(bench, "n9")
    bench.run(0.5)
    assert bench.claimed == {VIP_A, VIP_B}
    assert last(bench, LEASE_A).verb is Verb.RENEW
    assert MOVE_TO not in last(bench, LEASE_A).annotations


def test_a_drained_node_gives_everything_up_and_takes_it_again() -> None:
    bench = two_nodes()
    drain = Lease(DRAIN_PREFIX + "n1", "admin", 3600.0, "1")
    bench.controller.lease_observed(drain.name, drain, bench.now)
    assert bench.controller.blocker(LEASE_A, bench.now) is Blocker.DRAINED
    bench.run(1.0)
    assert bench.claimed == set()
    assert last(bench, LEASE_A).annotations == {MOVED_FROM: "n1"}
    bench.controller.lease_observed(drain.name, None, bench.now)
    bench.run(4.0)
    assert bench.claimed == {VIP_A, VIP_B}
    assert bench.controller.next_requests(bench.now) == []
    bench.controller.stop(bench.now)
    assert bench.controller.next_requests(bench.now) == []


# -- one heartbeat for each node


HEARTBEAT = "l2announce-node.n1"
"""The lease that this node renews in mode ``node``, and no other."""


def beating(leases: Iterable[Lease] = ()) -> Bench:
    """In mode ``node``, holding everything."""
    bench = Bench(leases=leases, node_mode=True)
    bench.report(LINK, generation=-1)
    bench.settle()
    bench.run(1.0)
    return bench


def test_a_heartbeat_renews_every_lease() -> None:
    bench = beating()
    assert bench.claimed == {VIP_A, VIP_B}
    assert [write.name for write in bench.writes] == [HEARTBEAT, LEASE_A, LEASE_B]
    assert {write.annotations[LEASE_MODE_ANNOTATION] for write in bench.writes[1:]} == {NODE_MODE}
    assert {write.annotations[INTERFACES_ANNOTATION] for write in bench.writes[1:]} == {"eth0=02:00:00:00:00:01"}
    bench.writes.clear()
    bench.run(30.0, LINK)
    assert {write.name for write in bench.writes} == {HEARTBEAT}
    assert all(claim.deadline > bench.now for claim in bench.sent[-1].claims)


def test_a_heartbeat_that_is_refused_ends_the_claims_in_time() -> None:
    bench = beating()
    bench.now += 5.0
    bench.report(LINK)
    (beat,) = bench.look()
    bench.controller.write_failed(beat.name, Unreachable("no answer"), bench.now)
    while bench.now < 1000.0 + 14.0:
        bench.now += 0.5
        bench.report(LINK)
        for write in bench.look():
            bench.controller.write_failed(write.name, Unreachable("no answer"), bench.now)
    assert bench.claimed == set()


def test_a_stop_gives_the_heartbeat_up_last() -> None:
    bench = beating()
    bench.writes.clear()
    bench.controller.stop(bench.now)
    bench.settle()
    bench.run(1.0, LINK)
    assert [(write.verb, write.name) for write in bench.writes] == [(Verb.RELEASE, name) for name in (LEASE_A, LEASE_B, HEARTBEAT)]
    assert bench.controller.is_stopped


def test_a_lease_that_nobody_wants_is_not_kept_by_the_heartbeat() -> None:
    """An earlier life had it; its Service is gone."""
    gone = "cilium-l2announce-shop.gone"
    stray = Lease(gone, "n1", 15.0, "7", annotations={LEASE_MODE_ANNOTATION: NODE_MODE})
    bench = beating([stray])
    bench.run(20.0, LINK)
    assert (Verb.RELEASE, gone) in [(write.verb, write.name) for write in bench.writes]
    assert gone not in bench.controller.electors


def test_a_dead_neighbour_is_declared_dead_before_its_leases_are_taken() -> None:
    theirs = Lease(LEASE_A, "n2", 15.0, "7", annotations={LEASE_MODE_ANNOTATION: NODE_MODE})
    neighbour = Lease("l2announce-node.n2", "n2", 15.0, "8")
    bench = beating([theirs, neighbour])
    bench.run(5.0, LINK)
    assert bench.claimed == {VIP_B}
    bench.controller.lease_observed(neighbour.name, replace(neighbour, resource_version="9"), bench.now)
    bench.run(14.0, LINK)
    assert bench.claimed == {VIP_B}
    bench.writes.clear()
    bench.run(2.0, LINK)
    assert [write.name for write in bench.writes if write.name != HEARTBEAT] == [neighbour.name, LEASE_A]
    assert bench.claimed == {VIP_A, VIP_B}


def test_the_annotation_on_its_own_heartbeat_costs_a_node_nothing() -> None:
    bench = Bench(node_mode=True)
    bench.report(LINK, generation=-1)
    bench.settle()
    bench.run(8.0)
    held = bench.controller.held
    assert held
    beat = next(write for write in reversed(bench.writes) if write.name == heartbeat_name("n1"))
    shown = replace(bench.grant(beat), annotations={LEASE_MODE_ANNOTATION: NODE_MODE})
    bench.controller.lease_observed(shown.name, shown, bench.now)
    bench.writes.clear()
    bench.run(60.0)
    assert bench.controller.held == held
    assert not [write for write in bench.writes if write.verb is Verb.RELEASE]


def test_which_services_have_an_address() -> None:
    bench = Bench()
    assert bench.controller.picture.services_with(VIP_A) == {A}
    assert bench.controller.picture.services_with(IPv4Address("203.0.113.1")) == frozenset()
