"""How solicitations reach the responder: memberships on a switch that snoops MLD, through every change of a link; a promiscuous NIC."""

import socket
import struct
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv6Address

import pytest
from netlab.frames import ask
from netlab.waiting import wait_until

from tests.netns.stand import PATIENCE, ResponderUnderTest, Tap, Taps, Wire, is_answer, resolved_to

pytestmark = pytest.mark.netns

V4, V6 = "10.99.0.200", "fd99::abcd:1234"
GROUP = "ff02::1:ffcd:1234"
STRANGER = bytes.fromhex("020000000099")
PACKET_MR_PROMISC, PACKET_ADD_MEMBERSHIP, SOL_PACKET = 1, 1, 263


def learnt(wire: Wire, port: str = "node") -> bool:
    """Whether the switch has the group on the port."""
    return f"port {port} grp {GROUP}" in wire.switch.run("bridge", "mdb", "show", "dev", "br0").stdout


def until_learnt(wire: Wire, expected: bool = True, port: str = "node") -> None:
    """Wait until the switch has learnt the group, or forgotten it."""
    wait_until(lambda: learnt(wire, port) is expected, PATIENCE, f"the switch to {'learn' if expected else 'forget'} the group")


def solicited(wire: Wire) -> None:
    """The client's kernel, which knows nothing, resolves the address by a multicast solicitation."""
    wire.client.ip("neigh flush dev eth0")
    resolved_to(wire.client, V6, wire.node.mac("eth0"))


def port_bounced(wire: Wire) -> None:
    """The switch's port went down: the switch has forgotten."""
    wire.switch.ip("link set node down")
    until_learnt(wire, expected=False)
    wire.switch.ip("link set node up")


def link_bounced(wire: Wire) -> None:
    """The node's own link went down."""
    wire.node.ip("link set eth0 down")
    until_learnt(wire, expected=False)
    wire.node.ip("link set eth0 up")


def mtu_bounced(wire: Wire) -> None:
    """With an MTU below 1280 the kernel ends IPv6 and every membership on the link, and tells no socket."""
    wire.node.ip("link set eth0 mtu 1000")
    port_bounced(wire)  # or the switch would remember for minutes: nobody leaves the group
    wire.node.ip("link set eth0 mtu 1500")


def created_again(wire: Wire) -> None:
    """Another link of the same name."""
    wire.node.ip("link delete eth0")
    until_learnt(wire, expected=False)
    wire.network.attach(wire.switch, "br0", wire.node)


def made_bare(wire: Wire) -> None:
    """No address of any family, nor a link-local one, and none will come."""
    wire.node.ip("link set eth0 addrgenmode none")
    wire.node.ip("address flush dev eth0")
    port_bounced(wire)


@pytest.mark.parametrize("change", [port_bounced, link_bounced, mtu_bounced, created_again, made_bare])
def test_the_switch_learns_the_group_again(wire: Wire, responder: ResponderUnderTest, change: Callable[[Wire], None]) -> None:
    responder.control.claim(V6)
    until_learnt(wire)
    solicited(wire)
    change(wire)
    until_learnt(wire)
    solicited(wire)
    responder.control.wait(lambda report: report.problems == (), "no problem to be left")


def test_a_link_that_appears_later_and_its_link_local_address_later_still(wire: Wire, responder: ResponderUnderTest) -> None:
    """Joined as soon as the link is there; reported again, from that address now, when the link-local address comes."""
    switch = wire.switch
    responder.control.claim_on({V6: "eth1"})
    switch.ip(f"link add late type veth peer name eth1 netns {wire.node.name}")
    switch.ip("link set late master br0 up")
    wire.node.ip("link set eth1 addrgenmode none")
    wire.node.ip("link set eth1 up")
    until_learnt(wire, port="late")
    resolved_to(wire.client, V6, wire.node.mac("eth1"))
    switch.run("bridge", "mdb", "flush", "dev", "br0", check=False)
    wire.node.address("eth1", "fe80::7/64")
    until_learnt(wire, port="late")
    responder.control.wait(lambda report: any(str(link.link_local) == "fe80::7" for link in report.links), "the address to be seen")
    wire.client.ip("neigh flush dev eth0")
    resolved_to(wire.client, V6, wire.node.mac("eth1"))


