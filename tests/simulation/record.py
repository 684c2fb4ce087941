"""Who answered for which address, when, in global time: exact intervals, and the questions that the properties ask of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from l2announce.model.address import Address


class Interval(NamedTuple):
    """One node answers for one address from ``start`` up to, not including, ``end``."""

    start: float
    end: float
    node: str


class Answers:
    """Written by the modelled responders. A frozen responder counts as answering: it might be about to."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, Address], Interval] = {}
        self._closed: dict[Address, list[Interval]] = defaultdict(list)

    def replace(self, node: str, deadlines: Mapping[Address, float], now: float) -> None:
        """From ``now`` on this node answers for these addresses until these instants, and for no others."""
        for key in [key for key in self._open if key[0] == node]:
            if key[1] not in deadlines or self._open[key].end <= now:
                self._close(key, now)
        for address, deadline in deadlines.items():
            if deadline > now:
                start = self._open[node, address].start if (node, address) in self._open else now
                self._open[node, address] = Interval(start, deadline, node)
            elif (node, address) in self._open:
                self._close((node, address), now)

    def stop_all(self, node: str, now: float) -> None:
        """The responder of this node is gone."""
        self.replace(node, {}, now)

    def _close(self, key: tuple[str, Address], now: float) -> None:
        interval = self._open.pop(key)
        self._closed[key[1]].append(interval._replace(end=min(interval.end, now)))

    def intervals(self, address: Address) -> list[Interval]:
        """All of them, those that go on included, by their start."""
        going_on = [interval for key, interval in self._open.items() if key[1] == address]
        return sorted([*self._closed[address], *going_on])

    def overlaps(self, address: Address) -> list[tuple[Interval, Interval]]:
        """Pairs of two nodes that answered at one instant (property E1 says: none)."""
        found = []
        latest: Interval | None = None
        for interval in self.intervals(address):
            if interval.end <= interval.start:
                continue
            if latest is not None and interval.start < latest.end and interval.node != latest.node:
                found.append((latest, interval))
            if latest is None or interval.end > latest.end:
                latest = interval
        return found

    def gaps(self, address: Address, start: float, end: float, nodes: Iterable[str]) -> list[tuple[float, float]]:
        """The parts of [start, end) in which none of ``nodes`` answered for ``address``."""
        wanted = set(nodes)
        covered_to = start
        gaps = []
        for interval in self.intervals(address):
            if interval.node in wanted and interval.end > covered_to:
                if interval.start > covered_to:
                    gaps.append((covered_to, min(interval.start, end)))
                covered_to = interval.end
            if covered_to >= end:
                return [gap for gap in gaps if gap[0] < gap[1]]
        return [gap for gap in [*gaps, (covered_to, end)] if gap[0] < gap[1]]
