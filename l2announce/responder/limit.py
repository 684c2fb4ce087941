"""How many requests a link has answered lately, and by whom they were asked: what keeps a flood from taking the node's processor and its
network, and one host from taking the answers of all others. Knows no addresses and no frames.

Time is cut into windows. Of the answers that a window allows, an eighth is there for whoever comes first, without any bookkeeping: more
than honest hosts need together. From then on each requester gets an eighth at most, so a host that asks without end, or a loop that repeats
one frame, leaves six eighths to others. Requesters that are made up share what is left with honest ones: those ask again within a second.
"""

from dataclasses import dataclass, field

from l2announce.model.address import NEVER, Instant

PER_SECOND = 10
"""Windows in a second."""
SHARE = 8
"""A window is cut into so many parts."""


@dataclass(slots=True)
class AnswerLimit:
    """The answers of one link. ``rate``: at most so many a second, 0 for any number."""

    rate: int = 0
    _end: Instant = NEVER
    _given: int = 0
    _to: dict[bytes, int] = field(default_factory=dict)

    def has_room(self, wanted: int, now: Instant) -> bool:
        """Whether ``wanted`` more answers are for whoever comes first, so that nobody needs to ask ``admits``; then ``given`` must be
        told how many there were."""
        self._turn(now)
        return not self.rate or self._given + wanted <= self._share()

    def given(self, count: int) -> None:
        """So many answers were given without asking ``admits``."""
        self._given += count

    def admits(self, requester: bytes, now: Instant) -> bool:
        """Whether the host with this hardware address may have one more answer, which is counted."""
        self._turn(now)
        if self.rate and self._given >= self._share():
            before = self._to.get(requester, 0)
            if before >= self._share() or self._given >= self.rate // PER_SECOND:
                return False
            self._to[requester] = before + 1
        self._given += 1
        return True

    def _share(self) -> int:
        return max(1, self.rate // PER_SECOND // SHARE)

    def _turn(self, now: Instant) -> None:
        """Begin a window when the last one is over, or the clock went back behind it."""
        if now >= self._end or now < self._end - 1 / PER_SECOND:
            self._end = now + 1 / PER_SECOND
            self._given = 0
            self._to.clear()
