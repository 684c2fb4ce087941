"""The one agent that writes for the cluster, with objects that change while it writes; and what is logged of problems."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from ipaddress import IPv4Address

import pytest

from l2announce.agent import steward as module
from l2announce.agent.events import Publisher
from l2announce.agent.problems import ProblemLog
from l2announce.agent.steward import Steward
from l2announce.control.controller import Controller
from l2announce.model.conditions import Condition
from l2announce.model.events import EventReason, ServiceEvent
from l2announce.model.objects import AnnouncementPolicy, ClusterState, NamespacedName, Node, ObjectProblem, Service
from l2announce.model.status import Explanation
from l2announce.model.timing import Timing

WEB = NamespacedName("default", "web")
SERVICE = Service(WEB, type="LoadBalancer", load_balancer_ips=(IPv4Address("192.0.2.1"),), uid="uid-1")
FULL = ClusterState({"n1": Node("n1")}, {WEB: SERVICE}, (), {"l2": AnnouncementPolicy("l2", load_balancer_ips=True)})
EMPTY = ClusterState({"n1": Node("n1")})


class World:
    """A cluster, and its clock. While a status is written, ``change`` happens, and time passes."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.written: list[Mapping[str, Sequence[Condition]]] = []
        self.told: list[ServiceEvent] = []
        self.change: Callable[[], None] = lambda: None

    def now(self) -> float:
        """Where the clock stands."""
        return self.at

    async def states(self) -> AsyncIterator[ClusterState]:
        """Not needed here."""
        return
        yield EMPTY

    async def write_policy_status(self, wanted: Mapping[str, Sequence[Condition]]) -> bool:
        """Note it."""
        self.written.append(wanted)
        await asyncio.sleep(0)
        self.change()
        return True

    async def publish(self, event: ServiceEvent) -> bool:
        """Note it."""
        self.told.append(event)
        return True


@pytest.fixture(autouse=True)
def leading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every steward leads, and does not rest."""
    monkeypatch.setattr(module, "PACE", 0.0)
    monkeypatch.setattr(Steward, "leads", property(lambda _: True))


def steward(world: World, controller: Controller) -> tuple[Steward, Publisher]:
    publisher = Publisher(world, world)
    return Steward(controller, world, world, publisher, lambda _: Explanation("n1")), publisher


async def run_for_a_while(made: Steward, world: World, rounds: int) -> None:
    task = asyncio.create_task(made.run())
    for _ in range(200):
        made.look()
        await asyncio.sleep(0)
        if len(world.written) >= rounds or task.done():
            break
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_a_service_may_go_while_the_status_is_written() -> None:
    world = World()
    controller = Controller("n1", Timing(), 0.0)
    controller.replace_cluster(FULL, world.at)

    def later() -> None:
        world.at += controller.timing.failover_bound + module.GRACE + 1
        controller.replace_cluster(EMPTY if len(world.written) > 1 else FULL, world.at)

    made, _ = steward(world, controller)
    world.change = later
    asyncio.run(run_for_a_while(made, world, 4))
    assert len(world.written) == 4
    assert set(world.written[0]) == {"l2"}
    assert made.missing == 0


def test_a_service_that_nobody_announces_is_told_of_once() -> None:
    world = World()
    controller = Controller("n1", Timing(), 0.0)
    controller.replace_cluster(FULL, world.at)
    made, publisher = steward(world, controller)

    def later() -> None:
        world.at += 100.0

    world.change = later
    asyncio.run(run_for_a_while(made, world, 4))
    waiting = publisher.queue.take(world.at)
    assert waiting is not None
    assert (waiting.service, waiting.uid, waiting.reason) == (WEB, "uid-1", EventReason.NOT_ANNOUNCED)
    assert publisher.queue.take(world.at) is None
    assert made.missing == 1


def test_a_problem_is_logged_once_as_long_as_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log, one, other = ProblemLog(), ObjectProblem("service/a/b", "Bad", "one"), ObjectProblem("service/a/c", "Bad", "other")
    for problems in ((one,), (one,), (one, other), (other,), (one, other)):
        log.tell(problems)
    assert [record.message for record in caplog.records] == ["one", "other", "one"]
