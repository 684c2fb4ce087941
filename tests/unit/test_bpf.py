"""Classic BPF programs: their shape, their limits, and what they cost, on examples. tests/property/test_bpf_properties.py has the rest."""

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from netlab import bpf_machine

from l2announce.wire.bpf import (
    ACCEPT,
    DROP_ALL,
    JUMP,
    MAX_PREFIXES,
    MIN_INSTRUCTIONS,
    Filter,
    Instruction,
    arp_filter,
    assemble,
    ndp_filter,
)

IFINDEX = 7
ASKER = bytes.fromhex("c00002c8")


def arp_frame(target: IPv4Address, opcode: int = 1) -> bytes:
    sender = bytes.fromhex("020000000009")
    return b"\xff" * 6 + sender + struct.pack("!HHHBBH6s4s6s4s", 0x0806, 1, 0x0800, 6, 4, opcode, sender, ASKER, bytes(6), target.packed)


def ns_frame(target: IPv6Address, next_header: int = 58, icmp_type: int = 135) -> bytes:
    ethernet = b"\x33\x33\xff" + target.packed[13:] + bytes.fromhex("02000000000986dd")
    header = struct.pack("!IHBB16s16s", 6 << 28, 24, next_header, 255, bytes(16), b"\xff\x02" + bytes(9) + b"\x01\xff" + target.packed[13:])
    return ethernet + header + struct.pack("!BBHI16s", icmp_type, 0, 0, 0, target.packed)


def accepts(made: Filter, frame: bytes, ifindex: int = IFINDEX, packet_type: int = bpf_machine.MULTICAST) -> bool:
    returned, _ = bpf_machine.run(made.program, frame, ifindex, packet_type)
    assert returned in {0, ACCEPT}
    return returned == ACCEPT


def scattered(count: int, step: int = 7) -> list[IPv4Address]:
    return [IPv4Address(0x0A000000 + step * i) for i in range(count)]


def test_one_address_takes_the_fewest_instructions() -> None:
    made = arp_filter([IPv4Address("192.0.2.7")], IFINDEX)
    assert made.exact
    assert len(made.program) == 15
    assert accepts(made, arp_frame(IPv4Address("192.0.2.7")))
    assert not accepts(made, arp_frame(IPv4Address("192.0.2.8")))


