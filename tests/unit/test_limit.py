"""The limit on answers: what it lets through, and to whom."""

import pytest

from l2announce.responder.limit import AnswerLimit

FLOODER, ROUTER = b"\2\0\0\0\0\x66", b"\2\0\0\0\0\x0d"


def host(number: int) -> bytes:
    return b"\2\0\0\1" + number.to_bytes(2, "big")


def test_without_a_rate_everything_is_admitted() -> None:
    limit = AnswerLimit()
    assert limit.has_room(1_000_000, 0.0)
    limit.given(1_000_000)
    assert all(limit.admits(FLOODER, 0.0) for _ in range(1000))


def test_one_host_gets_two_eighths_of_a_window_and_leaves_the_rest() -> None:
    limit = AnswerLimit(8000)
    assert sum(limit.admits(FLOODER, 5.0) for _ in range(10_000)) == 200
    assert sum(limit.admits(ROUTER, 5.05) for _ in range(10_000)) == 100
    assert sum(limit.admits(host(number), 5.09) for number in range(10_000)) == 500


@pytest.mark.parametrize("later", [5.1, 7.0, 4.8])
def test_every_window_begins_anew(later: float) -> None:
    """Also when the clock went back, as between the runs of a replay."""
    limit = AnswerLimit(8000)
    assert sum(limit.admits(FLOODER, 5.0) for _ in range(1000)) == 200
    assert not limit.has_room(1, 5.0)
    assert limit.has_room(100, later)
    assert sum(limit.admits(FLOODER, later) for _ in range(1000)) == 200


def test_a_batch_has_room_while_the_first_eighth_lasts() -> None:
    limit = AnswerLimit(8000)
    assert limit.has_room(64, 5.0)
    limit.given(64)
    assert limit.has_room(36, 5.0)
    assert not limit.has_room(37, 5.0)
    limit.given(36)
    assert sum(limit.admits(FLOODER, 5.0) for _ in range(1000)) == 100


@pytest.mark.parametrize("rate", [100, 101, 240, 20_000])
def test_no_window_gives_more_than_its_part_of_the_rate(rate: int) -> None:
    limit = AnswerLimit(rate)
    assert sum(limit.admits(host(number), 1.0) for number in range(20_000)) == rate // 10


def test_what_it_remembers_is_bounded_by_the_rate() -> None:
    limit = AnswerLimit(8000)
    for number in range(50_000):
        limit.admits(host(number), 1.0)
    assert len(limit._to) <= 800
