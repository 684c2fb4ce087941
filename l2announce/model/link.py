"""Network interfaces: what the responder needs to answer (Link), and what control needs to choose (Device)."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from l2announce.model.address import Address

Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Link:
    """One Ethernet interface as the responder sees it (rtnetlink's words).

    ``carrier`` is true when the link is up and has carrier (IFF_UP and IFF_LOWER_UP), so frames can flow.
    ``link_local`` is its usable (not tentative) IPv6 link-local address, the source of neighbor advertisements, if it has one.
    """

    index: int
    name: str
    mac: bytes
    carrier: bool = True
    link_local: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class ConnectedRoute:
    """A route to neighbors on the link itself: without a gateway. Of equal destinations the kernel takes the least ``metric``, then the
    least ``position``, which counts the routes of equal destination and metric in the kernel's order."""

    destination: Network
    metric: int = 0
    position: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """One interface with the facts that Cilium's device detection asks for (see control/devices.py).

    ``kind`` is rtnetlink's IFLA_INFO_KIND (``veth``, ``bridge``, ``vlan``, ... or "" for hardware), ``master_kind`` that of its master or
    None when it has no master. ``ethernet`` is ARPHRD_ETHER with a MAC. ``up`` is IFF_UP. ``subnets`` are those of its addresses,
    ``connected`` its routes of the main table, ``gateways`` the next hops of its routes in any table.
    """

    index: int
    name: str
    alternative_names: tuple[str, ...] = ()
    kind: str = ""
    ethernet: bool = True
    up: bool = True
    loopback: bool = False
    slave: bool = False
    master_kind: str | None = None
    addresses: tuple[Address, ...] = field(default=())
    has_default_route: bool = False
    has_global_unicast_route: bool = False
    subnets: tuple[Network, ...] = ()
    connected: tuple[ConnectedRoute, ...] = ()
    gateways: tuple[Address, ...] = ()
