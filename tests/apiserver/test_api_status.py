"""What agents write besides leases: the status of policies and Events on Services, by whom and how often."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from netlab.waiting import wait_until

from l2announce.control.policy import BAD_NODE_SELECTOR
from l2announce.kube.statuses import FIELD_MANAGER
from l2announce.model.lease import STATUS_LEASE
from tests.apiserver.agents import PATIENCE, SETTINGS, Agents, Site, build_site, inside_namespace, start_agents
from tests.netns.agents_stand import policy

pytestmark = [pytest.mark.apiserver, pytest.mark.netns]


USELESS = {"matchLabels": {f"{'a.' * 130}a/b": "c"}}
"""A selector that no definition refuses, and that is none: the part before the slash has more than 253 characters."""


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
    with start_agents(site, False) as made:
        yield made


def named(name: str, **spec: Any) -> Any:
    """A policy of another name, with other fields of its spec."""
    document = policy()
    return document | {"metadata": {"name": name}, "spec": document["spec"] | spec}


def get(site: Site, *what: str) -> Any:
    return json.loads(site.plane.kubectl("get", *what, "--output", "json").stdout)


def condition(site: Site, name: str, kind: str) -> dict[str, Any]:
    found = get(site, "ciliuml2announcementpolicy", name).get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == kind), {})


def events(site: Site, service: str, reason: str) -> list[dict[str, Any]]:
    selector = f"involvedObject.kind=Service,involvedObject.name={service},reason={reason}"
    items: list[dict[str, Any]] = get(site, "events", "--field-selector", selector)["items"]
    return items


def writer(site: Site) -> str:
    """The agent that writes statuses."""
    spec = get(site, "--namespace", "kube-system", "lease", STATUS_LEASE)["spec"]
    return str(spec.get("holderIdentity", ""))


def test_a_policy_tells_how_many_of_its_services_are_announced(agents: Agents, site: Site) -> None:
    name = policy()["metadata"]["name"]
    wait_until(lambda: condition(site, name, "Ready").get("status") == "True", PATIENCE, "the policy to be ready")
    found = get(site, "ciliuml2announcementpolicy", name)
    ready, accepted = condition(site, name, "Ready"), condition(site, name, "Accepted")
    assert (ready["reason"], ready["message"]) == ("Announced", "2 of 2 Services announced")
    assert (accepted["status"], accepted["reason"]) == ("True", "Valid")
    assert ready["observedGeneration"] == accepted["observedGeneration"] == found["metadata"]["generation"]
    managers = {entry["manager"] for entry in json.loads(
        site.plane.kubectl("get", "ciliuml2announcementpolicy", name, "--show-managed-fields", "--output", "json").stdout
    )["metadata"]["managedFields"] if entry.get("subresource") == "status"}  # fmt: skip
    assert managers == {FIELD_MANAGER}
    assert writer(site) in agents.agents


def test_nothing_is_written_while_nothing_changes(agents: Agents, site: Site) -> None:
    name = policy()["metadata"]["name"]
    wait_until(lambda: condition(site, name, "Ready").get("status") == "True", PATIENCE, "the policy to be ready")
    before, since = get(site, "ciliuml2announcementpolicy", name)["metadata"]["resourceVersion"], time.time()
    told = {event["metadata"]["uid"]: event.get("count") for event in get(site, "events")["items"]}
    wait_until(lambda: time.time() - since > 2 * SETTINGS.lease_seconds, PATIENCE, "leases to be renewed meanwhile")
    assert get(site, "ciliuml2announcementpolicy", name)["metadata"]["resourceVersion"] == before
    assert {event["metadata"]["uid"]: event.get("count") for event in get(site, "events")["items"]} == told


def test_what_is_wrong_with_a_policy_and_that_it_was_mended(agents: Agents, site: Site) -> None:
    site.plane.apply(named("wrong", nodeSelector=USELESS))
    wait_until(lambda: condition(site, "wrong", BAD_NODE_SELECTOR).get("status") == "True", PATIENCE, "the mistake to be told")
    wrong = condition(site, "wrong", BAD_NODE_SELECTOR)
    assert (wrong["reason"], wrong["observedGeneration"]) == ("error", 1)
    assert "spec.nodeSelector" in wrong["message"]
    assert condition(site, "wrong", "Accepted")["status"] == "False"
    site.plane.apply(named("wrong", nodeSelector={}))
    wait_until(lambda: condition(site, "wrong", BAD_NODE_SELECTOR).get("status") == "False", PATIENCE, "it to be taken back")
    accepted = condition(site, "wrong", "Accepted")
    assert (accepted["status"], accepted["observedGeneration"]) == ("True", 2)
    site.plane.kubectl("delete", "ciliuml2announcementpolicy", "wrong")


def test_another_writes_when_the_writer_is_gone(agents: Agents, site: Site) -> None:
    first = wait_until(lambda: writer(site), PATIENCE, "somebody to write")
    agents.agents[first].terminate()
    agents.agents[first].wait_stopped(PATIENCE)
    heir = wait_until(lambda: writer(site), PATIENCE, "another to write")
    assert heir != first
    site.plane.apply(named("later", nodeSelector=USELESS))
    wait_until(lambda: condition(site, "later", BAD_NODE_SELECTOR).get("status") == "True", PATIENCE, "the heir to write")
    site.plane.kubectl("delete", "ciliuml2announcementpolicy", "later")
    agents.agents[first].start()


def test_an_event_says_from_where_a_service_is_announced(agents: Agents, site: Site) -> None:
    holder = agents.right_node_answers("web", "10.99.0.10")
    found = wait_until(
        lambda: [event for event in events(site, "web", "Announced") if event["source"]["host"] == holder], PATIENCE, "an Event"
    )
    assert found[0]["message"] == f"10.99.0.10 announced from node {holder}, interface eth0"
    assert (found[0]["type"], found[0]["source"]["component"]) == ("Normal", "l2announce")
    assert f"10.99.0.10 announced from node {holder}" in site.plane.kubectl("describe", "service", "web").stdout


def test_an_event_says_why_nobody_announces_a_service(agents: Agents, site: Site) -> None:
    only = {"serviceSelector": {"matchLabels": {"lonely": "yes"}}, "nodeSelector": {"matchLabels": {"no": "node"}}}
    site.plane.apply(named("nowhere", **only))
    others = named(policy()["metadata"]["name"], serviceSelector={"matchExpressions": [{"key": "lonely", "operator": "DoesNotExist"}]})
    site.plane.apply(others)
    site.make_service("lonely", "10.99.0.77")
    site.plane.kubectl("label", "service", "lonely", "lonely=yes")
    found = wait_until(lambda: events(site, "lonely", "NotAnnounced"), PATIENCE, "an Event")
    assert found[0]["type"] == "Warning"
    assert "n1 NodeSelector, n2 NodeSelector, n3 NodeSelector" in found[0]["message"]
    assert "0 of 1 Services announced; not default/lonely" in condition(site, "nowhere", "Ready")["message"]
    for what in (("service", "lonely"), ("ciliuml2announcementpolicy", "nowhere")):
        site.plane.kubectl("delete", *what)
