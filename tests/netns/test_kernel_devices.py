"""The device list of the control process, with the facts of detection, from a real kernel."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TypeAlias, TypeVar

import pytest
from netlab.namespaces import Namespace, Network

from l2announce.control.devices import candidate_devices
from l2announce.kernel.devices import Devices
from l2announce.kernel.loop import new_event_loop
from l2announce.model.link import ConnectedRoute, Device
from tests.netns.stand import PATIENCE

pytestmark = pytest.mark.netns

ResultT = TypeVar("ResultT")
Changes: TypeAlias = AsyncIterator[tuple[Device, ...]]


@pytest.fixture
def host(network: Network) -> Namespace:
    """A namespace with eth0, up, and its other end in "far"."""
    host, far = network.namespace("host"), network.namespace("far")
    network.veth(host, "eth0", far, "wire", left_mac="02:00:00:00:00:01")
    network.wait_ready()
    return host


def run_inside(host: Namespace, work: Callable[[], Coroutine[None, None, ResultT]]) -> ResultT:
    """Run a coroutine inside a namespace, on the loop of the control process."""
    with host.entered(), asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work())


async def following(changes: Changes, condition: Callable[[dict[str, Device]], bool]) -> dict[str, Device]:
    """The first list that fulfils the condition, by name."""
    async with asyncio.timeout(PATIENCE):
        async for devices in changes:
            by_name = {device.name: device for device in devices}
            if condition(by_name):
                return by_name
    raise AssertionError("the changes have ended")


def snapshot(host: Namespace) -> dict[str, Device]:
    """The devices of a namespace as they are."""

    async def look() -> dict[str, Device]:
        return await following(Devices().changes(), bool)

    return run_inside(host, look)


def test_facts_of_detection(host: Namespace) -> None:
    host.address("eth0", "10.99.0.101/24", "fd99::101/64")
    host.ip("route add default via 10.99.0.1")
    host.ip("link property add dev eth0 altname enp1s0")
    lo, eth0 = (snapshot(host)[name] for name in ("lo", "eth0"))
    link_local = "fe80::ff:fe00:1"
    assert eth0 == Device(
        index=host.interface("eth0").index,
        name="eth0",
        alternative_names=("enp1s0",),
        kind="veth",
        addresses=tuple(map(ip_address, ("10.99.0.101", "fd99::101", link_local))),
        has_default_route=True,
        has_global_unicast_route=True,
        subnets=tuple(map(ip_network, ("10.99.0.0/24", "fd99::/64", "fe80::/64"))),
        connected=(
            ConnectedRoute(ip_network("10.99.0.0/24")),
            ConnectedRoute(ip_network("fd99::/64"), 256),
            ConnectedRoute(ip_network("fe80::/64"), 256),
        ),
        gateways=(ip_address("10.99.0.1"),),
    )
    assert (lo.loopback, lo.ethernet, lo.up, lo.has_default_route) == (True, False, True, False)


@pytest.mark.parametrize(
    ("command", "default", "unicast"),
    [
        ("route add default dev eth0", True, False),
        ("-6 route add default dev eth0", True, False),
        ("route add 192.0.2.0/24 dev eth0", False, True),
        ("route add default nexthop dev eth0 weight 1 nexthop dev eth1 weight 1", True, False),
        ("route add 192.0.2.0/24 nexthop dev eth0 nexthop dev eth1", False, True),
        ("route add blackhole 192.0.2.0/24", False, False),
        ("route add 169.254.0.0/16 dev eth0", False, False),
        ("route add default dev eth0 table 100", False, False),
        ("route add unreachable default", False, False),
    ],
)
def test_routes(host: Namespace, command: str, default: bool, unicast: bool) -> None:
    host.ip("link add eth1 type veth peer name eth2")
    host.ip("link set eth2 up")
    host.ip("link set eth1 up")
    host.ip(command)
    eth0 = snapshot(host)["eth0"]
    assert (eth0.has_default_route, eth0.has_global_unicast_route) == (default, unicast)


@pytest.mark.parametrize(
    ("command", "gateways"),
    [
        ("route add default via 10.99.0.1", ["10.99.0.1"]),
        ("-6 route add default via fd99::1", ["fd99::1"]),
        ("-6 route add default via fe80::1 dev eth0", ["fe80::1"]),
        ("route add 192.0.2.0/24 nexthop via 10.99.0.2 nexthop via 10.99.0.3", ["10.99.0.2", "10.99.0.3"]),
        ("-6 route add fd01::/64 nexthop via fd99::2 nexthop via fd99::3", ["fd99::2", "fd99::3"]),
        ("route add 192.0.2.0/24 via inet6 fe80::7 dev eth0", ["fe80::7"]),
        ("route add default via 10.99.0.9 table 100", ["10.99.0.9"]),
        ("route add 192.0.2.0/24 dev eth0", []),
        ("route add blackhole 192.0.2.0/24", []),
    ],
)
def test_gateways(host: Namespace, command: str, gateways: list[str]) -> None:
    """The next hops of every kind of route, in every table."""
    host.address("eth0", "10.99.0.101/24", "fd99::101/64")
    host.ip(command)
    assert snapshot(host)["eth0"].gateways == tuple(map(ip_address, gateways))


def test_connected_routes_are_in_the_order_of_the_kernel(host: Namespace) -> None:
    """Of two links in one subnet, the one that got its address first, unless metrics say otherwise: as ``ip route get`` has it."""
    host.ip("link add eth1 type veth peer name eth2")
    host.ip("link set eth2 up")
    host.ip("link set eth1 up")
    for device, number in (("eth1", 2), ("eth0", 3)):
        host.address(device, f"10.99.0.{number}/24", f"fd99::{number}/64")
    subnets = {ip_network("10.99.0.0/24"): 0, ip_network("fd99::/64"): 256}
    for name, position in (("eth1", 0), ("eth0", 1)):
        connected = {route for route in snapshot(host)[name].connected if route.destination in subnets}
        assert connected == {ConnectedRoute(subnet, metric, position) for subnet, metric in subnets.items()}
    for target in ("10.99.0.77", "fd99::77"):
        assert "dev eth1" in host.run("ip", "route", "get", target).stdout
    host.ip("route del 10.99.0.0/24 dev eth1")
    host.ip("route add 10.99.0.0/24 dev eth1 metric 50")
    assert ConnectedRoute(ip_network("10.99.0.0/24"), 50) in snapshot(host)["eth1"].connected
    assert ConnectedRoute(ip_network("10.99.0.0/24")) in snapshot(host)["eth0"].connected
    assert "dev eth0" in host.run("ip", "route", "get", "10.99.0.77").stdout


def test_what_is_no_connected_route(host: Namespace) -> None:
    """A default route without a gateway, another table, a peer's address; a point-to-point address is the node's, its peer's is not."""
    host.ip("address add 10.1.0.1 peer 10.2.0.1 dev eth0")
    for command in ("route add default dev eth0", "route add 192.0.2.0/24 dev eth0 table 100", "route add 198.51.100.0/24 via 10.2.0.1"):
        host.ip(command)
    eth0 = snapshot(host)["eth0"]
    assert {route.destination for route in eth0.connected if route.destination.version == 4} == {ip_network("10.2.0.1/32")}
    assert [address for address in eth0.addresses if address.version == 4] == [ip_address("10.1.0.1")]
    assert ip_network("10.2.0.1/32") in eth0.subnets


