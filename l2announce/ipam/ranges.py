"""The addresses of pools as ranges of integers, and which of them are taken: nothing is kept for what is free."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from netaddr import AddrFormatError, IPAddress, IPNetwork

from l2announce.model.address import Address
from l2announce.model.pools import AddressPool, Block


class BlockError(ValueError):
    """A block that is no range; says why, and what to write."""


@dataclass(frozen=True, slots=True)
class Range:
    """The addresses of one block, from number ``first`` to ``last`` of an IP version. ``reserved`` are those that are not given out."""

    pool: str
    version: int
    first: int
    last: int
    reserved: frozenset[int] = frozenset()

    def __contains__(self, address: Address) -> bool:
        return address.version == self.version and self.first <= int(address) <= self.last

    @property
    def size(self) -> int:
        """How many addresses it has."""
        return self.last - self.first + 1

    def overlaps(self, other: "Range") -> bool:
        """Whether they have an address in common."""
        return self.version == other.version and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{to_address(self.version, self.first)} - {to_address(self.version, self.last)}"


def to_address(version: int, number: int) -> Address:
    """The address of an IP version with this number."""
    return IPv4Address(number) if version == 4 else IPv6Address(number)


def parse_block(pool: AddressPool, block: Block) -> Range:
    """The range of a block. Bits of the host are left away; ``cidr`` wins over ``start``. BlockError says what is wrong with it."""
    if block.cidr:
        network = _parse(IPNetwork, block.cidr, "a CIDR such as 192.0.2.0/24")
        first, last = int(network.first), int(network.last)
        ends = frozenset() if pool.allow_first_last or last - first < 2 else frozenset((first, last))
        return Range(pool.name, network.version, first, last, ends)
    if not block.start:
        raise BlockError("has neither cidr nor start; write one of them")
    start = _parse(IPAddress, block.start, "an address such as 192.0.2.1")
    stop = _parse(IPAddress, block.stop, "an address such as 192.0.2.9") if block.stop else start
    if start.version != stop.version:
        raise BlockError(f"start {start} and stop {stop} are of different families; use one block for each")
    if stop < start:
        raise BlockError(f"start {start} is above stop {stop}; exchange them")
    return Range(pool.name, start.version, int(start), int(stop))


def _parse(kind: type[IPNetwork] | type[IPAddress], text: str, example: str) -> IPNetwork | IPAddress:
    wrong = BlockError(f"{text!r} is not {example}")
    if kind is IPNetwork and "/" not in text:
        raise wrong
    try:
        return kind(text)
    except (AddrFormatError, ValueError, TypeError):
        raise wrong from None


@dataclass(slots=True)
class Taken:
    """The numbers that are taken, of one IP version, as intervals: those that touch are one."""

    _firsts: list[int] = field(default_factory=list)
    _lasts: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        """Take one that is free."""
        at = bisect_right(self._firsts, number)
        joins_before = at > 0 and self._lasts[at - 1] == number - 1
        joins_after = at < len(self._firsts) and self._firsts[at] == number + 1
        if joins_before and joins_after:
            self._lasts[at - 1] = self._lasts.pop(at)
            del self._firsts[at]
        elif joins_before:
            self._lasts[at - 1] = number
        elif joins_after:
            self._firsts[at] = number
        else:
            self._firsts.insert(at, number)
            self._lasts.insert(at, number)

    def remove(self, number: int) -> None:
        """Free one that is taken."""
        at = bisect_right(self._firsts, number) - 1
        first, last = self._firsts[at], self._lasts[at]
        if first == last:
            del self._firsts[at], self._lasts[at]
        elif number == first:
            self._firsts[at] = number + 1
        elif number == last:
            self._lasts[at] = number - 1
        else:
            self._lasts[at] = number - 1
            self._firsts.insert(at + 1, number + 1)
            self._lasts.insert(at + 1, last)

    def count(self, first: int, last: int) -> int:
        """How many of ``first`` to ``last`` are taken."""
        at = bisect_left(self._lasts, first)
        total = 0
        while at < len(self._firsts) and self._firsts[at] <= last:
            total += min(self._lasts[at], last) - max(self._firsts[at], first) + 1
            at += 1
        return total

    def lowest_free(self, wanted: Range) -> int | None:
        """The lowest number of a range that is neither taken nor reserved; None when there is none."""
        number = wanted.first
        while number <= wanted.last:
            at = bisect_right(self._firsts, number) - 1
            if at >= 0 and self._lasts[at] >= number:
                number = self._lasts[at] + 1
            elif number in wanted.reserved:
                number += 1
            else:
                return number
        return None

    def free(self, wanted: Range) -> Iterator[tuple[int, int]]:
        """The stretches of a range that are neither taken nor reserved, first and last, in order."""
        number, last = wanted.first + (wanted.first in wanted.reserved), wanted.last - (wanted.last in wanted.reserved)
        for at in range(bisect_left(self._lasts, number), len(self._firsts)):
            if self._firsts[at] > last:
                break
            if self._firsts[at] > number:
                yield number, self._firsts[at] - 1
            number = self._lasts[at] + 1
        if number <= last:
            yield number, last


def first_overlap(ranges: Iterable[Range], others: Iterable[Range]) -> tuple[Range, Range] | None:
    """The first pair that has an address in common, of one from each; None when none has."""
    theirs = list(others)
    return next(((one, other) for one in ranges for other in theirs if one is not other and one.overlaps(other)), None)