@pytest.mark.parametrize("count", [1, 2000])
def test_who_claims_an_address_is_seen_whatever_the_packet(count: int) -> None:
    own = scattered(count)
    made = arp_filter(own, IFINDEX)
    bpf_machine.check(made.program)
    for opcode in (1, 2):
        for target in (IPv4Address("192.0.2.8"), own[-1]):
            frame = arp_frame(target, opcode)
            assert accepts(made, frame[:28] + own[count // 2].packed + frame[32:])
    assert not accepts(made, arp_frame(IPv4Address("192.0.2.8"), 2)[:28] + b"\1\2\3\4" + bytes(10))


def test_replies_and_short_frames_are_dropped() -> None:
    address = IPv4Address("192.0.2.7")
    made = arp_filter([address], IFINDEX)
    assert not accepts(made, arp_frame(address, opcode=2))
    assert not any(accepts(made, arp_frame(address)[:length]) for length in range(42))


@pytest.mark.parametrize("packet_type", [3, 4, 5, 6])
def test_frames_not_received_for_this_host_are_dropped(packet_type: int) -> None:
    assert not accepts(arp_filter([IPv4Address(1)], IFINDEX), arp_frame(IPv4Address(1)), packet_type=packet_type)
    assert not accepts(ndp_filter([IPv6Address(1)], IFINDEX), ns_frame(IPv6Address(1)), packet_type=packet_type)


def test_frames_of_a_stacked_interface_are_dropped() -> None:
    assert not accepts(arp_filter([IPv4Address(1)], IFINDEX), arp_frame(IPv4Address(1)), ifindex=IFINDEX + 1)
    assert not accepts(ndp_filter([IPv6Address(1)], IFINDEX), ns_frame(IPv6Address(1)), ifindex=IFINDEX + 1)


def test_a_question_costs_no_more_because_claims_are_seen_too() -> None:
    for made, frame, before in (
        (arp_filter([IPv4Address(1)], IFINDEX), arp_frame(IPv4Address(1)), 9),
        (ndp_filter([IPv6Address(1)], IFINDEX), ns_frame(IPv6Address(1)), 17),
    ):
        assert bpf_machine.run(made.program, frame, IFINDEX) == (ACCEPT, before)


def test_forwarded_ipv6_traffic_costs_three_instructions() -> None:
    made = ndp_filter([IPv6Address("2001:db8::7")], IFINDEX)
    assert bpf_machine.run(made.program, ns_frame(IPv6Address("2001:db8::7"), next_header=6), IFINDEX) == (0, 3)


def test_only_neighbor_solicitations_and_advertisements_are_accepted() -> None:
    address = IPv6Address("2001:db8::7")
    made = ndp_filter([address], IFINDEX)
    assert accepts(made, ns_frame(address))
    assert accepts(made, ns_frame(address, icmp_type=136))
    assert not any(accepts(made, ns_frame(address, icmp_type=kind)) for kind in (128, 133, 134, 137))
    assert not accepts(made, ns_frame(address + 1, icmp_type=136))
    assert not accepts(made, ns_frame(address, next_header=0))
    assert not any(accepts(made, ns_frame(address)[:length]) for length in range(78))


def test_consecutive_addresses_are_one_range() -> None:
    made = arp_filter([IPv4Address(0x0A000000 + i) for i in range(5000)], IFINDEX)
    assert made.exact
    assert len(made.program) == 17
    assert accepts(made, arp_frame(IPv4Address("10.0.19.135")))
    assert not accepts(made, arp_frame(IPv4Address("10.0.19.136")))


def test_the_whole_address_space_is_a_range() -> None:
    made = arp_filter([IPv4Address(0), IPv4Address(1), IPv4Address(2**32 - 2), IPv4Address(2**32 - 1)], IFINDEX)
    assert [accepts(made, arp_frame(IPv4Address(i))) for i in (0, 1, 2, 2**32 - 3, 2**32 - 2, 2**32 - 1)] == [True] * 2 + [False] * 2 + [
        True
    ] * 2


def test_three_and_a_half_thousand_scattered_addresses_fit_and_questions_exactly() -> None:
    made = arp_filter(scattered(3500), IFINDEX)
    assert not made.exact, "of the senders, neighbors are seen too"
    assert not any(accepts(made, arp_frame(address + 1)) for address in scattered(3500)[::31])
    assert len(made.program) <= 4096
    assert any(instruction.code == JUMP for instruction in made.program)
    bpf_machine.check(made.program)
    worst = max(bpf_machine.run(made.program, arp_frame(IPv4Address(int(a) + d)), IFINDEX)[1] for a in scattered(3500) for d in (0, 1))
    assert worst <= 100


def test_smallest_gaps_are_joined_first() -> None:
    near = [IPv4Address(0x0A000000 + 2 * i) for i in range(50)]
    far = [IPv4Address(0x0B000000 + 1000 * i) for i in range(50)]
    made = arp_filter(near + far, IFINDEX, limit=80)
    assert not made.exact
    assert len(made.program) <= 80
    assert all(accepts(made, arp_frame(address)) for address in near + far)
    assert accepts(made, arp_frame(near[0] + 1))
    assert not any(accepts(made, arp_frame(address + 1)) for address in far)


def test_ten_thousand_scattered_addresses_make_a_coarse_filter() -> None:
    made = arp_filter(scattered(10_000), IFINDEX)
    assert not made.exact
    assert len(made.program) <= 4096
    assert all(accepts(made, arp_frame(address)) for address in scattered(10_000)[::97])
    assert not accepts(made, arp_frame(IPv4Address("11.0.0.0")))


def test_limit_below_the_least_is_refused() -> None:
    with pytest.raises(ValueError, match="no room for 1 instructions of tests"):
        arp_filter([IPv4Address(1)], IFINDEX, limit=24)
    assert arp_filter([IPv4Address(1)], IFINDEX, limit=25).exact
    assert arp_filter(scattered(5), IFINDEX, limit=MIN_INSTRUCTIONS).program
    with pytest.raises(ValueError, match="16 instructions"):
        ndp_filter(scattered_low_words(20), IFINDEX, limit=16)


def scattered_low_words(count: int, prefix: str = "2001:db8::") -> list[IPv6Address]:
    return [IPv6Address(prefix) + 3 * i for i in range(count)]


def test_one_prefix_is_exact_also_with_many_addresses() -> None:
    made = ndp_filter(scattered_low_words(3000), IFINDEX)
    assert made.exact
    assert accepts(made, ns_frame(IPv6Address("2001:db8::3")))
    assert not accepts(made, ns_frame(IPv6Address("2001:db8::4")))
    assert not accepts(made, ns_frame(IPv6Address("2001:db8:0:1::3")))
    assert not accepts(made, ns_frame(IPv6Address("fe80::3")))


def test_several_prefixes_are_exact() -> None:
    own = scattered_low_words(300) + scattered_low_words(300, "2001:db8:0:1::") + [IPv6Address("fd00::1:0:0:3")]
    made = ndp_filter(own, IFINDEX)
    assert made.exact
    bpf_machine.check(made.program)
    assert all(accepts(made, ns_frame(address)) for address in own)
    assert not any(accepts(made, ns_frame(address + 1)) for address in own)
    assert not accepts(made, ns_frame(IPv6Address("fd00::3")))
    assert not accepts(made, ns_frame(IPv6Address("2001:db8:0:2::3")))


def test_many_prefixes_are_told_apart_by_the_shared_words_only() -> None:
    own = [IPv6Address("2001:db8::") + (i << 32) + 5 * i for i in range(MAX_PREFIXES + 1)]
    made = ndp_filter(own, IFINDEX)
    assert not made.exact
    assert all(accepts(made, ns_frame(address)) for address in own)
    assert accepts(made, ns_frame(own[0] + 5))
    assert not accepts(made, ns_frame(own[0] + 1))
    assert not accepts(made, ns_frame(IPv6Address(int(own[0]) ^ 1 << 64)))


def test_prefixes_that_do_not_fit_are_told_apart_by_the_shared_words_only() -> None:
    own = scattered_low_words(100) + scattered_low_words(100, "2001:db8:0:1::")
    made = ndp_filter(own, IFINDEX, limit=150)
    assert not made.exact
    assert len(made.program) <= 150
    assert all(accepts(made, ns_frame(address)) for address in own)


def test_nothing_owned_drops_everything() -> None:
    assert arp_filter([], IFINDEX) == ndp_filter([], IFINDEX) == Filter(DROP_ALL, exact=True)
    assert not accepts(Filter(DROP_ALL, exact=True), arp_frame(IPv4Address(1)))


def test_assembled_as_the_kernel_reads_it() -> None:
    octets = assemble((Instruction(0x15, 1, 2, 0x01020304), *DROP_ALL))
    assert octets == struct.pack("@HBBIHBBI", 0x15, 1, 2, 0x01020304, 6, 0, 0, 0)
