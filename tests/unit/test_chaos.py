"""The plan and the judge of ``make chaos``: the same seed the same faults, and every broken promise seen."""

from itertools import pairwise

import pytest
from netlab.chaos.faults import faults_on
from netlab.chaos.judge import (
    LATE,
    NANO,
    Answered,
    Gap,
    Span,
    answered,
    find_doubles,
    find_gaps,
    find_late,
    is_excused,
    recoveries,
    too_long,
)
from netlab.chaos.plan import Kind, make_plan
from netlab.chaos.report import plot, quantile, table
from netlab.leases import Renewal

KINDS = (Kind("crash", 0.2, 5.0, 3), Kind("edit", 0.1, 0.2))
NODES = ("n1", "n2", "n3")
A = "10.99.0.10"


def test_a_seed_gives_the_same_plan_and_another_gives_another() -> None:
    first = make_plan(7, 0, 240.0, KINDS, NODES, 5.0)
    assert first == make_plan(7, 0, 240.0, KINDS, NODES, 5.0)
    assert first != make_plan(8, 0, 240.0, KINDS, NODES, 5.0)
    assert first != make_plan(7, 1, 240.0, KINDS, NODES, 5.0)
    assert len(first) > 10
    assert {one.kind for one in first} == {"crash", "edit"}


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_fits_its_round_and_leaves_time_to_judge(seed: int) -> None:
    plan = make_plan(seed, 3, 600.0, KINDS, NODES, 5.0)
    assert all(one.at + one.seconds + 5.0 <= 600.0 for one in plan)
    gaps = [after.at - before.at - before.seconds for before, after in pairwise(plan)]
    assert all(gap <= 0.001 or gap >= 4.999 for gap in gaps), "it overlaps, or the bound can be judged"
    overlapping = sum(gap <= 0.001 for gap in gaps)
    assert 0 < overlapping < len(gaps) / 2


def at(seconds: float) -> int:
    return round(seconds * NANO)


def answers(*said: tuple[float, str]) -> list[Answered]:
    return [Answered(at(time), number, node) for number, (time, node) in enumerate(said)]


HELD = [(at(0.0), "n1"), (at(5.0), ""), (at(6.0), "n2")]


def found(said: list[Answered], *spans: Span, held: list[tuple[int, str]] = HELD) -> list[str]:
    return [violation.what for violation in find_doubles(A, said, held, spans)]


def test_an_orderly_failover_is_clean() -> None:
    assert found(answers((1.0, "n1"), (4.9, "n1"), (6.1, "n2"), (7.0, "n2"))) == []


def test_two_answers_to_one_ask() -> None:
    both = [Answered(at(6.1), 1, "n2"), Answered(at(6.1), 1, "n1")]
    assert "one ask answered by n2 and by n1" in found(both)


def test_an_answer_without_the_lease_and_an_answer_after_another() -> None:
    assert found(answers((5.5, "n1"), (5.6, "n1"))) == ["answered by n1 while the lease is held by nobody"], "one for each run"
    assert found(answers((6.1, "n2"), (6.2, "n1"))) == ["answered by n1 while the lease is held by n2"]
    back = [*HELD, (at(6.15), "n1"), (at(6.152), "n2")]
    assert found(answers((6.1, "n2"), (6.15, "n1"), (6.16, "n2")), held=back) == []
    assert found(answers((6.1, "n1"), (6.15, "n2"), (6.16, "n1")), held=[(at(6.0), "n1"), (at(6.152), "n2"), (at(6.158), "n1")]) == []
    late = [(at(0.0), "n2"), (at(1.0), "n1"), (at(3.0), "n2")]
    assert found(answers((1.5, "n1"), (3.1, "n2")), held=late) == []
    assert found(answers((1.0, "n1"), (1.004, "n2")), held=late) == ["n2 answers again after n1, without the lease anew"]


def test_an_excuse_covers_its_addresses_and_a_while_after() -> None:
    edit = Span("holder blanked", at(5.0), at(5.2), frozenset({A}))
    assert found(answers((5.5, "n1"), (6.2, "n1")), edit) == []
    assert found(answers((6.3, "n1")), edit) == ["answered by n1 while the lease is held by n2"]
    assert not is_excused([edit], "10.99.0.11", at(5.1), at(5.1))


