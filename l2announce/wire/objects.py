"""Kubernetes and Cilium objects -> the values of model/.

An object comes as a Struct of schema.py (from JSON bytes) or as a mapping (from YAML: ``decode_object``). What is wrong with it is told by
the path of the field and one sentence. Label selectors and interface expressions are passed on as written: control/ judges them.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from l2announce.model import objects as model
from l2announce.model.address import Address
from l2announce.model.names import is_name
from l2announce.wire import schema
from l2announce.wire.conditions import decode_conditions
from l2announce.wire.fields import FieldPath, FieldProblem, ObjectError, convert, words
from l2announce.wire.given import pools_given

HEADLESS_LABEL = "service.kubernetes.io/headless"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
TRAFFIC_POLICIES = ("Cluster", "Local")
CONDITION_STATUSES = ("True", "False", "Unknown")
READY = "Ready"
NETWORK_UNAVAILABLE = "NetworkUnavailable"
OUT_OF_SERVICE_TAINT = "node.kubernetes.io/out-of-service"


class ObjectKey(NamedTuple):
    """What names an object in a cluster; prints as ``kind/namespace/name``. The namespace is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind.lower(), self.namespace, self.name) if part)


Value: TypeAlias = model.Node | model.Service | model.AnnouncementPolicy | tuple[model.Endpoint, ...]
_T = TypeVar("_T", covariant=True)


@dataclass(frozen=True, slots=True)
class Decoded(Generic[_T]):
    """A usable object, and the fields of it that had to be left out."""

    key: ObjectKey
    value: _T
    problems: tuple[FieldProblem, ...] = ()


def decode_node(node: schema.Node) -> Decoded[model.Node]:
    """The labels of a Node, its health, and its internal and external addresses; what is no IP address among them, as clouds may write, is
    skipped. Of the conditions only what is decided on is kept, so that heartbeats, which change their times, make no difference; one that
    is neither True, False nor Unknown is a problem, and left out.
    """
    key = object_key("Node", node.metadata, namespaced=False)
    status, spec = node.status or schema.NodeStatus(), node.spec or schema.NodeSpec()
    problems: list[FieldProblem] = []
    conditions = _conditions(status, problems)
    addresses: list[Address] = []
    for entry in status.addresses or ():
        if entry.type in ("InternalIP", "ExternalIP"):
            with contextlib.suppress(ValueError):
                addresses.append(ip_address(entry.address))
    value = model.Node(
        key.name,
        node.metadata.labels or {},
        tuple(dict.fromkeys(addresses)),
        ready=conditions.get(READY, ""),
        network_unavailable=conditions.get(NETWORK_UNAVAILABLE) == "True",
        out_of_service=any(taint.key == OUT_OF_SERVICE_TAINT for taint in spec.taints or ()),
        unschedulable=bool(spec.unschedulable),
        deleting=node.metadata.deletion_timestamp is not None,
    )
    return Decoded(key, value, tuple(problems))


def decode_service(service: schema.Service) -> Decoded[model.Service]:
    """A Service and its addresses; an address that cannot be announced is a problem, the others still count.

    ObjectError for a type or an external traffic policy that Kubernetes does not know.
    """
    key = object_key("Service", service.metadata, namespaced=True)
    spec = service.spec or schema.ServiceSpec()
    problems: list[FieldProblem] = []
    labels = service.metadata.labels or {}
    value = model.Service(
        key=model.NamespacedName(key.namespace, key.name),
        labels=labels,
        annotations=service.metadata.annotations or {},
        type=_one_of(SERVICE_TYPES, spec.type, ("spec", "type")),
        load_balancer_class=spec.load_balancer_class,
        external_ips=_external_ips(spec, problems),
        load_balancer_ips=_load_balancer_ips(service.status, problems),
        headless=(spec.cluster_ip or "").lower() == "none" or HEADLESS_LABEL in labels,
        has_ports=bool(spec.ports),
        external_traffic_policy=_one_of(TRAFFIC_POLICIES, spec.external_traffic_policy, ("spec", "externalTrafficPolicy")),
        uid=service.metadata.uid or "",
        has_proxied_ips=any(ingress.ip and ingress.ip_mode == "Proxy" for ingress in _ingresses(service.status)),
        pools=_pools(service.status),
    )
    return Decoded(key, value, tuple(problems))


def decode_endpoint_slice(endpoint_slice: schema.EndpointSlice) -> Decoded[tuple[model.Endpoint, ...]]:
    """The endpoints of a slice. Conditions that are absent have the defaults of the API: ready, serving as ready, not terminating."""
    key = object_key("EndpointSlice", endpoint_slice.metadata, namespaced=True)
    service = (endpoint_slice.metadata.labels or {}).get(SERVICE_NAME_LABEL)
    if not service:
        message = f"the label {SERVICE_NAME_LABEL} is missing, so the slice belongs to no Service; add it with the Service's name"
        return Decoded(key, (), (FieldProblem(("metadata", "labels"), "NoServiceName", message),))
    owner = model.NamespacedName(key.namespace, service)
    return Decoded(key, tuple(_endpoint(owner, endpoint) for endpoint in endpoint_slice.endpoints or ()))


