"""Whole agents with ``--lease-mode node`` on a real API server: what they write, a crash, the loss of the API and of a heartbeat."""

import json
import time
from collections.abc import Iterator

import pytest
from netlab.waiting import wait_until

from l2announce.model.lease import HEARTBEAT_PREFIX, LEASE_MODE_ANNOTATION, NODE_MODE, STATUS_LEASE
from tests.apiserver.agents import ADDRESSES, PATIENCE, SETTINGS, Agents, Site, build_site, inside_namespace, start_agents
from tests.apiserver.rig import AGENTS

pytestmark = [pytest.mark.apiserver, pytest.mark.netns]

SLACK = 1.0
"""Seconds by which a busy machine may be late."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The network and the control plane of all tests in here."""
    if not inside_namespace():
        pytest.skip("needs a private network namespace: make apiserver, or netns-lab/enter .venv/bin/pytest tests/apiserver")
    with build_site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def agents(site: Site) -> Iterator[Agents]:
    """Three agents, settled."""
    with start_agents(site, False, "--lease-mode", "node") as made:
        yield made


def leases(site: Site) -> dict[str, dict[str, dict[str, str]]]:
    """Every Lease by name."""
    listed = json.loads(site.plane.kubectl("--namespace", "kube-system", "get", "leases", "--output", "json").stdout)
    return {item["metadata"]["name"]: item for item in listed["items"]}


def versions(site: Site) -> dict[str, str]:
    return {name: lease["metadata"]["resourceVersion"] for name, lease in leases(site).items() if "l2announce" in name}


def test_only_heartbeats_are_renewed(agents: Agents, site: Site) -> None:
    for name, address in ADDRESSES.items():
        agents.right_node_answers(name, address)
    since, before = time.time(), versions(site)
    wait_until(lambda: time.time() - since > 2 * SETTINGS.lease_seconds, PATIENCE, "the leases to run out if nobody kept them")
    after = versions(site)
    assert after.keys() == before.keys()
    heartbeats = {HEARTBEAT_PREFIX + user.name for user in AGENTS}
    assert {name for name in after if after[name] != before[name]} == {STATUS_LEASE, *heartbeats}
    for name, address in ADDRESSES.items():
        lease = leases(site)[f"cilium-l2announce-default.{name}"]
        holder = lease["spec"]["holderIdentity"]
        assert agents.asker.owners(address, since) == [agents.agents[holder].namespace.mac("eth0")]
        assert lease["metadata"]["annotations"][LEASE_MODE_ANNOTATION] == NODE_MODE  # type: ignore[index]


def test_the_api_server_is_lost_and_found(agents: Agents, site: Site) -> None:
    with agents.surviving():
        site.plane.kill("kube-apiserver")
        agents.nobody_answers()
        site.plane.start_api_server()
        site.plane.wait_ready()


def test_the_heartbeat_of_a_holder_is_deleted(agents: Agents, site: Site) -> None:
    with agents.surviving():
        holder = agents.right_node_answers("web", ADDRESSES["web"])
        site.plane.kubectl("--namespace", "kube-system", "delete", "lease", HEARTBEAT_PREFIX + holder)
        wait_until(lambda: HEARTBEAT_PREFIX + holder in versions(site), PATIENCE, "it to be written again")


def test_a_crash_is_over_within_the_bound(agents: Agents, site: Site) -> None:
    name, address = next(iter(ADDRESSES.items()))
    holder = agents.right_node_answers(name, address)
    before = time.time()
    agents.agents[holder].crash()
    theirs = agents.agents[holder].namespace.mac("eth0")

    def taken() -> list[float]:
        return [answer.at for answer in agents.asker.of(address, before) if answer.mac != theirs]

    assert wait_until(taken, PATIENCE, "another to answer")[0] - before < SETTINGS.failover_bound + SLACK
    heir = agents.right_node_answers(name, address)
    assert heir != holder
    assert agents.asker.owners(address, before) in (
        [agents.agents[heir].namespace.mac("eth0")],
        [theirs, agents.agents[heir].namespace.mac("eth0")],
    )
    agents.agents[holder].start()
    wait_until(lambda: leases(site)[HEARTBEAT_PREFIX + holder]["spec"]["holderIdentity"] == holder, PATIENCE, "it to be back")
