"""The Responder against a naive model (R1 to R4), and the batch path against the frame path, octet by octet."""

import math
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from l2announce.model.address import BROADCAST_MAC, Address, solicited_node_multicast
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.model.timing import ANNOUNCE_BURST, ANNOUNCE_GAP, ANNOUNCE_OFFSETS
from l2announce.responder.batch import ADVERTISEMENT_SLOT, ARP_SLOT, NDP_SLOT, answer_arp, answer_ndp
from l2announce.responder.engine import Responder
from l2announce.responder.frames import Transmit
from l2announce.responder.verdict import Verdict
from l2announce.wire.arp import NO_MAC, REPLY, REQUEST, ArpPacket, decode_arp, encode_arp
from l2announce.wire.ethernet import ETH_P_ARP, EthernetHeader, decode_ethernet
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
)

ASKER_MAC = bytes.fromhex("020000000099")
MACS = [bytes.fromhex(f"0200000000{i:02x}") for i in (1, 2, 3)]
MACS_OF_ASKERS = [bytes.fromhex(f"0200000000{i:02x}") for i in (0x99, 0x9A, 0x9B)]
NAMES = ["eth0", "eth1", "eth2"]
INDICES = [2, 3, 4]
ADDRESSES: list[Address] = [
    *(IPv4Address("192.0.2.0") + i for i in (1, 2, 3)),
    *(IPv6Address("2001:db8::") + i for i in (1, 2)),
    IPv6Address("fe80::1"),
]
TICK = 0.5
"""The machine's clock goes in steps, so that deadlines are met to the tick."""


def arp_request(target: IPv4Address, mac: bytes = ASKER_MAC) -> bytes:
    asker = IPv4Address("192.0.2.200")
    return EthernetHeader(BROADCAST_MAC, mac, ETH_P_ARP).encode() + encode_arp(ArpPacket(REQUEST, mac, asker, NO_MAC, target))


def solicitation(target: IPv6Address, mac: bytes = ASKER_MAC, source: IPv6Address | None = None, option: bool = True) -> bytes:
    group = solicited_node_multicast(target)
    asker = IPv6Address("fe80::99") if source is None else source
    return encode_neighbor_solicitation(mac, multicast_mac(group), NeighborSolicitation(asker, group, target, mac if option else None))


def request(address: Address) -> bytes:
    return arp_request(address) if isinstance(address, IPv4Address) else solicitation(address)


def is_capped(times: list[float]) -> bool:
    """Whether any ANNOUNCE_BURST + 1 announcements of a link in a row take at least a gap."""
    return all(later - earlier > ANNOUNCE_GAP * 0.99 for earlier, later in zip(times, times[ANNOUNCE_BURST:], strict=False))


def announced_address(frame: bytes) -> Address:
    if decode_ethernet(frame).ethertype == ETH_P_ARP:
        return decode_arp(frame[14:]).sender_protocol_address
    return decode_neighbor_advertisement(frame).target


def check_reply(frame: bytes, address: Address, mac: bytes) -> None:
    """One unicast reply that says: ``address`` is at ``mac``."""
    header = decode_ethernet(frame)
    assert (header.destination, header.source) == (ASKER_MAC, mac)
    if isinstance(address, IPv4Address):
        assert decode_arp(frame[14:]) == ArpPacket(REPLY, mac, address, ASKER_MAC, IPv4Address("192.0.2.200"))
    else:
        assert decode_neighbor_advertisement(frame) == NeighborAdvertisement(address, False, True, True, mac)
        assert frame[38:54] == IPv6Address("fe80::99").packed


