"""--lease-mode node, step by step: break, echo, confirm; each rule of control/heartbeat.py, and who is told by control/heartbeats.py."""

from dataclasses import replace

import pytest

from l2announce.control.election import LeaseElector
from l2announce.control.heartbeat import HeldByHeartbeat, heartbeat_name, is_heartbeat
from l2announce.control.heartbeats import Heartbeats
from l2announce.control.observed import ObservedLeases
from l2announce.control.states import State
from l2announce.model.address import FOREVER, NEVER
from l2announce.model.lease import LEASE_MODE_ANNOTATION, NODE_MODE, Conflict, Lease, LeaseWrite, Unreachable, Verb
from l2announce.model.names import is_name
from l2announce.model.timing import FENCE, Timing

WEB, API = "cilium-l2announce-shop.web", "cilium-l2announce-shop.api"
BEAT1, BEAT2 = heartbeat_name("n1"), heartbeat_name("n2")
TIMING = Timing()
DURATION = TIMING.lease_duration
RIGHT = FENCE * DURATION
BY_HEARTBEAT = {LEASE_MODE_ANNOTATION: NODE_MODE}
LOST = Unreachable("no answer within 3 s")


class Bench:
    """Node n1 with its candidates for WEB and API, a store that does as the test says, and a clock."""

    def __init__(self, *seen: Lease, node_mode: bool = True, timing: Timing = TIMING) -> None:
        self.now = 100.0
        self.version = 1000
        self.leases = ObservedLeases()
        self.electors: dict[str, LeaseElector] = {}
        self.beats = Heartbeats("n1", timing, node_mode, self.leases, self.electors)
        self.store: dict[str, Lease] = {lease.name: lease for lease in seen}
        listed = self.leases.list_received(seen, self.now)
        for name in (WEB, API):
            self.electors[name] = self.beats.new_elector(name)
            self.electors[name].set_eligible(True, self.now)
            self.leases.replay(self.electors[name], self.now)
        self.beats.listed(listed, self.now)
        self.wanted = True

    def shows(self, name: str, lease: Lease | None) -> None:
        """The watch shows a change."""
        if lease is None:
            self.store.pop(name, None)
        else:
            self.store[name] = lease
        self.leases.lease_observed(name, lease, self.now)
        if name in self.electors:
            self.electors[name].lease_observed(lease, self.now)
        elif is_heartbeat(name):
            self.beats.lease_observed(name, lease, self.now)

    def look(self) -> list[LeaseWrite]:
        """One turn: what is to be written now."""
        self.beats.handle_timer(self.now)
        self.beats.news(self.now)
        writes = [self.beats.next_write_of(elector, self.now) for elector in self.electors.values()]
        for elector in self.electors.values():
            self.beats.follow(elector, self.now)
        return [*filter(None, writes), *self.beats.next_writes(self.wanted, self.now)]

    def accept(self, write: LeaseWrite, *, shown: bool = True) -> Lease:
        """The store takes a write, and its watch shows it at once."""
        assert is_name(write.name), "the store would refuse it"
        self.version += 1
        lease = Lease(write.name, write.holder_identity, write.lease_duration, str(self.version), annotations=write.annotations)
        self.store[write.name] = lease
        if is_heartbeat(write.name):
            self.beats.write_succeeded(lease, self.now, self.now)
        else:
            self.electors[write.name].write_succeeded(lease, self.now, self.now)
        if shown:
            self.shows(write.name, lease)
        return lease

    def refuse(self, write: LeaseWrite, outcome: Conflict | Unreachable) -> None:
        if is_heartbeat(write.name):
            self.beats.write_failed(write.name, outcome, self.now)
        else:
            self.electors[write.name].write_failed(outcome, self.now)

    def settle(self) -> list[LeaseWrite]:
        """Turns until nothing is written any more; the store accepts everything."""
        done: list[LeaseWrite] = []
        while writes := self.look():
            done += writes
            for write in writes:
                self.accept(write)
        return done

    def run(self, seconds: float) -> list[LeaseWrite]:
        """Time passes, and the store accepts everything."""
        end, done = self.now + seconds, list[LeaseWrite]()
        while self.now < end:
            self.now = min(end, self.now + 0.1)
            done += self.settle()
        return done

    def deadline(self, name: str = WEB) -> float | None:
        return self.electors[name].deadline


def theirs(name: str = WEB, holder: str = "n2", version: str = "7") -> Lease:
    return Lease(name, holder, DURATION, version, annotations=BY_HEARTBEAT)


