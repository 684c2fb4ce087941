"""``l2announce move`` and ``drain`` on a real API server: short on the wire, with the rights that the page tells."""

import time
from collections.abc import Iterator
from itertools import cycle

import pytest
from netlab.agents import PROGRAM

from tests.apiserver.agents import ADDRESSES, PATIENCE, Agents, Site, build_site, inside_namespace, start_agents

pytestmark = [pytest.mark.apiserver, pytest.mark.netns]

MOVES = 12
BOUND = 0.5
"""Seconds without an answer in a move, on a busy machine."""


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
    with start_agents(site, behind_proxy=False) as made:
        yield made


def tool(site: Site, *arguments: str) -> tuple[int, str]:
    """A command as the administrator; its exit code, and all that it says."""
    kubeconfig = str(site.plane.kubeconfig(site.plane.users[0].name))
    done = site.control.run(str(PROGRAM), *arguments, "--kubeconfig", kubeconfig, check=False)
    return done.returncode, done.stdout + done.stderr


def test_moves_are_short(agents: Agents) -> None:
    site, address = agents.site, ADDRESSES["web"]
    holder = agents.right_node_answers("web", address)
    gaps = []
    for target, _ in zip(cycle(sorted(agents.agents)), range(MOVES), strict=False):
        if target == holder:
            continue
        since = time.time()
        code, said = tool(site, "move", "default/web", target)
        assert (code, said.split(" in ")[0]) == (0, f"default/web: {holder} -> {target}"), said
        agents.asker.wait_answer(address, agents.agents[target].namespace.mac("eth0"), since, PATIENCE)
        gaps.append(agents.asker.longest_gap(address, since))
        owners = agents.asker.owners(address, since)
        assert owners == [agents.agents[node].namespace.mac("eth0") for node in (holder, target)]
        holder = target
    print("longest time without an answer, each move, ms:", [round(gap * 1000) for gap in gaps])
    assert max(gaps) < BOUND, gaps


def test_a_drained_node_holds_nothing_until_undone(agents: Agents) -> None:
    site = agents.site
    node = agents.right_node_answers("web", ADDRESSES["web"])
    code, said = tool(site, "drain", node)
    assert code == 0, said
    for name, address in ADDRESSES.items():
        assert agents.right_node_answers(name, address) != node
    assert tool(site, "move", "web", node)[0] == 1
    assert tool(site, "drain", node, "--undo") == (0, f"node {node} may hold addresses again\n")
    assert tool(site, "drain", node, "--undo") == (0, f"node {node} was not drained\n")
    assert tool(site, "move", "web", node)[0] == 0
    assert agents.right_node_answers("web", ADDRESSES["web"]) == node
