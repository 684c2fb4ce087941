"""Files of a directory as objects: what each file is good for, and that what is broken costs nothing but itself."""

import gc
import os
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from l2announce.manifests import loader as under_test
from l2announce.manifests.cluster import ManifestLoader
from l2announce.manifests.documents import TextError
from l2announce.manifests.loader import LoadedFile, directories_below, is_manifest
from l2announce.model.objects import ClusterState, Endpoint, NamespacedName, ObjectProblem
from l2announce.wire.objects import KINDS, ObjectKey, Value


def load_text(name: str, data: bytes) -> LoadedFile[Value]:
    """What an agent reads of a file."""
    return under_test.load_text(name, data, KINDS)


WEB = NamespacedName("default", "web")


def service(name: str = "web", address: str = "192.0.2.1", policy: str = "Cluster") -> str:
    return f"""apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  type: LoadBalancer
  externalTrafficPolicy: {policy}
  ports:
  - port: 80
status:
  loadBalancer:
    ingress:
    - ip: {address}
"""


def node(name: str) -> str:
    return f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n"


def problem(text: str, name: str = "f.yaml") -> ObjectProblem:
    (found,) = load_text(name, text.encode()).problems
    return found


def addresses(state: ClusterState) -> dict[str, list[str]]:
    return {str(key): [str(address) for address in value.load_balancer_ips] for key, value in state.services.items()}


def subjects(state: ClusterState) -> list[tuple[str, str]]:
    return [(Path(found.subject).name, found.reason) for found in state.problems]


# -- one file


def test_documents_of_every_kind() -> None:
    text = f"""---
{node("n1")}---
{service()}---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}
endpoints:
- {{nodeName: n1}}
---
apiVersion: cilium.io/v2alpha1
kind: CiliumL2AnnouncementPolicy
metadata: {{name: l2}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: other}}
"""
    loaded = load_text("f.yaml", text.encode())
    assert [(str(entry.key), entry.where) for entry in loaded.objects] == [
        ("node/n1", "f.yaml:2"),
        ("service/default/web", "f.yaml:6"),
        ("endpointslice/default/web-1", "f.yaml:20"),
        ("ciliuml2announcementpolicy/l2", "f.yaml:26"),
    ]
    assert loaded.objects[2].value == (Endpoint(WEB, "n1"),)
    assert (loaded.problems, loaded.incomplete) == ((), False)


def test_a_list_and_its_items_with_their_lines() -> None:
    items = "- apiVersion: v1\n  kind: Node\n  metadata:\n    name: a\n- apiVersion: v1\n  kind: Node\n  metadata:\n    name: 7\n"
    text = f"apiVersion: v1\nkind: List\nitems:\n{items}"
    loaded = load_text("f.yaml", text.encode())
    assert [entry.where for entry in loaded.objects] == ["f.yaml:4"]
    assert loaded.problems == (
        ObjectProblem(
            "f.yaml:11",
            "BadField",
            "metadata.name: Expected str | null, got int (7); put it in quotes. Its last good state, if any, stays in force.",
        ),
    )
    assert loaded.incomplete


def test_a_list_of_one_kind_gives_it_to_its_items() -> None:
    loaded = load_text("f.json", b'{"kind": "NodeList", "apiVersion": "v1",\n"items": [{"metadata": {"name": "a"}},\n3]}')
    assert [(entry.key, entry.where) for entry in loaded.objects] == [(ObjectKey("Node", "", "a"), "f.json:2")]
    assert [(found.subject, found.reason) for found in loaded.problems] == [("f.json:3", "NotAnObject")]


def test_a_list_in_a_list_is_of_another_kind() -> None:
    inner = "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Node, metadata: {name: a}}]}"
    assert load_text("f.yaml", f"apiVersion: v1\nkind: List\nitems: [{inner}]".encode()).objects == ()


def test_a_list_without_items_is_no_harm() -> None:
    for items in ("", "items: []\n", "items:\n"):
        assert load_text("f.yaml", f"apiVersion: v1\nkind: List\n{items}".encode()) == LoadedFile()