def their_beat(version: str = "8", holder: str = "n2") -> Lease:
    return Lease(BEAT2, holder, DURATION, version)


def settled() -> Bench:
    """Holds both leases."""
    bench = Bench()
    bench.settle()
    assert [bench.electors[name].state for name in (WEB, API)] == [State.HOLDING, State.HOLDING]
    return bench


def named(writes: list[LeaseWrite]) -> list[str]:
    return [write.name for write in writes]


class TestOwnHeartbeat:
    def test_it_comes_before_every_lease_and_says_in_each_that_it_counts(self) -> None:
        bench = Bench()
        (beat,) = bench.look()
        assert (beat.verb, beat.name, beat.holder_identity) == (Verb.ACQUIRE, BEAT1, "n1")
        bench.accept(beat)
        writes = bench.look()
        assert sorted(named(writes)) == [API, WEB]
        assert all(write.annotations == BY_HEARTBEAT for write in writes)

    def test_it_alone_is_renewed(self) -> None:
        bench = settled()
        assert named(bench.run(50.0)) == [BEAT1] * 9
        assert bench.deadline() == bench.deadline(API)
        assert bench.now < (bench.deadline() or 0.0) <= bench.now + RIGHT

    def test_the_right_ends_with_the_last_one_that_was_accepted(self) -> None:
        bench = settled()
        assert bench.deadline() == 100.0 + RIGHT
        bench.now = 105.0
        (beat,) = bench.look()
        bench.refuse(beat, LOST)
        assert bench.deadline() == 100.0 + RIGHT
        bench.now = 100.0 + RIGHT
        bench.look()
        assert bench.deadline() is None

    def test_the_right_waits_for_the_echo(self) -> None:
        """What the watch has not shown may come after a change of a lease that it has not shown either."""
        bench = settled()
        bench.now = 105.0
        (beat,) = bench.look()
        lease = bench.accept(beat, shown=False)
        bench.look()
        assert bench.deadline() == 100.0 + RIGHT
        bench.shows(BEAT1, lease)
        bench.look()
        assert bench.deadline() == 105.0 + RIGHT

    def test_an_echo_may_come_before_the_answer(self) -> None:
        bench = settled()
        bench.now = 105.0
        (beat,) = bench.look()
        early = Lease(BEAT1, "n1", DURATION, "2000")
        bench.shows(BEAT1, early)
        bench.beats.write_succeeded(early, 105.0, 105.1)
        bench.look()
        assert bench.deadline() == 105.0 + RIGHT
        assert beat.name == BEAT1

    def test_an_echo_of_what_nobody_remembers_gives_nothing(self) -> None:
        bench = settled()
        sent = []
        for _ in range(70):
            bench.now += 5.0
            (beat,) = bench.look()
            sent.append(bench.accept(beat, shown=False))
        assert bench.deadline() is None, "without an echo the right ends"
        bench.shows(BEAT1, sent[0])
        bench.look()
        assert bench.deadline() is None
        bench.shows(BEAT1, sent[-1])
        assert bench.settle() == [], "all that came before it has been shown: nobody wrote to the leases"
        assert bench.deadline() == bench.now + RIGHT

    def test_a_stranger_in_it_ends_every_right(self) -> None:
        bench = settled()
        bench.shows(BEAT1, Lease(BEAT1, "stranger", DURATION, "5000"))
        bench.look()
        assert (bench.deadline(), bench.deadline(API)) == (None, None)

    def test_after_a_lapse_each_lease_is_written_again(self) -> None:
        bench = settled()
        bench.shows(BEAT1, Lease(BEAT1, "", 1.0, "5000"))
        assert [state for name in (WEB, API) if (state := bench.electors[name].state) is State.HOLDING] != []
        written = bench.settle()
        assert named(written)[0] == BEAT1
        assert sorted(named(written)[1:]) == [API, WEB]
        assert bench.deadline() == 100.0 + RIGHT

    def test_a_write_of_an_earlier_run_gives_no_right(self) -> None:
        bench = Bench()
        bench.accept(bench.look()[0])
        writes = {write.name: write for write in bench.look()}
        bench.shows(BEAT1, Lease(BEAT1, "", 1.0, "5000"))
        bench.look()
        bench.accept(writes[WEB])
        bench.accept(writes[API])
        bench.look()
        assert bench.deadline() is None

    def test_it_is_released_after_the_leases(self) -> None:
        bench = settled()
        bench.wanted = False
        assert named(bench.look()) == [], "still needed"
        for elector in bench.electors.values():
            elector.set_eligible(False, bench.now)
            elector.withdrawn(bench.now)
        assert not bench.beats.is_idle
        written = bench.settle()
        assert [write.verb for write in written] == [Verb.RELEASE] * 3
        assert named(written)[-1] == BEAT1
        assert bench.beats.is_idle

    def test_a_refused_write_of_it_is_tried_again(self) -> None:
        bench = settled()
        bench.now = 105.0
        bench.refuse(bench.look()[0], LOST)
        assert bench.look() == []
        assert bench.beats.next_timer() == 105.0 + TIMING.retry_period
        bench.now = 107.0
        assert named(bench.look()) == [BEAT1]


