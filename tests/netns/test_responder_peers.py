"""The responder process, judged by stock peers: the neighbor table of Linux, arping, ndisc6, duplicate address detection."""

import struct
from functools import partial
from ipaddress import IPv4Address, IPv6Address

import pytest
from netlab.frames import ask
from netlab.waiting import wait_until

from tests.netns.stand import (
    PATIENCE,
    ResponderUnderTest,
    Starter,
    Taps,
    Wire,
    asked,
    checksum_is_right,
    is_answer,
    is_neighbor,
    neighbor,
    resolved_to,
)

pytestmark = pytest.mark.netns

V4, V6 = "10.99.0.200", "fd99::200"


def test_the_kernel_of_a_client_resolves_what_is_claimed_and_nothing_else(wire: Wire, responder: ResponderUnderTest) -> None:
    responder.control.claim(V4, V6)
    mac = wire.node.mac("eth0")
    for address in (V4, V6):
        resolved_to(wire.client, address, mac)
    for stranger in ("10.99.0.201", "fd99::201"):
        asked(wire.client, stranger)
        assert neighbor(wire.client, stranger) == (None, "INCOMPLETE")


def test_unicast_refresh_keeps_a_neighbor_reachable(wire: Wire, responder: ResponderUnderTest) -> None:
    """Neighbor unreachability detection: the kernel asks by unicast, and gets an answer that confirms."""
    responder.control.claim(V4, V6)
    mac = wire.node.mac("eth0")
    for address in (V4, V6):
        wire.client.ip(f"neigh replace {address} lladdr {mac.hex(':')} dev eth0 nud probe")
        confirmed = (mac, "REACHABLE")
        wait_until(partial(is_neighbor, wire.client, address, confirmed), PATIENCE, f"{address} to be confirmed")


def test_arping_gets_one_reply_for_each_request(wire: Wire, responder: ResponderUnderTest) -> None:
    responder.control.claim(V4)
    shown = wire.client.run("arping", "-c2", "-w10", "-I", "eth0", V4)
    assert shown.stdout.lower().count(f"[{wire.node.mac('eth0').hex(':')}]") == 2
    assert "Received 2 response(s)" in shown.stdout


def test_arping_detects_the_duplicate(wire: Wire, responder: ResponderUnderTest) -> None:
    """RFC 5227 probes, from 0.0.0.0, are answered: nobody else takes the address."""
    responder.control.claim(V4)
    assert wire.client.run("arping", "-D", "-c1", "-w5", "-I", "eth0", V4, check=False).returncode == 1
    assert wire.client.run("arping", "-D", "-c1", "-w1", "-I", "eth0", "10.99.0.201", check=False).returncode == 0


