"""Who owns the addresses of a Service, and for each other node one reason why it does not: the answer to ``l2announce explain``."""

from l2announce.agent.conflicts import Conflicts
from l2announce.agent.status import AnswerRecords, node_status
from l2announce.control.controller import Controller
from l2announce.control.explain import refusal_by_objects
from l2announce.model.address import Instant
from l2announce.model.objects import NamespacedName
from l2announce.model.status import Explanation, NodeReason, ServiceStatus

ANNOUNCES = "Announces"
CONFLICT = "Conflict"
UNKNOWN = "Unknown"


def explain(controller: Controller, records: AnswerRecords, conflicts: Conflicts, service: NamespacedName, now: Instant) -> Explanation:
    """What this node sees of ``service``, and a reason for every Node of the cluster."""
    state = controller.picture.cluster
    known = state.services.get(service)
    if known is None:
        return Explanation(controller.node_name, refused=f"{service}: no such Service, as far as node {controller.node_name} knows")
    status = node_status(controller, records, now, conflicts)
    found = next((each for each in status.services if each.service == str(service)), None)
    here = found or ServiceStatus(str(service), reason="NoAddress")
    reasons = [NodeReason(controller.node_name, own_reason(here), seen=True)]
    for name in state.nodes.keys() - {controller.node_name}:
        why = refusal_by_objects(state, name, known) or (
            controller.eligibility.blocker_of_node(here.lease, name, now) if here.lease else None
        )
        reasons.append(NodeReason(name, why.value if why else _reason_elsewhere(name, here.holder)))
    return Explanation(controller.node_name, here, tuple(sorted(reasons, key=lambda each: each.node)))


def own_reason(service: ServiceStatus) -> str:
    """The word for this node itself. What is held back everywhere because of strangers is not announced, whoever has the lease."""
    if not service.announced:
        return service.reason
    wanted = [address for address in service.addresses if address.interfaces]
    held_back = [
        address
        for address in wanted
        if set(address.interfaces) <= {conflict.interface for conflict in address.conflicts if conflict.held_back}
    ]
    return CONFLICT if wanted and held_back == wanted else ANNOUNCES


def _reason_elsewhere(node: str, holder: str | None) -> str:
    if holder is None:
        return UNKNOWN
    return ANNOUNCES if node == holder else f"HeldBy={holder}"
