"""The objects of a real API server: what is watched, what is told, what is wrong with it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest
import yaml
from netlab.api_proxy import ApiProxy, Fault, Seen, api_proxy
from netlab.control_plane import ControlPlane

from l2announce.kube.cluster import CRD_NAME, KubeCluster
from l2announce.model.objects import ClusterState
from tests.apiserver.rig import (
    AGENTS,
    CRDS,
    POLICIES,
    REPOSITORY,
    SERVICES,
    SLICES,
    Admin,
    administrator,
    asynchronous,
    following,
    transport,
    until,
    until_async,
)

pytestmark = pytest.mark.apiserver

LB_ONLY: dict[str, Any] = {"loadBalancerIPs": True}
BOTH: dict[str, Any] = {"loadBalancerIPs": True, "externalIPs": True}


@dataclass
class Stand:
    """What the agent n1 is told, through ``proxy``."""

    admin: Admin
    proxy: ApiProxy
    states: list[ClusterState]

    async def state(self, condition: str, what: Any) -> ClusterState:
        """Wait until ``what(state)`` holds."""
        await until(lambda: self.states and what(self.states[-1]), condition)
        return self.states[-1]

    def watches(self, resource: str) -> list[Seen]:
        return [seen for seen in self.proxy.requests(f"/{resource}") if seen.is_watch]


@asynccontextmanager
async def stand(control_plane: ControlPlane, user: str = "n1") -> AsyncIterator[Stand]:
    users = (*AGENTS, next(one for one in control_plane.users if one.name == "nobody"))
    async with (
        administrator(control_plane) as admin,
        api_proxy(control_plane, users) as (proxy, kubeconfigs),
        transport(kubeconfigs[user]) as made,
        following(KubeCluster(made, "n1").states()) as states,
    ):
        yield Stand(admin, proxy, states)


def services(state: ClusterState) -> set[str]:
    return {key.name for key in state.services}


async def slice_of(admin: Admin, service: str, node: str) -> None:
    endpoint = {"addresses": ["10.0.0.1"], "nodeName": node, "conditions": {"ready": True}}
    labels = {"kubernetes.io/service-name": service}
    await admin.create(SLICES, f"{service}-1", labels, addressType="IPv4", endpoints=[endpoint], ports=[])


@asynchronous
async def test_nothing_but_nodes_is_watched_without_a_policy(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        await at.admin.node("n1", zone="a")
        state = await at.state("the node", lambda state: "n1" in state.nodes)
        assert state.nodes["n1"].labels == {"zone": "a"}
        assert state.api_servers == {ip_address("127.0.0.1")}, "the address that is connected to, whatever it is called"
        assert (state.services, state.policies, state.problems) == ({}, {}, ())
        assert {seen.path.rsplit("/", 1)[1] for seen in at.proxy.seen} == {
            "nodes",
            "customresourcedefinitions",
            "ciliuml2announcementpolicies",
        }


@asynchronous
async def test_only_services_that_some_policy_can_announce_are_asked_for(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        await at.admin.service("lb", "192.0.2.1")
        await at.admin.service("external", external_ip="192.0.2.2")
        await at.admin.policy("l2", **LB_ONLY)
        state = await at.state("the Service", lambda state: "lb" in services(state))
        assert services(state) == {"lb"}
        assert [str(address) for service in state.services.values() for address in service.load_balancer_ips] == ["192.0.2.1"]
        assert {seen.query.get("fieldSelector") for seen in at.proxy.requests("/services")} == {"spec.type=LoadBalancer"}

        await at.admin.merge(f"{POLICIES}/l2", spec=BOTH)
        state = await at.state("every Service", lambda state: "external" in services(state))
        assert {"lb", "external"} <= services(state)
        assert at.watches("services")[-1].query.get("fieldSelector") is None
        await until(lambda: at.proxy.watching == 4, "the former watch to have ended: CRDs, nodes, policies, Services are left")

        await at.admin.delete(f"{POLICIES}/l2")
        await at.state("no Service", lambda state: not state.services)
        await until(lambda: at.proxy.watching == 3, "the watch of Services to have ended")
        assert not at.proxy.requests("/endpointslices")


@asynchronous
async def test_endpoint_slices_are_asked_for_where_they_decide(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        await at.admin.policy("l2", **LB_ONLY)
        await at.admin.service("anywhere", "192.0.2.1")
        await slice_of(at.admin, "anywhere", "n1")
        await at.state("the Service", lambda state: "anywhere" in services(state))
        assert not at.proxy.requests("/endpointslices")

        await slice_of(at.admin, "local", "n2")
        await at.admin.service("local", "192.0.2.3", externalTrafficPolicy="Local")
        state = await at.state("the endpoint", lambda state: state.endpoints)
        assert [(endpoint.service.name, endpoint.node_name) for endpoint in state.endpoints] == [("local", "n2")]
        assert {seen.query["labelSelector"] for seen in at.proxy.requests("/endpointslices")} == {"kubernetes.io/service-name in (local)"}
        assert not [
            told
            for told in at.states
            if told.services.keys()
            and "local" in services(told)
            and not told.endpoints
            and (next(s for s in told.services.values() if s.key.name == "local").load_balancer_ips)
        ], "never a Service without its endpoints"

        await at.admin.merge(f"{SERVICES}/local", spec={"externalTrafficPolicy": "Cluster"})
        await at.state("no endpoint", lambda state: not state.endpoints)


@asynchronous
async def test_idle_cluster_costs_no_request(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        await at.admin.policy("l2", **BOTH)
        await at.admin.node("n1")
        for number in range(5):
            await at.admin.service(f"web-{number}", f"192.0.2.{number}")
        await at.state("the Services", lambda state: sum(bool(one.load_balancer_ips) for one in state.services.values()) == 5)
        await until(lambda: at.proxy.watching == 4, "every watch")
        asked = [(seen.path, seen.is_watch) for seen in at.proxy.seen]
        for number in range(5):
            await at.admin.merge(f"{SERVICES}/web-{number}", metadata={"labels": {"round": "2"}})
        await at.state("the labels", lambda state: sum("round" in one.labels for one in state.services.values()) == 5)
        assert [(seen.path, seen.is_watch) for seen in at.proxy.seen] == asked, "changes come by the watches: no GET, whatever changes"
        told = len(at.states)
        await at.admin.merge(f"{SERVICES}/web-0/status", metadata={"annotations": {"x": "y"}})
        await at.admin.merge(f"{SERVICES}/web-0", spec={"sessionAffinity": "ClientIP"})
        await at.admin.node("n2")
        await at.state("the node", lambda state: "n2" in state.nodes)
        assert len(at.states) <= told + 2, "what makes no difference is not told"


# -- the CRD


def crd() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((REPOSITORY / "policies" / "crds" / "ciliuml2announcementpolicies.yaml").read_text())
    return document


async def install(admin: Admin, document: dict[str, Any]) -> None:
    await admin.transport.request("POST", CRDS, body=json.dumps(document).encode())
    await served(admin)


async def served(admin: Admin) -> None:
    async def conditions() -> bool:
        found = (await admin.get(f"{CRDS}/{CRD_NAME}"))["status"].get("conditions") or []
        return any(one["type"] == "Established" and one["status"] == "True" for one in found)

    await until_async(conditions, "the CRD to be established")


async def uninstall(admin: Admin) -> None:
    await admin.delete(f"{CRDS}/{CRD_NAME}")

    async def gone() -> bool:
        return not [one for one in (await admin.get(CRDS))["items"] if one["metadata"]["name"] == CRD_NAME]

    await until_async(gone, "the CRD to be gone")


@asynchronous
async def test_crd_is_missed_and_picked_up_when_it_is_applied(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        await uninstall(at.admin)
        try:
            state = await at.state("the problem", lambda state: state.problems)
            assert [(problem.subject, problem.reason) for problem in state.problems] == [
                (f"customresourcedefinition/{CRD_NAME}", "NotInstalled")
            ]
            assert "apply policies/crds" in state.problems[0].message
        finally:
            await install(at.admin, crd())
        await at.state("no problem", lambda state: not state.problems)
        await until_async(lambda: _made(at.admin), "the API server to serve policies")
        state = await at.state("the policy", lambda state: state.policies)
        assert state.policies["l2"].load_balancer_ips


async def _made(admin: Admin) -> bool:
    await admin.policy("l2", **LB_ONLY)
    return True


@asynchronous
async def test_best_version_that_is_served_is_watched(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        await at.admin.policy("old", **LB_ONLY)
        await at.admin.policy("new", POLICIES.replace("v2alpha1", "v2"), **LB_ONLY)
        await at.state("both", lambda state: state.policies.keys() == {"old", "new"})
        assert {seen.path for seen in at.proxy.requests("policies")} == {POLICIES.replace("v2alpha1", "v2")}
        document = await at.admin.get(f"{CRDS}/{CRD_NAME}")
        versions = document["spec"]["versions"]
        try:
            only_alpha = [{**version, "served": version["name"] == "v2alpha1"} for version in versions]
            await at.admin.merge(f"{CRDS}/{CRD_NAME}", spec={"versions": only_alpha})
            await until(
                lambda: [seen for seen in at.watches("ciliuml2announcementpolicies") if "v2alpha1" in seen.path], "the other version"
            )
            assert all(state.policies.keys() == {"old", "new"} for state in at.states[at.states.index(at.states[-1]) :])
            assert at.states[-1].policies.keys() == {"old", "new"}
        finally:
            await at.admin.merge(f"{CRDS}/{CRD_NAME}", spec={"versions": [{**version, "served": True} for version in versions]})


# -- what is wrong


@asynchronous
async def test_policy_with_a_wrong_type_is_told_by_path(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        await at.admin.policy("good", **LB_ONLY)
        await at.state("the policy", lambda state: "good" in state.policies)
        document = await at.admin.get(f"{CRDS}/{CRD_NAME}")
        loose = [
            {**version, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
            for version in document["spec"]["versions"]
        ]
        try:
            await at.admin.merge(f"{CRDS}/{CRD_NAME}", spec={"versions": loose})

            async def accepted() -> bool:
                await at.admin.merge(f"{POLICIES}/good", spec={"interfaces": [7]})
                return True

            await until_async(accepted, "the API server to accept anything")
            state = await at.state("the problem", lambda state: state.problems)
            assert [problem.subject for problem in state.problems] == ["ciliuml2announcementpolicy/good"]
            assert state.problems[0].message.startswith("spec.interfaces[0]: Expected str, got int (7); put it in quotes")
            assert state.policies["good"].load_balancer_ips, "its last good state stays in force"
            await at.admin.merge(f"{POLICIES}/good", spec={"interfaces": ["eth0"]})
            state = await at.state("no problem", lambda state: not state.problems)
            assert state.policies["good"].interfaces == ("eth0",)
        finally:
            await at.admin.merge(f"{CRDS}/{CRD_NAME}", spec={"versions": document["spec"]["versions"]})


@asynchronous
async def test_right_that_lacks_is_named_and_the_rest_works(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        forbidden = b'{"kind":"Status","reason":"Forbidden","message":"nodes is forbidden: User \\"n1\\" cannot list resource \\"nodes\\""}'
        at.proxy.rule = lambda seen: Fault(status=403, body=forbidden) if seen.path.endswith("/nodes") else None
        at.proxy.cut_watches()
        await at.admin.policy("l2", **LB_ONLY)
        await at.admin.service("web", "192.0.2.1")
        state = await at.state("the Service and the problem", lambda state: state.services and state.problems)
        assert [(problem.subject, problem.reason) for problem in state.problems] == [("node", "Forbidden")]
        assert 'cannot list resource "nodes"' in state.problems[0].message
        assert "grant list and watch on Node" in state.problems[0].message
        at.proxy.rule = lambda _: None
        await at.state("no problem", lambda state: not state.problems)


@asynchronous
async def test_user_without_any_right_is_told_so(control_plane: ControlPlane) -> None:
    async with stand(control_plane, "nobody") as at:
        state = await at.state("problems", lambda state: len(state.problems) >= 2)
        assert {problem.reason for problem in state.problems} == {"Forbidden"}
        assert {problem.subject for problem in state.problems} == {"customresourcedefinition", "node"}


@asynchronous
async def test_losing_the_api_server_changes_nothing_but_the_problems(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        await at.admin.policy("l2", **LB_ONLY)
        await at.admin.service("web", "192.0.2.1")
        before = await at.state("the Service", lambda state: any(one.load_balancer_ips for one in state.services.values()))
        at.proxy.rule = lambda _: Fault(status=500)
        at.proxy.cut_watches()
        state = await at.state("the problems", lambda state: len(state.problems) == 4)
        assert {problem.reason for problem in state.problems} == {"NotWatched"}
        assert (state.services, state.policies, state.nodes) == (before.services, before.policies, before.nodes)
        at.proxy.rule = lambda _: None
        await at.state("no problem", lambda state: state == before)
