"""Elections while the API server refuses, is slow or forgets us: afterwards one node holds, and never did two.

Here are the claims, to the millisecond, and the tasks of the adapters, which cannot be seen from outside. The same faults with whole
agents, and those of the API server's own processes, are in test_api_agents.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CoroutineType

import pytest
from netlab.api_proxy import ApiProxy, Fault, Rule, api_proxy, pass_all
from netlab.control_plane import ControlPlane

from l2announce.kube import reflector
from l2announce.model.timing import Timing
from tests.apiserver.node import Nodes, running
from tests.apiserver.rig import AGENTS, REPOSITORY, Admin, administrator, asynchronous, until, until_async

pytestmark = pytest.mark.apiserver

TIMING = Timing(lease_duration=2, renew_deadline=0.8, retry_period=0.4)
OUTAGE = 1.5 * TIMING.lease_duration
"""Seconds: longer than any right lasts."""
NODE_CODE = (str(REPOSITORY / "l2announce"), str(REPOSITORY / "tests" / "apiserver" / "node.py"))
WEB, MAIL = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long outage the next attempt may come 10 s late: here 2 s, for the tests' sake."""
    monkeypatch.setattr(reflector, "LONGEST_WAIT", 2.0)


@dataclass
class Stand:
    """Three nodes, each of which may hold the addresses of two Services; their requests go through ``proxy``."""

    control_plane: ControlPlane
    admin: Admin
    proxy: ApiProxy
    kubeconfigs: dict[str, Path]
    nodes: Nodes

    async def held(self) -> str:
        """Wait until both addresses are held; the holder of the first."""
        await until(lambda: all(self.nodes.ledger.holders(address) for address in (WEB, MAIL)), "both addresses to be held", 30)
        self.nodes.check()
        return self.nodes.ledger.holders(WEB)[0]

    async def storm(self, rule: Rule) -> None:
        """Have every request judged by ``rule`` for longer than a lease lasts, with the watches cut at its start."""
        self.proxy.rule = rule
        self.proxy.cut_watches()
        await asyncio.sleep(OUTAGE)  # not for luck: the length of the fault
        self.proxy.rule = pass_all

    async def announces_what_is_new(self) -> None:
        """A Service made now is announced: so the watches live."""

        async def made() -> bool:  # the administrator's own connection may have to recover too
            await self.admin.service("new", "192.0.2.9")
            return True

        await until_async(made, "a new Service to be made")
        await until(lambda: self.nodes.ledger.holders("192.0.2.9"), "a new Service to be announced", 30)


def tasks() -> Counter[str]:
    """The tasks of the nodes on this loop, by what they run."""
    running = (task.get_coro() for task in asyncio.all_tasks())
    codes = [coroutine.cr_code for coroutine in running if isinstance(coroutine, CoroutineType)]
    return Counter(code.co_qualname for code in codes if code.co_filename.startswith(NODE_CODE))


async def populate(admin: Admin) -> None:
    for agent in AGENTS:
        await admin.node(agent.name)
    await admin.service("web", WEB)
    await admin.service("mail", MAIL)
    await admin.policy("l2", loadBalancerIPs=True)


@asynccontextmanager
async def stand(control_plane: ControlPlane, timing: Timing = TIMING) -> AsyncIterator[Stand]:
    async with administrator(control_plane) as admin, api_proxy(control_plane, AGENTS) as (proxy, kubeconfigs):
        await populate(admin)
        async with running(kubeconfigs, timing) as nodes:
            at = Stand(control_plane, admin, proxy, kubeconfigs, nodes)
            await at.held()
            before = tasks()
            assert before["KubeCluster._feed"] >= 3 * 4, "of each node: definition, nodes, policies, Services"
            yield at
            await until(lambda: tasks() <= before, f"no task to be left beside {before}")


@asynchronous
async def test_crash_of_the_holder(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        holder = await at.held()
        crashed = time.monotonic()
        await at.nodes.crash(holder)
        await until(lambda: [name for name in at.nodes.ledger.holders(WEB) if name != holder], "another to hold")
        assert time.monotonic() - crashed < TIMING.failover_bound + 2.0, "the bound, and two seconds for a busy machine"
        at.nodes.check()


@asynchronous
async def test_answers_that_take_two_seconds(control_plane: ControlPlane) -> None:
    slow = Timing(lease_duration=6, renew_deadline=2.5, retry_period=1)
    async with stand(control_plane, slow) as at:
        holder = await at.held()
        since = time.monotonic()
        at.proxy.rule = lambda _: Fault(delay=2.0)
        await asyncio.sleep(1.1 * slow.lease_duration)  # not for luck: the length of the fault
        assert at.nodes.ledger.holders(WEB) == [holder]
        assert at.nodes.ledger.gaps(WEB, since) == 0.0, "slow answers are no reason to let go"


@asynchronous
async def test_storm_of_refusals(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        began = len(at.proxy.seen)
        await at.storm(lambda _: Fault(status=429, headers={"Retry-After": "1"}))
        reads = [seen for seen in at.proxy.seen[began:] if seen.method == "GET"]
        watched = 3 * 5
        assert len(reads) <= watched * (OUTAGE + 2), "Retry-After is obeyed: at most one request a second for each watch"
        await at.held()
        await at.announces_what_is_new()


@asynchronous
async def test_storm_of_conflicts(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        began = len(at.proxy.seen)
        await at.storm(lambda seen: Fault(status=409) if seen.method in ("PUT", "POST") else None)
        writes = [seen for seen in at.proxy.seen[began:] if seen.method in ("PUT", "POST")]
        assert len(writes) <= 3 * 2 * (OUTAGE / TIMING.retry_period + 3), "a conflict is no reason to write without pause"
        await at.held()
        await at.announces_what_is_new()


@asynchronous
async def test_token_renewed_before_anything_expires_leaves_no_gap(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        holder = await at.held()
        root = control_plane.users[0]
        path = at.kubeconfigs[holder]
        renewed = path.with_suffix(".new")
        renewed.write_text(path.read_text().replace(f"token-of-{holder}", root.token))
        renewed.replace(path)
        since = time.monotonic()
        at.proxy.rule = lambda seen: Fault(status=401) if seen.headers.get("Authorization") == f"Bearer token-of-{holder}" else None
        await asyncio.sleep(OUTAGE)  # not for luck: several renewals
        assert at.nodes.ledger.holders(WEB) == [holder]
        assert at.nodes.ledger.gaps(WEB, since) == 0.0
