"""The fast path on examples: which frames it answers itself, which it hands on, and what it leaves untouched.

tests/property/test_engine_properties.py holds it equal to ``receive_frame`` on any frames.
"""

from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from l2announce.model.address import BROADCAST_MAC, Address, format_mac, solicited_node_multicast
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.responder.batch import (
    ADVERTISEMENT_FRAME_LENGTH,
    ADVERTISEMENT_SLOT,
    ARP_SLOT,
    NDP_SLOT,
    answer_arp,
    answer_ndp,
)
from l2announce.responder.engine import Responder
from l2announce.responder.verdict import Verdict
from l2announce.wire.arp import FRAME_LENGTH, NO_MAC, REPLY, REQUEST, ArpPacket, encode_arp
from l2announce.wire.ethernet import ETH_P_ARP, EthernetHeader
from l2announce.wire.icmpv6 import UNSPECIFIED, NeighborSolicitation, encode_neighbor_solicitation, multicast_mac

MAC, OTHER_MAC, ASKER = (bytes.fromhex(f"0200000000{i:02x}") for i in (1, 2, 9))
A4, ASKER4 = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.9")
A6, ASKER6 = IPv6Address("2001:db8::1"), IPv6Address("fe80::9")
DEADLINE = 100.0


class Watched(Responder):
    """Keeps the frames that the batch path handed on."""

    def __init__(self, *addresses: Address) -> None:
        super().__init__()
        self.handed_on: list[bytes] = []
        self.replace_links([Link(2, "eth0", MAC)], 0.0)
        self.replace_claims(ClaimSet(1, tuple(Claim(a, frozenset({"eth0"}), DEADLINE) for a in addresses)), 0.0)

    def receive_frame(self, frame: bytes, ifindex: int, now: float) -> Verdict:
        self.handed_on.append(frame)
        return super().receive_frame(frame, ifindex, now)


def arp_frame(
    target: IPv4Address = A4,
    opcode: int = REQUEST,
    sender: bytes = ASKER,
    spa: IPv4Address = ASKER4,
    to: bytes = BROADCAST_MAC,
    source: bytes = ASKER,
) -> bytes:
    return EthernetHeader(to, source, ETH_P_ARP).encode() + encode_arp(ArpPacket(opcode, sender, spa, NO_MAC, target))


def ns_frame(target: IPv6Address = A6, source: IPv6Address = ASKER6, option: bytes | None = ASKER, to: bytes | None = None) -> bytes:
    group = solicited_node_multicast(target)
    return encode_neighbor_solicitation(ASKER, to or multicast_mac(group), NeighborSolicitation(source, group, target, option))


def arp_batch(responder: Responder, *frames: bytes, ifindex: int = 2, now: float = 1.0) -> list[bytes]:
    octets = b"".join(frame.ljust(ARP_SLOT, b"\xee") for frame in frames)
    replies = answer_arp(responder, octets, [len(frame) for frame in frames], ifindex, now)
    return [replies[at : at + FRAME_LENGTH] for at in range(0, len(replies), ARP_SLOT)]


def ndp_batch(responder: Responder, *frames: bytes, ifindex: int = 2, now: float = 1.0) -> list[bytes]:
    octets = b"".join(frame.ljust(NDP_SLOT, b"\xee") for frame in frames)
    replies = answer_ndp(responder, octets, [len(frame) for frame in frames], ifindex, now)
    return [replies[at : at + ADVERTISEMENT_FRAME_LENGTH] for at in range(0, len(replies), ADVERTISEMENT_SLOT)]


def scapy_reply(to: bytes, asker: IPv4Address) -> bytes:
    mac = format_mac(MAC)
    arp = ARP(op=2, hwsrc=mac, psrc=str(A4), hwdst=format_mac(to), pdst=str(asker))
    return bytes(Ether(dst=format_mac(to), src=mac) / arp)


def scapy_advertisement(to: bytes, asker: IPv6Address) -> bytes:
    mac = format_mac(MAC)
    ip = Ether(dst=format_mac(to), src=mac) / IPv6(src=str(A6), dst=str(asker), hlim=255)
    return bytes(ip / ICMPv6ND_NA(tgt=str(A6), R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac))


@pytest.mark.parametrize("frame", [arp_frame(), arp_frame(to=MAC), arp_frame() + bytes(18), arp_frame(source=OTHER_MAC)])
def test_a_plain_request_is_answered_here(frame: bytes) -> None:
    responder = Watched(A4)
    assert arp_batch(responder, frame) == [scapy_reply(ASKER, ASKER4)]
    assert responder.handed_on == []
    assert responder.verdicts == {Verdict.ANSWERED: 1}


