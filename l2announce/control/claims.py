"""Held leases and wanted announcements to the ClaimSet of this node, and to what it writes to those leases."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from l2announce.control.groups import Group
from l2announce.control.policy import Announcement
from l2announce.model.address import Address, format_mac
from l2announce.model.lease import INTERFACES_ANNOTATION, LeaseWrite
from l2announce.model.objects import NamespacedName
from l2announce.model.report import Report

Choice: TypeAlias = Callable[[Address, frozenset[str]], frozenset[str]]
"""Which of the interfaces on which an address is wanted shall answer for it."""


Places: TypeAlias = tuple[tuple[Address, frozenset[str]], ...]
"""Addresses, each with the interfaces that answer for it."""


def places(announcements: Iterable[Announcement], choose: Choice) -> Places:
    """Each address once, on those that ``choose`` keeps of all interfaces that any of the announcements names."""
    interfaces: dict[Address, frozenset[str]] = {}
    for announcement in announcements:
        interfaces[announcement.address] = interfaces.get(announcement.address, frozenset()) | announcement.interfaces
    return tuple((address, choose(address, names)) for address, names in interfaces.items())


def of_groups(announcements: Iterable[Announcement], groups: Mapping[str, Group]) -> dict[str, tuple[Announcement, ...]]:
    """The announcements of each lease: those of the Services of its group, in their order."""
    by_service: dict[NamespacedName, list[Announcement]] = {}
    for announcement in announcements:
        by_service.setdefault(announcement.service, []).append(announcement)
    return {name: tuple(wanted for service in group.services for wanted in by_service.get(service, ())) for name, group in groups.items()}


def annotated(
    write: LeaseWrite, interfaces: Mapping[Address, frozenset[str]], report: Report | None, also: Mapping[str, str]
) -> LeaseWrite:
    """A claim of a lease says where, and with which MAC, its addresses will be announced, for those who ask the cluster; and ``also``."""
    names = frozenset().union(*interfaces.values())
    links = report.links if report is not None else ()
    pairs = sorted(f"{link.name}={format_mac(link.mac)}" for link in links if link.name in names)
    return replace(write, annotations={**write.annotations, INTERFACES_ANNOTATION: ",".join(pairs), **also})
