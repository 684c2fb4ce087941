"""The Responder on examples: every verdict, the fence, what is announced when. tests/property/test_engine_properties.py has the rest."""

import math
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from l2announce.model.address import BROADCAST_MAC, Address, solicited_node_multicast
from l2announce.model.claim import NO_CLAIMS, Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.model.report import AnswerRecord, ConflictRecord, Report
from l2announce.model.timing import ANNOUNCE_BURST, ANNOUNCE_GAP, ANNOUNCE_OFFSETS, ANNOUNCE_RETRIES, ANNOUNCE_RETRY
from l2announce.responder import records
from l2announce.responder.batch import NDP_SLOT, answer_ndp
from l2announce.responder.engine import Responder
from l2announce.responder.frames import Transmit
from l2announce.responder.verdict import Verdict
from l2announce.wire.arp import NO_MAC, REPLY, REQUEST, ArpPacket, arp_announcements, arp_probe, decode_arp, encode_arp
from l2announce.wire.ethernet import ETH_P_ARP, EthernetHeader
from l2announce.wire.icmpv6 import (
    ALL_NODES,
    ALL_NODES_MAC,
    UNSPECIFIED,
    NeighborAdvertisement,
    NeighborSolicitation,
    decode_neighbor_advertisement,
    encode_neighbor_advertisement,
    encode_neighbor_solicitation,
    multicast_mac,
    neighbor_announcement,
    neighbor_probe,
)

MAC, OTHER_MAC, ASKER, PEER = (bytes.fromhex(f"0200000000{i:02x}") for i in (1, 2, 9, 5))
A4, B4, ASKER4 = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), IPv4Address("192.0.2.9")
A6, B6, ASKER6 = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"), IPv6Address("fe80::9")
ETH0, ETH1 = Link(2, "eth0", MAC), Link(3, "eth1", OTHER_MAC)
DEADLINE = 100.0


def claim(address: Address, *names: str, deadline: float = DEADLINE) -> Claim:
    return Claim(address, frozenset(names or ("eth0",)), deadline)


def claim_set(*claims: Claim, generation: int = 1) -> ClaimSet:
    return ClaimSet(generation, claims)


def responder_with(*claims: Claim, links: tuple[Link, ...] = (ETH0, ETH1), now: float = 0.0) -> Responder:
    """A responder whose announcements of the start are over."""
    responder = Responder()
    responder.replace_links(links, now)
    responder.replace_claims(claim_set(*claims), now)
    announce(responder)
    return responder


def announce(responder: Responder, until: float = math.inf) -> list[tuple[float, int, bytes]]:
    """Handle every timer up to ``until`` on time; when, where and what was sent."""
    found: list[tuple[float, int, bytes]] = []
    while (timer := responder.next_timer()) is not None and timer <= until:
        responder.handle_timer(timer)
        found += [(timer, ifindex, frame) for ifindex, frame, *_ in responder.frames_to_send()]
    return found


def instants(responder: Responder, ifindex: int = 2) -> list[float]:
    return sorted({when for when, index, _ in announce(responder) if index == ifindex})


def at_offsets(start: float) -> list[float]:
    return [start + offset for offset in ANNOUNCE_OFFSETS]


def arp_frame(
    target: IPv4Address = A4, opcode: int = REQUEST, sender: bytes = ASKER, spa: IPv4Address = ASKER4, to: bytes = BROADCAST_MAC
) -> bytes:
    return EthernetHeader(to, ASKER, ETH_P_ARP).encode() + encode_arp(ArpPacket(opcode, sender, spa, NO_MAC, target))


def ns_frame(target: IPv6Address = A6, source: IPv6Address = ASKER6, option: bytes | None = ASKER, to: bytes | None = None) -> bytes:
    group = solicited_node_multicast(target)
    return encode_neighbor_solicitation(ASKER, to or multicast_mac(group), NeighborSolicitation(source, group, target, option))


def advertisement(target: IPv6Address, option: bytes | None = ASKER) -> bytes:
    """Unsolicited, from ASKER."""
    told = NeighborAdvertisement(target, target_link_layer_address=option)
    return encode_neighbor_advertisement(ASKER, ALL_NODES_MAC, target, ALL_NODES, told)


NA_FRAME = encode_neighbor_advertisement(ASKER, ALL_NODES_MAC, B6, ALL_NODES, NeighborAdvertisement(B6))