def decode_policy(policy: schema.CiliumL2AnnouncementPolicy) -> Decoded[model.AnnouncementPolicy]:
    """A CiliumL2AnnouncementPolicy; absent booleans are false."""
    key = object_key("CiliumL2AnnouncementPolicy", policy.metadata, namespaced=False)
    spec = policy.spec or schema.CiliumL2AnnouncementPolicySpec()
    value = model.AnnouncementPolicy(
        name=key.name,
        generation=policy.metadata.generation or 0,
        service_selector=_selector(spec.service_selector),
        node_selector=_selector(spec.node_selector),
        interfaces=tuple(spec.interfaces or ()),
        external_ips=bool(spec.external_ips),
        load_balancer_ips=bool(spec.load_balancer_ips),
        conditions=decode_conditions(policy.status.conditions if policy.status else None),
    )
    return Decoded(key, value)


@dataclass(frozen=True, slots=True)
class Kind(Generic[_T]):
    """How the objects of one kind are read. ``spec`` models every field of ``spec`` where unknown ones are to be told."""

    group: str
    versions: tuple[str, ...]
    namespaced: bool
    decode: Callable[[object], Decoded[_T]]
    spec: type[msgspec.Struct] | None = None


Kinds: TypeAlias = Mapping[str, Kind[_T]]
"""The kinds that somebody reads, by name."""

KINDS: Kinds[Value] = {
    "Node": Kind("", ("v1",), False, lambda raw: decode_node(convert(raw, schema.Node))),
    "Service": Kind("", ("v1",), True, lambda raw: decode_service(convert(raw, schema.Service))),
    "EndpointSlice": Kind("discovery.k8s.io", ("v1",), True, lambda raw: decode_endpoint_slice(convert(raw, schema.EndpointSlice))),
    "CiliumL2AnnouncementPolicy": Kind(
        "cilium.io",
        ("v2alpha1", "v2"),
        False,
        lambda raw: decode_policy(convert(raw, schema.CiliumL2AnnouncementPolicy)),
        schema.CiliumL2AnnouncementPolicySpec,
    ),
}
"""What an agent reads."""


def identify(raw: object, kinds: Kinds[object] = KINDS) -> ObjectKey | None:
    """The key of one decoded YAML or JSON object, None when it is of a kind that is not read here.

    ObjectError when it is not an object at all, has no usable name, or a version of a known kind that is not read.
    """
    if not isinstance(raw, Mapping):
        raise ObjectError((), "NotAnObject", f"a Kubernetes object is a mapping with apiVersion, kind and metadata, this is {words(raw)}")
    kind, api_version = raw.get("kind"), raw.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(api_version, str):
        field = "apiVersion" if isinstance(kind, str) else "kind"
        raise ObjectError((field,), "NotAnObject", f"{field} is {words(raw.get(field))}; a Kubernetes object needs apiVersion and kind")
    group, _, version = api_version.rpartition("/")
    known = kinds.get(kind)
    if known is None or known.group != group:
        return None
    if version not in known.versions:
        usable = " or ".join(f"{group}/{version}".lstrip("/") for version in known.versions)
        raise ObjectError(("apiVersion",), "UnknownVersion", f"{api_version} of {kind} is not read here; write {usable}")
    return object_key(kind, convert(raw, schema.Identity).metadata, namespaced=known.namespaced)


def decode_object(raw: Mapping[str, object], kinds: Kinds[_T]) -> Decoded[_T] | None:
    """One decoded YAML or JSON object as a value, None when it is of a kind that is not read here; ObjectError when it cannot be used."""
    key = identify(raw, kinds)
    if key is None:
        return None
    kind = kinds[key.kind]
    decoded = kind.decode(raw)
    if kind.spec is None:
        return decoded
    return Decoded(decoded.key, decoded.value, decoded.problems + _unknown_fields(raw.get("spec"), kind.spec))


def with_status(service: model.Service, status: schema.ServiceStatus) -> model.Service:
    """The Service with the addresses of another status; what cannot be announced of them is left out."""
    return replace(
        service,
        load_balancer_ips=_load_balancer_ips(status, []),
        has_proxied_ips=any(ingress.ip and ingress.ip_mode == "Proxy" for ingress in _ingresses(status)),
        pools=_pools(status),
    )


def announceable(text: str) -> Address:
    """The address that ``text`` spells; ValueError with one sentence when no link could have it as a service address."""
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address.ipv4_mapped is not None):
        what = "has a zone" if address.scope_id is not None else "is an IPv4-mapped IPv6 address"
        raise ValueError(f"{text} {what}, so it cannot be announced; write the plain address")
    for what in ("unspecified", "loopback", "multicast"):
        if getattr(address, f"is_{what}"):
            raise ValueError(f"{text} is an address of kind {what}, which cannot be announced; use a unicast address")
    if address.packed == b"\xff" * 4:
        raise ValueError(f"{text} is the broadcast address, which cannot be announced; use a unicast address")
    return address


