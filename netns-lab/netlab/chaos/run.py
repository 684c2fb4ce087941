"""A run: rounds of a few minutes, each with a lab of its own, a plan from the seed, and a judgement."""

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from netlab.chaos.faults import Faults, faults_on
from netlab.chaos.judge import (
    NANO,
    Gap,
    Span,
    Violation,
    answered,
    find_doubles,
    find_gaps,
    find_late,
    recoveries,
    too_long,
)
from netlab.chaos.objects import POLICY, heed_label
from netlab.chaos.plan import Planned, make_plan
from netlab.chaos.scene import Done, Scene
from netlab.clusters import EMBEDDED
from netlab.feed import AddressLog
from netlab.lab import Lab, Watch
from netlab.records import recorded
from netlab.topology import TOPOLOGY_FILE, Topology, load_topology

PROBE_INTERVAL = 0.02
"""Seconds between two asks for one address."""
ROUND_SECONDS = 240.0
SETTLE_SECONDS = 60.0
START_AGAIN = 0.3
"""Seconds after which the supervisor starts an agent that ended."""
RESTART_ALLOWANCE = 2.5
"""Seconds that an agent takes to start on a busy machine: the bound for an address counts from the last thing that was done, and the last
thing may be the start of the only agent."""
LOOK_EVERY = 0.02


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round. ``recovered``: for each kind of fault the seconds that its faults left an address without an answer."""

    number: int
    seconds: float
    spans: tuple[Span, ...]
    violations: tuple[Violation, ...]
    recovered: Mapping[str, tuple[float, ...]]
    asks: int
    start: int


def load_chaos_topology(path: Path = TOPOLOGY_FILE) -> Topology:
    """The lab's network, asked less often, so that an hour fits into memory."""
    topology = load_topology(path)
    return msgspec.structs.replace(topology, prober=msgspec.structs.replace(topology.prober, interval=PROBE_INTERVAL))


def play_round(seed: int, number: int, seconds: float, out: Path, say: Callable[[str], None], cluster: str = EMBEDDED) -> Round:
    """One round, in a private place that the caller has entered. ``out`` gets the logs and the capture."""
    topology = load_chaos_topology()
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory, recorded(Path(directory)):
        try:
            with (
                Lab(topology, Path(directory), cluster, own_clocks=True) as lab,
                Watch(lab, out / f"round-{number}.pcapng", lab.cluster.lasting_history()) as watch,
            ):
                return _play(lab, watch, seed, number, seconds, say)
        finally:
            for log in Path(directory).glob("*.log"):
                (out / f"round-{number}-{log.name}").write_bytes(log.read_bytes())


def _play(lab: Lab, watch: Watch, seed: int, number: int, seconds: float, say: Callable[[str], None]) -> Round:
    faults = faults_on(lab.cluster.name)
    scene = Scene(lab, watch.leases, watch.view.nodes, lab.cluster.editor())
    scene.editor.edit(POLICY, heed_label)
    lab.start_agents()
    watch.view.wait_settled(SETTLE_SECONDS, "every address to be served")
    bound = lab.topology.agents.failover_bound + RESTART_ALLOWANCE
    plan = make_plan(seed, number, seconds, [kind for kind, _ in faults.values()], sorted(lab.agents), bound)
    start = time.time_ns()
    spans = _carry_out(scene, faults, plan, start, say)
    with suppress(TimeoutError):  # the judge says what is missing
        watch.view.wait_settled(SETTLE_SECONDS, "the network to come to rest")
    end = time.time_ns()
    log = watch.feed.stop()
    watch.capture.stop()
    scene.note_macs()
    lab.stop_agents()
    watch.leases.stop()
    violations: list[Violation] = []
    gaps: list[Gap] = []
    for item in lab.services:
        seen: AddressLog = log.addresses[str(item.address)]
        answers = answered(seen.answers, {mac.hex(":"): name for mac, name in scene.nodes.items()})
        violations += find_doubles(str(item.address), answers, watch.leases.changes.get(item.lease, []), spans)
        violations += find_late(str(item.address), answers, watch.leases.renewals.get(item.lease, []), spans)
        found = find_gaps(str(item.address), [one for one in answers if one.time >= start], start, end)
        gaps += found
        violations += [
            Violation(gap.begin, gap.address, f"no answer for {gap.seconds:.2f} s; the bound is {bound:.1f} s after the last fault")
            for gap in found
            if too_long(gap, spans, bound)
        ]
    recovered = {label: tuple(found) for label, found in recoveries(spans, gaps, bound).items()}
    asks = sum(len(each.asks) for each in log.addresses.values())
    return Round(number, (end - start) / NANO, tuple(spans), tuple(sorted(violations, key=lambda one: one.time)), recovered, asks, start)


@dataclass(slots=True)
class _Lasting:
    """A fault that has begun, and is to end at ``until``, seconds after the start of the round."""

    planned: Planned
    done: Done
    begun: int
    until: float
    is_undone: bool = False

    def has_ended(self, now: float) -> bool:
        """End it when its time has come; whether it has."""
        if now < self.until:
            return False
        if not self.is_undone:
            with suppress(OSError):  # the API server may be away: again soon
                self.done.undo()
                self.is_undone = True
        return self.is_undone and self.done.over()


def _carry_out(scene: Scene, faults: Faults, plan: tuple[Planned, ...], start: int, say: Callable[[str], None]) -> list[Span]:
    """Do what the plan says when it says so, and play the supervisor; returns what was done when."""
    waiting, lasting = list(plan), list[_Lasting]()
    spans: list[Span] = []
    ended: dict[str, float] = {}
    while waiting or lasting or any(not agent.is_running() for agent in scene.lab.agents.values()):
        now = (time.time_ns() - start) / NANO
        for one in [one for one in lasting if one.has_ended(now)]:
            lasting.remove(one)
            spans.append(Span(one.planned.kind, one.begun, time.time_ns(), one.done.excuses, one.done.allowance))
        if waiting and waiting[0].at <= now:
            planned = waiting.pop(0)
            begun = time.time_ns()
            try:
                done = faults[planned.kind][1](scene, planned)
            except OSError as error:
                say(f"{now:7.1f} s  {planned.kind}: not now, {error}")
            else:
                lasting.append(_Lasting(planned, done, begun, now + planned.seconds))
                say(f"{now:7.1f} s  {planned.kind}: {done.what}, for {planned.seconds:.1f} s")
        _supervise(scene, now, ended, spans)
        time.sleep(LOOK_EVERY)
    return sorted(spans, key=lambda span: span.begin)


def _supervise(scene: Scene, now: float, ended: dict[str, float], spans: list[Span]) -> None:
    """Start agents that ended, as the kubelet does, unless a fault keeps them down."""
    for node, agent in scene.lab.agents.items():
        if agent.is_running():
            ended.pop(node, None)
        elif not scene.kept_down[node] and now >= ended.setdefault(node, now) + START_AGAIN:
            agent.start()
            ended.pop(node)
            spans.append(Span("started again", time.time_ns(), time.time_ns()))
