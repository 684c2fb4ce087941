"""Addresses that are answered beyond their deadline: probes, what vouches for how long, and who is yielded to."""

import math
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import pytest

from l2announce.model.address import BROADCAST_MAC, NEVER, Address, solicited_node_multicast
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.model.timing import HOLD_GRANT, HOLD_PROBE_INTERVAL, HOLD_VOUCH, PROBE_WAIT
from l2announce.responder.batch import ARP_SLOT, answer_arp
from l2announce.responder.engine import Responder
from l2announce.responder.frames import Transmit
from l2announce.responder.verdict import Verdict
from l2announce.wire import arp
from l2announce.wire.ethernet import ETH_P_ARP, EthernetHeader
from l2announce.wire.icmpv6 import NeighborSolicitation, encode_neighbor_solicitation, multicast_mac, neighbor_announcement, neighbor_probe

MAC, OTHER_MAC, ASKER, STRANGER, PEER = (bytes.fromhex(f"0200000000{i:02x}") for i in (1, 2, 9, 10, 5))
A4, A6 = IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")
ETH0 = Link(2, "eth0", MAC)
DEADLINE = 10.0
START = DEADLINE - 1.0
"""When control says that the address may have to be held."""


def asks(address: Address) -> bytes:
    if isinstance(address, IPv4Address):
        packet = arp.ArpPacket(arp.REQUEST, ASKER, IPv4Address("192.0.2.9"), arp.NO_MAC, address)
        return EthernetHeader(BROADCAST_MAC, ASKER, ETH_P_ARP).encode() + arp.encode_arp(packet)
    group = solicited_node_multicast(address)
    return encode_neighbor_solicitation(ASKER, multicast_mac(group), NeighborSolicitation(IPv6Address("fe80::9"), group, address, ASKER))


def probes(address: Address, mac: bytes) -> bytes:
    return arp.arp_probe(mac, address) if isinstance(address, IPv4Address) else neighbor_probe(mac, address)


def announces(address: Address, mac: bytes) -> bytes:
    return arp.arp_announcements(mac, address)[0] if isinstance(address, IPv4Address) else neighbor_announcement(mac, address, None)


class Bench:
    """A responder that had an address until DEADLINE and may hold it beyond; control says so every second."""

    def __init__(self, address: Address, links: tuple[Link, ...] = (ETH0,)) -> None:
        self.address = address
        self.now = 0.0
        self.generation = 0
        self.granting = True
        self.sent: list[tuple[float, Transmit]] = []
        self.responder = Responder()
        self.responder.replace_links(links, 0.0)
        self.claim()
        self.run(START - 0.001)

    def claim(self, deadline: float = DEADLINE, held_until: float = NEVER, peers: frozenset[bytes] = frozenset({PEER})) -> None:
        self.generation += 1
        claims = (Claim(self.address, frozenset({"eth0"}), deadline, held_until=held_until),)
        self.responder.replace_claims(ClaimSet(self.generation, claims, peers=peers), self.now)

    def run(self, until: float) -> None:
        """Time passes, and every timer is handled when it is due."""
        due = START if self.now < START else self.now
        while True:
            timer = self.responder.next_timer()
            at = min(timer if timer is not None else math.inf, due if self.granting and due >= START else math.inf)
            if at > until:
                break
            self.now = max(self.now, at)
            if at == due and self.granting:
                self.claim(held_until=self.now + HOLD_GRANT)
                due += HOLD_GRANT / 2
            self.responder.handle_timer(self.now)
            self.take()
        self.now = until

    def take(self) -> list[Transmit]:
        sent = self.responder.frames_to_send()
        self.sent += [(self.now, transmit) for transmit in sent]
        return sent

    def hears(self, frame: bytes) -> Verdict:
        return self.responder.receive_frame(frame, 2, self.now)

    def is_answered(self) -> bool:
        """Whether an ask is answered, by both ways to judge a frame."""
        frame = asks(self.address)
        verdict = self.hears(frame)
        replies = self.responder.frames_to_send()
        if isinstance(self.address, IPv4Address):
            batch = answer_arp(self.responder, frame.ljust(ARP_SLOT, b"\0"), [len(frame)], 2, self.now)
            assert bool(batch) + len(self.responder.frames_to_send()) == len(replies)
        assert (verdict is Verdict.ANSWERED) == bool(replies)
        return bool(replies) and self.responder.may_send(self.now, self.now)

    def probed_at(self) -> list[float]:
        return [when for when, transmit in self.sent if transmit.is_probe]


