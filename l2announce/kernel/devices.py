"""The interfaces of this network namespace with every fact that device detection asks for, by pyroute2, again after each change.

Events only say "look again": each time everything is dumped, so that nothing is ever pieced together.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Iterable
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
from l2announce.model.link import Device

SETTLE = 0.02
"""Seconds to wait after an event for those that come with it."""
RESCAN = 60.0
"""Seconds after which everything is dumped even without an event: overruns of the event socket are not always reported."""

_GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE
_ARPHRD_ETHER = 1
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
    routes = [route async for route in await requests.route("dump", table=_MAIN_TABLE)]
    kinds = {link["index"]: _kind(link) for link in links}
    by_link: dict[int, list[Address]] = {}
    for message in addresses:
        value = message.get("local") or message.get("address")
        if value:
            by_link.setdefault(message["index"], []).append(ipaddress.ip_address(value))
    default, unicast = _routed(routes)
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
            addresses=tuple(sorted(by_link.get(link["index"], ()), key=lambda address: (address.version, address.packed))),
            has_default_route=link["index"] in default,
            has_global_unicast_route=link["index"] in unicast,
        )
        for link in sorted(links, key=lambda link: link["index"])
    )


def _kind(link: Any) -> str:
    return link.get(("linkinfo", "kind")) or ""


def _alternative_names(link: Any) -> tuple[str, ...]:
    properties = link.get("prop_list")
    return tuple(properties.get_attrs("IFLA_ALT_IFNAME")) if properties is not None else ()


def _routed(routes: Iterable[Any]) -> tuple[set[int], set[int]]:
    """The links with a default route, and those with a route to a global unicast destination (the default route is not one)."""
    default: set[int] = set()
    unicast: set[int] = set()
    for route in routes:
        if route["type"] != _UNICAST:
            continue
        hops = [hop["oif"] for hop in route.get("multipath") or ()]
        links = {*hops, route.get("oif")} - {None}
        destination = route.get("dst")
        if not route["dst_len"] or destination is None:
            default |= links
        elif _is_global_unicast(ipaddress.ip_address(destination)):
            unicast |= links
    return default, unicast


def _is_global_unicast(address: Address) -> bool:
    """Go's IsGlobalUnicast, which Cilium asks: private ranges count too."""
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)
