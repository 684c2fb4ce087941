"""The one agent that writes what belongs to no node: the status of policies, and Events about Services that nobody announces.

It is elected by a Lease of its own, STATUS_LEASE, with the timings of the others. Two of them for a moment do no harm: each applies what
is so, and writes nothing where it says so already.
"""

import asyncio
from collections.abc import Callable

from l2announce.agent.events import Publisher
from l2announce.control.conditions import chosen_services, policy_conditions
from l2announce.control.controller import Controller
from l2announce.control.election import LeaseElector
from l2announce.control.ports import Clock, Cluster, LeaseObserved, LeasesListed
from l2announce.control.states import State
from l2announce.model.address import FOREVER, Instant
from l2announce.model.events import EventReason, ServiceEvent
from l2announce.model.lease import STATUS_LEASE, LeaseWrite, WriteOutcome, Written
from l2announce.model.objects import NamespacedName
from l2announce.model.status import Explanation

PACE = 1.0
"""Seconds between two looks, however often something changes."""
RETRY = 10.0
"""Seconds after which what could not be written is tried again."""
GRACE = 5.0
"""Seconds beyond the failover bound after which a Service that nobody announces is told of."""
NAMED = 5
"""Nodes whose reason an Event tells at most."""


class Steward:
    """Feed it what the Controller is fed of leases, send what ``next_write`` returns, and call ``look`` after anything that happened."""

    def __init__(
        self,
        controller: Controller,
        cluster: Cluster,
        clock: Clock,
        publisher: Publisher,
        explain: Callable[[NamespacedName], Explanation],
    ) -> None:
        self._controller = controller
        self._cluster = cluster
        self._clock = clock
        self._publisher = publisher
        self._explain = explain
        self._elector = LeaseElector(STATUS_LEASE, controller.node_name, controller.timing)
        self._happened = asyncio.Event()
        self._missing: dict[NamespacedName, Instant] = {}
        self._told: dict[NamespacedName, str] = {}

    # -- the lease

    def leases_changed(self, event: LeasesListed | LeaseObserved, now: Instant) -> None:
        """What the watch of leases tells."""
        if isinstance(event, LeasesListed):
            self._elector.lease_observed(next((lease for lease in event.leases if lease.name == STATUS_LEASE), None), now)
        elif event.name == STATUS_LEASE:
            self._elector.lease_observed(event.lease, now)

    def written(self, outcome: WriteOutcome, sent_at: Instant, now: Instant) -> None:
        """What came of a write of ``next_write``."""
        if isinstance(outcome, Written):
            self._elector.write_succeeded(outcome.lease, sent_at, now)
        else:
            self._elector.write_failed(outcome, now)

    def next_write(self, now: Instant) -> LeaseWrite | None:
        """The write of its lease to send now."""
        self._elector.set_eligible(self._controller.is_ready and not self._controller.stopping, now)
        if self._elector.wants_withdrawal:
            self._elector.withdrawn(now)
        return self._elector.next_write(now)

    def next_timer(self) -> Instant:
        """When to call ``next_write``, even if nothing happens; FOREVER for never."""
        at = self._elector.next_timer()
        return FOREVER if at is None else at

    @property
    def is_stopped(self) -> bool:
        """True when its lease is released, or was never held."""
        return self._elector.state is State.IDLE

    @property
    def leads(self) -> bool:
        """Whether this agent is the one."""
        deadline = self._elector.deadline
        return deadline is not None and self._clock.now() < deadline

    @property
    def missing(self) -> int | None:
        """Services that policies choose and no node announces; None while another agent is the one that looks."""
        return len(self._missing) if self.leads else None

    # -- what it writes

    def look(self) -> None:
        """Something may have changed."""
        self._happened.set()

    async def run(self) -> None:
        """Write what differs, at its pace. Never ends."""
        while True:
            wait = FOREVER
            if self.leads:
                wait = await self._write()
            else:
                self._missing.clear()
                self._told.clear()
            self._happened.clear()
            await asyncio.sleep(PACE)
            try:
                async with asyncio.timeout(None if wait == FOREVER else max(0.0, wait - PACE)):
                    await self._happened.wait()
            except TimeoutError:
                pass

    async def _write(self) -> float:
        """The seconds after which to look again, even if nothing happens; FOREVER for never."""
        now = self._clock.now()
        state = self._controller.picture.cluster
        chosen = chosen_services(state)
        announced = {
            service
            for name, group in self._controller.picture.groups.items()
            if self._controller.holder(name, now) is not None
            for service in group.services
        }
        due_in = self._tell_missing({service for services in chosen.values() for service in services} - announced, now)
        good = await self._cluster.write_policy_status(policy_conditions(state, chosen, announced))
        return min(due_in, FOREVER if good else RETRY)

    def _tell_missing(self, missing: set[NamespacedName], now: Instant) -> float:
        """An Event about each Service that is missing for long, again when the reasons are others. The seconds until the next is due."""
        self._missing = {service: self._missing.get(service, now) for service in missing}
        for service in self._told.keys() - missing:
            del self._told[service]
            self._publisher.queue.drop(service, EventReason.NOT_ANNOUNCED)
        long = self._controller.timing.failover_bound + GRACE
        for service in sorted(service for service, since in self._missing.items() if now >= since + long):
            message = self._reasons(service)
            if self._told.get(service) != message:
                self._told[service] = message
                uid = self._controller.picture.cluster.services[service].uid
                self._publisher.add(ServiceEvent(service, uid, EventReason.NOT_ANNOUNCED, message))
        return min((since + long - now for service, since in self._missing.items() if service not in self._told), default=FOREVER)

    def _reasons(self, service: NamespacedName) -> str:
        reasons = self._explain(service).nodes
        words = ", ".join(f"{each.node} {each.reason}" for each in reasons[:NAMED])
        more = f" and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
        return f"no node announces it: {words}{more}; see l2announce explain {service}"
