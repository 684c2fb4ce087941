"""What the lab gives to its clusters: EndpointSlices and node status as the API wants them, nftables rules for the embedded one."""

from netlab.embedded import Embedded, dnat_rules
from netlab.kube import endpoint_slices, node_status
from netlab.lab import MANIFESTS
from netlab.services import load_documents, load_service_addresses
from netlab.topology import load_topology

TOPOLOGY = load_topology()
SERVICES = [document for document in load_documents(MANIFESTS) if document.get("kind") == "Service"]


def test_a_service_has_an_endpoint_slice_of_every_backend_for_each_of_its_families() -> None:
    slices = {item["metadata"]["name"]: item for item in endpoint_slices(SERVICES, TOPOLOGY.nodes)}
    assert set(slices) == {"web-ipv4", "api-ipv6", "shop-ipv4", "shop-ipv6"}
    shop = slices["shop-ipv6"]
    assert shop["addressType"] == "IPv6"
    assert shop["metadata"]["labels"]["kubernetes.io/service-name"] == "shop"
    assert [(endpoint["nodeName"], endpoint["addresses"]) for endpoint in shop["endpoints"]] == [
        ("n1", ["fd98:1::2"]),
        ("n2", ["fd98:2::2"]),
        ("n3", ["fd98:3::2"]),
    ]


def test_services_and_backends_have_the_same_ports() -> None:
    ports = {("http", TOPOLOGY.ports.http, "TCP"), ("echo", TOPOLOGY.ports.echo, "UDP")}
    for service in SERVICES:
        assert {(port["name"], port["port"], port["protocol"]) for port in service["spec"]["ports"]} == ports
    for item in endpoint_slices(SERVICES, TOPOLOGY.nodes):
        assert {(port["name"], port["port"], port["protocol"]) for port in item["ports"]} == ports


def test_a_node_is_known_by_its_addresses_on_the_management_network() -> None:
    status = node_status(TOPOLOGY.nodes[1])["status"]
    assert [entry["address"] for entry in status["addresses"]] == ["10.97.0.102", "fd97::102"]
    assert [(condition["type"], condition["status"]) for condition in status["conditions"]] == [("Ready", "True")]


def test_the_embedded_cluster_sends_each_family_to_the_node_s_own_backend() -> None:
    rules = dnat_rules(load_service_addresses(MANIFESTS), TOPOLOGY.nodes[0].backend, TOPOLOGY.ports)
    assert "ip daddr { 10.99.0.10, 10.99.0.20 } tcp dport 80 dnat ip to 10.98.1.2" in rules
    assert "ip6 daddr { fd99::10, fd99::20 } udp dport 7 dnat ip6 to fd98:1::2" in rules
    assert Embedded(MANIFESTS).agent_flags("n1") == ("--manifests", str(MANIFESTS))
