"""Why a frame was, or was not, answered, in words: for ``replay --explain``. Decides nothing; it words the engine's verdict."""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

from l2announce.errors import DecodeError
from l2announce.model.address import Instant, format_mac
from l2announce.model.claim import ClaimSet
from l2announce.responder.verdict import Verdict
from l2announce.wire.arp import decode_arp
from l2announce.wire.ethernet import ETH_P_ARP, HEADER_LENGTH, decode_ethernet, without_priority_tag
from l2announce.wire.icmpv6 import (
    TARGET_OFFSET,
    decode_neighbor_advertisement,
    decode_neighbor_solicitation,
)

RULES = {
    Verdict.ANSWERED: "a good request before the deadline (RFC 826; RFC 4861, 7.2.4)",
    Verdict.NOT_CLAIMED: "no claim has this address (RFC 826; RFC 4861, 7.2.3)",
    Verdict.WRONG_INTERFACE: "claimed, but not on this link",
    Verdict.EXPIRED: "the claim's deadline has passed",
    Verdict.NOT_REQUEST: "neither an ARP request nor a neighbor solicitation (RFC 826; RFC 4861, 7.2.3)",
    Verdict.ANNOUNCEMENT: "the sender announces its own address, nobody asks (RFC 5227, 2.3)",
    Verdict.TAKEOVER: "another node of this cluster claims it: its lease has moved",
    Verdict.CONFLICT: "a stranger claims it (RFC 5227, 2.4)",
    Verdict.PROBING: "held back: nobody held it before, and it is being probed for, or a stranger has it (RFC 5227, 2.1)",
    Verdict.RATE_LIMITED: "the link, or this requester, has been answered as often as the limit allows",
    Verdict.OWN_FRAME: "our own hardware address sent it: looped back (RFC 5227, 2.4; RFC 7527)",
    Verdict.BAD_SENDER: "the hardware address to answer to is zero or a group",
    Verdict.OTHER_DESTINATION: "unicast, for another host (RFC 1122, 2.3; RFC 4861, 4.3)",
    Verdict.UNKNOWN_LINK: "links does not list this interface",
    Verdict.VLAN_TAGGED: "tagged: it belongs to the VLAN's interface (IEEE 802.1Q)",
    Verdict.OTHER_PROTOCOL: "neither ARP nor ICMPv6 directly behind the IPv6 header; fragments must be ignored (RFC 6980, 5)",
    Verdict.MALFORMED: "breaks a receive check (RFC 826; RFC 4861, 7.1.1; RFC 8200)",
}


def explain(frame: bytes, verdict: Verdict, reply: bytes | None, claims: ClaimSet, now: Instant) -> str:
    """One line: the rule with its RFC section, the claim of the target or the check that failed, and what the reply says."""
    frame = without_priority_tag(frame)
    parts = [RULES[verdict]]
    if verdict is Verdict.MALFORMED:
        parts.append(_failed_check(frame))
    if verdict in (Verdict.ANSWERED, Verdict.EXPIRED, Verdict.WRONG_INTERFACE):
        parts += _claims_of(_target(frame), claims, now)
    if reply is not None:
        parts.append(f"reply {_words(reply)}")
    return "; ".join(parts)


def _target(frame: bytes) -> str:
    if decode_ethernet(frame).ethertype == ETH_P_ARP:
        return str(decode_arp(frame[HEADER_LENGTH:]).target_protocol_address)
    return str(IPv6Address(frame[TARGET_OFFSET : TARGET_OFFSET + 16]))


def _claims_of(target: str, claims: ClaimSet, now: Instant) -> Sequence[str]:
    """The claims of an address that the verdict has found claimed."""
    address = ip_address(target)
    return [
        f"claim {address} on {', '.join(sorted(claim.interfaces))} until {claim.deadline:g} s, now {now:g} s"
        for claim in claims.claims
        if claim.address == address
    ]


def _failed_check(frame: bytes) -> str:
    """What the codec says of a malformed frame."""
    try:
        ethertype = decode_ethernet(frame).ethertype
        if ethertype == ETH_P_ARP:
            decode_arp(frame[HEADER_LENGTH:])
        else:
            decode_neighbor_solicitation(frame)
    except DecodeError as err:
        return str(err)
    raise AssertionError("a frame that the codec takes is not malformed")


def _words(reply: bytes) -> str:
    """Source, target, flags and addressee of one of our replies."""
    header = decode_ethernet(reply)
    to = format_mac(header.destination)
    if header.ethertype == ETH_P_ARP:
        packet = decode_arp(reply[HEADER_LENGTH:])
        mac = format_mac(packet.sender_hardware_address)
        return f"to {to}: {packet.sender_protocol_address} is at {mac}, tells {packet.target_protocol_address}"
    advertisement = decode_neighbor_advertisement(reply)
    mac = format_mac(header.source)
    flags = f"S={int(advertisement.solicited)} O={int(advertisement.override)} R={int(advertisement.router)}"
    source, destination = IPv6Address(reply[22:38]), IPv6Address(reply[38:54])
    return f"to {to}: {advertisement.target} is at {mac}, from {source}, tells {destination}, {flags}"
