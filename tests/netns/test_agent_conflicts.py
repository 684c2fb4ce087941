"""Strangers who claim a Service's address, under whole agents: what operators are told, and that nothing sticks."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from netlab.segment import Segment
from netlab.waiting import wait_until

from l2announce.wire.arp import arp_announcements
from tests.netns.agents_stand import ADDRESSES, PATIENCE, WEB, Cluster, node_object, policy, service
from tests.netns.stand import Taps

pytestmark = pytest.mark.netns

VIP = ADDRESSES[WEB][0]
STRANGER = bytes.fromhex("02deadbeef01")


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """Two nodes whose agents are not started yet, one Service."""
    made = Cluster(segment, tmp_path)
    made.write("nodes.yaml", node_object("n1"), node_object("n2"))
    made.write("policy.yaml", policy())
    made.write("web.yaml", service(WEB, VIP))
    yield made
    made.close()


def output(cluster: Cluster, command: str, node: str, *more: str) -> str:
    """What ``l2announce COMMAND`` prints about a node, in one line."""
    return " ".join(cluster.command(command, *more, "--state-socket", str(cluster.agents[node].socket), check=False).stdout.split())


def wait_status(cluster: Cluster, node: str, words: str) -> None:
    """Wait until status says so."""
    wait_until(lambda: words in output(cluster, "status", node), PATIENCE, words)


def told(cluster: Cluster, node: str) -> list[str]:
    """The MACs of the strangers of whom the log warned."""
    return [entry["mac"] for entry in cluster.log_entries(node) if entry["level"] == "warning" and entry.get("address") == VIP]


def test_a_stranger_who_announces_is_named_once_and_the_owner_stays(cluster: Cluster, tap: Taps) -> None:
    cluster.start("n1", "n2")
    holder = cluster.wait_holder(WEB)
    other = "n2" if holder == "n1" else "n1"
    asker = cluster.ask(VIP)
    asker.wait_answer(VIP, cluster.mac(holder))
    ear = tap(cluster.client)
    for times in ("once", "2 times", "3 times"):
        ear.send(arp_announcements(STRANGER, IPv4Address(VIP))[0])
        wait_status(cluster, holder, f"{VIP}: CONFLICT with {STRANGER.hex(':')} on eth0, {times}")
    assert f"CONFLICT with {STRANGER.hex(':')}" in output(cluster, "who", holder, VIP)
    assert told(cluster, holder) == [STRANGER.hex(":")]
    assert cluster.holder(WEB) == holder
    assert asker.owners(VIP) == [cluster.mac(holder)]
    assert "CONFLICT" not in output(cluster, "status", other)


def test_a_move_between_nodes_is_no_conflict(cluster: Cluster) -> None:
    cluster.start("n1", "n2")
    holder = cluster.wait_holder(WEB)
    cluster.agents[holder].freeze()
    heir = cluster.wait_holder(WEB, other_than=holder)
    cluster.agents[holder].thaw()
    cluster.wait_status(holder, lambda status: status.ready and status.gate_open, "to be back")
    cluster.agents[heir].terminate()
    assert cluster.wait_holder(WEB, other_than=heir) == holder
    assert told(cluster, holder) == told(cluster, heir) == []
    assert "CONFLICT" not in output(cluster, "status", holder)


def test_an_address_that_a_host_has_is_held_back_until_it_is_free(cluster: Cluster) -> None:
    cluster.client.ip(f"address add {VIP}/32 dev eth0")
    asker = cluster.ask(VIP)
    cluster.start("n1", "n2")

    def holder() -> str:
        name = cluster.holder(WEB)
        return name if name and "CONFLICT" in output(cluster, "status", name) else ""

    held = wait_until(holder, PATIENCE, "the conflict to be told")
    stranger = cluster.client.mac("eth0").hex(":")
    assert f"{VIP}: CONFLICT with {stranger} on eth0" in output(cluster, "status", held)
    who = cluster.command("who", VIP, "--state-socket", str(cluster.agents[held].socket), check=False)
    assert who.returncode == 1
    assert "not announced there while it answers" in who.stdout
    asker.wait_asked(50)
    assert cluster.mac(held) not in asker.owners(VIP)
    cluster.client.ip(f"address del {VIP}/32 dev eth0")
    asker.wait_answer(VIP, cluster.mac(held))
    assert cluster.command("who", VIP, "--state-socket", str(cluster.agents[held].socket)).returncode == 0
