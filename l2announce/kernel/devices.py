"""The interfaces of this network namespace with every fact that device detection asks for, by pyroute2, again after each change.

Events only say "look again": each time everything is dumped, so that nothing is ever pieced together.
"""

import asyncio
import contextlib
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.rtnl import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
)

from l2announce.model.address import Address
from l2announce.model.link import ConnectedRoute, Device, Network

SETTLE = 0.02
"""Seconds to wait after an event for those that come with it."""
RESCAN = 60.0
"""Seconds after which everything is dumped even without an event: overruns of the event socket are not always reported."""

_GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE
_ARPHRD_ETHER = 1
_AF_INET6 = 10
_IFF_UP, _IFF_LOOPBACK, _IFF_SLAVE = 0x1, 0x8, 0x800
_MAIN_TABLE = 254
_UNICAST = 1


class Devices:
    """A source of device lists. Run it on the loop of kernel/loop.py."""

    async def changes(self) -> AsyncIterator[tuple[Device, ...]]:
        """The whole list at once, then again whenever it has changed. Never ends."""
        changed = asyncio.Event()
        async with AsyncIPRoute() as requests, AsyncIPRoute() as events:
            await events.bind(groups=_GROUPS)
            listener = asyncio.create_task(_listen(events, changed))
            try:
                known: tuple[Device, ...] | None = None
                while True:
                    changed.clear()
                    devices = await _dump(requests)
                    if devices != known:
                        known = devices
                        yield devices
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), RESCAN)
                        await asyncio.sleep(SETTLE)
            finally:
                listener.cancel()


async def _listen(events: Any, changed: asyncio.Event) -> None:
    """Turn netlink events, and their loss, into one flag."""
    while True:
        try:
            async for _ in events.get():
                changed.set()
        except OSError:
            changed.set()
            await asyncio.sleep(SETTLE)


async def _dump(requests: Any) -> tuple[Device, ...]:
    links = [link async for link in await requests.link("dump")]
    addresses = [address async for address in await requests.addr("dump")]
    routes = [route async for route in await requests.route("dump", type=_UNICAST)]
    kinds = {link["index"]: _kind(link) for link in links}
    own, subnets = _addressed(addresses)
    routed = _routed(routes)
    return tuple(
        Device(
            index=link["index"],
            name=link.get("ifname") or "",
            alternative_names=_alternative_names(link),
            kind=kinds[link["index"]],
            ethernet=link["ifi_type"] == _ARPHRD_ETHER and len((link.get("address") or "").split(":")) == 6,
            up=bool(link["flags"] & _IFF_UP),
            loopback=bool(link["flags"] & _IFF_LOOPBACK),
            slave=bool(link["flags"] & _IFF_SLAVE),
            master_kind=None if link.get("master") is None else kinds.get(link.get("master"), ""),
            addresses=_ordered(own.get(link["index"], ())),
            has_default_route=link["index"] in routed.default,
            has_global_unicast_route=link["index"] in routed.unicast,
            subnets=tuple(sorted(subnets.get(link["index"], ()), key=lambda net: (net.version, net.network_address.packed, net.prefixlen))),
            connected=tuple(routed.connected.get(link["index"], ())),
            gateways=_ordered(routed.gateways.get(link["index"], ())),
        )
        for link in sorted(links, key=lambda link: link["index"])
    )


def _kind(link: Any) -> str:
    return link.get(("linkinfo", "kind")) or ""


def _alternative_names(link: Any) -> tuple[str, ...]:
    properties = link.get("prop_list")
    return tuple(properties.get_attrs("IFLA_ALT_IFNAME")) if properties is not None else ()


def _ordered(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(sorted(addresses, key=lambda address: (address.version, address.packed)))


def _addressed(messages: Iterable[Any]) -> tuple[dict[int, set[Address]], dict[int, set[Network]]]:
    """The addresses of each link, and the subnets that they are in. The peer of a point-to-point address is no address of ours."""
    own: dict[int, set[Address]] = {}
    subnets: dict[int, set[Network]] = {}
    for message in messages:
        value = message.get("local") or message.get("address")
        if value:
            own.setdefault(message["index"], set()).add(ipaddress.ip_address(value))
            prefix = f"{message.get('address') or value}/{message['prefixlen']}"
            subnets.setdefault(message["index"], set()).add(ipaddress.ip_network(prefix, strict=False))
    return own, subnets


@dataclass(slots=True)
class _Routed:
    """What the routes say of links, by index. ``connected`` in the kernel's order."""

    default: set[int] = field(default_factory=set)
    unicast: set[int] = field(default_factory=set)
    connected: dict[int, list[ConnectedRoute]] = field(default_factory=dict)
    gateways: dict[int, set[Address]] = field(default_factory=dict)


def _routed(routes: Iterable[Any]) -> _Routed:
    """Links with a default route, with one to a global unicast destination (the default route is not one), to neighbors, and to gateways.

    Gateways count in every table; the rest in the main table alone.
    """
    found = _Routed()
    positions: Counter[tuple[Network, int]] = Counter()
    for route in routes:
        if route["type"] != _UNICAST:
            continue
        hops = [hop for hop in (*(route.get("multipath") or ()), route) if hop.get("oif")]
        gateways = [(hop.get("oif"), _gateway(hop)) for hop in hops]
        for link, gateway in gateways:
            if gateway is not None:
                found.gateways.setdefault(link, set()).add(gateway)
        if route.get("table") != _MAIN_TABLE:
            continue
        links = {link for link, _ in gateways}
        destination = _destination(route)
        if not destination.prefixlen:
            found.default |= links
            continue
        if _is_global_unicast(destination.network_address):
            found.unicast |= links
        if len(gateways) == 1 and gateways[0][1] is None:
            metric = route.get("priority") or 0
            found.connected.setdefault(gateways[0][0], []).append(ConnectedRoute(destination, metric, positions[destination, metric]))
            positions[destination, metric] += 1
    return found


def _gateway(hop: Any) -> Address | None:
    """The next hop of a route, or of one leg of a multipath route; of an IPv4 route it may be an IPv6 address (RTA_VIA)."""
    text = hop.get("gateway") or (hop.get("via") or {}).get("addr")
    return ipaddress.ip_address(text) if text else None


def _destination(route: Any) -> Network:
    if destination := route.get("dst"):
        return ipaddress.ip_network(f"{destination}/{route['dst_len']}")
    return ipaddress.IPv6Network((0, 0)) if route["family"] == _AF_INET6 else ipaddress.IPv4Network((0, 0))


def _is_global_unicast(address: Address) -> bool:
    """Go's IsGlobalUnicast, which Cilium asks: private ranges count too."""
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)