@pytest.mark.parametrize("text", ["just text\n", "- a\n- b\n", "3\n"])
def test_a_document_that_is_no_object(text: str) -> None:
    found = problem(text)
    assert (found.subject, found.reason) == ("f.yaml:1", "NotAnObject")


def test_a_wrong_field_is_told_by_line_object_path_value_and_remedy() -> None:
    text = service().replace("- port: 80", "- port: eighty")
    assert problem(text) == ObjectProblem(
        "f.yaml:9",
        "BadField",
        "service/default/web: spec.ports[0].port: Expected int, got str ('eighty'); write a whole number, without quotes. "
        "Its last good state, if any, stays in force.",
    )


def test_a_wrong_address_costs_only_itself() -> None:
    text = service(address="192.0.2.300").replace("    - ip: 192.0.2.300", "    - ip: 192.0.2.300\n    - ip: 192.0.2.4")
    loaded = load_text("f.yaml", text.encode())
    (found,) = loaded.problems
    assert (found.subject, found.reason) == ("f.yaml:13", "BadAddress")
    assert found.message == (
        "service/default/web: status.loadBalancer.ingress[0].ip: '192.0.2.300' is not an IP address. The rest of the object counts."
    )
    assert getattr(loaded.objects[0].value, "load_balancer_ips", None) == (ip_address("192.0.2.4"),)


def test_broken_text_raises() -> None:
    with pytest.raises(TextError, match="line 2: is not YAML"):
        load_text("f.yaml", b"a: 1\n}\n")


# -- names and places


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "a.json", "a.b.yaml"])
def test_manifests_by_name(name: str) -> None:
    assert is_manifest(Path(name))


@pytest.mark.parametrize("name", [".a.yaml.swp", ".a.yaml", "a.yaml~", "4913", "#a.yaml#", "a.yaml.tmp", "a.txt", ".#a.yaml", "yaml"])
def test_names_of_editors_and_others_are_not_manifests(name: str) -> None:
    assert not is_manifest(Path(name))


def test_directories_below_leaves_out_hidden_ones_and_links(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".cluster" / "leases").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert list(directories_below(tmp_path)) == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]