# -- verdicts


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (arp_frame(), Verdict.ANSWERED),
        (arp_frame(spa=IPv4Address(0)), Verdict.ANSWERED),
        (arp_frame(to=MAC), Verdict.ANSWERED),
        (arp_frame() + bytes(18), Verdict.ANSWERED),
        (arp_frame(B4), Verdict.WRONG_INTERFACE),
        (arp_frame(ASKER4, spa=A4), Verdict.CONFLICT),
        (arp_frame(IPv4Address("192.0.2.77")), Verdict.NOT_CLAIMED),
        (arp_frame(spa=ASKER4, target=ASKER4), Verdict.ANNOUNCEMENT),
        (arp_frame(IPv4Address("192.0.2.3")), Verdict.EXPIRED),
        (arp_frame(opcode=REPLY), Verdict.NOT_REQUEST),
        (arp_frame(opcode=3), Verdict.NOT_REQUEST),
        (arp_frame(spa=A4), Verdict.CONFLICT),
        (arp_frame(spa=A4, opcode=REPLY), Verdict.CONFLICT),
        (arp_frame(spa=A4, opcode=3), Verdict.NOT_REQUEST),
        (arp_frame(spa=B4, opcode=REPLY), Verdict.NOT_REQUEST),
        (arp_frame(spa=A4, sender=PEER), Verdict.TAKEOVER),
        (arp_frame(spa=A4, sender=OTHER_MAC), Verdict.ANNOUNCEMENT),
        (advertisement(A6), Verdict.CONFLICT),
        (advertisement(A6, None), Verdict.CONFLICT),
        (advertisement(A6, PEER), Verdict.TAKEOVER),
        (advertisement(A6, MAC), Verdict.NOT_REQUEST),
        (advertisement(A6, NO_MAC), Verdict.NOT_REQUEST),
        (advertisement(A6)[:70], Verdict.MALFORMED),
        (arp_frame(sender=NO_MAC), Verdict.BAD_SENDER),
        (arp_frame(sender=BROADCAST_MAC), Verdict.BAD_SENDER),
        (arp_frame(sender=MAC), Verdict.OWN_FRAME),
        (BROADCAST_MAC + MAC + arp_frame()[12:], Verdict.OWN_FRAME),
        (arp_frame(to=OTHER_MAC), Verdict.OTHER_DESTINATION),
        (arp_frame()[:41], Verdict.MALFORMED),
        (arp_frame()[:13], Verdict.MALFORMED),
        (b"", Verdict.MALFORMED),
        (arp_frame()[:12] + bytes.fromhex("81000005") + arp_frame()[12:], Verdict.VLAN_TAGGED),
        (arp_frame()[:12] + bytes.fromhex("88a80005") + arp_frame()[12:], Verdict.VLAN_TAGGED),
        (arp_frame()[:12] + b"\x08\x00" + bytes(40), Verdict.OTHER_PROTOCOL),
        (ns_frame(), Verdict.ANSWERED),
        (ns_frame(option=None), Verdict.ANSWERED),
        (ns_frame(source=UNSPECIFIED, option=None), Verdict.ANSWERED),
        (ns_frame(to=MAC), Verdict.ANSWERED),
        (ns_frame() + bytes(20), Verdict.ANSWERED),
        (ns_frame(B6), Verdict.WRONG_INTERFACE),
        (ns_frame(ASKER6, source=A6), Verdict.NOT_CLAIMED),
        (ns_frame(IPv6Address("2001:db8::3")), Verdict.EXPIRED),
        (ns_frame(to=OTHER_MAC), Verdict.OTHER_DESTINATION),
        (ns_frame(option=NO_MAC), Verdict.BAD_SENDER),
        (ns_frame(option=ALL_NODES_MAC), Verdict.BAD_SENDER),
        (ns_frame(option=MAC), Verdict.OWN_FRAME),
        (NA_FRAME, Verdict.NOT_REQUEST),
        (ns_frame()[:20] + b"\x2c" + ns_frame()[21:], Verdict.OTHER_PROTOCOL),
        (ns_frame()[:56] + b"\0\0" + ns_frame()[58:], Verdict.MALFORMED),
        (ns_frame()[:54], Verdict.MALFORMED),
        (ns_frame()[:14], Verdict.MALFORMED),
        (ns_frame()[:21] + b"\x40" + ns_frame()[22:], Verdict.MALFORMED),
    ],
)
def test_every_verdict(frame: bytes, verdict: Verdict) -> None:
    expired = (claim(IPv4Address("192.0.2.3"), deadline=10.0), claim(IPv6Address("2001:db8::3"), deadline=10.0))
    owned = (claim(A4), claim(A6), claim(B4, "eth1"), claim(B6, "eth1"), *expired)
    responder = responder_with(*owned)
    responder.replace_claims(ClaimSet(2, owned, peers=frozenset({PEER})), 0.0)
    assert responder.receive_frame(frame, 2, 10.0) is verdict
    assert responder.verdicts == {verdict: 1}
    assert len(responder.frames_to_send()) == (verdict is Verdict.ANSWERED)


