"""coordination.k8s.io/v1 Leases, the writes that an elector wants, and what can come of a write."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from l2announce.model.names import is_name

INTERFACES_ANNOTATION = "l2announce.io/interfaces"
"""On a held lease: ``interface=MAC`` pairs, separated by commas, on which the holder announces."""

FOLLOWS_ANNOTATION = "l2announce.io/follows"
"""On the held lease of a Service that shares an address: the name of the lease that decides for it. Its holder's right is that lease's."""

MOVE_TO = "l2announce.io/move-to"
"""On a held lease: the node that it is to be handed to, or ANYBODY else."""

RESERVED_FOR = "l2announce.io/reserved-for"
"""On a released lease: the node that shall take it; the others leave it alone for a retry period."""

MOVED_FROM = "l2announce.io/moved-from"
"""On a released lease: the node that gave it away, and leaves it alone for a retry period."""

ANYBODY = "*"

DRAIN_PREFIX = "l2announce-drain."
"""A Lease of this name with a node's behind it: while it exists the node holds nothing."""

LEASE_MODE_ANNOTATION = "l2announce.io/lease-mode"
"""On a Service's Lease with the value ``node``: valid while the heartbeat Lease of its holder is, not while it is renewed itself."""

NODE_MODE = "node"
HEARTBEAT_PREFIX = "l2announce-node."
"""Before a node's name in the name of its heartbeat Lease."""

STATUS_LEASE = "l2announce-status"
"""The Lease of the one agent that writes the status of policies."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A Lease as the store returned it. ``holder_identity`` "" means released. Times are RFC 3339 MicroTime texts, written for people and
    other clients: no decision here compares them. ``resource_version`` is opaque. ``uid`` is the server's name for this life of the lease:
    the Kubernetes API creates a lease that a replacement without it does not find."""

    name: str
    holder_identity: str
    lease_duration: float
    resource_version: str
    acquire_time: str = ""
    renew_time: str = ""
    lease_transitions: int = 0
    annotations: dict[str, str] = field(default_factory=dict)
    uid: str = ""

    @property
    def follows_heartbeat(self) -> bool:
        """A Service's Lease that is held, and valid as long as the heartbeat of its holder. Not where there can be no such heartbeat, nor
        where somebody put the annotation on a Lease that is no Service's: those are valid by themselves."""
        return (
            self.annotations.get(LEASE_MODE_ANNOTATION) == NODE_MODE
            and bool(self.holder_identity)
            and not self.name.startswith((HEARTBEAT_PREFIX, DRAIN_PREFIX, STATUS_LEASE))
            and is_name(HEARTBEAT_PREFIX + self.holder_identity)
        )


class Verb(Enum):
    """Why a lease is written."""

    ACQUIRE = "acquire"
    RENEW = "renew"
    RELEASE = "release"
    ANNOTATE = "annotate"
    """Change nothing but the annotations; for those who do not hold it."""


@dataclass(frozen=True, slots=True)
class LeaseWrite:
    """One compare-and-swap: create the lease when ``base`` is None, else replace exactly the version ``base``.

    The store stamps the wall clock: ``acquire_time`` on ACQUIRE by a new holder, kept on RENEW; ``renew_time`` always. Transitions, as
    client-go counts them: 0 on creation, plus 1 when the holder changes to another identity, unchanged on release.
    A release writes holder_identity "" and a lease duration of 1 s. ``annotations`` replace those of the lease.
    """

    verb: Verb
    name: str
    holder_identity: str
    lease_duration: float
    base: Lease | None
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """The store accepted the write and now holds ``lease``."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else wrote first; nothing was written. ``current`` is what the store holds now, None when it does not say or has none."""

    current: Lease | None = None


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No answer in time, or a refusal: the write may or may not have happened. ``reason`` is one sentence for people."""

    reason: str


WriteOutcome: TypeAlias = Written | Conflict | Unreachable
