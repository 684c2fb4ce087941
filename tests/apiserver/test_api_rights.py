"""Every right of policies/rbac.yaml is used, and an agent without it says which one it misses, with the object and the verb."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from netlab.agents import Agent
from netlab.topology import REPOSITORY
from netlab.waiting import wait_until

from tests.apiserver.agents import PATIENCE, SETTINGS, Site, build_site, inside_namespace
from tests.apiserver.conftest import prepare
from tests.apiserver.rig import AGENTS

pytestmark = [pytest.mark.apiserver, pytest.mark.netns]

DOCUMENTS = [document for document in yaml.safe_load_all((REPOSITORY / "policies" / "rbac.yaml").read_text()) if "rules" in document]
RIGHTS = [
    (document["kind"], rule["apiGroups"][0], resource, verb)
    for document in DOCUMENTS
    for rule in document["rules"]
    for resource in rule["resources"]
    for verb in rule["verbs"]
]
WORDS = {
    "nodes": "Node",
    "services": "Service",
    "endpointslices": "EndpointSlice",
    "ciliuml2announcementpolicies": "CiliumL2AnnouncementPolicy",
    "customresourcedefinitions": "CustomResourceDefinition",
}
"""How a message names a resource that is watched; others by their own name."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Services of both traffic policies; and an agent has run here with every right, so that its Events are there."""
    if not inside_namespace():
        pytest.skip("needs a private network namespace: make apiserver, or netns-lab/enter .venv/bin/pytest tests/apiserver")
    with build_site(tmp_path_factory.mktemp("site")) as made:
        made.plane.kubectl("patch", "service", "api", "--type", "merge", "--patch", '{"spec":{"externalTrafficPolicy":"Local"}}')
        agent = start(made)
        wait_until(lambda: len(told(made)) >= 1, PATIENCE, "Events")
        stop(agent)
        assert "grant" not in agent.log.read_text()
        yield made


def start(site: Site) -> Agent:
    """An agent on the first node, with a log of its own."""
    node = site.segment.nodes[0]
    agent = Agent(node, node.name, ("--kubeconfig", str(site.plane.kubeconfig(node.name))), site.directory, SETTINGS)
    agent.log.unlink(missing_ok=True)
    agent.start()
    return agent


def stop(agent: Agent) -> None:
    agent.terminate()
    agent.wait_stopped(PATIENCE)


def told(site: Site) -> list[Any]:
    items: list[Any] = json.loads(site.plane.kubectl("get", "events", "--output", "json").stdout)["items"]
    return [item for item in items if item["reason"] == "Announced"]


def without(kind: str, resource: str, verb: str) -> dict[str, Any]:
    """The role without one right."""
    document: dict[str, Any] = next(document for document in DOCUMENTS if document["kind"] == kind)
    rules = []
    for rule in document["rules"]:
        others = [each for each in rule["resources"] if each != resource]
        rules += [rule | {"resources": others}] if others else []
        verbs = [each for each in rule["verbs"] if each != verb]
        if resource in rule["resources"] and verbs:
            rules.append(rule | {"resources": [resource], "verbs": verbs})
    return document | {"rules": rules}


def is_granted(site: Site, group: str, resource: str, verb: str) -> bool:
    """Whether the agent's user has the right now, in the namespace of the leases."""
    what, _, part = resource.partition("/")
    name = f"{what}.{group}" if group else what
    asked = ("auth", "can-i", verb, name, "--namespace", "kube-system", "--as", AGENTS[0].name, "--as-group", "agents")
    only = ("--subresource", part) if part else ()
    if what == "customresourcedefinitions":
        asked = (*asked[:3], f"{name}/ciliuml2announcementpolicies.cilium.io", *asked[4:])
    return site.plane.kubectl(*asked, *only, check=False).stdout.strip() == "yes"


@pytest.mark.parametrize(("kind", "group", "resource", "verb"), RIGHTS, ids=[f"{verb} {resource}" for _, _, resource, verb in RIGHTS])
def test_an_agent_says_which_right_it_misses(site: Site, kind: str, group: str, resource: str, verb: str) -> None:
    assert is_granted(site, group, resource, verb)
    site.plane.kubectl("--namespace", "kube-system", "delete", "leases", "--all")
    site.plane.apply(without(kind, resource, verb))
    wait_until(lambda: not is_granted(site, group, resource, verb), PATIENCE, "the right to be gone")
    agent = start(site)
    try:

        def complaint() -> bool:
            lines = [line for line in agent.log.read_text().splitlines() if "grant" in line]
            return any(verb in line.partition("grant")[2] and WORDS.get(resource, resource) in line.partition("grant")[2] for line in lines)

        wait_until(complaint, PATIENCE, f"the agent to ask for {verb} on {resource}")
        assert agent.is_running(), agent.last_words()
    finally:
        stop(agent)
        prepare(site.plane)
        wait_until(lambda: is_granted(site, group, resource, verb), PATIENCE, "the right to be back")
