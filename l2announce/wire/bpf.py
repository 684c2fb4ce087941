"""Classic BPF programs as data: socket filters that let only requests for owned addresses through (Linux, networking/filter.rst).

A filter never rejects a request for an owned address. Where the owned addresses need more instructions than there is room for, the ranges
with the smallest gaps between them are joined, so that some foreign addresses pass too: coarser, never wrong.
"""

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address
from struct import pack
from typing import NamedTuple, TypeAlias

MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS."""
MIN_INSTRUCTIONS = 32
"""The least limit that every filter fits in."""


class Instruction(NamedTuple):
    """struct sock_filter: opcode, jumps if true and if false, operand."""

    code: int
    jump_true: int = 0
    jump_false: int = 0
    operand: int = 0


Program: TypeAlias = tuple[Instruction, ...]


class Filter(NamedTuple):
    """A program, and whether it lets exactly the owned addresses through."""

    program: Program
    exact: bool


_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_JUMP, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_GREATER_EQUAL, _RETURN = 0x05, 0x15, 0x25, 0x35, 0x06
_MAX_JUMP = 255
_ANCILLARY = 0xFFFFF000
_PACKET_TYPE, _IFINDEX = _ANCILLARY + 4, _ANCILLARY + 8
_PACKET_MULTICAST = 2
"""Packet types up to this one (HOST, BROADCAST, MULTICAST) are for us; OTHERHOST and OUTGOING are above."""

ACCEPT = Instruction(_RETURN, operand=0xFFFF)
REJECT = Instruction(_RETURN)
DROP_ALL: Program = (REJECT,)

_ARP_OPCODE_AT, _ARP_TARGET_AT, _ARP_REQUEST = 20, 38, 1
_NEXT_HEADER_AT, _ICMPV6 = 20, 58
_ICMPV6_TYPE_AT, _NEIGHBOR_SOLICITATION = 54, 135
_NDP_TARGET_AT = 62

_Range: TypeAlias = tuple[int, int]


def assemble(program: Program) -> bytes:
    """The array of struct sock_filter that SO_ATTACH_FILTER takes."""
    return b"".join(pack("HBBI", *instruction) for instruction in program)


def arp_filter(addresses: Collection[IPv4Address], ifindex: int, limit: int = MAX_INSTRUCTIONS) -> Filter:
    """ARP requests, received on link ``ifindex`` and for this host, whose target is one of ``addresses``; frames begin with Ethernet."""
    _check(addresses, limit)
    head = [*_require(_LOAD_HALF, _ARP_OPCODE_AT, _ARP_REQUEST), *_guard(ifindex), Instruction(_LOAD_WORD, operand=_ARP_TARGET_AT)]
    tree, exact = _fit(_ranges(int(address) for address in addresses), limit - len(head))
    return Filter((*head, *tree), exact)


def ndp_filter(addresses: Collection[IPv6Address], ifindex: int, limit: int = MAX_INSTRUCTIONS) -> Filter:
    """Neighbor solicitations, received on link ``ifindex`` and for this host, whose target is one of ``addresses``.

    Forwarded IPv6 traffic passes this filter too and leaves it at the first test, the next header.
    """
    _check(addresses, limit)
    head = [
        *_require(_LOAD_BYTE, _NEXT_HEADER_AT, _ICMPV6),
        *_require(_LOAD_BYTE, _ICMPV6_TYPE_AT, _NEIGHBOR_SOLICITATION),
        *_guard(ifindex),
    ]
    by_prefix: dict[int, list[int]] = {}
    for address in addresses:
        by_prefix.setdefault(int(address) >> 32, []).append(int(address) & 0xFFFFFFFF)
    parts = _prefix_parts({prefix: _ranges(words) for prefix, words in by_prefix.items()})
    if len(head) + len(parts) <= limit:
        return Filter((*head, *parts), True)
    load = Instruction(_LOAD_WORD, operand=_NDP_TARGET_AT + 12)
    tree, _ = _fit(_ranges(word for words in by_prefix.values() for word in words), limit - len(head) - 1)
    return Filter((*head, load, *tree), False)


def _check(addresses: Collection[IPv4Address] | Collection[IPv6Address], limit: int) -> None:
    if not addresses:
        raise ValueError("a filter needs at least one address; use DROP_ALL for none")
    if not MIN_INSTRUCTIONS <= limit <= MAX_INSTRUCTIONS:
        raise ValueError(f"limit {limit}: must be {MIN_INSTRUCTIONS} to {MAX_INSTRUCTIONS} instructions")


def _require(load: int, offset: int, value: int) -> list[Instruction]:
    """Reject frames whose field at ``offset`` is not ``value``, and those that end before it."""
    return [Instruction(load, operand=offset), Instruction(_JUMP_EQUAL, 1, 0, value), REJECT]


def _guard(ifindex: int) -> list[Instruction]:
    """Reject what is for other hosts (foreign VLANs among it), what we sent, and what another device on top of this link received."""
    return [
        Instruction(_LOAD_WORD, operand=_PACKET_TYPE),
        Instruction(_JUMP_GREATER, 0, 1, _PACKET_MULTICAST),
        REJECT,
        *_require(_LOAD_WORD, _IFINDEX, ifindex),
    ]


def _ranges(numbers: Iterable[int]) -> list[_Range]:
    """Sorted, disjoint ranges (first, last) that hold exactly ``numbers``."""
    ranges: list[_Range] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def _fit(ranges: list[_Range], room: int) -> tuple[list[Instruction], bool]:
    """A search tree over as many of ``ranges`` as have room; the others are joined to their nearest neighbors. And whether none were."""
    tree = _tree(ranges)
    exact = len(tree) <= room
    wanted = len(ranges)
    while len(tree) > room:
        wanted = min(wanted - 1, wanted * room // len(tree))
        tree = _tree(_join(ranges, max(wanted, 1)))
    return tree, exact


def _join(ranges: list[_Range], wanted: int) -> list[_Range]:
    """At most ``wanted`` ranges that hold all of ``ranges``: those across the smallest gaps are joined."""
    gaps = sorted(range(1, len(ranges)), key=lambda i: ranges[i][0] - ranges[i - 1][1], reverse=True)
    cuts = sorted(gaps[: wanted - 1])
    return [(ranges[first][0], ranges[last - 1][1]) for first, last in zip([0, *cuts], [*cuts, len(ranges)], strict=True)]


_LEAF = 32
"""Ranges that are compared one after the other at the end of a search."""


def _tree(ranges: list[_Range]) -> list[Instruction]:
    """Accept when the accumulator is in one of ``ranges``, reject otherwise: a binary search that ends in short lists."""
    if len(ranges) <= _LEAF:
        return _leaf(ranges)
    middle = len(ranges) // 2
    left, right = _tree(ranges[:middle]), _tree(ranges[middle:])
    pivot = ranges[middle][0]
    if len(left) <= _MAX_JUMP:
        return [Instruction(_JUMP_GREATER_EQUAL, len(left), 0, pivot), *left, *right]
    return [Instruction(_JUMP_GREATER_EQUAL, 0, 1, pivot), Instruction(_JUMP, operand=len(left)), *left, *right]


def _leaf(ranges: list[_Range]) -> list[Instruction]:
    """One comparison for a single address, two for a range; then reject, then accept, so that every jump is short."""
    sizes = [1 if first == last else 2 for first, last in ranges]
    left = sum(sizes)
    program: list[Instruction] = []
    for (first, last), size in zip(ranges, sizes, strict=True):
        left -= size
        if first == last:
            program.append(Instruction(_JUMP_EQUAL, left + 1, 0, first))
        else:
            program.append(Instruction(_JUMP_GREATER_EQUAL, 0, 1, first))
            program.append(Instruction(_JUMP_GREATER, 0, left + 1, last))
    return [*program, REJECT, ACCEPT]


def _prefix_parts(by_prefix: dict[int, list[_Range]]) -> list[Instruction]:
    """For each upper 96 bits: compare three words, then search the low word; a mismatch goes on with the next prefix."""
    program: list[Instruction] = []
    for prefix in sorted(by_prefix):
        search = [Instruction(_LOAD_WORD, operand=_NDP_TARGET_AT + 12), *_tree(by_prefix[prefix])]
        tests: list[Instruction] = []
        for word in (2, 1, 0):
            value = prefix >> 32 * (2 - word) & 0xFFFFFFFF
            skip = [Instruction(_JUMP_EQUAL, 1, 0, value), Instruction(_JUMP, operand=len(tests) + len(search))]
            tests = [Instruction(_LOAD_WORD, operand=_NDP_TARGET_AT + 4 * word), *skip, *tests]
        program += tests + search
    return [*program, REJECT]
