"""One simulated node: the control process with a candidate in it, the responder process, the channel between them.

``Candidate`` is the seam: ``ElectorCandidate`` puts bare electors there; anything with the same methods can take its place.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from l2announce.control.election import LeaseElector
from l2announce.control.heartbeats import Heartbeats
from l2announce.control.observed import ObservedLeases
from l2announce.model.address import NEVER, Address, Instant
from l2announce.model.claim import NO_CLAIMS, Claim, ClaimSet
from l2announce.model.lease import HEARTBEAT_PREFIX, Conflict, Lease, LeaseWrite, Unreachable, Verb, WriteOutcome, Written
from l2announce.model.link import Link
from l2announce.model.report import Report
from l2announce.model.timing import GATE_TIMEOUT, Timing
from tests.simulation.api import Network, Request, Watch
from tests.simulation.record import Answers
from tests.simulation.virtual import BootClock, EventQueue, Process

LINK = "eth0"
HEARTBEAT = 1.0
"""The modelled responder reports this often: still twice within GATE_TIMEOUT, and cheaper than the real one's 0.5 s."""


class Candidate(Protocol):
    """The decisions of one life of a control process. ``now`` is always the node's boot clock."""

    def observe_leases(self, leases: Mapping[str, Lease], now: Instant) -> None: ...
    def observe_lease(self, name: str, lease: Lease | None, now: Instant) -> None: ...
    def write_succeeded(self, lease: Lease, sent_at: Instant, now: Instant) -> None: ...
    def write_failed(self, name: str, outcome: Conflict | Unreachable, now: Instant) -> None: ...
    def receive_report(self, report: Report, now: Instant) -> None: ...
    def responder_lost(self, now: Instant) -> None: ...
    def stop(self, now: Instant) -> None: ...
    def next_timer(self) -> Instant | None: ...
    def handle_timer(self, now: Instant) -> None: ...
    def next_writes(self, now: Instant) -> Sequence[LeaseWrite]: ...
    def claim_set(self, now: Instant) -> ClaimSet | None: ...
    def knows(self, name: str) -> bool: ...


MakeElector = Callable[[str, str, Timing], LeaseElector]
MakeHeartbeats = Callable[[str, Timing, bool, ObservedLeases, Mapping[str, LeaseElector]], Heartbeats]


