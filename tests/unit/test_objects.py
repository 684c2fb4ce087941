"""Objects as the API spells them: what each field becomes, and how a wrong one is told."""

from collections.abc import Mapping
from datetime import date
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from l2announce.model import lease as leases
from l2announce.model import objects as model
from l2announce.model.names import is_name
from l2announce.wire import schema
from l2announce.wire.fields import FieldProblem, ObjectError, words
from l2announce.wire.leases import decode_lease, encode_lease, lease_after
from l2announce.wire.objects import (
    KINDS,
    Decoded,
    ObjectKey,
    Value,
    announceable,
    decode_object,
    decode_service,
    identify,
)

Mapped = dict[str, Any]


def service(spec: Mapped | None = None, status: Mapped | None = None, **metadata: Any) -> Mapped:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", **metadata},
        "spec": spec if spec is not None else {},
        "status": status,
    }


def policy(spec: object = None, api_version: str = "cilium.io/v2alpha1") -> Mapped:
    return {"apiVersion": api_version, "kind": "CiliumL2AnnouncementPolicy", "metadata": {"name": "l2", "generation": 7}, "spec": spec}


def endpoint_slice(endpoints: object, labels: Mapped | None = None) -> Mapped:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"} if labels is None else labels},
        "endpoints": endpoints,
    }


def ingress(*entries: Mapped) -> Mapped:
    return {"loadBalancer": {"ingress": list(entries)}}


def decoded(raw: Mapped) -> Decoded[Value]:
    result = decode_object(raw, KINDS)
    assert result is not None
    return result


def decoded_service(raw: Mapped) -> model.Service:
    value = decoded(raw).value
    assert isinstance(value, model.Service)
    return value


def error_of(raw: Any) -> FieldProblem:
    with pytest.raises(ObjectError) as caught:
        decode_object(raw, KINDS)
    return caught.value.problem


# -- Node


def test_node() -> None:
    raw = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"a": "b"}, "unknown": 1}, "spec": {"podCIDR": 3}}
    assert decoded(raw) == Decoded(ObjectKey("Node", "", "n1"), model.Node("n1", {"a": "b"}))


def test_addresses_of_a_node() -> None:
    """Internal and external ones, each once; names and what is no address are skipped, as they guard nothing."""
    told = [
        {"type": "InternalIP", "address": "192.0.2.1"},
        {"type": "ExternalIP", "address": "2001:db8::1"},
        {"type": "InternalIP", "address": "192.0.2.1"},
        {"type": "Hostname", "address": "192.0.2.3"},
        {"type": "ExternalIP", "address": "not-yet-known"},
        {},
    ]
    raw = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"addresses": told}}
    assert decoded(raw).value == model.Node("n1", {}, (ip_address("192.0.2.1"), ip_address("2001:db8::1")))
    assert decoded({**raw, "status": {}}).value == decoded({**raw, "status": None}).value == model.Node("n1")


def node(**parts: Any) -> Decoded[Value]:
    metadata = {"name": "n1", **parts.pop("metadata", {})}
    return decoded({"apiVersion": "v1", "kind": "Node", "metadata": metadata, **parts})


def test_health_of_a_node() -> None:
    conditions = [
        {"type": "MemoryPressure", "status": "perhaps"},
        {"type": "NetworkUnavailable", "status": "True"},
        {"type": "Ready", "status": "False", "lastHeartbeatTime": "2026-11-23T06:58:02Z", "reason": "KubeletNotReady"},
    ]
    assert node(status={"conditions": conditions}).value == model.Node("n1", ready="False", network_unavailable=True)
    assert node(status={"conditions": [{"type": "NetworkUnavailable", "status": "Unknown"}]}).value == model.Node("n1")
    taints = [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}, {"effect": "NoSchedule"}]
    assert node(spec={"taints": taints, "unschedulable": True}).value == model.Node("n1", out_of_service=True, unschedulable=True)
    assert node(spec={"taints": [{"key": "node.kubernetes.io/unreachable"}]}).value == model.Node("n1")
    assert node(metadata={"deletionTimestamp": "2026-11-23T06:58:02Z"}).value == model.Node("n1", deleting=True)


def test_a_heartbeat_makes_no_difference() -> None:
    def at(minute: int) -> Decoded[Value]:
        return node(status={"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": f"2026-11-23T06:{minute}:00Z"}]})

    assert at(10) == at(20)


