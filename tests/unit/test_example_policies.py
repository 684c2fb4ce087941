"""The manifests in policies/: each loads without a problem, and does what the comment at its top says."""

import shutil
from pathlib import Path

import pytest

from l2announce.control.devices import Candidates
from l2announce.control.groups import shared_address_groups
from l2announce.control.policy import Reason, Selection, select
from l2announce.ipam.allocator import Allocator
from l2announce.manifests.cluster import ManifestLoader
from l2announce.manifests.loader import ObjectLoader
from l2announce.manifests.pools import read_pools
from l2announce.model.link import Device
from l2announce.model.objects import ClusterState, Node
from l2announce.wire.pools import POOL_KINDS

POLICIES = Path(__file__).parents[2] / "policies"
FILES = sorted(path for path in POLICIES.glob("*/*") if path.parent.name != "crds")

DEVICES = tuple(Device(index, name) for index, name in enumerate(("eth0", "eth1", "bond0", "veth01"), 1))
CANDIDATES = Candidates(frozenset(("eth0",)), DEVICES)


def load(name: str) -> ClusterState:
    """The objects of one file or directory in policies/, which must be without problems."""
    path = POLICIES / name
    loader = ManifestLoader(path if path.is_dir() else path.parent)
    state = loader.refresh([] if path.is_dir() else [path], rescan=path.is_dir())
    assert state.problems == ()
    return state


def selected(state: ClusterState, node: str) -> Selection:
    selection = select(state, node, CANDIDATES)
    assert selection.problems == ()
    return selection


def with_node(state: ClusterState) -> ClusterState:
    """For examples that say nothing about nodes: one without labels."""
    return ClusterState({"any": Node("any")}, state.services, state.endpoints, state.policies)


def announced(selection: Selection) -> dict[str, tuple[str, list[str]]]:
    """Service and interfaces, by address."""
    return {str(found.address): (str(found.service), sorted(found.interfaces)) for found in selection.announcements}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_file_has_objects_no_problems_and_says_what_it_shows(path: Path) -> None:
    state = load(f"{path.parent.name}/{path.name}")
    loader = ObjectLoader(path.parent, POOL_KINDS)
    found = loader.refresh([path], rescan=False)
    assert found.problems == ()
    assert state != ClusterState() or found.values
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert first[2].isupper()


@pytest.mark.parametrize("directory", ["lab", "examples"])
def test_the_files_of_a_directory_go_together(directory: str) -> None:
    state = load(directory)
    assert not select(state, "n1", CANDIDATES).problems


def test_the_lab_announces_three_services_on_three_nodes() -> None:
    state = load("lab")
    assert set(state.nodes) == {"n1", "n2", "n3"}
    for node in state.nodes:
        selection = selected(state, node)
        assert announced(selection) == {
            "10.99.0.10": ("default/web", ["eth0"]),
            "fd99::10": ("default/api", ["eth0"]),
            "10.99.0.20": ("default/shop", ["eth0"]),
            "fd99::20": ("default/shop", ["eth0"]),
        }
        assert selection.refusals == {}
    assert len(shared_address_groups(state)) == 3


def test_address_pools(tmp_path: Path) -> None:
    shutil.copy(POLICIES / "examples" / "address-pools.yaml", tmp_path)
    pools, services, problems = read_pools(tmp_path)
    assert problems == ()
    allocator = Allocator()
    allocator.replace_pools(pools)
    allocator.replace_services(services)
    allocator.settle()
    assert {str(key): list(map(str, decision.addresses)) for key, decision in allocator.decisions.items()} == {
        "shop/any": ["198.51.100.1"],
        "shop/certain": ["198.51.100.10"],
        "shop/both": ["198.51.100.2", "2001:db8:1::10"],
        "press/news": ["198.51.100.64"],
        "shop/shared-imap": ["198.51.100.3"],
        "shop/shared-smtp": ["198.51.100.3"],
    }
    assert not [decision.refusal for decision in allocator.decisions.values() if decision.refusal]


def test_select_services() -> None:
    selection = selected(with_node(load("examples/select-services.yaml")), "any")
    assert announced(selection) == {"192.0.2.10": ("shop/cart", ["eth0", "eth1"])}
    assert {str(key): reason for key, reason in selection.refusals.items()} == {
        "press/blog": Reason.NO_POLICY,
        "shop/backoffice": Reason.NO_POLICY,
    }


def test_select_nodes() -> None:
    state = load("examples/select-nodes.yaml")
    assert announced(selected(state, "worker-1")) == {"192.0.2.20": ("default/web", ["bond0", "eth0"])}
    control = selected(state, "control-1")
    assert control.announcements == ()
    assert list(control.refusals.values()) == [Reason.NODE_SELECTOR]


def test_external_ips() -> None:
    selection = selected(with_node(load("examples/external-ips.yaml")), "any")
    assert announced(selection) == {
        "192.0.2.99": ("default/printer", ["eth0"]),
        "2001:db8::99": ("default/printer", ["eth0"]),
        "192.0.2.98": ("default/scanner", ["eth0"]),
    }


def test_local_traffic_policy() -> None:
    state = load("examples/local-traffic-policy.yaml")
    assert announced(selected(state, "edge-1")) == {
        "192.0.2.53": ("infra/dns", ["eth0"]),
        "2001:db8::53": ("infra/dns", ["eth0"]),
    }
    other = selected(state, "edge-2")
    assert other.announcements == ()
    assert list(other.refusals.values()) == [Reason.NO_LOCAL_ENDPOINT]


def test_shared_address() -> None:
    state = with_node(load("examples/shared-address.yaml"))
    selection = selected(state, "any")
    assert [(str(found.service), str(found.address)) for found in selection.announcements] == [
        ("default/imap", "192.0.2.25"),
        ("default/smtp", "192.0.2.25"),
    ]
    (group,) = shared_address_groups(state)
    assert [str(service) for service in group.services] == ["default/imap", "default/smtp"]