def test_kinds_and_masters(network: Network, host: Namespace) -> None:
    network.bridge(host, "br0")
    host.ip("link add port type veth peer name port2")
    host.ip("link set port master br0")
    expected = {"eth0": "veth", "br0": "bridge", "port": "veth", "lo": ""}
    for name, arguments in {
        "vx0": "type vxlan id 7 dstport 4789 dev eth0",
        "mv0": "link eth0 type macvlan",
        "vlan7": "link eth0 type vlan id 7",
        "bond0": "type bond",
    }.items():
        link, _, rest = arguments.partition("type ")
        if made(host, f"link add {link} name {name} type {rest}"):
            expected[name] = rest.split()[0]
    if Path("/dev/net/tun").exists() and made(host, "tuntap add dev tun0 mode tun"):
        expected["tun0"] = "tun"
    if "bond0" in expected:
        host.ip("link add slave0 type veth peer name slave1")
        host.ip("link set slave0 master bond0")
    devices = snapshot(host)
    assert {name: devices[name].kind for name in expected} == expected
    assert devices["port"].master_kind == "bridge"
    assert devices["eth0"].master_kind is None
    if "bond0" in expected:
        assert (devices["slave0"].slave, devices["slave0"].master_kind) == (True, "bond")
    if "tun0" in expected:
        assert not devices["tun0"].ethernet


def made(host: Namespace, command: str) -> bool:
    """Make a link of a kind that this kernel may lack; True when it has been made."""
    return host.run("ip", *command.split(), check=False).returncode == 0


def test_changes_are_followed(network: Network, host: Namespace) -> None:
    """Each kind of change yields a new list: link, state, address, route, rename, removal."""

    async def follow() -> None:
        changes = Devices().changes()
        first = await following(changes, bool)
        assert first["eth0"].up
        host.address("eth0", "10.99.0.101/24")
        await following(changes, lambda now: ip_address("10.99.0.101") in now["eth0"].addresses)
        host.ip("route add default via 10.99.0.1")
        await following(changes, lambda now: now["eth0"].has_default_route)
        host.ip("link add eth1 type veth peer name eth2")
        await following(changes, lambda now: "eth1" in now)
        host.ip("link set eth1 name lan")
        await following(changes, lambda now: "lan" in now and "eth1" not in now)
        host.ip("link delete lan")
        await following(changes, lambda now: "lan" not in now)
        host.ip("link set eth0 down")
        last = await following(changes, lambda now: not now["eth0"].up)
        assert not last["eth0"].has_default_route

    run_inside(host, follow)


def test_storm_of_changes_ends_in_the_truth(host: Namespace) -> None:
    async def follow() -> None:
        changes = Devices().changes()
        await following(changes, bool)
        batch = "".join(f"link add s{n} type veth peer name t{n}\nlink delete s{n - 3}\n" for n in range(3, 60))
        storm = asyncio.to_thread(host.run, "ip", "-force", "-batch", "-", stdin_text=batch, check=False)
        running = asyncio.create_task(storm)
        expected = {"lo", "eth0"} | {f"{letter}{n}" for letter in "st" for n in (57, 58, 59)}
        await following(changes, lambda now: now.keys() == expected)
        await running
        assert host.interfaces().keys() == expected

    run_inside(host, follow)


def test_detection_chooses_the_link_with_the_default_route(network: Network, host: Namespace) -> None:
    """The whole way from the kernel to the decision: an uplink is chosen, a veth without default route and a port are not."""
    host.address("eth0", "10.99.0.101/24")
    host.ip("route add default via 10.99.0.1")
    host.ip("route add 192.0.2.0/24 via 10.99.0.1")
    network.bridge(host, "br0")
    host.ip("link add port type veth peer name lxc0")
    host.ip("link set port master br0")
    assert candidate_devices(snapshot(host).values(), ()).default == {"eth0"}
