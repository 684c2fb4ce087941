"""Faults of a real API server, and whole agents: after each the right node answers on the wire, nothing leaks, nothing was restarted.

The same three agents live through all faults of a kind, so that what would leak adds up.
"""

import signal
from collections.abc import Iterator

import pytest
import trustme
from netlab.agents import PROGRAM
from netlab.api_proxy import Fault, pass_all
from netlab.waiting import wait_until

from l2announce.cli.ask import ask_agent, ask_why
from tests.apiserver.agents import PATIENCE, Agents, Site, build_site, inside_namespace, refusing, replaced, start_agents
from tests.apiserver.rig import AGENTS

pytestmark = [pytest.mark.apiserver, pytest.mark.netns]

straight = pytest.mark.parametrize("agents", ["straight"], indirect=True, scope="module")
behind_proxy = pytest.mark.parametrize("agents", ["behind a proxy"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The network and the control plane of all tests in here."""
    if not inside_namespace():
        pytest.skip("needs a private network namespace: make apiserver, or netns-lab/enter .venv/bin/pytest tests/apiserver")
    with build_site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def agents(site: Site, request: pytest.FixtureRequest) -> Iterator[Agents]:
    """Three agents, settled."""
    with start_agents(site, behind_proxy=request.param == "behind a proxy") as made:
        yield made


def test_agent_without_any_cluster_ends_with_one_line(site: Site) -> None:
    """In a pod to which no service account is mounted."""
    variables = ("KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443")
    flags = ("--node-name", "n1", "--state-socket", str(site.directory / "none.sock"))
    ended = site.segment.nodes[0].run("env", *variables, str(PROGRAM), "agent", *flags, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("l2announce: not in a pod with a service account (Service token file does not exist: ")
    assert ended.stderr.count("\n") == 1
    assert "name a cluster by --kubeconfig FILE" in ended.stderr


# -- what is done to the API server itself


@straight
def test_killed_and_started_again(agents: Agents) -> None:
    plane = agents.site.plane
    with agents.surviving():
        plane.kill("kube-apiserver")
        agents.nobody_answers()
        plane.start_api_server()
        plane.wait_ready()


@straight
def test_frozen(agents: Agents) -> None:
    plane = agents.site.plane
    with agents.surviving():
        plane.signal("kube-apiserver", signal.SIGSTOP)
        try:
            agents.nobody_answers()
        finally:
            plane.signal("kube-apiserver", signal.SIGCONT)


@straight
def test_etcd_compacted_while_nobody_watched(agents: Agents) -> None:
    """Objects change unseen: the API server is killed, and the versions that the agents know are forgotten when it is back."""
    plane = agents.site.plane
    with agents.surviving():
        plane.kill("kube-apiserver")
        agents.nobody_answers()
        with agents.site.control.entered():
            plane.compact_etcd()
        plane.start_api_server()
        plane.wait_ready()


@straight
def test_serving_certificate_of_another_authority(agents: Agents) -> None:
    plane = agents.site.plane
    with agents.surviving():
        plane.authority = trustme.CA()
        plane.issue_certificates()
        plane.kill("kube-apiserver")
        plane.start_api_server()
        plane.wait_ready()


@straight
def test_etcd_lost(agents: Agents) -> None:
    """Nothing is left: no object, no lease, and the versions begin anew."""
    plane = agents.site.plane
    with agents.surviving():
        plane.lose_etcd()
        agents.nobody_answers()
        plane.start_etcd()
        plane.start_api_server()
        plane.wait_ready()
        agents.site.populate()


# -- what it answers, by a proxy before it


@behind_proxy
def test_answers_that_take_two_seconds(agents: Agents) -> None:
    """Longer than the renew deadline: writes come through when the agents have given them up. See test_api_faults for shorter ones."""
    with agents.surviving():
        agents.storm(lambda _: Fault(delay=2.0))


@behind_proxy
@pytest.mark.parametrize("status", [429, 503])
def test_storm_of_refusals(agents: Agents, status: int) -> None:
    with agents.surviving():
        agents.storm(refusing(status))


@behind_proxy
def test_an_agent_that_does_not_reach_the_api_says_so(agents: Agents) -> None:
    """Each of itself, in explain and in status, once it does not answer any more; and no longer when all is well again."""

    def words() -> set[str]:
        told = [ask_why(agent.socket, "default/web") for agent in agents.agents.values()]
        return {node.reason.partition("=")[0] for each in told for node in each.nodes if node.seen}

    def nobody_named() -> bool:
        told = [each for agent in agents.agents.values() for each in ask_agent(agent.socket).services]
        return {(each.holder, each.reason) for each in told} == {(None, "ApiUnreachable")}

    with agents.surviving():
        agents.judge(refusing(503))
        wait_until(nobody_named, PATIENCE, "every agent to say that it does not reach the API server, and to name nobody who is silent")
        assert words() == {"ApiUnreachable"}
        for agent in agents.agents.values():
            problems = ask_agent(agent.socket).problems
            assert ["HTTP 503" in each.message for each in problems if each.reason == "ApiUnreachable"] == [True]
        agents.judge(pass_all)
    wait_until(lambda: words() == {"Announces", "HeldBy"}, PATIENCE, "every agent to know the holder")
    assert all(each.reason != "ApiUnreachable" for agent in agents.agents.values() for each in ask_agent(agent.socket).problems)


@behind_proxy
def test_storm_of_conflicts(agents: Agents) -> None:
    with agents.surviving():
        agents.storm(refusing(409, "PUT", "POST"))


@behind_proxy
def test_watches_cut_in_the_middle_of_an_object(agents: Agents) -> None:
    """Every watch, leases too, breaks off within the next object it tells, for as long as a lease lasts."""
    with agents.surviving():
        agents.storm(lambda seen: Fault(cut_within=b'"metadata"') if seen.is_watch else None)


@behind_proxy
def test_token_expires_and_is_renewed_in_the_file(agents: Agents) -> None:
    expired = {f"Bearer {agent.token}" for agent in AGENTS}
    proxy, root = agents.proxy, agents.site.plane.users[0]
    assert proxy is not None
    with agents.surviving():
        agents.judge(lambda seen: Fault(status=401) if seen.headers.get("Authorization") in expired else None)
        agents.nobody_answers()
        for agent in AGENTS:
            replaced(proxy.kubeconfigs[agent.name], agent.token, root.token)
    proxy.judge_running(pass_all)
