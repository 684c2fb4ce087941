"""The operator on a real API server: pools and Services in, addresses and conditions out; two operators never give one address twice."""

import asyncio
import signal
import socket
import statistics
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from netlab.agents import PROGRAM
from netlab.control_plane import ControlPlane

from l2announce.agent.operator import Operator
from l2announce.errors import ApiError
from l2announce.ipam.demand import IpamSettings
from l2announce.kernel.clock import BootClock
from l2announce.kube.leases import KubeLeases
from l2announce.kube.pools import KubePools
from l2announce.kube.transport import Transport
from l2announce.model.address import Address
from l2announce.model.conditions import Condition
from l2announce.model.lease import LeaseWrite, WriteOutcome
from l2announce.model.pools import BalancedService
from l2announce.model.timing import Timing
from tests.apiserver.rig import OPERATOR, SERVICES, Admin, administrator, asynchronous, transport, until, until_async

pytestmark = pytest.mark.apiserver

POOLS = "/apis/cilium.io/v2/ciliumloadbalancerippools"
TIMING = Timing(2.0, 0.8, 0.4)


class FrozenPools(KubePools):
    """Requests that were decided on before the process was frozen, and are sent when it wakes."""

    def __init__(self, objects: Transport, ice: asyncio.Event) -> None:
        super().__init__(objects, "frozen")
        self.ice, self.sent = ice, list[str]()

    async def write_service(self, service: BalancedService, addresses: Sequence[Address], conditions: Sequence[Condition]) -> None:
        """Wait, where it would give an address to ``z``; then note what came of it."""
        if not addresses or service.key.name != "z":
            return await super().write_service(service, addresses, conditions)
        FROZEN.append(service.key.name)
        await self.ice.wait()
        try:
            await super().write_service(service, addresses, conditions)
        except ApiError as err:
            WOKEN.append(err.code)
            raise
        WOKEN.append(200)
        return None


class FrozenLeases(KubeLeases):
    """The leases of the same process: no renewal is sent once something waits."""

    def __init__(self, leases: Transport, ice: asyncio.Event) -> None:
        super().__init__(leases, "kube-system", 0.8)
        self.ice = ice

    async def write(self, write: LeaseWrite) -> WriteOutcome:
        """Wait, if the process is frozen."""
        if FROZEN:
            await self.ice.wait()
        return await super().write(write)


FROZEN: list[str] = []
"""The Services whose status a frozen process is about to write."""
WOKEN: list[int] = []
"""What came of it: HTTP codes."""


@dataclass
class Stand:
    """A cluster without controllers, and its operators."""

    admin: Admin
    control_plane: ControlPlane

    async def pool(self, name: str, *cidrs: str, **spec: Any) -> None:
        body = {"blocks": [{"cidr": cidr} for cidr in cidrs], **spec}
        await self.admin.create(POOLS, name, apiVersion="cilium.io/v2", kind="CiliumLoadBalancerIPPool", spec=body)

    async def service(self, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        body = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"port": 80}], **spec}
        await self.admin.create(SERVICES, name, spec=body)
        if annotations:
            await self.admin.merge(f"{SERVICES}/{name}", metadata={"annotations": annotations})

    async def given(self, name: str) -> list[str]:
        status = (await self.admin.get(f"{SERVICES}/{name}"))["status"]
        return [one["ip"] for one in status.get("loadBalancer", {}).get("ingress", ())]

    async def condition(self, path: str, kind: str) -> tuple[str, str, str]:
        status = (await self.admin.get(path)).get("status", {})
        return next(
            ((one["status"], one["reason"], one["message"]) for one in status.get("conditions", ()) if one["type"] == kind), ("",) * 3
        )

    async def until_given(self, name: str, *addresses: str) -> None:
        async def look() -> bool:
            return await self.given(name) == list(addresses)

        await until_async(look, f"{name} to have {addresses}")

    async def until_refused(self, name: str, reason: str) -> None:
        async def look() -> bool:
            return (await self.condition(f"{SERVICES}/{name}", "cilium.io/IPAMRequestSatisfied"))[:2] == ("False", reason)

        await until_async(look, f"{name} to be refused: {reason}")

    @asynccontextmanager
    async def operator(self, identity: str, ice: asyncio.Event | None = None) -> AsyncIterator[Operator]:
        """An operator. With ``ice`` it stands still before each request, once it has decided on one address, until that is set."""
        kubeconfig = self.control_plane.kubeconfig(OPERATOR.name)
        async with transport(kubeconfig) as objects, transport(kubeconfig) as leases:
            pools, store = KubePools(objects, identity), KubeLeases(leases, "kube-system", 0.8)
            if ice is not None:
                pools, store = FrozenPools(objects, ice), FrozenLeases(leases, ice)
            made = Operator(identity, TIMING, IpamSettings(), pools, store, BootClock())
            task = asyncio.create_task(made.run())
            try:
                yield made
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def stand(control_plane: ControlPlane) -> AsyncIterator[Stand]:
    async with administrator(control_plane) as admin:
        await admin.delete(POOLS)
        yield Stand(admin, control_plane)
        await admin.delete(POOLS)


