"""How many requests a link has answered lately, and by whom they were asked: what keeps a flood from being
echoed into the network, and a few hosts from taking the answers of all others. Knows no addresses and no frames.

A token bucket. Its first eighth is there for whoever comes first, without any bookkeeping: more than honest hosts need together. Below that
each requester gets an eighth of the rate at most, so a host that asks without end, or a loop that repeats one frame, finds the bucket empty
when it is not empty for others. Requesters that are made up share what is left with honest ones: those ask again within a second. Tokens
come one by one, not so many at a time: else a host that asks again in step with them would never get one.
"""

from dataclasses import dataclass, field

from l2announce.model.address import NEVER, Instant

BURST = 0.1
"""Seconds of the rate that a link can save: what comes at once after a pause."""
SHARE = 8
"""The bucket is cut into so many parts."""


@dataclass(slots=True)
class AnswerLimit:
    """The answers of one link. ``rate``: at most so many a second, 0 for any number; otherwise at least ten."""

    rate: int = 0
    _full_at: Instant = NEVER
    _window_end: Instant = NEVER
    _to: dict[bytes, int] = field(default_factory=dict)

    def has_room(self, wanted: int, now: Instant) -> bool:
        """Whether ``wanted`` more answers are for whoever comes first, so that nobody needs to ask ``admits``; then ``given`` must be
        told how many there were."""
        return not self.rate or self._missing(now) + wanted / self.rate <= BURST / SHARE

    def given(self, count: int, now: Instant) -> None:
        """So many answers were given without asking ``admits``."""
        if self.rate:
            self._full_at = now + self._missing(now) + count / self.rate

    def admits(self, requester: bytes, now: Instant) -> bool:
        """Whether the host with this hardware address may have one more answer, which is counted."""
        if not self.rate:
            return True
        after = self._missing(now) + 1 / self.rate
        if after > BURST / SHARE:
            self._turn(now)
            before = self._to.get(requester, 0)
            if after > BURST or before >= max(1, self.rate * BURST // SHARE):
                return False
            self._to[requester] = before + 1
        self._full_at = now + after
        return True

    def _missing(self, now: Instant) -> float:
        """Seconds until the bucket is full. None, when the clock went back."""
        missing = self._full_at - now
        return missing if 0 < missing <= BURST else 0.0

    def _turn(self, now: Instant) -> None:
        """Forget what requesters got, once in BURST."""
        if not self._window_end - BURST <= now < self._window_end:
            self._window_end = now + BURST
            self._to.clear()