@pytest.mark.parametrize("condition", ["Ready", "NetworkUnavailable"])
def test_a_status_of_a_condition_that_is_not_known(condition: str) -> None:
    found = node(status={"conditions": [{"type": "Other"}, {"type": condition, "status": "yes"}]})
    assert found.value == model.Node("n1")
    (problem,) = found.problems
    assert (problem.field, problem.reason) == ("status.conditions[1].status", "BadValue")
    assert problem.message == "'yes' is not known, so the condition has no effect; write True or False or Unknown"


def test_node_ignores_a_namespace() -> None:
    raw = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "namespace": "Not A Namespace", "labels": None}}
    assert decoded(raw).key == ObjectKey("Node", "", "n1")


# -- Service


def test_service_defaults_are_those_of_the_api() -> None:
    assert decoded(service()) == Decoded(
        ObjectKey("Service", "default", "web"), model.Service(model.NamespacedName("default", "web"), has_ports=False)
    )


def test_service_with_everything() -> None:
    raw = service(
        {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.1",
            "externalIPs": ["192.0.2.1", "2001:db8::1", "192.0.2.1"],
            "loadBalancerClass": "io.cilium/l2-announcer",
            "externalTrafficPolicy": "Local",
            "ports": [{"port": 80}],
        },
        ingress({"ip": "192.0.2.2"}, {"ip": "2001:db8::2", "ipMode": "VIP"}),
        namespace="shop",
        labels={"a": "b"},
        annotations={"c": "d"},
    )
    assert decoded(raw) == Decoded(
        ObjectKey("Service", "shop", "web"),
        model.Service(
            key=model.NamespacedName("shop", "web"),
            labels={"a": "b"},
            annotations={"c": "d"},
            type="LoadBalancer",
            load_balancer_class="io.cilium/l2-announcer",
            external_ips=(ip_address("192.0.2.1"), ip_address("2001:db8::1")),
            load_balancer_ips=(ip_address("192.0.2.2"), ip_address("2001:db8::2")),
            external_traffic_policy="Local",
        ),
    )


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"clusterIP": "none"}])
def test_service_without_cluster_ip_is_headless(spec: Mapped) -> None:
    assert decoded_service(service(spec)).headless


def test_service_with_the_headless_label_is_headless_whatever_its_value() -> None:
    assert decoded_service(service(labels={"service.kubernetes.io/headless": ""})).headless


@pytest.mark.parametrize(
    "status",
    [
        None,
        {},
        {"loadBalancer": None},
        {"loadBalancer": {"ingress": None}},
        ingress({"hostname": "lb.example.com"}),
        ingress({"ip": "192.0.2.1", "ipMode": "Proxy"}),
        ingress({"ip": ""}),
    ],
)
def test_ingress_without_an_address_for_us(status: Mapped | None) -> None:
    result = decoded(service(status=status))
    assert isinstance(result.value, model.Service)
    assert result.value.load_balancer_ips == ()
    assert result.value.has_proxied_ips is ("Proxy" in str(status))
    assert result.problems == ()


def test_ingress_that_cannot_be_announced_is_a_problem_and_the_others_count() -> None:
    result = decoded(service(status=ingress({"ip": "192.0.2.256"}, {"ip": "192.0.2.1"}, {"ip": "192.0.2.3", "ipMode": "vip"})))
    assert isinstance(result.value, model.Service)
    assert result.value.load_balancer_ips == (ip_address("192.0.2.1"),)
    assert [(problem.field, problem.reason) for problem in result.problems] == [
        ("status.loadBalancer.ingress[0].ip", "BadAddress"),
        ("status.loadBalancer.ingress[2].ipMode", "BadIPMode"),
    ]
    assert "'192.0.2.256'" in result.problems[0].message


def test_external_ip_that_cannot_be_announced_is_a_problem_and_the_others_count() -> None:
    result = decoded(service({"externalIPs": ["nonsense", "192.0.2.1"]}))
    assert isinstance(result.value, model.Service)
    assert result.value.external_ips == (ip_address("192.0.2.1"),)
    assert result.problems == (FieldProblem(("spec", "externalIPs", 0), "BadAddress", "'nonsense' is not an IP address"),)