def test_disabled_ipv6_is_told_and_mended_by_enabling_it(wire: Wire, responder: ResponderUnderTest) -> None:
    """The kernel sends no MLD report there, so the switch keeps solicitations to itself: a problem that names the setting."""
    shown = partial(wire.switch.run, "bridge", "mdb", "show", "dev", "br0")
    wait_until(lambda: "port node grp" in shown().stdout, PATIENCE, "the switch to learn the groups of the node itself")
    wire.node.sysctl("net/ipv6/conf/eth0/disable_ipv6", 1)
    responder.control.claim(V4, V6)
    resolved_to(wire.client, V4, wire.node.mac("eth0"))
    found = responder.control.wait(lambda report: bool(report.problems), "the problem to be told").problems
    assert len(found) == 1
    assert found[0].startswith("link eth0: IPv6 is disabled")
    assert found[0].endswith("set net.ipv6.conf.eth0.disable_ipv6=0")
    assert not learnt(wire)
    wire.node.sysctl("net/ipv6/conf/eth0/disable_ipv6", 0)
    until_learnt(wire)
    solicited(wire)
    responder.control.wait(lambda report: report.problems == (), "the problem to be gone")


def test_many_groups_hold_up_no_answer(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """Thousands of groups are joined bit by bit: meanwhile requests are answered and reports go out."""
    count = 3000
    ear = tap(wire.client)
    responder.control.claim(V4, *(f"fd99::{number >> 16:x}:{number & 0xFFFF:x}" for number in range(0x20000, 0x20000 + count)))
    ear.send(ask(IPv4Address(V4), IPv4Address("10.99.0.1"), ear.mac))
    ear.watch(lambda frames: [frame for frame in frames if is_answer(frame, ear.mac)], "an answer", seconds=2.0)

    def joined() -> int:
        shown = wire.node.run("ip", "-6", "maddress", "show", "dev", "eth0").stdout
        return sum("ff02::1:ff" in line for line in shown.splitlines())

    wait_until(lambda: joined() >= count, PATIENCE, "every group to be joined")
    responder.control.wait(lambda report: report.problems == (), "no problem")


def addressed(frame: bytes, mac: bytes) -> bytes:
    """The same frame for another Ethernet destination."""
    return mac + frame[6:]


def test_a_promiscuous_nic_gives_no_wrong_answer(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """Frames for another host, which a switch floods while it does not know that host, reach a promiscuous NIC and are not answered."""
    responder.control.claim(V4, V6)
    ear = tap(wire.client)
    own = tap(wire.node)
    with wire.node.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sniffer:
        request = struct.pack("=iHH8s", socket.if_nametoindex("eth0"), PACKET_MR_PROMISC, 0, b"")
        sniffer.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
        assert "promiscuity 1" in wire.node.run("ip", "-d", "link", "show", "eth0").stdout
        asks = (ask(IPv4Address(V4), IPv4Address("10.99.0.1"), ear.mac), ask(IPv6Address(V6), IPv6Address("fd99::1"), ear.mac))
        strange = [addressed(frame, STRANGER) for frame in asks]
        for frame in strange:
            ear.send(frame)
        own.watch(lambda frames: all(frame in frames for frame in strange), "the foreign frames to reach the node")
        ear.listen_for(0.3)
        assert answers(ear) == []
        for frame in asks:
            ear.send(addressed(frame, wire.node.mac("eth0")))
        ear.watch(lambda _: len(answers(ear)) >= 2, "what is addressed to the node to be answered")
        for frame in asks:
            ear.send(frame)
        ear.watch(lambda _: len(answers(ear)) >= 4, "what is addressed to all to be answered")
        ear.listen_for(0.2)
        assert len(answers(ear)) == 4, "once each"
    assert {frame[6:12] for frame in answers(ear)} == {wire.node.mac("eth0")}


def answers(ear: Tap) -> list[bytes]:
    """The answers for the two addresses so far; those for others, which the kernels give, aside."""
    ours = (IPv4Address(V4).packed, IPv6Address(V6).packed)
    return [frame for frame in ear.read() if is_answer(frame, ear.mac) and any(address in frame for address in ours)]
