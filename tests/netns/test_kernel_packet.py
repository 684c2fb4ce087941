"""Packet sockets, filters and multicast memberships on a real kernel."""

import contextlib
import os
import resource
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from netlab.frames import ask
from netlab.namespaces import Namespace
from netlab.waiting import wait_until

from l2announce.kernel.groups import GROUPS_PER_SOCKET, GroupMemberships
from l2announce.kernel.packet import BATCH, PacketSocket, Vector
from l2announce.model.address import solicited_node_multicast
from l2announce.model.link import Link
from l2announce.wire.bpf import arp_filter, ndp_filter
from tests.netns.stand import PATIENCE, Tap, Taps, Wire

pytestmark = pytest.mark.netns

OWNED = IPv4Address("10.99.0.200")
OWNED6 = IPv6Address("fd99::200")
CLIENT, CLIENT6 = IPv4Address("10.99.0.1"), IPv6Address("fd99::1")
ARP, IPV6 = 0x0806, 0x86DD
SLOT = 256


@contextlib.contextmanager
def bound(wire: Wire, protocol: int = ARP) -> Iterator[tuple[PacketSocket, Link]]:
    """A packet socket bound to the node's eth0, still receiving nothing."""
    shown = wire.node.interface("eth0")
    link = Link(shown.index, "eth0", shown.mac)
    with wire.node.entered():
        packets = PacketSocket()
        packets.bind(link, protocol)
    try:
        yield packets, link
    finally:
        packets.close()


def received(packets: PacketSocket, vector: Vector) -> list[bytes]:
    """Every waiting frame."""
    frames: list[bytes] = []
    while (batch := packets.receive(vector)) is not None:
        octets, lengths = batch
        frames += [octets[at * SLOT : at * SLOT + min(length, SLOT)] for at, length in enumerate(lengths)]
    return frames


def wait_received(packets: PacketSocket, count: int) -> list[bytes]:
    """Receive until ``count`` frames have come."""
    vector, frames = Vector(SLOT, SLOT), list[bytes]()

    def enough() -> bool:
        frames.extend(received(packets, vector))
        return len(frames) >= count

    wait_until(enough, PATIENCE, f"{count} frames")
    return frames


def test_only_owned_requests_arrive(wire: Wire, tap: Taps) -> None:
    ear: Tap = tap(wire.client)
    with bound(wire) as (arps, link), bound(wire, IPV6) as (solicitations, _):
        arps.attach(arp_filter([OWNED], link.index).program)
        solicitations.attach(ndp_filter([OWNED6], link.index).program)
        for stranger in range(1, 100):
            ear.send(ask(IPv4Address(f"10.99.1.{stranger}"), CLIENT, ear.mac))
            ear.send(link.mac + ask(IPv6Address(f"fd99::1:{stranger}"), CLIENT6, ear.mac)[6:])
        wanted, wanted6 = ask(OWNED, CLIENT, ear.mac), ask(OWNED6, CLIENT6, ear.mac)
        ear.send(wanted)
        ear.send(link.mac + wanted6[6:])
        assert wait_received(arps, 1) == [wanted]
        assert wait_received(solicitations, 1) == [link.mac + wanted6[6:]]


def test_bound_socket_receives_nothing_before_its_filter(wire: Wire, tap: Taps) -> None:
    ear: Tap = tap(wire.client)
    with bound(wire) as (packets, link):
        first, second = ask(OWNED, CLIENT, ear.mac), ask(OWNED, IPv4Address("10.99.0.2"), ear.mac)
        ear.send(first)
        heard = tap(wire.node, protocol=ARP)
        ear.send(second)
        heard.watch(lambda frames: second in frames, "the node to hear it")
        packets.attach(arp_filter([OWNED], link.index).program)
        ear.send(first)
        assert wait_received(packets, 1) == [first]


