"""Whole agents follow their users: policies, Services, Nodes and files that change while everything runs."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab.segment import Segment
from netlab.waiting import wait_until

from tests.netns.agents_stand import ADDRESSES, PATIENCE, SHOP, SLACK, WEB, Cluster, node_object, policy, service
from tests.netns.stand import resolved_to

pytestmark = pytest.mark.netns

IPV4 = "10.99.0.10"
OTHER = "default/other"


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """Nodes and no policy; one Service."""
    made = Cluster(segment, tmp_path)
    made.write("nodes.yaml", *(node_object(name) for name in ("n1", "n2", "n3")))
    made.write("web.yaml", service(WEB, IPV4))
    yield made
    made.close()


def reason(cluster: Cluster, node: str, key: str, expected: str) -> None:
    """Wait until a node gives this reason for not announcing a Service."""
    cluster.wait_status(
        node,
        lambda status: any((each.service, each.announced, each.reason) == (key, False, expected) for each in status.services),
        f"to say {expected} of {key}",
    )


def test_a_policy_comes_chooses_nodes_and_goes(cluster: Cluster) -> None:
    cluster.start("n1", "n2")
    reason(cluster, "n1", WEB, "NoPolicy")
    assert cluster.leases() == {}
    asker = cluster.ask(IPV4)

    cluster.write("policy.yaml", policy(nodeSelector={"matchLabels": {"edge": "yes"}}))
    reason(cluster, "n1", WEB, "NodeSelector")
    cluster.write("nodes.yaml", node_object("n1"), node_object("n2", edge="yes"))
    assert cluster.wait_holder(WEB) == "n2"
    asker.wait_answer(IPV4, cluster.mac("n2"))
    cluster.write("nodes.yaml", node_object("n1", edge="yes"), node_object("n2"))
    assert cluster.wait_holder(WEB, other_than="n2") == "n1"
    asker.wait_answer(IPV4, cluster.mac("n1"))
    assert asker.owners(IPV4) == [cluster.mac("n2"), cluster.mac("n1")]

    (cluster.manifests / "policy.yaml").unlink()
    reason(cluster, "n1", WEB, "NoPolicy")
    wait_until(lambda: cluster.leases()[WEB].holder_identity == "", PATIENCE, "the lease to be released")
    silent_since = asker.last(IPV4, cluster.mac("n1"))
    asker.wait_asked(50)
    assert asker.last(IPV4, cluster.mac("n1")) == silent_since


def test_a_service_changes_its_address_and_goes(cluster: Cluster) -> None:
    cluster.write("policy.yaml", policy())
    cluster.start("n1")
    cluster.wait_holder(WEB)
    mac = cluster.mac("n1")
    resolved_to(cluster.client, IPV4, mac)
    transitions = cluster.leases()[WEB].lease_transitions
    asker = cluster.ask(IPV4, "10.99.0.11", "fd99::11")
    asker.wait_answer(IPV4, mac)

    cluster.write("web.yaml", service(WEB, "10.99.0.11", "fd99::11"))
    asker.wait_answer("10.99.0.11", mac)
    asker.wait_answer("fd99::11", mac)
    wait_until(lambda: [each.address for each in cluster.service("n1", WEB).addresses] == ["10.99.0.11", "fd99::11"], PATIENCE, "both")
    old = asker.last(IPV4, mac)
    asker.wait_asked(50)
    assert asker.last(IPV4, mac) == old, "the old address is silent"
    assert (cluster.holder(WEB), cluster.leases()[WEB].lease_transitions) == ("n1", transitions), "the lease did not move"

    (cluster.manifests / "web.yaml").unlink()
    wait_until(lambda: cluster.holder(WEB) == "", PATIENCE, "the lease to be released")
    cluster.wait_status("n1", lambda status: not status.services, "to forget the Service")
    new = asker.last("10.99.0.11", mac)
    asker.wait_asked(50)
    assert asker.last("10.99.0.11", mac) == new


def test_a_broken_file_harms_nothing_and_is_named(cluster: Cluster) -> None:
    cluster.write("policy.yaml", policy())
    cluster.start("n1")
    cluster.wait_holder(WEB)
    mac = cluster.mac("n1")
    asker = cluster.ask(IPV4, "10.99.0.30")
    asker.wait_answer(IPV4, mac)
    (cluster.manifests / "web.yaml").write_text("apiVersion: v1\nkind: {Service\n")
    found = cluster.wait_status("n1", lambda status: status.problems, "to report the broken file")
    assert [(Path(each.subject.split(":")[0]).name, each.reason) for each in found.problems] == [("web.yaml", "BrokenFile")]
    cluster.write("other.yaml", service(OTHER, "10.99.0.30"))
    cluster.wait_holder(OTHER)
    since = asker.wait_answer("10.99.0.30", mac)
    asker.wait_asked(20)
    asker.wait_answer(IPV4, mac, since=since)
    shown = cluster.command("status", "--state-socket", str(cluster.agents["n1"].socket)).stdout
    assert "BrokenFile" in shown
    assert "web.yaml" in shown
    cluster.write("web.yaml", service(WEB, IPV4))
    cluster.wait_status("n1", lambda status: not status.problems, "to see it mended")
    assert asker.owners(IPV4) == [mac]


def test_two_policies_on_two_devices(cluster: Cluster) -> None:
    """Each Service is announced on the device that its policy names, with that device's MAC, and on no other."""
    node, client = cluster.segment.nodes[0], cluster.client
    cluster.segment.network.veth(client, "second", node, "eth1")
    client.address("second", "10.98.0.1/24")
    cluster.segment.network.wait_ready()
    cluster.write(
        "policy.yaml",
        policy("first", serviceSelector={"matchLabels": {"io.kubernetes.service.name": "web"}}),
        policy("second", interfaces=["^eth1$"], serviceSelector={"matchLabels": {"io.kubernetes.service.name": "other"}}),
    )
    cluster.write("other.yaml", service(OTHER, "10.98.0.10"))
    cluster.start("n1")
    cluster.settled(WEB, OTHER)
    resolved_to(client, IPV4, node.mac("eth0"))
    resolved_to(client, "10.98.0.10", node.mac("eth1"))
    command = ("arping", "-c1", "-w1", "-I", "second", "-s", "10.98.0.1", IPV4)
    assert client.run(*command, check=False).returncode == 1
    assert [each.interfaces for each in cluster.service("n1", OTHER).addresses] == [("eth1",)]
    assert cluster.service("n1", OTHER).macs == (f"eth1={node.mac('eth1').hex(':')}",)


