"""The network parts: the holder from the API server, from the other nodes, from both; every node from the API server. As clients on both
sides see it, with and without ``--on-api-loss hold``.

Ports are taken off their bridge, so that no link goes down: nobody is told.
"""

import time
from collections.abc import Iterator

import pytest
from netlab.waiting import wait_until

from l2announce.model.timing import FENCE, HOLD_PROBE_INTERVAL, PROBE_WAIT
from tests.apiserver.agents import ADDRESSES, NEW, OUTAGE, PATIENCE, SETTINGS, Agents, Site, build_site, inside_namespace, start_agents
from tests.netns.agents_stand import Asker

pytestmark = [pytest.mark.apiserver, pytest.mark.netns]

SLACK = 1.0
"""Seconds by which a busy machine may be late."""
MEETING = HOLD_PROBE_INTERVAL * 1.1 + PROBE_WAIT
"""Seconds after which the sides of a segment that meet again have one owner."""
GAP = 0.5
"""Seconds without an answer that a hand-over may take on a busy machine; a failover takes at least twice that."""

withdraw = pytest.mark.parametrize("agents", ["withdraw"], indirect=True, scope="module")
hold = pytest.mark.parametrize("agents", ["hold"], indirect=True, scope="module")
both_families = pytest.mark.parametrize(("name", "address"), ADDRESSES.items())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The network, with a second client on a bridge of its own, to which the cut off are moved."""
    if not inside_namespace():
        pytest.skip("needs a private network namespace: make apiserver, or netns-lab/enter .venv/bin/pytest tests/apiserver")
    with build_site(tmp_path_factory.mktemp("site")) as made:
        network, switch = made.segment.network, made.segment.switch
        network.bridge(switch, "br1")
        other = network.namespace("c2")
        network.attach(switch, "br1", other)
        other.address("eth0", "10.99.0.2/24", "fd99::2/64")
        network.wait_ready()
        yield made


@pytest.fixture(scope="module")
def agents(site: Site, request: pytest.FixtureRequest) -> Iterator[Agents]:
    """Three agents, settled, that do as the parameter says when the API is lost."""
    with start_agents(site, False, "--on-api-loss", request.param) as made:
        yield made


@pytest.fixture
def beyond(site: Site) -> Iterator[Asker]:
    """A client on the side of those that are cut off."""
    other = site.segment.network["c2"]
    asker = Asker(other, [*ADDRESSES.values(), *NEW.values()])
    asker.start()
    yield asker
    asker.stop()


@pytest.fixture(autouse=True)
def whole(site: Site) -> Iterator[None]:
    """Whatever a test parted is joined again."""
    yield
    for node in site.segment.nodes:
        join_api(site, node.name)
        join_lan(site, node.name)


def cut_api(site: Site, *nodes: str) -> None:
    for node in nodes:
        site.control.ip(f"link set {node} nomaster")


def join_api(site: Site, *nodes: str) -> None:
    for node in nodes:
        site.control.ip(f"link set {node} master mgmt0")


def cut_lan(site: Site, node: str) -> None:
    site.segment.switch.ip(f"link set {node} master br1")


def join_lan(site: Site, node: str) -> None:
    site.segment.switch.ip(f"link set {node} master br0")


def mac(agents: Agents, node: str) -> bytes:
    return agents.agents[node].namespace.mac("eth0")


def other_owner(agents: Agents, address: str, holder: str, since: float) -> float:
    """Wait until another node than ``holder`` answers; when it first did."""
    theirs = mac(agents, holder)

    def look() -> list[float]:
        return [answer.at for answer in agents.asker.of(address, since) if answer.mac != theirs]

    return wait_until(look, PATIENCE, f"another than {holder} to answer for {address}")[0]


def all_well(agents: Agents) -> None:
    """Every address has its holder, who alone answers, with no agent started again."""
    for name, address in ADDRESSES.items():
        agents.right_node_answers(name, address)
    assert all(agent.is_running() for agent in agents.agents.values())


@withdraw
@both_families
def test_the_holder_without_the_api_stops_at_its_fence_and_another_takes_over(agents: Agents, site: Site, name: str, address: str) -> None:
    holder = agents.right_node_answers(name, address)
    before = time.time()
    cut_api(site, holder)
    taken = other_owner(agents, address, holder, before)
    last = agents.asker.last(address, mac(agents, holder))
    assert last - before <= FENCE * SETTINGS.lease_seconds + 0.05
    assert last < taken <= before + SETTINGS.failover_bound + SLACK
    agents.asker.wait_asked(100)
    join_api(site, holder)
    all_well(agents)
    assert agents.asker.owners(address, before)[:1] == [mac(agents, holder)]
    assert len(agents.asker.owners(address, before)) == 2, "it does not come back"


@withdraw
def test_nobody_answers_without_the_api(agents: Agents, site: Site) -> None:
    before = time.time()
    cut_api(site, *agents.agents)
    agents.nobody_answers()
    for address in ADDRESSES.values():
        assert agents.asker.of(address)[-1].at - before <= FENCE * SETTINGS.lease_seconds + 0.05
    join_api(site, *agents.agents)
    all_well(agents)


@withdraw
def test_a_short_loss_of_the_api_is_not_noticed(agents: Agents, site: Site) -> None:
    holders = {name: agents.right_node_answers(name, address) for name, address in ADDRESSES.items()}
    before = time.time()
    cut_api(site, *agents.agents)
    agents.asker.wait_asked(20)
    join_api(site, *agents.agents)
    agents.asker.wait_asked(300)
    for name, address in ADDRESSES.items():
        assert agents.asker.owners(address, before) == [mac(agents, holders[name])]
        assert agents.asker.longest_gap(address, before) < GAP


@withdraw
@both_families
def test_who_is_cut_off_from_the_others_alone_keeps_the_lease(agents: Agents, site: Site, beyond: Asker, name: str, address: str) -> None:
    """Nothing in the cluster tells that clients cannot reach it: its link has carrier, its node is healthy."""
    holder = agents.right_node_answers(name, address)
    cut_lan(site, holder)
    beyond.wait_answer(address, mac(agents, holder))
    parted = time.time()
    agents.asker.wait_asked(round(OUTAGE * 100))
    assert agents.asker.of(address, parted) == []
    assert site.holder(name) == holder
    join_lan(site, holder)
    assert agents.right_node_answers(name, address) == holder


@withdraw
@both_families
def test_cut_off_from_everything_it_falls_silent(agents: Agents, site: Site, beyond: Asker, name: str, address: str) -> None:
    holder = agents.right_node_answers(name, address)
    before = time.time()
    cut_lan(site, holder)
    cut_api(site, holder)
    parted = time.time()
    taken = other_owner(agents, address, holder, before)
    assert taken <= parted + SETTINGS.failover_bound + SLACK
    assert beyond.last(address, mac(agents, holder)) < taken
    join_lan(site, holder)
    agents.asker.wait_asked(100)
    assert mac(agents, holder) not in agents.asker.owners(address, taken)
    join_api(site, holder)
    all_well(agents)


@hold
def test_without_the_api_all_go_on(agents: Agents, site: Site) -> None:
    holders = {name: agents.right_node_answers(name, address) for name, address in ADDRESSES.items()}
    before = time.time()
    cut_api(site, *agents.agents)
    agents.asker.wait_asked(round(4 * SETTINGS.lease_seconds * 100))
    for name, address in ADDRESSES.items():
        assert agents.asker.owners(address, before) == [mac(agents, holders[name])]
        assert agents.asker.longest_gap(address, before) < GAP
    join_api(site, *agents.agents)
    all_well(agents)
    for address in ADDRESSES.values():
        assert agents.asker.longest_gap(address, before) < GAP


@hold
@both_families
def test_the_holder_without_the_api_goes_on_until_another_announces(agents: Agents, site: Site, name: str, address: str) -> None:
    holder = agents.right_node_answers(name, address)
    before = time.time()
    cut_api(site, holder)
    taken = other_owner(agents, address, holder, before)
    agents.asker.wait_asked(200)
    assert agents.asker.last(address, mac(agents, holder)) - taken < 0.05
    assert agents.asker.longest_gap(address, before) < GAP
    join_api(site, holder)
    all_well(agents)
    assert mac(agents, holder) not in agents.asker.owners(address, taken + 0.05)


@hold
@both_families
def test_each_side_has_an_owner_until_they_meet(agents: Agents, site: Site, beyond: Asker, name: str, address: str) -> None:
    holder = agents.right_node_answers(name, address)
    before = time.time()
    cut_lan(site, holder)
    cut_api(site, holder)
    other_owner(agents, address, holder, before)
    since = time.time()
    beyond.wait_asked(round(OUTAGE * 100))
    assert beyond.owners(address, since) == [mac(agents, holder)]
    assert beyond.longest_gap(address, since) < GAP
    assert mac(agents, holder) not in agents.asker.owners(address, since)
    heir = site.holder(name)
    assert heir != holder
    join_lan(site, holder)
    agents.asker.wait_asked(round((MEETING + SLACK) * 100))
    met = time.time()
    agents.asker.wait_asked(200)
    assert agents.asker.owners(address, met) == [mac(agents, heir)]
    join_api(site, holder)
    all_well(agents)
    assert mac(agents, holder) not in agents.asker.owners(address, met)
