"""A whole agent on the API server but for its packets: the adapters that the agent opens, the Controller, a responder that obeys.

A Ledger notes who may answer for what, and until when: two at one time would show.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path
from typing import Any

from l2announce.agent.clusters import open_cluster
from l2announce.agent.settings import Settings
from l2announce.control.controller import Controller
from l2announce.control.ports import Cluster, LeasesListed, LeaseStore
from l2announce.model.address import Address
from l2announce.model.claim import ClaimSet
from l2announce.model.eligibility import EligibilitySettings
from l2announce.model.lease import LeaseWrite, Written
from l2announce.model.link import Device, Link
from l2announce.model.report import Report
from l2announce.model.timing import HEARTBEAT, Timing

LINK = "eth0"
DEVICE = Device(1, LINK, addresses=(IPv4Address("192.0.2.200"),), has_default_route=True, has_global_unicast_route=True)


@dataclass(frozen=True, slots=True)
class Right:
    """One node's right to answer for an address, from and until instants of time.monotonic()."""

    node: str
    address: Address
    start: float
    end: float


@dataclass(slots=True)
class Ledger:
    """Every right there was."""

    past: list[Right] = field(default_factory=list)
    present: dict[tuple[str, Address], Right] = field(default_factory=dict)

    def replace(self, node: str, claims: ClaimSet, now: float) -> None:
        """The responder of ``node`` obeys this set from now on."""
        deadlines = {claim.address: claim.deadline for claim in claims.claims if claim.deadline > now}
        for key, right in list(self.present.items()):
            if key[0] == node and (right.address not in deadlines or right.end <= now):
                self.past.append(Right(node, right.address, right.start, min(right.end, now)))
                del self.present[key]
        for address, deadline in deadlines.items():
            known = self.present.get((node, address))
            self.present[node, address] = Right(node, address, known.start if known else now, deadline)

    def holders(self, address: str) -> list[str]:
        """Who may answer for it now."""
        now = time.monotonic()
        return [right.node for right in self.present.values() if str(right.address) == address and right.end > now]

    def rights(self, address: str) -> list[Right]:
        """All rights to it, by their start."""
        rights = [right for right in (*self.past, *self.present.values()) if str(right.address) == address]
        return sorted(rights, key=lambda right: right.start)

    def gaps(self, address: str, since: float) -> float:
        """Seconds, since an instant, in which nobody might answer."""
        free, covered = 0.0, since
        for right in self.rights(address):
            free += max(0.0, right.start - covered) if right.end > since else 0.0
            covered = max(covered, right.end)
        return free

    def check_exclusive(self) -> None:
        """AssertionError when two nodes might answer for one address at one time."""
        for address in {str(right.address) for right in (*self.past, *self.present.values())}:
            rights = self.rights(address)
            for earlier, later in pairwise(rights):
                assert earlier.node == later.node or earlier.end <= later.start, f"two holders: {earlier}, {later}"


class ApiNode:
    """One node. Every failure of a part is the failure of ``run``, as it ends the agent."""

    def __init__(self, name: str, timing: Timing, ledger: Ledger, eligibility: EligibilitySettings) -> None:
        self._name = name
        self._ledger = ledger
        self._controller = Controller(name, timing, time.monotonic(), eligibility=eligibility)
        self._applied = -1
        self._timer: asyncio.TimerHandle | None = None
        self._group: asyncio.TaskGroup | None = None
        self._leases: LeaseStore | None = None

    async def run(self, cluster: Cluster, leases: LeaseStore) -> None:
        self._leases = leases
        self._controller.replace_devices((DEVICE,), time.monotonic())
        async with asyncio.TaskGroup() as self._group:
            for endless in (self._follow_cluster(cluster), self._follow_leases(leases), self._beat()):
                self._group.create_task(endless)

    async def _follow_cluster(self, cluster: Cluster) -> None:
        async for state in cluster.states():
            self._controller.replace_cluster(state, time.monotonic())
            self._look_again()

    async def _follow_leases(self, leases: LeaseStore) -> None:
        async for event in leases.watch():
            now = time.monotonic()
            if isinstance(event, LeasesListed):
                self._controller.leases_listed(event.leases, now)
            else:
                self._controller.lease_observed(event.name, event.lease, now)
            self._look_again()

    async def _write(self, write: LeaseWrite) -> None:
        assert self._leases is not None
        sent_at = time.monotonic()
        outcome = await self._leases.write(write)
        if isinstance(outcome, Written):
            self._controller.write_succeeded(write.name, outcome.lease, sent_at, time.monotonic())
        else:
            self._controller.write_failed(write.name, outcome, time.monotonic())
        self._look_again()

    async def _request(self, write: LeaseWrite) -> None:
        assert self._leases is not None
        await self._leases.write(write)

    async def _beat(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(HEARTBEAT)

    def _report(self) -> None:
        now = time.monotonic()
        self._controller.receive_report(Report(self._applied, now, (Link(1, LINK, b"\x02\0\0\0\0\1", True),)), now)
        self._look_again()

    def _look_again(self) -> None:
        now = time.monotonic()
        self._controller.handle_timer(now)
        for write in self._controller.next_writes(now):
            self._spawn(self._write(write))
        for request in self._controller.next_requests(now):
            self._spawn(self._request(request))
        claims = self._controller.claim_set(now)
        if claims is not None:
            self._ledger.replace(self._name, claims, now)
            self._applied = claims.generation
            asyncio.get_running_loop().call_soon(self._report)
        if self._timer is not None:
            self._timer.cancel()
        due = self._controller.next_timer()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self._look_again)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._group is not None
        self._group.create_task(work)

    def halt(self) -> None:
        """No timer of it fires any more, as if it had been killed."""
        if self._timer is not None:
            self._timer.cancel()


class Nodes:
    """Nodes that run, each by its name."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def crash(self, name: str) -> None:
        """End a node without a word; its last claims go on until their deadline."""
        self.tasks[name].cancel()
        with suppress(asyncio.CancelledError):
            await self.tasks[name]

    def check(self) -> None:
        """No node ended by itself, and never two held."""
        for task in self.tasks.values():
            if task.done() and not task.cancelled():
                task.result()
                raise AssertionError("a node ended")
        self.ledger.check_exclusive()


@asynccontextmanager
async def running(
    kubeconfigs: dict[str, Path],
    timing: Timing,
    eligibility: EligibilitySettings = EligibilitySettings(),  # noqa: B008 - frozen
) -> AsyncIterator[Nodes]:
    """A node for each kubeconfig. At the end it is checked that they all still run, and that two never held."""
    nodes = Nodes(Ledger())

    async def run(name: str, kubeconfig: Path) -> None:
        async with AsyncExitStack() as stack:
            settings = Settings(name, timing, kubeconfig=kubeconfig)
            node = ApiNode(name, timing, nodes.ledger, eligibility)
            stack.callback(node.halt)
            cluster, leases = await stack.enter_async_context(open_cluster(settings))
            await node.run(cluster, leases)

    try:
        for name, kubeconfig in kubeconfigs.items():
            nodes.tasks[name] = asyncio.create_task(run(name, kubeconfig))
        yield nodes
        nodes.check()
    finally:
        for task in nodes.tasks.values():
            task.cancel()
        await asyncio.gather(*nodes.tasks.values(), return_exceptions=True)