class ResponderMachine(RuleBasedStateMachine):
    """R1, R3 and the safety of R4: any history of claims, links, requests and timers, against a dict of deadlines."""

    def __init__(self) -> None:
        super().__init__()
        self.responder = Responder()
        self.now = 1000.0
        self.deadlines: dict[tuple[Address, str], float] = {}
        self.links: dict[int, Link] = {}
        self.asked: Counter[str] = Counter()
        self.generation = 0
        self.last_deadline = -math.inf
        self.announced: dict[int, list[float]] = {}
        self.claimed: set[Address] = set()

    @initialize()
    def one_link(self) -> None:
        self.replace_links([(2, "eth0", MACS[0], True)])

    @rule(
        claims=st.lists(
            st.tuples(st.sampled_from(ADDRESSES), st.frozensets(st.sampled_from(NAMES)), st.integers(-1, 30)),
            max_size=8,
        )
    )
    def replace_claims(self, claims: list[tuple[Address, frozenset[str], int]]) -> None:
        self.generation += 1
        made = tuple(Claim(address, names, self.now + steps * TICK) for address, names, steps in claims)
        self.deadlines = {}
        for claim in made:
            for name in claim.interfaces:
                key = (claim.address, name)
                self.deadlines[key] = max(claim.deadline, self.deadlines.get(key, -math.inf))
        self.claimed = {claim.address for claim in made}
        self.last_deadline = max((claim.deadline for claim in made), default=-math.inf)
        self.responder.replace_claims(ClaimSet(self.generation, made), self.now)

    @rule(
        links=st.lists(
            st.tuples(st.sampled_from(INDICES), st.sampled_from(NAMES), st.sampled_from(MACS), st.booleans()),
            unique_by=(lambda link: link[0], lambda link: link[1]),
        )
    )
    def replace_links(self, links: list[tuple[int, str, bytes, bool]]) -> None:
        self.links = {index: Link(index, name, mac, carrier) for index, name, mac, carrier in links}
        self.responder.replace_links(self.links.values(), self.now)

    @rule(steps=st.integers(1, 12))
    def advance(self, steps: int) -> None:
        """Let time pass; timers go off at their instants, and at the end."""
        end = self.now + steps * TICK
        while (timer := self.responder.next_timer()) is not None and timer <= end:
            self.now = max(self.now, timer)
            self.handle_timer()
        self.now = end
        self.handle_timer()

    def handle_timer(self) -> None:
        self.responder.handle_timer(self.now)
        sent = self.responder.frames_to_send()
        seen: Counter[tuple[int, Address]] = Counter()
        for ifindex, frame, *_ in sent:
            link, address = self.links[ifindex], announced_address(frame)
            assert link.carrier
            assert self.now < self.deadlines[address, link.name]
            assert decode_ethernet(frame).source == link.mac
            assert decode_ethernet(frame).destination in (BROADCAST_MAC, ALL_NODES_MAC)
            seen[ifindex, address] += 1
        for (ifindex, address), count in seen.items():
            assert count == (2 if address.version == 4 else 1), "both ARP forms, or one advertisement"
            self.announced.setdefault(ifindex, []).append(self.now)

    @rule(address=st.sampled_from(ADDRESSES), ifindex=st.sampled_from(INDICES), own=st.booleans(), batch=st.booleans())
    def ask(self, address: Address, ifindex: int, own: bool, batch: bool) -> None:
        """R1: answered exactly when claimed, on the right link, before the deadline, and asked by somebody else. R3: once."""
        link = self.links.get(ifindex)
        frame = request(address)
        if own and link is not None:
            frame = frame[:6] + link.mac + frame[12:]
        expected = self.expect(address, link, own)
        before = self.responder.verdicts[expected]
        if batch:
            slot = ARP_SLOT if address.version == 4 else NDP_SLOT
            answer = answer_arp if address.version == 4 else answer_ndp
            replies = answer(self.responder, frame.ljust(slot, b"\0"), [len(frame)], ifindex, self.now)
            sent = [Transmit(ifindex, replies[: 42 if address.version == 4 else 86])] if replies else []
            sent += self.responder.frames_to_send()
        else:
            assert self.responder.receive_frame(frame, ifindex, self.now) is expected
            sent = self.responder.frames_to_send()
        assert self.responder.verdicts[expected] == before + 1
        self.asked[expected.value] += 1
        if expected is Verdict.ANSWERED:
            ((index, reply, *_),) = sent
            assert index == ifindex
            assert link is not None
            check_reply(reply, address, link.mac)
        else:
            assert sent == []

    def expect(self, address: Address, link: Link | None, own: bool) -> Verdict:
        if link is None:
            return Verdict.UNKNOWN_LINK
        if own:
            return Verdict.OWN_FRAME
        deadline = self.deadlines.get((address, link.name))
        if deadline is not None:
            return Verdict.ANSWERED if self.now < deadline else Verdict.EXPIRED
        return Verdict.WRONG_INTERFACE if address in self.claimed else Verdict.NOT_CLAIMED

    @rule()
    def report(self) -> None:
        report = self.responder.report(self.now, ("a problem",))
        assert report.generation == (self.generation or -1)
        assert {link.index: link for link in report.links} == self.links
        assert +Counter(dict(report.verdicts)) == self.asked
        assert (report.sent_at, report.problems) == (self.now, ("a problem",))
        assert self.responder.report(self.now).answered == (), "each record is reported once"

    @invariant()
    def groups_are_those_of_the_claims(self) -> None:
        groups = {
            index: {solicited_node_multicast(a) for a, name in self.deadlines if name == link.name and isinstance(a, IPv6Address)}
            for index, link in self.links.items()
        }
        assert dict(self.responder.solicited_node_groups()) == {index: group for index, group in groups.items() if group}
        assert self.responder.has_live_claims(self.now) == (self.now < self.last_deadline)

    @invariant()
    def announcements_stay_under_the_cap(self) -> None:
        for times in self.announced.values():
            assert is_capped(times)


