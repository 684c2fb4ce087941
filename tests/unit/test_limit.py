"""The limit on answers: what it lets through, and to whom."""

import random

import pytest

from l2announce.responder.limit import BURST, AnswerLimit

FLOODER, ROUTER = b"\2\0\0\0\0\x66", b"\2\0\0\0\0\x0d"


def host(number: int) -> bytes:
    return b"\2\0\0\1" + number.to_bytes(2, "big")


def test_without_a_rate_everything_is_admitted() -> None:
    limit = AnswerLimit()
    assert limit.has_room(1_000_000, 0.0)
    limit.given(1_000_000, 0.0)
    assert all(limit.admits(FLOODER, 0.0) for _ in range(1000))


def test_one_host_gets_two_eighths_of_the_bucket_and_leaves_the_rest() -> None:
    limit = AnswerLimit(8192)
    assert sum(limit.admits(FLOODER, 5.0) for _ in range(10_000)) == 204
    assert sum(limit.admits(ROUTER, 5.0) for _ in range(10_000)) == 102
    assert sum(limit.admits(host(number), 5.0) for number in range(10_000)) in {512, 513}


@pytest.mark.parametrize("flooders", [1, 3])
def test_a_flood_of_few_hosts_takes_nothing_from_others(flooders: int) -> None:
    limit, now, answered = AnswerLimit(8000), 5.0, 0
    for turn in range(20_000):
        now += 1 / 40_000
        answered += limit.admits(host(turn % flooders), now)
        if turn % 400 == 0:
            assert limit.admits(ROUTER, now), f"refused at {now}"
    assert answered <= 8000 * (0.5 + BURST)


@pytest.mark.parametrize("period", [1.0, 0.1, 0.0125])
def test_amid_made_up_hosts_who_asks_in_step_gets_a_share(period: float) -> None:
    """A kernel asks once a second: at a constant phase of whatever has a period."""
    limit, chance = AnswerLimit(2000), random.Random(1)
    now = asks_at = 5.0
    honest = 0
    for number in range(int(6000 * 100 * period)):
        now += chance.expovariate(6000)
        if now >= asks_at:
            honest += limit.admits(ROUTER, asks_at)
            asks_at += period
        limit.admits(b"\2\0" + number.to_bytes(4, "big"), now)
    assert honest > 15, "of a hundred, a third is to be expected"


@pytest.mark.parametrize("later", [5.2, 7.0, 4.7])
def test_after_a_pause_the_bucket_is_full(later: float) -> None:
    """Also when the clock went back, as between the runs of a replay."""
    limit = AnswerLimit(8000)
    assert sum(limit.admits(FLOODER, 5.0) for _ in range(1000)) == 200
    assert not limit.has_room(1, 5.0)
    assert limit.has_room(100, later)
    assert sum(limit.admits(FLOODER, later) for _ in range(1000)) == 200


def test_a_batch_has_room_while_the_first_eighth_lasts() -> None:
    limit = AnswerLimit(8192)
    assert limit.has_room(64, 5.0)
    limit.given(64, 5.0)
    assert limit.has_room(36, 5.0)
    assert not limit.has_room(40, 5.0)
    limit.given(36, 5.0)
    assert sum(limit.admits(FLOODER, 5.0) for _ in range(1000)) == 2 + 102


@pytest.mark.parametrize("rate", [100, 101, 240, 20_000])
def test_no_time_gives_more_than_rate_and_burst(rate: int) -> None:
    limit = AnswerLimit(rate)
    given = sum(limit.admits(b"\2\0" + number.to_bytes(4, "big"), 1.0 + number / 100_000) for number in range(100_000))
    assert 0.98 * rate <= given <= rate * (1 + BURST) + 1


def test_what_it_remembers_is_bounded_by_the_rate() -> None:
    limit = AnswerLimit(8000)
    for number in range(200_000):
        limit.admits(b"\2\0" + number.to_bytes(4, "big"), 1.0 + number / 100_000)
    assert len(limit._to) <= 1601