@pytest.mark.parametrize(
    ("spec", "field", "allowed"),
    [
        ({"type": "Loadbalancer"}, "spec.type", "LoadBalancer"),
        ({"externalTrafficPolicy": "local"}, "spec.externalTrafficPolicy", "Local"),
    ],
)
def test_service_with_a_word_that_the_api_does_not_know(spec: Mapped, field: str, allowed: str) -> None:
    problem = error_of(service(spec))
    assert (problem.field, problem.reason) == (field, "BadValue")
    assert allowed in problem.message


def test_service_from_json_bytes() -> None:
    data = b'{"metadata":{"name":"web","uid":"1"},"spec":{"externalIPs":["192.0.2.1"],"ports":[{"port":80,"name":"x"}]}}'
    value = decode_service(msgspec.json.decode(data, type=schema.Service)).value
    assert (value.external_ips, value.has_ports) == ((ip_address("192.0.2.1"),), True)


# -- addresses


@pytest.mark.parametrize("text", ["192.0.2.1", "169.254.1.1", "2001:db8::1", "fd99::1", "fe80::1"])
def test_announceable(text: str) -> None:
    assert announceable(text) == ip_address(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not an IP address"),
        ("10.0.0.01", "not an IP address"),
        ("10.0.0.0/24", "not an IP address"),
        ("0.0.0.0", "unspecified"),  # noqa: S104  not a socket, a value to refuse
        ("::", "unspecified"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("::ffff:192.0.2.1", "IPv4-mapped"),
        ("fe80::1%eth0", "zone"),
    ],
)
def test_not_announceable(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        announceable(text)
    assert text in str(caught.value)


# -- EndpointSlice


def test_endpoint_conditions_default_as_in_the_api() -> None:
    raw = endpoint_slice(
        [
            {},
            {"nodeName": "n1", "conditions": {"ready": True}},
            {"nodeName": "", "conditions": {"ready": False}},
            {"nodeName": "n3", "conditions": {"ready": False, "serving": True, "terminating": True}},
            {"nodeName": "n4", "conditions": {"ready": None, "serving": False, "terminating": None}},
        ]
    )
    web = model.NamespacedName("shop", "web")
    assert decoded(raw) == Decoded(
        ObjectKey("EndpointSlice", "shop", "web-1"),
        (
            model.Endpoint(web, None),
            model.Endpoint(web, "n1"),
            model.Endpoint(web, None, ready=False, serving=False),
            model.Endpoint(web, "n3", ready=False, serving=True, terminating=True),
            model.Endpoint(web, "n4", ready=True, serving=False),
        ),
    )


def test_slice_without_endpoints() -> None:
    assert decoded(endpoint_slice(None)).value == ()


@pytest.mark.parametrize("labels", [{}, {"kubernetes.io/service-name": ""}])
def test_slice_of_no_service_is_a_problem(labels: Mapped) -> None:
    result = decoded(endpoint_slice([{}], labels))
    assert result.value == ()
    assert [problem.reason for problem in result.problems] == ["NoServiceName"]


# -- CiliumL2AnnouncementPolicy


@pytest.mark.parametrize("api_version", ["cilium.io/v2alpha1", "cilium.io/v2"])
def test_policy(api_version: str) -> None:
    raw = policy(
        {
            "serviceSelector": {"matchLabels": {"a": "b"}},
            "nodeSelector": {
                "matchExpressions": [{"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "Exists"}]
            },
            "interfaces": ["^eth0$", "("],
            "externalIPs": True,
            "loadBalancerIPs": False,
        },
        api_version,
    )
    assert decoded(raw) == Decoded(
        ObjectKey("CiliumL2AnnouncementPolicy", "", "l2"),
        model.AnnouncementPolicy(
            name="l2",
            generation=7,
            service_selector=model.LabelSelector(match_labels=(("a", "b"),)),
            node_selector=model.LabelSelector(
                match_expressions=(model.Requirement("c", "In", ("d", "e")), model.Requirement("f", "Exists"))
            ),
            interfaces=("^eth0$", "("),
            external_ips=True,
        ),
    )


def test_policy_without_spec_selects_everything_and_announces_nothing() -> None:
    raw = policy()
    del raw["metadata"]["generation"]
    assert decoded(raw) == Decoded(ObjectKey("CiliumL2AnnouncementPolicy", "", "l2"), model.AnnouncementPolicy("l2"))


def test_policy_with_a_misspelt_field_says_so_and_counts() -> None:
    result = decoded(policy({"loadbalancerIPs": True, "externalIPs": True}))
    assert isinstance(result.value, model.AnnouncementPolicy)
    assert result.value.external_ips
    assert [(problem.field, problem.reason) for problem in result.problems] == [("spec.loadbalancerIPs", "UnknownField")]
    assert "loadBalancerIPs" in result.problems[0].message


# -- which kind, which name


@pytest.mark.parametrize(
    "raw",
    [
        {"apiVersion": "apps/v1", "kind": "Deployment"},
        {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "web"}},
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "web"}},
    ],
)
def test_other_kinds_are_not_read(raw: Mapped) -> None:
    assert identify(raw) is None
    assert decode_object(raw, KINDS) is None


