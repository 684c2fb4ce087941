"""Events: how many, how often, what becomes of those that wait."""

import pytest

from l2announce.agent.events import BURST, CAPACITY, QUIET, RATE, EventQueue
from l2announce.model.events import EventReason, ServiceEvent
from l2announce.model.objects import NamespacedName


def event(name: str, message: str = "words", reason: EventReason = EventReason.ANNOUNCED) -> ServiceEvent:
    return ServiceEvent(NamespacedName("shop", name), "uid", reason, message)


def test_a_burst_then_a_trickle() -> None:
    queue = EventQueue()
    for number in range(100):
        queue.add(event(str(number)))
    at_once = [queue.take(10.0) for _ in range(BURST)]
    assert at_once == [event(str(number)) for number in range(BURST)]
    assert queue.take(10.0) is None
    taken, now = 0, 10.0
    while (at := queue.next_timer()) is not None:
        assert at > now or taken == 0
        now = at
        taken += queue.take(now) is not None
    assert taken == 100 - BURST
    assert now == pytest.approx(10.0 + (100 - BURST) / RATE)


def test_the_same_about_a_service_is_told_once_in_a_while_and_then_the_latest() -> None:
    queue = EventQueue()
    queue.add(event("web", "first"))
    assert queue.take(0.0) == event("web", "first")
    for words in ("second", "third"):
        queue.add(event("web", words))
    queue.add(event("api"))
    queue.add(event("web", "other", EventReason.CONFLICT))
    assert [queue.take(1.0), queue.take(1.0), queue.take(1.0)] == [event("api"), event("web", "other", EventReason.CONFLICT), None]
    assert queue.next_timer() == QUIET
    assert queue.take(QUIET) == event("web", "third")
    assert queue.next_timer() is None
    assert queue.take(QUIET) is None


def test_what_is_over_is_not_told() -> None:
    queue = EventQueue()
    queue.add(event("web", reason=EventReason.NOT_ANNOUNCED))
    queue.drop(NamespacedName("shop", "web"), EventReason.NOT_ANNOUNCED)
    queue.drop(NamespacedName("shop", "web"), EventReason.NOT_ANNOUNCED)
    assert queue.take(0.0) is None


def test_there_is_an_end_to_what_waits() -> None:
    queue = EventQueue()
    for number in range(CAPACITY + 3):
        queue.add(event(str(number)))
    queue.add(event("0", "newer"))
    assert queue.dropped == 3
    assert queue.take(0.0) == event("0", "newer")


def test_what_is_no_good_news_is_a_warning() -> None:
    assert [event("web", reason=reason).is_warning for reason in EventReason] == [False, True, True, True]