def test_a_probe_is_answered_here() -> None:
    responder = Watched(A4)
    assert arp_batch(responder, arp_frame(spa=IPv4Address(0))) == [scapy_reply(ASKER, IPv4Address(0))]
    assert responder.handed_on == []


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (arp_frame(ASKER4, spa=A4), Verdict.CONFLICT),
        (arp_frame(opcode=REPLY), Verdict.NOT_REQUEST),
        (arp_frame(spa=A4), Verdict.CONFLICT),
        (arp_frame(sender=NO_MAC), Verdict.BAD_SENDER),
        (arp_frame(sender=b"\3" + bytes(5)), Verdict.BAD_SENDER),
        (arp_frame(sender=MAC), Verdict.OWN_FRAME),
        (arp_frame(source=MAC), Verdict.OWN_FRAME),
        (arp_frame(to=OTHER_MAC), Verdict.OTHER_DESTINATION),
        (arp_frame()[:41], Verdict.MALFORMED),
        (b"", Verdict.MALFORMED),
        (arp_frame(to=b"\x33\x33" + bytes(4)), Verdict.ANSWERED),
    ],
)
def test_what_is_not_plain_is_handed_on_as_it_came(frame: bytes, verdict: Verdict) -> None:
    responder = Watched(A4)
    assert arp_batch(responder, frame) == []
    assert responder.handed_on == [frame]
    assert +responder.verdicts == {verdict: 1}
    assert len(responder.frames_to_send()) == (verdict is Verdict.ANSWERED)


@pytest.mark.parametrize(("option", "to"), [(ASKER, ASKER), (OTHER_MAC, OTHER_MAC), (None, ASKER)])
@pytest.mark.parametrize("destination", [None, MAC])
def test_a_plain_solicitation_is_answered_here(option: bytes | None, to: bytes, destination: bytes | None) -> None:
    responder = Watched(A6)
    assert ndp_batch(responder, ns_frame(option=option, to=destination)) == [scapy_advertisement(to, ASKER6)]
    assert responder.handed_on == []
    assert responder.verdicts == {Verdict.ANSWERED: 1}


def changed(at: int, octet: int) -> bytes:
    frame = ns_frame()
    return frame[:at] + bytes((octet,)) + frame[at + 1 :]


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (ns_frame(IPv6Address("2001:db8::2")), Verdict.NOT_CLAIMED),
        (ns_frame(source=UNSPECIFIED, option=None), Verdict.ANSWERED),
        (ns_frame(source=IPv6Address("ff02::1")), Verdict.MALFORMED),
        (ns_frame(option=NO_MAC), Verdict.BAD_SENDER),
        (ns_frame(option=b"\3" + bytes(5)), Verdict.BAD_SENDER),
        (ns_frame(option=MAC), Verdict.OWN_FRAME),
        (ns_frame(to=OTHER_MAC), Verdict.OTHER_DESTINATION),
        (ns_frame()[:85], Verdict.MALFORMED),
        (changed(6, 0x02)[:11] + b"\1" + ns_frame()[12:], Verdict.OWN_FRAME),
        (changed(12, 0x08), Verdict.OTHER_PROTOCOL),
        (changed(14, 0x40), Verdict.MALFORMED),
        (changed(20, 44), Verdict.OTHER_PROTOCOL),
        (changed(21, 254), Verdict.MALFORMED),
        (changed(54, 136), Verdict.MALFORMED),
        (changed(55, 1), Verdict.MALFORMED),
        (changed(56, ns_frame()[56] ^ 1), Verdict.MALFORMED),
        (changed(79, 2), Verdict.MALFORMED),
    ],
)
def test_what_is_no_plain_solicitation_is_handed_on_as_it_came(frame: bytes, verdict: Verdict) -> None:
    responder = Watched(A6)
    assert ndp_batch(responder, frame) == []
    assert responder.handed_on == [frame]
    assert +responder.verdicts == {verdict: 1}
    assert len(responder.frames_to_send()) == (verdict is Verdict.ANSWERED)