class ElectorCandidate:
    """One elector for each lease, the gate, and claims made of deadlines: the least that a controller must do."""

    def __init__(
        self, identity: str, timing: Timing, leases: Mapping[str, Address], patience: float, make_elector: MakeElector = LeaseElector
    ) -> None:
        self.electors = {name: make_elector(name, identity, timing) for name in leases}
        self._addresses = leases
        self._patience = patience
        self._stopping = False
        self._report_at = NEVER
        self._carrier = False
        self._eligible = False
        self._sent: ClaimSet | None = None
        self._listed: set[str] = set()
        self._settled: set[str] = set()
        self._applied = -1

    def observe_leases(self, leases: Mapping[str, Lease], now: Instant) -> None:
        """A list: what it does not contain is absent."""
        self._listed = set(self.electors)
        for name, elector in self.electors.items():
            elector.lease_observed(leases.get(name), now)

    def observe_lease(self, name: str, lease: Lease | None, now: Instant) -> None:
        """One change."""
        self.electors[name].lease_observed(lease, now)

    def write_succeeded(self, lease: Lease, sent_at: Instant, now: Instant) -> None:
        """The store's yes."""
        self.electors[lease.name].write_succeeded(lease, sent_at, now)

    def write_failed(self, name: str, outcome: Conflict | Unreachable, now: Instant) -> None:
        """The store's no, or its silence."""
        self.electors[name].write_failed(outcome, now)

    def receive_report(self, report: Report, now: Instant) -> None:
        """The responder lives, has carrier or not, and obeys a generation."""
        self._report_at = now
        self._carrier = any(link.carrier for link in report.links)
        self._applied = report.generation
        self._gate(now)
        self._confirm(now)

    def responder_lost(self, now: Instant) -> None:
        """End of file on the channel: its process is gone, so nothing answers."""
        self._report_at = NEVER
        self._gate(now)
        for elector in self.electors.values():
            elector.withdrawn(now)

    def stop(self, now: Instant) -> None:
        """SIGTERM."""
        self._stopping = True
        self._gate(now)

    def next_timer(self) -> Instant | None:
        """The earliest of the electors' timers and the gate's."""
        timers = [at for elector in self.electors.values() if (at := elector.next_timer()) is not None]
        if self._eligible:
            timers.append(self._report_at + GATE_TIMEOUT)
        return min(timers, default=None)

    def handle_timer(self, now: Instant) -> None:
        """Whatever is due."""
        self._gate(now)
        for elector in self.electors.values():
            elector.handle_timer(now)

    def next_writes(self, now: Instant) -> Sequence[LeaseWrite]:
        """At most one for each lease."""
        return [write for elector in self.electors.values() if (write := elector.next_write(now)) is not None]

    def claim_set(self, now: Instant) -> ClaimSet | None:
        """The whole truth; None before the first sight of every lease, while an earlier life's claims stay in force."""
        claims = []
        for name, elector in self.electors.items():
            if name not in self._settled and not self._settle(elector):
                return self._sent
            if elector.deadline is not None:
                claims.append(Claim(self._addresses[name], frozenset({LINK}), elector.deadline))
        if self._sent is None or self._sent.claims != tuple(claims):
            self._sent = ClaimSet(self._sent.generation + 1 if self._sent else 1, tuple(claims))
            self._confirm(now)
        return self._sent

    def knows(self, name: str) -> bool:
        """Whether it has seen the lease exist, so that it would notice its disappearance."""
        return self.electors[name].observed is not None

    def _settle(self, elector: LeaseElector) -> bool:
        """Whether this life has anything to say about a lease: as long as it carries our identity an earlier life's claim may go on."""
        ours = elector.holder == elector.identity and elector.deadline is None and not elector.wants_withdrawal
        if elector.name in self._listed and not ours:
            self._settled.add(elector.name)
        return elector.name in self._settled

    def _gate(self, now: Instant) -> None:
        self._eligible = self._carrier and not self._stopping and now < self._report_at + GATE_TIMEOUT
        for elector in self.electors.values():
            elector.set_eligible(self._eligible, now, self._patience)

    def _confirm(self, now: Instant) -> None:
        """A lease that waits for its withdrawal is withdrawn when the set that lacks it, the last one made, is applied."""
        if self._sent is None or self._applied < self._sent.generation:
            return
        claimed = {claim.address for claim in self._sent.claims}
        for name, elector in self.electors.items():
            if elector.wants_withdrawal and self._addresses[name] not in claimed:
                elector.withdrawn(now)


class NodeModeCandidate(ElectorCandidate):
    """The same with heartbeats: electors of either mode, each lease judged by its own annotation."""

    def __init__(
        self,
        identity: str,
        timing: Timing,
        leases: Mapping[str, Address],
        patience: float,
        node_mode: bool,
        make_heartbeats: MakeHeartbeats = Heartbeats,
    ) -> None:
        self._observed = ObservedLeases()
        self._made: dict[str, LeaseElector] = {}
        self.heartbeats = beats = make_heartbeats(identity, timing, node_mode, self._observed, self._made)
        super().__init__(identity, timing, leases, patience, lambda name, _, __: beats.new_elector(name))
        self._made |= self.electors

    def observe_leases(self, leases: Mapping[str, Lease], now: Instant) -> None:
        self._observed.list_received(leases.values(), now)
        super().observe_leases(leases, now)
        self.heartbeats.listed(leases, now)

    def observe_lease(self, name: str, lease: Lease | None, now: Instant) -> None:
        self._observed.lease_observed(name, lease, now)
        if name.startswith(HEARTBEAT_PREFIX):
            self.heartbeats.lease_observed(name, lease, now)
        else:
            super().observe_lease(name, lease, now)

    def write_succeeded(self, lease: Lease, sent_at: Instant, now: Instant) -> None:
        if lease.name.startswith(HEARTBEAT_PREFIX):
            self.heartbeats.write_succeeded(lease, sent_at, now)
        else:
            super().write_succeeded(lease, sent_at, now)

    def write_failed(self, name: str, outcome: Conflict | Unreachable, now: Instant) -> None:
        if name.startswith(HEARTBEAT_PREFIX):
            self.heartbeats.write_failed(name, outcome, now)
        else:
            super().write_failed(name, outcome, now)

    def next_timer(self) -> Instant | None:
        return min((at for at in (super().next_timer(), self.heartbeats.next_timer()) if at is not None), default=None)

    def handle_timer(self, now: Instant) -> None:
        self.heartbeats.handle_timer(now)
        super().handle_timer(now)

    def next_writes(self, now: Instant) -> Sequence[LeaseWrite]:
        self.heartbeats.news(now)
        writes = [self.heartbeats.next_write_of(elector, now) for elector in self.electors.values()]
        for elector in self.electors.values():
            self.heartbeats.follow(elector, now)
        return [*filter(None, writes), *self.heartbeats.next_writes(self._eligible, now)]

    def claim_set(self, now: Instant) -> ClaimSet | None:
        return None if self._sent is None and self._report_at == NEVER else super().claim_set(now)

    def knows(self, name: str) -> bool:
        return self._observed.present(name) is not None if name.startswith(HEARTBEAT_PREFIX) else super().knows(name)