@pytest.fixture(params=[A4, A6], ids=str)
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(request.param)


def test_it_goes_on_beyond_its_deadline_without_a_gap(bench: Bench) -> None:
    while bench.now < 60.0:
        bench.run(bench.now + 0.1)
        assert bench.is_answered(), bench.now


def test_without_leave_to_hold_the_deadline_ends_it(bench: Bench) -> None:
    bench.granting = False
    bench.run(DEADLINE - 0.001)
    assert bench.is_answered()
    bench.run(DEADLINE)
    assert not bench.is_answered()
    assert bench.probed_at() == []


def test_probes_are_plain_and_come_in_their_interval(bench: Bench) -> None:
    bench.run(60.0)
    times = bench.probed_at()
    assert times[0] == START
    assert all(0 < later - earlier <= HOLD_PROBE_INTERVAL * 1.1 + 0.01 for earlier, later in pairwise(times[1:]))
    assert len(times) < 51.0 / (HOLD_PROBE_INTERVAL * 0.9) + 2
    assert {transmit.frame for _, transmit in bench.sent if transmit.is_probe} == {probes(bench.address, MAC)}


def test_it_ends_with_the_leave_of_control(bench: Bench) -> None:
    bench.run(30.0)
    bench.granting = False
    bench.run(30.0 + HOLD_GRANT - 1.001)
    assert bench.is_answered()
    assert bench.responder.has_live_claims(bench.now)
    bench.run(30.0 + HOLD_GRANT)
    assert not bench.is_answered()
    assert not bench.responder.has_live_claims(bench.now)


def test_it_ends_when_control_is_lost(bench: Bench) -> None:
    bench.run(30.0)
    assert bench.is_answered()
    bench.responder.control_lost(bench.now)
    assert not bench.is_answered()
    assert not bench.responder.has_live_claims(bench.now)


def test_the_loss_of_control_changes_nothing_for_what_is_not_held() -> None:
    bench = Bench(A4)
    bench.granting = False
    bench.responder.control_lost(bench.now)
    assert bench.is_answered()
    assert bench.responder.report(bench.now).generation == bench.generation


@pytest.mark.parametrize("frame", [announces, probes], ids=["announcement", "probe"])
@pytest.mark.parametrize(("mac", "verdict"), [(PEER, Verdict.TAKEOVER), (STRANGER, Verdict.CONFLICT)], ids=["peer", "stranger"])
def test_whoever_claims_it_or_wants_it_has_it(bench: Bench, frame: Callable[[Address, bytes], bytes], mac: bytes, verdict: Verdict) -> None:
    bench.run(30.0)
    assert bench.hears(frame(bench.address, mac)) is verdict
    assert bench.take() == []
    assert not bench.is_answered()
    (record,) = bench.responder.report(bench.now).conflicts
    assert (record.address, record.mac, record.held_back) == (bench.address, mac, True)
    bench.sent.clear()
    bench.run(60.0)
    assert not bench.is_answered()
    assert [transmit for _, transmit in bench.sent if not transmit.is_probe] == [], "neither defended nor announced"


def test_the_answer_to_a_probe_ends_it(bench: Bench) -> None:
    bench.run(START + 0.01)
    assert bench.probed_at()
    assert bench.hears(announces(bench.address, STRANGER)) is Verdict.CONFLICT
    assert bench.is_answered(), "its own deadline is still to come"
    bench.run(DEADLINE)
    assert not bench.is_answered()


def test_a_wish_before_the_deadline_is_answered(bench: Bench) -> None:
    bench.run(DEADLINE - 0.1)
    assert bench.hears(probes(bench.address, STRANGER)) is Verdict.ANSWERED
    bench.take()
    bench.run(30.0)
    assert bench.is_answered()


def test_its_own_frames_from_another_link_are_nobody_else() -> None:
    bench = Bench(A4, (ETH0, Link(3, "eth1", OTHER_MAC)))
    bench.run(30.0)
    bench.hears(probes(A4, OTHER_MAC))
    bench.take()
    assert bench.is_answered()


def test_a_renewed_lease_gives_back_what_was_yielded(bench: Bench) -> None:
    bench.run(30.0)
    bench.hears(announces(bench.address, STRANGER))
    bench.granting = False
    bench.claim(deadline=100.0)
    assert bench.is_answered()
    bench.run(30.1)
    assert [transmit for when, transmit in bench.sent if when >= 30.0 and not transmit.is_probe], "announced again"
    assert bench.responder.report(bench.now).conflicts[0].held_back is False
    bench.sent.clear()
    bench.run(60.0)
    assert bench.probed_at() == []


