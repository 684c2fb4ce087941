"""Held leases and wanted announcements to the ClaimSet of this node."""

from collections.abc import Iterable

from l2announce.control.policy import Announcement
from l2announce.model.address import Address, Instant
from l2announce.model.claim import Claim


def claims_for(announcements: Iterable[Announcement], deadline: Instant) -> tuple[Claim, ...]:
    """One claim for each address, on every interface that any of the announcements names, until the deadline of their lease."""
    interfaces: dict[Address, frozenset[str]] = {}
    for announcement in announcements:
        interfaces[announcement.address] = interfaces.get(announcement.address, frozenset()) | announcement.interfaces
    return tuple(Claim(address, names, deadline) for address, names in interfaces.items())
