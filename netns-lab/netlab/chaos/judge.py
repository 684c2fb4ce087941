"""What a client saw, held against what was promised. Pure: values in, values out; times are nanoseconds since the epoch.

Promised are: no two nodes answer one ask; who answers holds the lease, and renewed it less than a fence ago; nobody answers again after
another did, without having won the lease anew; and after the last thing that was done, somebody answers within the bound.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from netlab.analysis import CLOCK_GRAIN, holders_around
from netlab.leases import Renewal

NANO = 1_000_000_000
SILENT = 250_000_000
"""A gap that is worth telling: longer than a busy machine's own hiccups."""


@dataclass(frozen=True, slots=True)
class Span:
    """Something that was done, from its begin to its end. ``excuses``: for these addresses the promises are suspended meanwhile, and for as
    long after it as a watch takes. ``allowance``: meanwhile nobody need answer, and after it for so many seconds more than the bound."""

    label: str
    begin: int
    end: int
    excuses: frozenset[str] = frozenset()
    allowance: float = 0.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer that the client received: when, to which of its asks, and by which node."""

    time: int
    ask: int
    node: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise."""

    time: int
    address: str
    what: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without an answer."""

    address: str
    begin: int
    end: int

    @property
    def seconds(self) -> float:
        """How long."""
        return (self.end - self.begin) / NANO


EXCUSED_AFTER = NANO
"""How long an excuse goes on after its end: until every node has seen the change."""
BLIND_AFTER = 3 * NANO
"""The same where something else was done meanwhile, so that a node may not see the change: its responder goes on until its deadline, which
is below the duration of the lab's leases."""


def is_excused(spans: Sequence[Span], address: str, begin: int, end: int) -> bool:
    """Whether a stretch touches an excuse for the address."""
    return any(address in span.excuses and begin <= span.end + EXCUSED_AFTER and end >= span.begin for span in spans)


def may_be_unseen(spans: Sequence[Span], address: str, time: int) -> bool:
    """Whether at this time a node may be excused for not having seen who holds the lease of the address."""
    return is_excused(spans, address, time, time) or any(
        address in span.excuses and span.begin <= time <= span.end + BLIND_AFTER and _is_accompanied(span, spans) for span in spans
    )


def _is_accompanied(span: Span, spans: Iterable[Span]) -> bool:
    """Whether something else was under way between its begin and the time when every node should have seen it."""
    return any(other is not span and other.begin <= span.end + EXCUSED_AFTER and other.end >= span.begin for other in spans)


def find_doubles(address: str, answers: Sequence[Answered], holders: Sequence[tuple[int, str]], spans: Sequence[Span]) -> list[Violation]:
    """Asks that two nodes answered, answers of nodes that did not hold the lease, and answers of one that was superseded: one violation for
    each run of the same."""
    found: list[Violation] = []
    by_ask: dict[int, str] = {}
    speaker: tuple[int, str] | None = None
    for one in answers:
        if may_be_unseen(spans, address, one.time):
            speaker = None
            continue
        first = by_ask.setdefault(one.ask, one.node)
        if first != one.node:
            found.append(Violation(one.time, address, f"one ask answered by {first} and by {one.node}"))
        if one.node not in holders_around(holders, one.time):
            held = " or ".join(sorted(name or "nobody" for name in holders_around(holders, one.time)))
            found.append(Violation(one.time, address, f"answered by {one.node} while the lease is held by {held}"))
        elif speaker is not None and speaker[1] != one.node and not _won(holders, one.node, speaker[0], one.time):
            found.append(Violation(one.time, address, f"{one.node} answers again after {speaker[1]}, without the lease anew"))
        speaker = one.time, one.node
    return [one for number, one in enumerate(found) if number == 0 or found[number - 1].what != one.what]


def _won(holders: Sequence[tuple[int, str]], node: str, after: int, before: int) -> bool:
    return any(holder == node and after - CLOCK_GRAIN <= time <= before + CLOCK_GRAIN for time, holder in holders)


FENCE = 0.9
"""Of a lease's duration: for so long after a renewal its holder may answer."""
LATE = NANO // 10
"""How long after its deadline an answer may come: between a look at the clock and the frame, a busy machine may do something else."""


def find_late(address: str, answers: Sequence[Answered], renewals: Sequence[Renewal], spans: Sequence[Span]) -> list[Violation]:
    """Answers of nodes whose latest renewal was too long ago, one violation for each run of them."""
    found = []
    by_node: dict[str, list[Renewal]] = {}
    for renewal in sorted(renewals, key=lambda each: each.time):
        by_node.setdefault(renewal.holder, []).append(renewal)
    late_node = ""
    for one in answers:
        own = by_node.get(one.node, [])
        at = bisect_right(own, one.time + CLOCK_GRAIN, key=lambda each: each.time)
        end = own[at - 1].time + round(own[at - 1].seconds * FENCE * NANO) if at else one.time
        late = one.time > end + LATE and not is_excused(spans, address, one.time, one.time)
        if late and late_node != one.node:
            found.append(Violation(one.time, address, f"answered by {one.node} {(one.time - end) / NANO:.3f} s after its deadline"))
        late_node = one.node if late else ""
    return found


def find_gaps(address: str, answers: Sequence[Answered], start: int, end: int) -> list[Gap]:
    """The times above SILENT without an answer."""
    times = [start, *(one.time for one in answers), end]
    return [Gap(address, before, after) for before, after in pairwise(times) if after - before > SILENT]


def too_long(gap: Gap, spans: Sequence[Span], bound: float) -> bool:
    """Whether somebody should have answered: longer than the bound after the last thing that was begun or ended within the gap."""
    since = [float(gap.begin)]
    for span in spans:
        if span.begin <= gap.end:
            since.append(span.begin)
        if span.end <= gap.end or (span.allowance and span.begin <= gap.end):
            since.append(span.end + span.allowance * NANO)
    return (gap.end - max(since)) / NANO > bound and not is_excused(spans, gap.address, gap.begin, gap.end)


def recoveries(spans: Sequence[Span], gaps: Sequence[Gap], after: float) -> dict[str, list[float]]:
    """For each label the seconds that each of its faults left an address without an answer: the longest gap that began from its begin
    until ``after`` seconds after its end, and before the next one began; 0 where there was none."""
    found: dict[str, list[float]] = {}
    begins = sorted(span.begin for span in spans)
    for span in spans:
        following = min((begin for begin in begins if begin > span.begin), default=span.end + round(after * NANO))
        until = min(following, span.end + round(after * NANO))
        hit = [gap.seconds for gap in gaps if span.begin - SILENT <= gap.begin <= until]
        found.setdefault(span.label, []).append(max(hit, default=0.0))
    return found


def answered(log: Iterable[tuple[int, int, str]], nodes: Callable[[str], str] | Mapping[str, str]) -> list[Answered]:
    """The prober's answers with the names of the nodes in place of their MACs, in order of time."""
    name = nodes.get if isinstance(nodes, Mapping) else nodes
    return sorted((Answered(time, ask, name(mac) or mac) for time, ask, mac in log), key=lambda one: one.time)