def object_key(kind: str, metadata: schema.ObjectMeta | schema.NamedMeta, *, namespaced: bool) -> ObjectKey:
    """The key of an object; ObjectError when it has no name that its kind may have."""
    name, namespace = metadata.name or "", ""
    if not name:
        raise ObjectError(("metadata", "name"), "NoName", f"a {kind} needs a name")
    if not is_name(name, label=kind == "Service"):
        allowed = "lower-case letters, digits and '-'" + ("" if kind == "Service" else " or '.'")
        raise ObjectError(("metadata", "name"), "BadName", f"{name!r} is not a name of a {kind}; use {allowed}")
    if namespaced:
        namespace = metadata.namespace or "default"
        if not is_name(namespace, label=True):
            raise ObjectError(
                ("metadata", "namespace"), "BadName", f"{namespace!r} is not a namespace; use lower-case letters, digits and '-'"
            )
    return ObjectKey(kind, namespace, name)


def _conditions(status: schema.NodeStatus, problems: list[FieldProblem]) -> dict[str, str]:
    """The statuses of the conditions that are decided on."""
    found = {}
    for position, condition in enumerate(status.conditions or ()):
        if condition.type in (READY, NETWORK_UNAVAILABLE):
            if condition.status in CONDITION_STATUSES:
                found[condition.type] = condition.status
            else:
                path = ("status", "conditions", position, "status")
                message = f"{condition.status!r} is not known, so the condition has no effect; write {' or '.join(CONDITION_STATUSES)}"
                problems.append(FieldProblem(path, "BadValue", message))
    return found


def _external_ips(spec: schema.ServiceSpec, problems: list[FieldProblem]) -> tuple[Address, ...]:
    found: list[Address] = []
    for position, text in enumerate(spec.external_ips or ()):
        _take(text, ("spec", "externalIPs", position), found, problems)
    return tuple(dict.fromkeys(found))


def _ingresses(status: schema.ServiceStatus | None) -> Sequence[schema.LoadBalancerIngress]:
    load_balancer = (status or schema.ServiceStatus()).load_balancer
    return (load_balancer or schema.LoadBalancerStatus()).ingress or ()


def _pools(status: schema.ServiceStatus | None) -> dict[Address, str]:
    return pools_given(decode_conditions(status.conditions)) if status is not None and status.conditions else {}


def _load_balancer_ips(status: schema.ServiceStatus | None, problems: list[FieldProblem]) -> tuple[Address, ...]:
    found: list[Address] = []
    for position, ingress in enumerate(_ingresses(status)):
        path = ("status", "loadBalancer", "ingress", position)
        if ingress.ip_mode not in (None, "VIP", "Proxy"):
            problems.append(FieldProblem((*path, "ipMode"), "BadIPMode", f"{ingress.ip_mode!r} is not announced; write VIP or Proxy"))
        elif ingress.ip and ingress.ip_mode != "Proxy":
            _take(ingress.ip, (*path, "ip"), found, problems)
    return tuple(dict.fromkeys(found))


def _take(text: str, path: FieldPath, found: list[Address], problems: list[FieldProblem]) -> None:
    try:
        found.append(announceable(text))
    except ValueError as err:
        problems.append(FieldProblem(path, "BadAddress", str(err)))


def _one_of(allowed: tuple[str, ...], value: str | None, path: FieldPath) -> str:
    if not value:
        return allowed[0]
    if value not in allowed:
        raise ObjectError(path, "BadValue", f"{value!r} is not known; write {' or '.join(allowed)}")
    return value


def _endpoint(service: model.NamespacedName, endpoint: schema.Endpoint) -> model.Endpoint:
    conditions = endpoint.conditions or schema.EndpointConditions()
    ready = conditions.ready is not False
    serving = ready if conditions.serving is None else conditions.serving
    return model.Endpoint(service, endpoint.node_name or None, ready, serving, bool(conditions.terminating))


def _selector(selector: schema.LabelSelector | None) -> model.LabelSelector | None:
    if selector is None:
        return None
    requirements = (model.Requirement(r.key, r.operator, tuple(r.values or ())) for r in selector.match_expressions or ())
    return model.LabelSelector(tuple((selector.match_labels or {}).items()), tuple(requirements))


def _unknown_fields(raw: object, struct: type[msgspec.Struct]) -> tuple[FieldProblem, ...]:
    """The keys of a mapping that its Struct, which models every field of the kind, does not have."""
    known = struct.__struct_encode_fields__
    unknown = [key for key in raw if key not in known] if isinstance(raw, Mapping) else []
    return tuple(
        FieldProblem(("spec", key), "UnknownField", f"there is no such field, so it has no effect; the fields are {', '.join(known)}")
        for key in unknown
    )
