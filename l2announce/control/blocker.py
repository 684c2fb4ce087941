"""Why a node may not hold a lease although policies select its Services there: a closed list, for status and logs."""

from enum import Enum


class Blocker(Enum):
    """The first that applies is told, in this order."""

    STOPPING = "Stopping"
    """The agent was told to end."""
    NOT_READY = "NotReady"
    """The agent has not yet seen the cluster, the leases and the interfaces."""
    RESPONDER_NOT_ANSWERING = "ResponderNotAnswering"
    """The responder does not report, or does not obey, so this node would not answer."""
    NO_CARRIER = "NoCarrier"
    """No interface that the policies choose has carrier."""
    NO_LOCAL_ENDPOINT = "NoLocalEndpoint"
    """Of the Services of externalTrafficPolicy Local that share the lease, other nodes can serve all, or at least one; this node cannot."""
    NODE_UNHEALTHY = "NodeUnhealthy"
    """The Node's Ready condition is False or Unknown, or NetworkUnavailable is True, beyond the grace period; or it is out of service by
    taint, or being deleted. And another candidate is better off."""
    CORDONED = "Cordoned"
    """The Node is unschedulable, which is honoured by a flag, and another candidate is better off."""
    EXCLUDED = "Excluded"
    """The Node's label excludes it from external load balancers, which is honoured by a flag, and another candidate is better off."""
    NO_SUBNET = "NoSubnet"
    """An address lies in no connected subnet of the interfaces that announce it, which is required by a flag."""
    MEMBER_HELD_ELSEWHERE = "MemberHeldElsewhere"
    """Another node still holds the lease of a Service that shares an address with the deciding one."""
    MOVING = "Moving"
    """Somebody asked for it to be handed over."""
    DRAINED = "Drained"
    """The node is drained: ``l2announce drain --undo`` ends that."""
