"""What must hold for eligibility whatever happens to nodes and endpoints: somebody may hold each lease, and order does not matter."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from l2announce.control.eligibility import Eligibility, fit
from l2announce.control.groups import Group
from l2announce.control.health import EXCLUDE_LABEL
from l2announce.model.eligibility import EligibilitySettings
from l2announce.model.objects import ClusterState, Endpoint, NamespacedName, Node, Service

NAMES = ("n1", "n2", "n3")
SERVICES = tuple(NamespacedName("shop", name) for name in "abc")
GRACE = 10.0

nodes = st.builds(
    Node,
    st.just(""),
    st.sampled_from(({}, {EXCLUDE_LABEL: ""})),
    ready=st.sampled_from(("", "True", "False", "Unknown")),
    network_unavailable=st.booleans(),
    out_of_service=st.booleans(),
    unschedulable=st.booleans(),
    deleting=st.booleans(),
)
endpoints = st.builds(
    Endpoint, st.sampled_from(SERVICES), st.sampled_from((None, *NAMES)), st.booleans(), st.booleans(), terminating=st.booleans()
)
states = st.builds(
    lambda nodes, local, endpoints: ClusterState(
        {name: replace(node, name=name) for name, node in zip(NAMES, nodes, strict=True)},
        {
            key: Service(key, external_traffic_policy="Local" if is_local else "Cluster")
            for key, is_local in zip(SERVICES, local, strict=True)
        },
        tuple(endpoints),
    ),
    st.tuples(nodes, nodes, nodes),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.lists(endpoints, max_size=6),
)
settings = st.builds(
    EligibilitySettings,
    st.just(GRACE),
    st.sampled_from(("keep", "withdraw")),
    st.sampled_from(("keep", "withdraw")),
    st.sampled_from(("keep", "withdraw")),
)
groupings = st.sampled_from(
    (
        (Group(SERVICES, frozenset()),),
        (Group(SERVICES[:2], frozenset()), Group(SERVICES[2:], frozenset())),
        tuple(Group((service,), frozenset()) for service in SERVICES),
    )
)
candidates = st.frozensets(st.sampled_from(NAMES), min_size=1)


def judged(node: str, chosen: EligibilitySettings, groups: tuple[Group, ...], among: frozenset[str], *seen: ClusterState) -> Eligibility:
    """What a node knows that saw these states, one each second, the last one at 100.0."""
    made = Eligibility(node, chosen, handicap=2.0)
    for age, state in reversed(list(enumerate(reversed(seen)))):
        made.replace_cluster(state, {str(group.services[0]): group for group in groups}, dict.fromkeys(groups, among), 100.0 - age)
    return made


@given(states, settings, groupings, candidates, st.floats(0, 2 * GRACE))
def test_some_candidate_may_hold_each_lease(
    state: ClusterState, chosen: EligibilitySettings, groups: tuple[Group, ...], among: frozenset[str], later: float
) -> None:
    eligibility = judged("n1", chosen, groups, among, state)
    for group in groups:
        name = str(group.services[0])
        assert any(eligibility.blocker_of_node(name, node, 100.0 + later) is None for node in among)
    best = fit(state, dict.fromkeys(groups, among), chosen)
    assert all(best[group] and best[group] <= among for group in groups)


@given(states, settings, groupings, candidates)
def test_the_fit_are_those_who_may_hold_when_conditions_count(
    state: ClusterState, chosen: EligibilitySettings, groups: tuple[Group, ...], among: frozenset[str]
) -> None:
    """Placement and eligibility agree, so what is placed stays where it is."""
    eligibility = judged("n1", chosen, groups, among, state)
    best = fit(state, dict.fromkeys(groups, among), chosen)
    for group in groups:
        name = str(group.services[0])
        assert best[group] == {node for node in among if eligibility.blocker_of_node(name, node, 100.0 + GRACE) is None}


@given(st.lists(states, min_size=1, max_size=5), st.data(), settings, groupings, candidates)
def test_in_the_end_only_the_last_state_counts(
    seen: list[ClusterState], data: st.DataObject, chosen: EligibilitySettings, groups: tuple[Group, ...], among: frozenset[str]
) -> None:
    """Two nodes that saw what led to it in another order, or some of it not at all, agree once every grace period is over."""
    last = seen[-1]
    other = [*data.draw(st.permutations(seen[:-1])), replace(last, endpoints=tuple(data.draw(st.permutations(last.endpoints))))]
    views = (
        judged("n1", chosen, groups, among, *seen),
        judged("n1", chosen, groups, among, *other),
        judged("n1", chosen, groups, among, last),
    )
    assert len({view.served for view in views}) == 1
    for name in (str(group.services[0]) for group in groups):
        for node in among:
            assert len({view.blocker_of_node(name, node, 100.0 + GRACE) for view in views}) == 1


@given(st.lists(states, min_size=1, max_size=5), settings, groupings, candidates)
def test_after_the_last_timer_time_changes_nothing(
    seen: list[ClusterState], chosen: EligibilitySettings, groups: tuple[Group, ...], among: frozenset[str]
) -> None:
    """Between timers answers stay; a controller that sleeps until ``next_timer`` misses none."""
    eligibility = judged("n1", chosen, groups, among, *seen)
    now = 100.0

    def answers(at: float) -> list[object]:
        return [eligibility.blocker_of_node(str(group.services[0]), node, at) for group in groups for node in NAMES]

    while (at := eligibility.next_timer()) is not None:
        assert at > now
        assert answers((now + at) / 2) == answers(now)
        assert eligibility.handle_timer(at)
        now = at
    assert answers(now + 1000.0) == answers(now)
