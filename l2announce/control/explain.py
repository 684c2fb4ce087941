"""Why a node does not announce a Service, as far as the cluster's objects tell: for nodes other than this one.

What only that node knows (its interfaces, its responder, what it guards) is not here; its health and its endpoints are in eligibility.py,
selection itself is in policy.py.
"""

from l2announce.control.policy import check_policies, matching_policies
from l2announce.control.services import Announceable, Reason, announceable, node_exposure
from l2announce.model.objects import ClusterState, Service
from l2announce.model.selector import matches


def refusal_by_objects(state: ClusterState, node_name: str, service: Service) -> Reason | None:
    """The first reason in the order of ``Reason``; None when the objects mean the node to be a candidate."""
    addresses = announceable(service)
    if not isinstance(addresses, Announceable):
        return addresses
    if (node := state.nodes.get(node_name)) is None:
        return Reason.NODE_UNKNOWN
    usable = check_policies(state.policies.values()).usable
    matched = matching_policies(usable, service, addresses)
    choosing = {match.name for match in matched if match.addresses}
    if not choosing:
        return Reason.ADDRESS_KIND if matched else Reason.NO_POLICY
    if not any(matches(each.policy.node_selector, node.labels) for each in usable if each.policy.name in choosing):
        return Reason.NODE_SELECTOR
    try:
        meant = matches(node_exposure(service), node.labels)
    except ValueError:
        meant = False
    if not meant:
        return Reason.NOT_FOR_THIS_NODE
    return None
