"""The decisions of one node, composed: cluster state, devices, responder reports and leases in; lease writes and claim sets out.

Sans-IO, like the two machines it stands between. Level-triggered: every input says "look again", the outputs follow from the state alone.
The path of a Service: ``replace_cluster`` -> groups and this node's announcements -> eligibility of one LeaseElector for each group ->
``next_writes`` -> ``write_succeeded`` gives a deadline -> ``claim_set`` -> the responder's report -> the gate.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

from l2announce.control.blocker import Blocker
from l2announce.control.claims import annotated
from l2announce.control.election import LeaseElector
from l2announce.control.eligibility import Eligibility, Interfaces, fit
from l2announce.control.gate import Gate
from l2announce.control.groups import LeaseNameStyle
from l2announce.control.heartbeat import is_heartbeat
from l2announce.control.heartbeats import Heartbeats
from l2announce.control.holdings import Holdings
from l2announce.control.holdover import HoldOver
from l2announce.control.members import Members
from l2announce.control.observed import ObservedLeases
from l2announce.control.picture import Picture
from l2announce.control.placement import candidates_of_groups
from l2announce.control.pulls import Pulls
from l2announce.control.states import State
from l2announce.control.turns import Turns
from l2announce.control.wakeups import Wakeups
from l2announce.model.address import FOREVER, NEVER, Address, Instant
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.eligibility import EligibilitySettings
from l2announce.model.lease import DRAIN_PREFIX, Conflict, Lease, LeaseWrite, Unreachable, Verb
from l2announce.model.link import Device
from l2announce.model.objects import ClusterState
from l2announce.model.report import Report
from l2announce.model.timing import Timing


class Controller:
    """What this node should hold, may hold, and tells its responder to answer for."""

    def __init__(
        self,
        node_name: str,
        timing: Timing,
        now: Instant,
        lease_name_style: LeaseNameStyle = "dot",
        device_patterns: Sequence[str] = (),
        eligibility: EligibilitySettings = EligibilitySettings(),  # noqa: B008 - frozen
        node_mode: bool = False,
    ) -> None:
        """``device_patterns`` are the expressions of --devices; ValueError when one does not compile. ``node_mode``: see heartbeats."""
        self.node_name = node_name
        self.timing = timing
        self.gate = Gate()
        self.picture = Picture(node_name, lease_name_style, device_patterns)
        self.electors: dict[str, LeaseElector] = {}
        self.stopping = False
        self._eligibility = eligibility
        self.eligibility = Eligibility(node_name, eligibility, handicap=timing.retry_period / 2)
        self.leases = ObservedLeases()
        self._heartbeats = Heartbeats(node_name, timing, node_mode, self.leases, self.electors)
        self._members = Members(node_name, lease_name_style, self.leases)
        self._holdings = Holdings(self._members, self._claims_of)
        self._hold_over = HoldOver()
        self.turns = Turns(node_name, timing, self.leases)
        self._pulls = Pulls(node_name, timing.rebalance, self.leases, self.turns)
        self._gate_was_open = False
        self._wakeups = Wakeups()
        self._member_wakeups = Wakeups()
        self._writing: set[str] = set()
        self._touched: set[str] = set()
        self._started_at = now
        self.generation = 0
        self._withdrawn_in: dict[str, int] = {}

    # -- what happened

    def replace_cluster(self, state: ClusterState, now: Instant) -> None:
        """The objects of the cluster, whole."""
        self.picture.replace_cluster(state)
        groups = self.picture.groups
        self._holdings.firsts.replace_groups(groups, self._holdings.until)
        self._members.replace_groups(groups)
        self._tell_whom_they_follow(self._holdings.until)
        candidates = candidates_of_groups(groups.values(), state)
        self.eligibility.replace_cluster(state, groups, candidates, now)
        self.turns.replace_groups(groups, state.services, candidates, fit(state, candidates, self._eligibility))
        self._select(now)

    def replace_devices(self, devices: Iterable[Device], now: Instant) -> None:
        """The interfaces of this node, whole."""
        other_routes, other_selection = self.picture.replace_devices(devices)
        if other_routes:
            self._choose_again()
            self._judge_all(now)
        if other_selection:
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
        listed = self.leases.list_received(leases, now)
        self._holdings.learn_macs(self.leases.macs)
        for name, elector in self.electors.items():
            elector.lease_observed(listed.get(name), now)
            self._touched.add(name)
        self._touched |= self._heartbeats.listed(listed, now)
        self.turns.look_again()
        self._judge_all(now)

    def lease_observed(self, name: str, lease: Lease | None, now: Instant) -> None:
        """One lease changed; None: it was deleted."""
        self.leases.lease_observed(name, lease, now)
        self._holdings.learn_macs(self.leases.macs)
        if name in self.electors:
            self.electors[name].lease_observed(lease, now)
            self._touched.add(name)
        if name in self.electors or self._is_stray(name):
            self._judge(name, now)
        elif name.startswith(DRAIN_PREFIX):
            self.turns.look_again()
            self._judge_all(now)
        elif is_heartbeat(name):
            self._touched |= self._heartbeats.lease_observed(name, lease, now)
        self._judge_group_of_member(name, now)
        self._judge_members(name, now)

    def write_succeeded(self, name: str, lease: Lease, sent_at: Instant, now: Instant) -> None:
        """A write of ``next_writes`` was accepted; ``sent_at`` was read before it was sent."""
        self._writing.discard(name)
        if is_heartbeat(name):
            self._touched |= self._heartbeats.write_succeeded(lease, sent_at, now)
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
        self._judge(name, now)

    def stop(self, now: Instant) -> None:
        """Give everything up, in order: answering first, then the leases."""
        self.stopping = True
        self._judge_all(now)

    # -- time

    def next_timer(self) -> Instant | None:
        """When ``handle_timer`` should be called next."""
        machines = (self._wakeups, self._member_wakeups, self.eligibility, self._heartbeats, self._pulls)
        due = [self._claims_due_at(), self.gate.closes_at() if self._gate_was_open else FOREVER]
        at = min((*due, *(timer for machine in machines if (timer := machine.next_timer()) is not None)))
        return None if at == FOREVER else at

    def handle_timer(self, now: Instant) -> None:
        """Act on what is due: the gate, electors, expired leases of group members."""
        if self.eligibility.handle_timer(now) or (self._gate_was_open and not self.gate.is_open(now)):
            self._judge_all(now)
        self._heartbeats.handle_timer(now)
        for name in self._wakeups.due(now):
            self.electors[name].handle_timer(now)
            self._touched.add(name)
            self._judge(name, now)
        for name in self._member_wakeups.due(now):
            self._judge_group_of_member(name, now)

    # -- what to do

    def next_writes(self, now: Instant) -> list[LeaseWrite]:
        """The lease writes to send now, at most one in flight for each lease. Call after every input."""
        writes: list[LeaseWrite] = []
        self._touched |= self._heartbeats.news(now)
        while self._touched:  # again where a deciding lease was won or lost: its members' follow
            touched, self._touched = self._touched, set()
            for write in filter(None, (self._heartbeats.next_write_of(self.electors[name], now) for name in sorted(touched))):
                self._writing.add(write.name)
                self._holdings.firsts.write_sent(write, self.leases.knows(write.name))
                self._members.write_sent(write)
                writes.append(self._annotated(write))
            for name in touched:
                self._heartbeats.follow(self.electors[name], now)
                if self._follow(name):
                    self._judge_members(name, now)
                    if name in self._members:
                        self._holdings.member_lost(name, self.picture.addresses_of(self._members.service(name)))
                    self._tell_whom_they_follow(self._members.of(name))
        beats = self._heartbeats.next_writes(self.is_ready and not self.stopping and self._gate_was_open, now)
        self._writing.update(write.name for write in beats)
        return writes + beats

    def next_requests(self, now: Instant) -> list[LeaseWrite]:
        """Annotations to write now on leases of others, to be given them. The outcome is not reported: the watch shows it."""
        return [] if self.stopping else self._pulls.next_requests(self.electors, now)

    def claim_set(self, now: Instant) -> ClaimSet | None:
        """The claim set to send to the responder now; None when it needs none. Call after ``next_writes``.

        What is won or lost goes at once, or where many leases are held some milliseconds after the last set; mere extensions of deadlines
        are gathered for longer. Nothing goes before the leases that an earlier life of this process held are resumed or lost: until then
        the responder obeys what that life told it.
        """
        if now < self._claims_due_at():
            return None
        self.generation = max(self.generation, self.gate.applied) + 1  # an adopted responder reports what an earlier life numbered
        self.gate.claims_sent(self.generation, now)
        for name, elector in self.electors.items():
            if elector.wants_withdrawal:
                self._withdrawn_in.setdefault(name, self.generation)
        return self._holdings.take(self.generation, self.timing, now, self._hold_over.grant(self.electors, self._members.group_of, now))

    def claims(self) -> Iterable[Claim]:
        """The claims of every lease that is held."""
        return self._holdings.claims()

    @property
    def held(self) -> Set[str]:
        """Names of the leases that are held and decide."""
        return self._holdings.until.keys() & self.picture.groups.keys()

    @property
    def is_ready(self) -> bool:
        """True when everything that decisions need has been seen once: objects, leases, and a report of the responder."""
        return self.picture.is_whole and self.leases.is_ready and self.gate.report is not None

    @property
    def is_stopped(self) -> bool:
        """True when ``stop`` was called and nothing is held or being given up any more."""
        silent = not self._writing and all(elector.state is State.IDLE for elector in self.electors.values())
        return self.stopping and silent and self._heartbeats.is_idle

    # -- for status

    def holder(self, name: str, now: Instant) -> str | None:
        """Who holds the lease, as far as we have seen; None when nobody does or its holder let it run out."""
        return self.leases.holder(name, now)

    def interfaces(self, name: str) -> dict[Address, frozenset[str]]:
        """The interfaces on which this node answers for each address while it holds the lease ``name``."""
        return {claim.address: claim.interfaces for claim in self._claims_of(name)}

    def blocker(self, name: str, now: Instant) -> Blocker | None:
        """Why this node may not hold the lease ``name`` although its Services are selected here; None when it may."""
        if self.stopping:
            return Blocker.STOPPING
        if not (self.picture.is_whole and self.leases.is_ready):
            return Blocker.NOT_READY
        if not self.gate.is_open(now):
            return Blocker.RESPONDER_NOT_ANSWERING
        if (blocker := self.eligibility.blocker(name, self.picture.wanted(name), self._interfaces(), now)) is not None:
            return blocker
        if name not in self._holdings.until and self._foreign_member(name, now):
            return Blocker.MEMBER_HELD_ELSEWHERE
        if self.node_name in self.turns.drained:
            return Blocker.DRAINED
        return Blocker.MOVING if self.turns.gives_away(self.electors.get(name)) else None

    # -- deciding

    def _interfaces(self) -> Interfaces:
        return Interfaces(self.gate.links_with_carrier(), self.picture.segments)

    def _annotated(self, write: LeaseWrite) -> LeaseWrite:
        if write.verb is Verb.RELEASE:
            return replace(write, annotations=self.turns.parting_words(self.electors[write.name]))
        where = self.interfaces(self._members.deciding(write.name) or write.name)
        return annotated(write, where, self.gate.report, self._members.annotations(write.name, self._holdings.until))

    def _select(self, now: Instant) -> None:
        if self.picture.select(self.eligibility.served, self._members.alone, self._holdings.until):
            self._holdings.changed = True
        self._judge_all(now)

    def _claims_of(self, name: str, deadline: Instant = NEVER) -> tuple[Claim, ...]:
        return self.picture.claims(name, self.gate.links_with_carrier(), deadline)

    def _tell_whom_they_follow(self, names: Iterable[str]) -> None:
        for name in self._members.outdated(names, self._holdings.until):
            self.electors[name].renew_soon()
            self._touched.add(name)

    def _choose_again(self) -> None:
        """Carrier or routes have changed, so of several interfaces another may have to answer: tell the responder all claims."""
        if any(len(wanted.interfaces) > 1 for name in self._holdings.until for wanted in self.picture.wanted(name)):
            self._holdings.changed = True

    def _judge_all(self, now: Instant) -> None:
        self._gate_was_open = self.gate.is_open(now)
        for name in self.picture.groups.keys() | self.electors.keys() | self.leases.held_by_heartbeat_of(self.node_name):
            self._judge(name, now)
            self._judge_members(name, now)

    def _judge(self, name: str, now: Instant) -> None:
        """Tell the elector of one lease whether this node may hold it."""
        if (deciding := self._members.deciding(name)) is not None:
            held, bridged = self._holdings.until, self._members.may_bridge(name)
            eligible = deciding in held or (name in held and bridged and self.blocker(deciding, now) is None)
            patience, not_before = -self.timing.lease_duration if self._members.was_followers(name) else 0.0, NEVER
        else:
            eligible = bool(self.picture.wanted(name)) and self.blocker(name, now) is None
            elector = self.electors.get(name)
            patience = self.turns.patience(name, elector) + self.eligibility.handicap(self.picture.wanted(name), self._interfaces(), now)
            not_before = self.turns.not_before(name, elector)
        if eligible:
            self.turns.ready(now)
        if eligible or name in self.electors or self._is_stray(name):
            elector = self._elector(name, now)
            elector.set_eligible(eligible, now, patience, not_before)
            if self.turns.refusal(elector) is not None:
                elector.renew_soon()
            self._touched.add(name)

    def _is_stray(self, name: str) -> bool:
        """Whether an earlier life left the lease in our name, so that our heartbeat would keep it for ever though we do not want it."""
        return self.is_ready and name in self.leases.held_by_heartbeat_of(self.node_name)

    def _elector(self, name: str, now: Instant) -> LeaseElector:
        elector = self.electors.get(name)
        if elector is None:
            elector = self.electors[name] = self._heartbeats.new_elector(name)
            self.leases.replay(elector, now)
        return elector

    def _foreign_member(self, name: str, now: Instant) -> bool:
        """True while another node holds, by a right of its own, the lease of a Service of this group other than the deciding one: a group
        that has just been joined waits until each former owner has let go, and adds nothing to what it answers for."""
        for member, until in self._members.foreign(name, now):
            self._member_wakeups.set(member, until)
            return True
        return False

    def _judge_group_of_member(self, name: str, now: Instant) -> None:
        if (deciding := self._members.deciding(name)) is not None:
            self._judge(deciding, now)

    def _judge_members(self, deciding: str, now: Instant) -> None:
        for member in self._members.of(deciding):
            self._judge(member, now)

    def _confirm_withdrawal(self, name: str, now: Instant) -> None:
        self._withdrawn_in.pop(name, None)
        self.electors[name].withdrawn(now)
        self._touched.add(name)

    def _follow(self, name: str) -> bool:
        """Note what an elector that was touched now holds, when it wants to be woken, and forget it when it is done. True when it won or
        lost its lease."""
        elector = self.electors[name]
        changed = self._holdings.note(name, elector.deadline)
        self._hold_over.note(name, elector.held_over_from)
        if elector.wants_withdrawal and name not in self._withdrawn_in:
            self._holdings.changed = True
        if not elector.wants_withdrawal:
            self._withdrawn_in.pop(name, None)
        self._wakeups.set(name, elector.next_timer())
        if name not in self.picture.groups and name not in self._members and name not in self._writing and elector.state is State.IDLE:
            self._wakeups.set(name, None)
            self._touched.discard(name)
            del self.electors[name]
        return changed

    def _claims_due_at(self) -> Instant:
        """When the next claim set is to go; FOREVER when nothing changed or something is unseen. Extensions are gathered for a time that is
        short against what a renewal leaves to the old deadline. The first waits, at most so long, for leases that an earlier life held."""
        if not self.is_ready:
            return FOREVER
        adopting = not self.generation and any(elector.state is State.RESUMING for elector in self.electors.values())
        adopting_until = self._started_at + self.timing.lease_duration if adopting else NEVER
        due_at = min(self._holdings.due_at(self.timing.renew_deadline / 10), self._hold_over.due_at())
        return due_at if due_at == FOREVER else max(due_at, adopting_until)