TestResponderMachine = ResponderMachine.TestCase
TestResponderMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# -- R1 to R3 at the edges

finite = st.floats(1.0, 1e9)


@given(st.sampled_from(ADDRESSES), finite)
def test_r1_the_deadline_counts_to_the_last_instant(address: Address, deadline: float) -> None:
    responder = Responder()
    responder.replace_links([Link(2, "eth0", MACS[0])], 0.0)
    responder.replace_claims(ClaimSet(1, (Claim(address, frozenset({"eth0"}), deadline),)), 0.0)
    assert responder.receive_frame(request(address), 2, math.nextafter(deadline, 0.0)) is Verdict.ANSWERED
    assert responder.receive_frame(request(address), 2, deadline) is Verdict.EXPIRED
    assert len(responder.frames_to_send()) == 1


@given(st.lists(st.tuples(st.sampled_from(ADDRESSES), st.sets(st.sampled_from(NAMES)), finite)), st.lists(finite), st.booleans())
def test_r2_the_answered_set_only_shrinks_while_claims_stay(
    claims: list[tuple[Address, set[str], float]], instants: list[float], flap: bool
) -> None:
    responder = Responder()
    links = [Link(index, name, mac) for index, name, mac in zip(INDICES, NAMES, MACS, strict=True)]
    responder.replace_links(links, 0.0)
    responder.replace_claims(ClaimSet(1, tuple(Claim(a, frozenset(names), deadline) for a, names, deadline in claims)), 0.0)
    before = {(address, index) for address in ADDRESSES for index in INDICES}
    for now in sorted(instants):
        if flap:
            responder.replace_links([], now)
            responder.replace_links(links, now)
        responder.handle_timer(now)
        answered = {
            (address, index)
            for address in ADDRESSES
            for index in INDICES
            if responder.receive_frame(request(address), index, now) is Verdict.ANSWERED
        }
        assert answered <= before
        before = answered


@given(st.sampled_from(ADDRESSES), st.lists(st.sampled_from(MACS), min_size=1, max_size=5))
def test_r3_one_reply_with_the_present_mac(address: Address, macs: list[bytes]) -> None:
    responder = Responder()
    responder.replace_claims(ClaimSet(1, (Claim(address, frozenset({"eth0"}), 100.0),)), 0.0)
    for mac in macs:
        responder.replace_links([Link(2, "eth0", mac)], 1.0)
        assert responder.receive_frame(request(address), 2, 1.0) is Verdict.ANSWERED
        ((_, reply, *_),) = responder.frames_to_send()
        check_reply(reply, address, mac)


# -- R4: as many and as far apart as Timing says


def run_timers(responder: Responder, until: float, late: Callable[[int], float] = lambda _: 0.0) -> list[tuple[float, int, Address]]:
    """Handle every timer up to ``until``, the n-th one ``late(n)`` seconds late; when, where and what was announced."""
    announced: list[tuple[float, int, Address]] = []
    number = 0
    now = -math.inf
    while (timer := responder.next_timer()) is not None and timer <= until:
        now = max(now, timer + late(number))
        number += 1
        responder.handle_timer(now)
        found = dict.fromkeys((t.ifindex, announced_address(t.frame)) for t in responder.frames_to_send())
        announced += [(now, ifindex, address) for ifindex, address in found]
    return announced


def storm(count: int, names: frozenset[str], deadline: float) -> ClaimSet:
    addresses: list[Address] = [IPv4Address("10.0.0.1") + i if i % 2 else IPv6Address("fd00::1") + i for i in range(count)]
    return ClaimSet(1, tuple(Claim(address, names, deadline) for address in addresses))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 3), st.floats(0.0, 9.0, exclude_min=True), st.floats(0, 1e6))