def test_who_cannot_see_a_lease_taken_goes_on_to_its_deadline() -> None:
    taken = [(at(0.0), "n1"), (at(5.0), "stranger")]
    edit = Span("lease taken by a stranger", at(5.0), at(5.1), frozenset({A}))
    late = ["answered by n1 while the lease is held by stranger"]
    killed = Span("control killed", at(4.9), at(6.9))
    assert found(answers((7.0, "n1")), edit, held=taken) == late
    assert found(answers((7.0, "n1")), edit, killed, held=taken) == []
    assert found(answers((8.2, "n1")), edit, killed, held=taken) == late
    assert found(answers((7.0, "n1")), edit, Span("control killed", at(6.2), at(6.9)), held=taken) == late, "it had the time to see it"
    assert found(answers((7.0, "n1")), edit, Span("control killed", at(3.0), at(4.9)), held=taken) == late


def test_gaps_are_judged_from_the_last_thing_that_was_done() -> None:
    said = answers((1.0, "n1"), (5.0, "n2"))
    (gap,) = find_gaps(A, said, at(1.0), at(5.0))
    assert gap == Gap(A, at(1.0), at(5.0))
    crash = Span("crash", at(1.1), at(2.0))
    assert too_long(gap, [crash], 2.9)
    assert not too_long(gap, [crash], 3.1)
    assert too_long(gap, [], 3.9), "nothing was done"
    assert not too_long(gap, [Span("no policy", at(0.5), at(3.0), frozenset({A}))], 0.1)
    assert find_gaps(A, answers((1.0, "n1")), at(0.9), at(1.1)) == []
    assert [each.seconds for each in find_gaps(A, [], at(0.0), at(2.0))] == [2.0]


def test_what_keeps_the_api_away_suspends_the_bound_until_a_while_after() -> None:
    gap = Gap(A, at(1.0), at(20.0))
    away = Span("API frozen", at(2.0), at(8.0), allowance=10.0)
    assert not too_long(gap, [away], 3.0)
    assert too_long(gap, [away], 1.9)
    assert too_long(gap, [Span("API frozen", at(2.0), at(8.0))], 3.0)
    assert not too_long(Gap(A, at(7.0), at(9.0)), [Span("API frozen", at(2.0), at(30.0), allowance=1.0)], 1.0), "it is still away"


def test_an_answer_after_the_fence_is_late_whoever_has_the_lease() -> None:
    renewals = [Renewal(at(0.0), "n1", 3), Renewal(at(1.0), "n1", 3), Renewal(at(9.0), "n2", 3)]
    fence = 1.0 + 2.7
    in_time, late = fence + LATE / NANO - 0.02, fence + LATE / NANO + 0.02
    assert find_late(A, answers((0.5, "n1"), (in_time, "n1"), (9.1, "n2")), renewals, []) == []
    (found_late,) = find_late(A, answers((late, "n1"), (late + 0.1, "n1")), renewals, [])
    assert found_late.what.startswith("answered by n1 0.12")
    assert find_late(A, answers((late, "n1")), renewals, [Span("edit", at(late - 0.1), at(late + 0.1), frozenset({A}))]) == []


def test_an_api_server_has_faults_of_its_own() -> None:
    on_files, on_kubernetes = faults_on("embedded"), faults_on("kubernetes")
    assert on_files.items() < on_kubernetes.items()
    assert {name for name in on_kubernetes.keys() - on_files.keys() if not name.startswith("API ")} == set()


def test_the_time_to_recover_is_the_faults_own() -> None:
    spans = [Span("crash", at(10), at(11)), Span("crash", at(30), at(31)), Span("edit", at(40), at(40))]
    gaps = [Gap(A, at(9.99), at(12.5)), Gap("b", at(10.5), at(11.0)), Gap(A, at(40.1), at(40.6))]
    times = recoveries(spans, gaps, 6.0)
    assert times["crash"] == [pytest.approx(2.51), 0.0]
    assert times["edit"] == [pytest.approx(0.5)]


def test_macs_become_names_and_answers_are_sorted() -> None:
    assert answered([(2, 1, "02:00"), (1, 0, "02:01")], {"02:00": "n1"}) == [Answered(1, 0, "02:01"), Answered(2, 1, "n1")]


def test_the_table_and_the_plot() -> None:
    times = {"crash": [0.0, 1.0, 3.0], "edit": [0.0]}
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.5, 0.9, 1.0)] == [2.0, 4.0, 4.0]
    rows = table(times).splitlines()
    assert rows[1].split() == ["crash", "3", "1", "1.00s", "3.00s", "3.00s"]
    assert plot(times, 5.8, "title").count("<circle") == 4
