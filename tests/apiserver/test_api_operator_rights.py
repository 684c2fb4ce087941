"""Every right of policies/rbac-operator.yaml is used, and an operator without it says which one it misses, with the object and the verb."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from netlab.agents import PROGRAM
from netlab.control_plane import ControlPlane
from netlab.topology import REPOSITORY
from netlab.waiting import wait_until

from tests.apiserver.conftest import prepare
from tests.apiserver.rig import OPERATOR

pytestmark = pytest.mark.apiserver

PATIENCE = 30.0
DOCUMENTS = [d for d in yaml.safe_load_all((REPOSITORY / "policies" / "rbac-operator.yaml").read_text()) if "rules" in d]
RIGHTS = [
    (document["kind"], rule["apiGroups"][0], resource, verb)
    for document in DOCUMENTS
    for rule in document["rules"]
    for resource in rule["resources"]
    for verb in rule["verbs"]
]
WORDS = {
    "services": "Service",
    "ciliumloadbalancerippools": "CiliumLoadBalancerIPPool",
    "customresourcedefinitions": "CustomResourceDefinition",
}
"""How a message names a resource that is watched; others by their own name."""
POOL = """
apiVersion: cilium.io/v2
kind: CiliumLoadBalancerIPPool
metadata: {name: all}
spec: {blocks: [{cidr: 10.10.0.0/32}]}
"""
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: %s}
spec: {type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 80}]}
"""


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """A pool of one address for two Services: one gets it, the other an Event."""
    documents = POOL + SERVICE % "web" + SERVICE % "api"
    control_plane.kubectl("apply", "--server-side", "-f", "-", stdin=documents)
    yield control_plane
    prepare(control_plane)
    control_plane.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=documents)
    control_plane.kubectl("delete", "events", "--all")


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


def is_granted(cluster: ControlPlane, group: str, resource: str, verb: str) -> bool:
    """Whether the operator's user has the right now, in the namespace of its lease."""
    what, _, part = resource.partition("/")
    name = f"{what}.{group}" if group else what
    if what == "customresourcedefinitions":
        name += "/ciliumloadbalancerippools.cilium.io"
    asked = ("auth", "can-i", verb, name, "--namespace", "kube-system", "--as", OPERATOR.name, "--as-group", "operators")
    only = ("--subresource", part) if part else ()
    return cluster.kubectl(*asked, *only, check=False).stdout.strip() == "yes"


@pytest.mark.parametrize(("kind", "group", "resource", "verb"), RIGHTS, ids=[f"{verb} {resource}" for _, _, resource, verb in RIGHTS])
def test_an_operator_says_which_right_it_misses(
    cluster: ControlPlane, tmp_path: Path, kind: str, group: str, resource: str, verb: str
) -> None:
    assert is_granted(cluster, group, resource, verb)
    cluster.kubectl("--namespace", "kube-system", "delete", "leases", "--all")
    if (resource, verb) == ("events", "patch"):
        told_before(cluster, tmp_path)
    cluster.apply(without(kind, resource, verb))
    wait_until(lambda: not is_granted(cluster, group, resource, verb), PATIENCE, "the right to be gone")
    with Running(cluster, tmp_path / "log") as running:

        def complaint() -> bool:
            asked = [line.partition("grant")[2] for line in running.lines() if "grant" in line]
            return any(verb in line and WORDS.get(resource, resource) in line for line in asked)

        wait_until(complaint, PATIENCE, f"the operator to ask for {verb} on {resource}")
        assert running.process.poll() is None, running.lines()


def told_before(cluster: ControlPlane, tmp_path: Path) -> None:
    """Have the Event there, so that it is counted once more, and no right missing."""
    with Running(cluster, tmp_path / "before") as running:
        wait_until(lambda: "AddressRefused" in cluster.kubectl("get", "events").stdout, PATIENCE, "the Event")
        assert not [line for line in running.lines() if "grant" in line]
    cluster.kubectl("--namespace", "kube-system", "delete", "leases", "--all")


class Running:
    """The operator's program, which is killed at the end. A context manager."""

    def __init__(self, cluster: ControlPlane, log: Path) -> None:
        times = ("--lease-duration", "2s", "--lease-renew-deadline", "800ms", "--lease-retry-period", "400ms", "--metrics-address", "none")
        command = (str(PROGRAM), "operator", "--kubeconfig", str(cluster.kubeconfig(OPERATOR.name)), "--identity", "o1", *times)
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file)

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def lines(self) -> list[str]:
        """What it has said."""
        return self._log.read_text().splitlines()
