"""The control process: cluster objects, leases and interfaces into the Controller; lease writes and claim sets out of it.

Wiring only. Every event ends in ``_look_again``, which lets the Controller decide and carries out what it wants.
"""

import asyncio
import logging
import signal
from collections.abc import Coroutine, Iterable
from typing import Any

from l2announce.agent.conflicts import Conflicts
from l2announce.agent.events import Publisher
from l2announce.agent.explain import explain
from l2announce.agent.health import serve_health
from l2announce.agent.metrics import Metrics, Sources
from l2announce.agent.problems import ProblemLog
from l2announce.agent.responder_child import ResponderChild
from l2announce.agent.serve import serve_state
from l2announce.agent.settings import Settings
from l2announce.agent.status import AnswerRecords, node_status
from l2announce.agent.steward import Steward
from l2announce.agent.writes import LeaseWriter
from l2announce.control.controller import Controller
from l2announce.control.ports import Clock, Cluster, LeasesListed, LeaseStore
from l2announce.control.services import Reason
from l2announce.errors import ChannelError
from l2announce.kernel.channel import Channel
from l2announce.kernel.devices import Devices
from l2announce.model.address import FOREVER, Instant, format_mac
from l2announce.model.claim import ClaimSet
from l2announce.model.events import EventReason, ServiceEvent
from l2announce.model.lease import STATUS_LEASE, LeaseWrite, Written
from l2announce.model.objects import NamespacedName
from l2announce.model.report import Report
from l2announce.model.status import Explanation, NodeStatus
from l2announce.wire.messages import encode_claims

STOP_LIMIT = 0.9
"""Seconds that an orderly stop may take; after it the process ends anyway, and the deadlines end the claims."""

OVERDUE = 5.0
"""Seconds after which a timer that was not handled shows that this process does not work."""

log = logging.getLogger(__name__)


