"""Pools and Services of the API -> the values that LB-IPAM decides on; and what it writes -> JSON.

Annotations have a new name and an old one; the new one wins. What cannot be read of a request is told, the rest counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

import msgspec

from l2announce.model.address import Address
from l2announce.model.conditions import Condition
from l2announce.model.objects import LabelSelector, NamespacedName, Requirement
from l2announce.model.pools import AddressPool, BalancedService, Block, Port
from l2announce.wire import pool_schema, schema
from l2announce.wire.conditions import condition_documents, decode_conditions
from l2announce.wire.fields import FieldProblem, ObjectError, convert, decode
from l2announce.wire.given import SATISFIED
from l2announce.wire.objects import Decoded, Kind, Kinds, object_key

IPS = ("lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips")
SHARING_KEY = ("lbipam.cilium.io/sharing-key", "io.cilium/lb-ipam-sharing-key")
SHARES_WITH = ("lbipam.cilium.io/sharing-cross-namespace", "io.cilium/lb-ipam-sharing-cross-namespace")
ACROSS_PODS = ("lbipam.cilium.io/sharing-permit-different-pods",)
POOLS = ("l2announce.io/pool",)
TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
"""What Go's ParseBool takes for true."""
FAMILIES = {"IPv4": 4, "IPv6": 6}


def decode_pool(pool: pool_schema.CiliumLoadBalancerIPPool) -> Decoded[AddressPool]:
    """A CiliumLoadBalancerIPPool of either version. ObjectError for an ``allowFirstLastIPs`` that is neither Yes nor No."""
    key = object_key("CiliumLoadBalancerIPPool", pool.metadata, namespaced=False)
    spec = pool.spec or pool_schema.PoolSpec()
    if spec.allow_first_last_ips not in (None, "", "Yes", "No"):
        raise ObjectError(
            ("spec", "allowFirstLastIPs"), "BadValue", f"{spec.allow_first_last_ips!r} is not known; write 'Yes' or 'No', quoted"
        )
    value = AddressPool(
        name=key.name,
        blocks=tuple(Block(one.cidr or "", one.start or "", one.stop or "") for one in (*(spec.blocks or ()), *(spec.cidrs or ()))),
        created=pool.metadata.creation_timestamp or "",
        generation=pool.metadata.generation or 0,
        service_selector=_selector(spec.service_selector),
        allow_first_last=spec.allow_first_last_ips != "No",
        disabled=bool(spec.disabled),
        conditions=decode_conditions(pool.status.conditions if pool.status else None),
    )
    return Decoded(key, value)


def decode_balanced_service(service: pool_schema.BalancedService) -> Decoded[BalancedService]:
    """A Service as its demand for addresses."""
    meta, spec = service.metadata, service.spec or pool_schema.BalancedSpec()
    key = object_key("Service", meta, namespaced=True)
    annotations = meta.annotations or {}
    texts = [text.strip() for text in ((spec.load_balancer_ip or ""), *_annotation(annotations, IPS).split(","))]
    requested, unreadable = _addresses(filter(None, texts))
    value = BalancedService(
        key=NamespacedName(key.namespace, key.name),
        uid=meta.uid or "",
        version=meta.resource_version or "",
        created=meta.creation_timestamp or "",
        generation=meta.generation or 0,
        labels=meta.labels or {},
        type=spec.type or "ClusterIP",
        load_balancer_class=spec.load_balancer_class,
        families=tuple(FAMILIES[family] for family in spec.ip_families or () if family in FAMILIES),
        family_policy=spec.ip_family_policy or "",
        requested=requested,
        unreadable=unreadable,
        pools=_words(_annotation(annotations, POOLS)),
        sharing_key=_annotation(annotations, SHARING_KEY),
        shares_with=frozenset(_words(_annotation(annotations, SHARES_WITH))),
        shares_across_pods=_annotation(annotations, ACROSS_PODS) in TRUE,
        ports=frozenset(Port(port.protocol or "TCP", port.port) for port in spec.ports or ()),
        traffic_policy=spec.external_traffic_policy or "Cluster",
        pod_selector=tuple(sorted(spec.selector.items())) if spec.selector else None,
    )
    value = with_status(value, service.status or pool_schema.BalancedStatus(), value.version)
    problems = tuple(FieldProblem(("metadata", "annotations"), "BadAddress", f"{text!r} is no address; correct it") for text in unreadable)
    return Decoded(key, value, problems)


