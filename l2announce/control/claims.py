"""Held leases and wanted announcements to the ClaimSet of this node."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from l2announce.control.policy import Announcement
from l2announce.model.address import Address, Instant
from l2announce.model.claim import Claim

Choice: TypeAlias = Callable[[Address, frozenset[str]], frozenset[str]]
"""Which of the interfaces on which an address is wanted shall answer for it."""


def claims_for(announcements: Iterable[Announcement], deadline: Instant, choose: Choice) -> tuple[Claim, ...]:
    """One claim for each address until the deadline of their lease, on those that ``choose`` keeps of all interfaces that any of the
    announcements names."""
    interfaces: dict[Address, frozenset[str]] = {}
    for announcement in announcements:
        interfaces[announcement.address] = interfaces.get(announcement.address, frozenset()) | announcement.interfaces
    return tuple(Claim(address, choose(address, names), deadline) for address, names in interfaces.items())
