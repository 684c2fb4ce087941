"""Placement on a real API server: even shares at a start, preferred nodes that get their address back, slow rebalancing."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from netlab.control_plane import ControlPlane

from l2announce.control import pulls
from l2announce.model.eligibility import EligibilitySettings
from l2announce.model.timing import Timing
from tests.apiserver.node import Ledger, Nodes, running
from tests.apiserver.rig import AGENTS, NODES, SERVICES, Admin, administrator, asynchronous, until

pytestmark = pytest.mark.apiserver

INTERVAL = 1.0
"""Seconds: the shortest that may be asked for."""
HOLD_DOWN = 2.0
"""Seconds, instead of half a minute."""
TIMING = Timing(lease_duration=6, renew_deadline=2, retry_period=0.4, rebalance=INTERVAL)
HAND_OVER = 4.0
"""Seconds for a hand-over on a busy machine; less than any lease takes to run out."""


@pytest.fixture(autouse=True)
def short_hold_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the tests' sake."""
    monkeypatch.setattr(pulls, "HOLD_DOWN", HOLD_DOWN)


def shares(ledger: Ledger, addresses: list[str]) -> Counter[str]:
    """How many of the addresses each node holds."""
    return Counter(node for address in addresses for node in ledger.holders(address))


async def ready(admin: Admin, status: str, *names: str) -> None:
    """What a kubelet writes."""
    for name in names:
        await admin.merge(f"{NODES}/{name}/status", status={"conditions": [{"type": "Ready", "status": status, "reason": "Test"}]})


@asynccontextmanager
async def stand(control_plane: ControlPlane, count: int, *ill: str) -> AsyncIterator[tuple[Admin, list[str]]]:
    """Three Nodes, some of them ill, and Services with an address each; no agent yet."""
    async with administrator(control_plane) as admin:
        addresses = [f"192.0.2.{number}" for number in range(1, count + 1)]
        for agent in AGENTS:
            await admin.node(agent.name)
        await ready(admin, "False", *ill)
        for number, address in enumerate(addresses):
            await admin.service(f"s{number}", address)
        await admin.policy("l2", loadBalancerIPs=True)
        yield admin, addresses


@asynccontextmanager
async def agents(control_plane: ControlPlane, timing: Timing = TIMING) -> AsyncIterator[Nodes]:
    """Three, started together, to whom the health of Nodes counts at once."""
    kubeconfigs = {agent.name: control_plane.kubeconfig(agent.name) for agent in AGENTS}
    async with running(kubeconfigs, timing, EligibilitySettings(node_grace=0.0)) as nodes:
        yield nodes


@asynchronous
async def test_thirty_addresses_on_three_nodes_that_start_together(control_plane: ControlPlane) -> None:
    async with stand(control_plane, 30) as (_, addresses), agents(control_plane, Timing(6, 2, 0.4)) as nodes:
        await until(lambda: shares(nodes.ledger, addresses).total() == len(addresses), "every address to be held", 30)
        assert all(9 <= shares(nodes.ledger, addresses)[agent.name] <= 11 for agent in AGENTS), shares(nodes.ledger, addresses)


@asynchronous
async def test_a_preferred_node_that_is_back_gets_its_address_back(control_plane: ControlPlane) -> None:
    """Not before the hold-down is over. Without ``preempt`` it does not: that is the second address."""
    async with stand(control_plane, 2) as (admin, (web, mail)):
        preferred = {"l2announce.io/preferred-nodes": "n2,n1"}
        await admin.merge(f"{SERVICES}/s0", metadata={"annotations": {**preferred, "l2announce.io/preempt": "true"}})
        await admin.merge(f"{SERVICES}/s1", metadata={"annotations": preferred})
        async with agents(control_plane) as nodes:
            ledger = nodes.ledger
            await until(lambda: ledger.holders(web) == ledger.holders(mail) == ["n2"], "the preferred node to hold both", 30)
            await ready(admin, "False", "n2")
            await until(lambda: ledger.holders(web) == ledger.holders(mail) == ["n1"], "the next in order to hold both", HAND_OVER)
            back = time.monotonic()
            await ready(admin, "True", "n2")
            await until(lambda: ledger.holders(web) == ["n2"], "the preferred node to have its address back", HOLD_DOWN + HAND_OVER)
            assert ledger.rights(web)[-1].start - back >= HOLD_DOWN
            assert ledger.holders(mail) == ["n1"]


@asynchronous
async def test_rebalancing_moves_one_address_in_an_interval_and_then_rests(control_plane: ControlPlane) -> None:
    async with stand(control_plane, 6, "n2", "n3") as (admin, addresses), agents(control_plane) as nodes:
        ledger = nodes.ledger
        await until(lambda: shares(ledger, addresses) == {"n1": 6}, "the node that is well to hold all", 30)
        await asyncio.sleep(INTERVAL)  # only to show that nobody who is unhealthy asks
        assert shares(ledger, addresses) == {"n1": 6}
        await ready(admin, "True", "n2", "n3")
        await until(lambda: shares(ledger, addresses) == {"n1": 2, "n2": 2, "n3": 2}, "even loads", 4 * INTERVAL + HOLD_DOWN + HAND_OVER)
        for taker in ("n2", "n3"):
            taken = sorted(right.start for address in addresses for right in ledger.rights(address) if right.node == taker)
            assert len(taken) == 2, "no address was moved twice"
            assert all(later - earlier > INTERVAL / 2 for earlier, later in pairwise(taken)), taken
        await asyncio.sleep(2 * INTERVAL)  # only to show that nothing more is moved
        assert sum(len(ledger.rights(address)) for address in addresses) == 10
