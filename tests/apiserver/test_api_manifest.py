"""The plain manifest, on a real API server: every object is accepted, strictly, and its service account may do what it must and no more."""

import json
from collections.abc import Iterator

import pytest
import yaml
from netlab.control_plane import ControlPlane
from netlab.topology import REPOSITORY

from tests.apiserver.conftest import start

pytestmark = pytest.mark.apiserver

MANIFEST = REPOSITORY / "deploy" / "l2announce.yaml"
AGENT = "system:serviceaccount:kube-system:l2announce"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane on which nothing was installed but the manifest."""
    with start(tmp_path_factory.mktemp("control-plane")) as made:
        made.kubectl("apply", "--server-side", "--validate=strict", "-f", str(MANIFEST))
        made.kubectl("wait", "--for=condition=Established", "customresourcedefinition/ciliuml2announcementpolicies.cilium.io")
        yield made


def test_every_object_is_there(plane: ControlPlane) -> None:
    for document in filter(None, yaml.safe_load_all(MANIFEST.read_text())):
        where = ("--namespace", document["metadata"]["namespace"]) if "namespace" in document["metadata"] else ()
        plane.kubectl(*where, "get", document["kind"], document["metadata"]["name"])


def test_it_is_applied_again_without_a_change(plane: ControlPlane) -> None:
    before = plane.kubectl("--namespace", "kube-system", "get", "daemonset", "l2announce", "--output", "json").stdout
    plane.kubectl("apply", "--server-side", "-f", str(MANIFEST))
    plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", str(MANIFEST))
    after = plane.kubectl("--namespace", "kube-system", "get", "daemonset", "l2announce", "--output", "json").stdout
    assert json.loads(after)["metadata"]["generation"] == json.loads(before)["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("verb", "what", "namespace", "granted"),
    [
        ("list", "services", "default", True),
        ("watch", "nodes", "default", True),
        ("update", "leases.coordination.k8s.io", "kube-system", True),
        ("create", "events", "default", True),
        ("update", "leases.coordination.k8s.io", "default", False),
        ("delete", "leases.coordination.k8s.io", "kube-system", False),
        ("update", "services", "default", False),
        ("patch", "services/status", "default", False),
        ("patch", "ciliuml2announcementpolicies.cilium.io", "default", False),
        ("get", "secrets", "kube-system", False),
        ("list", "pods", "default", False),
    ],
)
def test_the_service_account_may_do_this_and_not_that(plane: ControlPlane, verb: str, what: str, namespace: str, granted: bool) -> None:
    resource, _, part = what.partition("/")
    only = ("--subresource", part) if part else ()
    asked = plane.kubectl("auth", "can-i", verb, resource, *only, "--namespace", namespace, "--as", AGENT, check=False)
    assert asked.stdout.strip() == ("yes" if granted else "no")