def run_pools(control_plane: ControlPlane, *arguments: str) -> list[str]:
    command = (str(PROGRAM), "pools", "--kubeconfig", str(control_plane.kubeconfig()), *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.splitlines()


@asynchronous
async def test_from_a_pool_to_addresses_and_conditions(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at, at.operator("o1"):
        await at.service("web")
        await at.pool("a", "10.10.0.0/31", "fd10::/126")
        await at.until_given("web", "10.10.0.0")
        await at.service("api", {"lbipam.cilium.io/ips": "10.10.0.1"})
        await at.until_given("api", "10.10.0.1")
        await at.service("more")
        await at.until_refused("more", "out_of_ips")

        async def told() -> bool:
            events = (await at.admin.get("/api/v1/namespaces/default/events"))["items"]
            return any(one["involvedObject"]["name"] == "more" and one["message"].startswith("out_of_ips: ") for one in events)

        await until_async(told, "an Event that says why")
        await at.service("six", ipFamilies=["IPv6"])
        await at.until_given("six", "fd10::")
        await at.admin.delete(f"{SERVICES}/web")
        await at.until_given("more", "10.10.0.0")

        async def counted() -> bool:
            return (await at.condition(f"{POOLS}/a", "cilium.io/IPsAvailable"))[2] == "3"

        await until_async(counted, "the pool to count")
        assert await at.condition(f"{POOLS}/a", "cilium.io/PoolConflict") == ("False", "resolved", "")
        shown = await asyncio.to_thread(run_pools, control_plane, "a")
        assert shown[1].split()[:3] == ["a", "3", "6"]
        assert ["10.10.0.0", "default/more"] in [line.split() for line in shown]


@asynchronous
async def test_a_pool_that_no_longer_has_an_address_takes_it_and_gives_another(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at, at.operator("o1"):
        await at.pool("a", "10.10.0.0/31")
        for number, name in enumerate(("web", "api")):
            await at.service(name)
            await at.until_given(name, f"10.10.0.{number}")
        await at.admin.merge(f"{POOLS}/a", spec={"blocks": [{"cidr": "10.10.0.1/32"}, {"start": "10.10.0.9"}]})
        await at.until_given("web", "10.10.0.9")
        assert await at.given("api") == ["10.10.0.1"], "what is still in the pool stays"
        await at.admin.merge(f"{SERVICES}/web", spec={"type": "ClusterIP"})
        await at.until_given("web")
        await at.admin.delete(f"{POOLS}/a")
        await at.until_given("api")
        await at.until_refused("api", "no_pool")


@asynchronous
async def test_the_next_operator_adopts_and_goes_on(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        await at.pool("a", "10.10.0.0/30")
        async with at.operator("o1"):
            for name in ("a", "b"):
                await at.service(name)
                await at.until_given(name, f"10.10.0.{'ab'.index(name)}")
        before = {name: (await at.admin.get(f"{SERVICES}/{name}"))["metadata"]["resourceVersion"] for name in ("a", "b")}
        async with at.operator("o2"):
            await at.service("c")
            await at.until_given("c", "10.10.0.2")
        after = {name: (await at.admin.get(f"{SERVICES}/{name}"))["metadata"]["resourceVersion"] for name in ("a", "b")}
        assert before == after, "what has its address is not written again"


@asynchronous
async def test_a_frozen_operator_that_wakes_gives_nothing_twice(control_plane: ControlPlane) -> None:
    """The first is frozen when it has decided, has seen that it leads, and its request is about to go out. For the second another Service
    comes first, and the one that the first has in mind says already what it shall say."""
    FROZEN.clear()
    WOKEN.clear()
    ice = asyncio.Event()
    async with stand(control_plane) as at, at.operator("o1", ice):
        await at.pool("a", "10.10.0.7/32")
        await at.service("old")
        await at.until_given("old", "10.10.0.7")
        await asyncio.sleep(1.05 - time.time() % 1)  # at the beginning of a second, as ages have no finer grain
        await at.service("a", {"lbipam.cilium.io/ips": "192.0.2.1"})
        await at.service("z")
        created = {(await at.admin.get(f"{SERVICES}/{name}"))["metadata"]["creationTimestamp"] for name in "az"}
        assert len(created) == 1
        await at.until_refused("a", "no_pool")
        await at.until_refused("z", "out_of_ips")
        await at.admin.delete(f"{SERVICES}/old")
        await until(lambda: "z" in FROZEN, "the first to decide")
        await at.admin.merge(f"{SERVICES}/a", metadata={"annotations": None})
        async with at.operator("o2"):
            await at.until_given("a", "10.10.0.7")
            ice.set()
            await until(lambda: WOKEN, "the first to wake")
            assert set(WOKEN) == {409}
            assert await at.given("a") == ["10.10.0.7"]
            assert await at.given("z") == []
            await at.until_refused("z", "out_of_ips")


@asynchronous
async def test_a_refusal_is_told_and_lifted_within_a_second(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at, at.operator("o1") as operator:
        await at.pool("a", "10.10.0.0/32")
        await at.service("first")
        await at.until_given("first", "10.10.0.0")
        told, lifted = [], []
        for number in range(5):
            created = time.monotonic()
            await at.service(f"more{number}")
            await at.until_refused(f"more{number}", "out_of_ips")
            told.append(time.monotonic() - created)
        for number in range(5):
            widened = time.monotonic()
            await at.admin.merge(f"{POOLS}/a", spec={"blocks": [{"start": "10.10.0.0", "stop": f"10.10.0.{number + 1}"}]})
            await at.until_given(f"more{number}", f"10.10.0.{number + 1}")
            lifted.append(time.monotonic() - widened)
        assert statistics.median(told) < 1.0, told
        assert statistics.median(lifted) < 1.0, lifted
        assert operator.leads


@asynchronous
async def test_the_loss_of_the_api_server_costs_nothing_but_time(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at, at.operator("o1") as operator:
        await at.pool("a", "10.10.0.0/30")
        await at.service("web")
        await at.until_given("web", "10.10.0.0")
        before = (await at.admin.get(f"{SERVICES}/web"))["metadata"]["resourceVersion"]
        control_plane.signal("kube-apiserver", signal.SIGSTOP)
        try:
            await until(lambda: not operator.leads, "the operator to know that it leads no more")
            assert operator.not_live() == ""
        finally:
            control_plane.signal("kube-apiserver", signal.SIGCONT)
        await at.service("api")
        await at.until_given("api", "10.10.0.1")
        assert (await at.admin.get(f"{SERVICES}/web"))["metadata"]["resourceVersion"] == before


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def served(port: int, path: str) -> str:
    """What a program serves; "" while it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


@contextmanager
def program(control_plane: ControlPlane, identity: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """``l2announce operator``, as its user would start it."""
    times = ("--lease-duration", "2s", "--lease-renew-deadline", "800ms", "--lease-retry-period", "400ms")
    which = ("--kubeconfig", str(control_plane.kubeconfig(OPERATOR.name)), "--identity", identity, "--metrics-address", f"127.0.0.1:{port}")
    process = subprocess.Popen((str(PROGRAM), "operator", *which, *times), stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


@asynchronous
async def test_the_program_is_frozen_and_wakes_and_ends_in_order(control_plane: ControlPlane) -> None:
    ports = free_port(), free_port()
    leading = "l2announce_lbipam_leading 1.0"

    async def leads(port: int) -> None:
        async def look() -> bool:
            return leading in await asyncio.to_thread(served, port, "/metrics")

        await until_async(look, f"the operator at {port} to lead")

    async with stand(control_plane) as at:
        await at.pool("a", "10.10.0.0/30")
        with program(control_plane, "o1", ports[0]) as first:
            await leads(ports[0])
            assert await asyncio.to_thread(served, ports[0], "/readyz") == await asyncio.to_thread(served, ports[0], "/livez") == "ok\n"
            await at.service("a")
            await at.until_given("a", "10.10.0.0")
            with program(control_plane, "o2", ports[1]) as second:
                await until_async(lambda: asyncio.to_thread(served, ports[1], "/readyz"), "the second to be ready")
                first.send_signal(signal.SIGSTOP)
                await leads(ports[1])
                await at.service("b")
                await at.until_given("b", "10.10.0.1")
                first.send_signal(signal.SIGCONT)

                async def knows() -> bool:
                    return leading not in await asyncio.to_thread(served, ports[0], "/metrics")

                await until_async(knows, "the first to know that it is over")
                await at.service("c")
                await at.until_given("c", "10.10.0.2")
                second.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(second.wait, 10) == 0
                await leads(ports[0])
                await at.service("d")
                await at.until_given("d", "10.10.0.3")
                assert [await at.given(name) for name in "abc"] == [[f"10.10.0.{number}"] for number in range(3)]
                text = await asyncio.to_thread(served, ports[0], "/metrics")
                assert 'l2announce_lbipam_ips_available{pool="a"} 0.0' in text
                assert "l2announce_lbipam_services_matching 4.0" in text