def test_a_frame_of_an_unknown_link() -> None:
    assert responder_with(claim(A4)).receive_frame(arp_frame(), 9, 1.0) is Verdict.UNKNOWN_LINK


def test_verdicts_have_distinct_labels() -> None:
    assert len({verdict.value for verdict in Verdict}) == len(Verdict) == 17


# -- what an answer says


def reply_to(responder: Responder, frame: bytes, ifindex: int = 2) -> bytes:
    assert responder.receive_frame(frame, ifindex, 1.0) is Verdict.ANSWERED
    ((index, reply, announced, _),) = responder.frames_to_send()
    assert announced is None
    assert index == ifindex
    assert responder.frames_to_send() == []
    return reply


def test_an_arp_reply() -> None:
    reply = reply_to(responder_with(claim(A4)), arp_frame(sender=OTHER_MAC))
    assert reply[:14] == OTHER_MAC + MAC + b"\x08\x06", "to the ARP sender, not to the Ethernet source"
    assert decode_arp(reply[14:]) == ArpPacket(REPLY, MAC, A4, OTHER_MAC, ASKER4)


@pytest.mark.parametrize(("option", "to"), [(OTHER_MAC, OTHER_MAC), (None, ASKER)])
def test_a_solicited_advertisement_is_unicast(option: bytes | None, to: bytes) -> None:
    reply = reply_to(responder_with(claim(A6)), ns_frame(option=option))
    assert reply[:12] == to + MAC
    assert reply[22:54] == A6.packed + ASKER6.packed
    assert decode_neighbor_advertisement(reply) == NeighborAdvertisement(A6, False, True, True, MAC)


def test_an_advertisement_comes_from_the_present_link_local_address() -> None:
    """Both ways of answering follow it: it appears, it changes, it is gone."""
    responder = responder_with(claim(A6))
    for link_local in (None, IPv6Address("fe80::1"), IPv6Address("fe80::2"), None):
        responder.replace_links([replace(ETH0, link_local=link_local), ETH1], 50.0)
        single = reply_to(responder, ns_frame())
        assert single[22:38] == (link_local or A6).packed
        batch = answer_ndp(responder, ns_frame().ljust(NDP_SLOT, b"\0"), [len(ns_frame())], ETH0.index, 50.0)
        assert batch[: len(single)] == single


def test_duplicate_address_detection_is_told_to_all_nodes() -> None:
    reply = reply_to(responder_with(claim(A6)), ns_frame(source=UNSPECIFIED, option=None))
    assert reply[:12] == ALL_NODES_MAC + MAC
    assert reply[22:54] == A6.packed + ALL_NODES.packed
    assert decode_neighbor_advertisement(reply) == NeighborAdvertisement(A6, False, False, True, MAC)


# -- claims


def test_no_answer_after_withdrawal() -> None:
    responder = responder_with(claim(A4), claim(A6))
    responder.replace_claims(claim_set(claim(A6)), 1.0)
    assert responder.receive_frame(arp_frame(), 2, 1.0) is Verdict.NOT_CLAIMED
    assert responder.receive_frame(ns_frame(), 2, 1.0) is Verdict.ANSWERED
    responder.replace_claims(claim_set(), 1.0)
    assert responder.receive_frame(ns_frame(), 2, 1.0) is Verdict.NOT_CLAIMED


def test_no_announcement_after_withdrawal_or_deadline() -> None:
    responder = Responder()
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(claim_set(claim(A4), claim(B4, deadline=1.1)), 0.0)
    sent = announce(responder, 1.05)
    assert {decode_arp(frame[14:]).sender_protocol_address for _, _, frame in sent} == {A4, B4}
    responder.replace_claims(claim_set(claim(B4, deadline=1.1)), 1.05)
    assert announce(responder) == []
    assert responder.next_timer() is None


def test_of_several_claims_for_an_address_the_latest_deadline_holds() -> None:
    for deadlines in ((5.0, 9.0), (9.0, 5.0)):
        responder = responder_with(*(claim(A4, deadline=deadline) for deadline in deadlines))
        assert responder.receive_frame(arp_frame(), 2, 8.9) is Verdict.ANSWERED
        assert responder.receive_frame(arp_frame(), 2, 9.0) is Verdict.EXPIRED