class Node:
    """Two processes on one boot clock."""

    def __init__(
        self,
        name: str,
        queue: EventQueue,
        clock: BootClock,
        network: Network,
        rng: random.Random,
        answers: Answers,
        make_candidate: Callable[[str], Candidate],
    ) -> None:
        self.name = name
        self.clock = clock
        self.control = Process(queue)
        self.responder = Process(queue)
        self.carrier = True
        self.stopping = False
        self.candidate: Candidate | None = None
        self.writes_sent: list[list[float]] = []
        """For each life of the control process the boot-clock instants of its writes."""
        self.channel_delay = (0.0001, 0.002)
        self._queue = queue
        self._network = network
        self._rng = rng
        self._answers = answers
        self._make_candidate = make_candidate
        self._armed: Instant | None = None
        self._sent: ClaimSet | None = None
        self._claims = NO_CLAIMS
        self._applied = -1
        self._down_at = 0.0
        self._up_at = 0.0
        self._freeze_before_sending = 0.0
        self._tokens = 0

    # Lives

    def start_control(self) -> None:
        """A new control process with an empty memory; a responder that runs keeps its claims."""
        if self.control.alive:
            return
        self.control.start()
        self.candidate = candidate = self._make_candidate(self.name)
        self.writes_sent.append([])
        self._armed = None
        self._sent = None
        self._applied = -1  # a responder reports no generation of an earlier connection
        Watch(self._network, self.name, self.control, self._on_list, self._on_change)
        if self.responder.running:
            self._report()
        self._act(candidate)

    def kill_control(self) -> None:
        """SIGKILL."""
        self.control.kill()
        self.candidate = None
        self.stopping = False

    def stop_control(self) -> None:
        """SIGTERM; the process is killed a second later, finished or not."""
        self.stopping = self.control.alive
        self._into_control(0.0, lambda candidate, now: candidate.stop(now))
        life = self.control.life
        self._queue.after(1.0, lambda: self.kill_control() if self.control.life == life else None)

    def start_responder(self) -> None:
        """A new responder, without claims."""
        if self.responder.alive:
            return
        self.responder.start()
        self._applied = -1
        self._beat()
        if self._sent is not None:
            self._down(self._sent)

    def kill_responder(self) -> None:
        """SIGKILL: answers end now, the control process sees the end of file."""
        if self.responder.alive:
            self.responder.kill()
            self._claims = NO_CLAIMS
            self._answers.stop_all(self.name, self._queue.now)
            self._into_control(0.001, lambda candidate, now: candidate.responder_lost(now))

    def freeze(self, seconds: float, *, control: bool, responder: bool) -> None:
        """Stop one process or both for a while."""
        self._tokens += 1
        token = self._tokens
        for process in [self.control] * control + [self.responder] * responder:
            process.freeze(token)
            self._queue.after(seconds, lambda process=process: process.thaw(token))  # type: ignore[misc]

    def freeze_before_next_request(self, seconds: float) -> None:
        """Stop control between reading the clock and sending its next write."""
        self._freeze_before_sending = seconds

    def set_carrier(self, carrier: bool) -> None:
        """The cable."""
        self.carrier = carrier
        if self.responder.running:
            self._report()

    @property
    def healthy(self) -> bool:
        """Both processes run and the node has carrier."""
        return self.control.running and self.responder.running and self.carrier

    # The control process

    def _now(self) -> Instant:
        return self.clock.read(self._queue.now)

    def _into_control(self, delay: float, use: Callable[[Candidate, Instant], None]) -> None:
        """Give the candidate something, then act on what it decides."""

        def arrive() -> None:
            assert self.candidate is not None
            use(self.candidate, self._now())
            self._act(self.candidate)

        self.control.deliver(self._queue.now + delay, arrive)

    def _on_list(self, leases: dict[str, Lease]) -> None:
        self._into_control(0.0, lambda candidate, now: candidate.observe_leases(leases, now))

    def _on_change(self, name: str, lease: Lease | None) -> None:
        self._into_control(0.0, lambda candidate, now: candidate.observe_lease(name, lease, now))

    def _act(self, candidate: Candidate) -> None:
        now = self._now()
        for write in candidate.next_writes(now):
            self._send(write, now)
        claims = candidate.claim_set(now)
        if claims is not None and claims is not self._sent:
            self._sent = claims
            if self.responder.alive:
                self._down(claims)
        self._arm(candidate.next_timer())

    def _arm(self, timer: Instant | None) -> None:
        if timer is None or timer == self._armed:
            self._armed = timer
            return
        self._armed = timer

        def fire() -> None:
            if self._armed == timer and self.candidate is not None:
                self._armed = None
                self.candidate.handle_timer(self._now())
                self._act(self.candidate)

        self.control.deliver(max(self._queue.now, self.clock.instant(timer)) + self._rng.uniform(1e-6, 1e-3), fire)

    def _send(self, write: LeaseWrite, sent_at: Instant) -> None:
        self.writes_sent[-1].append(sent_at)

        def done(outcome: WriteOutcome) -> None:
            assert self.candidate is not None
            if write.verb is Verb.ANNOTATE:  # the watch tells what came of it
                return
            if isinstance(outcome, Written):
                self.candidate.write_succeeded(outcome.lease, sent_at, self._now())
            else:
                self.candidate.write_failed(write.name, outcome, self._now())
            self._act(self.candidate)

        request = Request(self._network, self.name, self.control, write, done)
        if self._freeze_before_sending:
            self.freeze(self._freeze_before_sending, control=True, responder=False)
            self._freeze_before_sending = 0.0
        self.control.deliver(self._queue.now + 0.0001, request.send)

    # The channel and the responder

    def _down(self, claims: ClaimSet) -> None:
        self._down_at = max(self._down_at, self._queue.now + self._rng.uniform(*self.channel_delay))
        life = self.control.life
        self.responder.deliver(self._down_at, lambda: self._apply(claims, life))

    def _apply(self, claims: ClaimSet, life: int) -> None:
        self._claims = claims
        deadlines = {claim.address: self.clock.instant(claim.deadline) for claim in claims.claims}
        self._answers.replace(self.name, deadlines, self._queue.now)
        if life == self.control.life:
            self._applied = claims.generation
            self._report()

    def _report(self) -> None:
        report = Report(self._applied, self._now(), (Link(1, LINK, b"\x02\0\0\0\0\1", self.carrier),))
        self._up_at = max(self._up_at, self._queue.now + self._rng.uniform(*self.channel_delay))
        self._into_control(self._up_at - self._queue.now, lambda candidate, now: candidate.receive_report(report, now))

    def _beat(self) -> None:
        if self.control.alive:
            self._report()
        self.responder.deliver(self._queue.now + HEARTBEAT / self.clock.rate, self._beat)
