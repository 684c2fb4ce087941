"""What the status of a policy says, and how it follows what it said."""

from ipaddress import IPv4Address

from l2announce.control.conditions import ACCEPTED, READY, chosen_services, merged, policy_conditions
from l2announce.control.policy import BAD_INTERFACE_REGEX, BAD_NODE_SELECTOR
from l2announce.model.conditions import Condition
from l2announce.model.objects import AnnouncementPolicy, ClusterState, LabelSelector, NamespacedName, Requirement, Service
from l2announce.wire.conditions import condition_documents, decode_conditions, encode_policy_status

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
KEYS = tuple(NamespacedName("shop", name) for name in "abcde")
GOOD = AnnouncementPolicy("good", generation=4, load_balancer_ips=True)
BAD_OPERATOR = LabelSelector(match_expressions=(Requirement("a", "Near", ("b",)),))


def state(*policies: AnnouncementPolicy) -> ClusterState:
    services = {key: Service(key, type="LoadBalancer", load_balancer_ips=(IPv4Address(f"192.0.2.{at}"),)) for at, key in enumerate(KEYS, 1)}
    services |= {(key := NamespacedName("shop", "none")): Service(key, type="LoadBalancer")}
    return ClusterState(services=services, policies={policy.name: policy for policy in policies})


def conditions(policy: AnnouncementPolicy, *announced: NamespacedName) -> dict[str, Condition]:
    found = state(policy)
    return {each.type: each for each in policy_conditions(found, chosen_services(found), announced)[policy.name]}


class TestWhatIsSo:
    def test_a_good_policy_whose_services_are_all_announced(self) -> None:
        assert conditions(GOOD, *KEYS) == {
            ACCEPTED: Condition(ACCEPTED, "True", "Valid", "", 4),
            READY: Condition(READY, "True", "Announced", "5 of 5 Services announced", 4),
        }

    def test_those_that_nobody_announces_are_named(self) -> None:
        ready = conditions(GOOD, KEYS[0], KEYS[4])[READY]
        assert (ready.status, ready.reason) == ("False", "NotAnnounced")
        assert ready.message == "2 of 5 Services announced; not shop/b, shop/c, shop/d: see l2announce explain"
        assert "not shop/a, shop/b, shop/c and 2 more:" in conditions(GOOD)[READY].message

    def test_a_policy_that_chooses_nothing(self) -> None:
        ready = conditions(AnnouncementPolicy("externals", external_ips=True))[READY]
        assert (ready.status, ready.reason) == ("False", "NothingSelected")

    def test_what_is_wrong_has_the_type_that_cilium_gives_it(self) -> None:
        wrong = AnnouncementPolicy("wrong", 7, node_selector=BAD_OPERATOR, interfaces=("[", "eth0", "("), load_balancer_ips=True)
        found = conditions(wrong, *KEYS)
        assert found.keys() == {ACCEPTED, READY, BAD_INTERFACE_REGEX, BAD_NODE_SELECTOR}
        for kind in (BAD_INTERFACE_REGEX, BAD_NODE_SELECTOR):
            assert (found[kind].status, found[kind].reason, found[kind].observed_generation) == ("True", "error", 7)
            assert found[kind].message in found[ACCEPTED].message
        assert found[BAD_INTERFACE_REGEX].message.count("spec.interfaces[") == 2
        assert (found[ACCEPTED].status, found[ACCEPTED].reason) == ("False", "Invalid")
        assert found[READY].reason == "NothingSelected", "a bad selector selects nothing"


class TestWhatFollows:
    def test_the_time_is_that_of_the_last_change_of_the_status(self) -> None:
        first = merged((), (Condition("b", "True", "X", "one"), Condition("a", "False", "Y", "")), NOW)
        assert [(each.type, each.last_transition_time) for each in first] == [("a", NOW), ("b", NOW)]
        again = merged(first, (Condition("b", "True", "X", "two", 9), Condition("a", "True", "Y", "")), LATER)
        assert [(each.type, each.last_transition_time) for each in again] == [("a", LATER), ("b", NOW)]
        assert again[1].message == "two"
        assert merged(again, again, "much later") == again

    def test_what_was_wrong_and_is_not_is_false_as_cilium_has_it(self) -> None:
        wrong = merged((), (Condition(BAD_NODE_SELECTOR, "True", "error", "words", 3),), NOW)
        healed = merged(wrong, (Condition(ACCEPTED, "True", "Valid", "", 4),), LATER)
        assert healed[1] == Condition(BAD_NODE_SELECTOR, "False", "error", "", 4, LATER)
        assert merged(healed, (Condition(ACCEPTED, "True", "Valid", "", 5),), "much later")[1].last_transition_time == LATER

    def test_what_others_wrote_is_theirs(self) -> None:
        assert merged((Condition("example.com/Other", "True", "Theirs", "", 1, NOW),), (), LATER) == ()


def test_every_field_is_written() -> None:
    """The API wants a message, also an empty one."""
    document = condition_documents((Condition("a", "True", "X", "", 0, NOW),))
    assert document == [{"type": "a", "status": "True", "reason": "X", "message": "", "observedGeneration": 0, "lastTransitionTime": NOW}]
    assert b'"message":""' in encode_policy_status("v2", "l2", (Condition("a", "True", "X", "", 0, NOW),))
    assert decode_conditions(None) == ()


def test_problems_of_one_policy_are_not_anothers() -> None:
    found = state(GOOD, AnnouncementPolicy("wrong", 1, interfaces=("[",), load_balancer_ips=True))
    conditions_of = policy_conditions(found, chosen_services(found), KEYS)
    assert [each.status for each in conditions_of["good"]] == ["True", "True"]
    assert conditions_of["wrong"][0].status == "False"
