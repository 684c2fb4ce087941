"""Whole agents on every shape of network: two links of one segment, bridges, macvlans, links that come, go and change; the guard list."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from netlab.namespaces import Namespace
from netlab.segment import Segment
from netlab.waiting import wait_until

from tests.netns.agents_stand import PATIENCE, SLACK, WEB, Asker, Cluster, node_object, policy, service
from tests.netns.stand import neighbor, resolved_to

pytestmark = pytest.mark.netns

IPV4, IPV6 = "10.99.0.10", "fd99::10"
BOTH = (IPV4, IPV6)
PROMPT = 1.0 + SLACK
"""Seconds within which the right MAC answers after any change of a link."""
GUARDED = "default/guarded"


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """One node's agent, not yet started; one dual-stack Service."""
    made = Cluster(segment, tmp_path)
    made.write("nodes.yaml", node_object("n1"))
    made.write("web.yaml", service(WEB, *BOTH))
    yield made
    made.close()


@pytest.fixture
def node(segment: Segment) -> Namespace:
    """The node n1."""
    return segment.nodes[0]


def add_link(cluster: Cluster, port: str, device: str, options: str = "") -> None:
    """Connect n1 to the switch by one more link."""
    node, switch = cluster.segment.nodes[0], cluster.segment.switch
    switch.ip(f"link add {port} type veth peer name {device} {options} netns {node.name}")
    switch.ip(f"link set {port} master br0 up")
    node.ip(f"link set {device} up")
    cluster.segment.network.wait_ready()


def knows(client: Namespace, address: str, mac: bytes) -> bool:
    """Whether the client's kernel has this MAC for the address."""
    return neighbor(client, address)[0] == mac


def believed(cluster: Cluster, mac: bytes) -> None:
    """Wait until the client's kernel, which does not ask, has been told the MAC of both addresses."""
    for address in BOTH:
        wait_until(partial(knows, cluster.client, address, mac), PATIENCE, f"the client to learn {mac.hex(':')}")


def answered_promptly(asker: Asker, mac: bytes, since: float) -> None:
    """Both addresses are answered with this MAC soon enough, and from then on with no other."""
    for address in BOTH:
        taken = asker.wait_answer(address, mac, since=since)
        assert since == 0.0 or taken - since < PROMPT
        asker.wait_asked(10)
        assert asker.owners(address, since=taken) == [mac]


def replies(client: Namespace, address: str) -> list[str]:
    """The MACs in arping's replies to three requests."""
    shown = client.run("arping", "-c3", "-w5", "-I", "eth0", address, check=False).stdout
    return [word.strip("[]").lower() for line in shown.splitlines() if " reply from " in line for word in line.split() if word[0] == "["]


def test_two_links_of_one_segment_give_one_answer(cluster: Cluster, node: Namespace) -> None:
    """That of the link which the kernel would use; without its carrier that of the other one, and the lease stays."""
    add_link(cluster, "n1b", "eth1")
    node.address("eth1", "10.99.0.151/24", "fd99::151/64")
    cluster.write("policy.yaml", policy(interfaces=["^eth"]))
    cluster.start("n1")
    cluster.wait_holder(WEB)
    first, second = node.mac("eth0"), node.mac("eth1")
    for address in BOTH:
        assert "dev eth0" in node.run("ip", "route", "get", address).stdout
        resolved_to(cluster.client, address, first)
    assert replies(cluster.client, IPV4) == [first.hex(":")] * 3
    asker = cluster.ask(*BOTH)
    answered_promptly(asker, first, 0.0)
    assert {each.interfaces for each in cluster.service("n1", WEB).addresses} == {("eth0",)}
    assert cluster.service("n1", WEB).macs == (f"eth0={first.hex(':')}",)

    pulled = time.time()
    cluster.segment.switch.ip("link set n1 down")
    answered_promptly(asker, second, pulled)
    believed(cluster, second)
    lease = cluster.leases()[WEB]
    assert (lease.holder_identity, lease.lease_transitions) == ("n1", 0)

    plugged = time.time()
    cluster.segment.switch.ip("link set n1 up")
    answered_promptly(asker, first, plugged)
    believed(cluster, first)
    assert cluster.leases()[WEB].lease_transitions == 0
    assert [asker.owners(address) for address in BOTH] == [[first, second, first]] * 2, "never two of them mixed"