def test_r4_as_many_and_as_far_apart_as_timing_says(count: int, link_count: int, lifetime: float, start: float) -> None:
    responder = Responder()
    names = frozenset(NAMES[:link_count])
    responder.replace_links([Link(i, name, MACS[0]) for i, name in zip(INDICES, sorted(names), strict=False)], start)
    deadline = start + lifetime
    responder.replace_claims(storm(count, names, deadline), start)
    announced = run_timers(responder, math.inf)
    assert all(now < deadline for now, _, _ in announced)
    for index in INDICES[:link_count]:
        times = [now for now, ifindex, _ in announced if ifindex == index]
        assert is_capped(times)
        for claim in storm(count, names, deadline).claims:
            mine = [now for now, ifindex, address in announced if (ifindex, address) == (index, claim.address)]
            due = [start + offset for offset in ANNOUNCE_OFFSETS]
            assert len([t for t in due if t + count * ANNOUNCE_GAP < deadline]) <= len(mine) <= len([t for t in due if t < deadline])
            assert all(at <= now <= at + count * ANNOUNCE_GAP for at, now in zip(due, mine, strict=False))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.lists(st.floats(0, 2.0), min_size=1, max_size=10))
def test_r4_a_late_caller_never_sends_more_than_the_burst_and_what_was_earned(count: int, delays: list[float]) -> None:
    responder = Responder()
    responder.replace_links([Link(2, "eth0", MACS[0])], 0.0)
    responder.replace_claims(storm(count, frozenset({"eth0"}), math.inf), 0.0)
    announced = run_timers(responder, math.inf, lambda n: delays[n % len(delays)])
    assert is_capped([now for now, _, _ in announced])
    order = [address for _, _, address in announced]
    assert len(set(order[:count])) == count, "each once before any twice"
    sent = Counter(address for _, _, address in announced)
    assert len(sent) == count
    assert max(sent.values()) <= len(ANNOUNCE_OFFSETS)


# -- the batch path gives what the frame path gives

LINK = Link(2, "eth0", MACS[0], link_local=IPv6Address("fe80::2"))
senders = st.sampled_from([ASKER_MAC, ASKER_MAC, ASKER_MAC, MACS[0], MACS[1], NO_MAC, BROADCAST_MAC, bytes.fromhex("010203040506")])
destinations = st.sampled_from([BROADCAST_MAC, BROADCAST_MAC, MACS[0], MACS[1], bytes.fromhex("3333ff000001"), ALL_NODES_MAC])
targets4 = st.sampled_from([IPv4Address("192.0.2.0") + i for i in range(1, 6)])
targets6 = st.sampled_from([IPv6Address("2001:db8::") + i for i in range(1, 4)] + [IPv6Address("fe80::1"), ALL_NODES])
askers4 = st.sampled_from([IPv4Address("192.0.2.200"), IPv4Address("0.0.0.0"), IPv4Address("192.0.2.1")])  # noqa: S104 - a probe's sender
askers6 = st.sampled_from([*[IPv6Address("fe80::99")] * 2, UNSPECIFIED, ALL_NODES, *map(IPv6Address, ("2001:db8::1", "::1"))])
arp_frames = st.builds(
    lambda to, source, packet: EthernetHeader(to, source, ETH_P_ARP).encode() + encode_arp(packet),
    destinations,
    senders,
    st.builds(ArpPacket, st.sampled_from([REQUEST, REQUEST, REQUEST, REPLY, 3]), senders, askers4, st.just(NO_MAC), targets4),
)


def solicitation_frame(to: bytes, mac: bytes, ips: tuple[IPv6Address, ...], target: IPv6Address, option: bytes | None) -> bytes:
    source, destination = ips
    return encode_neighbor_solicitation(mac, to, NeighborSolicitation(source, destination, target, option))


ndp_frames = st.builds(
    solicitation_frame,
    destinations,
    senders,
    st.tuples(askers6, targets6 | targets6.map(solicited_node_multicast)),
    targets6,
    st.none() | senders,
) | st.builds(
    lambda mac, target: encode_neighbor_advertisement(mac, ALL_NODES_MAC, target, ALL_NODES, NeighborAdvertisement(target)),
    senders,
    targets6,
)
VLAN_TAG = bytes.fromhex("81000005")


