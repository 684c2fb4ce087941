"""The objects of LB-IPAM, field by field as the API spells them: only what is read. pools.py knows what the fields mean."""

import msgspec

from l2announce.wire.schema import Condition, LabelSelector, ObjectMeta, Struct


class PoolMeta(ObjectMeta, frozen=True):
    creation_timestamp: str | None = None


class PoolBlock(Struct, frozen=True):
    cidr: str | None = None
    start: str | None = None
    stop: str | None = None


class PoolSpec(Struct, frozen=True):
    """``cidrs`` is what ``blocks`` was called in v2alpha1 up to Cilium 1.15."""

    service_selector: LabelSelector | None = None
    blocks: list[PoolBlock] | None = None
    cidrs: list[PoolBlock] | None = None
    allow_first_last_ips: str | None = msgspec.field(default=None, name="allowFirstLastIPs")
    disabled: bool | None = None


class PoolStatus(Struct, frozen=True):
    conditions: list[Condition] | None = None


class CiliumLoadBalancerIPPool(Struct, frozen=True):
    """cilium.io/v2 and cilium.io/v2alpha1 CiliumLoadBalancerIPPool."""

    metadata: PoolMeta = PoolMeta()
    spec: PoolSpec | None = None
    status: PoolStatus | None = None


class BalancedPort(Struct, frozen=True):
    port: int
    protocol: str | None = None


class BalancedSpec(Struct, frozen=True):
    type: str | None = None
    load_balancer_class: str | None = None
    load_balancer_ip: str | None = msgspec.field(default=None, name="loadBalancerIP")
    ip_families: list[str] | None = None
    ip_family_policy: str | None = None
    external_traffic_policy: str | None = None
    ports: list[BalancedPort] | None = None
    selector: dict[str, str] | None = None


class BalancedIngress(Struct, frozen=True):
    ip: str | None = None
    hostname: str | None = None


class BalancedLoadBalancer(Struct, frozen=True):
    ingress: list[BalancedIngress] | None = None


class BalancedStatus(Struct, frozen=True):
    load_balancer: BalancedLoadBalancer | None = None
    conditions: list[Condition] | None = None


class BalancedService(Struct, frozen=True):
    """core/v1 Service, as far as its addresses go."""

    metadata: PoolMeta = PoolMeta()
    spec: BalancedSpec | None = None
    status: BalancedStatus | None = None