def test_live_claims() -> None:
    responder = Responder()
    assert not responder.has_live_claims(0.0)
    responder.replace_claims(claim_set(claim(A4, "nowhere")), 0.0)
    assert responder.has_live_claims(99.9)
    assert not responder.has_live_claims(DEADLINE)


def test_the_groups_to_be_a_member_of() -> None:
    responder = responder_with(claim(A6), claim(A6 + 2**64, "eth0", "eth1"), claim(A4), claim(B4, "eth1"))
    assert responder.solicited_node_groups() == {2: {IPv6Address("ff02::1:ff00:1")}, 3: {IPv6Address("ff02::1:ff00:1")}}
    responder.replace_claims(claim_set(claim(A4)), 0.0)
    assert responder.solicited_node_groups() == {}


def test_the_revision_tells_when_owned_addresses_change() -> None:
    responder = responder_with(claim(A4))
    answers = responder.links[2]
    before = answers.revision
    responder.replace_claims(claim_set(claim(A4, deadline=200.0)), 1.0)
    assert answers.revision == before
    responder.replace_claims(claim_set(claim(A4), claim(A6)), 1.0)
    assert answers.revision == before + 1
    responder.replace_claims(claim_set(claim(A6)), 1.0)
    assert answers.revision == before + 2
    assert (answers.ipv4_addresses(), answers.ipv6_addresses()) == ((), (A6,))


def test_a_renamed_link_has_a_new_revision() -> None:
    """Its socket's filter was made from the old revision, for other addresses."""
    responder = responder_with(claim(A4, "eth0"), claim(B4, "eth7"))
    before = responder.links[2].revision
    responder.replace_links([Link(2, "eth7", MAC), ETH1], 1.0)
    assert responder.links[2].ipv4_addresses() == (B4,)
    assert responder.links[2].revision > before


# -- announcements


@pytest.mark.parametrize("address", [A4, A6])
def test_a_newly_won_address_is_announced_five_times(address: Address) -> None:
    responder = Responder()
    link_local = IPv6Address("fe80::1")
    responder.replace_links([Link(2, "eth0", MAC, True, link_local)], 0.0)
    responder.replace_claims(claim_set(claim(address)), 10.0)
    sent = announce(responder)
    expected = arp_announcements(MAC, A4) if address == A4 else (neighbor_announcement(MAC, A6, link_local),)
    assert sent == [(when, 2, frame) for when in at_offsets(10.0) for frame in expected]
    assert responder.report(20.0).announcements == len(sent) == 5 * len(expected)


def test_announcements_of_one_link_stay_under_the_cap() -> None:
    responder = Responder()
    responder.replace_links([ETH0, ETH1], 0.0)
    addresses = [IPv4Address(0x0A000000 + i) for i in range(1000)]
    responder.replace_claims(claim_set(*(claim(a, "eth0", "eth1") for a in addresses)), 0.0)
    sent = announce(responder)
    for ifindex in (2, 3):
        times = [when for when, index, _ in sent if index == ifindex][::2]
        assert all(later - earlier > ANNOUNCE_GAP * 0.99 for earlier, later in zip(times, times[ANNOUNCE_BURST:], strict=False))
        assert times[-1] - times[0] < 9.0
        assert {decode_arp(frame[14:]).sender_protocol_address for _, index, frame in sent if index == ifindex} == set(addresses)


def test_nothing_is_announced_without_carrier_and_all_of_it_when_it_comes() -> None:
    down = Link(2, "eth0", MAC, carrier=False)
    responder = Responder()
    responder.replace_links([down], 0.0)
    responder.replace_claims(claim_set(claim(A4), claim(A6)), 0.0)
    assert responder.next_timer() is None
    responder.replace_links([ETH0], 5.0)
    assert instants(responder) == at_offsets(5.0)
    assert responder.report(20.0).announcements == 15


def test_a_link_that_goes_down_falls_silent() -> None:
    responder = Responder()
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(claim_set(claim(A4)), 0.0)
    assert announce(responder, 0.5)
    responder.replace_links([Link(2, "eth0", MAC, carrier=False)], 0.5)
    assert announce(responder) == []
    responder.replace_links([ETH0], 2.0)
    assert instants(responder) == at_offsets(2.0)