def test_services_that_share_an_address_have_one_holder(cluster: Cluster) -> None:
    """Also when they come to share it while each has its own holder already."""
    shared = ADDRESSES[SHOP][0]
    cluster.write("policy.yaml", policy())
    cluster.write("web.yaml", service(WEB, shared, IPV4))
    cluster.write("shop.yaml", service(SHOP, shared, "fd99::20", ports=[{"port": 443}]))
    cluster.start("n1", "n2", "n3")
    holder = cluster.wait_holder(SHOP)
    wait_until(lambda: cluster.holder(WEB) == holder, PATIENCE, "the lease of the other Service to follow")
    asker = cluster.ask(shared, IPV4, "fd99::20")
    for address in (shared, IPV4, "fd99::20"):
        asker.wait_answer(address, cluster.mac(holder))
    assert cluster.service(holder, WEB).shares_with == (SHOP,)
    assert cluster.service(holder, WEB).lease == cluster.service(holder, SHOP).lease

    since = time.time()
    cluster.write("web.yaml", service(WEB, IPV4))
    wait_until(lambda: not cluster.service(holder, WEB).shares_with, PATIENCE, "the group to part")
    asker.wait_asked(50)
    assert (cluster.holder(SHOP), cluster.holder(WEB)) == (holder, holder)
    cluster.write("web.yaml", service(WEB, shared, IPV4))
    wait_until(lambda: cluster.service(holder, WEB).shares_with == (SHOP,), PATIENCE, "the group to be joined")
    asker.wait_asked(50)
    assert (cluster.holder(SHOP), cluster.holder(WEB)) == (holder, holder)
    for address in (shared, IPV4, "fd99::20"):
        assert asker.owners(address, since) == [cluster.mac(holder)]
        assert asker.longest_gap(address, since) < SLACK, "it goes on without a gap"


def test_services_of_two_holders_come_to_share_an_address(cluster: Cluster) -> None:
    """The one whose lease decides goes on, the other lets go; nobody who lost an address answers for it again."""
    shared = ADDRESSES[SHOP][0]
    cluster.write("policy.yaml", policy())
    cluster.start("n1", "n2")
    cluster.write("shop.yaml", service(SHOP, shared))
    first = cluster.wait_holder(SHOP)
    second = "n2" if first == "n1" else "n1"
    cluster.agents[first].freeze()
    cluster.write("web.yaml", service(WEB, IPV4))
    assert cluster.wait_holder(WEB) == second
    cluster.agents[first].thaw()
    joined_at = time.time()
    asker = cluster.ask(shared, IPV4)
    cluster.write("web.yaml", service(WEB, shared, IPV4))

    def has_one_holder() -> bool:
        return bool(cluster.holder(SHOP)) and cluster.holder(SHOP) == cluster.holder(WEB)

    wait_until(has_one_holder, PATIENCE, "the leases to have one holder")
    holder = cluster.holder(SHOP)
    asker.wait_answer(IPV4, cluster.mac(holder))
    asker.wait_asked(50)
    for address in (shared, IPV4):
        owners = asker.owners(address, joined_at)
        assert owners[-1] == cluster.mac(holder)
        assert len(owners) == len(set(owners)), "it may move once, and nobody who lost it answers again"
