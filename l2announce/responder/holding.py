"""Addresses that may be held: answered beyond their claim's deadline, as the lease cannot be renewed, while nobody else claims them.

Says when to probe for each, and which probes stayed without an answer. What comes back over the link is the engine's to judge; it notes on
the ``Answer`` that the address was yielded.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from l2announce.model.address import FOREVER, Address, Instant
from l2announce.model.timing import HOLD_PROBE_INTERVAL, PROBE_WAIT
from l2announce.responder.announce import AnnouncementSchedule
from l2announce.responder.answers import Answer

_Key = tuple[int, Address]


class HoldProbes:
    """The addresses that may be held, by (ifindex, address). Probes of one link pass a token bucket, as announcements do."""

    def __init__(self) -> None:
        self._schedule = AnnouncementSchedule(offsets=(0.0,), refresh=HOLD_PROBE_INTERVAL)
        self._held: dict[_Key, Answer] = {}
        self._asked: deque[tuple[Instant, _Key, Answer]] = deque()

    def follow(self, ifindex: int, answer: Answer, now: Instant) -> None:
        """The claim of an address on a link was made or changed: probe for it from now on, or no longer."""
        key = ifindex, answer.address
        if not answer.may_be_held:
            self.stop(*key)
        elif self._held.get(key) is not answer:
            self._held[key] = answer
            self._schedule.start(*key, now)

    def stop(self, ifindex: int, address: Address) -> None:
        """The address is no longer held on this link."""
        if self._held.pop((ifindex, address), None) is not None:
            self._schedule.stop(ifindex, address)

    def next_timer(self) -> Instant | None:
        """When ``due`` and ``unanswered`` should be called next; None for never."""
        probe_at = self._schedule.next_timer()
        if not self._asked:
            return probe_at
        judged_at = self._asked[0][0] + PROBE_WAIT
        return judged_at if probe_at is None else min(judged_at, probe_at)

    def due(self, now: Instant) -> Iterator[tuple[int, Answer]]:
        """The addresses to probe for now, with their link."""
        for key in self._schedule.due(now):
            yield key[0], self._held[key]

    def asked(self, ifindex: int, answer: Answer, now: Instant) -> None:
        """A probe goes out."""
        answer.asked_at = now
        self._asked.append((now, (ifindex, answer.address), answer))

    def unanswered(self, now: Instant) -> Iterator[tuple[int, Answer, bool]]:
        """The addresses that nobody else was found to have, each noted as vouched for from when its probe went out; and whether the address
        was not answered before."""
        while self._asked and self._asked[0][0] + PROBE_WAIT <= now:
            asked_at, key, answer = self._asked.popleft()
            if self._held.get(key) is answer and answer.may_be_held and answer.asked_at == asked_at:
                lapsed = answer.answered_until <= now
                answer.vouched_at, answer.asked_at = asked_at, FOREVER
                yield key[0], answer, lapsed

    def ends(self) -> Iterable[Instant]:
        """When each address ends to be answered unless something happens."""
        return (answer.answered_until for answer in self._held.values())
