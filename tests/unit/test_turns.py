"""Whose turn it is, what a Service prefers, and what a node asks for."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from l2announce.control.election import LeaseElector
from l2announce.control.groups import group_leases, shared_address_groups
from l2announce.control.observed import ObservedLeases
from l2announce.control.placement import candidates_of_groups
from l2announce.control.preferences import PREEMPT_ANNOTATION, PREFERRED_NODES_ANNOTATION, Preference, preference_problems
from l2announce.control.pulls import Pulls
from l2announce.control.states import State
from l2announce.control.turns import Turns
from l2announce.model.address import FOREVER, NEVER
from l2announce.model.lease import ANYBODY, DRAIN_PREFIX, MOVE_TO, MOVED_FROM, RESERVED_FOR, Lease, Verb
from l2announce.model.objects import AnnouncementPolicy, ClusterState, NamespacedName, Node, Service
from l2announce.model.timing import HOLD_DOWN, RANK_STEP, START_SPREAD, Timing

NODES = ("n1", "n2", "n3")
KEYS = [NamespacedName("shop", f"s{number}") for number in range(9)]
NAMES = [f"cilium-l2announce-{key.namespace}.{key.name}" for key in KEYS]
NAME = NAMES[0]
TIMING = Timing()


def state(**annotations: str) -> ClusterState:
    services = {
        key: Service(key, type="LoadBalancer", load_balancer_ips=(IPv4Address(f"192.0.2.{number + 1}"),)) for number, key in enumerate(KEYS)
    }
    services[KEYS[0]] = replace(
        services[KEYS[0]], annotations={f"l2announce.io/{key.replace('_', '-')}": annotations[key] for key in annotations}
    )
    policy = AnnouncementPolicy("all", load_balancer_ips=True)
    return ClusterState({name: Node(name) for name in NODES}, services, (), {"all": policy})


def turns(node: str, leases: ObservedLeases | None = None, **annotations: str) -> Turns:
    made = Turns(node, TIMING, leases or ObservedLeases())
    cluster = state(**annotations)
    groups = group_leases(shared_address_groups(cluster), "dot").groups
    made.replace_groups(groups, cluster.services, candidates_of_groups(groups.values(), cluster))
    return made


def seen(*leases: Lease, at: float = 100.0) -> ObservedLeases:
    found = ObservedLeases()
    found.list_received(leases, at)
    return found


def lease(holder: str, name: str = NAME, version: str = "1", **annotations: str) -> Lease:
    return Lease(name, holder, 15.0, version, annotations=annotations)


def order() -> tuple[str, ...]:
    return turns("n1").plan.orders[NAME]


def holding(node: str, base: Lease) -> LeaseElector:
    """An elector that holds the lease ``base``."""
    elector = LeaseElector(base.name, node, TIMING)
    elector.lease_observed(base, 100.0)
    elector.set_eligible(True, 100.0)
    assert elector.next_write(100.0) is not None
    elector.write_succeeded(replace(base, resource_version="2"), 100.0, 100.0)
    assert elector.state is State.HOLDING
    return elector


def test_the_window_after_the_start_counts_for_leases_that_were_never_held() -> None:
    first, second, third = order()
    for node, rank in ((first, 0), (second, 1), (third, 2)):
        mine = turns(node)
        assert (mine.patience(NAME), mine.not_before(NAME)) == (rank * RANK_STEP, NEVER)
        mine.ready(100.0)
        mine.ready(999.0)
        assert mine.not_before(NAME) == (100.0 + START_SPREAD + rank * RANK_STEP if rank else NEVER)
    known = seen(lease("n9"))
    known.lease_observed(NAME, lease("", version="2"), 101.0)
    mine = turns(third, known)
    mine.ready(100.0)
    assert mine.not_before(NAME) == NEVER


def test_a_reserved_lease_is_its_successors_for_a_retry_period() -> None:
    first, second, third = order()
    known = seen(replace(lease(""), annotations={RESERVED_FOR: third}))
    assert (turns(third, known).patience(NAME), turns(third, known).not_before(NAME)) == (0.0, NEVER)
    for node in (first, second):
        assert turns(node, known).not_before(NAME) == 100.0 + TIMING.retry_period


def test_who_gave_a_lease_away_waits_and_is_not_waited_for() -> None:
    first, second, third = order()
    known = seen(replace(lease(""), annotations={MOVED_FROM: first}))
    assert turns(first, known).not_before(NAME) == 100.0 + TIMING.retry_period
    assert [turns(node, known).patience(NAME) for node in (second, third)] == [0.0, RANK_STEP]


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        ("n2", None),
        (ANYBODY, None),
        ("n1", "n1 holds it already"),
        ("n9", "'n9' is no candidate for it"),
        ("n3", "n3 is drained"),
    ],
)
def test_a_wish_is_granted_or_refused_with_the_reason(target: str, refusal: str | None) -> None:
    mine = turns("n1", seen(lease("", DRAIN_PREFIX + "n3")))
    elector = holding("n1", replace(lease("n1"), annotations={MOVE_TO: target}))
    assert (mine.wish(elector), mine.refusal(elector), mine.gives_away(elector)) == (target, refusal, refusal is None)
    words = {"n2": {RESERVED_FOR: "n2"}, ANYBODY: {MOVED_FROM: "n1"}}
    assert mine.parting_words(elector) == words.get(target, {})


def test_nobody_else_and_no_right() -> None:
    drained = turns("n1", seen(lease("", DRAIN_PREFIX + "n2"), lease("", DRAIN_PREFIX + "n3"), lease("", DRAIN_PREFIX + "n1")))
    elector = holding("n1", replace(lease("n1"), annotations={MOVE_TO: ANYBODY}))
    assert drained.refusal(elector) == "no other node may hold it"
    assert drained.parting_words(elector) == {MOVED_FROM: "n1"}
    assert drained.wish(None) is drained.refusal(None) is None
    assert turns("n1").wish(LeaseElector(NAME, "n1", TIMING)) is None


def test_drained_nodes_come_last_until_they_are_not() -> None:
    first, second, third = order()
    known = seen(lease("", DRAIN_PREFIX + first))
    mine = turns(second, known)
    assert mine.plan.orders[NAME][-1] == first
    known.lease_observed(DRAIN_PREFIX + first, None, 101.0)
    mine.look_again()
    assert mine.plan.orders[NAME] == (first, second, third)


def test_preferred_nodes_are_read() -> None:
    assert turns("n1", preferred_nodes=" n3, n2,,n3", preempt="true").preferences == {NAME: Preference(("n3", "n2"), preempt=True)}
    assert turns("n1", preferred_nodes="n3,n9").plan.orders[NAME][0] == "n3"
    assert turns("n1", preferred_nodes=" ,").preferences == {}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (PREFERRED_NODES_ANNOTATION, " ,", "names no node"),
        (PREFERRED_NODES_ANNOTATION, "n1,n9", "'n9': no such node; the others count"),
        (PREEMPT_ANNOTATION, "yes", "'yes' counts as false"),
    ],
)
def test_bad_preferences_are_told(key: str, value: str, words: str) -> None:
    (problem,) = preference_problems(state(**{key.partition("/")[2].replace("-", "_"): value}))
    assert problem.subject == f"service/{KEYS[0]}"
    assert key in problem.message
    assert words in problem.message
    assert not preference_problems(state(preferred_nodes="n1, n2", preempt="false"))


def following(node: str, known: ObservedLeases) -> dict[str, LeaseElector]:
    electors = {}
    for name in NAMES:
        elector = electors[name] = LeaseElector(name, node, TIMING)
        known.replay(elector, 100.0)
        elector.set_eligible(True, 100.0, patience=100.0)
    return electors


@pytest.mark.parametrize(("node", "holder", "asks"), [("n2", "n3", True), ("n2", "n1", False), ("n1", "n2", True), ("n3", "n1", False)])
def test_a_preferred_node_asks_after_the_hold_down(node: str, holder: str, asks: bool) -> None:
    known = seen(lease(holder))
    pulls = Pulls(node, 0.0, known, turns(node, known, preferred_nodes="n1,n2", preempt="true"))
    electors = following(node, known)
    assert pulls.next_timer() == FOREVER
    assert pulls.next_requests(electors, 100.0) == []
    assert pulls.next_timer() == (FOREVER if node == "n3" else 100.0 + HOLD_DOWN)
    known.lease_observed(NAME, lease(holder, version="2"), 125.0)
    wanted = pulls.next_requests(electors, 100.0 + HOLD_DOWN)
    assert [(write.verb, write.name, write.holder_identity, write.annotations) for write in wanted] == (
        [(Verb.ANNOTATE, NAME, holder, {MOVE_TO: node})] if asks else []
    )
    assert pulls.next_requests(electors, 100.0 + HOLD_DOWN) == []
    assert pulls.next_requests({}, 100.0 + HOLD_DOWN) == []
    assert pulls.next_timer() == FOREVER


@pytest.mark.parametrize(("mine", "theirs", "others", "asks"), [(2, 4, 3, True), (3, 4, 2, False), (0, 5, 4, True), (3, 3, 3, False)])
def test_only_the_least_loaded_asks_the_most_loaded(mine: int, theirs: int, others: int, asks: bool) -> None:
    holders = ["n1"] * mine + ["n2"] * theirs + ["n3"] * others
    known = seen(*(lease(holder, name) for name, holder in zip(NAMES, holders, strict=True)))
    pulls = Pulls("n1", 10.0, known, turns("n1", known))
    electors = following("n1", known)
    assert pulls.next_requests(electors, 100.0) == []
    assert pulls.next_timer() == 100.0 + HOLD_DOWN
    assert pulls.next_requests(electors, 120.0) == []
    for name, holder in zip(NAMES, holders, strict=True):
        known.lease_observed(name, lease(holder, name, "2"), 125.0)
    wanted = pulls.next_requests(electors, 100.0 + HOLD_DOWN)
    assert [write.holder_identity for write in wanted] == (["n2"] if asks else [])
    assert pulls.next_timer() == 110.0 + HOLD_DOWN


def test_a_wish_that_stands_is_not_written_over() -> None:
    known = seen(replace(lease("n3"), annotations={MOVE_TO: "n1"}))
    pulls = Pulls("n2", 0.0, known, turns("n2", known, preferred_nodes="n2", preempt="true"))
    electors = following("n2", known)
    pulls.next_requests(electors, 80.0)
    assert pulls.next_requests(electors, 80.0 + HOLD_DOWN) == []


def test_rebalancing_does_not_begin_before_there_is_something() -> None:
    pulls = Pulls("n1", 10.0, ObservedLeases(), turns("n1"))
    assert pulls.next_requests({}, 100.0) == []
    assert pulls.next_timer() == FOREVER
