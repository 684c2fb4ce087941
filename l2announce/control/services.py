"""What a Service itself says about being announced: its addresses, the nodes it is meant for, where its endpoints are.

Cilium's rules for frontends (2.1 and 2.2 of its L2 announcer). Knows nothing of policies and interfaces: those are in policy.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from l2announce.model.address import Address
from l2announce.model.objects import Endpoint, LabelSelector, NamespacedName, ObjectProblem, Service
from l2announce.model.selector import parse_selector

LOAD_BALANCER_CLASS = "io.cilium/l2-announcer"
NAMESPACE_LABEL = "io.kubernetes.service.namespace"
NAME_LABEL = "io.kubernetes.service.name"
TYPE_ANNOTATION = "service.cilium.io/type"
NODE_ANNOTATION = "service.cilium.io/node"
NODE_SELECTOR_ANNOTATION = "service.cilium.io/node-selector"

BAD_NODE_SELECTOR_ANNOTATION = "BadNodeSelectorAnnotation"
BAD_TYPE_ANNOTATION = "BadTypeAnnotation"

_EXPOSABLE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer")


class Reason(Enum):
    """Why a node does not announce a Service. The first that applies is told, in this order."""

    CLASS = "Class"
    """spec.loadBalancerClass belongs to another implementation."""
    HEADLESS = "Headless"
    NO_PORTS = "NoPorts"
    IP_MODE_PROXY = "IPModeProxy"
    """It would have no address but load balancer IPs of ipMode Proxy: traffic to them goes through the load balancer."""
    NO_ADDRESS = "NoAddress"
    """No external IP, and no load balancer IP in the status (yet), or the Service is not of type LoadBalancer."""
    TYPE_ANNOTATION = "TypeAnnotation"
    """The annotation service.cilium.io/type leaves out the load balancer IPs, and there is nothing else."""
    NODE_UNKNOWN = "NodeUnknown"
    """The cluster has no Node of this name (yet)."""
    NO_POLICY = "NoPolicy"
    """No valid policy selects the Service."""
    ADDRESS_KIND = "AddressKind"
    """Policies select the Service, but set neither externalIPs nor loadBalancerIPs for a kind of address that it has."""
    NODE_SELECTOR = "NodeSelector"
    """Policies select the Service, none of them this node."""
    NOT_FOR_THIS_NODE = "NotForThisNode"
    """The annotation service.cilium.io/node or node-selector leaves this node out."""
    NO_INTERFACE = "NoInterface"
    """No usable interface of this node is chosen by the policies."""
    NO_LOCAL_ENDPOINT = "NoLocalEndpoint"
    """externalTrafficPolicy is Local and no endpoint that takes traffic runs here."""
    GUARDED = "Guarded"
    """Every address that the policies choose is one that is never announced (see guard.py)."""


@dataclass(frozen=True, slots=True)
class Announceable:
    """The addresses of a Service that a policy may choose by its flags externalIPs and loadBalancerIPs. Not both are empty."""

    external_ips: tuple[Address, ...]
    load_balancer_ips: tuple[Address, ...]


def is_of_interest(service: Service) -> bool:
    """Whether its owner may expect it to be announced: it has an address of some kind or is of type LoadBalancer."""
    return bool(service.external_ips or service.load_balancer_ips) or service.type == "LoadBalancer"


def announceable(service: Service) -> Announceable | Reason:
    """What of the Service may be announced whatever the policies and the node, or why nothing."""
    if service.load_balancer_class not in (None, LOAD_BALANCER_CLASS):
        return Reason.CLASS
    if service.headless:
        return Reason.HEADLESS
    if not service.has_ports:
        return Reason.NO_PORTS
    load_balancer_ips = service.load_balancer_ips if service.type == "LoadBalancer" else ()
    exposed = _exposes_load_balancer(service)
    if not service.external_ips and not (load_balancer_ips and exposed):
        if load_balancer_ips:
            return Reason.TYPE_ANNOTATION
        proxied = service.type == "LoadBalancer" and service.has_proxied_ips
        return Reason.IP_MODE_PROXY if proxied else Reason.NO_ADDRESS
    return Announceable(service.external_ips, load_balancer_ips if exposed else ())


def selector_labels(service: Service) -> dict[str, str]:
    """The labels that a policy's serviceSelector sees: the special keys for namespace and name are written over user labels."""
    return {**service.labels, NAMESPACE_LABEL: service.key.namespace, NAME_LABEL: service.key.name}


def node_exposure(service: Service) -> LabelSelector | None:
    """Which nodes the Service's annotations mean it for, None for all. ``service.cilium.io/node-selector`` wins over ``.../node``,
    whose value the node's label of the same key must equal. ValueError when the former is not a label selector."""
    if (text := service.annotations.get(NODE_SELECTOR_ANNOTATION)) is not None:
        return parse_selector(text)
    if (value := service.annotations.get(NODE_ANNOTATION)) is not None:
        return LabelSelector(match_labels=((NODE_ANNOTATION, value),))
    return None


def annotation_problems(service: Service) -> tuple[ObjectProblem, ...]:
    """What is wrong with the annotations that are read here. A bad node-selector exposes the Service on no node, as in Cilium; a bad
    type is ignored."""
    problems = []
    subject = f"service/{service.key}"
    try:
        node_exposure(service)
    except ValueError as err:
        message = f"annotation {NODE_SELECTOR_ANNOTATION}: {err}; no node announces the Service until it is corrected or removed"
        problems.append(ObjectProblem(subject, BAD_NODE_SELECTOR_ANNOTATION, message))
    exposed = service.annotations.get(TYPE_ANNOTATION, "LoadBalancer")
    if exposed not in _EXPOSABLE_TYPES:
        message = f"annotation {TYPE_ANNOTATION}: {exposed!r} is ignored; use {', '.join(_EXPOSABLE_TYPES)} or remove it"
        problems.append(ObjectProblem(subject, BAD_TYPE_ANNOTATION, message))
    return tuple(problems)


def takes_traffic(endpoint: Endpoint) -> bool:
    """Whether traffic sent to the endpoint is served: it is ready, or ends but still serves, as kube-proxy uses it."""
    return endpoint.ready or (endpoint.serving and endpoint.terminating)


def locally_served(endpoints: Iterable[Endpoint], node_name: str) -> frozenset[NamespacedName]:
    """Services with an endpoint that takes traffic on the node. One that does not say where it runs counts as local everywhere."""
    return frozenset(endpoint.service for endpoint in endpoints if takes_traffic(endpoint) and endpoint.node_name in (None, node_name))


def _exposes_load_balancer(service: Service) -> bool:
    """False when the annotation names a type other than LoadBalancer; what is not a type is ignored."""
    exposed = service.annotations.get(TYPE_ANNOTATION, "LoadBalancer")
    return exposed == "LoadBalancer" or exposed not in _EXPOSABLE_TYPES