class TestOnesOwnLeases:
    def test_a_strangers_edit_is_confirmed_before_the_right_goes_on(self) -> None:
        bench = settled()
        touched = replace(bench.store[WEB], resource_version="5000")
        bench.shows(WEB, touched)
        (write,) = bench.look()
        assert (write.name, write.verb) == (WEB, Verb.RENEW)
        bench.now = 105.0
        (beat,) = bench.look()
        bench.accept(beat)
        bench.look()
        assert bench.deadline() == 100.0 + RIGHT, "not extended meanwhile"
        assert bench.deadline(API) == 105.0 + RIGHT
        bench.accept(write)
        bench.look()
        assert bench.deadline() == 105.0 + RIGHT

    def test_a_lease_that_is_another_s_now_gives_nothing(self) -> None:
        bench = settled()
        bench.shows(WEB, theirs(version="5000"))
        bench.look()
        assert bench.deadline() is None
        bench.run(3.0)
        assert bench.deadline() is None

    def test_what_the_lease_says_besides_may_be_renewed(self) -> None:
        bench = settled()
        bench.electors[WEB].renew_soon()
        assert named(bench.look()) == [WEB]

    def test_a_renewal_that_comes_too_late_gives_no_right(self) -> None:
        bench = settled()
        bench.electors[WEB].renew_soon()
        (write,) = bench.look()
        bench.electors[WEB].set_eligible(False, bench.now)
        bench.accept(write)
        assert bench.electors[WEB].state is State.WITHDRAWING
        assert bench.deadline() is None

    def test_a_release_gives_no_right(self) -> None:
        bench = settled()
        bench.electors[WEB].set_eligible(False, bench.now)
        bench.electors[WEB].withdrawn(bench.now)
        (release,) = bench.look()
        assert release.verb is Verb.RELEASE
        bench.accept(release)
        assert bench.electors[WEB].state is State.IDLE

    def test_a_lease_of_an_earlier_life_that_nobody_wants_is_given_up(self) -> None:
        """Else our heartbeat would keep it for ever."""
        bench = Bench(theirs(WEB, "n1"))
        stray = bench.electors[WEB]
        assert stray.state is State.RESUMING
        unwanted = HeldByHeartbeat(API, "n1", TIMING)
        unwanted.lease_observed(theirs(API, "n1"), 100.0)
        assert unwanted.state is State.WITHDRAWING
        assert bench.leases.held_by_heartbeat_of("n1") == {WEB}
        assert bench.leases.held_by_heartbeat_of("n3") == set()