def test_a_renewed_lease_that_was_held_is_not_announced_again(bench: Bench) -> None:
    bench.run(30.0)
    bench.sent.clear()
    bench.granting = False
    bench.claim(deadline=100.0)
    bench.run(60.0)
    assert bench.sent == []


def test_an_unsent_probe_vouches_for_nothing(bench: Bench) -> None:
    bench.granting = False
    bench.claim(held_until=40.0)
    while bench.now < 20.0:
        bench.responder.handle_timer(bench.now)
        bench.responder.sending_failed(bench.take(), bench.now)
        bench.now += 0.05
    assert bench.probed_at()
    assert not bench.is_answered()
    bench.run(24.0)
    assert bench.is_answered(), "one that was sent does"


def test_after_a_standstill_it_asks_before_it_answers(bench: Bench) -> None:
    bench.granting = False
    bench.claim(held_until=100.0)
    bench.run(30.0)
    bench.sent.clear()
    bench.now = 30.0 + HOLD_VOUCH + HOLD_PROBE_INTERVAL
    assert not bench.is_answered()
    bench.responder.handle_timer(bench.now)
    assert [transmit.is_probe for transmit in bench.take()] == [True]
    assert not bench.is_answered()
    bench.run(bench.now + PROBE_WAIT - 0.01)
    assert not bench.is_answered()
    bench.run(bench.now + 0.02)
    assert bench.is_answered()
    assert [transmit for _, transmit in bench.sent if not transmit.is_probe], "and announces"


def test_no_probe_without_carrier(bench: Bench) -> None:
    bench.run(30.0)
    bench.responder.replace_links((Link(2, "eth0", MAC, carrier=False),), bench.now)
    bench.sent.clear()
    bench.run(40.0)
    assert bench.sent == []
    bench.responder.replace_links((ETH0,), bench.now)
    assert not bench.is_answered(), "nothing vouches for it any more"
    bench.run(40.0 + HOLD_PROBE_INTERVAL * 1.1 + PROBE_WAIT + 0.01)
    assert bench.is_answered()


def test_another_link_starts_with_a_probe(bench: Bench) -> None:
    bench.run(30.0)
    bench.responder.replace_links((Link(7, "eth0", OTHER_MAC),), bench.now)
    assert bench.responder.receive_frame(asks(bench.address), 7, bench.now) is Verdict.EXPIRED
    bench.run(30.0 + PROBE_WAIT + 0.01)
    assert bench.responder.receive_frame(asks(bench.address), 7, bench.now) is Verdict.ANSWERED


def test_a_withdrawn_address_is_neither_held_nor_probed_for(bench: Bench) -> None:
    bench.run(30.0)
    bench.granting = False
    bench.responder.replace_claims(ClaimSet(99, ()), bench.now)
    bench.sent.clear()
    assert not bench.is_answered()
    bench.run(60.0)
    assert bench.sent == []
    assert bench.responder.next_timer() is None


def test_what_was_judged_before_the_end_is_not_sent_after_it(bench: Bench) -> None:
    bench.granting = False
    bench.claim(held_until=20.0)
    bench.run(15.0)
    judged = bench.now
    assert bench.responder.may_send(judged, 15.1)
    assert not bench.responder.may_send(judged, 20.0)


def test_an_address_that_is_probed_for_is_not_held() -> None:
    """Nobody had it before, so there is nothing to hold."""
    responder = Responder()
    responder.replace_links((ETH0,), 0.0)
    first = Claim(A4, frozenset({"eth0"}), 0.1, probe=True, held_until=5.0)
    responder.replace_claims(ClaimSet(1, (first,), probe_wait=0.2), 0.0)
    assert responder.receive_frame(asks(A4), 2, 0.15) is Verdict.EXPIRED


def test_what_was_claimed_by_another_while_control_hung_is_not_held_again(bench: Bench) -> None:
    """Nothing is answered when the grants end, and still whoever is heard then has the address, also when control is back first."""
    bench.run(20.0)
    bench.granting = False
    bench.run(20.0 + HOLD_GRANT + 0.5)
    assert not bench.is_answered()
    bench.hears(announces(bench.address, PEER))
    bench.run(bench.now + 1.0)
    bench.claim(held_until=bench.now + HOLD_GRANT)
    assert not bench.is_answered()
    bench.granting = True
    bench.run(bench.now + 5.0)
    assert not bench.is_answered()
