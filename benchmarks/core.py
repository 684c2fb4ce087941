"""The core alone, in pyperf: batches through the Responder, claim sets, messages and codecs. ``make bench-core``.

No socket and no kernel: what these figures show is the cost of the decisions, to be compared between two versions with
``python -m pyperf compare_to OLD.json NEW.json``. Each loop is one call; batches are of 64 frames.
"""

from ipaddress import IPv4Address, IPv6Address

import pyperf

from l2announce.model.address import BROADCAST_MAC, Address, solicited_node_multicast
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.responder.batch import ARP_SLOT, NDP_SLOT, answer_arp, answer_ndp
from l2announce.responder.engine import Responder
from l2announce.wire.arp import NO_MAC, REQUEST, ArpPacket, decode_arp, encode_arp
from l2announce.wire.bpf import arp_filter, ndp_filter
from l2announce.wire.ethernet import ETH_P_ARP, HEADER_LENGTH, EthernetHeader
from l2announce.wire.icmpv6 import NeighborSolicitation, decode_neighbor_solicitation, encode_neighbor_solicitation, multicast_mac
from l2announce.wire.messages import Assembler, encode_claims

BATCH = 64
ADDRESSES = 10_000
LINK = Link(2, "eth0", bytes.fromhex("020000000001"))
ASKER_MAC = bytes.fromhex("020000000002")
NOW, DEADLINE = 100.0, 1000.0


def ipv4(count: int, step: int = 1) -> list[IPv4Address]:
    """``count`` addresses, ``step`` apart."""
    return [IPv4Address("10.64.0.1") + i * step for i in range(count)]


def ipv6(count: int, step: int = 1) -> list[IPv6Address]:
    """``count`` addresses, ``step`` apart."""
    return [IPv6Address("fd00:64::1") + i * step for i in range(count)]


def claim_set(generation: int) -> ClaimSet:
    """ADDRESSES claims, half of them of either family."""
    addresses: tuple[Address, ...] = (*ipv4(ADDRESSES // 2), *ipv6(ADDRESSES // 2))
    return ClaimSet(generation, tuple(Claim(address, frozenset((LINK.name,)), DEADLINE) for address in addresses))


def arp_request(target: IPv4Address) -> bytes:
    """A frame that asks for ``target``."""
    packet = ArpPacket(REQUEST, ASKER_MAC, IPv4Address("10.64.255.254"), NO_MAC, target)
    return EthernetHeader(BROADCAST_MAC, ASKER_MAC, ETH_P_ARP).encode() + encode_arp(packet)


def solicitation(target: IPv6Address) -> bytes:
    """A frame that solicits ``target``."""
    group = solicited_node_multicast(target)
    return encode_neighbor_solicitation(
        ASKER_MAC, multicast_mac(group), NeighborSolicitation(IPv6Address("fd00:64::ffff"), group, target, ASKER_MAC)
    )


def slots(frames: list[bytes], size: int) -> tuple[bytes, tuple[int, ...]]:
    """A batch as the packet socket hands it over, and the lengths of its frames."""
    return b"".join(frame.ljust(size, b"\0") for frame in frames), tuple(len(frame) for frame in frames)


def prepared_responder() -> Responder:
    """A responder with all claims on one link, its announcements sent."""
    responder = Responder()
    responder.replace_links([LINK], NOW)
    responder.replace_claims(claim_set(1), NOW)
    return responder


def assemble(datagrams: list[bytes]) -> None:
    """Decode a whole message."""
    assembler = Assembler()
    for datagram in datagrams:
        for _ in assembler.feed(datagram):
            pass


def main() -> None:
    """Run every benchmark; pyperf's options apply (``--help``)."""
    runner = pyperf.Runner()
    responder = prepared_responder()
    arp_batch = slots([arp_request(address) for address in ipv4(BATCH)], ARP_SLOT)
    ndp_batch = slots([solicitation(address) for address in ipv6(BATCH)], NDP_SLOT)
    foreign = arp_request(IPv4Address("172.20.0.1"))
    runner.bench_func("answer_arp, 64 requests", answer_arp, responder, *arp_batch, LINK.index, NOW)
    runner.bench_func("answer_ndp, 64 solicitations", answer_ndp, responder, *ndp_batch, LINK.index, NOW)
    runner.bench_func("receive_frame, foreign ARP request", responder.receive_frame, foreign, LINK.index, NOW)
    runner.bench_func(
        "receive_frame, foreign solicitation", responder.receive_frame, solicitation(IPv6Address("fd00:65::1")), LINK.index, NOW
    )
    claims = claim_set(2)
    datagrams = encode_claims(claims)
    runner.bench_func("replace_claims, 10,000 unchanged", responder.replace_claims, claims, NOW)
    runner.bench_func("replace_claims, 10,000 new", prepared_responder)
    runner.bench_func("encode_claims, 10,000", encode_claims, claims)
    runner.bench_func("decode claims, 10,000", assemble, datagrams)
    runner.bench_func("arp_filter, 1,000 scattered", arp_filter, ipv4(1000, 7), LINK.index)
    runner.bench_func("ndp_filter, 1,000 scattered", ndp_filter, ipv6(1000, 7), LINK.index)
    runner.bench_func("decode_arp", decode_arp, foreign[HEADER_LENGTH:])
    runner.bench_func("decode_neighbor_solicitation", decode_neighbor_solicitation, solicitation(ipv6(1)[0]))


if __name__ == "__main__":
    main()
