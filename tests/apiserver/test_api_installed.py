"""Installed for real: deploy/l2announce.yaml on a real control plane, whose DaemonSet controller makes, replaces and rolls back the Pods.

A small kubelet (netlab/kubelet.py) runs them as they say, by crun: users, capabilities, seccomp, read-only roots, projected tokens, probes.
With L2ANNOUNCE_IMAGE, a directory, their root is that image's (`make image`); else this checkout takes its place.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from netlab.control_plane import ControlPlane, find_programs
from netlab.kubelet import Kubelet
from netlab.namespaces import Network
from netlab.oci import Container, Image, image_of_this_program
from netlab.topology import REPOSITORY
from netlab.waiting import wait_until

from tests.apiserver.agents import ADDRESSES, CONTROL, PATIENCE, Site, build_network, inside_namespace
from tests.netns.agents_stand import Asker, policy

pytestmark = [pytest.mark.apiserver, pytest.mark.netns, pytest.mark.timeout(300)]

MANIFEST = REPOSITORY / "deploy" / "l2announce.yaml"
NODES = ("n1", "n2", "n3")
CONTAINERS = ("responder", "control")
DAEMON_SET = ("--namespace", "kube-system", "rollout")
CAP_NET_RAW = 13
SECCOMP_FILTER = "2"
HAND_OVER = 1.0
"""Seconds without an answer that a planned move may cost on a busy machine; usually it is some tens of milliseconds."""
LOSS = 20.0
"""Seconds for the loss of a node with the manifest's leases of 15 s."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What was installed, and who asks for its addresses."""

    site: Site
    kubelet: Kubelet
    asker: Asker

    def rolled_out(self) -> None:
        """Wait until every node runs what the DaemonSet says now, and every Pod is ready."""

        def done() -> bool:
            for pod in self.kubelet.pods.values():
                assert pod.error is None, f"{pod.name}: {pod.error}"
            if sum(pod.is_alive() for pod in self.kubelet.pods.values()) != len(NODES):
                return False
            return (
                "successfully rolled out" in self.site.plane.kubectl(*DAEMON_SET, "status", "daemonset/l2announce", "--watch=false").stdout
            )

        wait_until(done, 4 * PATIENCE, "the DaemonSet to be rolled out", interval=0.5)

    def container(self, node: str, name: str) -> Container:
        """A container of the Pod that runs on a node now."""
        return self.kubelet.on(node).containers[name].container

    def arguments(self) -> set[tuple[str, ...]]:
        """With which arguments control runs, over all nodes."""
        return {tuple(self.container(node, "control").command[2:]) for node in NODES}

    def holder_answers(self, name: str) -> str:
        """Wait until the holder of a Service's lease, and nobody else, answers for its address. The holder."""
        address = ADDRESSES[name]

        def look() -> str:
            holder, now = self.site.holder(name), time.time()
            self.asker.wait_asked(20)
            macs = [node.mac("eth0") for node in self.site.segment.nodes if node.name == holder]
            return holder if macs and self.asker.owners(address, now) == macs and self.site.holder(name) == holder else ""

        return wait_until(look, PATIENCE, f"the holder of {name} to answer for {address}")


