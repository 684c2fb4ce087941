"""Why a frame was, or was not, answered, in words: for ``replay --explain``. Decides nothing; it words the engine's verdict."""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from l2announce.errors import DecodeError
from l2announce.model.address import Instant, format_mac
from l2announce.model.claim import ClaimSet
from l2announce.responder.verdict import Verdict
from l2announce.wire.arp import decode_arp
from l2announce.wire.ethernet import ETH_P_ARP, HEADER_LENGTH, decode_ethernet, without_priority_tag
from l2announce.wire.icmpv6 import (
    ICMPV6_OFFSET,
    NEIGHBOR_ADVERTISEMENT,
    TARGET_OFFSET,
    decode_neighbor_advertisement,
    decode_neighbor_solicitation,
)


class Rule(NamedTuple):
    """What is to be said of a verdict: ``frame`` is what came in, ``why`` the reason, ``source`` where it is written ("" when it is ours),
    ``remedy`` what an operator can do about it. docs/wire.md has them as a table."""

    frame: str
    why: str
    source: str
    remedy: str


RULES = {
    Verdict.ANSWERED: Rule(
        "a request for an address of ours",
        "a good request before the deadline",
        "RFC 826; RFC 4861, 7.2.4",
        "nothing; a client that still learns nothing does not get the reply: look for port security, ARP or ND inspection on the switch",
    ),
    Verdict.NOT_CLAIMED: Rule(
        "a request for another address",
        "no claim has this address",
        "RFC 826; RFC 4861, 7.2.3",
        "nothing, unless it should be announced here: `l2announce who ADDRESS` tells the holder, or why there is none",
    ),
    Verdict.WRONG_INTERFACE: Rule(
        "a request for an address of ours, on another link",
        "claimed, but not on this link",
        "",
        "compare `interfaces` of the policy with the link that clients are on (topology.md)",
    ),
    Verdict.EXPIRED: Rule(
        "a request for an address that was ours",
        "the claim's deadline has passed",
        "",
        "look why the lease was not renewed: the API server, or an agent that stood still (operations.md); another node may answer by now",
    ),
    Verdict.NOT_REQUEST: Rule(
        "an ARP reply or another opcode, an advertisement, another ICMPv6 message",
        "neither an ARP request nor a neighbor solicitation",
        "RFC 826; RFC 4861, 7.2.3",
        "nothing",
    ),
    Verdict.ANNOUNCEMENT: Rule(
        "an ARP request whose sender asks for its own address",
        "the sender announces its own address, nobody asks",
        "RFC 5227, 1.1 and 2.3",
        "nothing",
    ),
    Verdict.TAKEOVER: Rule(
        "a claim of an address of ours, by the MAC of another node",
        "another node of this cluster claims it: its lease has moved",
        "",
        "nothing at a failover; when it goes on, ask both nodes `l2announce who ADDRESS`: they see different leases (election.md)",
    ),
    Verdict.CONFLICT: Rule(
        "a claim of an address of ours, by a MAC that is no node's",
        "a stranger claims it",
        "RFC 5227, 2.4",
        "find the MAC (`l2announce who ADDRESS`) in the switch's table and take the address from that host (announcements.md)",
    ),
    Verdict.PROBING: Rule(
        "a request for an address that is held back",
        "held back: nobody held it before, and it is being probed for, or a stranger has it",
        "RFC 5227, 2.1.1; RFC 4862, 5.4",
        "wait a second; when it goes on, a stranger has the address: as `conflict`",
    ),
    Verdict.RATE_LIMITED: Rule(
        "a good request, one of very many",
        "the link, or this requester, has been answered as often as the limit allows",
        "",
        "find out who asks so often (`tcpdump -e arp or icmp6`): a flood, or a loop; `--answer-limit` sets the limit (announcements.md)",
    ),
    Verdict.OWN_FRAME: Rule(
        "a frame from our own MAC",
        "our own hardware address sent it: looped back",
        "RFC 5227, 2.4; RFC 7527, 4.2",
        "look for a loop, or a bond or switch that sends frames back, or another host with this MAC",
    ),
    Verdict.BAD_SENDER: Rule(
        "a request from a MAC of zero, or of a group",
        "the hardware address to answer to is zero or a group",
        "IEEE 802.3, 3.2.3",
        "find the host, by the Ethernet source of a capture; it is broken, or tries to harm",
    ),
    Verdict.OTHER_DESTINATION: Rule(
        "a unicast frame, or a solicitation to a unicast address",
        "unicast, for another host",
        "IEEE 802.3, 3.2.4; RFC 4861, 4.3",
        "nothing; in a capture of promiscuous mode it is usual",
    ),
    Verdict.UNKNOWN_LINK: Rule(
        "any, on an interface that is not listed",
        "links does not list this interface",
        "",
        "in replay, add the interface to `links`; on a node, the link has just gone",
    ),
    Verdict.VLAN_TAGGED: Rule(
        "any, with an 802.1Q or 802.1ad tag of a VLAN",
        "tagged: it belongs to the VLAN's interface",
        "IEEE 802.1Q, 9.6",
        "announce on the VLAN's own interface, or have the switch send this VLAN untagged",
    ),
    Verdict.OTHER_PROTOCOL: Rule(
        "neither ARP nor IPv6; IPv6 with another next header, as a fragment has",
        "neither ARP nor ICMPv6 directly behind the IPv6 header; fragments must be ignored",
        "RFC 6980, 5",
        "nothing",
    ),
    Verdict.MALFORMED: Rule(
        "ARP for other hardware or another protocol, too short, or a neighbor message that fails a check",
        "breaks a receive check",
        "RFC 826; RFC 4861, 7.1; RFC 8200, 3 and 8.1",
        "`replay --explain` names the check; find the host, or what damages its frames on the way",
    ),
}


def explain(frame: bytes, verdict: Verdict, reply: bytes | None, claims: ClaimSet, now: Instant) -> str:
    """One line: the rule with its RFC section, the claim of the target or the check that failed, and what the reply says."""
    frame = without_priority_tag(frame)
    rule = RULES[verdict]
    parts = [f"{rule.why} ({rule.source})" if rule.source else rule.why]
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
        elif frame[ICMPV6_OFFSET : ICMPV6_OFFSET + 1] == bytes([NEIGHBOR_ADVERTISEMENT]):
            decode_neighbor_advertisement(frame)
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