@pytest.mark.parametrize(
    ("link", "announced"),
    [
        (ETH0, False),
        (Link(2, "eth0", MAC, True, IPv6Address("fe80::5")), False),
        (Link(2, "eth0", OTHER_MAC), True),
        (Link(7, "eth0", MAC), True),
        (Link(7, "eth0", OTHER_MAC), True),
        (Link(2, "eth7", MAC), True),
        (Link(2, "eth8", MAC), False),
    ],
)
def test_what_changes_about_a_link_is_announced_if_receivers_need_it(link: Link, announced: bool) -> None:
    responder = responder_with(claim(A4, "eth0", "eth7"), links=(ETH0,))
    responder.replace_links([link], 20.0)
    assert instants(responder, link.index) == (at_offsets(20.0) if announced else [])


def test_a_changed_mac_is_in_answers_and_announcements_at_once() -> None:
    responder = Responder()
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(claim_set(claim(A4)), 0.0)
    announce(responder, 0.5)
    responder.replace_links([Link(2, "eth0", OTHER_MAC)], 0.5)
    assert decode_arp(reply_to(responder, arp_frame())[14:]).sender_hardware_address == OTHER_MAC
    sent = announce(responder)
    assert [frame for _, _, frame in sent] == [*arp_announcements(OTHER_MAC, A4)] * 5


def test_the_rounds_of_a_vanished_link_end() -> None:
    responder = Responder()
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(claim_set(claim(A4), claim(A6)), 0.0)
    responder.replace_links([], 0.1)
    assert responder.next_timer() is None
    assert responder.links == {}


def test_an_extended_deadline_is_not_announced_and_a_won_back_address_is() -> None:
    responder = responder_with(claim(A4, deadline=15.0))
    responder.replace_claims(claim_set(claim(A4, deadline=30.0)), 14.9)
    assert announce(responder) == []
    responder.replace_claims(claim_set(claim(A4, deadline=45.0)), 30.0)
    assert instants(responder) == at_offsets(30.0)


def test_an_extension_does_not_disturb_the_round_in_progress() -> None:
    responder = Responder()
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(claim_set(claim(A4, deadline=2.0)), 0.0)
    announce(responder, 1.5)
    responder.replace_claims(claim_set(claim(A4, deadline=50.0)), 1.5)
    assert instants(responder) == [3.0, 7.0]


def test_a_withdrawn_address_that_comes_back_is_announced_anew() -> None:
    responder = responder_with(claim(A4))
    responder.replace_claims(NO_CLAIMS, 20.0)
    responder.replace_claims(claim_set(claim(A4)), 21.0)
    assert instants(responder) == at_offsets(21.0)


def test_a_claim_that_is_over_already_is_not_announced() -> None:
    responder = Responder()
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(claim_set(claim(A4, deadline=5.0)), 5.0)
    assert responder.next_timer() is None
    assert responder.receive_frame(arp_frame(), 2, 5.0) is Verdict.EXPIRED


def test_held_addresses_are_refreshed_until_their_deadline() -> None:
    responder = Responder()
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(ClaimSet(1, (claim(A4), claim(A6, deadline=50.0)), 20.0), 0.0)
    sent = [(when, frame[12:14]) for when, _, frame in announce(responder) if when > 7.0]
    assert [len([when for when, kind in sent if kind == family]) for family in (b"\x08\x06", b"\x86\xdd")] == [2 * 5, 2]
    assert max(when for when, _ in sent) < DEADLINE
    responder.replace_claims(ClaimSet(2, (claim(A4, deadline=200.0),), 20.0), 150.0)
    assert instants(responder)[:5] == at_offsets(150.0), "an address that was lapsed is won anew"


def test_no_refresh_after_withdrawal_or_without_carrier() -> None:
    responder = Responder()
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(ClaimSet(1, (claim(A4), claim(A6)), 20.0), 0.0)
    announce(responder, 30.0)
    responder.replace_links([Link(2, "eth0", MAC, carrier=False)], 30.0)
    assert announce(responder) == []
    responder.replace_links([ETH0], 60.0)
    assert len(instants(responder)) > 5
    responder.replace_claims(ClaimSet(2, (), 20.0), 60.0)
    assert announce(responder) == []


@pytest.mark.parametrize("address", [A4, A6])
def test_an_announcement_that_was_not_sent_is_tried_again_and_not_counted(address: Address) -> None:
    responder = Responder()
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(claim_set(claim(address)), 0.0)
    responder.handle_timer(0.0)
    unsent = responder.frames_to_send()
    assert [transmit.announced for transmit in unsent] == [address] * len(unsent)
    responder.sending_failed(unsent, 0.0)
    assert responder.report(0.0).announcements == 0
    assert responder.next_timer() == ANNOUNCE_RETRY
    responder.handle_timer(ANNOUNCE_RETRY)
    assert responder.frames_to_send() == unsent
    assert [record.announcements for record in responder.report(1.0).answered] == [len(unsent)]