def test_identify_needs_only_kind_and_name() -> None:
    raw = service({"type": 5}, labels="nonsense")
    assert identify(raw) == ObjectKey("Service", "default", "web")


@pytest.mark.parametrize(
    ("raw", "field", "reason"),
    [
        ("text", "", "NotAnObject"),
        ([1], "", "NotAnObject"),
        ({"apiVersion": "v1"}, "kind", "NotAnObject"),
        ({"kind": "Service"}, "apiVersion", "NotAnObject"),
        ({"kind": ["Service"], "apiVersion": "v1"}, "kind", "NotAnObject"),
        ({"kind": "Service", "apiVersion": 1}, "apiVersion", "NotAnObject"),
        ({"kind": "Service", "apiVersion": "v2", "metadata": {"name": "web"}}, "apiVersion", "UnknownVersion"),
        (policy(api_version="cilium.io/v1"), "apiVersion", "UnknownVersion"),
        ({"kind": "Service", "apiVersion": "v1"}, "metadata.name", "NoName"),
        (service(name="../etc"), "metadata.name", "BadName"),
        (service(name="a.b"), "metadata.name", "BadName"),
        (service(name="web", namespace="a/b"), "metadata.namespace", "BadName"),
        ({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "a..b"}}, "metadata.name", "BadName"),
    ],
)
def test_what_is_no_usable_object(raw: object, field: str, reason: str) -> None:
    problem = error_of(raw)
    assert (problem.field, problem.reason) == (field, reason)


def test_unknown_version_names_the_known_ones() -> None:
    assert "cilium.io/v2alpha1 or cilium.io/v2" in error_of(policy(api_version="cilium.io/v1")).message
    assert "write v1" in error_of({"kind": "Node", "apiVersion": "v1beta1"}).message


def test_keys_print_as_kind_namespace_name() -> None:
    assert str(ObjectKey("Service", "shop", "web")) == "service/shop/web"
    assert str(ObjectKey("Node", "", "n1")) == "node/n1"


def test_names() -> None:
    assert is_name("a-1.b")
    assert is_name("a" * 63, label=True)
    assert not is_name("a" * 64, label=True)
    assert not is_name("a.b", label=True)
    assert not is_name("")
    assert not is_name("A")
    assert not is_name(".a")
    assert not is_name(".".join(["a" * 60] * 5))


# -- how wrong types are told


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        (
            service(labels={"a": "b", "example.com/c": 1.5}),
            'metadata.labels["example.com/c"]',
            "Expected str, got float (1.5); put it in quotes",
        ),
        (service(labels={"a": True}), "metadata.labels.a", "Expected str, got bool (true); put it in quotes"),
        (service(labels={"a": None}), "metadata.labels.a", "Expected str, got null; put it in quotes"),
        (service(labels={"a": "b", 1: "c"}), "metadata.labels", "in a key: Expected str, got int (1); put it in quotes"),
        (service({"externalIPs": "192.0.2.1"}), "spec.externalIPs", "Expected array | null, got str ('192.0.2.1'); write a list"),
        (service({"externalIPs": ["192.0.2.1", 5]}), "spec.externalIPs[1]", "Expected str, got int (5); put it in quotes"),
        (service({"ports": [{"port": "80"}]}), "spec.ports[0].port", "Expected int, got str ('80'); write a whole number, without quotes"),
        (service({"ports": [{}]}), "spec.ports[0]", "Object missing required field port; add it"),
        (service({"ports": [80]}), "spec.ports[0]", "Expected object, got int (80); write a mapping"),
        (service([]), "spec", "Expected object | null, got array; write a mapping"),  # type: ignore[arg-type]
        (service({"type": date(2024, 1, 2)}), "spec.type", "Expected str | null, got date (2024-01-02); put it in quotes"),
        (policy({"externalIPs": "yes"}), "spec.externalIPs", "Expected bool | null, got str ('yes'); write true or false, without quotes"),
        (policy("text"), "spec", "Expected object | null, got str ('text'); write a mapping"),
    ],
)
def test_a_wrong_type_is_told_with_path_value_and_remedy(raw: Mapped, field: str, message: str) -> None:
    problem = error_of(raw)
    assert (problem.field, problem.message) == (field, message)


