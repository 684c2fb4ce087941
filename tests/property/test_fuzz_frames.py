"""Octets that nobody meant: the engine never raises, never answers for what it does not own, and is the same one by one and in batches."""

from collections import Counter
from ipaddress import ip_address

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l2announce.cli.captures import read_capture
from l2announce.model.address import FOREVER, parse_mac
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.responder.batch import ADVERTISEMENT_SLOT, ARP_SLOT, NDP_SLOT, answer_arp, answer_ndp
from l2announce.responder.engine import Responder
from l2announce.responder.verdict import Verdict
from l2announce.wire.arp import decode_arp
from l2announce.wire.icmpv6 import decode_neighbor_advertisement
from tests.golden.build import CASES, HERE
from tests.golden.corpus import NODE, VIP4, VIP6

OWNED = frozenset({ip_address(VIP4), ip_address(VIP6)})
LINK = Link(1, "eth0", parse_mac(NODE))
GOLDEN = sorted({one.octets for case in CASES for one in case.frames})
IPV6 = b"\x86\xdd"


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A golden frame with octets changed, cut out, cut off or put in."""
    frame = bytearray(draw(st.sampled_from(GOLDEN)))
    for _ in range(draw(st.integers(0, 4))):
        position = draw(st.integers(0, max(0, min(len(frame), 100) - 1)))
        match draw(st.sampled_from(("set", "bit", "cut", "end", "insert"))):
            case "set" if frame:
                frame[position] = draw(st.integers(0, 255))
            case "bit" if frame:
                frame[position] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del frame[position : position + draw(st.integers(1, 8))]
            case "end":
                del frame[position:]
            case _:
                frame[position:position] = draw(st.binary(min_size=1, max_size=8))
    return bytes(frame)


typed = st.builds(
    lambda head, ethertype, rest: head + ethertype + rest,
    st.binary(min_size=12, max_size=12),
    st.sampled_from([b"\x08\x06", IPV6, b"\x81\x00"]),
    st.binary(max_size=120),
)
frames = st.one_of(mutated(), mutated(), typed, st.binary(max_size=200))
FUZZ = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def _responder(deadline: float = FOREVER) -> Responder:
    responder = Responder()
    responder.replace_links([LINK], 0.0)
    responder.replace_claims(ClaimSet(1, tuple(Claim(address, frozenset({"eth0"}), deadline) for address in OWNED)), 0.0)
    return responder


def _one_by_one(responder: Responder, received: list[bytes]) -> list[bytes]:
    for frame in received:
        responder.receive_frame(frame, LINK.index, 1.0)
    return [one.frame for one in responder.frames_to_send()]


def _in_batches(responder: Responder, received: list[bytes]) -> list[bytes]:
    """As the packet sockets do: ARP and IPv6 apart, each frame cut to its slot."""
    sent: list[bytes] = []
    for is_ipv6, slot, reply_slot, length, answer in (
        (False, ARP_SLOT, ARP_SLOT, 42, answer_arp),
        (True, NDP_SLOT, ADVERTISEMENT_SLOT, 86, answer_ndp),
    ):
        batch = [frame[:slot] for frame in received if (frame[12:14] == IPV6) is is_ipv6]
        octets = b"".join(frame.ljust(slot, b"\0") for frame in batch)
        replies = answer(responder, octets, [len(frame) for frame in batch], LINK.index, 1.0)
        sent += [replies[at : at + length] for at in range(0, len(replies), reply_slot)]
    return sent + [one.frame for one in responder.frames_to_send()]


@FUZZ
@given(frames)
def test_a_reply_is_for_an_owned_address_from_our_link(frame: bytes) -> None:
    responder = _responder()
    verdict = responder.receive_frame(frame, LINK.index, 1.0)
    sent = responder.frames_to_send()
    assert len(sent) == (verdict is Verdict.ANSWERED)
    for ifindex, reply, *_ in sent:
        assert ifindex == LINK.index
        assert reply[6:12] == LINK.mac
        if reply[12:14] == IPV6:
            advertisement = decode_neighbor_advertisement(reply)
            assert advertisement.target in OWNED
            assert advertisement.target_link_layer_address == LINK.mac
        else:
            packet = decode_arp(reply[14:])
            assert packet.sender_protocol_address in OWNED
            assert packet.sender_hardware_address == LINK.mac


@FUZZ
@given(st.lists(frames, max_size=6))
def test_batches_give_the_same_replies_and_verdicts(received: list[bytes]) -> None:
    single, batched = _responder(), _responder()
    assert Counter(_one_by_one(single, received)) == Counter(_in_batches(batched, received))
    assert +single.verdicts == +batched.verdicts
    assert single.report(1.0).answered == batched.report(1.0).answered


@FUZZ
@given(frames)
def test_nothing_is_answered_at_the_deadline_in_either_way(frame: bytes) -> None:
    assert _one_by_one(_responder(deadline=1.0), [frame]) == []
    assert _in_batches(_responder(deadline=1.0), [frame]) == []


def test_the_golden_frames_are_a_good_start() -> None:
    """Among the frames that are mutated are some that are answered: the properties above are not empty."""
    answered = [frame for frame in GOLDEN if _one_by_one(_responder(), [frame])]
    assert len(answered) > 20
    assert {one.frame for one in read_capture(HERE / "arp-padded" / "in.pcap")} <= set(answered)
