"""Kubernetes and Cilium objects: only the fields that l2announce decides on, in the API's words."""

from dataclasses import dataclass, field
from typing import NamedTuple

from l2announce.model.address import Address
from l2announce.model.conditions import Condition


class NamespacedName(NamedTuple):
    """The key of a namespaced object; sorts by namespace, then name; prints as ``namespace/name``."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One matchExpressions entry. ``operator`` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """metav1.LabelSelector: all of ``match_labels`` and all of ``match_expressions`` must hold. Empty selects everything."""

    match_labels: tuple[tuple[str, str], ...] = ()
    match_expressions: tuple[Requirement, ...] = ()


@dataclass(frozen=True, slots=True)
class AnnouncementPolicy:
    """CiliumL2AnnouncementPolicy. A selector of None selects everything, as an empty one does."""

    name: str
    generation: int = 0
    service_selector: LabelSelector | None = None
    node_selector: LabelSelector | None = None
    interfaces: tuple[str, ...] = ()
    external_ips: bool = False
    load_balancer_ips: bool = False
    conditions: tuple[Condition, ...] = field(default=(), compare=False)
    """Of its status. No part of the policy: one that differs in them alone is the same."""


@dataclass(frozen=True, slots=True)
class Service:
    """A core/v1 Service. ``load_balancer_ips`` are those of status.loadBalancer.ingress that parse and whose ipMode is VIP or absent."""

    key: NamespacedName
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    type: str = "ClusterIP"
    load_balancer_class: str | None = None
    external_ips: tuple[Address, ...] = ()
    load_balancer_ips: tuple[Address, ...] = ()
    headless: bool = False
    has_ports: bool = True
    external_traffic_policy: str = "Cluster"
    has_proxied_ips: bool = False
    """Whether status.loadBalancer.ingress has IPs of ipMode Proxy, which are another's to announce."""
    uid: str = ""
    """The server's name for this life of the Service; "" where there is no server."""
    pools: dict[Address, str] = field(default_factory=dict)
    """The pool of each load balancer address, where the status tells it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of an EndpointSlice. ``node_name`` None: the slice does not say where it runs."""

    service: NamespacedName
    node_name: str | None
    ready: bool = True
    serving: bool = True
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A core/v1 Node. ``addresses`` are those of status.addresses of type InternalIP or ExternalIP.

    ``ready`` is the status of the condition Ready: ``True``, ``False``, ``Unknown``, or "" where nobody maintains it. ``out_of_service`` is
    the taint node.kubernetes.io/out-of-service, ``unschedulable`` the cordon; ``deleting``: it has a deletion timestamp.
    """

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()
    ready: str = ""
    network_unavailable: bool = False
    out_of_service: bool = False
    unschedulable: bool = False
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class ObjectProblem:
    """Something wrong with an object or a file that the program can live with: ``subject`` names it (``kind/namespace/name`` or
    ``path:line``), ``reason`` is one CamelCase word, ``message`` says what is wrong and what to do."""

    subject: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ClusterState:
    """Everything the decisions need from the cluster, whole, at one moment. ``api_servers`` are the addresses at which it is reached."""

    nodes: dict[str, Node] = field(default_factory=dict)
    services: dict[NamespacedName, Service] = field(default_factory=dict)
    endpoints: tuple[Endpoint, ...] = ()
    policies: dict[str, AnnouncementPolicy] = field(default_factory=dict)
    problems: tuple[ObjectProblem, ...] = ()
    api_servers: frozenset[Address] = frozenset()