class TestOthersLeases:
    """Also for nodes in service mode, which have no heartbeat of their own."""

    @pytest.fixture(params=[True, False], ids=["node", "service"])
    def bench(self, request: pytest.FixtureRequest) -> Bench:
        made = Bench(theirs(), their_beat(), node_mode=request.param)
        made.settle()
        return made

    def test_a_lease_does_not_end_while_its_holder_beats(self, bench: Bench) -> None:
        for number in range(20):
            bench.shows(BEAT2, their_beat(str(100 + number)))
            assert not {WEB, BEAT2} & set(named(bench.run(5.0)))
        assert bench.electors[WEB].awaits_break_of == "n2"
        assert bench.leases.holder(WEB, bench.now) == "n2"

    def test_a_dead_heartbeat_is_ended_before_the_lease_is_taken(self, bench: Bench) -> None:
        bench.run(DURATION - 0.2)
        assert bench.leases.holder(WEB, bench.now) == "n2"
        bench.now = 100.0 + DURATION
        writes = [write for write in bench.look() if write.name != BEAT1]
        assert [(write.verb, write.name, write.holder_identity) for write in writes if write.name == BEAT2] == [(Verb.RELEASE, BEAT2, "")]
        assert WEB not in named(writes)
        for write in writes:
            bench.accept(write)
        assert bench.leases.holder(WEB, bench.now) is None
        taken = [write for write in bench.settle() if write.name == WEB]
        assert [write.verb for write in taken] == [Verb.ACQUIRE]
        assert bench.electors[WEB].state is State.HOLDING

    def test_a_conflict_says_that_the_holder_lives(self, bench: Bench) -> None:
        bench.now = 100.0 + DURATION
        (write,) = (write for write in bench.look() if write.name == BEAT2)
        bench.refuse(write, Conflict(their_beat("9")))
        assert not {WEB, BEAT2} & set(named(bench.run(DURATION - 0.2)))
        assert BEAT2 in named(bench.run(0.5))

    def test_a_break_that_the_watch_shows_is_as_good(self, bench: Bench) -> None:
        bench.now = 110.0
        bench.shows(BEAT2, their_beat("9", holder=""))
        assert WEB not in named(bench.settle()), "the version has to stand for its own duration"
        assert WEB in named(bench.run(DURATION - 9.0))

    def test_what_came_after_the_break_waits_for_another(self, bench: Bench) -> None:
        bench.now = 100.0 + DURATION
        (write,) = (write for write in bench.look() if write.name == BEAT2)
        bench.shows(WEB, theirs(version="50"))
        bench.accept(write, shown=False)
        assert WEB not in named(bench.look())
        assert bench.electors[WEB].awaits_break_of == "n2"

    def test_a_heartbeat_that_vanished_is_made_without_a_holder(self, bench: Bench) -> None:
        bench.shows(BEAT2, None)
        assert BEAT2 not in named(bench.run(DURATION - 0.2))
        written = bench.run(0.5)
        assert next((write.verb, write.holder_identity, write.base) for write in written if write.name == BEAT2) == (Verb.RELEASE, "", None)
        assert WEB in named(written)

    def test_the_least_patient_decides(self, bench: Bench) -> None:
        bench.shows(API, theirs(API, version="60"))
        bench.electors[WEB].set_eligible(True, bench.now, 3.0)
        bench.electors[API].set_eligible(True, bench.now, 1.0)
        bench.settle()
        assert BEAT2 not in named(bench.run(DURATION + 0.9))
        assert BEAT2 in named(bench.run(0.3))

    def test_who_wants_nothing_of_it_leaves_it_alone(self, bench: Bench) -> None:
        bench.electors[WEB].set_eligible(False, bench.now)
        assert BEAT2 not in named(bench.run(2 * DURATION))

    def test_a_plain_lease_of_its_holder_needs_no_break(self, bench: Bench) -> None:
        bench.shows(WEB, Lease(WEB, "n2", DURATION, "70"))
        assert bench.electors[WEB].awaits_break_of is None
        written = bench.run(DURATION + 0.2)
        assert BEAT2 not in named(written)
        assert WEB in named(written)

    def test_a_lease_of_a_holder_that_never_beat_ends_by_its_own_duration(self) -> None:
        bench = Bench(theirs())
        bench.settle()
        assert bench.leases.holder(WEB, bench.now) == "n2"
        bench.now += DURATION
        assert bench.leases.holder(WEB, bench.now) is None
        assert bench.leases.foreign_until(WEB, "n1") == 100.0 + DURATION

    def test_a_list_without_the_heartbeat_says_that_it_is_gone(self, bench: Bench) -> None:
        bench.beats.listed(bench.leases.list_received([theirs()], bench.now), bench.now)
        assert BEAT2 in named(bench.run(DURATION + 0.2))

    def test_a_heartbeat_of_somebody_else_s_name_proves_nothing(self) -> None:
        bench = Bench(theirs(), Lease(BEAT2, "stranger", DURATION, "8"))
        assert bench.leases.foreign_until(WEB, "n1") == 100.0 + DURATION

    def test_a_heartbeat_that_vanished_counts_for_its_duration(self) -> None:
        bench = Bench(theirs(), their_beat())
        bench.now = 107.0
        bench.leases.lease_observed(BEAT2, None, bench.now)
        assert bench.leases.foreign_until(WEB, "n1") == 107.0 + DURATION


