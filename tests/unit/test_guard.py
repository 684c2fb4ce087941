"""The guard list: what is never announced, why, and that it depends on no order."""

import re
from ipaddress import ip_address, ip_network
from itertools import permutations
from pathlib import Path

import pytest

from l2announce.control.guard import IPVS_DEVICE, GuardList, GuardReason, guard_list
from l2announce.model.link import Device
from l2announce.model.objects import Node

TOPOLOGY = Path(__file__).parents[2] / "docs" / "topology.md"
ETH0 = Device(
    2,
    "eth0",
    addresses=(ip_address("10.99.0.101"), ip_address("fd99::101")),
    subnets=(ip_network("10.99.0.0/24"), ip_network("fd99::/64")),
    gateways=(ip_address("10.99.0.1"), ip_address("fd99::1")),
)
LO = Device(1, "lo", loopback=True, addresses=(ip_address("198.51.100.7"),), subnets=(ip_network("198.51.100.7/32"),))
IPVS = Device(9, IPVS_DEVICE, kind="dummy", addresses=(ip_address("10.99.0.10"),), subnets=(ip_network("10.99.64.0/24"),))
NODES = (
    Node("n1", addresses=(ip_address("203.0.113.1"),)),
    Node("n2", addresses=(ip_address("10.99.0.102"), ip_address("203.0.113.2"))),
)
API = (ip_address("10.99.0.5"),)
GUARD = guard_list("n1", (LO, ETH0, IPVS), NODES, API)


@pytest.mark.parametrize(
    ("address", "reason", "what"),
    [
        ("0.0.0.0", GuardReason.NOT_UNICAST, "no unicast address"),  # noqa: S104 - nothing listens here
        ("::", GuardReason.NOT_UNICAST, "no unicast address"),
        ("127.1.2.3", GuardReason.NOT_UNICAST, "no unicast address"),
        ("::1", GuardReason.NOT_UNICAST, "no unicast address"),
        ("224.0.0.1", GuardReason.NOT_UNICAST, "no unicast address"),
        ("ff02::1", GuardReason.NOT_UNICAST, "no unicast address"),
        ("255.255.255.255", GuardReason.NOT_UNICAST, "no unicast address"),
        ("169.254.169.254", GuardReason.LINK_LOCAL, "a link-local address, which hosts assign themselves"),
        ("fe80::1", GuardReason.LINK_LOCAL, "a link-local address, which hosts assign themselves"),
        ("10.99.0.101", GuardReason.OWN_ADDRESS, "an address of this node, on eth0"),
        ("fd99::101", GuardReason.OWN_ADDRESS, "an address of this node, on eth0"),
        ("198.51.100.7", GuardReason.OWN_ADDRESS, "an address of this node, on lo"),
        ("203.0.113.1", GuardReason.OWN_ADDRESS, "an address of this node, by the status of node/n1"),
        ("10.99.0.1", GuardReason.GATEWAY, "a gateway of this node, on eth0"),
        ("fd99::1", GuardReason.GATEWAY, "a gateway of this node, on eth0"),
        ("10.99.0.5", GuardReason.API_SERVER, "an address of the API server"),
        ("10.99.0.102", GuardReason.NODE_ADDRESS, "an address of node/n2"),
        ("203.0.113.2", GuardReason.NODE_ADDRESS, "an address of node/n2"),
        ("10.99.0.0", GuardReason.SUBNET_ADDRESS, "the network address of 10.99.0.0/24, the subnet of eth0"),
        ("10.99.0.255", GuardReason.SUBNET_ADDRESS, "the broadcast address of 10.99.0.0/24, the subnet of eth0"),
        ("fd99::", GuardReason.SUBNET_ADDRESS, "the subnet-router anycast address of fd99::/64, the subnet of eth0"),
    ],
)
def test_what_is_never_announced(address: str, reason: GuardReason, what: str) -> None:
    assert GUARD.why_not(ip_address(address)) == (reason, what)


@pytest.mark.parametrize(
    "address", ["10.99.0.10", "10.99.0.254", "10.99.64.0", "10.99.1.0", "192.0.2.255", "fd99::10", "fd99::ffff:ffff:ffff:ffff"]
)
def test_what_may_be_announced(address: str) -> None:
    """Also what kube-proxy's IPVS mode puts on every node, the last address of an IPv6 subnet, and the edges of other subnets."""
    assert GUARD.why_not(ip_address(address)) is None


@pytest.mark.parametrize("subnet", ["192.0.2.2/31", "192.0.2.2/32", "2001:db8::2/127", "2001:db8::2/128"])
def test_the_smallest_subnets_have_only_hosts(subnet: str) -> None:
    device = Device(3, "p2p", subnets=(ip_network(subnet),))
    guard = guard_list("n1", (device,), (), ())
    assert [guard.why_not(address) for address in ip_network(subnet)] == [None] * ip_network(subnet).num_addresses


def test_the_first_reason_is_told() -> None:
    """A gateway that is another Node, a node that is the API server, an address on two interfaces."""
    gateway = ip_address("10.99.0.102")
    devices = (
        Device(2, "eth0", addresses=(ip_address("10.99.0.101"),), gateways=(gateway,)),
        Device(3, "eth1", addresses=(ip_address("10.99.0.101"),)),
    )
    guard = guard_list("n1", devices, NODES, (gateway, ip_address("203.0.113.2")))
    assert guard.why_not(gateway) == (GuardReason.GATEWAY, "a gateway of this node, on eth0")
    assert guard.why_not(ip_address("203.0.113.2")) == (GuardReason.API_SERVER, "an address of the API server")
    assert guard.why_not(ip_address("10.99.0.101")) == (GuardReason.OWN_ADDRESS, "an address of this node, on eth0")


def test_the_order_of_things_makes_no_difference() -> None:
    twins = (ETH0, Device(3, "eth1", addresses=ETH0.addresses, subnets=ETH0.subnets, gateways=ETH0.gateways), LO)
    assert all(
        guard_list("n1", devices, nodes, API) == guard_list("n1", twins, NODES, API)
        for devices in permutations(twins)
        for nodes in permutations(NODES)
    )


def test_the_table_of_words_is_complete() -> None:
    """docs/topology.md explains every word, and no other."""
    section = TOPOLOGY.read_text().partition("<!-- guarded -->")[2].partition("<!-- end of guarded -->")[0]
    assert re.findall(r"^\| `([A-Za-z]+)` \| \S", section, re.MULTILINE) == [reason.value for reason in GuardReason]


def test_an_empty_guard_list_still_knows_what_no_host_has() -> None:
    assert GuardList().why_not(ip_address("10.99.0.1")) is None
    assert GuardList().why_not(ip_address("169.254.1.1")) is not None
