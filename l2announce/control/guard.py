"""The guard list: addresses that are never announced, whatever a Service says, since answering for them would cut off hosts, not serve one.

Knows what this node can see: its own interfaces and routes, the Nodes, and the addresses at which the API server is reached.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address
from typing import NamedTuple

from l2announce.model.address import Address
from l2announce.model.link import Device, Network
from l2announce.model.objects import Node

IPVS_DEVICE = "kube-ipvs0"
"""Where kube-proxy's IPVS mode puts the address of every Service, on every node: what is there is no address of the node."""


class GuardReason(Enum):
    """Why an address is never announced. The first that applies is told, in this order."""

    NOT_UNICAST = "NotUnicast"
    """Unspecified, loopback, multicast or the limited broadcast address."""
    LINK_LOCAL = "LinkLocal"
    """169.254.0.0/16 or fe80::/10: hosts assign these themselves, and the API server refuses them as external IPs."""
    OWN_ADDRESS = "OwnAddress"
    """An address of this node, on any interface."""
    GATEWAY = "Gateway"
    """The next hop of a route of this node."""
    API_SERVER = "ApiServer"
    """Where this node reaches the API server."""
    NODE_ADDRESS = "NodeAddress"
    """An address of another Node, by its status."""
    SUBNET_ADDRESS = "SubnetAddress"
    """The network or broadcast address of a subnet of this node (RFC 919, 922), or its subnet-router anycast address (RFC 4291, 2.6.1)."""


class Guarded(NamedTuple):
    """Why one address is never announced. ``what`` ends the sentence "10.99.0.1 is ..."."""

    reason: GuardReason
    what: str


@dataclass(frozen=True, slots=True)
class GuardList:
    """The guarded addresses of this node; those that are so by their form alone need no entry."""

    known: Mapping[Address, Guarded] = field(default_factory=dict)

    def why_not(self, address: Address) -> Guarded | None:
        """Why the address is never announced; None when it may be."""
        if address.is_unspecified or address.is_loopback or address.is_multicast or address.packed == b"\xff" * 4:
            return Guarded(GuardReason.NOT_UNICAST, "no unicast address")
        if address.is_link_local:
            return Guarded(GuardReason.LINK_LOCAL, "a link-local address, which hosts assign themselves")
        return self.known.get(address)


def guard_list(node_name: str, devices: Iterable[Device], nodes: Iterable[Node], api_servers: Iterable[Address]) -> GuardList:
    """What the node ``node_name``, with these interfaces, must not announce. The answer does not depend on any order."""
    known: dict[Address, Guarded] = {}
    ordered = sorted(devices, key=lambda device: device.name)
    for reasons in (
        _own(node_name, ordered, nodes := tuple(nodes)),
        _gateways(ordered),
        ((address, Guarded(GuardReason.API_SERVER, "an address of the API server")) for address in api_servers),
        _other_nodes(node_name, nodes),
        _subnet_addresses(ordered),
    ):
        for address, guarded in reasons:
            known.setdefault(address, guarded)
    return GuardList(known)


def _own(node_name: str, devices: Iterable[Device], nodes: Iterable[Node]) -> Iterator[tuple[Address, Guarded]]:
    for device in devices:
        if device.name != IPVS_DEVICE:
            for address in device.addresses:
                yield address, Guarded(GuardReason.OWN_ADDRESS, f"an address of this node, on {device.name}")
    for node in nodes:
        if node.name == node_name:
            for address in node.addresses:
                yield address, Guarded(GuardReason.OWN_ADDRESS, f"an address of this node, by the status of node/{node.name}")


def _gateways(devices: Iterable[Device]) -> Iterator[tuple[Address, Guarded]]:
    for device in devices:
        for address in device.gateways:
            yield address, Guarded(GuardReason.GATEWAY, f"a gateway of this node, on {device.name}")


def _other_nodes(node_name: str, nodes: Iterable[Node]) -> Iterator[tuple[Address, Guarded]]:
    for node in sorted(nodes, key=lambda node: node.name):
        if node.name != node_name:
            for address in node.addresses:
                yield address, Guarded(GuardReason.NODE_ADDRESS, f"an address of node/{node.name}")


def _subnet_addresses(devices: Iterable[Device]) -> Iterator[tuple[Address, Guarded]]:
    for device in devices:
        for subnet in device.subnets if device.name != IPVS_DEVICE else ():
            for address, kind in _special(subnet):
                yield address, Guarded(GuardReason.SUBNET_ADDRESS, f"the {kind} address of {subnet}, the subnet of {device.name}")


def _special(subnet: Network) -> Iterator[tuple[Address, str]]:
    """The addresses of a subnet that belong to no host. Subnets of two addresses or one have none (RFC 3021, 6164)."""
    if subnet.num_addresses <= 2:
        return
    first, last = subnet.network_address, subnet.broadcast_address
    if isinstance(first, IPv6Address):
        yield first, "subnet-router anycast"
    else:
        yield first, "network"
        yield last, "broadcast"
