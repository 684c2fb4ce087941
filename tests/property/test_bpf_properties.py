"""W4: whatever is owned and whatever comes, the filter never rejects a request for an owned address, and an exact one accepts no other."""

import struct
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from netlab import bpf_machine

from l2announce.wire.bpf import MAX_INSTRUCTIONS, MIN_INSTRUCTIONS, Filter, arp_filter, ndp_filter

IFINDEX = 7

clustered = st.builds(lambda base, offset: (base * 1000 + offset) % 2**32, st.sampled_from([0, 1, 5, 167772, 4294967]), st.integers(0, 600))
words = clustered | st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**32 - 2, 2**32 - 1])
ipv4 = st.builds(IPv4Address, words)
ipv6_prefixes = st.sampled_from([0, 1, 2, 0xFE80 << 80, 0x20010DB8 << 64, (0x20010DB8 << 64) + 1, (0x20010DB8 << 64) + (1 << 32)])
ipv6 = st.builds(lambda prefix, word: IPv6Address(prefix << 32 | word), ipv6_prefixes, words) | st.ip_addresses(v=6).map(
    lambda a: IPv6Address(int(a))
)
limits = st.integers(MIN_INSTRUCTIONS, 400) | st.just(MAX_INSTRUCTIONS)


ASKER = bytes.fromhex("c0000201")


def arp_frame(target: IPv4Address, opcode: int = 1, sender: bytes = ASKER) -> bytes:
    return bytes(12) + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, opcode) + bytes(6) + sender + bytes(6) + target.packed


def ns_frame(target: IPv6Address, next_header: int = 58, icmp_type: int = 135) -> bytes:
    return (
        bytes(12)
        + struct.pack("!HIHBB", 0x86DD, 6 << 28, 24, next_header, 255)
        + bytes(32)
        + struct.pack("!B7x", icmp_type)
        + target.packed
    )


def accepts(made: Filter, frame: bytes, ifindex: int = IFINDEX, packet_type: int = 2) -> bool:
    returned, _ = bpf_machine.run(made.program, frame, ifindex, packet_type)
    return returned > 0


def near(numbers: set[int], bits: int) -> set[int]:
    return {number + step for number in numbers for step in (-1, 0, 1) if 0 <= number + step < 1 << bits}


@given(st.sets(ipv4, max_size=300), st.sets(ipv4, max_size=20), limits)
def test_arp_filter_accepts_what_is_owned(owned: set[IPv4Address], others: set[IPv4Address], limit: int) -> None:
    made = arp_filter(owned, IFINDEX, limit)
    assert len(made.program) <= limit
    bpf_machine.check(made.program)
    for target in map(IPv4Address, near({int(address) for address in owned | others}, 32)):
        for opcode in (1, 2):
            asked = accepts(made, arp_frame(target, opcode))
            claimed = accepts(made, arp_frame(IPv4Address(ASKER), opcode, target.packed))
            assert asked >= (opcode == 1 and target in owned)
            assert claimed >= (target in owned)
            if made.exact and IPv4Address(ASKER) not in owned:
                assert asked == (opcode == 1 and target in owned)
                assert claimed == (target in owned)


@given(st.sets(ipv6, max_size=120), st.sets(ipv6, max_size=20), limits)
def test_ndp_filter_accepts_what_is_owned(owned: set[IPv6Address], others: set[IPv6Address], limit: int) -> None:
    made = ndp_filter(owned, IFINDEX, limit)
    assert len(made.program) <= limit
    bpf_machine.check(made.program)
    for target in map(IPv6Address, near({int(address) for address in owned | others}, 128)):
        accepted = accepts(made, ns_frame(target))
        assert accepted == accepts(made, ns_frame(target, icmp_type=136))
        assert accepted >= (target in owned)
        if made.exact:
            assert accepted == (target in owned)


@given(st.sets(ipv4, min_size=1, max_size=40), limits, st.integers(0, 0xFFFF), st.integers(0, 6), st.integers(1, 9))
def test_arp_filter_accepts_requests_to_this_host_only(
    owned: set[IPv4Address], limit: int, opcode: int, packet_type: int, ifindex: int
) -> None:
    made = arp_filter(owned, IFINDEX, limit)
    received = packet_type < bpf_machine.OTHERHOST and ifindex == IFINDEX
    assert accepts(made, arp_frame(min(owned), 1), ifindex, packet_type) == received
    assert accepts(made, arp_frame(IPv4Address(ASKER), opcode, min(owned).packed), ifindex, packet_type) == received


@given(st.sets(ipv6, min_size=1, max_size=40), limits, st.integers(0, 255), st.integers(0, 255), st.integers(0, 6), st.integers(1, 9))
def test_ndp_filter_accepts_solicitations_to_this_host_only(
    owned: set[IPv6Address], limit: int, next_header: int, icmp_type: int, packet_type: int, ifindex: int
) -> None:
    made = ndp_filter(owned, IFINDEX, limit)
    expected = next_header == 58 and icmp_type in (135, 136) and packet_type < bpf_machine.OTHERHOST and ifindex == IFINDEX
    assert accepts(made, ns_frame(min(owned), next_header, icmp_type), ifindex, packet_type) == expected


@given(st.sets(ipv4, max_size=50), st.sets(ipv6, max_size=50), st.binary(max_size=90), limits)
def test_truncated_and_arbitrary_frames_are_judged_by_what_they_say(
    owned4: set[IPv4Address], owned6: set[IPv6Address], frame: bytes, limit: int
) -> None:
    if accepts(arp_filter(owned4, IFINDEX, limit), frame):
        assert len(frame) >= 32
    if accepts(ndp_filter(owned6, IFINDEX, limit), frame):
        assert len(frame) >= 78
        assert (frame[20], frame[54]) in ((58, 135), (58, 136))
