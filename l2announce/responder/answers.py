"""The answers of one link, prepared: everything of a reply that does not depend on who asks."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from l2announce.model.address import FOREVER, NEVER, Address, Instant
from l2announce.model.link import Link
from l2announce.model.timing import HOLD_VOUCH
from l2announce.responder.limit import AnswerLimit
from l2announce.wire.arp import REPLY, REQUEST
from l2announce.wire.checksum import word_sum
from l2announce.wire.ethernet import ETH_P_ARP, ETH_P_IP, ETH_P_IPV6
from l2announce.wire.icmpv6 import (
    HOP_LIMIT,
    NEIGHBOR_ADVERTISEMENT,
    NEXT_HEADER_ICMPV6,
    TARGET_LINK_LAYER_ADDRESS,
)

_ARP = ETH_P_ARP.to_bytes(2, "big") + b"\0\1" + ETH_P_IP.to_bytes(2, "big") + b"\6\4"
ARP_REQUEST_START = _ARP + REQUEST.to_bytes(2, "big")
"""Octets 12 to 22 of every well-formed ARP request frame."""
_ARP_REPLY_START = _ARP + REPLY.to_bytes(2, "big")

_ADVERTISEMENT_LENGTH = 32
_NA_IPV6_START = (
    ETH_P_IPV6.to_bytes(2, "big") + b"\x60\0\0\0" + _ADVERTISEMENT_LENGTH.to_bytes(2, "big") + bytes((NEXT_HEADER_ICMPV6, HOP_LIMIT))
)
_NA_START = bytes((NEIGHBOR_ADVERTISEMENT, 0))
SOLICITED_OVERRIDE = b"\x60\0\0\0"
"""The flags of a solicited advertisement, with the reserved octets."""
_TARGET_OPTION = bytes((TARGET_LINK_LAYER_ADDRESS, 1))


@dataclass(slots=True)
class Answer:
    """One address on one link: until when it is answered, how often it was, and who else claims it.

    ``deadline`` is what frames are judged by: ``granted``, the claim's deadline, or NEVER while the address is held back (``probes`` is a
    number: how many probes of the running try have gone out). ``foreign_mac`` belongs to the stranger who claimed the address last,
    ``conflicts`` times in all.

    ``held_until`` is the claim's. ``vouched_at`` is when the newest probe went out that found nobody while the address may be held,
    ``asked_at`` when the one went out whose answers are waited for, FOREVER without one. ``yielded``: somebody else claimed it meanwhile.

    ``partial_sum`` is the ones' complement sum of the neighbor advertisement with its pseudo header, but for the asker's address.
    """

    address: Address
    deadline: Instant
    partial_sum: int = 0
    count: int = 0
    last: Instant = NEVER
    announcements: int = 0
    reported: tuple[int, int] = (0, 0)
    granted: Instant = NEVER
    probes: int | None = None
    conflicts: int = 0
    foreign_mac: bytes = b""
    last_conflict: Instant = NEVER
    defended: Instant = NEVER
    conflict_reported: tuple[int, bool] = (0, False)
    held_until: Instant = NEVER
    vouched_at: Instant = NEVER
    asked_at: Instant = FOREVER
    yielded: bool = False

    def grant(self, deadline: Instant, held_until: Instant) -> None:
        """Obey the deadlines of a claim. One that does not let hold the address ends what was known for holding it."""
        self.granted = deadline
        self.held_until = held_until
        if held_until <= deadline:
            self.vouched_at, self.asked_at, self.yielded = NEVER, FOREVER, False
        self.deadline = deadline if self.probes is None else NEVER

    @property
    def may_be_held(self) -> bool:
        """Whether the address may be answered beyond the claim's deadline, and nobody else has claimed it since that is so."""
        return self.held_until > self.granted and not self.yielded

    @property
    def is_held_back(self) -> bool:
        """Whether the address is not answered because somebody else has it, or may have it."""
        return self.probes is not None or self.yielded

    @property
    def until(self) -> Instant:
        """The end of every right to the address, whatever probes find."""
        return self.held_until if self.may_be_held else self.granted

    @property
    def answered_until(self) -> Instant:
        """Before this instant the address is answered: by the claim, or because a probe found nobody."""
        if self.probes is not None or not self.may_be_held:
            return self.deadline
        return max(self.deadline, min(self.held_until, self.vouched_at + HOLD_VOUCH))

    def prepare(self, link: Link) -> None:
        """Make ready to answer on ``link``, with its present hardware and link-local address."""
        if isinstance(self.address, IPv4Address):
            return
        packed = self.address.packed
        octets = (link.link_local or self.address).packed + _NA_START + SOLICITED_OVERRIDE + packed + _TARGET_OPTION + link.mac
        self.partial_sum = word_sum(octets) + _ADVERTISEMENT_LENGTH + NEXT_HEADER_ICMPV6


@dataclass(slots=True)
class LinkAnswers:
    """The answers of one link by target address octets. ``revision`` changes whenever the set of addresses does, ``limit`` counts answers.

    What replies have in common on this link: an ARP reply is the asker's MAC, ``arp_head``, the target, the asker's MAC and address; an
    advertisement the asker's MAC, ``na_head``, ``na_source`` or else the target, the asker's address, type, code and checksum,
    flags, the target, ``na_tail``.
    """

    link: Link
    ipv4: dict[bytes, Answer] = field(default_factory=dict)
    ipv6: dict[bytes, Answer] = field(default_factory=dict)
    revision: int = 0
    limit: AnswerLimit = field(default_factory=AnswerLimit)
    arp_head: bytes = field(init=False)
    na_head: bytes = field(init=False)
    na_source: bytes = field(init=False)
    na_tail: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.refresh(self.link)

    def refresh(self, link: Link) -> None:
        """Take the present state of the link, and prepare again every answer that it changes."""
        mac, self.link = link.mac, link
        self.arp_head = mac + _ARP_REPLY_START + mac
        self.na_head = mac + _NA_IPV6_START
        self.na_source = link.link_local.packed if link.link_local is not None else b""
        self.na_tail = _TARGET_OPTION + mac
        for answer in self.ipv6.values():
            answer.prepare(link)

    def table(self, address: Address) -> dict[bytes, Answer]:
        """The table that ``address`` belongs to."""
        return self.ipv4 if isinstance(address, IPv4Address) else self.ipv6

    def ipv4_addresses(self) -> tuple[IPv4Address, ...]:
        """Owned IPv4 addresses, expired ones included."""
        return tuple(IPv4Address(octets) for octets in self.ipv4)

    def ipv6_addresses(self) -> tuple[IPv6Address, ...]:
        """Owned IPv6 addresses, expired ones included."""
        return tuple(IPv6Address(octets) for octets in self.ipv6)