def test_the_metric_decides_as_the_kernel_does(cluster: Cluster, node: Namespace) -> None:
    """A user who makes the kernel prefer the other link moves the answer with it."""
    add_link(cluster, "n1b", "eth1")
    node.ip("address add 10.99.0.151/24 dev eth1 metric 50")
    node.ip("address add fd99::151/64 dev eth1 nodad metric 500")
    cluster.write("policy.yaml", policy(interfaces=["^eth"]))
    cluster.start("n1")
    cluster.wait_holder(WEB)
    asker = cluster.ask(*BOTH)
    answered_promptly(asker, node.mac("eth0"), 0.0)
    changed = time.time()
    node.ip("address change 10.99.0.101/24 dev eth0 metric 100")
    node.ip("address change fd99::101/64 dev eth0 metric 1000")
    for address in BOTH:
        assert "dev eth1" in node.run("ip", "route", "get", address).stdout
    answered_promptly(asker, node.mac("eth1"), changed)


def test_links_that_come_change_and_go(cluster: Cluster, node: Namespace) -> None:
    """Plugged in after the start, renamed while held, another MAC, re-created with another index and with the same: each time the right
    MAC answers at once and the client is told."""
    cluster.write("policy.yaml", policy(interfaces=["^lan"]))
    cluster.start("n1")
    wait_until(lambda: cluster.service("n1", WEB).reason == "NoInterface", PATIENCE, "no interface to match")
    asker = cluster.ask(*BOTH)
    plugged = time.time()
    add_link(cluster, "port", "lan0")
    mac = node.mac("lan0")
    answered_promptly(asker, mac, plugged)
    for address in BOTH:
        assert asker.owners(address) == [mac]
        resolved_to(cluster.client, address, mac)

    node.ip("link set lan0 down")
    node.ip("link set lan0 name lan7")
    renamed = time.time()
    node.ip("link set lan7 up")
    answered_promptly(asker, mac, renamed)
    wait_until(lambda: cluster.service("n1", WEB).addresses[0].interfaces == ("lan7",), PATIENCE, "the new name to be told")

    changed = time.time()
    node.ip("link set lan7 address 02:00:00:c0:ff:ee")
    mac = bytes.fromhex("020000c0ffee")
    answered_promptly(asker, mac, changed)
    believed(cluster, mac)

    for options in ("index 900", "index 900 address 02:00:00:c0:ff:ef"):
        node.ip("link delete lan7")
        created = time.time()
        add_link(cluster, "port", "lan7", options)
        mac = node.mac("lan7")
        answered_promptly(asker, mac, created)
        believed(cluster, mac)
    wait_until(lambda: cluster.service("n1", WEB).macs == (f"lan7={mac.hex(':')}",), PATIENCE, "the lease to tell the MAC")


def bridged(node: Namespace) -> str:
    """The node's addresses on a bridge with eth0 as its port."""
    node.ip("link add br-lan type bridge forward_delay 0")
    node.ip("link set br-lan up")
    node.ip("address flush dev eth0")
    node.ip("link set eth0 master br-lan")
    node.address("br-lan", "10.99.0.101/24", "fd99::101/64")
    return "br-lan"


def macvlan(node: Namespace) -> str:
    """A macvlan with addresses of its own, beside eth0 with the node's."""
    node.ip("link add mv0 link eth0 type macvlan mode bridge")
    node.ip("link set mv0 up")
    node.address("mv0", "10.99.0.151/24", "fd99::151/64")
    return "mv0"


def bare(node: Namespace) -> str:
    """A link without any address, not even a link-local one."""
    node.ip("link set eth0 addrgenmode none")
    node.ip("address flush dev eth0")
    return "eth0"