def test_a_link_that_refuses_everything_is_given_up_and_still_answers() -> None:
    responder = Responder()
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(claim_set(claim(A4)), 0.0)
    tries = 0
    while (timer := responder.next_timer()) is not None:
        responder.handle_timer(timer)
        unsent = responder.frames_to_send()
        tries += bool(unsent)
        responder.sending_failed(unsent, timer)
        assert responder.receive_frame(arp_frame(), 2, timer) is Verdict.ANSWERED
        responder.frames_to_send()
    assert ANNOUNCE_RETRIES < tries <= len(ANNOUNCE_OFFSETS) + ANNOUNCE_RETRIES
    assert responder.report(20.0).announcements == 0


def test_what_fails_after_its_claim_or_link_is_gone_is_nobodys() -> None:
    responder = Responder()
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(claim_set(claim(A4)), 0.0)
    responder.handle_timer(0.0)
    unsent = [*responder.frames_to_send(), Transmit(2, b"an answer"), Transmit(9, b"", A4)]
    responder.replace_claims(NO_CLAIMS, 0.0)
    responder.sending_failed(unsent, 0.0)
    assert responder.next_timer() is None


# -- report


def test_a_report_tells_everything_and_each_record_once() -> None:
    responder = Responder()
    assert responder.report(0.0) == Report(-1, 0.0)
    responder.replace_links([ETH0], 0.0)
    responder.replace_claims(claim_set(claim(A4), claim(A6), generation=7), 0.0)
    responder.receive_frame(arp_frame(), 2, 0.5)
    responder.receive_frame(arp_frame(), 2, 0.75)
    responder.receive_frame(arp_frame(B4), 2, 0.75)
    announce(responder, 0.0)
    expected = AnswerRecord(A4, "eth0", 2, 0.75, 2), AnswerRecord(A6, "eth0", 0, -math.inf, 1)
    assert responder.report(1.0, ("why",)) == Report(7, 1.0, (ETH0,), (("answered", 2), ("not_claimed", 1)), 3, expected, ("why",))
    assert responder.report(1.0).answered == ()
    responder.receive_frame(ns_frame(), 2, 2.0)
    assert responder.report(2.0).answered == (AnswerRecord(A6, "eth0", 1, 2.0, 1),)
    announce(responder, 0.2)
    assert [record.announcements for record in responder.report(2.0).answered] == [4, 2]


def test_records_that_do_not_fit_come_with_the_next_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORDS", 3)
    addresses = [IPv4Address(0x0A000000 + i) for i in range(5)]
    responder = responder_with(*(claim(a) for a in addresses))
    found = [[record.address for record in responder.report(1.0).answered] for _ in range(3)]
    assert found == [addresses[:3], addresses[3:], []]


def test_frames_to_send_are_taken_once() -> None:
    responder = responder_with(claim(A4))
    responder.receive_frame(arp_frame(), 2, 1.0)
    (transmit,) = responder.frames_to_send()
    assert isinstance(transmit, Transmit)
    assert responder.frames_to_send() == []


def test_a_new_reader_is_told_of_every_address_again() -> None:
    responder = Responder()
    responder.replace_links([Link(2, "eth0", bytes.fromhex("020000000001"))], 0.0)
    claims = (Claim(IPv4Address("10.0.0.1"), frozenset(("eth0",)), 9.0), Claim(IPv6Address("fd00::1"), frozenset(("eth0",)), 9.0))
    responder.replace_claims(ClaimSet(1, claims), 0.0)
    responder.handle_timer(0.0)
    responder.handle_timer(0.1)
    first = responder.report(0.1).answered
    assert len(first) == 2
    assert responder.report(0.1).answered == ()
    responder.forget_reports()
    assert responder.report(0.1).answered == first


# -- conflicts

NA_A6 = advertisement(A6)
CLAIMED = [(A4, arp_frame(spa=A4)), (A6, NA_A6)]


def judge(responder: Responder, frame: bytes, now: float) -> Verdict:
    return responder.receive_frame(frame, 2, now)


@pytest.mark.parametrize(("address", "frame"), CLAIMED)
def test_defences_are_a_defend_interval_apart(address: Address, frame: bytes) -> None:
    responder = responder_with(claim(address))
    times = set()
    for tenth in range(450):
        now = 20.0 + tenth / 10
        judge(responder, frame, now)
        responder.handle_timer(now)
        if sent := responder.frames_to_send():
            times.add(now)
            expected = arp_announcements(MAC, A4) if address == A4 else (neighbor_announcement(MAC, A6, None),)
            assert [transmit.frame for transmit in sent] == list(expected)
    assert sorted(times) == [20.0, 30.0, 40.0, 50.0, 60.0]


