"""The link table of the responder against a real kernel: every kind of change, and events lost."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from netlab.namespaces import Namespace, Network
from netlab.waiting import wait_until

from l2announce.kernel.netlink import LinkMonitor
from l2announce.model.link import Link
from tests.netns.stand import PATIENCE

pytestmark = pytest.mark.netns

SMALLEST_BUFFER = 1
"""The kernel makes of it the least that it allows: room for an event or two."""


@pytest.fixture
def host(network: Network) -> Namespace:
    """A namespace with eth0, whose other end is in the namespace "far"."""
    host, far = network.namespace("host"), network.namespace("far")
    network.veth(host, "eth0", far, "wire", left_mac="02:00:00:00:00:01")
    network.wait_ready()
    return host


@contextlib.contextmanager
def monitoring(host: Namespace, **options: int) -> Iterator[LinkMonitor]:
    """A monitor of the links of a namespace."""
    with host.entered():
        monitor = LinkMonitor(**options)
    try:
        yield monitor
    finally:
        monitor.close()


def links(monitor: LinkMonitor) -> dict[str, Link]:
    """The present links by name, after reading what waits."""
    monitor.read()
    return {link.name: link for link in monitor.links()}


def until(monitor: LinkMonitor, condition: Callable[[dict[str, Link]], bool], what: str) -> dict[str, Link]:
    """Read until the links fulfil the condition."""
    wait_until(lambda: condition(links(monitor)), PATIENCE, what)
    return links(monitor)


def test_what_is_there_at_the_start(host: Namespace) -> None:
    with monitoring(host) as monitor:
        found = until(monitor, lambda now: now["eth0"].link_local is not None, "the link-local address to be usable")
        index = host.interface("eth0").index
        assert found == {"eth0": Link(index, "eth0", bytes.fromhex("020000000001"), True, IPv6Address("fe80::ff:fe00:1"))}


def test_links_come_and_go(host: Namespace) -> None:
    with monitoring(host) as monitor:
        host.ip("link add eth1 type veth peer name eth2")
        assert links(monitor).keys() == {"eth0", "eth1", "eth2"}
        gone = links(monitor)["eth1"].index
        monitor.take_removed()
        host.ip("link delete eth1")
        assert monitor.read()
        assert gone in monitor.take_removed()
        assert monitor.take_removed() == frozenset()
        assert links(monitor).keys() == {"eth0"}


def test_carrier_and_administrative_state(network: Network, host: Namespace) -> None:
    with monitoring(host) as monitor:
        assert links(monitor)["eth0"].carrier
        network["far"].ip("link set wire down")
        until(monitor, lambda now: not now["eth0"].carrier, "carrier to be lost")
        network["far"].ip("link set wire up")
        until(monitor, lambda now: now["eth0"].carrier, "carrier to be back")
        host.ip("link set eth0 down")
        assert not links(monitor)["eth0"].carrier


def test_rename_and_mac(host: Namespace) -> None:
    with monitoring(host) as monitor:
        index = links(monitor)["eth0"].index
        host.ip("link set eth0 address 02:00:00:00:00:02")
        assert links(monitor)["eth0"].mac == bytes.fromhex("020000000002")
        host.ip("link set eth0 down")
        host.ip("link set eth0 name lan")
        found = links(monitor)
        assert found.keys() == {"lan"}
        assert found["lan"].index == index


def test_deleted_and_created_again(host: Namespace) -> None:
    with monitoring(host) as monitor:
        first = links(monitor)["eth0"]
        host.ip("link delete eth0")
        host.ip("link add eth0 index 500 address 02:00:00:00:00:01 type veth peer name eth1")
        assert monitor.read()
        assert monitor.take_removed() == {first.index}
        assert links(monitor)["eth0"].index == 500


def test_same_index_again_is_told(host: Namespace) -> None:
    """An index asked for, or kept on the way to another namespace and back: what was bound to the first link is dead all the same."""
    host.ip("link set eth0 down")
    with monitoring(host) as monitor:
        before = monitor.links()
        assert before[0].link_local is None
        host.ip("link delete eth0")
        host.ip(f"link add eth0 index {before[0].index} address 02:00:00:00:00:01 type veth peer name new netns far")
        assert monitor.read()
        assert monitor.links() == before
        assert monitor.take_removed() == {before[0].index}


def test_a_link_without_room_for_ipv6_is_told(host: Namespace) -> None:
    """Below 1280 octets the kernel ends its IPv6, and with it the memberships that sockets have there."""
    with monitoring(host) as monitor:
        index = links(monitor)["eth0"].index
        assert monitor.take_without_ipv6() == frozenset()
        host.ip("link set eth0 mtu 1280")
        assert not monitor.read()
        host.ip("link set eth0 mtu 1279")
        host.ip("link set eth0 mtu 1500")
        assert monitor.read()
        assert monitor.take_without_ipv6() == {index}
        assert monitor.take_without_ipv6() == frozenset()
        host.ip("link set eth0 mtu 1279")
    with monitoring(host) as monitor:
        assert monitor.take_without_ipv6() == {index}


def test_ports_are_left_to_their_master(network: Network, host: Namespace) -> None:
    with monitoring(host) as monitor:
        network.bridge(host, "br0")
        assert links(monitor).keys() == {"eth0", "br0"}
        host.ip("link set eth0 master br0")
        assert links(monitor).keys() == {"br0"}
        host.ip("link set eth0 nomaster")
        assert links(monitor).keys() == {"eth0", "br0"}


def test_nothing_new_is_no_change(host: Namespace) -> None:
    with monitoring(host) as monitor:
        until(monitor, lambda now: now["eth0"].link_local is not None, "the link to settle")
        assert not monitor.read()
        host.ip("link set eth0 mtu 1400")
        assert not monitor.read()


def test_lost_events_are_made_good(host: Namespace) -> None:
    """The buffer runs over: what it still holds tells of links that are gone by now, and is not believed."""
    host.ip("link add old type veth peer name peer")
    with monitoring(host, receive_buffer=SMALLEST_BUFFER) as monitor:
        assert links(monitor).keys() == {"eth0", "old", "peer"}
        commands = "".join(f"link set old mtu {1300 + n}\n" for n in range(60))
        host.run("ip", "-batch", "-", stdin_text=f"link add new type veth peer name newer\n{commands}link delete old\nlink delete new\n")
        host.ip("link set eth0 address 02:00:00:00:00:0a")
        assert drops(host, monitor) > 0
        assert monitor.read()
        assert {link.name for link in monitor.links()} == {"eth0"}
        assert links(monitor)["eth0"].mac == bytes.fromhex("02000000000a")
        host.ip("link set eth0 address 02:00:00:00:00:0b")
        until(monitor, lambda now: now["eth0"].mac[-1] == 0x0B, "events to come as before")


def test_storm_of_changes_ends_in_the_truth(host: Namespace) -> None:
    """While the monitor reads with the least buffer, links change as fast as they can; in the end both agree."""
    with monitoring(host, receive_buffer=SMALLEST_BUFFER) as monitor:
        batch = "".join(f"link add s{n} type veth peer name t{n}\nlink delete s{n - 3}\n" for n in range(3, 40))
        process = host.popen(
            "ip", "-force", "-batch", "/dev/stdin", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert process.stdin is not None
        process.stdin.write(batch.encode())
        process.stdin.close()
        while process.poll() is None:
            monitor.read()
        expected = {item.name for item in host.interfaces().values() if item.name != "lo"}
        until(monitor, lambda now: now.keys() == expected, "the monitor to agree with the kernel")


def drops(host: Namespace, monitor: LinkMonitor) -> int:
    """How many events the kernel has dropped for want of room, by /proc/net/netlink."""
    inode = str(os.fstat(monitor.fileno()).st_ino)
    with host.entered():
        rows = [line.split() for line in Path("/proc/thread-self/net/netlink").read_text().splitlines()]
    return next(int(row[8]) for row in rows if row[9] == inode)
