"""What a Service itself says about being announced."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from l2announce.control.services import (
    Announceable,
    Reason,
    annotation_problems,
    announceable,
    is_of_interest,
    locally_served,
    node_exposure,
    selector_labels,
)
from l2announce.model.objects import Endpoint, LabelSelector, NamespacedName, ObjectProblem, Requirement, Service

WEB = NamespacedName("shop", "web")
VIP4 = IPv4Address("192.0.2.10")
VIP6 = IPv6Address("2001:db8::10")
EXTERNAL = IPv4Address("192.0.2.20")
SERVICE = Service(WEB, type="LoadBalancer", load_balancer_ips=(VIP4, VIP6))
TYPE = "service.cilium.io/type"


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (SERVICE, Announceable((), (VIP4, VIP6))),
        (replace(SERVICE, load_balancer_class="io.cilium/l2-announcer"), Announceable((), (VIP4, VIP6))),
        (replace(SERVICE, external_ips=(EXTERNAL,)), Announceable((EXTERNAL,), (VIP4, VIP6))),
        (Service(WEB, external_ips=(EXTERNAL,)), Announceable((EXTERNAL,), ())),
        (Service(WEB, type="NodePort", external_ips=(EXTERNAL,), load_balancer_ips=(VIP4,)), Announceable((EXTERNAL,), ())),
        (replace(SERVICE, annotations={TYPE: "LoadBalancer"}), Announceable((), (VIP4, VIP6))),
        (replace(SERVICE, annotations={TYPE: "nonsense"}), Announceable((), (VIP4, VIP6))),
        (replace(SERVICE, annotations={TYPE: "NodePort"}, external_ips=(EXTERNAL,)), Announceable((EXTERNAL,), ())),
        (replace(SERVICE, annotations={TYPE: "NodePort"}), Reason.TYPE_ANNOTATION),
        (replace(SERVICE, annotations={TYPE: "ClusterIP"}), Reason.TYPE_ANNOTATION),
        (replace(SERVICE, load_balancer_class="example.com/other", external_ips=(EXTERNAL,)), Reason.CLASS),
        (replace(SERVICE, load_balancer_class=""), Reason.CLASS),
        (replace(SERVICE, headless=True, external_ips=(EXTERNAL,)), Reason.HEADLESS),
        (replace(SERVICE, has_ports=False, external_ips=(EXTERNAL,)), Reason.NO_PORTS),
        (replace(SERVICE, load_balancer_ips=()), Reason.NO_ADDRESS),
        (replace(SERVICE, type="ClusterIP"), Reason.NO_ADDRESS),
        (replace(SERVICE, load_balancer_ips=(), annotations={TYPE: "NodePort"}), Reason.NO_ADDRESS),
    ],
)
def test_announceable(service: Service, expected: Announceable | Reason) -> None:
    assert announceable(service) == expected


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (Service(WEB), False),
        (Service(WEB, type="NodePort"), False),
        (Service(WEB, type="LoadBalancer"), True),
        (Service(WEB, external_ips=(EXTERNAL,)), True),
        (Service(WEB, load_balancer_ips=(VIP4,)), True),
    ],
)
def test_is_of_interest(service: Service, expected: bool) -> None:
    assert is_of_interest(service) is expected


def test_the_special_keys_cannot_be_spoofed() -> None:
    labels = {"io.kubernetes.service.namespace": "other", "io.kubernetes.service.name": "other", "app": "web"}
    assert selector_labels(replace(SERVICE, labels=labels)) == {
        "io.kubernetes.service.namespace": "shop",
        "io.kubernetes.service.name": "web",
        "app": "web",
    }


def test_node_exposure() -> None:
    by_node = {"service.cilium.io/node": "edge"}
    by_selector = {"service.cilium.io/node-selector": "zone in (a,b)"}
    assert node_exposure(SERVICE) is None
    assert node_exposure(replace(SERVICE, annotations=by_node)) == LabelSelector((("service.cilium.io/node", "edge"),))
    expected = LabelSelector(match_expressions=(Requirement("zone", "In", ("a", "b")),))
    assert node_exposure(replace(SERVICE, annotations=by_node | by_selector)) == expected
    with pytest.raises(ValueError, match="the end"):
        node_exposure(replace(SERVICE, annotations=by_node | {"service.cilium.io/node-selector": "a in"}))


def test_annotation_problems() -> None:
    assert annotation_problems(SERVICE) == ()
    assert annotation_problems(replace(SERVICE, annotations={TYPE: "NodePort", "service.cilium.io/node-selector": ""})) == ()
    bad = replace(SERVICE, annotations={TYPE: "Ingress", "service.cilium.io/node-selector": "a in"})
    assert annotation_problems(bad) == (
        ObjectProblem(
            "service/shop/web",
            "BadNodeSelectorAnnotation",
            "annotation service.cilium.io/node-selector: selector 'a in': found the end where '(' is expected; "
            "no node announces the Service until it is corrected or removed",
        ),
        ObjectProblem(
            "service/shop/web",
            "BadTypeAnnotation",
            "annotation service.cilium.io/type: 'Ingress' is ignored; use ClusterIP, NodePort, LoadBalancer or remove it",
        ),
    )


def test_locally_served() -> None:
    names = ("here", "there", "anywhere", "down", "draining", "failing")
    here, there, anywhere, down, draining, failing = (NamespacedName("shop", name) for name in names)
    endpoints = (
        Endpoint(here, "n1"),
        Endpoint(here, "n1", ready=False),
        Endpoint(there, "n2"),
        Endpoint(anywhere, None),
        Endpoint(down, "n1", ready=False),
        Endpoint(draining, "n1", ready=False, serving=True, terminating=True),
        Endpoint(failing, "n1", ready=False, serving=False, terminating=True),
    )
    assert locally_served(endpoints, "n1") == {here, anywhere, draining}
    assert locally_served(endpoints, "n2") == {there, anywhere}
