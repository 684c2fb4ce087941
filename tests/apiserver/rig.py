"""What the tests on a real API server share: its users, an administrator, asynchronous tests, waiting, following a stream."""

import asyncio
import functools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from netlab.control_plane import ControlPlane, User

from l2announce.errors import ApiError
from l2announce.kube.credentials import from_kubeconfig
from l2announce.kube.transport import MERGE_PATCH, Transport

REPOSITORY = Path(__file__).parents[2]
AGENTS = tuple(User(name, ("agents",)) for name in ("n1", "n2", "n3"))
"""The users of the agents: the group has the rights of policies/rbac.yaml."""
OPERATOR = User("operator", ("operators",))
"""The user of the operators: the group has the rights of policies/rbac-operator.yaml."""
PATIENCE = 20.0
"""Seconds that a busy machine is given for what takes milliseconds."""
TEST_LIMIT = 90.0

NODES = "/api/v1/nodes"
NAMESPACES = "/api/v1/namespaces"
SERVICES = "/api/v1/namespaces/default/services"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
POLICIES = "/apis/cilium.io/v2alpha1/ciliuml2announcementpolicies"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

P = ParamSpec("P")
T = TypeVar("T")
Object = dict[str, Any]


def asynchronous(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test on a loop of its own, within TEST_LIMIT seconds."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), TEST_LIMIT))

    return run


async def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Wait until ``condition`` returns something true, and return it; TimeoutError that says ``what`` was waited for."""
    return await until_async(functools.partial(_call, condition), what, seconds)


async def until_async(condition: Callable[[], Awaitable[T]], what: str, seconds: float = PATIENCE) -> T:
    """The same for a condition that must be awaited. An ApiError in it counts as false."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    last: object = None
    while loop.time() < end:
        try:
            value = await condition()
        except ApiError as err:
            last = err
        else:
            if value:
                return value
            last = value
        await asyncio.sleep(0.01)
    raise TimeoutError(f"waited {seconds:g} s for {what}; last seen: {last!r}")


async def _call(condition: Callable[[], T]) -> T:
    return condition()


@asynccontextmanager
async def following(source: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    """A list that grows with what ``source`` yields. An error of the source is raised at the end."""
    came: list[T] = []

    async def collect() -> None:
        async for item in source:
            came.append(item)  # noqa: PERF401 - the list is read while it grows

    task = asyncio.create_task(collect())
    try:
        yield came
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if isinstance(source, AsyncGenerator):
            await source.aclose()


class Admin:
    """An administrator of the cluster. Objects are dicts; ApiError as Transport raises it."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def get(self, path: str) -> Object:
        """Read an object or a list."""
        return _object(await self.transport.request("GET", path))

    async def create(self, path: str, name: str, labels: dict[str, str] | None = None, **rest: Any) -> Object:
        """POST an object with this name to its collection."""
        document = {"metadata": {"name": name, "labels": labels or {}}, **rest}
        return _object(await self.transport.request("POST", path, body=json.dumps(document).encode()))

    async def merge(self, path: str, **patch: Any) -> Object:
        """Change an object by a merge patch."""
        return _object(await self.transport.request("PATCH", path, body=json.dumps(patch).encode(), content_type=MERGE_PATCH))

    async def delete(self, path: str) -> None:
        """Delete an object or a whole collection; what is not there is no error."""
        with suppress(ApiError):
            await self.transport.request("DELETE", path, timeout=30)

    async def node(self, name: str, **labels: str) -> None:
        """Create a Node."""
        await self.create(NODES, name, labels)

    async def service(self, name: str, ip: str = "", external_ip: str = "", **spec: Any) -> None:
        """Create a Service: of type LoadBalancer with ``ip`` in its status, or ClusterIP with ``external_ip``."""
        ports = [{"port": 80}]
        kind = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False} if ip else {}
        external = {"externalIPs": [external_ip]} if external_ip else {}
        await self.create(SERVICES, name, spec={"ports": ports, **kind, **external, **spec})
        if ip:
            await self.merge(f"{SERVICES}/{name}/status", status={"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]}})

    async def policy(self, name: str, path: str = POLICIES, **spec: Any) -> None:
        """Create a policy."""
        version = path.split("/")[3]
        await self.create(path, name, apiVersion=f"cilium.io/{version}", kind="CiliumL2AnnouncementPolicy", spec=spec)

    async def empty(self) -> None:
        """Delete all that tests make."""
        for path in (POLICIES, NODES, SLICES, LEASES, CONFIG_MAPS):
            await self.delete(path)
        for service in (await self.get(SERVICES))["items"]:
            if service["metadata"]["name"] != "kubernetes":
                await self.delete(f"{SERVICES}/{service['metadata']['name']}")


@asynccontextmanager
async def administrator(control_plane: ControlPlane) -> AsyncIterator[Admin]:
    """The administrator, in a cluster that was emptied for this test."""
    async with transport(control_plane.kubeconfig()) as made:
        admin = Admin(made)
        await admin.empty()
        yield admin


@asynccontextmanager
async def transport(kubeconfig: Path, connections: int = 8) -> AsyncIterator[Transport]:
    """A Transport with the credentials of a kubeconfig."""
    made = Transport(from_kubeconfig(kubeconfig), connections)
    try:
        yield made
    finally:
        await made.close()


def _object(octets: bytes) -> Object:
    decoded: Object = json.loads(octets)
    return decoded


async def start_api_server(control_plane: ControlPlane) -> None:
    """Start the API server, which was killed, and wait until it is ready. From this thread, with which it shall end."""
    control_plane.start_api_server()
    await asyncio.to_thread(control_plane.wait_ready)
