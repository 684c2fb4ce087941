"""What LB-IPAM decides on: pools of addresses, and Services as their demand for addresses. In the API's words."""

from dataclasses import dataclass, field

from l2announce.model.address import Address
from l2announce.model.conditions import Condition
from l2announce.model.objects import LabelSelector, NamespacedName


@dataclass(frozen=True, slots=True)
class Block:
    """One entry of a pool's ``spec.blocks``, as text: ``cidr``, or ``start`` and, for more than one address, ``stop``."""

    cidr: str = ""
    start: str = ""
    stop: str = ""

    def __str__(self) -> str:
        return self.cidr or (f"{self.start} - {self.stop}" if self.stop else self.start)


@dataclass(frozen=True, slots=True)
class AddressPool:
    """CiliumLoadBalancerIPPool. ``created`` is its creationTimestamp, RFC 3339, which sorts. A selector of None selects every Service."""

    name: str
    blocks: tuple[Block, ...] = ()
    created: str = ""
    generation: int = 0
    service_selector: LabelSelector | None = None
    allow_first_last: bool = True
    disabled: bool = False
    conditions: tuple[Condition, ...] = field(default=(), compare=False)

    @property
    def age(self) -> tuple[str, str]:
        """Sorts the oldest first."""
        return self.created, self.name


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a Service; two Services that share an address have none in common."""

    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class BalancedService:
    """A Service, as far as its addresses go.

    ``families`` are IP versions, as ``ipFamilies`` lists them; ``family_policy`` is SingleStack, PreferDualStack, RequireDualStack or "".
    ``requested`` are the addresses that annotation and ``loadBalancerIP`` ask for, ``unreadable`` what of them is no address.
    ``pools`` are those that an annotation names, "" for any. ``shares_with`` are namespaces, or ``*``. ``pod_selector`` is None without
    one. ``ingress`` are the addresses in the status, in order; ``strays`` tells of ingress entries that are no addresses; ``condition`` is
    ours in the status, ``conditions`` are all of them.
    """

    key: NamespacedName
    uid: str = ""
    created: str = ""
    generation: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    type: str = "LoadBalancer"
    load_balancer_class: str | None = None
    families: tuple[int, ...] = ()
    family_policy: str = ""
    requested: tuple[Address, ...] = ()
    unreadable: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    sharing_key: str = ""
    shares_with: frozenset[str] = frozenset()
    shares_across_pods: bool = False
    ports: frozenset[Port] = frozenset()
    traffic_policy: str = "Cluster"
    pod_selector: tuple[tuple[str, str], ...] | None = None
    ingress: tuple[Address, ...] = ()
    strays: bool = False
    condition: Condition | None = None
    conditions: tuple[Condition, ...] = field(default=(), compare=False)
    version: str = field(default="", compare=False)
    """The resourceVersion, of which a write says that it is about this one. No part of the demand."""

    @property
    def age(self) -> tuple[str, NamespacedName]:
        """Sorts the oldest first; ties by name."""
        return self.created, self.key