def test_object_error_prints_field_and_message() -> None:
    assert str(ObjectError(("spec", "a b", 0), "Bad", "is bad")) == 'spec["a b"][0]: is bad'
    assert str(ObjectError((), "Bad", "is bad")) == "object: is bad"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "empty"), (True, "true"), ("a", "'a'"), ({}, "a mapping"), ([], "a list"), (5, "5"), (date(2024, 1, 2), "2024-01-02")],
)
def test_words(value: object, text: str) -> None:
    assert words(value) == text


# -- Lease

LEASE = leases.Lease("l", "n1", 15.0, "5", "2024-01-02T03:04:05.000006Z", "2024-01-02T03:04:06.000006Z", 2, {"a": "b"})


def test_lease_is_written_as_client_go_does() -> None:
    assert msgspec.json.decode(encode_lease(LEASE, "kube-system")) == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "l", "namespace": "kube-system", "annotations": {"a": "b"}, "resourceVersion": "5"},
        "spec": {
            "holderIdentity": "n1",
            "leaseDurationSeconds": 15,
            "acquireTime": "2024-01-02T03:04:05.000006Z",
            "renewTime": "2024-01-02T03:04:06.000006Z",
            "leaseTransitions": 2,
        },
    }


def test_zero_and_empty_are_written_where_client_go_writes_them() -> None:
    spec = msgspec.json.decode(encode_lease(leases.Lease("l", "", 1.5, "1"), "x"))["spec"]
    assert spec == {"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 0}


def test_lease_round_trip() -> None:
    assert decode_lease(encode_lease(LEASE, "x")) == LEASE


@pytest.mark.parametrize("spec", [b"", b',"spec":null', b',"spec":{}', b',"spec":{"holderIdentity":null}'])
def test_lease_of_others_may_lack_everything(spec: bytes) -> None:
    assert decode_lease(b'{"metadata":{"name":"l"}' + spec + b"}") == leases.Lease("l", "", 0.0, "")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"metadata":{}}', b"\xff", b'{"metadata":{"name":"l"},"spec":{"leaseTransitions":"x"}}']
)
def test_what_is_no_lease(data: bytes) -> None:
    with pytest.raises(ObjectError):
        decode_lease(data)


def write(
    verb: leases.Verb, base: leases.Lease | None, holder: str = "n1", annotations: Mapping[str, str] | None = None
) -> leases.LeaseWrite:
    return leases.LeaseWrite(verb, "l", holder, 15.0, base, dict(annotations or {}))


def test_first_acquisition() -> None:
    after = lease_after(write(leases.Verb.ACQUIRE, None, annotations={"c": "d"}), "now", "1")
    assert after == leases.Lease("l", "n1", 15.0, "1", "now", "now", 0, {"c": "d"})


def test_renewal_keeps_acquire_time_and_transitions_and_replaces_annotations() -> None:
    after = lease_after(write(leases.Verb.RENEW, LEASE), "now", "6")
    assert after == leases.Lease("l", "n1", 15.0, "6", LEASE.acquire_time, "now", 2, {})


def test_resuming_one_s_own_lease_is_no_transition() -> None:
    after = lease_after(write(leases.Verb.ACQUIRE, LEASE), "now", "6")
    assert (after.acquire_time, after.lease_transitions) == (LEASE.acquire_time, 2)


@pytest.mark.parametrize("former", ["n2", ""])
def test_take_over_counts_a_transition(former: str) -> None:
    base = leases.Lease("l", former, 15.0, "5", "then", "then", 2)
    after = lease_after(write(leases.Verb.ACQUIRE, base), "now", "6")
    assert (after.holder_identity, after.acquire_time, after.renew_time, after.lease_transitions) == ("n1", "now", "now", 3)


def test_release_empties_the_holder_and_counts_no_transition() -> None:
    after = lease_after(write(leases.Verb.RELEASE, LEASE), "now", "6")
    assert after == leases.Lease("l", "", 1.0, "6", "now", "now", 2, {})
