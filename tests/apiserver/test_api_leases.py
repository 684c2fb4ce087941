"""Leases on a real API server: what is written, what a write comes to, and that nothing queues it."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from netlab.api_proxy import ApiProxy, Fault, api_proxy, pass_all
from netlab.control_plane import ControlPlane

from l2announce.agent.clusters import LEASE_CONNECTIONS
from l2announce.control.ports import LeaseObserved, LeasesListed
from l2announce.errors import ApiError
from l2announce.kube.cluster import KubeCluster
from l2announce.kube.leases import KubeLeases
from l2announce.model.lease import INTERFACES_ANNOTATION, Conflict, Lease, LeaseWrite, Unreachable, Verb, WriteOutcome, Written
from tests.apiserver.rig import AGENTS, LEASES, Admin, administrator, asynchronous, following, transport, until

pytestmark = pytest.mark.apiserver

NAME = "cilium-l2announce-default-web"
NAMESPACE = "kube-system"
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def wanted(verb: Verb, base: Lease | None = None, holder: str = "n1", name: str = NAME) -> LeaseWrite:
    return LeaseWrite(verb, name, holder, 15.0, base, {INTERFACES_ANNOTATION: "eth0=02:00:00:00:00:01"})


def written(outcome: WriteOutcome) -> Lease:
    assert isinstance(outcome, Written), outcome
    return outcome.lease


@asynccontextmanager
async def stand(control_plane: ControlPlane, time_limit: float = 10.0) -> AsyncIterator[tuple[Admin, ApiProxy, KubeLeases]]:
    """The leases as the agent n1 has them, through a proxy."""
    async with (
        administrator(control_plane) as admin,
        api_proxy(control_plane, AGENTS) as (proxy, kubeconfigs),
        transport(kubeconfigs["n1"]) as made,
    ):
        yield admin, proxy, KubeLeases(made, NAMESPACE, time_limit)


@asynchronous
async def test_life_of_a_lease_has_the_fields_of_client_go(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as (_, proxy, leases):

        def seen_by_kubectl() -> dict[str, object]:
            answer = json.loads(control_plane.kubectl("-n", NAMESPACE, "get", "lease", NAME, "-o", "json").stdout)
            assert answer["metadata"]["annotations"] == {INTERFACES_ANNOTATION: "eth0=02:00:00:00:00:01"}
            spec: dict[str, object] = answer["spec"]
            return spec

        created = written(await leases.write(wanted(Verb.ACQUIRE)))
        first = await asyncio.to_thread(seen_by_kubectl)
        assert first.keys() == {"holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaseTransitions"}
        assert (first["holderIdentity"], first["leaseDurationSeconds"], first["leaseTransitions"]) == ("n1", 15, 0)
        assert first["acquireTime"] == first["renewTime"]
        assert MICRO_TIME.fullmatch(str(first["renewTime"]))

        renewed = written(await leases.write(wanted(Verb.RENEW, created)))
        second = await asyncio.to_thread(seen_by_kubectl)
        assert str(second["renewTime"]) > str(first["renewTime"])
        assert {**second, "renewTime": 0} == {**first, "renewTime": 0}

        released = written(await leases.write(wanted(Verb.RELEASE, renewed)))
        third = await asyncio.to_thread(seen_by_kubectl)
        assert (third["holderIdentity"], third["leaseDurationSeconds"], third["leaseTransitions"]) == ("", 1, 0)

        taken = written(await leases.write(wanted(Verb.ACQUIRE, released, "n2")))
        fourth = await asyncio.to_thread(seen_by_kubectl)
        assert (fourth["holderIdentity"], fourth["leaseDurationSeconds"], fourth["leaseTransitions"]) == ("n2", 15, 1)
        assert str(fourth["acquireTime"]) > str(first["acquireTime"])
        assert taken.resource_version not in {created.resource_version, renewed.resource_version, released.resource_version}
        assert [seen.method for seen in proxy.seen] == ["POST", "PUT", "PUT", "PUT"], "one request for a write, and never a GET"


@asynchronous
async def test_second_creator_and_late_writer_conflict(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as (admin, _, leases):
        created = written(await leases.write(wanted(Verb.ACQUIRE)))
        assert await leases.write(wanted(Verb.ACQUIRE, holder="n2")) == Conflict(), "AlreadyExists"
        renewed = written(await leases.write(wanted(Verb.RENEW, created)))
        assert await leases.write(wanted(Verb.ACQUIRE, created, "n2")) == Conflict(), "an old version"
        assert await leases.write(wanted(Verb.RELEASE, created)) == Conflict()
        await admin.delete(f"{LEASES}/{NAME}")
        assert await leases.write(wanted(Verb.RENEW, renewed)) == Conflict(), "gone"


@asynchronous
async def test_of_many_writers_at_once_one_wins(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as (_, _, leases):
        outcomes = await asyncio.gather(*(leases.write(wanted(Verb.ACQUIRE, holder=f"n{number}")) for number in range(12)))
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 11 + ["Written"]


@asynchronous
async def test_write_without_an_answer_in_time_is_unreachable(control_plane: ControlPlane) -> None:
    async with stand(control_plane, time_limit=0.3) as (_, proxy, leases):
        proxy.rule = lambda seen: Fault(delay=30) if seen.method == "POST" else None
        began = time.monotonic()
        outcome = await leases.write(wanted(Verb.ACQUIRE))
        assert outcome == Unreachable(f"lease {NAMESPACE}/{NAME}: the API server did not answer within 0.3 s")
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(status=429, headers={"Retry-After": "1"}), "HTTP 429"),
        (Fault(status=500, body=b'{"kind":"Status","reason":"InternalError","message":"etcd is away"}'), "InternalError: etcd is away"),
        (Fault(status=200, body=b"<html>"), "the API server answered with something else: .*not a Lease"),
        (Fault(status=404), "is there a namespace kube-system?"),
        (Fault(status=403), "grant create on leases in namespace kube-system"),
    ],
)
@asynchronous
async def test_refused_write_is_unreachable_and_says_why(control_plane: ControlPlane, fault: Fault, reason: str) -> None:
    async with stand(control_plane) as (_, proxy, leases):
        proxy.rule = lambda _: fault
        outcome = await leases.write(wanted(Verb.ACQUIRE))
        assert isinstance(outcome, Unreachable)
        assert re.search(reason.rstrip("?"), outcome.reason), outcome.reason
        assert leases.trouble == outcome.reason
        proxy.rule = pass_all
        await leases.write(wanted(Verb.ACQUIRE))
        assert not leases.trouble


@asynchronous
async def test_a_watch_that_fails_is_known(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as (_, proxy, leases), following(leases.watch()) as events:
        await until(lambda: events, "the list")
        assert not leases.trouble
        proxy.rule = lambda _: Fault(status=503)
        proxy.cut_watches()
        await until(lambda: "HTTP 503" in leases.trouble, "the trouble to be known")
        assert leases.trouble.startswith(f"leases of namespace {NAMESPACE}: ")
        proxy.rule = pass_all
        await until(lambda: not leases.trouble, "the trouble to be over", 30)


@asynchronous
async def test_namespace_and_rights_that_lack_are_named(control_plane: ControlPlane) -> None:
    async with administrator(control_plane) as admin, transport(control_plane.kubeconfig("nobody")) as made:
        refused = await KubeLeases(made, NAMESPACE, 10).write(wanted(Verb.ACQUIRE))
        assert isinstance(refused, Unreachable)
        assert re.search('User "nobody" cannot create resource "leases".*grant create on leases', refused.reason)
        nowhere = await KubeLeases(admin.transport, "nowhere", 10).write(wanted(Verb.ACQUIRE))
        assert isinstance(nowhere, Unreachable)
        assert re.search(r'namespaces "nowhere" not found; is there a namespace nowhere\?', nowhere.reason)


@asynchronous
async def test_watch_tells_the_list_then_every_change(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as (admin, proxy, leases):
        created = written(await leases.write(wanted(Verb.ACQUIRE)))
        async with following(leases.watch()) as came:
            await until(lambda: proxy.watching, "the watch")
            renewed = written(await leases.write(wanted(Verb.RENEW, created)))
            await admin.create(LEASES, "foreign", spec={"holderIdentity": "scheduler"})
            await admin.delete(f"{LEASES}/{NAME}")
            await until(lambda: len(came) == 4, "the changes")
        assert came[0] == LeasesListed((created,))
        assert came[1] == LeaseObserved(NAME, renewed)
        assert isinstance(came[2], LeaseObserved)
        assert came[2].lease is not None
        assert (came[2].name, came[2].lease.holder_identity, came[2].lease.lease_duration) == ("foreign", "scheduler", 0.0)
        assert came[3] == LeaseObserved(NAME, None)


@asynchronous
async def test_leases_do_not_queue_behind_lists_that_take_long(control_plane: ControlPlane) -> None:
    async with (
        administrator(control_plane) as admin,
        api_proxy(control_plane, AGENTS) as (proxy, kubeconfigs),
        transport(kubeconfigs["n1"], 1) as objects,
        transport(kubeconfigs["n1"], 4) as own,
    ):
        await admin.service("web", "192.0.2.1")
        proxy.rule = lambda seen: Fault(delay=60) if seen.is_list and "/leases" not in seen.path else None
        async with following(KubeCluster(objects, "n1").states()):
            await until(lambda: proxy.seen, "a list that takes long")
            leases, lease, slowest = KubeLeases(own, NAMESPACE, 10), None, 0.0
            for _ in range(20):
                began = time.monotonic()
                lease = written(await leases.write(wanted(Verb.RENEW if lease else Verb.ACQUIRE, lease)))
                slowest = max(slowest, time.monotonic() - began)
        assert slowest < 5.0, "far from the 60 s that the lists take"
        assert not [seen for seen in proxy.seen if seen.is_watch], "the lists were under way all the time"


@asynchronous
async def test_a_slow_server_is_given_32_writes_at_a_time_beside_the_watch(control_plane: ControlPlane) -> None:
    async with (
        administrator(control_plane),
        api_proxy(control_plane, AGENTS) as (proxy, kubeconfigs),
        transport(kubeconfigs["n1"], LEASE_CONNECTIONS) as own,
    ):
        leases = KubeLeases(own, NAMESPACE, 10)
        async with following(leases.watch()) as came:
            await until(lambda: came, "the list of leases")
            proxy.rule = lambda seen: Fault(delay=1.5, status=503) if seen.method == "POST" else None
            began = time.monotonic()
            outcomes = await asyncio.gather(*(leases.write(wanted(Verb.ACQUIRE, name=f"{NAME}-{n}")) for n in range(64)))
            took = time.monotonic() - began
        assert all(isinstance(outcome, Unreachable) for outcome in outcomes)
        posts = sorted(seen.at for seen in proxy.seen if seen.method == "POST")
        assert posts[31] - posts[0] < 1.5 <= posts[32] - posts[0], "32 are under way before one is answered, and no more"
        assert took >= 3.0, "two rounds of 32"


@asynchronous
async def test_lease_without_a_right_does_not_end_the_watch(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as (_, proxy, leases):
        refused = iter([Fault(status=403), Fault(status=401), Fault(status=404)])
        proxy.rule = lambda seen: next(refused, None) if seen.is_list else None
        async with following(leases.watch()) as came:
            await until(lambda: came, "the list, after refusals")
        assert isinstance(came[0], LeasesListed)
        with pytest.raises(ApiError):
            async with transport(control_plane.kubeconfig("nobody")) as made:
                await made.request("GET", LEASES)
