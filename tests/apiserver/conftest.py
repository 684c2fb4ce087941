"""A real control plane on loopback for the whole run, emptied before each test, and what belongs to a test's own event loop."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from netlab.control_plane import ControlPlane, User, find_programs
from netlab.waiting import wait_until

from tests.apiserver.rig import AGENTS, OPERATOR, REPOSITORY


def start(directory: Path) -> ControlPlane:
    """A control plane with our agents as users and the rights of policies/rbac.yaml; to be entered."""
    return ControlPlane(find_programs(), directory, users=(*AGENTS, OPERATOR, User("nobody")))


@pytest.fixture(scope="session")
def shared_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with start(tmp_path_factory.mktemp("control-plane")) as control_plane:
        prepare(control_plane)
        wait_until(lambda: is_served(control_plane), 20, "the definition to be served")
        yield control_plane


@pytest.fixture
def control_plane(shared_control_plane: ControlPlane) -> ControlPlane:
    """It runs, and is ready. What it holds is what earlier tests left: see rig.administrator."""
    return shared_control_plane


def is_served(control_plane: ControlPlane) -> bool:
    """Whether policies can be read in every version; each appears for itself, some time after the definition is established."""
    kinds = ("ciliuml2announcementpolicies", "ciliumloadbalancerippools")
    paths = [f"/apis/cilium.io/{version}/{kind}" for version in ("v2alpha1", "v2") for kind in kinds]
    return all(control_plane.kubectl("get", "--raw", path, check=False).returncode == 0 for path in paths)


def prepare(control_plane: ControlPlane) -> None:
    """Install policies/crds, and the roles of policies/rbac.yaml and rbac-operator.yaml, bound to the agents and to the operators."""
    control_plane.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "policies" / "crds"))
    for file, group in (("rbac.yaml", "agents"), ("rbac-operator.yaml", "operators")):
        documents = list(yaml.safe_load_all((REPOSITORY / "policies" / file).read_text()))
        for document in documents:
            if document["kind"].endswith("Binding"):
                document["subjects"] = [{"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}]
        control_plane.apply(*documents)
