"""LB-IPAM as a state machine, held after every step against what is naively true of who has what."""

from dataclasses import replace
from ipaddress import ip_address
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from l2announce.ipam.allocator import Allocator, Decision
from l2announce.ipam.demand import IpamSettings, demand_of, is_ours, why_not_shared
from l2announce.ipam.ranges import Range, Taken, to_address
from l2announce.model.address import Address
from l2announce.model.objects import LabelSelector, NamespacedName
from l2announce.model.pools import AddressPool, BalancedService, Block, Port

SPACE = [ip_address(f"10.0.0.{number}") for number in range(16)] + [ip_address(f"fd00::{number:x}") for number in range(8)]
BLOCKS = [Block(cidr) for cidr in ("10.0.0.0/30", "10.0.0.4/30", "10.0.0.2/31", "10.0.0.7/32", "fd00::/126", "fd00::4/127", "10.0.0.9/29")]
BLOCKS += [Block(start="10.0.0.5", stop="10.0.0.6"), Block(start="fd00::3"), Block("10.0.0.0/33"), Block()]
LABELS: list[dict[str, str]] = [{}, {"tier": "a"}, {"tier": "b"}]
SELECTORS = [None, LabelSelector((("tier", "a"),)), LabelSelector((("io.kubernetes.service.namespace", "x"),))]
CONFIGURATIONS = [IpamSettings(), IpamSettings(families=(4,)), IpamSettings(classless=False)]

pools = st.builds(
    AddressPool,
    name=st.sampled_from("pqr"),
    blocks=st.lists(st.sampled_from(BLOCKS), max_size=3).map(tuple),
    created=st.sampled_from("12"),
    service_selector=st.sampled_from(SELECTORS),
    allow_first_last=st.booleans(),
    disabled=st.booleans(),
)
services = st.builds(
    BalancedService,
    key=st.builds(NamespacedName, st.sampled_from("xy"), st.sampled_from("abcd")),
    created=st.sampled_from("12"),
    labels=st.sampled_from(LABELS),
    type=st.sampled_from(["LoadBalancer", "LoadBalancer", "LoadBalancer", "ClusterIP"]),
    load_balancer_class=st.sampled_from([None, None, "io.cilium/l2-announcer", "other"]),
    families=st.sampled_from([(), (4,), (6,), (6, 4)]),
    family_policy=st.sampled_from(["", "SingleStack", "PreferDualStack", "RequireDualStack"]),
    requested=st.lists(st.sampled_from(SPACE), max_size=2).map(tuple) | st.just(()),
    pools=st.sampled_from([(), (), ("q",), ("r", "p")]),
    sharing_key=st.sampled_from(["", "", "k", "l"]),
    shares_with=st.sampled_from([frozenset[str](), frozenset("*"), frozenset("x")]),
    ports=st.sampled_from([frozenset((Port("TCP", 80),)), frozenset((Port("TCP", 443),))]),
    traffic_policy=st.sampled_from(["Cluster", "Local"]),
    pod_selector=st.sampled_from([None, (("app", "a"),)]),
    ingress=st.lists(st.sampled_from(SPACE), max_size=2).map(tuple),
)


