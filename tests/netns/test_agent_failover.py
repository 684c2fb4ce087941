"""Whole agents on a real kernel: election, answers, and every way in which a holder can fail, each against its bound."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from netlab.agents import children
from netlab.segment import Segment
from netlab.waiting import wait_until

from tests.netns.agents_stand import ADDRESSES, API, FENCE_SECONDS, PATIENCE, SETTINGS, SHOP, SLACK, WEB, Cluster
from tests.netns.stand import resolved_to

pytestmark = pytest.mark.netns

IPV4, IPV6 = "10.99.0.10", "fd99::10"


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes, the usual objects, no agent yet."""
    made = Cluster(segment, tmp_path)
    made.write_usual("n1", "n2", "n3")
    yield made
    made.close()


def test_every_address_has_one_owner_whom_stock_clients_believe(cluster: Cluster) -> None:
    cluster.start("n1", "n2", "n3")
    holders = cluster.settled(WEB, API, SHOP)
    asker = cluster.ask(*(address for addresses in ADDRESSES.values() for address in addresses))
    for key, addresses in ADDRESSES.items():
        mac = cluster.mac(holders[key])
        for address in addresses:
            resolved_to(cluster.client, address, mac)
            asker.wait_answer(address, mac)
            if ":" not in address:
                assert mac.hex(":") in cluster.client.run("arping", "-c1", "-w3", "-I", "eth0", address).stdout.lower()
    asker.wait_asked(50)
    for key, addresses in ADDRESSES.items():
        for address in addresses:
            assert asker.owners(address) == [cluster.mac(holders[key])]


def test_a_planned_stop_is_silent_then_released_then_taken_over(cluster: Cluster) -> None:
    cluster.start("n1", "n2")
    first = cluster.wait_holder(WEB)
    asker = cluster.ask(IPV4)
    asker.wait_answer(IPV4, cluster.mac(first))
    before = time.time()
    cluster.agents[first].terminate()
    assert cluster.agents[first].wait_stopped(1.0 + SLACK) == 0
    heir = cluster.wait_holder(WEB, other_than=first)
    taken = asker.wait_answer(IPV4, cluster.mac(heir), since=before)
    assert taken - before < 1.0 + SLACK
    assert asker.owners(IPV4) == [cluster.mac(first), cluster.mac(heir)]
    assert cluster.leases()[WEB].lease_transitions == 1

    # The last one has no heir: what it leaves behind is seen as it left it.
    before = time.monotonic()
    cluster.agents[heir].terminate()
    assert cluster.agents[heir].wait_stopped(1.0 + SLACK) == 0
    assert time.monotonic() - before < 1.0 + SLACK
    asker.wait_asked(30)
    lease = cluster.leases()[WEB]
    assert lease.holder_identity == ""
    released_at = datetime.fromisoformat(lease.renew_time).timestamp()
    assert asker.last(IPV4, cluster.mac(heir)) < released_at + 0.001  # the lease tells whole microseconds
    assert not cluster.agents[heir].socket.exists()
    assert not cluster.agents[heir].socket.with_suffix(".responder.sock").exists()


def test_a_crash_is_over_within_the_bound(cluster: Cluster) -> None:
    cluster.start("n1", "n2", "n3")
    holders = cluster.settled(WEB, API)
    asker = cluster.ask(IPV4, IPV6)
    for key, address in ((WEB, IPV4), (API, IPV6)):
        asker.wait_answer(address, cluster.mac(holders[key]))
    first = holders[WEB]
    killed = time.time()
    cluster.agents[first].crash()
    for key, address in ((WEB, IPV4), (API, IPV6)):
        mac = cluster.mac(holders[key])
        if holders[key] != first:
            assert asker.owners(address) == [mac]
            continue
        heir = cluster.wait_holder(key, other_than=first)
        taken = asker.wait_answer(address, cluster.mac(heir), since=killed)
        assert asker.longest_gap(address, killed) <= SETTINGS.failover_bound + SLACK
        assert taken - killed > SETTINGS.lease_seconds - 1.0 - SLACK, "not before the dead one's lease was over"
        assert asker.owners(address) == [mac, cluster.mac(heir)]


def test_a_frozen_control_process_loses_its_address_by_the_fence(cluster: Cluster) -> None:
    cluster.start("n1", "n2")
    first = cluster.wait_holder(WEB)
    asker = cluster.ask(IPV4)
    mac = cluster.mac(first)
    asker.wait_answer(IPV4, mac)
    frozen = time.time()
    cluster.agents[first].freeze()
    asking = cluster.begin("status", "--state-socket", str(cluster.agents[first].socket))
    heir = cluster.wait_holder(WEB, other_than=first)
    taken = asker.wait_answer(IPV4, cluster.mac(heir), since=frozen)
    assert asker.last(IPV4, mac) <= frozen + FENCE_SECONDS + SLACK
    assert asker.last(IPV4, mac) < taken
    assert children(cluster.agents[first].pid), "the responder lives, and is silent nevertheless"
    assert asking.wait(PATIENCE) == 2
    assert asking.stderr is not None
    with asking.stderr:
        assert "does not answer within 5 s; it may be frozen" in asking.stderr.read()

    cluster.agents[first].thaw()
    cluster.wait_status(first, lambda status: status.ready and status.gate_open, "to be back")
    cluster.wait_status(
        first,
        lambda status: any(each.service == WEB and each.reason == f"HeldBy={heir}" for each in status.services),
        "to know the new holder",
    )
    asker.wait_asked(50)
    assert asker.owners(IPV4) == [mac, cluster.mac(heir)]
    assert cluster.holder(WEB) == heir


