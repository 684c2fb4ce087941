"""The frames that the responder sends of itself: announcements and probes."""

from ipaddress import IPv4Address
from typing import NamedTuple

from l2announce.model.address import Address
from l2announce.model.link import Link
from l2announce.wire import arp, icmpv6


class Transmit(NamedTuple):
    """A frame to send on a link. ``announced`` is the address that it announces or probes for, None when it answers somebody."""

    ifindex: int
    frame: bytes
    announced: Address | None = None
    is_probe: bool = False


def announcement_frames(address: Address, link: Link) -> tuple[bytes, ...]:
    """Both forms of gratuitous ARP (RFC 5227, 3), or one unsolicited neighbor advertisement (RFC 4861, 7.2.6)."""
    if isinstance(address, IPv4Address):
        return arp.arp_announcements(link.mac, address)
    return (icmpv6.neighbor_announcement(link.mac, address, link.link_local),)


def probe_frame(address: Address, link: Link) -> bytes:
    """An ARP probe (RFC 5227, 1.1), or a solicitation of duplicate address detection (RFC 4862, 5.4.2)."""
    return arp.arp_probe(link.mac, address) if isinstance(address, IPv4Address) else icmpv6.neighbor_probe(link.mac, address)
