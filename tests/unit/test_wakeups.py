"""A queue of timers of which each name has at most one."""

from l2announce.control.wakeups import Wakeups


def test_each_name_has_one_timer_and_the_earliest_is_next() -> None:
    timers = Wakeups()
    assert timers.next_timer() is None
    timers.set("a", 5.0)
    timers.set("b", 3.0)
    timers.set("a", 1.0)
    timers.set("a", 1.0)
    assert timers.next_timer() == 1.0
    timers.set("a", 4.0)
    assert timers.next_timer() == 3.0
    assert list(timers.due(3.5)) == ["b"]
    assert list(timers.due(3.5)) == []
    assert list(timers.due(9.0)) == ["a"]
    assert timers.next_timer() is None


def test_a_timer_can_be_taken_back() -> None:
    timers = Wakeups()
    timers.set("a", 1.0)
    timers.set("a", None)
    timers.set("never", None)
    assert timers.next_timer() is None
    assert list(timers.due(9.0)) == []


def test_a_timer_set_again_to_an_earlier_setting_fires_once() -> None:
    timers = Wakeups()
    for at in (1.0, 2.0, 1.0):
        timers.set("a", at)
    assert list(timers.due(9.0)) == ["a"]
