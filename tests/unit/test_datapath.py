"""What the datapath does between judging and sending, with sockets that only remember; the real ones are in tests/netns/."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest

from l2announce.kernel.datapath import HOLD_UP, Datapath, _Binding
from l2announce.kernel.packet import PacketSocket, Vector
from l2announce.model.address import BROADCAST_MAC
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.responder.batch import ARP_SLOT
from l2announce.responder.engine import Responder
from l2announce.wire.arp import NO_MAC, REQUEST, ArpPacket, encode_arp
from l2announce.wire.ethernet import ETH_P_ARP, EthernetHeader

MAC, ASKER = bytes.fromhex("020000000001"), bytes.fromhex("020000000009")
ADDRESS, ASKER_ADDRESS = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.9")
DEADLINE = 100.0
FD = 7


class Wire(PacketSocket):
    """One request waits, in the plain form or in one that only the slow way answers; what is sent is kept."""

    def __init__(self, plain: bool) -> None:
        packet = encode_arp(ArpPacket(REQUEST, ASKER, ASKER_ADDRESS, NO_MAC, ADDRESS))
        source = ASKER if plain else bytes.fromhex("020000000008")
        destination = BROADCAST_MAC if plain else bytes.fromhex("01005e000001")
        self.waiting = [EthernetHeader(destination, source, ETH_P_ARP).encode() + packet]
        self.sent = 0

    def receive(self, _: Vector) -> tuple[bytes, tuple[int, ...]] | None:
        return (frame.ljust(ARP_SLOT, b"\0"), (len(frame),)) if (frame := self.waiting.pop() if self.waiting else b"") else None

    def send_batch(self, replies: bytes, _: Vector) -> None:
        self.sent += len(replies) // ARP_SLOT

    def send(self, _: bytes) -> bool:
        self.sent += 1
        return True


def sent(judged: float, at: float, plain: bool) -> int:
    """How many replies go out when a request is judged at one time and the reply is ready at another."""
    responder = Responder()
    responder.replace_links([Link(2, "eth0", MAC)], 0.0)
    responder.replace_claims(ClaimSet(1, (Claim(ADDRESS, frozenset({"eth0"}), DEADLINE),)), 0.0)
    datapath, wire = Datapath(pool_size=0), Wire(plain)
    datapath._bound[2, ETH_P_ARP] = datapath._by_fd[FD] = _Binding(2, ETH_P_ARP, wire)
    datapath.receive(FD, responder, clock(judged, at))
    return wire.sent


def clock(first: float, then: float) -> Callable[[], float]:
    times: Iterator[float] = iter((first,))
    return lambda: next(times, then)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(
    ("judged", "at", "expected"),
    [
        (50.0, 50.001, 1),
        (50.0, 50.0 + HOLD_UP, 0),
        (DEADLINE - 0.002, DEADLINE - 0.001, 1),
        (DEADLINE - 0.002, DEADLINE, 0),
        (DEADLINE - 0.002, DEADLINE + 0.01, 0),
    ],
)
def test_a_reply_that_is_held_up_past_its_deadline_is_thrown_away(plain: bool, judged: float, at: float, expected: int) -> None:
    assert sent(judged, at, plain) == expected
