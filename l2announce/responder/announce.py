"""When announcements go out: gratuitous ARP and unsolicited neighbor advertisements of addresses that were just won.

Each (link, address) gets the offsets of Timing. Announcements of different addresses on one link keep a least gap; an address that is late
skips the offsets that have passed meanwhile, so a storm of N addresses sends N rounds, not N times all of them. A caller that comes late is
given at once what was reserved for the time it missed: never more than one for each gap since the storm began. Does not know deadlines: the
caller asks before it sends.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from l2announce.model.address import Address, Instant
from l2announce.model.timing import ANNOUNCE_GAP, ANNOUNCE_OFFSETS


@dataclass(slots=True)
class _Round:
    """Announcements of one address on one link that began at ``start``. ``step`` is the offset that is due next, ``token`` its place in
    the queue, ``reserved`` true when it has been given a free moment of its link."""

    start: Instant
    step: int = 0
    token: int = 0
    reserved: bool = False


@dataclass(slots=True)
class AnnouncementSchedule:
    """The rounds in progress. Keys are (ifindex, address)."""

    offsets: tuple[float, ...] = ANNOUNCE_OFFSETS
    gap: float = ANNOUNCE_GAP
    _rounds: dict[tuple[int, Address], _Round] = field(default_factory=dict)
    _queue: list[tuple[Instant, int, tuple[int, Address]]] = field(default_factory=list)
    _free_at: dict[int, Instant] = field(default_factory=dict)
    _tokens: int = 0

    def start(self, ifindex: int, address: Address, now: Instant) -> None:
        """Begin a round, or begin it anew."""
        self._rounds[ifindex, address] = _Round(now)
        self._push(now + self.offsets[0], (ifindex, address), reserved=False)

    def stop(self, ifindex: int, address: Address) -> None:
        """End the round of an address that is no longer announced on a link."""
        self._rounds.pop((ifindex, address), None)

    def next_timer(self) -> Instant | None:
        """When ``due`` should be called next."""
        while self._queue and self._current(self._queue[0]) is None:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def due(self, now: Instant) -> Iterator[tuple[int, Address]]:
        """The (ifindex, address) pairs to announce now. What must wait for its link is given the link's next free moment."""
        while self._queue and self._queue[0][0] <= now:
            item = heapq.heappop(self._queue)
            running = self._current(item)
            if running is None:
                continue
            key = item[2]
            if not running.reserved:
                free_at = max(now, self._free_at.get(key[0], now))
                self._free_at[key[0]] = free_at + self.gap
                if free_at > now:
                    self._push(free_at, key, reserved=True)
                    continue
            self._advance(key, running, now)
            yield key

    def _current(self, item: tuple[Instant, int, tuple[int, Address]]) -> _Round | None:
        """The round that queued ``item``; None for the leftovers of rounds that were stopped or begun anew."""
        running = self._rounds.get(item[2])
        return running if running is not None and running.token == item[1] else None

    def _advance(self, key: tuple[int, Address], running: _Round, now: Instant) -> None:
        """Move a round to its first offset that is still to come, or end it."""
        running.step += 1
        while running.step < len(self.offsets) and running.start + self.offsets[running.step] <= now:
            running.step += 1
        if running.step == len(self.offsets):
            del self._rounds[key]
        else:
            self._push(running.start + self.offsets[running.step], key, reserved=False)

    def _push(self, when: Instant, key: tuple[int, Address], reserved: bool) -> None:
        self._tokens += 1
        self._rounds[key].token = self._tokens
        self._rounds[key].reserved = reserved
        heapq.heappush(self._queue, (when, self._tokens, key))
