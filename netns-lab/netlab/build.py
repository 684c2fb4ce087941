"""The lab's network from its topology: namespaces, wires, addresses, routes, the rewriting of service addresses, and the backends."""

import http.client
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from ipaddress import ip_interface

from netlab.namespaces import Namespace, Network
from netlab.services import ServiceAddress
from netlab.topology import Backend, LabNode, Ports, Topology
from netlab.waiting import wait_until

WITH_PARENT = ("setpriv", "--pdeathsig", "TERM")
"""In front of a command: it gets SIGTERM when the lab dies, however the lab dies."""


def build(network: Network, topology: Topology, services: Iterable[ServiceAddress]) -> None:
    """Make everything and wait until links are ready and every backend serves. The network removes it all."""
    switch = network.namespace(topology.switch.name)
    network.bridge(switch, topology.switch.bridge, topology.switch.multicast_snooping, topology.switch.multicast_querier)
    client = network.namespace(topology.client.name)
    network.attach(switch, topology.switch.bridge, client, topology.client.device)
    client.address(topology.client.device, *topology.client.addresses)
    known = tuple(services)
    for node in topology.nodes:
        _build_node(network, topology, node, known)
    network.wait_ready()
    for node in topology.nodes:
        _serve(network[node.backend.name], node, topology.ports)
    for node in topology.nodes:
        _wait_served(network[node.name], node.backend, topology.ports)


def _build_node(network: Network, topology: Topology, node: LabNode, services: tuple[ServiceAddress, ...]) -> None:
    """One node with its backend behind it."""
    backend = node.backend
    host = network.namespace(node.name, forwarding=True)
    network.attach(network[topology.switch.name], topology.switch.bridge, host, node.device)
    host.address(node.device, *node.addresses)
    served = network.namespace(backend.name)
    network.veth(host, backend.node_device, served, backend.device)
    host.address(backend.node_device, *backend.node_addresses)
    served.address(backend.device, *backend.addresses)
    for gateway in backend.node_addresses:
        address = ip_interface(gateway).ip
        served.ip(f"-{address.version} route add default via {address}")
    host.run("nft", "-f", "-", stdin_text=dnat_rules(services, backend, topology.ports))


def dnat_rules(services: Iterable[ServiceAddress], backend: Backend, ports: Ports) -> str:
    """The nftables ruleset that sends service addresses to a node's backend: a minimal kube-proxy, alike on every node.

    A node that does not own an address would rewrite it just the same; nobody sends it the packets.
    """
    targets = {interface.version: interface.ip for interface in map(ip_interface, backend.addresses)}
    rules = []
    for version, word in ((4, "ip"), (6, "ip6")):
        addresses = ", ".join(str(item.address) for item in services if item.address.version == version)
        if addresses and version in targets:
            rules += [
                f"{word} daddr {{ {addresses} }} {protocol} dport {port} dnat {word} to {targets[version]}"
                for protocol, port in (("tcp", ports.http), ("udp", ports.echo))
            ]
    body = "\n".join(f"    {rule}" for rule in rules)
    return f"table inet service_addresses {{\n  chain prerouting {{\n    type nat hook prerouting priority dstnat;\n{body}\n  }}\n}}\n"


def _serve(namespace: Namespace, node: LabNode, ports: Ports) -> None:
    """Start the servers of one backend."""
    arguments = (node.backend.name, node.name, str(ports.http), str(ports.echo))
    namespace.popen(*WITH_PARENT, sys.executable, "-m", "netlab.backend", *arguments, stdin=subprocess.DEVNULL, start_new_session=True)


def _wait_served(namespace: Namespace, backend: Backend, ports: Ports) -> None:
    """Wait until a backend answers HTTP in every family."""
    for interface in map(ip_interface, backend.addresses):
        wait_until(partial(fetch, namespace, str(interface.ip), ports.http), 10, f"backend {backend.name} to serve on {interface.ip}")


def fetch(namespace: Namespace, address: str, port: int, timeout: float = 1.0) -> str:
    """What HTTP at an address answers to a client in ``namespace``; empty when nothing does within ``timeout`` seconds."""
    with namespace.entered():
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode().strip()
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()
