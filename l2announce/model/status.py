"""What an agent tells people: the document behind ``l2announce status`` and ``who``. Times are seconds before, or until, its making."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ConflictStatus:
    """A stranger who claims an address of ours: whose MAC, on which interface, how often, and how long ago it did last. ``held_back``: the
    address is not announced there while the stranger answers for it."""

    interface: str
    mac: str
    count: int
    last: float
    held_back: bool = False


@dataclass(frozen=True, slots=True)
class AddressStatus:
    """One address of a Service. ``last_answer`` is how long ago this node last answered for it; None: never. ``guarded`` says why this
    node never announces it, one word; "" when it may."""

    address: str
    interfaces: tuple[str, ...] = ()
    answers: int = 0
    last_answer: float | None = None
    announcements: int = 0
    guarded: str = ""
    conflicts: tuple[ConflictStatus, ...] = ()
    pool: str = ""
    """Of which CiliumLoadBalancerIPPool it is; "" where the Service's status does not tell."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One Service as this node sees it.

    ``announced``: this node answers for it now. ``state`` is the elector's, "" when this node does not take part; ``reason`` says why this
    node does not announce it. ``macs`` are interface=MAC pairs that the holder wrote to the lease. ``since`` is the lease's acquire time.
    """

    service: str
    addresses: tuple[AddressStatus, ...] = ()
    announced: bool = False
    lease: str = ""
    holder: str | None = None
    since: str = ""
    macs: tuple[str, ...] = ()
    state: str = ""
    reason: str = ""
    deadline: float | None = None
    shares_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeReason:
    """Why one node does not announce a Service: ``reason`` is a word of a closed list, ``Announces`` where it does. ``seen``: as that node
    itself sees it; otherwise as the objects and the leases tell."""

    node: str
    reason: str
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """Who owns a Service's addresses, and why the others do not. ``asked`` is the node that tells it; ``service`` as it sees it. ``nodes``
    are all of the cluster, sorted by name. ``refused``: instead of all that, one sentence that says why there is no answer."""

    asked: str
    service: ServiceStatus | None = None
    nodes: tuple[NodeReason, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """A link as the responder sees it."""

    name: str
    mac: str
    carrier: bool


@dataclass(frozen=True, slots=True)
class ProblemStatus:
    """Something wrong with an object, with what to do about it."""

    subject: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One agent, whole. ``failover_bound``: seconds that a crash of the holder may leave an address unanswered. ``restart_bound``: seconds
    within which a control process that ended alone may be back without anybody noticing."""

    node: str
    version: str
    ready: bool
    gate_open: bool
    failover_bound: float
    restart_bound: float
    generation_sent: int
    generation_applied: int
    services: tuple[ServiceStatus, ...] = ()
    links: tuple[LinkStatus, ...] = ()
    problems: tuple[ProblemStatus, ...] = ()
    responder_problems: tuple[str, ...] = ()
    verdicts: dict[str, int] = field(default_factory=dict)
    announcements: int = 0
