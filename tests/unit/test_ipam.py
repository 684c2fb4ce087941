"""LB-IPAM rule by rule."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from l2announce.ipam.allocator import Allocator, Decision, Usage
from l2announce.ipam.demand import BGP_CLASS, L2_CLASS, IpamSettings, why_not_shared
from l2announce.ipam.refusals import RefusalReason
from l2announce.model.objects import LabelSelector, NamespacedName, Requirement
from l2announce.model.pools import AddressPool, BalancedService, Block, Port


def pool(name: str = "a", *blocks: str, **more: Any) -> AddressPool:
    """A pool of CIDRs, and of ranges written with two dots."""
    made = tuple(Block(start=text.split("..")[0], stop=text.split("..")[1]) if ".." in text else Block(text) for text in blocks)
    return AddressPool(name, made, **more)


def service(name: str = "web", *ingress: str, requested: tuple[str, ...] = (), **more: Any) -> BalancedService:
    asked = tuple(map(ip_address, requested))
    return BalancedService(NamespacedName("default", name), ingress=tuple(map(ip_address, ingress)), requested=asked, **more)


def settled(pools: list[AddressPool], *services: BalancedService, settings: IpamSettings = IpamSettings()) -> Allocator:  # noqa: B008 - frozen
    made = Allocator(settings)
    made.replace_pools(pools)
    made.replace_services(services)
    made.settle()
    return made


def given(allocator: Allocator, name: str = "web", namespace: str = "default") -> list[str]:
    return [str(address) for address in allocator.decisions[NamespacedName(namespace, name)].addresses]


def refused(allocator: Allocator, name: str = "web") -> RefusalReason | None:
    refusal = allocator.decisions[NamespacedName("default", name)].refusal
    if refusal:
        assert refusal.message
    return refusal.reason if refusal else None


# -- pools


@pytest.mark.parametrize(
    ("blocks", "more", "first", "total", "used"),
    [
        (["10.0.0.0/30"], {}, "10.0.0.0", 4, 1),
        (["10.0.0.0/30"], {"allow_first_last": False}, "10.0.0.1", 4, 3),
        (["10.0.0.4/31"], {"allow_first_last": False}, "10.0.0.4", 2, 1),
        (["10.0.0.7/32"], {"allow_first_last": False}, "10.0.0.7", 1, 1),
        (["10.0.0.200/28"], {}, "10.0.0.192", 16, 1),
        (["10.0.0.5..10.0.0.9"], {"allow_first_last": False}, "10.0.0.5", 5, 1),
        (["10.0.0.5.."], {}, "10.0.0.5", 1, 1),
        (["fd00::/64"], {}, "fd00::", 1 << 64, 1),
        (["fd00::/64"], {"allow_first_last": False}, "fd00::1", 1 << 64, 3),
        (["fd00::5/128"], {}, "fd00::5", 1, 1),
        (["10.0.0.0/8"], {}, "10.0.0.0", 1 << 24, 1),
    ],
)
def test_the_first_address_of_a_block(blocks: list[str], more: dict[str, Any], first: str, total: int, used: int) -> None:
    family = 6 if ":" in first else 4
    allocator = settled([pool("a", *blocks, **more)], service(families=(family,)))
    assert given(allocator) == [first]
    assert allocator.usage() == {"a": Usage(total, used)}
    assert allocator.usage()["a"].available == total - used


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (Block(), "neither cidr nor start"),
        (Block("10.0.0.1"), "'10.0.0.1' is not a CIDR"),
        (Block("10.0.0.0/33"), "not a CIDR"),
        (Block("nonsense/24"), "not a CIDR"),
        (Block(start="x"), "'x' is not an address"),
        (Block(start="10.0.0.1", stop="y"), "'y' is not an address"),
        (Block(start="10.0.0.1", stop="fd00::1"), "different families"),
        (Block(start="10.0.0.9", stop="10.0.0.1"), "above stop"),
    ],
)
def test_a_bad_block_is_told_and_costs_only_itself(block: Block, words: str) -> None:
    allocator = settled([AddressPool("a", (block, Block("10.0.0.0/30")))], service())
    assert given(allocator) == ["10.0.0.0"]
    (problem,) = allocator.book.pools[0].problems
    assert problem.startswith("spec.blocks[0]: ")
    assert words in problem


def test_a_bad_selector_selects_nothing_and_says_so() -> None:
    bad = LabelSelector(match_expressions=(Requirement("a", "In", ()),))
    allocator = settled([pool("a", "10.0.0.0/30", service_selector=bad), pool("b", "10.0.1.0/30")], service())
    assert given(allocator) == ["10.0.1.0"]
    assert "spec.serviceSelector" in allocator.book.by_name()["a"].problems[0]


def test_of_two_that_overlap_the_younger_gives_nothing_until_it_no_longer_does() -> None:
    old, young = pool("b", "10.0.0.0/30", created="1"), pool("a", "10.0.0.2/31", "10.0.9.0/24", created="2")
    wants = service(requested=("10.0.9.1",))
    allocator = settled([old, young], wants)
    book = allocator.book.by_name()
    assert book["b"].conflict == ""
    assert book["a"].conflict == "range 10.0.0.2 - 10.0.0.3 overlaps 10.0.0.0 - 10.0.0.3 of the older pool b; correct one of them"
    assert refused(allocator) is RefusalReason.NO_POOL
    allocator.replace_pools([young])
    allocator.settle()
    assert given(allocator) == ["10.0.9.1"]


def test_a_pool_that_overlaps_itself_is_in_conflict() -> None:
    allocator = settled([pool("a", "10.0.0.0/30", "10.0.0.3..10.0.0.9")], service())
    assert "its own ranges" in allocator.book.pools[0].conflict
    assert refused(allocator) is RefusalReason.NO_POOL


@pytest.mark.parametrize("change", [{"disabled": True}, {"created": "9"}, {"allow_first_last": False}])
def test_what_was_given_stays_though_nothing_more_is_given(change: dict[str, Any]) -> None:
    """Disabled, in conflict, first of a block that is kept back: also for one who only sees what the status says."""
    first = pool("a", "10.0.0.0/30", created="2")
    allocator = settled([first], service())
    pools = [replace(first, **change), pool("b", "10.0.0.0/29", created="3")]
    allocator.replace_pools(pools)
    allocator.settle()
    assert given(allocator) == ["10.0.0.0"]
    assert given(settled(pools, service("web", "10.0.0.0"))) == ["10.0.0.0"]


def test_nothing_is_decided_until_there_is_a_pool_and_all_is_withdrawn_with_the_last() -> None:
    allocator = settled([], service("web", "10.0.0.1"))
    assert allocator.decisions == {}
    allocator.replace_pools([pool("a", "10.0.0.0/30")])
    allocator.settle()
    assert given(allocator) == ["10.0.0.1"]
    allocator.replace_pools([])
    allocator.settle()
    assert given(allocator) == []
    assert refused(allocator) is RefusalReason.NO_POOL


# -- Services


@pytest.mark.parametrize(
    ("more", "settings", "ours"),
    [
        ({}, {}, True),
        ({}, {"classless": False}, False),
        ({"load_balancer_class": L2_CLASS}, {"classless": False}, True),
        ({"load_balancer_class": BGP_CLASS}, {}, True),
        ({"load_balancer_class": BGP_CLASS}, {"classes": frozenset((L2_CLASS,))}, False),
        ({"load_balancer_class": "example.com/other"}, {}, False),
        ({"type": "ClusterIP"}, {}, False),
    ],
)
def test_which_services_are_ours(more: dict[str, Any], settings: dict[str, Any], ours: bool) -> None:
    allocator = settled([pool("a", "10.0.0.0/30")], service(**more), settings=IpamSettings(**settings))
    assert (NamespacedName("default", "web") in allocator.decisions) == ours


def test_a_service_that_is_no_longer_ours_gives_its_address_back() -> None:
    allocator = settled([pool("a", "10.0.0.0/32")], service(), service("next", created="2"))
    assert refused(allocator, "next") is RefusalReason.OUT_OF_IPS
    allocator.set_service(service("web", "10.0.0.0", type="ClusterIP"))
    assert allocator.settle() == {NamespacedName("default", "web"), NamespacedName("default", "next")}
    assert given(allocator, "next") == ["10.0.0.0"]


@pytest.mark.parametrize(
    ("families", "policy", "cluster", "wanted"),
    [
        ((), "", (4, 6), ["10.0.0.0"]),
        ((), "", (6, 4), ["fd00::"]),
        ((6,), "SingleStack", (4, 6), ["fd00::"]),
        ((6, 4), "SingleStack", (4, 6), ["fd00::"]),
        ((4,), "PreferDualStack", (4, 6), ["10.0.0.0"]),
        ((4, 6), "PreferDualStack", (4, 6), ["10.0.0.0", "fd00::"]),
        ((6, 4), "PreferDualStack", (4,), ["10.0.0.0"]),
        ((), "PreferDualStack", (4, 6), ["10.0.0.0", "fd00::"]),
        ((6,), "RequireDualStack", (4, 6), ["fd00::", "10.0.0.0"]),
    ],
)
def test_families(families: tuple[int, ...], policy: str, cluster: tuple[int, ...], wanted: list[str]) -> None:
    one = service(families=families, family_policy=policy)
    assert given(settled([pool("a", "10.0.0.0/30", "fd00::/126")], one, settings=IpamSettings(families=cluster))) == wanted


def test_dual_stack_with_a_pool_of_one_family_gets_what_there_is_and_says_so() -> None:
    allocator = settled([pool("a", "10.0.0.0/30")], service(families=(4, 6), family_policy="RequireDualStack"))
    assert given(allocator) == ["10.0.0.0"]
    assert refused(allocator) is RefusalReason.NO_POOL
    allocator.set_service(service("web", "10.0.0.0", families=(4,), family_policy="SingleStack"))
    allocator.settle()
    assert refused(allocator) is None


def test_requests_are_met_exactly_and_each_refusal_has_its_reason() -> None:
    pools = [
        pool("a", "10.0.0.0/29", allow_first_last=False),
        pool("picky", "10.0.1.0/29", service_selector=LabelSelector((("a", "b"),))),
        pool("off", "10.0.2.0/29", disabled=True),
    ]
    first = service("first", requested=("10.0.0.3", "10.0.0.4"))
    asks: dict[str, RefusalReason | None] = {"10.0.0.3": RefusalReason.TAKEN, "10.0.0.0": RefusalReason.TAKEN}
    asks |= {"10.0.1.1": RefusalReason.SELECTOR}
    asks |= {"10.0.2.1": RefusalReason.NO_POOL, "192.0.2.1": RefusalReason.NO_POOL, "10.0.0.5": None}
    others = [service(f"s{number}", requested=(ask,), created="2") for number, ask in enumerate(asks)]
    allocator = settled(pools, first, *others)
    assert given(allocator, "first") == ["10.0.0.3", "10.0.0.4"]
    for number, reason in enumerate(asks.values()):
        assert refused(allocator, f"s{number}") is reason
    allocator.set_service(replace(first, requested=first.requested[1:]))
    allocator.settle()
    assert given(allocator, "s0") == ["10.0.0.3"], "a refusal is lifted as soon as it can be"


def test_part_of_a_request_is_met_and_the_rest_refused() -> None:
    allocator = settled([pool("a", "10.0.0.0/29")], service(requested=("10.0.0.1", "192.0.2.1"), unreadable=("10.0.0.x",)))
    assert given(allocator) == ["10.0.0.1"]
    assert refused(allocator) is RefusalReason.NO_POOL
    allocator = settled([pool("a", "10.0.0.0/29")], service(unreadable=("10.0.0.x",)))
    assert (given(allocator), refused(allocator)) == ([], RefusalReason.INVALID_REQUEST)


def test_the_oldest_gets_the_lowest_and_gaps_are_filled_first() -> None:
    allocator = settled([pool("a", "10.0.0.0/30")], *(service(f"s{number}", created=str(9 - number)) for number in range(3)))
    assert [given(allocator, f"s{number}") for number in range(3)] == [["10.0.0.2"], ["10.0.0.1"], ["10.0.0.0"]]
    allocator.remove_service(NamespacedName("default", "s1"))
    allocator.set_service(service("new", created="99"))
    allocator.settle()
    assert given(allocator, "new") == ["10.0.0.1"]


def test_pools_are_taken_by_age_or_as_the_service_names_them() -> None:
    pools = [pool("young", "10.0.1.0/30", created="2"), pool("old", "10.0.0.0/32", created="1")]
    allocator = settled(pools, service("a"), service("b"), service("c", pools=("young", "old")), service("d", pools=("none",)))
    assert [given(allocator, name) for name in "abc"] == [["10.0.0.0"], ["10.0.1.0"], ["10.0.1.1"]]
    assert refused(allocator, "d") is RefusalReason.NO_POOL


def test_a_selector_sees_the_special_keys_of_namespace_and_name() -> None:
    only = LabelSelector((("io.kubernetes.service.namespace", "default"), ("io.kubernetes.service.name", "web")))
    allocator = settled([pool("a", "10.0.0.0/30", service_selector=only)], service(), service("api"))
    assert given(allocator) == ["10.0.0.0"]
    assert refused(allocator, "api") is RefusalReason.NO_POOL


def test_what_statuses_say_is_adopted_before_anything_is_given() -> None:
    claims = service("young", "10.0.0.0", created="9")
    stranger = service("stranger", "192.0.2.1", "10.0.0.1", created="1")
    allocator = settled([pool("a", "10.0.0.0/30")], claims, stranger, service("older", created="0"))
    assert given(allocator, "young") == ["10.0.0.0"]
    assert given(allocator, "stranger") == ["10.0.0.1"], "what no pool has is taken off, the rest stays"
    assert given(allocator, "older") == ["10.0.0.2"]


def test_of_two_that_claim_one_address_the_older_keeps_it() -> None:
    allocator = settled([pool("a", "10.0.0.0/30")], service("b", "10.0.0.3", created="2"), service("a", "10.0.0.3", created="1"))
    assert given(allocator, "a") == ["10.0.0.3"]
    assert given(allocator, "b") == ["10.0.0.0"]


def test_a_pool_that_still_has_the_addresses_changes_none() -> None:
    allocator = settled([pool("a", "10.0.0.0/29")], *(service(f"s{number}", created=str(number)) for number in range(4)))
    before = dict(allocator.decisions)
    allocator.replace_pools([pool("other", "10.0.9.0/24", created="0"), pool("a", "10.0.0.0/30", created="1")])
    allocator.settle()
    assert allocator.decisions == before
    allocator.replace_pools([pool("a", "10.0.0.2/31")])
    allocator.settle()
    assert [given(allocator, f"s{number}") for number in range(4)] == [[], [], ["10.0.0.2"], ["10.0.0.3"]]


# -- sharing

KEY: dict[str, Any] = {"sharing_key": "k"}


def test_sharing_joins_the_first_address_of_the_key() -> None:
    ports = [frozenset((Port("TCP", number),)) for number in (80, 443, 80)]
    services = [service(f"s{number}", created=str(number), ports=each, **KEY) for number, each in enumerate(ports)]
    allocator = settled([pool("a", "10.0.0.0/30")], *services)
    assert [given(allocator, f"s{number}") for number in range(3)] == [["10.0.0.0"], ["10.0.0.0"], ["10.0.0.1"]]
    assert allocator.holders(ip_address("10.0.0.0")) == (services[0].key, services[1].key)
    allocator.remove_service(services[0].key)
    allocator.settle()
    assert given(allocator, "s1") == ["10.0.0.0"], "nobody else's going moves it"
    asks = service("s3", requested=("10.0.0.0",), ports=ports[1], created="3", **KEY)
    allocator.set_service(asks)
    allocator.settle()
    assert refused(allocator, "s3") is RefusalReason.INCOMPATIBLE
    allocator.set_service(replace(asks, ports=ports[0]))
    allocator.settle()
    assert given(allocator, "s3") == ["10.0.0.0"]
    allocator.set_service(replace(services[1], sharing_key=""))
    allocator.settle()
    assert given(allocator, "s1") == ["10.0.0.2"], "who no longer shares, goes"


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ({}, {}, "different sharing key"),
        (KEY, {"sharing_key": "l"}, "different sharing key"),
        (KEY, KEY, ""),
        ({**KEY, "key": NamespacedName("x", "a")}, KEY, "different and not permitted namespace"),
        ({**KEY, "key": NamespacedName("x", "a"), "shares_with": frozenset("*")}, KEY, "different and not permitted namespace"),
        ({**KEY, "key": NamespacedName("x", "a"), "shares_with": frozenset("*")}, {**KEY, "shares_with": frozenset("x")}, ""),
        ({**KEY, "ports": frozenset((Port("TCP", 1),))}, {**KEY, "ports": frozenset((Port("TCP", 1),))}, "same port and protocol"),
        ({**KEY, "ports": frozenset((Port("TCP", 1),))}, {**KEY, "ports": frozenset((Port("UDP", 1),))}, ""),
        ({**KEY, "traffic_policy": "Local"}, KEY, "different ExternalTrafficPolicy"),
        ({**KEY, "traffic_policy": "Local"}, {**KEY, "traffic_policy": "Local"}, "has no selector"),
    ],
)
def test_who_may_share(one: dict[str, Any], other: dict[str, Any], why: str) -> None:
    first, second = replace(service("a"), **one), replace(service("b"), **other)
    assert why_not_shared(first, second).endswith(why)
    assert bool(why_not_shared(first, second)) == bool(why) == bool(why_not_shared(second, first))


def test_local_services_share_for_the_same_pods_or_where_both_permit_others() -> None:
    one = service("a", traffic_policy="Local", pod_selector=(("app", "x"),), **KEY)
    other = replace(one, key=NamespacedName("default", "b"), pod_selector=(("app", "y"),))
    assert why_not_shared(one, replace(other, pod_selector=one.pod_selector)) == ""
    assert "different set of pods" in why_not_shared(one, other)
    assert "different set of pods" in why_not_shared(replace(one, shares_across_pods=True), other)
    assert why_not_shared(replace(one, shares_across_pods=True), replace(other, shares_across_pods=True)) == ""


# -- what is told


def test_nothing_new_is_decided_where_nothing_has_changed() -> None:
    allocator = settled([pool("a", "10.0.0.0/30")], service())
    assert allocator.settle() == set()
    allocator.set_service(service())
    allocator.replace_pools([pool("a", "10.0.0.0/30")])
    allocator.remove_service(NamespacedName("default", "unknown"))
    assert allocator.settle() == set()
    allocator.replace_services([])
    assert allocator.settle() == {NamespacedName("default", "web")}
    assert allocator.decisions == {}


def test_free_stretches() -> None:
    allocator = settled([pool("a", "10.0.0.0/29", "fd00::/127")], service(requested=("10.0.0.1",)), service("b", requested=("10.0.0.7",)))
    assert [(str(first), str(last)) for first, last in allocator.free("a")] == [
        ("10.0.0.0", "10.0.0.0"),
        ("10.0.0.2", "10.0.0.6"),
        ("fd00::", "fd00::1"),
    ]
    assert allocator.decisions[NamespacedName("default", "b")] == Decision((ip_address("10.0.0.7"),))


def test_who_takes_over_adopts_first_and_learns_who_waits() -> None:
    allocator = Allocator()
    services = [service("has", "10.0.0.0"), service("waits"), service("other", load_balancer_class="example.com/other")]
    allocator.replace_services(services)
    assert allocator.adopt() == set(), "there was never a pool"
    allocator.replace_pools([pool("a", "10.0.0.0/31")])
    assert allocator.adopt() == {services[1].key}
    assert allocator.decisions == {}
    allocator.settle()
    assert given(allocator, "waits") == ["10.0.0.1"]


def test_one_that_gives_up_a_shared_address_leaves_it_to_the_others() -> None:
    ports = [frozenset((Port("TCP", number),)) for number in (80, 443)]
    services = [service(f"s{number}", created=str(number), ports=each, **KEY) for number, each in enumerate(ports)]
    allocator = settled([pool("a", "10.0.0.0/30")], *services, service("next", created="9"))
    allocator.remove_service(services[1].key)
    allocator.settle()
    assert allocator.holders(ip_address("10.0.0.0")) == (services[0].key,)
    assert given(allocator, "next") == ["10.0.0.1"]


def test_a_key_that_nobody_shares_under_any_more_begins_anew() -> None:
    allocator = settled([pool("a", "10.0.0.0/30")], service("first", **KEY), service("second", requested=("10.0.0.1",), **KEY))
    for name in ("first", "second"):
        allocator.remove_service(NamespacedName("default", name))
    allocator.set_service(service("third", **KEY))
    allocator.settle()
    assert given(allocator, "third") == ["10.0.0.0"]


def test_gaps_close_and_open() -> None:
    names = [f"s{number}" for number in range(6)]
    allocator = settled([pool("a", "10.0.0.0/29")], *(service(name, created=name) for name in names))
    for gone in ("s1", "s4", "s3", "s0"):  # a middle, another, the end of what is before it, the beginning
        allocator.remove_service(NamespacedName("default", gone))
        allocator.settle()
    assert [(str(first), str(last)) for first, last in allocator.free("a")] == [
        ("10.0.0.0", "10.0.0.1"),
        ("10.0.0.3", "10.0.0.4"),
        ("10.0.0.6", "10.0.0.7"),
    ]
    for name, wanted in (("t0", "10.0.0.3"), ("t1", "10.0.0.1"), ("t2", "10.0.0.4"), ("t3", "10.0.0.0"), ("t4", "10.0.0.7")):
        allocator.set_service(service(name, requested=(wanted,)))
        allocator.settle()
        assert given(allocator, name) == [wanted]
    assert [(str(first), str(last)) for first, last in allocator.free("a")] == [("10.0.0.6", "10.0.0.6")]
    allocator.set_service(service("last"))
    allocator.settle()
    assert given(allocator, "last") == ["10.0.0.6"]
    assert allocator.free("a") == []
