"""Which nodes can serve Services of externalTrafficPolicy Local, alone and in a group."""

from l2announce.control.endpoints import LocalEndpoints, local_endpoints
from l2announce.control.groups import Group
from l2announce.model.objects import ClusterState, Endpoint, NamespacedName, Service

A, B, C = (NamespacedName("shop", name) for name in "abc")
GROUP = Group((A, B, C), frozenset())
NODES = frozenset({"n1", "n2", "n3"})


def endpoints(*known: Endpoint, local: tuple[NamespacedName, ...] = (A, B)) -> LocalEndpoints:
    services = {key: Service(key, external_traffic_policy="Local" if key in local else "Cluster") for key in (A, B, C)}
    return local_endpoints(ClusterState({}, services, known))


def able(*known: Endpoint, local: tuple[NamespacedName, ...] = (A, B)) -> set[str]:
    return set(endpoints(*known, local=local).able(GROUP, NODES))


def test_where_endpoints_take_traffic() -> None:
    found = endpoints(
        Endpoint(A, "n1"),
        Endpoint(A, "n2", ready=False, serving=True, terminating=True),
        Endpoint(A, "n3", ready=False, serving=True),
        Endpoint(B, None),
        Endpoint(B, "n1", ready=False, serving=False, terminating=True),
        Endpoint(C, "n1"),
    )
    assert found == LocalEndpoints(frozenset({A, B}), {A: frozenset({"n1", "n2"})}, frozenset({B}))
    assert found.servers(A, frozenset({"n2", "n3"})) == {"n2"}
    assert found.servers(B, NODES) == NODES
    assert found.unserved(GROUP, NODES) == frozenset()
    assert found.unserved(GROUP, frozenset({"n3"})) == {A}


def test_no_local_service_means_every_candidate() -> None:
    assert able(Endpoint(A, "n1"), local=()) == NODES


def test_those_who_serve_all_where_there_is_one() -> None:
    assert able(Endpoint(A, "n1"), Endpoint(A, "n2"), Endpoint(B, "n2")) == {"n2"}
    assert able(Endpoint(A, "n1"), Endpoint(A, "n2"), Endpoint(B, None)) == {"n1", "n2"}


def test_else_those_who_serve_one() -> None:
    assert able(Endpoint(A, "n1"), Endpoint(B, "n2")) == {"n1", "n2"}


def test_what_nobody_serves_does_not_count() -> None:
    assert able(Endpoint(A, "n1")) == {"n1"}
    assert able() == NODES
    assert able(Endpoint(A, "n9")) == NODES, "n9 is no candidate"
    assert endpoints(Endpoint(A, "n1")).unserved(GROUP, NODES) == {B}
