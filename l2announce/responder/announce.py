"""When announcements go out: gratuitous ARP and unsolicited neighbor advertisements of addresses that were won, and of those that are held.

A round of an address on a link has the offsets of Timing; after its last one the address is refreshed once in every interval, at a phase of
its own, so that held addresses never go out in a burst. All that a link sends passes one token bucket. What waits for it goes out in this
order: addresses that this round has not announced yet, then repetitions, then refreshes. An address that is late skips the offsets that
have passed meanwhile, so a storm of N addresses sends N announcements before it sends a second one of any. Does not know deadlines: the
caller asks before it sends.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from zlib import crc32

from l2announce.model.address import Address, Instant
from l2announce.model.timing import ANNOUNCE_BURST, ANNOUNCE_GAP, ANNOUNCE_OFFSETS, ANNOUNCE_RETRIES, ANNOUNCE_RETRY

REFRESH_JITTER = 0.1
"""A refresh comes up to this share of the interval early, by another amount each time."""
_REFRESH_RANK = 1 << 16
"""Behind everything that belongs to a round, however often it was sent."""

_Key = tuple[int, Address]


@dataclass(slots=True)
class _Round:
    """The announcements of one address on one link, which began at ``start``. ``step`` is the next offset to come; behind the last one
    the address is only refreshed. ``token`` tells its one valid place in a queue."""

    start: Instant
    phase: float
    step: int = 0
    sent: int = 0
    retries: int = 0
    token: int = 0


@dataclass(slots=True)
class _Bucket:
    """One link's tokens, and what waits for one: (rank, since when, token, key). ``full_at``: when no token is missing any more."""

    full_at: Instant = -math.inf
    waiting: list[tuple[int, Instant, int, _Key]] = field(default_factory=list)


@dataclass(slots=True)
class AnnouncementSchedule:
    """The rounds in progress and the refreshes to come. Keys are (ifindex, address). ``gap``: seconds in which a link earns one token,
    which pays for one announcement of one address; ``burst``: how many it can save. ``refresh``: seconds between refreshes, 0 for none."""

    offsets: tuple[float, ...] = ANNOUNCE_OFFSETS
    gap: float = ANNOUNCE_GAP
    burst: int = ANNOUNCE_BURST
    refresh: float = 0.0
    _rounds: dict[_Key, _Round] = field(default_factory=dict)
    _timers: list[tuple[Instant, int, _Key]] = field(default_factory=list)
    _buckets: dict[int, _Bucket] = field(default_factory=dict)
    _tokens: int = 0

    def start(self, ifindex: int, address: Address, now: Instant) -> None:
        """Begin a round, or begin it anew."""
        key = ifindex, address
        self._rounds[key] = _Round(now, crc32(address.packed, ifindex) / 2**32)
        self._push(now + self.offsets[0], key)

    def stop(self, ifindex: int, address: Address) -> None:
        """End the announcements of an address that is no longer announced on a link."""
        self._rounds.pop((ifindex, address), None)

    def forget_link(self, ifindex: int) -> None:
        """A link is gone, and what it owed with it."""
        self._buckets.pop(ifindex, None)

    def again(self, ifindex: int, address: Address, when: Instant) -> None:
        """Announce an address at ``when``, whatever was due next, ahead of repetitions. Nothing when no round was ever started for it."""
        running = self._rounds.get((ifindex, address))
        if running is not None:
            running.sent = 0
            self._push(when, (ifindex, address))

    def failed(self, ifindex: int, address: Address, now: Instant) -> None:
        """An announcement could not be sent: try it again soon, ANNOUNCE_RETRIES times, each wait twice the one before."""
        running = self._rounds.get((ifindex, address))
        if running is not None and running.retries < ANNOUNCE_RETRIES:
            self.again(ifindex, address, now + ANNOUNCE_RETRY * 2**running.retries)
            running.retries += 1

    def set_refresh(self, interval: float, now: Instant) -> None:
        """Refresh in this interval from now on."""
        if interval != self.refresh:
            self.refresh = interval
            for key, running in self._rounds.items():
                if running.step == len(self.offsets):
                    self._push(self._next_refresh(key, running, now), key)

    def next_timer(self) -> Instant | None:
        """When ``due`` should be called next."""
        self._forget_leftovers()
        at = self._timers[0][0] if self._timers else math.inf
        for bucket in self._buckets.values():
            if bucket.waiting:
                at = min(at, self._free_at(bucket))
        return None if at == math.inf else at

    def due(self, now: Instant) -> Iterator[_Key]:
        """The (ifindex, address) pairs to announce now. What must wait for a token of its link keeps waiting."""
        while self._timers and self._timers[0][0] <= now:
            when, token, key = heapq.heappop(self._timers)
            running = self._rounds.get(key)
            if running is not None and running.token == token:
                bucket = self._buckets.setdefault(key[0], _Bucket())
                heapq.heappush(bucket.waiting, (self._rank(running), when, token, key))
        for bucket in list(self._buckets.values()):
            while bucket.waiting and self._free_at(bucket) <= now:
                rank, _, token, key = heapq.heappop(bucket.waiting)
                running = self._rounds.get(key)
                if running is not None and running.token == token:
                    if rank == _REFRESH_RANK:
                        running.retries = 0
                    bucket.full_at = max(bucket.full_at, now) + self.gap
                    self._advance(key, running, now)
                    yield key

    def _free_at(self, bucket: _Bucket) -> Instant:
        """When the bucket has a token."""
        return bucket.full_at - (self.burst - 1) * self.gap

    def _rank(self, running: _Round) -> int:
        return _REFRESH_RANK if running.step == len(self.offsets) and running.sent else running.sent

    def _forget_leftovers(self) -> None:
        """Drop from the front of the queues what was stopped or put elsewhere."""
        while self._timers and self._is_leftover(self._timers[0][1], self._timers[0][2]):
            heapq.heappop(self._timers)
        for bucket in self._buckets.values():
            while bucket.waiting and self._is_leftover(*bucket.waiting[0][2:]):
                heapq.heappop(bucket.waiting)

    def _is_leftover(self, token: int, key: _Key) -> bool:
        running = self._rounds.get(key)
        return running is None or running.token != token

    def _advance(self, key: _Key, running: _Round, now: Instant) -> None:
        """Move a round to its first offset that is still to come, or to the next refresh."""
        running.sent += 1
        while running.step < len(self.offsets) and running.start + self.offsets[running.step] <= now:
            running.step += 1
        if running.step < len(self.offsets):
            self._push(running.start + self.offsets[running.step], key)
        else:
            self._push(self._next_refresh(key, running, now), key)

    def _next_refresh(self, key: _Key, running: _Round, now: Instant) -> Instant:
        """The first instant after ``now`` at which the address is refreshed: one in each interval, at the address's phase, less a jitter.
        Never when refreshes are off."""
        if not self.refresh:
            return math.inf
        number = math.floor(now / self.refresh - running.phase)
        while (when := self._refresh_at(key, running.phase, number)) <= now:
            number += 1
        return when

    def _refresh_at(self, key: _Key, phase: float, number: int) -> Instant:
        jitter = crc32(number.to_bytes(8, "big", signed=True), crc32(key[1].packed)) / 2**32
        return (number + phase - REFRESH_JITTER * jitter) * self.refresh

    def _push(self, when: Instant, key: _Key) -> None:
        self._tokens += 1
        self._rounds[key].token = self._tokens
        if when < math.inf:
            heapq.heappush(self._timers, (when, self._tokens, key))