def test_what_is_below_hidden_directories_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".cluster").mkdir()
    (tmp_path / ".cluster" / "node.yaml").write_text(node("hidden"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "node.yml").write_text(node("seen"))
    assert set(ManifestLoader(tmp_path).refresh().nodes) == {"seen"}


# -- files over time


def test_files_appear_change_and_go(tmp_path: Path) -> None:
    loader = ManifestLoader(tmp_path)
    assert loader.refresh() == ClusterState()
    file = tmp_path / "a.yaml"
    file.write_text(service())
    assert addresses(loader.refresh()) == {"default/web": ["192.0.2.1"]}
    file.write_text(service(address="192.0.2.22"))
    assert addresses(loader.refresh()) == {"default/web": ["192.0.2.22"]}
    file.rename(tmp_path / "b.yaml")
    state = loader.refresh()
    assert (addresses(state), state.problems) == ({"default/web": ["192.0.2.22"]}, ())
    (tmp_path / "b.yaml").unlink()
    assert loader.refresh() == ClusterState()


def test_only_what_is_named_is_read_without_a_rescan(tmp_path: Path) -> None:
    loader = ManifestLoader(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(node(name))
    assert set(loader.refresh([tmp_path / "a.yaml"], rescan=False).nodes) == {"a"}
    assert set(loader.refresh([tmp_path / "gone.yaml", tmp_path / "a.yaml" / "below.yaml"], rescan=False).nodes) == {"a"}


def test_a_replacement_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    file, other = tmp_path / "a.yaml", tmp_path / "a.new"
    file.write_text(node("x"))
    loader = ManifestLoader(tmp_path)
    loader.refresh()
    other.write_text(node("y"))
    facts = file.stat()
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.replace(file)
    assert set(loader.refresh().nodes) == {"y"}


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(node("a"))
    loader = ManifestLoader(tmp_path)
    first = loader.refresh()
    monkeypatch.setattr(under_test, "load_text", lambda name, *_: pytest.fail(f"{name} was read again"))
    assert loader.refresh() == first


def test_refreshing_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(node("x"))
    (tmp_path / "directory.yaml").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.yaml")
    loader = ManifestLoader(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        loader.refresh([tmp_path / name for name in ("good.yaml", "directory.yaml", "pipe.yaml")])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_collector_is_left_as_it_was(tmp_path: Path) -> None:
    loader = ManifestLoader(tmp_path)
    assert gc.isenabled()
    loader.refresh()
    assert gc.isenabled()
    gc.disable()
    try:
        loader.refresh()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_broken_file_keeps_its_objects_and_hurts_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service() + "---\n" + node("n1"))
    (tmp_path / "b.yaml").write_text(node("n2"))
    loader = ManifestLoader(tmp_path)
    before = loader.refresh()
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: [\n")
    (tmp_path / "b.yaml").write_text(node("n3"))
    state = loader.refresh()
    assert state.services == before.services
    assert set(state.nodes) == {"n1", "n3"}
    (found,) = state.problems
    assert found.subject == f"{tmp_path / 'a.yaml'}:2"
    assert found.reason == "BrokenFile"
    assert found.message.startswith("is not YAML: ")
    assert found.message.endswith("; correct the syntax. The file's last 2 objects stay in force.")
    assert loader.refresh() == state
    (tmp_path / "a.yaml").write_text(node("n1"))
    assert loader.refresh() == ClusterState(nodes=loader.refresh().nodes)


def test_a_file_that_was_never_good_has_nothing_in_force(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{")
    (found,) = ManifestLoader(tmp_path).refresh().problems
    assert found.message.endswith("correct the syntax. Nothing of the file is in force.")


def test_a_broken_object_keeps_its_last_good_value_and_hurts_no_other(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("web", "192.0.2.1") + "---\n" + service("mail", "192.0.2.2"))
    loader = ManifestLoader(tmp_path)
    loader.refresh()
    broken = service("web", "192.0.2.11", policy="Sideways") + "---\n" + service("mail", "192.0.2.12")
    file.write_text(broken)
    state = loader.refresh()
    assert addresses(state) == {"default/mail": ["192.0.2.12"], "default/web": ["192.0.2.1"]}
    assert [found.message for found in state.problems] == [
        "service/default/web: spec.externalTrafficPolicy: 'Sideways' is not known; write Cluster or Local. "
        "Its last good state, if any, stays in force."
    ]
    assert [found.subject for found in state.problems] == [f"{file}:7"]
    file.write_text("# moved down\n" + broken)  # still broken: still the last good value
    assert addresses(loader.refresh())["default/web"] == ["192.0.2.1"]
    file.write_text(service("mail", "192.0.2.12"))  # taken out: gone, and its good value forgotten
    assert addresses(loader.refresh()) == {"default/mail": ["192.0.2.12"]}
    file.write_text(broken)
    assert addresses(loader.refresh()) == {"default/mail": ["192.0.2.12"]}


def test_an_object_that_lost_its_name_stays_while_the_file_is_incomplete(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("web") + "---\n" + service("mail", "192.0.2.2"))
    loader = ManifestLoader(tmp_path)
    loader.refresh()
    file.write_text(service("'Not A Name'") + "---\n" + service("mail", "192.0.2.3"))
    state = loader.refresh()
    assert addresses(state) == {"default/mail": ["192.0.2.3"], "default/web": ["192.0.2.1"]}
    assert [found.reason for found in state.problems] == ["BadName"]


def test_an_object_in_two_files_is_reported_and_the_first_counts(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(service(address="192.0.2.2"))
    (tmp_path / "a.yaml").write_text("# one line down\n" + service(address="192.0.2.1"))
    loader = ManifestLoader(tmp_path)
    state = loader.refresh()
    assert addresses(state) == {"default/web": ["192.0.2.1"]}
    assert state.problems == (
        ObjectProblem(
            f"{tmp_path / 'b.yaml'}:1",
            "Duplicate",
            f"service/default/web is also at {tmp_path / 'a.yaml'}:2, and that one counts; remove one of the two",
        ),
    )
    (tmp_path / "a.yaml").unlink()
    state = loader.refresh()
    assert (addresses(state), state.problems) == ({"default/web": ["192.0.2.2"]}, ())


def test_an_object_twice_in_one_file_is_reported_too(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(node("x") + "---\n" + node("x"))
    assert subjects(ManifestLoader(tmp_path).refresh()) == [("a.yaml:5", "Duplicate")]


def test_an_object_that_moves_to_another_file_is_never_gone(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service())
    loader = ManifestLoader(tmp_path)
    before = loader.refresh()
    (tmp_path / "b.yaml").write_text(service())
    assert loader.refresh().services == before.services
    (tmp_path / "a.yaml").unlink()
    assert loader.refresh() == before


def test_a_file_that_is_too_large_keeps_its_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "LARGEST", 1 << 20)
    file = tmp_path / "a.yaml"
    file.write_bytes(node("x").encode().ljust(1 << 20, b"\n"))
    loader = ManifestLoader(tmp_path)
    assert loader.refresh().problems == ()
    file.write_bytes(node("y").encode().ljust((1 << 20) + 1, b"\n"))
    state = loader.refresh()
    assert set(state.nodes) == {"x"}
    assert [found.message for found in state.problems] == [
        "is larger than 1 MiB; split it into several files. The file's last 1 objects stay in force."
    ]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _link_to_directory(path: Path) -> None:
    path.symlink_to(path.parent)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_pipe, "is not a regular file; "),
        (_loop, "Too many levels of symbolic links; "),
        (_link_to_directory, "Is a directory; "),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file; "),
    ],
)
def test_what_cannot_be_read_keeps_its_objects(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(node("x"))
    loader = ManifestLoader(tmp_path)
    loader.refresh()
    file.unlink()
    make(file)
    state = loader.refresh()
    assert set(state.nodes) == {"x"}
    assert state.problems == (
        ObjectProblem(str(file), "UnreadableFile", f"{message}make it a file that can be read. The file's last 1 objects stay in force."),
    )
    assert loader.refresh() == state


def test_a_directory_named_as_a_manifest_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    (tmp_path / "a.yaml" / "b.yaml").write_text(node("x"))
    state = ManifestLoader(tmp_path).refresh()
    assert (set(state.nodes), state.problems) == ({"x"}, ())


def test_a_link_that_leads_nowhere_is_as_a_file_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("nowhere")
    assert ManifestLoader(tmp_path).refresh() == ClusterState()


def test_while_the_directory_is_away_everything_stays(tmp_path: Path) -> None:
    place = tmp_path / "m"
    place.mkdir()
    (place / "a.yaml").write_text(node("x"))
    loader = ManifestLoader(place)
    before = loader.refresh()
    place.rename(tmp_path / "away")
    state = loader.refresh([place / "a.yaml"])
    assert state.nodes == before.nodes
    assert state.problems == (
        ObjectProblem(str(place), "NoDirectory", "the directory is gone, so its last objects stay in force; put it back"),
    )
    (tmp_path / "away").rename(place)
    assert loader.refresh() == before


def test_a_swap_of_a_configmap_volume(tmp_path: Path) -> None:
    for version, name in (("..v1", "one"), ("..v2", "two")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(node(name))
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    loader = ManifestLoader(tmp_path)
    assert set(loader.refresh().nodes) == {"one"}
    (tmp_path / "..data_tmp").symlink_to("..v2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert set(loader.refresh().nodes) == {"two"}


def test_a_directory_that_is_not_for_us_to_read_hurts_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "b.yaml").write_text(node("y"))
    (tmp_path / "a.yaml").write_text(node("x"))
    real = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("l2announce.manifests.loader.os.scandir", refuse)  # root may read everything, so permissions would not do
    assert set(ManifestLoader(tmp_path).refresh().nodes) == {"x"}


def test_a_directory_that_vanishes_while_it_is_listed(tmp_path: Path) -> None:
    assert list(directories_below(tmp_path / "gone")) == [tmp_path / "gone"]
