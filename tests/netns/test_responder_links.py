"""The responder process and its links: announcements on the wire, carrier, MAC, name, deletion and re-creation."""

import signal
from functools import partial
from ipaddress import IPv4Address
from typing import Any

import pytest
from netlab.frames import ask
from netlab.waiting import wait_until
from scapy.layers.inet6 import ICMPv6ND_NA
from scapy.layers.l2 import ARP, Ether

from l2announce.model.report import Report
from l2announce.model.timing import ANNOUNCE_OFFSETS
from tests.netns.stand import PATIENCE, ResponderUnderTest, Tap, Taps, Wire, is_answer, neighbor, resolved_to

pytestmark = pytest.mark.netns

V4, V6 = "10.99.0.200", "fd99::200"
LATE = 0.5
"""Seconds that a frame may be late on a busy machine."""


def announcements(frames: list[bytes], mac: bytes) -> tuple[list[Any], list[Any]]:
    """What was announced for ``mac``: ARP packets about V4, and neighbor advertisements about V6, as scapy reads them."""
    arps, advertisements = [], []
    for frame in frames:
        packet = Ether(frame)
        if frame[6:12] != mac or not frame[0] & 1:
            continue
        if ARP in packet and packet[ARP].psrc == V4 and packet[ARP].pdst == V4:
            arps.append(packet)
        if ICMPv6ND_NA in packet and packet[ICMPv6ND_NA].tgt == V6:
            advertisements.append(packet)
    return arps, advertisements


def announced(ear: Tap, mac: bytes, what: str) -> None:
    """Wait for both forms of ARP announcement and an advertisement with this MAC, among the frames that come from now on."""
    ear.watch(lambda frames: complete(announcements(frames, mac)), what)


def complete(found: tuple[list[Any], list[Any]]) -> bool:
    arps, advertisements = found
    return {packet[ARP].op for packet in arps} == {1, 2} and bool(advertisements)