class TestServiceMode:
    def test_no_heartbeat_of_its_own(self) -> None:
        bench = Bench(node_mode=False)
        assert sorted(named(bench.settle())) == [API, WEB]
        assert bench.beats.is_idle
        assert bench.beats.next_timer() is None
        bench.shows(BEAT1, Lease(BEAT1, "n1", DURATION, "9"))
        assert named(bench.run(6.0)).count(BEAT1) == 0

    def test_what_an_earlier_life_held_by_its_heartbeat_is_renewed_itself(self) -> None:
        bench = Bench(theirs(WEB, "n1"), Lease(BEAT1, "n1", DURATION, "9"), node_mode=False)
        (write,) = (write for write in bench.settle() if write.name == WEB)
        assert (write.verb, write.annotations) == (Verb.RENEW, {})
        assert bench.deadline() == 100.0 + RIGHT


class TestHeldOver:
    """With --on-api-loss hold."""

    @pytest.fixture
    def bench(self) -> Bench:
        made = Bench(timing=replace(TIMING, hold_on_api_loss=True))
        made.settle()
        return made

    def lose(self, bench: Bench) -> None:
        while bench.now < 100.0 + RIGHT + 1.0:
            bench.now += 0.5
            for write in bench.look():
                bench.refuse(write, LOST)

    def test_leases_are_held_over_while_the_heartbeat_cannot_be_written(self, bench: Bench) -> None:
        self.lose(bench)
        for name in (WEB, API):
            held = bench.electors[name]
            assert (held.is_held_over, held.held_over_from) == (True, NEVER)
            assert (held.deadline or 0.0) < bench.now

    def test_they_are_held_again_when_it_can(self, bench: Bench) -> None:
        self.lose(bench)
        bench.now += TIMING.retry_period
        bench.settle()
        for name in (WEB, API):
            assert (bench.electors[name].state, bench.electors[name].is_held_over) == (State.HOLDING, False)

    def test_a_conflict_about_it_ends_the_holding(self, bench: Bench) -> None:
        self.lose(bench)
        bench.now += TIMING.retry_period
        (beat,) = bench.look()
        bench.refuse(beat, Conflict(Lease(BEAT1, "", 1.0, "5000")))
        bench.look()
        assert (bench.electors[WEB].is_held_over, bench.electors[WEB].held_over_from) == (False, FOREVER)


def test_what_nobody_asked_for_is_ignored() -> None:
    bench = settled()
    stray = Lease("cilium-l2announce-shop.gone", "n2", DURATION, "1", annotations=BY_HEARTBEAT)
    bench.leases.lease_observed(stray.name, stray, bench.now)
    bench.shows(BEAT2, their_beat())
    bench.shows(BEAT2, None)
    assert named(bench.look()) == []


class TestWhatPeopleEdit:
    def test_the_annotation_on_a_heartbeat_changes_nothing(self) -> None:
        """As ``kubectl annotate lease --all`` would put it there: a crashed node's heartbeat still runs out."""
        bench = Bench(theirs(), replace(their_beat(), annotations=BY_HEARTBEAT))
        bench.run(DURATION + TIMING.retry_period)
        assert bench.store[WEB].holder_identity == "n1"

    @pytest.mark.parametrize("holder", ["Node_2", "n2_0b1c", "n" * 253])
    def test_a_holder_that_can_have_no_heartbeat_is_waited_out(self, holder: str) -> None:
        bench = Bench(theirs(holder=holder))
        assert not named(bench.run(DURATION - 1.0)).count(WEB)
        bench.run(2.0)
        assert bench.store[WEB].holder_identity == "n1"

    def test_a_heartbeat_seen_to_be_broken_is_no_loss_of_the_api(self) -> None:
        """Also while the last renewal is without an answer: what was seen is the API's word."""
        bench = Bench(timing=Timing(hold_on_api_loss=True))
        bench.settle()
        bench.now += TIMING.renew_deadline
        (beat,) = bench.look()
        assert beat.name == BEAT1
        bench.refuse(beat, LOST)
        bench.shows(BEAT1, Lease(BEAT1, "", 1.0, "9999"))
        bench.look()
        bench.now += DURATION
        bench.look()
        assert not any(bench.electors[name].is_held_over for name in (WEB, API))


def test_heartbeats_that_nobody_waits_for_are_not_kept() -> None:
    bench = settled()
    for number in range(50):
        name = heartbeat_name(f"w{number}")
        bench.shows(name, Lease(name, f"w{number}", DURATION, "1"))
        bench.shows(name, None)
    bench.shows(BEAT2, their_beat())
    bench.shows(WEB, theirs())
    bench.run(0.5)
    assert set(bench.beats._breakers) == {"n2"}
    bench.shows(WEB, Lease(WEB, "n2", DURATION, "99999"))
    bench.run(0.5)
    assert not bench.beats._breakers
