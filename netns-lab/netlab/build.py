"""The lab's network from its topology: namespaces, wires, addresses, routes and the backends. It knows nothing of service addresses."""

import http.client
import subprocess
import sys
from functools import partial
from ipaddress import ip_interface

from netlab.namespaces import Namespace, Network
from netlab.topology import Backend, LabNode, Ports, Topology
from netlab.waiting import wait_until

WITH_PARENT = ("setpriv", "--pdeathsig", "TERM")
"""In front of a command: it gets SIGTERM when the lab dies, however the lab dies."""


def build(network: Network, topology: Topology) -> None:
    """Make everything and wait until links are ready and every backend serves. The network removes it all."""
    switch = network.namespace(topology.switch.name)
    network.bridge(switch, topology.switch.bridge, topology.switch.multicast_snooping, topology.switch.multicast_querier)
    client = network.namespace(topology.client.name)
    network.attach(switch, topology.switch.bridge, client, topology.client.device)
    client.address(topology.client.device, *topology.client.addresses)
    for node in topology.nodes:
        _build_node(network, topology, node)
    network.wait_ready()
    for node in topology.nodes:
        _serve(network[node.backend.name], node, topology.ports)
    for node in topology.nodes:
        _wait_served(network[node.name], node.backend, topology.ports)


def _build_node(network: Network, topology: Topology, node: LabNode) -> None:
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
