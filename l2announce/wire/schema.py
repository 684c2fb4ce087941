"""The objects of the Kubernetes API, field by field as the API spells them: only what l2announce reads. Unknown fields are ignored.

``null`` counts as absent, as in Go. Decode JSON bytes with ``msgspec.json.decode(data, type=Service)``; objects.py knows what the fields
mean.
"""

import msgspec


class Struct(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Camel case on the wire; absent fields have their defaults, which are not written."""


class NamedMeta(Struct, frozen=True):
    name: str | None = None
    namespace: str | None = None


class Identity(Struct, frozen=True):
    """What names an object, whatever its kind and the rest of it."""

    metadata: NamedMeta = NamedMeta()


class ObjectMeta(Struct, frozen=True):
    name: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    resource_version: str | None = None
    generation: int | None = None
    uid: str | None = None
    deletion_timestamp: str | None = None


class Condition(Struct, frozen=True):
    """metav1.Condition."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = ""


class NodeAddress(Struct, frozen=True):
    type: str = ""
    address: str = ""


class NodeCondition(Struct, frozen=True):
    type: str = ""
    status: str = ""


class NodeStatus(Struct, frozen=True):
    addresses: list[NodeAddress] | None = None
    conditions: list[NodeCondition] | None = None


class Taint(Struct, frozen=True):
    key: str = ""


class NodeSpec(Struct, frozen=True):
    unschedulable: bool | None = None
    taints: list[Taint] | None = None


class Node(Struct, frozen=True):
    """core/v1 Node."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec | None = None
    status: NodeStatus | None = None


class ServicePort(Struct, frozen=True):
    port: int


class ServiceSpec(Struct, frozen=True):
    type: str | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    external_ips: list[str] | None = msgspec.field(default=None, name="externalIPs")
    load_balancer_class: str | None = None
    external_traffic_policy: str | None = None
    ports: list[ServicePort] | None = None


class LoadBalancerIngress(Struct, frozen=True):
    ip: str | None = None
    ip_mode: str | None = None


class LoadBalancerStatus(Struct, frozen=True):
    ingress: list[LoadBalancerIngress] | None = None


class ServiceStatus(Struct, frozen=True):
    load_balancer: LoadBalancerStatus | None = None
    conditions: list[Condition] | None = None


class Service(Struct, frozen=True):
    """core/v1 Service."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec | None = None
    status: ServiceStatus | None = None


class EndpointConditions(Struct, frozen=True):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(Struct, frozen=True):
    node_name: str | None = None
    conditions: EndpointConditions | None = None


class EndpointSlice(Struct, frozen=True):
    """discovery.k8s.io/v1 EndpointSlice."""

    metadata: ObjectMeta = ObjectMeta()
    endpoints: list[Endpoint] | None = None


class LabelSelectorRequirement(Struct, frozen=True):
    key: str
    operator: str
    values: list[str] | None = None


class LabelSelector(Struct, frozen=True):
    match_labels: dict[str, str] | None = None
    match_expressions: list[LabelSelectorRequirement] | None = None


class CiliumL2AnnouncementPolicySpec(Struct, frozen=True):
    service_selector: LabelSelector | None = None
    node_selector: LabelSelector | None = None
    interfaces: list[str] | None = None
    external_ips: bool | None = msgspec.field(default=None, name="externalIPs")
    load_balancer_ips: bool | None = msgspec.field(default=None, name="loadBalancerIPs")


class CiliumL2AnnouncementPolicyStatus(Struct, frozen=True):
    conditions: list[Condition] | None = None


class CiliumL2AnnouncementPolicy(Struct, frozen=True):
    """cilium.io/v2alpha1 and cilium.io/v2 CiliumL2AnnouncementPolicy."""

    metadata: ObjectMeta = ObjectMeta()
    spec: CiliumL2AnnouncementPolicySpec | None = None
    status: CiliumL2AnnouncementPolicyStatus | None = None


class LeaseSpec(Struct, frozen=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Struct, frozen=True):
    """coordination.k8s.io/v1 Lease; written with its apiVersion and kind."""

    api_version: str | None = None
    kind: str | None = None
    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec | None = None


class CrdVersion(Struct, frozen=True):
    name: str
    served: bool = False


class CrdSpec(Struct, frozen=True):
    versions: list[CrdVersion] | None = None


class CrdCondition(Struct, frozen=True):
    type: str
    status: str = ""


class CrdStatus(Struct, frozen=True):
    conditions: list[CrdCondition] | None = None


class CustomResourceDefinition(Struct, frozen=True):
    """apiextensions.k8s.io/v1 CustomResourceDefinition."""

    metadata: ObjectMeta = ObjectMeta()
    spec: CrdSpec | None = None
    status: CrdStatus | None = None
