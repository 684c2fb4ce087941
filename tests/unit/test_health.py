"""The health of nodes: what their objects tell, how grave it is, and from when it counts."""

from dataclasses import replace

import pytest

from l2announce.control.blocker import Blocker
from l2announce.control.health import EXCLUDE_LABEL, Gravity, NodeHealth, gravities, gravity
from l2announce.errors import ConfigurationError
from l2announce.model.eligibility import MAX_NODE_GRACE, EligibilitySettings
from l2announce.model.objects import ClusterState, Node

N1 = Node("n1")
BAD = replace(N1, ready="False")
STRICT = EligibilitySettings(node_grace=10, on_cordon="withdraw", on_exclude_label="withdraw")


@pytest.mark.parametrize(
    ("node", "by_default", "strict"),
    [
        (N1, Gravity.NONE, Gravity.NONE),
        (replace(N1, ready="True"), Gravity.NONE, Gravity.NONE),
        (BAD, Gravity.UNHEALTHY, Gravity.UNHEALTHY),
        (replace(N1, ready="Unknown"), Gravity.UNHEALTHY, Gravity.UNHEALTHY),
        (replace(N1, ready="True", network_unavailable=True), Gravity.UNHEALTHY, Gravity.UNHEALTHY),
        (replace(N1, unschedulable=True), Gravity.NONE, Gravity.SET_ASIDE),
        (replace(N1, labels={EXCLUDE_LABEL: "false"}), Gravity.NONE, Gravity.SET_ASIDE),
        (replace(BAD, unschedulable=True), Gravity.UNHEALTHY, Gravity.UNHEALTHY),
        (replace(N1, out_of_service=True), Gravity.GONE, Gravity.GONE),
        (replace(BAD, deleting=True), Gravity.GONE, Gravity.GONE),
    ],
)
def test_gravity(node: Node, by_default: Gravity, strict: Gravity) -> None:
    assert gravity(node, EligibilitySettings()) is by_default
    assert gravity(node, STRICT) is strict
    expected = {"n1": by_default} if by_default else {}
    assert gravities(ClusterState({"n1": node}), EligibilitySettings()) == expected


@pytest.mark.parametrize("grace", [-0.1, MAX_NODE_GRACE + 1, float("nan")])
def test_a_grace_period_has_bounds(grace: float) -> None:
    with pytest.raises(ConfigurationError, match="--node-grace"):
        EligibilitySettings(node_grace=grace)


def test_conditions_count_after_the_grace_period() -> None:
    health = NodeHealth(STRICT)
    health.replace_nodes({"n1": BAD}, 100.0)
    assert (health.gravity("n1", 109.9), health.blocker("n1", 109.9), health.in_doubt("n1", 109.9)) == (Gravity.NONE, None, True)
    assert health.next_timer() == 110.0
    assert not health.handle_timer(109.9)
    assert health.handle_timer(110.0)
    assert (health.next_timer(), health.handle_timer(111.0)) == (None, False)
    assert (health.gravity("n1", 110.0), health.blocker("n1", 110.0)) == (Gravity.UNHEALTHY, Blocker.NODE_UNHEALTHY)
    assert not health.in_doubt("n1", 110.0)


def test_another_bad_condition_does_not_begin_anew() -> None:
    health = NodeHealth(STRICT)
    health.replace_nodes({"n1": BAD}, 100.0)
    health.replace_nodes({"n1": replace(N1, ready="True", network_unavailable=True)}, 105.0)
    assert health.next_timer() == 110.0
    health.replace_nodes({"n1": replace(BAD, ready="Unknown")}, 112.0)
    assert (health.next_timer(), health.gravity("n1", 112.0)) == (None, Gravity.UNHEALTHY)


def test_a_node_that_was_well_meanwhile_begins_anew() -> None:
    health = NodeHealth(STRICT)
    health.replace_nodes({"n1": BAD}, 100.0)
    health.replace_nodes({"n1": N1}, 105.0)
    assert (health.next_timer(), health.in_doubt("n1", 105.0)) == (None, False)
    health.replace_nodes({"n1": BAD}, 106.0)
    assert health.next_timer() == 116.0
    health.replace_nodes({}, 107.0)
    assert (health.next_timer(), health.gravity("n1", 120.0), health.blocker("n1", 120.0)) == (None, Gravity.NONE, None)


def test_without_grace_a_condition_counts_at_once() -> None:
    health = NodeHealth(EligibilitySettings(node_grace=0))
    health.replace_nodes({"n1": BAD}, 100.0)
    assert (health.next_timer(), health.gravity("n1", 100.0), health.in_doubt("n1", 100.0)) == (None, Gravity.UNHEALTHY, False)


def test_what_is_decided_counts_at_once_also_within_the_grace_period() -> None:
    health = NodeHealth(STRICT)
    health.replace_nodes({"n1": replace(BAD, unschedulable=True), "n2": replace(BAD, out_of_service=True)}, 100.0)
    assert health.blocker("n1", 100.0) is Blocker.CORDONED
    assert health.blocker("n1", 110.0) is Blocker.NODE_UNHEALTHY
    assert health.blocker("n2", 100.0) is Blocker.NODE_UNHEALTHY


def test_the_word_of_a_node_that_is_set_aside() -> None:
    health = NodeHealth(STRICT)
    labelled = replace(N1, labels={EXCLUDE_LABEL: ""})
    health.replace_nodes({"n1": labelled, "n2": replace(labelled, unschedulable=True)}, 100.0)
    assert health.blocker("n1", 100.0) is Blocker.EXCLUDED
    assert health.blocker("n2", 100.0) is Blocker.CORDONED


def test_the_word_is_of_what_is_honoured() -> None:
    """A cordon that is not honoured is not the reason."""
    health = NodeHealth(EligibilitySettings(on_exclude_label="withdraw"))
    health.replace_nodes({"n1": replace(N1, labels={EXCLUDE_LABEL: ""}, unschedulable=True)}, 100.0)
    assert health.blocker("n1", 100.0) is Blocker.EXCLUDED
