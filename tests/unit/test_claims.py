"""Announcements to claims."""

from ipaddress import IPv4Address

from l2announce.control.claims import places
from l2announce.control.policy import Announcement
from l2announce.model.address import Address
from l2announce.model.objects import NamespacedName

ONE, OTHER = NamespacedName("shop", "a"), NamespacedName("shop", "b")
VIP, SECOND = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")


def every(_: Address, names: frozenset[str]) -> frozenset[str]:
    return names


def test_one_claim_for_each_address_on_the_union_of_interfaces() -> None:
    announcements = (
        Announcement(ONE, VIP, frozenset({"eth0"})),
        Announcement(OTHER, VIP, frozenset({"eth1"})),
        Announcement(OTHER, SECOND, frozenset({"eth1"})),
    )
    assert places(announcements, every) == ((VIP, frozenset({"eth0", "eth1"})), (SECOND, frozenset({"eth1"})))
    assert places((), every) == ()


def test_the_choice_is_made_among_all_of_them() -> None:
    """Not for each Service alone: two that share an address would choose two interfaces."""
    announcements = (Announcement(ONE, VIP, frozenset({"eth0"})), Announcement(OTHER, VIP, frozenset({"eth1"})))
    assert places(announcements, lambda _, names: frozenset({max(names)})) == ((VIP, frozenset({"eth1"})),)