class Ipam(RuleBasedStateMachine):
    """Events in any order; now and then they are settled."""

    @initialize(configuration=st.sampled_from(CONFIGURATIONS))
    def begin(self, configuration: IpamSettings) -> None:
        """An empty cluster."""
        self.configuration = configuration
        self.allocator = Allocator(configuration)
        self.pools: dict[str, AddressPool] = {}
        self.before: dict[NamespacedName, tuple[Address, ...]] = {}
        self.awake = False

    @rule(pool=pools)
    def set_pool(self, pool: AddressPool) -> None:
        """A pool is made or changed."""
        self.pools[pool.name] = pool
        self._tell_pools()

    @rule(name=st.sampled_from("pqr"))
    def delete_pool(self, name: str) -> None:
        """A pool goes."""
        self.pools.pop(name, None)
        self._tell_pools()

    @rule(service=services)
    def set_service(self, service: BalancedService) -> None:
        """A Service is made or changed; nobody but us writes its status."""
        known = self.allocator.services.get(service.key)
        self.allocator.set_service(service if known is None else replace(service, ingress=known.ingress))
        self._settle()

    @rule(key=st.builds(NamespacedName, st.sampled_from("xy"), st.sampled_from("abcd")))
    def delete_service(self, key: NamespacedName) -> None:
        """A Service goes."""
        self.allocator.remove_service(key)
        self._settle()

    @rule()
    def write(self) -> None:
        """Every status is written, and seen: nothing comes of it (I2)."""
        decided = dict(self.allocator.decisions)
        for key, decision in decided.items():
            self.allocator.set_service(replace(self.allocator.services[key], ingress=decision.addresses))
        self._settle()
        assert self.allocator.decisions == decided

    @rule(order=st.randoms(use_true_random=False))
    def restart(self, order: object) -> None:
        """Another operator reads the statuses, in whatever order, and decides the same."""
        if not self.awake or not self.pools:
            return
        self.write()
        shuffled = list(self.allocator.services.values())
        order.shuffle(shuffled)  # type: ignore[attr-defined]
        other = Allocator(self.configuration)
        for service in shuffled:
            other.set_service(service)
        other.replace_pools(self.pools.values())
        other.settle()
        assert {key: decision.addresses for key, decision in other.decisions.items()} == {
            key: decision.addresses for key, decision in self.allocator.decisions.items()
        }
        self.allocator = other

    def _tell_pools(self) -> None:
        self.allocator.replace_pools(self.pools.values())
        self.awake = self.awake or bool(self.pools)
        self._settle()

    def _settle(self) -> None:
        before = dict(self.allocator.decisions)
        touched = self.allocator.settle()
        after = self.allocator.decisions
        assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} <= touched

    # -- what is always true

    def _decided(self) -> dict[BalancedService, Decision]:
        return {self.allocator.services[key]: decision for key, decision in self.allocator.decisions.items()}

    def _gives(self, service: BalancedService, address: Address, new: bool) -> bool:
        """Whether some pool has the address for the Service; for a ``new`` one, also whether the pool gives it out."""
        return any(
            one.selects(service) and (not new or (one.gives and not self.allocator.book.is_reserved(address)))
            for one in self.allocator.book.pools
            if any(address in each for each in one.ranges)
        )

    @invariant()
    def nothing_is_decided_before_there_is_a_pool(self) -> None:
        """Dormant until then."""
        assert self.awake or not self.allocator.decisions

    @invariant()
    def ours_are_decided_and_no_others(self) -> None:
        """Each Service of ours has a Decision."""
        ours = {key for key, service in self.allocator.services.items() if is_ours(service, self.configuration)}
        assert not self.awake or set(self.allocator.decisions) == ours

    @invariant()
    def every_address_is_wanted_and_of_a_pool_that_selects(self) -> None:
        """I1, first half: nothing is outside the blocks."""
        for key, decision in self.allocator.decisions.items():
            service = self.allocator.services[key]
            demand = demand_of(service, self.configuration)
            kept: tuple[Address, ...] = ()
            for address in decision.addresses:
                assert demand.wants(address, kept)
                assert self._gives(service, address, new=False)
                kept = (*kept, address)

    @invariant()
    def no_address_is_given_twice_unless_both_share(self) -> None:
        """I1, second half."""
        for (one, first), (other, second) in combinations(self.allocator.decisions.items(), 2):
            if set(first.addresses) & set(second.addresses):
                assert why_not_shared(self.allocator.services[one], self.allocator.services[other]) == ""

    @invariant()
    def nobody_is_refused_what_could_be_given(self) -> None:
        """And nobody waits for ever: by trying every address there is."""
        holders: dict[Address, list[BalancedService]] = {}
        for key, decision in self.allocator.decisions.items():
            for address in decision.addresses:
                holders.setdefault(address, []).append(self.allocator.services[key])
        for key, decision in self.allocator.decisions.items():
            service = self.allocator.services[key]
            addresses, families = demand_of(service, self.configuration).missing(decision.addresses)
            assert bool(addresses or families) == bool(decision.refusal)
            for address in SPACE:
                if address in addresses or address.version in families:
                    free = all(why_not_shared(service, other) == "" for other in holders.get(address, ()))
                    assert not (free and self._gives(service, address, new=True)), f"{service.key} could have {address}"

    @invariant()
    def the_counters_agree(self) -> None:
        """With counting one by one."""
        held = {address for decision in self.allocator.decisions.values() for address in decision.addresses}
        for one in self.allocator.book.pools:
            usage = self.allocator.usage()[one.pool.name]
            assert usage.total == sum(each.size for each in one.ranges)
            used = sum(number in each.reserved or to_address(each.version, number) in held for each in one.ranges for number in _all(each))
            assert usage.used == used


def _all(one: Range) -> range:
    return range(one.first, one.last + 1)


TestIpam = Ipam.TestCase
TestIpam.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 20)), st.integers(0, 20), st.integers(0, 20))
def test_taken_is_a_set_of_numbers(toggled: list[int], first: int, last: int) -> None:
    taken, naive = Taken(), set[int]()
    for number in toggled:
        if number in naive:
            taken.remove(number)
        else:
            taken.add(number)
        naive ^= {number}
    wanted = Range("a", 4, first, max(first, last), frozenset((first,)))
    inside = [number for number in _all(wanted) if number in naive]
    assert taken.count(wanted.first, wanted.last) == len(inside)
    free = [number for number in _all(wanted) if number not in naive and number != first]
    assert taken.lowest_free(wanted) == next(iter(free), None)
    assert [number for begin, end in taken.free(wanted) for number in range(begin, end + 1)] == free
