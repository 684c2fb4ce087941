"""The decisions of one node, composed: cluster state, devices, responder reports and leases in; lease writes and claim sets out.

Sans-IO, like the two machines it stands between. Level-triggered: every input says "look again", the outputs follow from the state alone.
The path of a Service: ``replace_cluster`` -> groups and this node's announcements -> eligibility of one LeaseElector for each group ->
``next_writes`` -> ``write_succeeded`` gives a deadline -> ``claim_set`` -> the responder's report -> the gate.
"""

from collections.abc import Iterable, KeysView, Sequence
from dataclasses import replace

from l2announce.control.blocker import Blocker
from l2announce.control.claims import claims_for
from l2announce.control.devices import Candidates, candidate_devices
from l2announce.control.election import LeaseElector, State
from l2announce.control.firsts import FirstClaims
from l2announce.control.gate import Gate
from l2announce.control.groups import Group, LeaseNameStyle, clash_problems, group_leases, lease_name, shared_address_groups
from l2announce.control.guard import GuardList, guard_list
from l2announce.control.heartbeat import Heartbeats, is_heartbeat
from l2announce.control.observed import ObservedLeases
from l2announce.control.placement import candidates_of_groups, rank
from l2announce.control.policy import Announcement, Selection, select
from l2announce.control.segments import Segments, segments
from l2announce.control.wakeups import Wakeups
from l2announce.model.address import FOREVER, NEVER, Address, Instant, format_mac
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.lease import INTERFACES_ANNOTATION, Conflict, Lease, LeaseWrite, Unreachable, Verb
from l2announce.model.link import Device
from l2announce.model.objects import ClusterState, NamespacedName, ObjectProblem
from l2announce.model.report import Report
from l2announce.model.timing import RANK_STEP, Timing

GATHER_PER_HUNDRED = 0.002
"""Seconds, for each hundred leases that are held, between two claim sets when leases are won or lost: about twice what making and applying
one takes."""


