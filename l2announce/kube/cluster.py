"""The objects of the API server, live. Fulfils control.ports.Cluster; leases are in leases.py.

Watches only what is needed: Services of the kinds that some policy announces, the EndpointSlices of those that depend on local endpoints,
policies in the version that the server has. Needs change as objects do; another watch then takes the place of the former one, and no state
is told until it has listed, so that what is held is not given up for want of objects that are on their way.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from l2announce.errors import ApiError
from l2announce.kube.definitions import best_version, decode_definition, definition
from l2announce.kube.events import ServiceEvents
from l2announce.kube.reflector import Reflector, Resource
from l2announce.kube.statuses import PolicyStatuses
from l2announce.kube.table import Table
from l2announce.kube.transport import Transport
from l2announce.model import objects as model
from l2announce.model.conditions import Condition
from l2announce.model.events import ServiceEvent
from l2announce.wire import schema
from l2announce.wire.fields import decode
from l2announce.wire.objects import (
    SERVICE_NAME_LABEL,
    decode_endpoint_slice,
    decode_node,
    decode_policy,
    decode_service,
)

QUIET = 0.01
"""A burst of changes ends when nothing came for this many seconds,"""
LONGEST = 0.04
"""or after this many."""
SELECTOR_LIMIT = 50
"""Services named in one label selector; where more need their EndpointSlices, all are watched."""

CRD_NAME = "ciliuml2announcementpolicies.cilium.io"
POLICY_VERSIONS = ("v2", "v2alpha1")
"""Best first."""

_NODES = Resource("/api/v1/nodes")
_CRD = definition(CRD_NAME)
_SERVICES = "/api/v1/services"
_SLICES = "/apis/discovery.k8s.io/v1/endpointslices"


class KubeCluster:
    """Nodes, Services, EndpointSlices and policies, through one Transport. One consumer of ``states`` at a time."""

    def __init__(self, transport: Transport, node: str) -> None:
        """``node``: from which Events come."""
        self._transport = transport
        self._statuses = PolicyStatuses(transport)
        self._events = ServiceEvents(transport, node)
        self._crd = Table("CustomResourceDefinition", decode_definition)
        self._nodes = Table("Node", lambda octets: decode_node(decode(octets, schema.Node)))
        self._policies = Table(
            "CiliumL2AnnouncementPolicy", lambda octets: decode_policy(decode(octets, schema.CiliumL2AnnouncementPolicy))
        )
        self._services = Table("Service", lambda octets: decode_service(decode(octets, schema.Service)))
        self._slices = Table("EndpointSlice", lambda octets: decode_endpoint_slice(decode(octets, schema.EndpointSlice)))
        self._tables: tuple[Table[Any], ...] = (self._crd, self._nodes, self._policies, self._services, self._slices)
        self._followed: dict[str, tuple[Resource, asyncio.Task[None]]] = {}
        self._happened = asyncio.Event()
        self._mistake: BaseException | None = None

    async def states(self) -> AsyncIterator[model.ClusterState]:
        """The whole state once all that is needed was listed, then after every change that makes a difference, 10 to 40 ms after it."""
        previous: model.ClusterState | None = None
        try:
            while True:
                if self._mistake is not None:
                    raise self._mistake
                self._follow_what_is_needed()
                if all(table.is_complete for table in self._tables):
                    state = self._state()
                    if state != previous:
                        previous = state
                        yield state
                await self._wait_for_burst()
        finally:
            for name in list(self._followed):
                self._unfollow(name)

    async def write_policy_status(self, wanted: Mapping[str, Sequence[Condition]]) -> bool:
        """Apply the conditions of policies, where they are not as wanted."""
        version = self._policy_version()
        known = {policy.name: policy.conditions for policy in self._policies.values.values()}
        return version is None or await self._statuses.write(version, known, wanted)

    async def publish(self, event: ServiceEvent) -> bool:
        """Create an Event on a Service, or count one more."""
        return await self._events.publish(event)

    # -- what to watch

    def _follow_what_is_needed(self) -> None:
        self._follow(_CRD, self._crd)
        self._follow(_NODES, self._nodes)
        if self._crd.is_complete:
            self._follow(self._policies_needed(), self._policies)
        if self._policies.is_complete:
            self._follow(self._services_needed(), self._services)
        if self._services.is_complete:
            self._follow(self._slices_needed(), self._slices)

    def _policies_needed(self) -> Resource | None:
        version = self._policy_version()
        return Resource(f"/apis/cilium.io/{version}/ciliuml2announcementpolicies") if version else None

    def _policy_version(self) -> str | None:
        """The best version of the policies that the server has; None without any."""
        return best_version(self._crd.values, POLICY_VERSIONS)

    def _services_needed(self) -> Resource | None:
        policies = self._policies.values.values()
        if any(policy.external_ips for policy in policies):
            return Resource(_SERVICES)
        if any(policy.load_balancer_ips for policy in policies):
            return Resource(_SERVICES, field_selector="spec.type=LoadBalancer")
        return None

    def _slices_needed(self) -> Resource | None:
        names = sorted(
            {
                service.key.name
                for service in self._services.values.values()
                if service.external_traffic_policy == "Local" and (service.external_ips or service.load_balancer_ips)
            }
        )
        if not names:
            return None
        if len(names) > SELECTOR_LIMIT:
            return Resource(_SLICES, label_selector=SERVICE_NAME_LABEL)
        return Resource(_SLICES, label_selector=f"{SERVICE_NAME_LABEL} in ({','.join(names)})")

    def _follow(self, resource: Resource | None, table: Table[Any]) -> None:
        """Have ``table`` follow ``resource``, or nothing."""
        followed = self._followed.get(table.kind)
        if followed is not None and followed[0] == resource:
            return
        if followed is not None:
            self._unfollow(table.kind)
        if resource is None:
            self._note(table.clear())
            return
        table.is_complete = False
        task = asyncio.get_running_loop().create_task(self._feed(resource, table))
        task.add_done_callback(self._ended)
        self._followed[table.kind] = (resource, task)

    def _unfollow(self, kind: str) -> None:
        self._followed.pop(kind)[1].cancel()

    async def _feed(self, resource: Resource, table: Table[Any]) -> None:
        def tell(err: ApiError | None) -> None:
            self._note(table.fail(err))

        async with aclosing(Reflector(self._transport, resource, failing=tell).changes()) as changes:
            async for change in changes:
                self._note(table.apply(change))
                del change  # a list may be many MiB, and the next change hours away

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A reflector ends only when it is cancelled, or by a mistake in here, which ends all."""
        if not task.cancelled() and (err := task.exception()) is not None:
            self._mistake = err
            self._happened.set()

    # -- what is known

    def _state(self) -> model.ClusterState:
        missing: tuple[model.ObjectProblem, ...] = ()
        if not self._crd.values and not self._crd.problems():
            message = "the API server does not have this CustomResourceDefinition, so nothing is announced; apply policies/crds"
            missing = (model.ObjectProblem(f"customresourcedefinition/{CRD_NAME}", "NotInstalled", message),)
        return model.ClusterState(
            nodes={node.name: node for node in self._nodes.values.values()},
            services={service.key: service for service in self._services.values.values()},
            endpoints=tuple(endpoint for key in sorted(self._slices.values) for endpoint in self._slices.values[key]),
            policies={policy.name: policy for policy in self._policies.values.values()},
            problems=tuple(problem for table in self._tables for problem in table.problems()) + missing,
            api_servers=frozenset(self._transport.peers),
        )

    def _note(self, changed: bool) -> None:
        if changed:
            self._happened.set()

    async def _wait_for_burst(self) -> None:
        loop = asyncio.get_running_loop()
        await self._happened.wait()
        end = loop.time() + LONGEST
        while self._happened.is_set() and (left := end - loop.time()) > 0:
            self._happened.clear()
            await asyncio.sleep(min(QUIET, left))
        self._happened.clear()