@st.composite
def damaged(draw: st.DrawFn, frames: st.SearchStrategy[bytes]) -> bytes:
    """A frame, often as it is, else with an octet changed, cut off, padded, or tagged."""
    frame = bytearray(draw(frames))
    match draw(st.integers(0, 7)):
        case 0:
            frame[draw(st.integers(0, len(frame) - 1))] = draw(st.integers(0, 255))
        case 1:
            del frame[draw(st.integers(0, len(frame))) :]
        case 2:
            frame += draw(st.binary(max_size=200))
        case 3:
            frame[12:12] = VLAN_TAG
        case 4:
            frame[draw(st.integers(0, len(frame) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(frame)


def prepared(limit: int = 0) -> Responder:
    """Owns 192.0.2.1 and .2, 2001:db8::1 and fe80::1 on LINK; .3 and 2001:db8::2 until 50, .4 on another link."""
    everywhere, elsewhere = frozenset({"eth0"}), frozenset({"eth1"})
    claims = [
        *(Claim(a, everywhere, 100.0) for a in (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"))),
        *(Claim(a, everywhere, 100.0) for a in (IPv6Address("2001:db8::1"), IPv6Address("fe80::1"))),
        *(Claim(a, everywhere, 50.0) for a in (IPv4Address("192.0.2.3"), IPv6Address("2001:db8::2"))),
        Claim(IPv4Address("192.0.2.4"), elsewhere, 100.0),
    ]
    responder = Responder()
    responder.replace_links([LINK], 0.0)
    responder.replace_claims(ClaimSet(1, tuple(claims), answer_limit=limit), 0.0)
    return responder


def slots(frames: list[bytes], size: int, rest: bytes) -> tuple[bytes, list[int]]:
    """A batch as a socket hands it over: frames cut off at their slot, what an earlier batch left behind them."""
    octets = b"".join(frame[:size] + (rest * size)[len(frame[:size]) : size] for frame in frames)
    return octets, [min(len(frame), size) for frame in frames]


def compare(frames: list[bytes], ifindex: int, now: float, rest: bytes, arp: bool, limit: int = 0) -> None:
    slot, reply_slot, reply_length = (ARP_SLOT, ARP_SLOT, 42) if arp else (NDP_SLOT, ADVERTISEMENT_SLOT, 86)
    octets, lengths = slots(frames, slot, rest)
    batch, single = prepared(limit), prepared(limit)
    replies = (answer_arp if arp else answer_ndp)(batch, octets, lengths, ifindex, now)
    verdicts = [single.receive_frame(frame[:slot], ifindex, now) for frame in frames]
    assert len(replies) % reply_slot == 0
    pieces = [replies[at : at + reply_slot] for at in range(0, len(replies), reply_slot)]
    assert all(piece[reply_length:] == bytes(reply_slot - reply_length) for piece in pieces)
    sent = [Transmit(ifindex, piece[:reply_length]) for piece in pieces] + batch.frames_to_send()
    assert sorted(sent) == sorted(single.frames_to_send())
    assert +batch.verdicts == +single.verdicts == Counter(verdicts)
    assert batch.report(now).answered == single.report(now).answered


now_and_rest = st.tuples(st.sampled_from([10.0, math.nextafter(50.0, 0), 50.0, 99.0, 100.0]), st.binary(min_size=1, max_size=3))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(damaged(arp_frames) | damaged(ndp_frames) | st.binary(max_size=90), max_size=12), st.sampled_from([2, 2, 2, 3]), now_and_rest
)
def test_an_arp_batch_is_answered_as_its_frames_are(frames: list[bytes], ifindex: int, extra: tuple[float, bytes]) -> None:
    compare(frames, ifindex, extra[0], extra[1], arp=True)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(damaged(ndp_frames) | damaged(arp_frames) | st.binary(max_size=90), max_size=12), st.sampled_from([2, 2, 2, 3]), now_and_rest
)
def test_an_ndp_batch_is_answered_as_its_frames_are(frames: list[bytes], ifindex: int, extra: tuple[float, bytes]) -> None:
    compare(frames, ifindex, extra[0], extra[1], arp=False)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(MACS_OF_ASKERS), st.sampled_from(("192.0.2.1", "192.0.2.2"))), max_size=40),
    st.lists(st.tuples(st.sampled_from(MACS_OF_ASKERS), st.sampled_from(("2001:db8::1", "fe80::1"))), max_size=40),
    st.sampled_from([0, 100, 240]),
)
def test_a_limited_batch_is_answered_as_its_frames_are(ipv4: list[tuple[bytes, str]], ipv6: list[tuple[bytes, str]], limit: int) -> None:
    compare([arp_request(IPv4Address(target), mac) for mac, target in ipv4], 2, 10.0, b"\0", arp=True, limit=limit)
    compare([solicitation(IPv6Address(target), mac) for mac, target in ipv6], 2, 10.0, b"\0", arp=False, limit=limit)


@given(st.integers(0, 0xFFFF), st.booleans())
def test_an_ndp_reply_has_the_same_checksum_for_every_asker(word: int, option: bool) -> None:
    asker = IPv6Address(b"\xfe\x80" + bytes(12) + word.to_bytes(2, "big"))
    frame = solicitation(IPv6Address("2001:db8::1"), source=asker, option=option)
    compare([frame], 2, 10.0, b"\0", arp=False)
