"""Of several interfaces on one segment one answers."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from l2announce.control.segments import segments
from l2announce.model.link import ConnectedRoute, Device

VIP, VIP6, FAR = ip_address("10.99.0.10"), ip_address("fd99::10"), ip_address("192.0.2.10")
LINK_LOCAL = ConnectedRoute(ip_network("fe80::/64"), 256)


def device(index: int, name: str, *routes: tuple[str, int, int]) -> Device:
    connected = tuple(ConnectedRoute(ip_network(destination), metric, position) for destination, metric, position in routes)
    return Device(index, name, connected=(*connected, LINK_LOCAL, ConnectedRoute(ip_network("169.254.0.0/16"), 1000)))


ETH0 = device(2, "eth0", ("10.99.0.0/24", 0, 0), ("fd99::/64", 256, 1))
ETH1 = device(3, "eth1", ("10.99.0.0/24", 0, 1), ("fd99::/64", 256, 0))
BOTH = frozenset({"eth0", "eth1"})


def answering(address: str, devices: tuple[Device, ...], carrier: set[str] | None = None) -> set[str]:
    names = frozenset(each.name for each in devices)
    return set(segments(devices).answering(ip_address(address), names, names if carrier is None else frozenset(carrier)))


def test_the_link_that_the_kernel_prefers_for_each_family() -> None:
    assert answering("10.99.0.10", (ETH0, ETH1)) == {"eth0"}
    assert answering("fd99::10", (ETH0, ETH1)) == {"eth1"}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("10.99.0.0/24", 100, 0), ("10.99.0.0/24", 50, 0), "eth1"),
        (("10.99.0.0/24", 0, 0), ("10.99.0.0/28", 900, 0), "eth1"),
        (("10.99.0.0/24", 0, 1), ("10.99.0.0/24", 0, 0), "eth1"),
        (("10.99.0.0/24", 0, 0), ("10.99.0.0/24", 0, 0), "eth0"),
        (("10.0.0.0/8", 0, 0), ("10.98.0.0/16", 0, 0), "eth0"),
    ],
    ids=["least metric", "longest prefix", "first of the kernel", "least index", "only route"],
)
def test_order_of_preference(first: tuple[str, int, int], second: tuple[str, int, int], expected: str) -> None:
    devices = (device(2, "eth0", first), device(3, "eth1", second))
    assert answering("10.99.0.10", devices) == answering("10.99.0.10", devices[::-1]) == {expected}


def test_an_interface_without_a_route_is_silent_where_another_has_one() -> None:
    """It may be on the same segment, where two would answer, and it is of no use elsewhere."""
    assert answering("10.99.0.10", (device(2, "bare"), device(3, "other", ("10.98.0.0/24", 0, 0)), ETH1)) == {"eth1"}


def test_without_carrier_the_next_one_takes_over() -> None:
    assert answering("10.99.0.10", (ETH0, ETH1), {"eth1"}) == {"eth1"}
    assert answering("10.99.0.10", (ETH0, ETH1), {"eth0", "eth1", "other"}) == {"eth0"}


def test_when_none_has_carrier_the_choice_is_as_if_all_had() -> None:
    assert answering("10.99.0.10", (ETH0, ETH1), set()) == {"eth0"}


def test_the_only_wanted_one_answers_whatever_the_routes_say() -> None:
    assert segments((ETH0, ETH1)).answering(VIP, frozenset({"eth1"}), BOTH) == {"eth1"}
    assert segments((ETH0, ETH1)).answering(VIP, frozenset(), BOTH) == frozenset()


def test_without_a_route_to_the_address_all_answer_but_one_for_each_subnet() -> None:
    other = device(4, "eth2", ("10.98.0.0/24", 0, 0))
    bare = device(5, "eth3")
    assert answering("192.0.2.10", (ETH0, ETH1, other, bare)) == {"eth0", "eth2", "eth3"}
    assert answering("192.0.2.10", (ETH0, ETH1, other, bare), {"eth1", "eth2", "eth3"}) == {"eth1", "eth2", "eth3"}
    assert answering("2001:db8::10", (ETH0, ETH1, other, bare)) == {"eth1", "eth2", "eth3"}


def test_a_chain_of_subnets_is_one_segment() -> None:
    first = device(4, "a", ("10.1.0.0/24", 0, 0))
    middle = device(3, "b", ("10.1.0.0/24", 5, 0), ("10.2.0.0/24", 7, 0))
    last = device(2, "c", ("10.2.0.0/24", 9, 0))
    assert answering("192.0.2.10", (last, middle, first)) == {"a"}


def test_subnets_that_each_prefer_another_link_leave_one() -> None:
    a = device(2, "a", ("10.1.0.0/24", 0, 0), ("10.2.0.0/24", 9, 0))
    b = device(3, "b", ("10.1.0.0/24", 9, 0), ("10.2.0.0/24", 0, 0))
    assert answering("192.0.2.10", (a, b)) == {"a"}


def test_link_local_routes_make_no_segment() -> None:
    bare = (device(2, "a"), device(3, "b"))
    assert answering("192.0.2.10", bare) == answering("2001:db8::1", bare) == {"a", "b"}


def test_only_what_matters_makes_a_difference() -> None:
    assert segments((ETH0,)) == segments((replace(ETH0, up=False, addresses=(VIP,)),))
    assert segments((ETH0,)) != segments((replace(ETH0, connected=()),))