def image(directory: Path) -> Image:
    """The built image, when `make image` gives one; else what this checkout is."""
    if "L2ANNOUNCE_IMAGE" in os.environ:
        return Image(Path(os.environ["L2ANNOUNCE_IMAGE"]), dict(pair.split("=", 1) for pair in os.environ["L2ANNOUNCE_IMAGE_ENV"].split()))
    directory.mkdir(mode=0o755)
    return image_of_this_program(directory)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Three nodes on which the manifest was installed, by one command, and settled."""
    if not inside_namespace():
        pytest.skip("needs a private network namespace: make apiserver, or netns-lab/enter .venv/bin/pytest tests/apiserver")
    if os.getuid() != 0 or not shutil.which("crun") or Path("/proc/self/uid_map").read_text().split()[2] == "1":
        pytest.skip("needs root of the machine, and crun, for containers of several users")
    directory = tmp_path_factory.mktemp("installed")
    with Network() as network:
        segment, control = build_network(network)
        with ControlPlane(find_programs(), directory / "control-plane", (), control, CONTROL, with_pods=True) as plane:
            site = Site(segment, control, plane, directory)
            nodes = {node.name: node for node in segment.nodes}
            kubelet = Kubelet(nodes, site.request, (CONTROL, 6443), image(directory / "root"), directory / "pods")
            kubelet.start()
            asker = Asker(segment.client, ADDRESSES.values())
            asker.start()
            try:
                kubelet.register()
                plane.kubectl("apply", "--server-side", "--filename", str(MANIFEST))
                made = Installation(site, kubelet, asker)
                made.rolled_out()
                plane.apply(policy())
                for name, address in ADDRESSES.items():
                    site.make_service(name, address)
                yield made
            finally:
                asker.stop()
                kubelet.stop()


def test_the_holder_of_each_lease_answers_and_nobody_else(installed: Installation) -> None:
    for name in ADDRESSES:
        assert installed.holder_answers(name) in NODES


def status(container: Container) -> dict[str, str]:
    lines = Path(f"/proc/{container.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_the_processes_have_the_rights_of_the_manifest_and_no_more(installed: Installation) -> None:
    control, responder = status(installed.container("n1", "control")), status(installed.container("n1", "responder"))
    assert control["Uid"].split() == control["Gid"].split() == ["65532"] * 4
    assert responder["Uid"].split() == ["0"] * 4
    assert control["CapBnd"] == "0" * 16
    assert int(responder["CapBnd"], 16) == 1 << CAP_NET_RAW
    for process in (control, responder):
        assert {process[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}, "the responder drops its own"
        assert process["NoNewPrivs"] == "1"
        assert process["Seccomp"] == SECCOMP_FILTER


def test_only_control_has_a_token_and_nothing_can_be_written_but_the_sockets(installed: Installation) -> None:
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - where it is
    control, responder = installed.container("n1", "control"), installed.container("n1", "responder")
    read = "import sys; open(sys.argv[1]).read()"
    write = "import sys; open(sys.argv[1], 'w')"
    assert control.execute("python", "-c", read, token).returncode == 0
    assert "FileNotFoundError" in responder.execute("python", "-c", read, token).stderr
    for place in ("/x", "/run/x", "/tmp/x", "/etc/x", "/var/run/secrets/kubernetes.io/serviceaccount/x"):  # noqa: S108 - shall fail
        for container in (control, responder):
            assert container.execute("python", "-c", write, place).returncode != 0, f"{container.name} writes {place}"
    assert control.execute("python", "-c", write, "/run/l2announce-responder/x").returncode != 0
    assert control.execute("python", "-c", write, "/run/l2announce/x").returncode == 0


def test_control_tells_its_state_as_kubectl_exec_would_ask(installed: Installation) -> None:
    holder = installed.holder_answers("web")
    told = installed.container(holder, "control").execute("l2announce", "who", ADDRESSES["web"])
    assert told.returncode == 0, told.stderr
    assert holder in told.stdout


def test_the_service_says_who_announces_it_and_the_policy_is_ready(installed: Installation) -> None:
    plane = installed.site.plane

    def announced() -> bool:
        events = json.loads(plane.kubectl("get", "events", "--output", "json").stdout)["items"]
        return {event["regarding" if "regarding" in event else "involvedObject"]["name"] for event in events} >= set(ADDRESSES)

    wait_until(announced, PATIENCE, "an Event on each Service", interval=0.5)
    plane.kubectl("wait", "--for=condition=Ready", "--timeout=20s", "ciliuml2announcementpolicies/l2")


def changed_manifest(verbosity: str) -> str:
    """The manifest of another version: as far as Kubernetes can tell, one whose control has other arguments."""
    documents = list(filter(None, yaml.safe_load_all(MANIFEST.read_text())))
    for document in documents:
        if document["kind"] == "DaemonSet":
            args = document["spec"]["template"]["spec"]["containers"][0]["args"]
            args[args.index("--log-level=info")] = f"--log-level={verbosity}"
    return yaml.safe_dump_all(documents)


def test_an_upgrade_and_a_roll_back_leave_no_address_without_an_answer(installed: Installation) -> None:
    for name in ADDRESSES:
        installed.holder_answers(name)
    since, before = time.time(), installed.arguments()
    pods = {installed.kubelet.on(node).uid for node in NODES}
    plane = installed.site.plane
    plane.kubectl("apply", "--server-side", "--filename", "-", stdin=changed_manifest("debug"))
    installed.rolled_out()
    assert all("--log-level=debug" in arguments for arguments in installed.arguments())
    plane.kubectl(*DAEMON_SET, "undo", "daemonset/l2announce")
    installed.rolled_out()
    assert installed.arguments() == before
    assert not pods & {installed.kubelet.on(node).uid for node in NODES}, "every Pod was replaced"
    for name, address in ADDRESSES.items():
        installed.holder_answers(name)
        gap = installed.asker.longest_gap(address, since)
        print(f"{address}: longest silence {gap * 1000:.0f} ms, owners {len(installed.asker.owners(address, since))}")
        assert gap < HAND_OVER
        check_one_at_a_time(installed, address, since)


def check_one_at_a_time(installed: Installation, address: str, since: float) -> None:
    """Two who answer the same asks would alternate with each of them; a planned move changes hands once."""
    owners = installed.asker.owners(address, since)
    assert len(owners) <= 2 * len(NODES) + 1, "an address moves at most with each Pod that ends, and not back by itself"


def test_a_responder_that_ended_is_started_again_and_control_after_it(installed: Installation) -> None:
    holder = installed.holder_answers("web")
    pod = installed.kubelet.on(holder)
    lives = [pod.containers[name].container.starts for name in CONTAINERS]
    since = time.time()
    pod.containers["responder"].container.signal(signal.SIGKILL)

    def again() -> bool:
        return all(pod.containers[name].container.starts > before for name, before in zip(CONTAINERS, lives, strict=True))

    wait_until(again, PATIENCE, "both to be started again: control lets go of its leases when its responder is gone")
    installed.holder_answers("web")
    assert pod.is_alive()
    assert installed.asker.longest_gap(ADDRESSES["web"], since) < LOSS


def test_a_node_that_is_lost_is_replaced_within_the_bound(installed: Installation) -> None:
    lost = installed.holder_answers("web")
    since = time.time()
    installed.kubelet.on(lost).lose_power()
    wait_until(lambda: installed.site.holder("web") != lost, LOSS + PATIENCE, "another holder")
    heir = installed.holder_answers("web")
    assert heir != lost
    assert installed.asker.longest_gap(ADDRESSES["web"], since) < LOSS