def test_announcements_of_others_are_not_answered(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    responder.control.claim(V4)
    ear = tap(wire.client, protocol=0x0806)
    wire.client.address("eth0", f"{V4}/32")
    wire.client.run("arping", "-U", "-c1", "-w1", "-I", "eth0", "-s", V4, V4, check=False)
    wire.client.ip(f"address del {V4}/32 dev eth0")
    responder.control.wait(lambda report: dict(report.verdicts).get("conflict", 0) >= 1, "a conflict to be seen")
    replies = [frame for frame in ear.read() if frame[20:22] == b"\0\2" and frame[:6] == ear.mac]
    assert replies == []


def test_ndisc6_is_answered(wire: Wire, responder: ResponderUnderTest) -> None:
    """On a link without a link-local address: ndisc6 takes no answer about a global address from a link-local one, as Linux does."""
    wire.node.ip("-6 address flush dev eth0 scope link")
    responder.control.wait(lambda report: not any(link.link_local for link in report.links), "the link-local address to be gone")
    responder.control.claim(V6)
    shown = wire.client.run("ndisc6", "-1", "-r5", "-w2000", V6, "eth0", check=False, timeout=15)
    assert shown.returncode == 0, shown.stdout
    assert wire.node.mac("eth0").hex(":").upper() in shown.stdout.upper()


def test_duplicate_address_detection_of_a_client_fails(wire: Wire, responder: ResponderUnderTest) -> None:
    responder.control.claim(V6)
    wire.client.sysctl("net/ipv6/conf/eth0/accept_dad", 1)
    wire.client.ip(f"address add {V6}/128 dev eth0")
    wait_until(
        lambda: "dadfailed" in wire.client.run("ip", "-6", "address", "show", "dev", "eth0").stdout,
        PATIENCE,
        "DAD of the same address to fail",
    )


def test_addresses_with_equal_low_bits_share_a_group(wire: Wire, responder: ResponderUnderTest) -> None:
    """One solicited-node group serves both; giving one address up does not leave it."""
    other = "fd99::1:0:200"
    responder.control.claim(V6, other)
    mac = wire.node.mac("eth0")
    resolved_to(wire.client, V6, mac)
    resolved_to(wire.client, other, mac)
    responder.control.claim(other)
    wire.client.ip("neigh flush dev eth0")
    resolved_to(wire.client, other, mac)
    asked(wire.client, V6)
    assert neighbor(wire.client, V6) == (None, "INCOMPLETE")


def test_snooping_switch_learns_the_group(wire: Wire, responder: ResponderUnderTest) -> None:
    """Once the querier runs, the switch floods no more: IPv6 works because the responder joined (MLD)."""
    responder.control.claim("fd99::abcd:1234")

    def learnt() -> bool:
        return "ff02::1:ffcd:1234" in wire.switch.run("bridge", "mdb", "show").stdout

    wait_until(learnt, PATIENCE, "the switch to learn the group by an MLD report")
    resolved_to(wire.client, "fd99::abcd:1234", wire.node.mac("eth0"))
    responder.control.claim()
    wait_until(lambda: not learnt(), PATIENCE, "the switch to forget the group that was left")


def test_link_without_any_address_answers_arp(wire: Wire, start_responder: Starter) -> None:
    wire.node.ip("address flush dev eth0")
    wire.node.sysctl("net/ipv6/conf/eth0/disable_ipv6", 1)
    responder = start_responder(wire.node)
    responder.control.claim(V4)
    resolved_to(wire.client, V4, wire.node.mac("eth0"))
    assert responder.control.reports[-1].problems == ()


def test_foreign_vlan_is_not_answered(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """The kernel hands frames of a VLAN without interface to the parent untagged; they are not for us."""
    responder.control.claim(V4, V6)
    ear = tap(wire.client)
    asks = (ask(IPv4Address(V4), IPv4Address("10.99.0.1"), ear.mac), ask(IPv6Address(V6), IPv6Address("fd99::1"), ear.mac))
    for frame in asks:
        ear.send(frame[:12] + struct.pack("!HH", 0x8100, 77) + frame[12:])
    for frame in asks:
        ear.send(frame)
    answers = ear.watch(lambda frames: len([f for f in frames if is_answer(f, ear.mac)]) >= 2, "the untagged requests to be answered")
    ear.listen_for(0.2)
    answers = [frame for frame in ear.read() if is_answer(frame, ear.mac)]
    assert len(answers) == 2
    assert responder.control.wait(lambda report: dict(report.verdicts).get("answered") == 2, "two answers")


def test_one_reply_each_under_a_burst(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """More than one batch at once, both families, from askers of our own making: each gets its own reply, once."""
    responder.control.claim(V4, V6)
    ear = tap(wire.client)
    ear.listen_for(0.1)
    del ear.frames[:]
    count = 300
    for number in range(count):
        ear.send(ask(IPv4Address(V4), IPv4Address(f"10.98.{number >> 8}.{number & 0xFF}"), ear.mac))
        ear.send(ask(IPv6Address(V6), IPv6Address(f"fd99::7:{number:x}"), ear.mac))

    def askers() -> list[bytes]:
        return [frame[38:42] if frame[12:14] == b"\x08\x06" else frame[38:54] for frame in ear.read() if is_answer(frame, ear.mac)]

    wait_until(lambda: len(askers()) >= 2 * count, PATIENCE, "every request to be answered")
    ear.listen_for(0.2)
    assert len(askers()) == len(set(askers())) == 2 * count
    assert all(checksum_is_right(frame) for frame in ear.read() if frame[12:14] == b"\x86\xdd" and is_answer(frame, ear.mac))
