"""What a Service says about the nodes it would rather be on: the annotations preferred-nodes and preempt."""

from collections.abc import Mapping
from dataclasses import dataclass

from l2announce.control.groups import Group
from l2announce.model.objects import ClusterState, NamespacedName, ObjectProblem, Service

PREFERRED_NODES_ANNOTATION = "l2announce.io/preferred-nodes"
PREEMPT_ANNOTATION = "l2announce.io/preempt"
BAD_PREFERRED_NODES = "BadPreferredNodesAnnotation"
BAD_PREEMPT = "BadPreemptAnnotation"


@dataclass(frozen=True, slots=True)
class Preference:
    """The nodes that come first, in this order; ``preempt``: move back to the best of them when it can serve again."""

    nodes: tuple[str, ...]
    preempt: bool = False


def preference_of(group: Group, services: Mapping[NamespacedName, Service]) -> Preference | None:
    """That of the first of the group's Services, in their order, that has one; names of nodes that there are not are skipped later."""
    for key in group.services:
        service = services.get(key)
        if service is not None and (nodes := _nodes(service)):
            return Preference(nodes, service.annotations.get(PREEMPT_ANNOTATION) == "true")
    return None


def preference_problems(state: ClusterState) -> tuple[ObjectProblem, ...]:
    """What is wrong with these annotations; what is right in them counts nevertheless."""
    problems = []
    for service in state.services.values():
        subject = f"service/{service.key}"
        if PREFERRED_NODES_ANNOTATION in service.annotations:
            unknown = [node for node in _nodes(service) if node not in state.nodes]
            said = (
                "names no node"
                if not _nodes(service)
                else f"{', '.join(map(repr, unknown))}: no such node; the others count"
                if unknown
                else ""
            )
            if said:
                message = f"annotation {PREFERRED_NODES_ANNOTATION}: {said}; write names of nodes, separated by commas, or remove it"
                problems.append(ObjectProblem(subject, BAD_PREFERRED_NODES, message))
        value = service.annotations.get(PREEMPT_ANNOTATION, "false")
        if value not in ("true", "false"):
            message = f'annotation {PREEMPT_ANNOTATION}: {value!r} counts as false; write "true" or "false"'
            problems.append(ObjectProblem(subject, BAD_PREEMPT, message))
    return tuple(problems)


def _nodes(service: Service) -> tuple[str, ...]:
    text = service.annotations.get(PREFERRED_NODES_ANNOTATION, "")
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