class ControlProcess:
    """One agent's decisions, connected."""

    def __init__(self, settings: Settings, cluster: Cluster, leases: LeaseStore, clock: Clock, child: ResponderChild) -> None:
        self._settings = settings
        self._cluster = cluster
        self._leases = leases
        self._clock = clock
        self._child = child
        self._channel: Channel = child.channel
        self._controller = Controller(
            settings.node_name,
            settings.timing,
            clock.now(),
            settings.lease_name_style,
            settings.devices,
            settings.eligibility,
            node_mode=settings.lease_mode == "node",
        )
        self._writer = LeaseWriter(leases, clock, lambda: self._controller.stopping)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._records: AnswerRecords = {}
        self._conflicts = Conflicts()
        self._announced: dict[str, str] = {}
        self._object_problems, self._policy_problems = ProblemLog(), ProblemLog()
        self._publisher = Publisher(cluster, clock)
        self._steward = Steward(self._controller, cluster, clock, self._publisher, self._explain)
        self._leases_heard_at = clock.now()
        self._metrics = Metrics(
            Sources(
                self._controller,
                clock.now,
                lambda: leases.trouble,
                lambda: self._leases_heard_at,
                lambda: self._conflicts.active(clock.now()),
                lambda: self._publisher.queue.dropped,
                lambda: self._steward.missing,
            )
        )
        self._endless: list[asyncio.Task[None]] = []
        self._due_at: Instant = FOREVER
        self._exit_code = 0
        self._will_look = False

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT, or until the responder is gone. Returns the exit code."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(signum, self._stop, signal.Signals(signum).name)
        self._loop.add_reader(self._channel.fileno(), self._read_channel)
        async with serve_health(self._settings.metrics_address, self._metrics.render, self._not_live, self._not_ready):
            server = await serve_state(self._settings.state_socket, self._answer)
            try:
                return await self._run()
            finally:
                server.close()
                self._settings.state_socket.unlink(missing_ok=True)

    async def _run(self) -> int:
        log.info(
            "agent started",
            extra={
                "fields": {
                    "node": self._settings.node_name,
                    "state_socket": str(self._settings.state_socket),
                    "failover_bound_seconds": self._settings.timing.failover_bound,
                    "restart_bound_seconds": round(self._settings.timing.restart_bound, 3),
                }
            },
        )
        for endless in (self._follow_cluster(), self._follow_devices(), self._follow_leases(), self._publisher.run(), self._steward.run()):
            self._endless.append(self._spawn(endless))
        try:
            return await self._ended
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()

    # -- what happens

    async def _follow_cluster(self) -> None:
        async for state in self._cluster.states():
            self._controller.replace_cluster(state, self._clock.now())
            known = {address for service in state.services.values() for address in (*service.external_ips, *service.load_balancer_ips)}
            self._records = {address: records for address, records in self._records.items() if address in known}
            self._conflicts.keep(known)
            self._object_problems.tell(state.problems)
            self._look_again()

    async def _follow_devices(self) -> None:
        async for devices in Devices().changes():
            self._controller.replace_devices(devices, self._clock.now())
            self._look_again()

    async def _follow_leases(self) -> None:
        async for event in self._leases.watch():
            now = self._leases_heard_at = self._clock.now()
            self._steward.leases_changed(event, now)
            if isinstance(event, LeasesListed):
                self._controller.leases_listed(event.leases, now)
            else:
                self._controller.lease_observed(event.name, event.lease, now)
                self._tell_wish(event.name)
            self._look_again()

    async def _write(self, write: LeaseWrite) -> None:
        since = self._controller.leases.seen_at(write.name)
        outcome, sent_at = await self._writer.write(write)
        now = self._clock.now()
        self._metrics.write_ended(write, outcome, sent_at, since, now)
        if write.name == STATUS_LEASE:
            self._steward.written(outcome, sent_at, now)
        elif isinstance(outcome, Written):
            self._controller.write_succeeded(write.name, outcome.lease, sent_at, now)
        else:
            self._controller.write_failed(write.name, outcome, now)
        self._look_again()

    async def _request(self, write: LeaseWrite) -> None:
        """Ask a holder for its lease. What comes of it the watch shows."""
        outcome = await self._leases.write(write)
        log.info(
            "asked for a lease", extra={"fields": {"lease": write.name, "holder": write.holder_identity, "outcome": type(outcome).__name__}}
        )

    def _read_channel(self) -> None:
        self._read_reports()
        self._look_again()

    def _read_reports(self) -> None:
        try:
            for report in self._channel.receive(Report):
                for record in report.answered:
                    self._records.setdefault(record.address, {})[record.interface] = record
                self._note_conflicts(report)
                self._controller.receive_report(report, self._clock.now())
        except ChannelError as err:
            self._responder_gone(err)

    def _note_conflicts(self, report: Report) -> None:
        """One log line when a conflict begins; status has the rest."""
        for record in report.conflicts:
            if self._conflicts.note(record):
                self._metrics.conflict_began()
                fields = {"address": str(record.address), "interface": record.interface, "mac": format_mac(record.mac)}
                log.warning("another host claims an address of ours", extra={"fields": fields | {"held_back": record.held_back}})
                message = f"{record.address}: another host, {fields['mac']}, claims it on interface {record.interface}"
                self._tell(EventReason.CONFLICT, self._controller.picture.services_with(record.address), message)

    def _responder_gone(self, err: ChannelError) -> None:
        """The other half is gone, and so shall this one be: leases first."""
        self._loop.remove_reader(self._channel.fileno())
        dead = self._child.is_dead()
        if not self._controller.stopping:
            log.error("responder lost", extra={"fields": {"error": str(err), "dead": dead}})
            self._end_within_limit(1)
        self._controller.stop(self._clock.now())
        self._controller.responder_lost(self._clock.now(), dead)

    def _stop(self, signal_name: str) -> None:
        log.info("stopping", extra={"fields": {"signal": signal_name}})
        self._end_within_limit(0)
        self._controller.stop(self._clock.now())
        self._look_again()

    def _end_within_limit(self, code: int) -> None:
        self._exit_code = code
        self._loop.call_later(STOP_LIMIT, self._end, code)

    def _end(self, code: int) -> None:
        if not self._ended.done():
            if not self._controller.is_stopped:
                log.warning("stopped before every lease was released; those end by their deadline")
            self._ended.set_result(code)

    # -- what to do about it

    def _look_again(self) -> None:
        """Look once, after everything that has come by now: a thousand events at a time are one look."""
        if not self._will_look:
            self._will_look = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Let the Controller decide, and carry it out.

        Reports that wait are read first: being slow to read them is no silence of the responder.
        """
        self._will_look = False
        if not self._controller.stopping and not self._ended.done():
            self._read_reports()
        now = self._clock.now()
        self._controller.handle_timer(now)
        for write in filter(None, (*self._controller.next_writes(now), self._steward.next_write(now))):
            self._spawn(self._write(write))
        for request in self._controller.next_requests(now):
            self._spawn(self._request(request))
        claims = self._controller.claim_set(now)
        if claims is not None:
            self._send(claims)
        self._tell_changes()
        self._steward.look()
        if self._controller.stopping and self._controller.is_stopped and self._steward.is_stopped:
            self._end(self._exit_code)
        self._arm_timer()

    def _send(self, claims: ClaimSet) -> None:
        try:
            self._channel.send(encode_claims(claims))
            self._metrics.claims_sent(claims.generation, len(claims.claims))
            self._arm_channel()
        except ChannelError as err:
            log.debug("claims not sent", extra={"fields": {"error": str(err)}})  # end of file is read next

    def _arm_channel(self) -> None:
        if self._channel.wants_write:
            self._loop.add_writer(self._channel.fileno(), self._flush_channel)
        else:
            self._loop.remove_writer(self._channel.fileno())

    def _flush_channel(self) -> None:
        try:
            self._channel.flush()
            self._arm_channel()
        except ChannelError:
            self._loop.remove_writer(self._channel.fileno())

    def _arm_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        controller = self._controller.next_timer()
        at = min(FOREVER if controller is None else controller, self._steward.next_timer())
        self._due_at = at
        self._timer = None if at == FOREVER else self._loop.call_later(max(0.001, at - self._clock.now()), self._look_again)

    def _tell_changes(self) -> None:
        """One log line for each change of ownership, and the policies' problems to where their users look."""
        held = self._controller.held
        for name in held - self._announced.keys():
            self._announced[name] = self._addresses(name)
            log.info("announcing", extra={"fields": {"lease": name, "addresses": self._announced[name]}})
            self._metrics.ownership_changed("announced", "Won")
            self._tell(EventReason.ANNOUNCED, self._controller.picture.groups[name].services, self._where(name))
        for name in self._announced.keys() - held:
            addresses = self._announced.pop(name)
            log.info("no longer announcing", extra={"fields": {"lease": name, "addresses": addresses, "why": self._why(name)}})
            self._metrics.ownership_changed("withdrawn", self._why(name))
        if self._controller.is_ready:
            self._policy_problems.tell(self._controller.picture.selection.problems)

    def _tell_wish(self, name: str) -> None:
        """One log line for each time somebody wants a lease of ours to go elsewhere."""
        elector = self._controller.electors.get(name)
        target, refusal = self._controller.turns.wish(elector), self._controller.turns.refusal(elector)
        if target is not None and refusal is not None:
            log.warning("not handed over", extra={"fields": {"lease": name, "to": target[:253], "why": refusal}})
        elif target is not None:
            log.info("handing over", extra={"fields": {"lease": name, "to": target}})

    def _tell(self, reason: EventReason, services: Iterable[NamespacedName], message: str) -> None:
        """An Event on each of the Services."""
        known = self._controller.picture.cluster.services
        for service in filter(known.__contains__, services):
            self._publisher.add(ServiceEvent(service, known[service].uid, reason, message))

    def _where(self, name: str) -> str:
        interfaces = sorted(frozenset().union(*self._controller.interfaces(name).values()))
        return f"{self._addresses(name)} announced from node {self._settings.node_name}, interface {', '.join(interfaces)}"

    def _addresses(self, name: str) -> str:
        return ",".join(sorted({str(wanted.address) for wanted in self._controller.picture.wanted(name)}))

    def _why(self, name: str) -> str:
        if not self._controller.stopping and not self._controller.picture.wanted(name):
            group = self._controller.picture.groups.get(name)
            refusal = self._controller.picture.selection.refusals.get(group.deciding_service) if group else None
            return refusal.value if refusal is Reason.NO_LOCAL_ENDPOINT else "NotSelected"
        blocker = self._controller.blocker(name, self._clock.now())
        if blocker is not None:
            return blocker.value
        elector = self._controller.electors.get(name)
        if elector is None:
            return "NotSelected"
        return f"HeldBy={elector.holder}" if elector.holder not in (None, self._settings.node_name) else "DeadlinePassed"

    def _answer(self, question: str) -> NodeStatus | Explanation:
        """What the state socket is asked."""
        now = self._clock.now()
        match question.split():
            case ["status"]:
                return node_status(self._controller, self._records, now, self._conflicts, self._leases.trouble)
            case ["explain", service]:
                namespace, _, name = service.partition("/")
                return self._explain(NamespacedName(namespace, name))
        return Explanation(
            self._settings.node_name,
            refused=f"{question[:40]!r}: this agent does not understand that; use the l2announce of its version",
        )

    def _explain(self, service: NamespacedName) -> Explanation:
        return explain(self._controller, self._records, self._conflicts, service, self._clock.now(), self._leases.trouble)

    def _not_live(self) -> str:
        """What only a restart can mend. That anybody answers shows that the event loop turns."""
        ended = [task.get_name() for task in self._endless if task.done()]
        if ended and not self._ended.done():
            return f"ended: {', '.join(ended)}"
        overdue = self._clock.now() - self._due_at
        return f"a timer is overdue by {overdue:.0f} s" if overdue > OVERDUE else ""

    def _not_ready(self) -> str:
        """Why this agent may not hold leases now."""
        if self._controller.stopping:
            return "stopping"
        if not self._controller.is_ready:
            return "not seen yet: objects, leases, interfaces and a report of the responder, or one of them"
        return "" if self._controller.gate.is_open(self._clock.now()) else "gate closed: the responder does not report, or does not obey"

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task whose failure ends the process: there is no half an agent."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (err := task.exception()) is not None and not self._ended.done():
            self._ended.set_exception(err)