def test_announcements_of_a_new_claim(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """Both ARP forms and an advertisement with Override, at 0, 0.2, 1.1, 3 and 7 seconds, never early; then no more."""
    ear, mac = tap(wire.client), wire.node.mac("eth0")
    responder.control.claim(V4, V6)
    ear.watch(lambda frames: len(announcements(frames, mac)[1]) >= 5, "five rounds of announcements", ANNOUNCE_OFFSETS[-1] + PATIENCE)
    ear.listen_for(0.3)
    arps, advertisements = announcements(ear.read(), mac)
    assert [packet[ARP].op for packet in arps].count(1) == [packet[ARP].op for packet in arps].count(2) == 5
    assert len(advertisements) == 5
    for packet in arps:
        assert (packet.dst, packet[ARP].hwsrc) == ("ff:ff:ff:ff:ff:ff", mac.hex(":"))
        assert (packet.type, packet[ARP].hwtype, packet[ARP].ptype, packet[ARP].hwlen, packet[ARP].plen) == (0x0806, 1, 0x0800, 6, 4)
    for packet in advertisements:
        assert (packet.dst, packet["IPv6"].dst, packet["IPv6"].hlim) == ("33:33:00:00:00:01", "ff02::1", 255)
        assert (packet[ICMPv6ND_NA].R, packet[ICMPv6ND_NA].S, packet[ICMPv6ND_NA].O) == (0, 0, 1)
        assert packet["ICMPv6NDOptDstLLAddr"].lladdr == mac.hex(":")
        written = packet[ICMPv6ND_NA].cksum
        del packet[ICMPv6ND_NA].cksum
        assert Ether(bytes(packet))[ICMPv6ND_NA].cksum == written
    times = [seen for seen, frame in ear.frames if announcements([frame], mac)[1]]
    for offset, seen in zip(ANNOUNCE_OFFSETS, times, strict=True):
        assert offset - LATE <= seen - times[0] <= offset + LATE


def test_link_down_and_up_announces_again(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    ear, mac = tap(wire.client), wire.node.mac("eth0")
    responder.control.claim(V4, V6)
    announced(ear, mac, "the first announcements")
    wire.switch.ip("link set node down")
    responder.control.wait(has_no_carrier, "the loss of carrier to be reported", 2.0)
    ear.listen_for(0.1)
    del ear.frames[:]
    wire.switch.ip("link set node up")
    announced(ear, mac, "announcements after carrier came back")
    resolved_to(wire.client, V4, mac)
    resolved_to(wire.client, V6, mac)


def test_interface_down_and_up(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """Taken down by its administrator: the packet sockets get ENETDOWN, and must work again afterwards."""
    ear, mac = tap(wire.client), wire.node.mac("eth0")
    responder.control.claim(V4, V6)
    wire.node.ip("link set eth0 down")
    responder.control.wait(has_no_carrier, "the link to be down")
    wire.node.ip("link set eth0 up")
    del ear.frames[:]
    announced(ear, mac, "announcements after the link came up")
    resolved_to(wire.client, V4, mac)
    resolved_to(wire.client, V6, mac)


def has_no_carrier(report: Report) -> bool:
    """Whether no link has carrier."""
    return not any(link.carrier for link in report.links)


def has_mac(wire: Wire, address: str, mac: bytes) -> bool:
    """Whether the client's kernel knows the address by this MAC."""
    return neighbor(wire.client, address)[0] == mac


def test_changed_mac_is_announced_and_answered(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    ear = tap(wire.client)
    responder.control.claim(V4, V6)
    old, new = wire.node.mac("eth0"), bytes.fromhex("020000c0ffee")
    for address in (V4, V6):
        resolved_to(wire.client, address, old)
    wire.node.ip("link set eth0 address 02:00:00:c0:ff:ee")
    announced(ear, new, "announcements of the new MAC")
    for address in (V4, V6):
        wait_until(partial(has_mac, wire, address, new), PATIENCE, "the client to believe it")
    wire.client.ip("neigh flush dev eth0")
    for address in (V4, V6):
        resolved_to(wire.client, address, new)


def test_link_deleted_and_created_again(wire: Wire, responder: ResponderUnderTest) -> None:
    """The same name with another index and MAC: bound, joined and filtered anew, though no capability is left."""
    responder.control.claim(V4, V6)
    resolved_to(wire.client, V4, wire.node.mac("eth0"))
    before = wire.node.interface("eth0").index
    wire.node.ip("link delete eth0")
    responder.control.wait(lambda report: not report.links, "the link to be gone")
    wire.node.ip(f"link add filler index {before} type veth peer name filler2")
    wire.network.attach(wire.switch, "br0", wire.node)
    mac = wire.node.mac("eth0")
    assert wire.node.interface("eth0").index != before
    for address in (V4, V6):
        resolved_to(wire.client, address, mac)
    assert responder.control.reports[-1].problems == ()


def test_link_deleted_and_created_with_the_same_index(wire: Wire, responder: ResponderUnderTest) -> None:
    """Nothing tells the two apart but the event of the deletion: sockets and memberships of the first are dead."""
    responder.control.claim(V4, V6)
    node = wire.node.interface("eth0")
    mac = node.mac.hex(":")
    resolved_to(wire.client, V4, node.mac)
    responder.process.send_signal(signal.SIGSTOP)
    wire.node.run(
        "ip",
        "-batch",
        "-",
        stdin_text=f"link delete eth0\nlink add eth0 index {node.index} address {mac} type veth peer name back\nlink set eth0 up\n",
    )
    wire.node.ip(f"link set back netns {wire.switch.name} name node")
    wire.switch.ip("link set node master br0 up")
    wire.network.wait_ready()
    responder.process.send_signal(signal.SIGCONT)
    assert wire.node.interface("eth0").index == node.index
    for address in (V4, V6):
        wire.client.ip("neigh flush dev eth0")
        resolved_to(wire.client, address, node.mac)


def test_renamed_links_answer_by_their_new_names(wire: Wire, responder: ResponderUnderTest) -> None:
    """A claim names its interface: after eth0 has become eth1 it answers what is claimed for eth1, and no more for eth0."""
    responder.control.claim(V4)
    wire.node.ip("link set eth0 down")
    responder.control.wait(has_no_carrier, "the link to be down")
    two = "10.99.0.202"
    responder.control.claim_on({V4: "eth0", two: "eth1"})
    wire.node.ip("link set eth0 name eth1")
    wire.node.ip("link set eth1 up")
    resolved_to(wire.client, two, wire.node.mac("eth1"))
    assert IPv4Address(V4) not in {record.address for record in responder.control.reports[-1].answered if record.interface == "eth1"}


def test_two_links_each_answer_their_own(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """A second link that comes later is served; a claim for one is not answered on the other."""
    switch2, client2 = wire.network.namespace("switch2"), wire.network.namespace("client2")
    wire.network.bridge(switch2, "br0")
    wire.network.attach(switch2, "br0", client2)
    client2.address("eth0", "10.99.0.2/24")
    wire.network.attach(switch2, "br0", wire.node, device="eth1")
    two = "10.99.0.202"
    responder.control.claim_on({V4: "eth0", two: "eth1"})
    resolved_to(wire.client, V4, wire.node.mac("eth0"))
    resolved_to(client2, two, wire.node.mac("eth1"))
    ears = ((tap(wire.client), two), (tap(client2), V4))
    for ear, address in ears:
        ear.send(ask(IPv4Address(address), IPv4Address("10.99.0.3"), ear.mac))
    for ear, _ in ears:
        assert [
            frame for frame in ear.listen_for(0.2) if frame[38:42] == IPv4Address("10.99.0.3").packed and is_answer(frame, ear.mac)
        ] == []