def test_replacing_filters_loses_nothing(wire: Wire, tap: Taps) -> None:
    """Requests keep coming while the filter is replaced again and again: each arrives."""
    ear: Tap = tap(wire.client)
    count = 3000
    others = [IPv4Address("10.128.0.0") + n for n in range(300)]
    with bound(wire) as (packets, link):
        programs = [arp_filter([OWNED, *others[:n]], link.index).program for n in (0, 1, 300)]
        packets.attach(programs[0])
        asks = [ask(OWNED, IPv4Address("10.98.0.0") + n, ear.mac) for n in range(count)]

        def hammer() -> None:
            for frame in asks:
                ear.send(frame)

        sender = threading.Thread(target=hammer)
        sender.start()
        replaced = 0
        frames, vector = list[bytes](), Vector(SLOT, SLOT)
        while sender.is_alive():
            packets.attach(programs[replaced % 3])
            replaced += 1
            frames += received(packets, vector)
        sender.join()
        frames += wait_received(packets, count - len(frames))
        assert frames == asks
        assert replaced > 10


def test_batches_go_out_whole(wire: Wire, tap: Taps) -> None:
    ear: Tap = tap(wire.client)
    with bound(wire) as (packets, link):
        frames = [ask(IPv4Address("10.97.0.0") + n, CLIENT, link.mac) for n in range(BATCH)]
        vector = Vector(64, 42)
        packets.send_batch(b"".join(frame + bytes(64 - 42) for frame in frames), vector)
        assert packets.send(frames[0])
        ear.watch(lambda seen: [frame for frame in seen if frame in frames] == [*frames, frames[0]], "every frame in order")
        assert packets.unsent == 0


def test_link_going_down_and_away_is_counted_not_raised(wire: Wire) -> None:
    with bound(wire) as (packets, link):
        frame = ask(OWNED, CLIENT, link.mac)
        vector, reader = Vector(64, 42), Vector(SLOT, SLOT)
        wire.node.ip("link set eth0 down")
        assert received(packets, reader) == []
        packets.send_batch((frame + bytes(22)) * 3, vector)
        assert [packets.send(frame), packets.send(frame)] == [False, False]
        assert packets.unsent == 5
        wire.node.ip("link delete eth0")
        assert received(packets, reader) == []
        packets.send_batch((frame + bytes(22)) * 2, vector)
        assert packets.unsent == 7
        with wire.node.entered(), pytest.raises(OSError, match="No such device"):
            packets.bind(link, ARP)


def test_link_of_another_index_is_refused(wire: Wire) -> None:
    with bound(wire) as (packets, link), wire.node.entered(), pytest.raises(OSError, match="eth0 is no longer link 99"):
        packets.bind(Link(99, "eth0", link.mac), ARP)


def memberships(host: Namespace, group: IPv6Address) -> int:
    """The use count of a group on eth0 in /proc/net/igmp6; 0 when the host is no member."""
    with host.entered():
        rows = [line.split() for line in Path("/proc/thread-self/net/igmp6").read_text().splitlines()]
    return next((int(row[3]) for row in rows if row[1:3] == ["eth0", group.packed.hex()]), 0)


def test_memberships_follow_what_is_wanted(wire: Wire) -> None:
    index = wire.node.interface("eth0").index
    one, two = (solicited_node_multicast(IPv6Address(text)) for text in ("fd99::200", "fd99::201"))
    with wire.node.entered():
        groups = GroupMemberships()
        assert groups.replace({index: frozenset({one, two})}) == ()
        assert groups.replace({index: frozenset({one, two})}) == ()
        assert (memberships(wire.node, one), memberships(wire.node, two)) == (1, 1)
        assert "ff02::1:ff00:200" in wire.node.run("ip", "maddress", "show", "dev", "eth0").stdout
        assert groups.replace({index: frozenset({two})}) == ()
        assert (memberships(wire.node, one), memberships(wire.node, two)) == (0, 1)
        assert groups.replace({}) == ()
        assert memberships(wire.node, two) == 0
        groups.close()


def test_address_of_the_host_keeps_its_group(wire: Wire) -> None:
    """The kernel counts: leaving does not take the group from an address of its own."""
    index, group = wire.node.interface("eth0").index, solicited_node_multicast(IPv6Address("fd99::101"))
    with wire.node.entered():
        before = memberships(wire.node, group)
        groups = GroupMemberships()
        groups.replace({index: frozenset({group})})
        assert memberships(wire.node, group) == before + 1
        groups.replace({})
        assert memberships(wire.node, group) == before == 1
        groups.close()


