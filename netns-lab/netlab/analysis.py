"""What the logs and the capture of a run prove: blackouts, doubled answers, answers of a node that did not hold the lease.

Pure: values in, values out. Times are nanoseconds since the epoch unless a name says seconds.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from netlab.frames import Address, Kind, Resolution

NANO = 1_000_000_000

CLOCK_GRAIN = 5_000_000
"""Files carry the time of the kernel's last tick, up to 4 ms before the true one; frames carry the true one. So a node is not called a
stranger for an answer within this time of a change of holder."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A captured ask, answer or announcement: when, and what it says."""

    time: int
    what: Resolution


@dataclass(frozen=True, slots=True)
class AddressProof:
    """What the capture says about one address.

    ``doubles``: asks that were answered from two MACs. ``interleavings``: a MAC answers again after another one did, without having won the
    lease anew. ``strangers``: answers and announcements of a node that did not hold the lease then. All three must be
    0.
    """

    asks: int = 0
    answers: int = 0
    announcements: int = 0
    doubles: int = 0
    interleavings: int = 0
    strangers: int = 0

    @property
    def holds(self) -> bool:
        """Whether no two MACs answered at once. An address that nobody answered proves nothing."""
        return self.answers > 0 and self.doubles == self.interleavings == self.strangers == 0


@dataclass(slots=True)
class _Asked:
    """The latest ask of one asker, and who answered it."""

    macs: set[bytes] = field(default_factory=set)


def prove(seen: Iterable[Seen], holders: Sequence[tuple[int, str]], nodes: Mapping[bytes, str]) -> AddressProof:
    """Judge the frames about one address, in order of time.

    ``holders`` are the changes of its lease (time, node or ""), ``nodes`` the name of each MAC. An answer belongs to the latest ask of the
    asker that it names; with many askers in turn that is exact.
    """
    asked: dict[Address | None, _Asked] = {}
    counts = dict.fromkeys(Kind, 0)
    doubles = strangers = 0
    speakers: list[tuple[int, str]] = []
    for item in seen:
        counts[item.what.kind] += 1
        node = nodes.get(item.what.mac, item.what.mac.hex(":"))
        strangers += item.what.kind is not Kind.ASK and node not in holders_around(holders, item.time)
        if item.what.kind is Kind.ASK:
            asked[item.what.asker] = _Asked()
        elif item.what.kind is Kind.ANSWER:
            macs = asked.setdefault(item.what.asker, _Asked()).macs
            doubles += len(macs) == 1 and item.what.mac not in macs
            macs.add(item.what.mac)
            if not speakers or speakers[-1][1] != node:
                speakers.append((item.time, node))
    return AddressProof(
        counts[Kind.ASK], counts[Kind.ANSWER], counts[Kind.ANNOUNCEMENT], doubles, _interleavings(speakers, holders), strangers
    )


def holders_around(holders: Sequence[tuple[int, str]], time: int) -> set[str]:
    """Who held the lease at a moment; both sides of a change that is closer than CLOCK_GRAIN."""
    first = bisect_right(holders, (time - CLOCK_GRAIN, "\U0010ffff")) - 1
    last = bisect_right(holders, (time + CLOCK_GRAIN, "\U0010ffff"))
    return {node for _, node in holders[max(first, 0) : last]}


def _interleavings(speakers: Sequence[tuple[int, str]], holders: Sequence[tuple[int, str]]) -> int:
    """How often a node began to answer without having won the lease since it last ended to."""
    faults = 0
    for (before, _), (start, node) in pairwise(speakers):
        wins = [time for time, holder in holders if holder == node and before - CLOCK_GRAIN <= time <= start + CLOCK_GRAIN]
        faults += not wins
    return faults


def blackout(answers: Sequence[int], start: int, end: int) -> float:
    """The longest time without an answer around [start, end], in seconds.

    ``answers`` are sorted arrival times. The gap that is open at ``start`` counts from the last answer before it (or from ``start`` when
    there is none), the one open at ``end`` to the first answer after it (or to ``end``).
    """
    first, last = bisect_right(answers, start), bisect_left(answers, end)
    before = answers[first - 1] if first else start
    after = answers[last] if last < len(answers) else end
    points = [before, *answers[first:last], max(after, before)]
    return max(later - earlier for earlier, later in pairwise(points)) / NANO


def longest_pause(times: Sequence[int]) -> float:
    """The longest time between two asks, in seconds: how punctual the prober was."""
    return max((later - earlier for earlier, later in pairwise(times)), default=0) / NANO


def ownership(holders: Sequence[tuple[int, str]], start: int, end: int) -> list[tuple[float, float, str]]:
    """The stretches of ownership within a run, in seconds since ``start``: (from, to, node)."""
    stretches = []
    for (time, node), (until, _) in pairwise([*holders, (end, "")]):
        if node and until > start and time < end:
            stretches.append(((max(time, start) - start) / NANO, (min(until, end) - start) / NANO, node))
    return stretches
