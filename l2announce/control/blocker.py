"""Why a node may not hold a lease although policies select its Services there: a closed list, for status and logs."""

from enum import Enum


class Blocker(Enum):
    """The first that applies is told, in this order."""

    STOPPING = "Stopping"
    """The agent was told to end."""
    NOT_READY = "NotReady"
    """The agent has not yet seen the cluster, the leases, the interfaces and its responder."""
    GATE_CLOSED = "GateClosed"
    """The responder does not report, or does not obey, so this node would not answer."""
    NO_CARRIER = "NoCarrier"
    """No interface that the policies choose has carrier."""
    MEMBER_HELD_ELSEWHERE = "MemberHeldElsewhere"
    """Another node still holds the lease of a Service that shares an address with the deciding one."""
    MOVING = "Moving"
    """Somebody asked for it to be handed over."""
    DRAINED = "Drained"
    """The node is drained: ``l2announce drain --undo`` ends that."""
