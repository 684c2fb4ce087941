"""What the status of each policy says: Cilium's conditions, and whether the policy is accepted and its Services announced.

Made of what one node knows. Writes nothing; who writes it is another's matter, as is the time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from l2announce.control.policy import (
    BAD_INTERFACE_REGEX,
    BAD_NODE_SELECTOR,
    BAD_SERVICE_SELECTOR,
    check_policies,
    matching_policies,
)
from l2announce.control.services import Reason, announceable, is_of_interest
from l2announce.model.conditions import Condition
from l2announce.model.objects import AnnouncementPolicy, ClusterState, NamespacedName, ObjectProblem

ACCEPTED = "Accepted"
READY = "Ready"
CILIUM_TYPES = (BAD_INTERFACE_REGEX, BAD_NODE_SELECTOR, BAD_SERVICE_SELECTOR)
CILIUM_REASON = "error"
"""The reason of each of Cilium's own conditions, true or false."""
NAMED = 3
"""Services that a message names at most."""


def policy_conditions(
    state: ClusterState, chosen: Mapping[str, Sequence[NamespacedName]], announced: Collection[NamespacedName]
) -> dict[str, tuple[Condition, ...]]:
    """The conditions of every policy by its name. ``chosen``: as ``chosen_services`` has them; ``announced``: the Services that some node
    holds the lease of.

    Accepted: False with the reason Invalid while an expression or a selector of it is bad. Ready: True with the reason Announced when every
    Service that it chooses an address of is announced; False with NotAnnounced, or NothingSelected when there is none. Cilium's own types
    are there while they are true.
    """
    checked = check_policies(state.policies.values())
    return {name: _of_policy(policy, checked.problems, chosen.get(name, ()), announced) for name, policy in state.policies.items()}


def merged(old: Iterable[Condition], wanted: Iterable[Condition], now: str) -> tuple[Condition, ...]:
    """The conditions that follow ``old``, sorted by type. The transition time changes with the status only.

    One of ours that has no cause any more becomes False without a message, as Cilium has it; what others wrote is left to them.
    """
    before = {condition.type: condition for condition in old}
    result = {condition.type: condition for condition in wanted}
    generation = max((condition.observed_generation for condition in result.values()), default=0)
    for was in before.values():
        if was.type in CILIUM_TYPES and was.type not in result:
            result[was.type] = replace(was, status="False", message="", observed_generation=generation)
    return tuple(_dated(before.get(kind), result[kind], now) for kind in sorted(result))


def _dated(was: Condition | None, condition: Condition, now: str) -> Condition:
    unmoved = was is not None and was.status == condition.status and was.last_transition_time
    return replace(condition, last_transition_time=was.last_transition_time if was is not None and unmoved else now)


def chosen_services(state: ClusterState) -> dict[str, list[NamespacedName]]:
    """The Services of which each policy chooses an address, whatever the node, by the policy's name; sorted."""
    usable = check_policies(state.policies.values()).usable
    chosen: dict[str, list[NamespacedName]] = {}
    for service in sorted(filter(is_of_interest, state.services.values()), key=lambda service: service.key):
        addresses = announceable(service)
        if not isinstance(addresses, Reason):
            for match in matching_policies(usable, service, addresses):
                if match.addresses:
                    chosen.setdefault(match.name, []).append(service.key)
    return chosen


def _of_policy(
    policy: AnnouncementPolicy, problems: Iterable[ObjectProblem], chosen: Sequence[NamespacedName], announced: Collection[NamespacedName]
) -> tuple[Condition, ...]:
    wrong: dict[str, list[str]] = {}
    for problem in problems:
        if problem.subject == f"ciliuml2announcementpolicy/{policy.name}":
            wrong.setdefault(problem.reason, []).append(problem.message)
    found = [Condition(kind, "True", CILIUM_REASON, "; ".join(texts), policy.generation) for kind, texts in sorted(wrong.items())]
    return (_accepted(policy, wrong), _ready(policy, chosen, announced), *found)


def _accepted(policy: AnnouncementPolicy, wrong: Mapping[str, Sequence[str]]) -> Condition:
    if not wrong:
        return Condition(ACCEPTED, "True", "Valid", "", policy.generation)
    return Condition(ACCEPTED, "False", "Invalid", "; ".join(text for texts in wrong.values() for text in texts), policy.generation)


def _ready(policy: AnnouncementPolicy, chosen: Sequence[NamespacedName], announced: Collection[NamespacedName]) -> Condition:
    if not chosen:
        return Condition(READY, "False", "NothingSelected", "it chooses no address of any Service", policy.generation)
    missing = [str(service) for service in chosen if service not in announced]
    message = f"{len(chosen) - len(missing)} of {len(chosen)} Services announced"
    if not missing:
        return Condition(READY, "True", "Announced", message, policy.generation)
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    message += f"; not {', '.join(missing[:NAMED])}{more}: see l2announce explain"
    return Condition(READY, "False", "NotAnnounced", message, policy.generation)