def test_another_option_in_the_first_place_is_handed_on() -> None:
    """A nonce (RFC 3971, 5.3.2) of six octets: the asker is then the Ethernet source."""
    frame = ns_frame(option=OTHER_MAC)
    total = int.from_bytes(frame[56:58], "big") - 0x0D00
    frame = frame[:56] + (total % 0xFFFF).to_bytes(2, "big") + frame[58:78] + b"\x0e\1" + frame[80:]
    responder = Watched(A6)
    assert ndp_batch(responder, frame) == []
    ((_, reply, *_),) = responder.frames_to_send()
    assert reply == scapy_advertisement(ASKER, ASKER6)


def test_the_deadline_counts_to_the_tick() -> None:
    responder = Watched(A4, A6)
    assert len(arp_batch(responder, arp_frame(), now=99.999999)) == 1
    assert len(ndp_batch(responder, ns_frame(), now=99.999999)) == 1
    assert arp_batch(responder, arp_frame(), now=DEADLINE) == []
    assert ndp_batch(responder, ns_frame(), now=DEADLINE) == []
    assert responder.verdicts == {Verdict.ANSWERED: 2, Verdict.EXPIRED: 2}
    assert responder.frames_to_send() == []


def test_a_link_that_vanished() -> None:
    responder = Watched(A4, A6)
    assert arp_batch(responder, arp_frame(), ifindex=9) == []
    assert ndp_batch(responder, ns_frame(), ifindex=9) == []
    assert +responder.verdicts == {Verdict.UNKNOWN_LINK: 2}


def test_an_empty_batch() -> None:
    responder = Watched(A4)
    assert answer_arp(responder, b"", [], 2, 1.0) == b""
    assert answer_ndp(responder, b"", [], 2, 1.0) == b""


def test_frames_of_one_batch_are_answered_in_order_and_counted() -> None:
    responder = Watched(A4)
    askers = [IPv4Address("192.0.2.100") + i for i in range(10)]
    frames = [arp_frame(spa=asker) for asker in askers]
    frames.insert(5, arp_frame(opcode=REPLY))
    assert arp_batch(responder, *frames, now=7.5) == [scapy_reply(ASKER, asker) for asker in askers]
    (record,) = responder.report(8.0).answered
    assert (record.answers, record.last_answer) == (10, 7.5)
    assert responder.verdicts == {Verdict.ANSWERED: 10, Verdict.NOT_REQUEST: 1}


def test_solicitations_of_one_batch_are_answered_in_order_and_counted() -> None:
    responder = Watched(A6)
    askers = [IPv6Address("fe80::100") + i for i in range(10)]
    frames = [ns_frame(source=asker) for asker in askers]
    frames.insert(5, ns_frame(IPv6Address("2001:db8::2")))
    assert ndp_batch(responder, *frames, now=7.5) == [scapy_advertisement(ASKER, asker) for asker in askers]
    (record,) = responder.report(8.0).answered
    assert (record.answers, record.last_answer) == (10, 7.5)
    assert responder.verdicts == {Verdict.ANSWERED: 10, Verdict.NOT_CLAIMED: 1}


def test_a_checksum_of_zero_is_written_as_zero() -> None:
    """The asker whose last word makes all words of the reply sum up to 0xffff."""
    start = ASKER6.packed[:14]
    (reply,) = ndp_batch(Watched(A6), ns_frame(source=IPv6Address(start + b"\0\0")))
    asker = IPv6Address(start + reply[56:58])
    (reply,) = ndp_batch(Watched(A6), ns_frame(source=asker))
    assert reply[56:58] == b"\0\0"
    assert reply == scapy_advertisement(ASKER, asker)


def test_every_length_and_slot_must_match() -> None:
    with pytest.raises(ValueError, match="zip"):
        answer_arp(Watched(A4), bytes(ARP_SLOT * 2), [42], 2, 1.0)


@pytest.mark.parametrize("cut", [1, 8, 28])
def test_octets_behind_a_frame_are_not_part_of_it(cut: int) -> None:
    """A slot keeps what an earlier batch left there: here the very end that the frame lacks."""
    responder = Watched(A4, A6)
    arp, ndp = arp_frame(), ns_frame()
    assert answer_arp(responder, arp.ljust(ARP_SLOT, b"\0"), [len(arp) - cut], 2, 1.0) == b""
    assert answer_ndp(responder, ndp.ljust(NDP_SLOT, b"\0"), [len(ndp) - cut], 2, 1.0) == b""
    assert responder.handed_on == [arp[:-cut], ndp[:-cut]]
    assert +responder.verdicts == {Verdict.MALFORMED: 2}
    assert responder.frames_to_send() == []
