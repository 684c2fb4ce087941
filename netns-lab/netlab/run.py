"""The main job before your eyes: start the lab, watch it, play the scenarios, judge, write the files. ``python -m netlab run``."""

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec

from netlab.clusters import EMBEDDED
from netlab.lab import OUT, Lab, Watch
from netlab.newcomer import NewService, Operator, watch_birth
from netlab.pcapng import read_capture
from netlab.records import recorded
from netlab.report import Report, Run, make_report, make_timeline, sort_frames
from netlab.scenarios import SCENARIOS, Played, Scenario, Stage, play
from netlab.screen import Screen
from netlab.timeline import render
from netlab.topology import TOPOLOGY_FILE, load_topology

CLOCK_STEP_LIMIT = 0.05
"""Seconds that the wall clock may be moved in a run before its figures are refused."""

CAPTURE_FILE = "lab.pcapng"


def run_lab(
    out: Path = OUT, scenarios: Sequence[Scenario] = SCENARIOS, topology_file: Path = TOPOLOGY_FILE, cluster: str = EMBEDDED
) -> int:
    """Everything, in a private place. Returns the exit code: 0, or 1 when a bound was missed. What goes wrong on the way is raised."""
    out.mkdir(parents=True, exist_ok=True)
    topology = load_topology(topology_file)
    screen = Screen([node.name for node in topology.nodes])
    with tempfile.TemporaryDirectory(prefix="netlab-") as directory, recorded(Path(directory), cluster):
        try:
            run = _play_all(Lab(topology, Path(directory), cluster), out, screen, scenarios)
        finally:
            _keep_logs(Path(directory), out)
    report = make_report(run)
    _write(run, report, out)
    screen.closing(report)
    files = ", ".join(os.path.relpath(out / name) for name in ("report.json", "timeline.svg", CAPTURE_FILE))
    screen.say(f"files: {files}")
    screen.say("[bold green]every bound was kept[/]" if report.passed else "[bold red]a bound was missed[/]")
    return 0 if report.passed else 1


def _play_all(prepared: Lab, out: Path, screen: Screen, scenarios: Sequence[Scenario]) -> Run:
    """The live part: from nothing to the raw material of the report."""
    topology = prepared.topology
    screen.rule("the lab")
    screen.say(
        f"{topology.switch.name} (bridge with multicast snooping), client {topology.client.name}, "
        f"nodes {', '.join(f'{node.name} (backend {node.backend.name})' for node in topology.nodes)}"
    )
    if prepared.cluster.name != EMBEDDED:
        screen.say(f"starting {prepared.cluster.name}: a control plane, and kube-proxy on every node")
    with prepared as lab, ExitStack() as exits, Watch(lab, out / CAPTURE_FILE) as watch:
        if summary := lab.cluster.summary():
            screen.say(summary)
        stage = Stage(lab.agents, lab.network[topology.switch.name], watch.view, watch.feed, topology.agents, [], screen.say)
        with screen.live(watch.view):
            stage.mark("agents started", main=True)
            lab.start_agents()
            screen.say(f"an l2announce agent started in each of {', '.join(lab.agents)}: {' '.join(topology.agents.flags())}")
            watch.view.wait_settled(stage.patience, "every address to be served", seen_http=True)
            _show_state(screen, watch, "elected, resolved, reached")
            screen.rule("a new Service")
            exits.enter_context(Operator(lab))
            newcomer = screen.born(stage.mark, partial(watch_birth, lab))
            watch.view.wait_settled(stage.patience, "the network to come to rest")
            screen.rule("what can go wrong")
            played = tuple(_play(stage, screen, scenario) for scenario in scenarios)
            watch.view.wait_settled(stage.patience, "every address to be served at the end", seen_http=True)
        _show_state(screen, watch, "at the end")
        return _finish(lab, watch, stage, played, newcomer, out)


def _show_state(screen: Screen, watch: Watch, title: str) -> None:
    screen.rule(title)
    screen.console.print(screen.state(watch.view))


def _play(stage: Stage, screen: Screen, scenario: Scenario) -> Played:
    """One scenario with its line of result."""
    done = play(stage, scenario)
    asks = max(stage.feed.worst[str(item.address)].asks for item in done.lost) if done.lost else 0
    screen.say(f"    taken over by {', '.join(sorted(set(done.heirs)))} after at most {asks / 1e6:.0f} ms without an answer; {done.note}")
    return done


def _finish(lab: Lab, watch: Watch, stage: Stage, played: tuple[Played, ...], newcomer: NewService, out: Path) -> Run:
    """Stop the observers, then the agents; collect what they saw."""
    end = time.time_ns()
    log = watch.feed.stop()
    result = watch.capture.stop()
    if abs(step := watch.clock_step()) > CLOCK_STEP_LIMIT:
        raise RuntimeError(f"the wall clock was moved by {step:.3f} s during the run: its figures mean nothing; run the lab again")
    nodes = lab.macs()
    lab.stop_agents()
    watch.leases.stop()
    seen, echoes = sort_frames(read_capture(out / CAPTURE_FILE), lab.services, lab.topology.ports.echo)
    return Run(
        start=watch.start,
        end=end,
        services=lab.services,
        nodes=nodes,
        timings=lab.topology.agents,
        log=log,
        holders=watch.leases.changes,
        capture=result,
        seen=seen,
        echoes=echoes,
        played=played,
        events=tuple(stage.events),
        cluster=lab.cluster.name,
        newcomer=newcomer,
        http={address: dict(sorted(counts.items())) for address, counts in watch.view.backends.items()},
    )


def _keep_logs(directory: Path, out: Path) -> None:
    """Copy the agents' logs beside the other files, also after a failure."""
    for log in directory.rglob("*.log"):
        shutil.copy(log, out / log.name)


def _write(run: Run, report: Report, out: Path) -> None:
    """report.json and timeline.svg."""
    (out / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    (out / "timeline.svg").write_text(render(make_timeline(run, report)))