def test_a_conflict_is_reported_with_who_where_and_when() -> None:
    responder = responder_with(claim(A4), claim(A6))
    responder.report(20.0)
    assert responder.report(20.0).conflicts == ()
    judge(responder, arp_frame(spa=A4), 21.0)
    judge(responder, arp_frame(spa=A4, sender=bytes.fromhex("02000000000a")), 22.0)
    judge(responder, NA_A6, 23.0)
    first = (
        ConflictRecord(A4, "eth0", bytes.fromhex("02000000000a"), 2, 22.0),
        ConflictRecord(A6, "eth0", ASKER, 1, 23.0),
    )
    assert responder.report(24.0).conflicts == first
    assert responder.report(24.0).conflicts == ()
    responder.forget_reports()
    assert responder.report(24.0).conflicts == first
    judge(responder, NA_A6, 25.0)
    responder.replace_claims(claim_set(claim(A4)), 25.0)
    assert responder.report(26.0).conflicts == ()
    judge(responder, arp_frame(spa=A4), 27.0)
    responder.replace_links([], 28.0)
    assert responder.report(28.0).conflicts == ()


def test_conflicts_that_do_not_fit_come_with_the_next_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORDS", 1)
    responder = responder_with(claim(A4), claim(A6))
    judge(responder, arp_frame(spa=A4), 21.0)
    judge(responder, NA_A6, 21.0)
    assert [record.address for _ in range(3) for record in responder.report(22.0).conflicts] == [A4, A6]


def test_a_request_of_a_stranger_with_our_address_is_answered_and_noted() -> None:
    responder = responder_with(claim(A4), claim(B4))
    assert judge(responder, arp_frame(B4, spa=A4), 20.0) is Verdict.ANSWERED
    assert [record.address for record in responder.report(20.0).conflicts] == [A4]


@pytest.mark.parametrize("frame", [arp_frame(spa=A4, sender=PEER), arp_frame(spa=A4, sender=OTHER_MAC), arp_frame(spa=A4, sender=MAC)])
def test_against_peers_and_ourselves_nothing_is_defended(frame: bytes) -> None:
    responder = responder_with(claim(A4))
    responder.replace_claims(ClaimSet(2, (claim(A4),), peers=frozenset({PEER})), 10.0)
    judge(responder, frame, 20.0)
    assert responder.next_timer() is None
    assert responder.report(20.0).conflicts == ()


def test_nothing_is_defended_after_the_deadline() -> None:
    responder = responder_with(claim(A4, deadline=20.0))
    assert judge(responder, arp_frame(spa=A4), 19.9) is Verdict.CONFLICT
    assert judge(responder, arp_frame(spa=A4), 20.0) is Verdict.ANNOUNCEMENT
    responder.handle_timer(20.0)
    assert responder.frames_to_send() == []


# -- probes


def probing(*claims: Claim, now: float = 0.0, wait: float = 0.5) -> Responder:
    responder = Responder()
    responder.replace_links([ETH0, ETH1], now)
    made = tuple(Claim(one.address, one.interfaces, one.deadline, True) for one in claims)
    responder.replace_claims(ClaimSet(1, made, peers=frozenset({PEER}), probe_wait=wait), now)
    return responder


@pytest.mark.parametrize(("address", "ask"), [(A4, arp_frame()), (A6, ns_frame())])
def test_an_address_that_nobody_held_is_probed_for_first(address: Address, ask: bytes) -> None:
    responder = probing(claim(address))
    sent = announce(responder, 0.49)
    probe = arp_probe(MAC, A4) if address == A4 else neighbor_probe(MAC, A6)
    assert sent == [(0.0, 2, probe), (0.25, 2, probe)]
    assert judge(responder, ask, 0.49) is Verdict.PROBING
    assert responder.frames_to_send() == []
    assert responder.report(0.49).announcements == 0
    assert instants(responder) == at_offsets(0.5)
    assert judge(responder, ask, 9.0) is Verdict.ANSWERED


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (A4, arp_frame(ASKER4, REPLY, spa=A4, to=MAC)),
        (A4, arp_frame(spa=IPv4Address(0))),
        (A6, NA_A6),
        (A6, ns_frame(source=UNSPECIFIED, option=None)),
    ],
)
def test_an_address_that_a_stranger_has_is_not_announced_and_tried_again(address: Address, found: bytes) -> None:
    responder = probing(claim(address))
    announce(responder, 0.1)
    assert judge(responder, found, 0.1) is Verdict.CONFLICT
    assert judge(responder, found, 0.2) is Verdict.CONFLICT
    assert responder.report(0.2).conflicts == (ConflictRecord(address, "eth0", ASKER, 2, 0.2, held_back=True),)
    again = announce(responder, 10.3)
    assert [when for when, _, _ in again] == [10.1], "one defend interval later"
    assert instants(responder) == [10.35, *at_offsets(10.6)], "the stranger is gone"
    assert responder.report(20.0).conflicts == (ConflictRecord(address, "eth0", ASKER, 2, 0.2, held_back=False),)


