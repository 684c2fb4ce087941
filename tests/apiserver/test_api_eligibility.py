"""Addresses follow what the objects of a real API server say of endpoints and Nodes. Two nodes never hold one: ``running`` checks that."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from netlab.control_plane import ControlPlane

from l2announce.kube.cluster import KubeCluster
from l2announce.model.eligibility import EligibilitySettings
from l2announce.model.timing import Timing
from tests.apiserver.node import Ledger, Nodes, running
from tests.apiserver.rig import AGENTS, NODES, SLICES, Admin, administrator, asynchronous, following, transport, until

pytestmark = pytest.mark.apiserver

TIMING = Timing(lease_duration=3, renew_deadline=1, retry_period=0.4)
GRACE = 1.0
WEB = "192.0.2.1"
HAND_OVER = 3.0
"""Seconds for a watch event, a report, a release and an acquisition, on a busy machine; less than any lease takes to run out."""


@dataclass
class Stand:
    admin: Admin
    nodes: Nodes

    async def held_by(self, name: str, seconds: float = 20.0) -> None:
        """Wait until this node, and no other, may answer."""
        await until(lambda: self.nodes.ledger.holders(WEB) == [name], f"{name} to hold {WEB}", seconds)

    async def ready(self, name: str, status: str, beat: int = 0) -> None:
        """What a kubelet or the node lifecycle controller writes."""
        condition = {"type": "Ready", "status": status, "reason": "Test", "lastHeartbeatTime": f"2026-01-01T00:00:{beat:02}Z"}
        await self.admin.merge(f"{NODES}/{name}/status", status={"conditions": [condition]})

    async def endpoints(self, *nodes: str) -> None:
        """The slice of the Service has a ready endpoint on each of these nodes."""
        found = [{"addresses": ["10.0.0.1"], "nodeName": node, "conditions": {"ready": True}} for node in nodes]
        await self.admin.merge(f"{SLICES}/web-1", endpoints=found)


@asynccontextmanager
async def stand(control_plane: ControlPlane, **spec: Any) -> AsyncIterator[Stand]:
    """Three nodes, well, of which n1 has the endpoint of the Service."""
    kubeconfigs = {agent.name: control_plane.kubeconfig(agent.name) for agent in AGENTS}
    async with administrator(control_plane) as admin:
        at = Stand(admin, Nodes(Ledger()))
        for agent in AGENTS:
            await admin.node(agent.name)
            await at.ready(agent.name, "True")
        await admin.create(SLICES, "web-1", {"kubernetes.io/service-name": "web"}, addressType="IPv4", endpoints=[], ports=[])
        await at.endpoints("n1")
        await admin.service("web", WEB, **spec)
        await admin.policy("l2", loadBalancerIPs=True)
        async with running(kubeconfigs, TIMING, EligibilitySettings(node_grace=GRACE)) as at.nodes:
            yield at


@asynchronous
async def test_the_address_follows_the_only_endpoint(control_plane: ControlPlane) -> None:
    async with stand(control_plane, externalTrafficPolicy="Local") as at:
        await at.held_by("n1")
        moved = time.monotonic()
        await at.endpoints("n2")
        await at.held_by("n2", HAND_OVER)
        assert at.nodes.ledger.gaps(WEB, moved) < HAND_OVER
        await at.endpoints()
        await until(lambda: not at.nodes.ledger.holders(WEB), "nobody to hold what nobody serves", HAND_OVER)
        await at.endpoints("n3")
        await at.held_by("n3", HAND_OVER)


@asynchronous
async def test_a_node_that_is_not_ready_hands_over_unless_all_are(control_plane: ControlPlane) -> None:
    async with stand(control_plane) as at:
        ledger = at.nodes.ledger
        (first,) = await until(lambda: ledger.holders(WEB), "a holder")
        others = [agent.name for agent in AGENTS if agent.name != first]
        changed = time.monotonic()
        await at.ready(first, "Unknown")
        await until(lambda: [name for name in ledger.holders(WEB) if name != first], "another holder", GRACE + HAND_OVER)
        (heir,) = ledger.holders(WEB)
        assert ledger.rights(WEB)[-1].start - changed > GRACE
        for name in others:
            await at.ready(name, "False")
        await asyncio.sleep(GRACE + 1.0)  # only to show what does not happen meanwhile
        assert ledger.holders(WEB) == [heir]
        assert ledger.gaps(WEB, ledger.rights(WEB)[-1].start) == 0


@asynchronous
async def test_heartbeats_of_nodes_wake_nobody(control_plane: ControlPlane) -> None:
    async with (
        stand(control_plane) as at,
        transport(control_plane.kubeconfig("n1")) as made,
        following(KubeCluster(made, "n1").states()) as states,
    ):
        await until(lambda: states and "n1" in states[-1].nodes and states[-1].services, "the objects")
        known = len(states)
        for beat in range(1, 20):
            await at.ready("n1", "True", beat)
        await at.ready("n1", "False")
        await until(lambda: states[-1].nodes["n1"].ready == "False", "the change after the heartbeats")
        assert len(states) == known + 1
