"""Classic BPF programs as data: "a request for one of these addresses, received on this link". Attaches nothing; see kernel/packet.py.

The programs are for an AF_PACKET socket of type SOCK_RAW that is bound to one link and to ETH_P_ARP or ETH_P_IPV6, so a frame starts with
its Ethernet header, and its Ethernet type is known. A load beyond the end of a frame drops the frame (that is classic BPF's rule).

Addresses are kept as sorted ranges in a search tree: inner nodes halve the ranges, a leaf tests up to LEAF_SIZE of them in order. A jump of
a conditional instruction reaches 255 instructions; farther ones go by an unconditional jump.
"""

import struct
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise, starmap
from typing import NamedTuple, TypeAlias


class Instruction(NamedTuple):
    """One ``struct sock_filter``: operation code, jump if true, jump if false (both relative to the next instruction), operand."""

    code: int
    jt: int
    jf: int
    k: int


Program: TypeAlias = tuple[Instruction, ...]


class Filter(NamedTuple):
    """``exact``: the program accepts requests for the given addresses and no others. Otherwise it accepts some foreign ones as well."""

    program: Program
    exact: bool


MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS: the kernel refuses longer programs."""
MIN_INSTRUCTIONS = 32
"""A limit that every filter fits in, however coarse."""
LEAF_SIZE = 32
"""Ranges that a leaf tests one after the other: fewer cost instructions, more cost time."""
SENDER_INSTRUCTIONS = 13
"""What the search for a target leaves to the one for a sender at least: room for a few ranges, so that a long list of targets is kept
exact first. A coarse search for senders costs a look at more frames of others, a coarse one for targets at more of their questions."""
MAX_PREFIXES = 32
"""Upper 96 bits that an exact NDP program tells apart. They are tested one after the other, so more of them would cost time."""
ACCEPT = 0xFFFF
"""What an accepting program returns: how many octets of the frame to keep."""

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL = 0x05, 0x15, 0x25, 0x35
RETURN = 0x06

PACKET_TYPE = 0xFFFFF000 + 4
"""SKF_AD_OFF + SKF_AD_PKTTYPE. Frames for other hosts (OTHERHOST) include those of VLANs for which this host has no interface."""
INTERFACE_INDEX = 0xFFFFF000 + 8
"""SKF_AD_OFF + SKF_AD_IFINDEX: of the interface that took the frame in the end, which may be one stacked on the bound one."""
PACKET_OTHERHOST = 3
"""The packet types below it are HOST, BROADCAST and MULTICAST; it and those above are not for us (OUTGOING, LOOPBACK, ...)."""

_ARP_OPCODE, _ARP_SENDER, _ARP_TARGET = 20, 28, 38
_ARP_REQUEST = 1
_IPV6_NEXT_HEADER, _ICMPV6_TYPE, _ND_TARGET = 20, 54, 62
_ICMPV6, _NEIGHBOR_SOLICITATION, _NEIGHBOR_ADVERTISEMENT = 58, 135, 136
_ND_TARGET_LAST_WORD = _ND_TARGET + 12

_REJECT_NOW = Instruction(RETURN, 0, 0, 0)
_ACCEPT_NOW = Instruction(RETURN, 0, 0, ACCEPT)
_OPCODE_TEST = 3
"""Instructions that tell a request at most."""
_FARTHEST = 255
_INSTRUCTION = struct.Struct("@HBBI")

DROP_ALL: Program = (_REJECT_NOW,)
"""Accepts nothing: for a socket that is open, but has nothing to answer yet."""

_Range: TypeAlias = tuple[int, int]
_Code: TypeAlias = list[Instruction]
_Prefixes: TypeAlias = dict[tuple[int, ...], list[int]]
"""The last 32-bit words of IPv6 addresses, by their first three."""


class _Test(NamedTuple):
    """Part of a program's head: load a field, compare it with ``k``; the frame stays a candidate when the comparison gives ``wanted``, or
    gives it with ``other``, which the last test of a head does not have."""

    load: int
    offset: int
    compare: int
    k: int
    wanted: bool = True
    other: int | None = None


def assemble(program: Program) -> bytes:
    """The ``struct sock_filter`` array of ``program``, as SO_ATTACH_FILTER takes it."""
    return b"".join(starmap(_INSTRUCTION.pack, program))


def arp_filter(addresses: Collection[IPv4Address], ifindex: int, limit: int = MAX_INSTRUCTIONS) -> Filter:
    """Accept ARP packets (RFC 826) received on link ``ifindex`` that ask for one of ``addresses``, or whose sender claims one of them.

    The target of requests is searched first, then the sender of everything else. The two searches get ``limit`` instructions, of which
    the first one may take all but SENDER_INSTRUCTIONS. When an exact search takes more than that, neighboring addresses are joined into
    ranges, across the smallest gaps first, until it fits: foreign addresses in those gaps are then accepted too, but never is one of
    ``addresses`` rejected. ValueError when not even one range fits, which takes a limit below MIN_INSTRUCTIONS.
    """
    if not addresses:
        return Filter(DROP_ALL, exact=True)
    head = _head(_received_on(ifindex))
    numbers = [int(address) for address in addresses]
    targets = _with_tree([Instruction(LOAD_WORD, 0, 0, _ARP_TARGET)], numbers, limit - len(head) - _OPCODE_TEST - SENDER_INSTRUCTIONS)
    asked = _or_go_on(targets.program)
    test: _Code = [Instruction(LOAD_HALF, 0, 0, _ARP_OPCODE), *_skip_unless_equal(_ARP_REQUEST, len(asked))]
    senders = _with_tree([Instruction(LOAD_WORD, 0, 0, _ARP_SENDER)], numbers, limit - len(head) - len(test) - len(asked))
    return Filter((*head, *test, *asked, *senders.program), targets.exact and senders.exact)


def ndp_filter(addresses: Collection[IPv6Address], ifindex: int, limit: int = MAX_INSTRUCTIONS) -> Filter:
    """Accept neighbor solicitations and advertisements (RFC 4861, 4.3 and 4.4) received on link ``ifindex`` whose target is one of
    ``addresses``.

    The next header is tested first, since forwarded traffic pays for that test. Too many instructions (``limit``) or prefixes
    (MAX_PREFIXES): of the prefixes only the words that all addresses share are tested, and the last words may be joined into ranges as in
    ``arp_filter``; then it accepts some foreign targets, but never rejects one of ``addresses``. ValueError when even that does not fit.
    """
    if not addresses:
        return Filter(DROP_ALL, exact=True)
    prefixes = _by_prefix(addresses)
    first = next(iter(prefixes))
    told_apart = [i for i in range(3) if any(prefix[i] != first[i] for prefix in prefixes)]
    head = _head(
        (
            _Test(LOAD_BYTE, _IPV6_NEXT_HEADER, JUMP_EQUAL, _ICMPV6),
            _Test(LOAD_BYTE, _ICMPV6_TYPE, JUMP_EQUAL, _NEIGHBOR_SOLICITATION, other=_NEIGHBOR_ADVERTISEMENT),
            *_received_on(ifindex),
            *(_Test(LOAD_WORD, _ND_TARGET + 4 * i, JUMP_EQUAL, first[i]) for i in range(3) if i not in told_apart),
        )
    )
    if 1 < len(prefixes) <= MAX_PREFIXES:
        code = head + _match_prefixes(prefixes, told_apart)
        if len(code) <= limit:
            return Filter(tuple(code), exact=True)
    head.append(Instruction(LOAD_WORD, 0, 0, _ND_TARGET_LAST_WORD))
    program, exact = _with_tree(head, (word for words in prefixes.values() for word in words), limit)
    return Filter(program, exact and len(prefixes) == 1)


def _received_on(ifindex: int) -> tuple[_Test, _Test]:
    """A frame for this host, received by the bound link itself: not for a VLAN or another host, not our own, not of a stacked interface."""
    return (
        _Test(LOAD_WORD, PACKET_TYPE, JUMP_GREATER_EQUAL, PACKET_OTHERHOST, wanted=False),
        _Test(LOAD_WORD, INTERFACE_INDEX, JUMP_EQUAL, ifindex),
    )


def _head(tests: Sequence[_Test]) -> _Code:
    """Code that rejects unless every test passes, and goes on behind itself when they do. The rejection is its last instruction."""
    length = sum(2 if test.other is None else 3 for test in tests)
    code: _Code = []
    for test in tests:
        code.append(Instruction(test.load, 0, 0, test.offset))
        k = test.k
        if test.other is not None:
            code.append(Instruction(test.compare, 1, 0, k))
            k = test.other
        failed = length - len(code) - 1
        passed = 0 if failed else 1
        code.append(Instruction(test.compare, *((passed, failed) if test.wanted else (failed, passed)), k))
    code.append(_REJECT_NOW)
    return code


def _or_go_on(code: Program) -> Program:
    """``code``, which goes on behind itself instead of rejecting."""
    return tuple(
        Instruction(JUMP, 0, 0, len(code) - at - 1) if instruction == _REJECT_NOW else instruction for at, instruction in enumerate(code)
    )


def _by_prefix(addresses: Iterable[IPv6Address]) -> _Prefixes:
    prefixes: dict[int, list[int]] = {}
    for number in map(int, addresses):
        prefixes.setdefault(number >> 32, []).append(number & 0xFFFFFFFF)
    return {struct.unpack("!3I", prefix.to_bytes(12, "big")): words for prefix, words in prefixes.items()}


def _match_prefixes(prefixes: _Prefixes, positions: Sequence[int]) -> _Code:
    """Code that compares the words of the target at ``positions`` (0..2), one after the other, and then searches the last word."""
    if not positions:
        (words,) = prefixes.values()
        return [Instruction(LOAD_WORD, 0, 0, _ND_TARGET_LAST_WORD), *_tree(_ranges(words))]
    position, *later = positions
    branches: dict[int, _Prefixes] = {}
    for prefix, words in prefixes.items():
        branches.setdefault(prefix[position], {})[prefix] = words
    code = [Instruction(LOAD_WORD, 0, 0, _ND_TARGET + 4 * position)]
    for value, branch in sorted(branches.items()):
        body = _match_prefixes(branch, later)
        code += [*_skip_unless_equal(value, len(body)), *body]
    return [*code, _REJECT_NOW]


def _skip_unless_equal(value: int, distance: int) -> _Code:
    """Go on behind this when the loaded word is ``value``, else ``distance`` instructions farther."""
    if distance <= _FARTHEST:
        return [Instruction(JUMP_EQUAL, 0, distance, value)]
    return [Instruction(JUMP_EQUAL, 1, 0, value), Instruction(JUMP, 0, 0, distance)]


def _ranges(values: Iterable[int]) -> list[_Range]:
    """The values (at least one) as ranges (first, last), ascending, with a gap between any two."""
    ordered = sorted(set(values))
    ends = [(before, after) for before, after in pairwise(ordered) if after != before + 1]
    return list(zip([ordered[0], *(after for _, after in ends)], [*(before for before, _ in ends), ordered[-1]], strict=True))


def _with_tree(head: _Code, values: Iterable[int], limit: int) -> Filter:
    """``head``, then a search of the loaded word among ``values``, coarse where ``limit`` asks for it."""
    ranges = _ranges(values)
    room = limit - len(head)
    fitting = ranges if _tree_length(ranges) <= room else _joined_to_fit(ranges, room)
    if fitting is None:
        raise ValueError(f"a filter of {limit} instructions: no room for {len(head)} instructions of tests and one range of addresses")
    return Filter((*head, *_tree(fitting)), exact=len(fitting) == len(ranges))


def _joined_to_fit(ranges: list[_Range], room: int) -> list[_Range] | None:
    """The ranges, joined across as few of the smallest gaps as it takes for their tree to fit; None when a single one does not."""
    joined = _joiner(ranges)
    fewest = bisect_left(range(len(ranges) - 1), True, key=lambda gaps: _tree_length(joined(gaps)) <= room)
    fitting = joined(fewest)
    return fitting if _tree_length(fitting) <= room else None


def _joiner(ranges: list[_Range]) -> Callable[[int], list[_Range]]:
    """A function from a number of gaps to the ranges joined across that many of the smallest gaps."""
    gaps = [after[0] - before[1] for before, after in pairwise(ranges)]
    by_size = sorted(range(len(gaps)), key=gaps.__getitem__)

    def joined(count: int) -> list[_Range]:
        kept = sorted(by_size[count:])
        firsts = [ranges[0][0], *(ranges[i + 1][0] for i in kept)]
        lasts = [*(ranges[i][1] for i in kept), ranges[-1][1]]
        return list(zip(firsts, lasts, strict=True))

    return joined


def _tree_length(ranges: Sequence[_Range]) -> int:
    """``len(_tree(ranges))``, faster."""
    upto = [0]
    for first, last in ranges:
        upto.append(upto[-1] + (1 if first == last else 2))

    def length(start: int, end: int) -> int:
        if end - start <= LEAF_SIZE:
            return upto[end] - upto[start] + 2
        middle = (start + end) // 2
        lower = length(start, middle)
        return (1 if lower <= _FARTHEST else 2) + lower + length(middle, end)

    return length(0, len(ranges))


def _tree(ranges: Sequence[_Range]) -> _Code:
    """Code that accepts when the loaded word is in one of ``ranges`` (ascending), and rejects when not."""
    if len(ranges) <= LEAF_SIZE:
        return _leaf(ranges)
    middle = len(ranges) // 2
    lower, upper = _tree(ranges[:middle]), _tree(ranges[middle:])
    boundary = ranges[middle][0]
    if len(lower) <= _FARTHEST:
        return [Instruction(JUMP_GREATER_EQUAL, len(lower), 0, boundary), *lower, *upper]
    return [Instruction(JUMP_GREATER_EQUAL, 0, 1, boundary), Instruction(JUMP, 0, 0, len(lower)), *lower, *upper]


def _leaf(ranges: Sequence[_Range]) -> _Code:
    """One test for each single value, two for each range, then the rejection and the acceptance that they jump to."""
    left = sum(1 if first == last else 2 for first, last in ranges)
    code: _Code = []
    for first, last in ranges:
        if first == last:
            code.append(Instruction(JUMP_EQUAL, left, 0, first))
            left -= 1
        else:
            code.append(Instruction(JUMP_GREATER_EQUAL, 0, left - 1, first))
            code.append(Instruction(JUMP_GREATER, 0, left - 1, last))
            left -= 2
    return [*code, _REJECT_NOW, _ACCEPT_NOW]