class Controller:
    """What this node should hold, may hold, and tells its responder to answer for."""

    def __init__(
        self,
        node_name: str,
        timing: Timing,
        now: Instant,
        lease_name_style: LeaseNameStyle = "dot",
        device_patterns: Sequence[str] = (),
        node_mode: bool = False,
    ) -> None:
        """``device_patterns`` are the expressions of --devices; ValueError when one does not compile. ``node_mode``: see heartbeat."""
        self.node_name = node_name
        self.timing = timing
        self.gate = Gate()
        self.selection = Selection()
        self.groups: dict[str, Group] = {}
        self.electors: dict[str, LeaseElector] = {}
        self.problems: tuple[ObjectProblem, ...] = ()
        self.devices: tuple[Device, ...] = ()
        self.stopping = False
        self._style: LeaseNameStyle = lease_name_style
        self._patterns = tuple(device_patterns)
        self._candidates: Candidates = candidate_devices((), self._patterns)
        self._guard = GuardList()
        self._segments = Segments()
        self._state: ClusterState | None = None
        self._announcements: dict[str, tuple[Announcement, ...]] = {}
        self._patience: dict[str, float] = {}
        self._groups_of_member: dict[str, str] = {}
        self._leases = ObservedLeases()
        self._heartbeats = Heartbeats(node_name, timing, node_mode)
        self._devices_seen = False
        self._gate_was_open = False
        self._wakeups = Wakeups()
        self._member_wakeups = Wakeups()
        self._writing: set[str] = set()
        self._touched: set[str] = set()
        self._firsts = FirstClaims()
        self._started_at = now
        self.generation = 0
        self._held: dict[str, Instant] = {}
        self._claims_changed = True
        self._deadlines_changed = False
        self._sent_at: Instant = NEVER
        self._withdrawn_in: dict[str, int] = {}

    # -- what happened

    def replace_cluster(self, state: ClusterState, now: Instant) -> None:
        """The objects of the cluster, whole."""
        self._state = state
        leases = group_leases(shared_address_groups(state), self._style)
        self._firsts.groups_changed(self.groups, leases.groups, self._held)
        self.groups = leases.groups
        self.problems = state.problems + clash_problems(leases)
        self._groups_of_member = {
            lease_name(service, self._style): name for name, group in leases.groups.items() for service in group.services[1:]
        }
        candidates = candidates_of_groups(leases.groups.values(), state)
        self._patience = {
            name: min(rank(name, self.node_name, candidates[group]) * RANK_STEP, self.timing.retry_period / 2)
            for name, group in leases.groups.items()
        }
        self._guard = self._guard_list()
        self._select(now)

    def replace_devices(self, devices: Iterable[Device], now: Instant) -> None:
        """The interfaces of this node, whole."""
        self._devices_seen = True
        self.devices = tuple(devices)
        if (known := segments(self.devices)) != self._segments:
            self._segments = known
            self._choose_again()
        candidates, guard = candidate_devices(self.devices, self._patterns), self._guard_list()
        if candidates != self._candidates or guard != self._guard:
            self._candidates, self._guard = candidates, guard
            self._select(now)

    def receive_report(self, report: Report, now: Instant) -> None:
        """The responder reported. A confirmed withdrawal lets its lease go; changed links change eligibility."""
        carrier = self.gate.links_with_carrier()
        self.gate.report_received(report)
        for name, generation in list(self._withdrawn_in.items()):
            if self.gate.applied >= generation:
                self._confirm_withdrawal(name, now)
        if self.gate.links_with_carrier() != carrier:
            self._choose_again()
            self._judge_all(now)
        elif self.gate.is_open(now) != self._gate_was_open:
            self._judge_all(now)

    def responder_lost(self, now: Instant, dead: bool) -> None:
        """The channel ended. ``dead``: the process is known to have ended too, so that nothing answers here any more."""
        self.gate.lost()
        self._judge_all(now)
        if dead:
            for name in self.electors:
                self._confirm_withdrawal(name, now)

    def leases_listed(self, leases: Iterable[Lease], now: Instant) -> None:
        """Every lease of the namespace; those that are missing do not exist."""
        macs = self._leases.macs
        listed = self._leases.list_received(leases, now)
        self._deadlines_changed |= self._leases.macs != macs and bool(self._held)
        for name, elector in self.electors.items():
            elector.lease_observed(listed.get(name), now)
            self._touched.add(name)
        self._heartbeats.listed(listed, now)
        self._judge_all(now)

    def lease_observed(self, name: str, lease: Lease | None, now: Instant) -> None:
        """One lease changed; None: it was deleted."""
        macs = self._leases.macs
        self._leases.lease_observed(name, lease, now)
        self._deadlines_changed |= self._leases.macs != macs and bool(self._held)
        if name in self.electors:
            self.electors[name].lease_observed(lease, now)
            self._touched.add(name)
        elif is_heartbeat(name):
            self._heartbeats.lease_observed(name, lease, now)
        else:
            self._adopt_stray(name, now)
        self._judge_group_of_member(name, now)

    def write_succeeded(self, name: str, lease: Lease, sent_at: Instant, now: Instant) -> None:
        """A write of ``next_writes`` was accepted; ``sent_at`` was read before it was sent."""
        self._writing.discard(name)
        if is_heartbeat(name):
            self._touched |= self._heartbeats.write_succeeded(lease, sent_at, now, self.electors)
            return
        self.electors[name].write_succeeded(lease, sent_at, now)
        self._touched.add(name)

    def write_failed(self, name: str, outcome: Conflict | Unreachable, now: Instant) -> None:
        """A write of ``next_writes`` was refused, or its fate is unknown."""
        self._writing.discard(name)
        if is_heartbeat(name):
            self._heartbeats.write_failed(name, outcome, now)
            return
        self.electors[name].write_failed(outcome, now)
        self._touched.add(name)

    def stop(self, now: Instant) -> None:
        """Give everything up, in order: answering first, then the leases."""
        self.stopping = True
        self._judge_all(now)

    # -- time

    def next_timer(self) -> Instant | None:
        """When ``handle_timer`` should be called next."""
        due = [self._wakeups.next(), self._member_wakeups.next(), self._heartbeats.next_timer()]
        if self._gate_was_open:
            due.append(self.gate.closes_at())
        due.append(self._claims_due_at())
        at = min(at for at in due if at is not None)
        return None if at == FOREVER else at

    def handle_timer(self, now: Instant) -> None:
        """Act on what is due: the gate, electors, expired leases of group members."""
        if self._gate_was_open and not self.gate.is_open(now):
            self._judge_all(now)
        self._heartbeats.handle_timer(now)
        for name in self._wakeups.due(now):
            self.electors[name].handle_timer(now)
            self._touched.add(name)
        for name in self._member_wakeups.due(now):
            self._judge_group_of_member(name, now)

    # -- what to do

    def next_writes(self, now: Instant) -> list[LeaseWrite]:
        """The lease writes to send now, at most one in flight for each lease. Call after every input."""
        self._touched |= self._heartbeats.tell(self.electors.values(), now)
        touched, self._touched = self._touched, set()
        wanted = (self.electors[name].next_write(now) for name in sorted(touched))
        writes = [self._annotated(write) for write in wanted if write is not None]
        self._writing.update(write.name for write in writes)
        for write in writes:
            self._firsts.write_sent(write, self._leases.knows(write.name))
        for name in touched:
            self._heartbeats.follow(self.electors[name], now)
            self._follow(name)
        self._heartbeats.set_wanted((self.is_ready and not self.stopping and self._gate_was_open) or self._is_busy, now)
        beats = self._heartbeats.next_writes(now)
        self._writing.update(write.name for write in beats)
        return beats + writes

    def claim_set(self, now: Instant) -> ClaimSet | None:
        """The claim set to send to the responder now; None when it needs none. Call after ``next_writes``.

        What is won or lost goes at once, or where many leases are held some milliseconds after the last set; mere extensions of deadlines
        are gathered for longer. Nothing goes before the leases that an earlier life of this process held are resumed or lost: until then
        the responder obeys what that life told it.
        """
        if now < self._claims_due_at():
            return None
        self._claims_changed = self._deadlines_changed = False
        self.generation = max(self.generation, self.gate.applied) + 1  # an adopted responder reports what an earlier life numbered
        self._sent_at = now
        self.gate.claims_sent(self.generation, now)
        for name, elector in self.electors.items():
            if elector.wants_withdrawal:
                self._withdrawn_in.setdefault(name, self.generation)
        timing = self.timing
        return ClaimSet(
            self.generation,
            tuple(self.claims()),
            timing.announce_refresh,
            self._leases.macs,
            probe_wait=timing.probe_wait,
            answer_limit=timing.answer_limit,
        )

    def claims(self) -> Iterable[Claim]:
        """The claims of every lease that is held."""
        for name, deadline in self._held.items():
            for claim in self._claims_of(name, deadline):
                yield replace(claim, probe=True) if self._firsts.includes(name, claim.address) else claim

    @property
    def held(self) -> KeysView[str]:
        """Names of the leases that are held."""
        return self._held.keys()

    @property
    def is_ready(self) -> bool:
        """True when everything that decisions need has been seen once: objects, leases, and a report of the responder."""
        return self._state is not None and self._devices_seen and self._leases.is_ready and self.gate.report is not None

    @property
    def is_stopped(self) -> bool:
        """True when ``stop`` was called and nothing is held or being given up any more."""
        return self.stopping and not self._writing and not self._is_busy and self._heartbeats.is_idle

    @property
    def _is_busy(self) -> bool:
        """True while a lease is held, won or given up."""
        return any(elector.state not in (State.IDLE, State.FOLLOWING) for elector in self.electors.values())

    # -- for status

    def lease(self, name: str) -> Lease | None:
        """The lease as last observed; None when there is none."""
        return self._leases.present(name)

    def holder(self, name: str, now: Instant) -> str | None:
        """Who holds the lease, as far as we have seen; None when nobody does or its holder let it run out."""
        return self._leases.holder(name, now)

    def addresses_of(self, service: NamespacedName) -> tuple[Address, ...]:
        """The addresses of a Service, external IPs first, each once."""
        known = self._state.services.get(service) if self._state else None
        return tuple(dict.fromkeys((*known.external_ips, *known.load_balancer_ips))) if known else ()

    def wanted(self, name: str) -> tuple[Announcement, ...]:
        """What this node announces while it holds the lease ``name``, on every interface that policies choose."""
        return self._announcements.get(name, ())

    def interfaces(self, name: str) -> dict[Address, frozenset[str]]:
        """The interfaces on which this node answers for each address while it holds the lease ``name``."""
        return {claim.address: claim.interfaces for claim in self._claims_of(name, NEVER)}

    def blocker(self, name: str, now: Instant) -> Blocker | None:
        """Why this node may not hold the lease ``name`` although its Services are selected here; None when it may."""
        if self.stopping:
            return Blocker.STOPPING
        if not self.is_ready:
            return Blocker.NOT_READY
        if not self.gate.is_open(now):
            return Blocker.GATE_CLOSED
        if not self.gate.links_with_carrier() & {interface for wanted in self.wanted(name) for interface in wanted.interfaces}:
            return Blocker.NO_CARRIER
        return Blocker.MEMBER_HELD_ELSEWHERE if self._foreign_member(name, now) else None

    # -- deciding

    def _annotated(self, write: LeaseWrite) -> LeaseWrite:
        """A claim of a lease says where, and with which MAC, it will be announced, for those who ask the cluster."""
        if write.verb is Verb.RELEASE or self.gate.report is None:
            return write
        names = frozenset().union(*self.interfaces(write.name).values())
        pairs = sorted(f"{link.name}={format_mac(link.mac)}" for link in self.gate.report.links if link.name in names)
        return replace(write, annotations={**write.annotations, INTERFACES_ANNOTATION: ",".join(pairs)})

    @property
    def _extension_interval(self) -> float:
        """For how long extensions of deadlines are gathered: short against the time that a renewal leaves to the old deadline."""
        return self.timing.renew_deadline / 10

    def _select(self, now: Instant) -> None:
        if self._state is None:
            return
        self.selection = select(self._state, self.node_name, self._candidates, self._guard)
        by_service: dict[NamespacedName, list[Announcement]] = {}
        for announcement in self.selection.announcements:
            by_service.setdefault(announcement.service, []).append(announcement)
        announcements = {
            name: tuple(wanted for service in group.services for wanted in by_service.get(service, ()))
            for name, group in self.groups.items()
        }
        if any(announcements.get(name) != self._announcements.get(name) for name in self._held):
            self._claims_changed = True
        self._announcements = announcements
        self._judge_all(now)

    def _guard_list(self) -> GuardList:
        state = self._state or ClusterState()
        return guard_list(self.node_name, self.devices, state.nodes.values(), state.api_servers)

    def _claims_of(self, name: str, deadline: Instant) -> tuple[Claim, ...]:
        with_carrier = self.gate.links_with_carrier()
        return claims_for(
            self._announcements.get(name, ()), deadline, lambda address, wanted: self._segments.answering(address, wanted, with_carrier)
        )

    def _choose_again(self) -> None:
        """Carrier or routes have changed, so of several interfaces another may have to answer: tell the responder all claims."""
        if any(len(wanted.interfaces) > 1 for name in self._held for wanted in self.wanted(name)):
            self._claims_changed = True

    def _judge_all(self, now: Instant) -> None:
        self._gate_was_open = self.gate.is_open(now)
        for name in self.groups.keys() | self.electors.keys():
            self._judge(name, now)
        for name in self._leases.held_by_heartbeat_of(self.node_name):
            self._adopt_stray(name, now)

    def _adopt_stray(self, name: str, now: Instant) -> None:
        """A lease that an earlier life of this node left in its name and that our heartbeat would keep alive for ever is given up."""
        lease = self._leases.present(name)
        ours = lease is not None and lease.follows_heartbeat and lease.holder_identity == self.node_name
        if ours and self.is_ready and name not in self.electors:
            self._elector(name, now).set_eligible(False, now)
            self._touched.add(name)

    def _judge(self, name: str, now: Instant) -> None:
        """Tell the elector of one lease whether this node may hold it."""
        eligible = bool(self.wanted(name)) and self.blocker(name, now) is None
        if eligible or name in self.electors:
            self._elector(name, now).set_eligible(eligible, now, self._patience.get(name, 0.0))
            self._touched.add(name)

    def _elector(self, name: str, now: Instant) -> LeaseElector:
        elector = self.electors.get(name)
        if elector is None:
            elector = self.electors[name] = self._heartbeats.new_elector(name)
            self._leases.replay(elector, now)
        return elector

    def _foreign_member(self, name: str, now: Instant) -> bool:
        """True while another node validly holds the lease of a Service of this group other than the deciding one: a group that has just
        been joined waits until each former owner has let go."""
        group = self.groups.get(name)
        for service in group.services[1:] if group else ():
            member = lease_name(service, self._style)
            until = self._leases.foreign_until(member, self.node_name)
            if until is not None and now < until:
                self._member_wakeups.set(member, until)
                return True
        return False

    def _judge_group_of_member(self, name: str, now: Instant) -> None:
        if name in self._groups_of_member:
            self._judge(self._groups_of_member[name], now)

    def _confirm_withdrawal(self, name: str, now: Instant) -> None:
        self._withdrawn_in.pop(name, None)
        self.electors[name].withdrawn(now)
        self._touched.add(name)

    def _follow(self, name: str) -> None:
        """Note what an elector that was touched now holds, when it wants to be woken, and forget it when it is done."""
        elector = self.electors[name]
        deadline = elector.deadline
        if (deadline is None) != (name not in self._held):
            self._claims_changed = True
        elif deadline is not None and deadline != self._held[name]:
            self._deadlines_changed = True
        if deadline is None:
            self._held.pop(name, None)
        else:
            self._held[name] = deadline
        if elector.wants_withdrawal and name not in self._withdrawn_in:
            self._claims_changed = True
        if not elector.wants_withdrawal:
            self._withdrawn_in.pop(name, None)
        self._wakeups.set(name, elector.next_timer())
        if name not in self.groups and name not in self._writing and elector.state is State.IDLE:
            self._wakeups.set(name, None)
            del self.electors[name]

    def _claims_due_at(self) -> Instant:
        """When the next claim set is to go; FOREVER when nothing changed or something is unseen.

        What was won or lost goes at once, but not so soon after the last set that making sets, which are whole, would be most of the work:
        a thousand leases won one after the other are then some fifty sets, not a thousand.
        """
        if not self.is_ready or not (self._claims_changed or self._deadlines_changed):
            return FOREVER
        gathering = len(self._held) // 100 * GATHER_PER_HUNDRED if self._claims_changed else self._extension_interval
        at = self._sent_at + gathering
        return max(at, self._adopting_until())

    def _adopting_until(self) -> Instant:
        """Until when the first claim set waits, at most, for leases that an earlier life held; NEVER when there is none to resume."""
        if self.generation or all(elector.state is not State.RESUMING for elector in self.electors.values()):
            return NEVER
        return self._started_at + self.timing.lease_duration