def open_files() -> int:
    """How many descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_thousands_of_memberships(wire: Wire) -> None:
    index = wire.node.interface("eth0").index
    wanted = frozenset(IPv6Address("ff02::1:ff00:0") + n for n in range(1, 2001))
    with wire.node.entered():
        groups = GroupMemberships()
        before = open_files()
        assert groups.replace({index: wanted}) == ()
        wait_until(lambda: groups.go_on() == () and not groups.is_behind, PATIENCE, "every group to be joined", interval=0.001)
        assert open_files() - before == -(-2000 // GROUPS_PER_SOCKET)
        assert all(memberships(wire.node, group) == 1 for group in sorted(wanted)[::400])
        groups.close()


def test_limit_of_open_files_is_a_problem_not_a_crash(wire: Wire) -> None:
    index = wire.node.interface("eth0").index
    wanted = frozenset(IPv6Address("ff02::1:ff00:0") + n for n in range(1, 2 * GROUPS_PER_SOCKET))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with wire.node.entered():
        groups = GroupMemberships()
        assert groups.replace({index: frozenset([min(wanted)])}) == ()
        lowest_free = os.open("/dev/null", os.O_RDONLY)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            problems = groups.replace({index: wanted})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert len(problems) == 1
        assert problems[0].startswith(f"link {index}: cannot join ff02::1:ff00:")
        assert problems[0].endswith("Too many open files; raise net.core.optmem_max or the limit of open files")
        wait_until(lambda: groups.replace({index: wanted}) == () and not groups.is_behind, PATIENCE, "the rest", interval=0.001)
        groups.close()


def test_many_memberships_are_changed_bit_by_bit(wire: Wire) -> None:
    """The kernel needs the longer for each the more there are; frames must be answered in between."""
    index = wire.node.interface("eth0").index
    wanted = frozenset(IPv6Address("ff02::1:ff00:0") + n for n in range(1, 101))
    with wire.node.entered():
        groups = GroupMemberships(budget=0.0005)
        turns = 1
        assert groups.replace({index: wanted}) == ()
        assert groups.is_behind
        while groups.is_behind:
            assert groups.go_on() == ()
            turns += 1
        assert turns > 1
        assert {memberships(wire.node, group) for group in wanted} == {1}
        assert groups.replace({}) == ()
        wait_until(lambda: groups.go_on() == () and not groups.is_behind, PATIENCE, "every group to be left", interval=0.001)
        assert {memberships(wire.node, group) for group in wanted} == {0}
        groups.close()


def test_what_the_link_does_not_allow_is_told(wire: Wire) -> None:
    index, group = wire.node.interface("eth0").index, solicited_node_multicast(OWNED6)
    with wire.node.entered():
        groups = GroupMemberships()
        wire.node.ip("link set eth0 mtu 1279")
        refused = f"link eth0: cannot join {group}: Invalid argument; IPv6 needs an MTU of 1280 there"
        assert groups.replace({index: frozenset({group})}) == (refused,)
        wire.node.ip("link set eth0 mtu 1280")
        assert groups.go_on() == ()
        wire.node.sysctl("net/ipv6/conf/eth0/disable_ipv6", 1)
        (problem,) = groups.go_on()
        assert problem.startswith("link eth0: IPv6 is disabled, so no MLD report goes out")
        assert problem.endswith("set net.ipv6.conf.eth0.disable_ipv6=0")
        assert groups.replace({}) == ()
        groups.close()


def test_link_that_is_gone_is_a_problem_and_the_new_one_is_joined(wire: Wire) -> None:
    old = wire.node.interface("eth0").index
    group = solicited_node_multicast(OWNED6)
    with wire.node.entered():
        groups = GroupMemberships()
        assert groups.replace({old: frozenset({group})}) == ()
        wire.node.ip("link delete eth0")
        groups.forget_link(old)
        assert groups.replace({old: frozenset({group})}) == (f"link {old}: cannot join {group}: No such device",)
        wire.node.ip(f"link add eth0 index {old} type veth peer name eth9")
        wire.node.ip("link set eth0 up")
        assert groups.replace({old: frozenset({group})}) == ()
        assert memberships(wire.node, group) == 1
        groups.close()
