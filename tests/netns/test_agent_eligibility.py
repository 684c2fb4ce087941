"""Whole agents give an address up when the objects say that another node is better: endpoints that move, a Node that is not ready.

One answer at a time, always: a holder stops before it releases, so the two never alternate.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from netlab.segment import Segment

from tests.netns.agents_stand import SLACK, WEB, Cluster, node_object, policy, service

pytestmark = pytest.mark.netns

IPV4 = "10.99.0.10"
HAND_OVER = 1.0 + SLACK
"""Seconds from the change of a file to the first answer of the successor: a notification, a report, a release, an acquisition."""


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """Two nodes and a policy."""
    made = Cluster(segment, tmp_path)
    made.write("nodes.yaml", *(node_object(name) for name in ("n1", "n2")))
    made.write("policy.yaml", policy())
    yield made
    made.close()


def endpoint(node: str, *, ready: bool = True, terminating: bool = False) -> dict[str, Any]:
    """One endpoint of a slice; if it is terminating it still serves."""
    return {"addresses": ["10.0.0.1"], "nodeName": node, "conditions": {"ready": ready, "serving": True, "terminating": terminating}}


def endpoints(*known: dict[str, Any]) -> dict[str, Any]:
    """The EndpointSlice of the Service."""
    metadata = {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "endpoints": [*known],
    }


def node(name: str, ready: str, **spec: Any) -> dict[str, Any]:
    """A Node with a condition."""
    return node_object(name) | {"spec": spec, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def reason(cluster: Cluster, name: str) -> str:
    """Why a node does not announce the Service, as it says itself."""
    return cluster.service(name, WEB).reason


def why_not_any_more(cluster: Cluster, name: str) -> list[str]:
    """Why a node stopped announcing, by its log."""
    return [entry["why"] for entry in cluster.log_entries(name) if entry["message"] == "no longer announcing"]


def test_the_address_follows_the_only_endpoint(cluster: Cluster) -> None:
    cluster.write("web.yaml", service(WEB, IPV4, externalTrafficPolicy="Local"))
    cluster.write("endpoints.yaml", endpoints(endpoint("n1")))
    cluster.start("n1", "n2")
    assert cluster.wait_holder(WEB) == "n1"
    assert reason(cluster, "n2") == "NoLocalEndpoint"
    asker = cluster.ask(IPV4)
    asker.wait_answer(IPV4, cluster.mac("n1"))

    # It ends, but still serves: nothing moves before there is another one.
    cluster.write("endpoints.yaml", endpoints(endpoint("n1", ready=False, terminating=True)))
    asker.wait_asked(50)
    assert asker.owners(IPV4) == [cluster.mac("n1")]

    moved = time.time()
    cluster.write("endpoints.yaml", endpoints(endpoint("n2")))
    assert asker.wait_answer(IPV4, cluster.mac("n2"), since=moved) - moved < HAND_OVER
    assert cluster.wait_holder(WEB) == "n2"
    asker.wait_asked(50)
    assert asker.owners(IPV4) == [cluster.mac("n1"), cluster.mac("n2")]
    cluster.wait_status("n1", lambda _: reason(cluster, "n1") == "NoLocalEndpoint", "to say why")

    assert why_not_any_more(cluster, "n1") == ["NoLocalEndpoint"]

    # None anywhere: nobody would serve what clients send, so nobody answers.
    cluster.write("endpoints.yaml", endpoints(endpoint("n1", ready=False), endpoint("n2", ready=False)))
    cluster.wait_status("n2", lambda _: reason(cluster, "n2") == "NoLocalEndpoint", "to give the address up")
    gone = time.time() + HAND_OVER
    asker.wait_asked(round(HAND_OVER * 100) + 50)
    assert not asker.of(IPV4, since=gone)
    told = cluster.command("who", IPV4, "--state-socket", str(cluster.agents["n2"].socket), check=False)
    assert told.returncode == 1
    assert "NoLocalEndpoint" in told.stdout


def test_without_any_endpoint_the_address_stays_if_asked_for(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2ANNOUNCE_ON_NO_ENDPOINTS", "keep")
    cluster.write("web.yaml", service(WEB, IPV4, externalTrafficPolicy="Local"))
    cluster.write("endpoints.yaml", endpoints(endpoint("n1")))
    cluster.start("n1", "n2")
    assert cluster.wait_holder(WEB) == "n1"
    asker = cluster.ask(IPV4)
    asker.wait_answer(IPV4, cluster.mac("n1"))
    cluster.write("endpoints.yaml", endpoints())
    cluster.wait_status("n2", lambda _: reason(cluster, "n2") == "HeldBy=n1", "to be a candidate")
    asker.wait_asked(50)
    assert asker.owners(IPV4) == [cluster.mac("n1")]


def test_a_node_that_is_not_ready_hands_over_unless_all_are(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2ANNOUNCE_NODE_GRACE", "1s")
    cluster.write("nodes.yaml", node("n1", "True"), node("n2", "True"))
    cluster.write("web.yaml", service(WEB, IPV4))
    cluster.start("n1", "n2")
    first = cluster.wait_holder(WEB)
    heir = {"n1": "n2", "n2": "n1"}[first]
    asker = cluster.ask(IPV4)
    asker.wait_answer(IPV4, cluster.mac(first))

    changed = time.time()
    cluster.write("nodes.yaml", node(first, "Unknown"), node(heir, "True"))
    taken = asker.wait_answer(IPV4, cluster.mac(heir), since=changed) - changed
    assert 1.0 < taken < 1.0 + HAND_OVER, "the grace period, and a hand-over"
    cluster.wait_status(first, lambda _: reason(cluster, first) == "NodeUnhealthy", "to say why")

    cluster.write("nodes.yaml", node(first, "Unknown"), node(heir, "False"))
    cluster.wait_status(first, lambda _: reason(cluster, first) == f"HeldBy={heir}", "to be a candidate again")
    asker.wait_asked(100)
    assert asker.owners(IPV4) == [cluster.mac(first), cluster.mac(heir)]


def test_an_address_that_needs_its_subnet(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2ANNOUNCE_SUBNET_MATCH", "require")
    elsewhere = "198.51.100.10"
    cluster.write("web.yaml", service(WEB, elsewhere))
    cluster.start("n1", "n2")
    for name in ("n1", "n2"):
        cluster.wait_status(name, lambda _, name=name: reason(cluster, name) == "NoSubnet", "to say why")
    asker = cluster.ask(elsewhere)
    asker.wait_asked(50)
    assert not asker.of(elsewhere)
    cluster.agents["n2"].namespace.address("eth0", "198.51.100.102/24")
    asker.wait_answer(elsewhere, cluster.mac("n2"))
    assert cluster.wait_holder(WEB) == "n2"
    assert reason(cluster, "n1") == "NoSubnet"
    asker.wait_asked(50)
    assert asker.owners(elsewhere) == [cluster.mac("n2")]