@pytest.mark.parametrize("build", [bridged, macvlan, bare])
def test_kinds_of_links(cluster: Cluster, node: Namespace, build: Callable[[Namespace], str]) -> None:
    """Resolved by a stock client behind a switch that snoops, with that link's MAC and no other; again after it was down."""
    name = build(node)
    cluster.segment.network.wait_ready()
    cluster.write("policy.yaml", policy(interfaces=[f"^{name}$"]))
    cluster.start("n1")
    cluster.wait_holder(WEB)
    mac = node.mac(name)
    for address in BOTH:
        resolved_to(cluster.client, address, mac)
    assert replies(cluster.client, IPV4) == [mac.hex(":")] * 3
    node.ip(f"link set {name} down")
    wait_until(lambda: cluster.service("n1", WEB).announced is False, PATIENCE, "the link to be down")
    node.ip(f"link set {name} up")
    cluster.wait_holder(WEB)
    cluster.client.ip("neigh flush dev eth0")
    for address in BOTH:
        resolved_to(cluster.client, address, mac)
    cluster.wait_status("n1", lambda status: status.responder_problems == (), "to have no problem")


def test_a_macvlan_and_its_lower_link_give_one_answer(cluster: Cluster, node: Namespace) -> None:
    """Both are on one segment; the kernel prefers the one that had its address first."""
    macvlan(node)
    cluster.write("policy.yaml", policy(interfaces=["^eth0$", "^mv0$"]))
    cluster.start("n1")
    cluster.wait_holder(WEB)
    answered_promptly(cluster.ask(*BOTH), node.mac("eth0"), 0.0)


def test_what_is_guarded_is_told_once_and_the_rest_is_announced(cluster: Cluster, node: Namespace) -> None:
    """Addresses of the node, a gateway, another node, the subnet: silent, with a reason; what ceases to be one is announced."""
    node.ip("route add 192.0.2.0/24 via 10.99.0.77")
    other = node_object("n2")
    other["status"] = {"addresses": [{"type": "InternalIP", "address": "10.99.0.88"}, {"type": "Hostname", "address": "n2"}]}
    cluster.write("nodes.yaml", node_object("n1"), other)
    cluster.write("policy.yaml", policy())
    addresses = {"10.99.0.77": "Gateway", "10.99.0.88": "NodeAddress", "10.99.0.101": "OwnAddress", "10.99.0.255": "SubnetAddress"}
    cluster.write("web.yaml", service(WEB, IPV4, *addresses))
    cluster.write("guarded.yaml", service(GUARDED, "fd99::101"))
    cluster.start("n1")
    cluster.wait_holder(WEB)
    asker = cluster.ask(IPV4, "10.99.0.77", "10.99.0.88")
    asker.wait_answer(IPV4, node.mac("eth0"))
    asker.wait_asked(50)
    assert asker.of("10.99.0.77") == asker.of("10.99.0.88") == []
    status = cluster.status("n1")
    assert status is not None
    told = {(problem.subject, problem.reason, problem.message.partition(" ")[0]) for problem in status.problems}
    expected = {(f"service/{WEB}", reason, address) for address, reason in addresses.items()}
    assert told == expected | {(f"service/{GUARDED}", "OwnAddress", "fd99::101")}
    assert {each.address: each.guarded for each in cluster.service("n1", WEB).addresses} == {IPV4: "", **addresses}
    assert (cluster.service("n1", GUARDED).reason, cluster.service("n1", GUARDED).announced) == ("Guarded", False)
    socket = str(cluster.agents["n1"].socket)
    assert "10.99.0.77 is a gateway of this node, on eth0" in " ".join(cluster.command("status", "--state-socket", socket).stdout.split())
    assert cluster.command("who", "10.99.0.77", "--state-socket", socket).stdout.rstrip().endswith("Gateway")

    node.ip("route del 192.0.2.0/24")
    asker.wait_answer("10.99.0.77", node.mac("eth0"))
    warnings = [entry["message"] for entry in cluster.log_entries("n1") if entry.get("reason") in set(addresses.values())]
    assert len(warnings) == len(set(warnings)) == 5, "each is told once, also when another one ends"