def test_a_control_process_that_is_killed_and_restarted_is_not_noticed(cluster: Cluster) -> None:
    cluster.start("n1", "n2")
    holders = cluster.settled(WEB, API)
    first = holders[WEB]
    held = [key for key, node in holders.items() if node == first]
    addresses = [ADDRESSES[key][0] for key in held]
    asker = cluster.ask(*addresses)
    for address in addresses:
        asker.wait_answer(address, cluster.mac(first))
    (responder,) = children(cluster.agents[first].pid)
    killed = time.time()
    os.kill(cluster.agents[first].pid, signal.SIGKILL)
    assert cluster.agents[first].wait_stopped(PATIENCE) == -signal.SIGKILL
    asker.wait_asked(20)
    cluster.agents[first].start()
    cluster.wait_status(first, lambda status: all(_announced(status, key) for key in held), "to have resumed its leases")
    for address in addresses:
        asker.wait_answer(address, cluster.mac(first), since=time.time())
        assert asker.longest_gap(address, killed) < 0.5 + SLACK / 2
        assert asker.owners(address) == [cluster.mac(first)]
    assert {key: cluster.holder(key) for key in held} == dict.fromkeys(held, first)
    assert {cluster.leases()[key].lease_transitions for key in held} == {0}
    assert Path(f"/proc/{responder}").exists(), "the old responder serves the new control process"
    assert children(cluster.agents[first].pid) == []

    # The adopted responder goes with its second control process too.
    cluster.agents[first].terminate()
    assert cluster.agents[first].wait_stopped(1.0 + SLACK) == 0
    wait_until(lambda: not _is_alive(responder), PATIENCE, "the responder to end")


def _announced(status: object, key: str) -> bool:
    return any(each.service == key and each.announced for each in getattr(status, "services", ()))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("adopted", [False, True], ids=["its own", "adopted"])
def test_a_lost_responder_ends_the_agent_with_one_clear_line_and_its_leases(cluster: Cluster, adopted: bool) -> None:
    cluster.start("n1", "n2")
    first = cluster.wait_holder(WEB)
    asker = cluster.ask(IPV4)
    asker.wait_answer(IPV4, cluster.mac(first))
    (responder,) = children(cluster.agents[first].pid)
    if adopted:
        os.kill(cluster.agents[first].pid, signal.SIGKILL)
        cluster.agents[first].wait_stopped(PATIENCE)
        cluster.agents[first].start()
        cluster.wait_status(first, lambda status: _announced(status, WEB), "to have resumed its lease")
    killed = time.time()
    os.kill(responder, signal.SIGKILL)
    assert cluster.agents[first].wait_stopped(1.0 + SLACK) == 1
    heir = cluster.wait_holder(WEB, other_than=first)
    taken = asker.wait_answer(IPV4, cluster.mac(heir), since=killed)
    assert taken - killed < 1.0 + SLACK, "released, not run out"
    assert first not in {lease.holder_identity for lease in cluster.leases().values()}
    errors = [entry for entry in cluster.log_entries(first) if entry["level"] == "error"]
    assert [entry["message"] for entry in errors] == ["responder lost"]
    assert errors[0]["dead"] is True
    assert "traceback" not in cluster.log(first).lower()


def test_an_address_follows_the_carrier(cluster: Cluster) -> None:
    cluster.start("n1", "n2")
    first = cluster.wait_holder(WEB)
    asker = cluster.ask(IPV4)
    asker.wait_answer(IPV4, cluster.mac(first))
    pulled = time.time()
    cluster.segment.switch.ip(f"link set {first} down")
    heir = cluster.wait_holder(WEB, other_than=first)
    taken = asker.wait_answer(IPV4, cluster.mac(heir), since=pulled)
    assert taken - pulled < SETTINGS.failover_bound, "released, not run out"
    status = cluster.service(first, WEB)
    assert (status.announced, status.reason) == (False, "NoCarrier")
    cluster.segment.switch.ip(f"link set {first} up")
    cluster.wait_status(
        first, lambda status: any(link.name == "eth0" and link.carrier for link in status.links), "to see the carrier again"
    )
    asker.wait_asked(50)
    assert asker.owners(IPV4) == [cluster.mac(first), cluster.mac(heir)], "it does not come back by itself"
