"""Who owns the addresses of a Service, and for each other node one reason why it does not: the answer to ``l2announce explain``."""

from l2announce.agent.conflicts import Conflicts
from l2announce.agent.status import API_UNREACHABLE, AnswerRecords, node_status
from l2announce.control.controller import Controller
from l2announce.control.explain import refusal_by_objects
from l2announce.model.address import Instant
from l2announce.model.objects import NamespacedName
from l2announce.model.status import Explanation, NodeReason, ServiceStatus

ANNOUNCES = "Announces"
UNKNOWN = "Unknown"


def explain(
    controller: Controller, records: AnswerRecords, conflicts: Conflicts, service: NamespacedName, now: Instant, trouble: str = ""
) -> Explanation:
    """What this node sees of ``service``, and a reason for every Node of the cluster. ``trouble``: why it cannot reach the leases."""
    state = controller.picture.cluster
    known = state.services.get(service)
    if known is None:
        cause = f"; {API_UNREACHABLE}: {trouble}" if trouble else ""
        return Explanation(controller.node_name, refused=f"{service}: no such Service, as far as node {controller.node_name} knows{cause}")
    status = node_status(controller, records, now, conflicts, trouble)
    found = next((each for each in status.services if each.service == str(service)), None)
    here = found or ServiceStatus(str(service), reason="NoAddress")
    reasons = [NodeReason(controller.node_name, ANNOUNCES if here.announced else here.reason, seen=True)]
    for name in state.nodes.keys() - {controller.node_name}:
        why = refusal_by_objects(state, name, known) or (
            controller.eligibility.blocker_of_node(here.lease, name, now) if here.lease else None
        )
        reasons.append(NodeReason(name, why.value if why else _reason_elsewhere(name, here.holder)))
    return Explanation(controller.node_name, here, tuple(sorted(reasons, key=lambda each: each.node)))


def _reason_elsewhere(node: str, holder: str | None) -> str:
    if holder is None:
        return UNKNOWN
    return ANNOUNCES if node == holder else f"HeldBy={holder}"