def test_another_node_that_answers_the_probe_is_a_takeover() -> None:
    responder = probing(claim(A4))
    announce(responder, 0.1)
    assert judge(responder, arp_frame(ASKER4, REPLY, sender=PEER, spa=A4), 0.1) is Verdict.TAKEOVER
    assert len(instants(responder)) == 6


def test_a_fence_holds_while_probing() -> None:
    responder = probing(claim(A4, deadline=0.3), claim(A6, deadline=0.3))
    sent = announce(responder)
    assert {when for when, _, _ in sent} == {0.0, 0.25}
    assert judge(responder, arp_frame(), 0.3) is Verdict.EXPIRED
    assert judge(responder, ns_frame(), 0.3) is Verdict.EXPIRED


def test_no_probe_without_a_wait_and_none_twice() -> None:
    assert instants(probing(claim(A4), wait=0.0)) == at_offsets(0.0)
    responder = probing(claim(A4))
    announce(responder)
    responder.replace_links([Link(2, "eth0", OTHER_MAC), ETH1], 20.0)
    assert instants(responder) == at_offsets(20.0), "announced at once after a change of MAC"
    again = ClaimSet(2, (Claim(A4, frozenset({"eth0", "eth1"}), DEADLINE, True),), probe_wait=0.5)
    responder.replace_claims(again, 40.0)
    assert instants(responder, 3) == at_offsets(40.0), "on a further link, too"


def test_a_probe_begins_anew_when_the_link_comes_back() -> None:
    responder = probing(claim(A4))
    announce(responder, 0.3)
    responder.replace_links([Link(2, "eth0", MAC, carrier=False)], 0.3)
    assert announce(responder) == []
    responder.replace_links([ETH0], 5.0)
    assert instants(responder) == [5.0, 5.25, *at_offsets(5.5)]


def test_a_probe_that_was_not_sent_does_not_count() -> None:
    responder = probing(claim(A4))
    responder.handle_timer(0.0)
    responder.sending_failed(responder.frames_to_send(), 0.0)
    assert responder.report(0.0).announcements == 0
    sent = announce(responder)
    assert [when for when, _, _ in sent if when < 0.5] == [ANNOUNCE_RETRY, ANNOUNCE_RETRY + 0.25]
    assert sorted({when for when, _, _ in sent})[2] == ANNOUNCE_RETRY + 0.5


def test_what_was_judged_may_be_sent_until_a_deadline_comes() -> None:
    responder = responder_with(claim(A4, deadline=10.0), claim(B4, deadline=20.0))
    assert responder.may_send(9.9, 9.999)
    assert responder.may_send(9.95, 9.999)  # the deadline is known by now
    assert not responder.may_send(9.9, 10.0)
    assert not responder.may_send(9.9, 10.001)  # nor what was judged by the same time and is sent next
    assert responder.may_send(10.0, 10.05)  # nothing was answered by the first claim any more
    assert not responder.may_send(19.99, 20.01)
    assert responder.may_send(20.0, 1e9)  # nothing is answered at all
    responder.replace_claims(claim_set(claim(A4, deadline=30.0), generation=2), 25.0)
    assert responder.may_send(29.0, 29.9)
    assert not responder.may_send(29.9, 30.0)


def test_an_address_held_back_on_one_link_stays_so_when_that_link_gets_another_mac() -> None:
    responder = probing(claim(A4, "eth0", "eth1"))
    announce(responder, 0.1)
    assert judge(responder, arp_frame(spa=A4), 0.1) is Verdict.CONFLICT
    announce(responder, 1.0)
    responder.replace_links([replace(ETH0, mac=b"\2\0\0\0\0\x77"), ETH1], 1.0)
    assert judge(responder, arp_frame(), 1.0) is Verdict.PROBING
