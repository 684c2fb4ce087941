"""Pools and Services of the API as LB-IPAM reads them, and what it writes."""

import json
from ipaddress import ip_address
from typing import Any

import pytest

from l2announce.model.conditions import Condition
from l2announce.model.objects import LabelSelector, NamespacedName, Requirement
from l2announce.model.pools import AddressPool, BalancedService, Block, Port
from l2announce.wire import pool_schema
from l2announce.wire.fields import ObjectError, decode
from l2announce.wire.given import SATISFIED, given_message, pools_given
from l2announce.wire.objects import KINDS, decode_object
from l2announce.wire.pools import decode_balanced_service, decode_pool, encode_pool_status, encode_service_status

CONDITION = {"type": SATISFIED, "status": "True", "reason": "satisfied", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def pool(spec: dict[str, Any] | None, **more: Any) -> AddressPool:
    document = {"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 3}, "spec": spec, **more}
    return decode_pool(decode(json.dumps(document).encode(), pool_schema.CiliumLoadBalancerIPPool)).value


def service(spec: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, **status: Any) -> BalancedService:
    meta = {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}, "annotations": annotations}
    document = {"metadata": meta, "spec": spec, "status": status or None}
    return decode_balanced_service(decode(json.dumps(document).encode(), pool_schema.BalancedService)).value


def test_a_pool_with_all_its_fields() -> None:
    selector = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]}
    blocks = [{"cidr": "10.0.0.0/24"}, {"start": "fd00::1", "stop": "fd00::9"}]
    spec = {"blocks": blocks, "serviceSelector": selector, "allowFirstLastIPs": "No", "disabled": True}
    assert pool(spec, status={"conditions": [CONDITION]}) == AddressPool(
        "a",
        (Block("10.0.0.0/24"), Block(start="fd00::1", stop="fd00::9")),
        "2026-01-01T00:00:00Z",
        3,
        LabelSelector((("a", "b"),), (Requirement("c", "In", ("d",)),)),
        allow_first_last=False,
        disabled=True,
    )
    assert pool(spec, status={"conditions": [CONDITION]}).conditions[0].type == SATISFIED


def test_an_old_pool_and_an_empty_one() -> None:
    assert pool({"cidrs": [{"cidr": "10.0.0.0/24"}]}).blocks == (Block("10.0.0.0/24"),)
    assert pool(None) == AddressPool("a", (), "2026-01-01T00:00:00Z", 3)


def test_a_pool_that_neither_says_yes_nor_no() -> None:
    with pytest.raises(ObjectError, match="'maybe' is not known"):
        pool({"allowFirstLastIPs": "maybe"})


def test_a_service_with_all_its_fields() -> None:
    spec = {
        "type": "LoadBalancer",
        "loadBalancerClass": "io.cilium/l2-announcer",
        "loadBalancerIP": "10.0.0.1",
        "ipFamilies": ["IPv6", "IPv4", "IPv8"],
        "ipFamilyPolicy": "RequireDualStack",
        "externalTrafficPolicy": "Local",
        "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}],
        "selector": {"b": "c", "a": "b"},
    }
    annotations = {
        "lbipam.cilium.io/ips": " 10.0.0.2 , nonsense,, fd00::1",
        "io.cilium/lb-ipam-ips": "10.9.9.9",
        "io.cilium/lb-ipam-sharing-key": "k",
        "lbipam.cilium.io/sharing-cross-namespace": "x, *",
        "lbipam.cilium.io/sharing-permit-different-pods": "true",
        "l2announce.io/pool": "p,q",
    }
    found = service(spec, annotations, loadBalancer={"ingress": [{"ip": "10.0.0.1"}, {"hostname": "h"}]}, conditions=[CONDITION])
    assert found == BalancedService(
        NamespacedName("shop", "web"),
        "u",
        labels={"a": "b"},
        load_balancer_class="io.cilium/l2-announcer",
        families=(6, 4),
        family_policy="RequireDualStack",
        requested=tuple(map(ip_address, ("10.0.0.1", "10.0.0.2", "fd00::1"))),
        unreadable=("nonsense",),
        pools=("p", "q"),
        sharing_key="k",
        shares_with=frozenset(("x", "*")),
        shares_across_pods=True,
        ports=frozenset((Port("TCP", 80), Port("UDP", 53))),
        traffic_policy="Local",
        pod_selector=(("a", "b"), ("b", "c")),
        ingress=(ip_address("10.0.0.1"),),
        strays=True,
        condition=Condition(SATISFIED, "True", "satisfied", "", 0, "2026-01-01T00:00:00Z"),
    )
    assert (found.version, len(found.conditions)) == ("7", 1)


def test_an_empty_service() -> None:
    assert service() == BalancedService(NamespacedName("shop", "web"), "u", labels={"a": "b"}, type="ClusterIP")
    assert service(annotations={"lbipam.cilium.io/ips": ""}).requested == ()


def test_what_is_written() -> None:
    condition = Condition("T", "True", "R", "m", 2, "2026-01-01T00:00:00Z")
    written = json.loads(encode_service_status("7", (ip_address("fd00::1"),), (condition,)))
    assert written["metadata"] == {"resourceVersion": "7"}
    assert written["status"]["loadBalancer"] == {"ingress": [{"ip": "fd00::1"}]}
    assert written["status"]["conditions"][0] == {
        "type": "T",
        "status": "True",
        "reason": "R",
        "message": "m",
        "observedGeneration": 2,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    assert json.loads(encode_service_status("7", (), ()))["status"] == {"loadBalancer": {"ingress": None}, "conditions": None}
    applied = json.loads(encode_pool_status("v2", "a", (condition,)))
    assert (applied["apiVersion"], applied["metadata"], len(applied["status"]["conditions"])) == ("cilium.io/v2", {"name": "a"}, 1)


def test_the_pools_of_addresses_are_told_and_understood() -> None:
    given = {ip_address("192.0.2.1"): "lab", ip_address("2001:db8::1"): "lab.v6-2"}
    message = given_message(given.items())
    assert message == "192.0.2.1 of pool lab, 2001:db8::1 of pool lab.v6-2"
    assert pools_given([Condition("Other", "True", "", ""), Condition(SATISFIED, "True", "satisfied", message)]) == given


@pytest.mark.parametrize(
    ("status", "message"),
    [("False", "192.0.2.1 of pool lab"), ("True", ""), ("True", "all is well"), ("True", "1.2.3 of pool lab"), ("True", "x of pool lab")],
)
def test_what_is_no_such_message_tells_no_pool(status: str, message: str) -> None:
    assert pools_given([Condition(SATISFIED, status, "satisfied", message)]) == {}


def test_an_agent_reads_the_pools_of_a_service() -> None:
    status = {
        "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]},
        "conditions": [{"type": SATISFIED, "status": "True", "reason": "satisfied", "message": "192.0.2.1 of pool lab"}],
    }
    raw = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "LoadBalancer"}, "status": status}
    decoded = decode_object(raw, KINDS)
    assert decoded is not None
    assert decoded.value.pools == {ip_address("192.0.2.1"): "lab"}  # type: ignore[union-attr]