def with_status(service: BalancedService, status: pool_schema.BalancedStatus, version: str) -> BalancedService:
    """The Service with another status, which has this version."""
    ingress = (status.load_balancer or pool_schema.BalancedLoadBalancer()).ingress or ()
    present, strange = _addresses(one.ip or "" for one in ingress)
    conditions = decode_conditions(status.conditions)
    condition = next((one for one in conditions if one.type == SATISFIED), None)
    return replace(service, ingress=present, strays=bool(strange), condition=condition, conditions=conditions, version=version)


POOL_KINDS: Kinds[AddressPool | BalancedService] = {
    "CiliumLoadBalancerIPPool": Kind(
        "cilium.io",
        ("v2", "v2alpha1"),
        False,
        lambda raw: decode_pool(convert(raw, pool_schema.CiliumLoadBalancerIPPool)),
        pool_schema.PoolSpec,
    ),
    "Service": Kind("", ("v1",), True, lambda raw: decode_balanced_service(convert(raw, pool_schema.BalancedService))),
}
"""What the operator reads."""


def encode_service_status(version: str, addresses: Sequence[Address], conditions: Sequence[Condition]) -> bytes:
    """A merge patch of the status of a Service, for exactly the ``version`` that was read. ``conditions`` are all that it shall have."""
    ingress = [{"ip": str(address)} for address in addresses]
    status = {"loadBalancer": {"ingress": ingress or None}, "conditions": condition_documents(conditions) or None}
    return msgspec.json.encode({"metadata": {"resourceVersion": version}, "status": status})


def encode_stored_status(key: NamespacedName, addresses: Sequence[Address], conditions: Sequence[Condition]) -> bytes:
    """A Service that is nothing but its status, as JSON: what is stored of it beside manifests."""
    ingress = [{"ip": str(address)} for address in addresses]
    document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": key.name, "namespace": key.namespace},
        "status": {"loadBalancer": {"ingress": ingress}, "conditions": condition_documents(conditions)},
    }
    return msgspec.json.encode(document)


def decode_stored_status(octets: bytes) -> pool_schema.BalancedStatus:
    """The status of ``encode_stored_status``; ObjectError when it is none."""
    return decode(octets, pool_schema.BalancedService).status or pool_schema.BalancedStatus()


def encode_pool_status(version: str, name: str, conditions: Sequence[Condition]) -> bytes:
    """What a server-side apply of the status of a pool says; ``version`` is that of the API."""
    document = {
        "apiVersion": f"cilium.io/{version}",
        "kind": "CiliumLoadBalancerIPPool",
        "metadata": {"name": name},
        "status": {"conditions": condition_documents(conditions)},
    }
    return msgspec.json.encode(document)


def _annotation(annotations: Mapping[str, str], names: Sequence[str]) -> str:
    return next((annotations[name].strip() for name in names if name in annotations), "")


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (word.strip() for word in text.split(",")))))


def _addresses(texts: Iterable[str]) -> tuple[tuple[Address, ...], tuple[str, ...]]:
    good: list[Address] = []
    bad: list[str] = []
    for text in texts:
        try:
            good.append(ip_address(text))
        except ValueError:
            bad.append(text)
    return tuple(dict.fromkeys(good)), tuple(bad)


def _selector(selector: schema.LabelSelector | None) -> LabelSelector | None:
    if selector is None:
        return None
    requirements = (Requirement(one.key, one.operator, tuple(one.values or ())) for one in selector.match_expressions or ())
    return LabelSelector(tuple((selector.match_labels or {}).items()), tuple(requirements))
