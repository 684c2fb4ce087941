"""report.json: the figures of a run against their bounds, from the logs and the capture; and the data of timeline.svg.

Pure: values in, values out. The fields are described in netns-lab/README.md.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from netlab.analysis import NANO, Seen, blackout, longest_pause, ownership, prove
from netlab.feed import CaptureResult, ProbeLog
from netlab.frames import Kind, parse, parse_echo
from netlab.newcomer import NewService
from netlab.pcapng import Frame
from netlab.scenarios import ORDERLY_BOUND, Played
from netlab.services import ServiceAddress
from netlab.timeline import Bar, Cell, Event, Lane, Span, Timeline
from netlab.topology import AgentSettings

CELL = NANO // 10
"""The width of a cell of the timeline's strips."""


class Blackout(msgspec.Struct, frozen=True):
    """One address in one scenario. ``asks`` and ``traffic`` are the blackouts in seconds; ``lost``: the node held the address;
    ``heir``: who held it next."""

    address: str
    service: str
    lost: bool
    heir: str
    asks: float
    traffic: float
    bound: float
    passed: bool


class ScenarioFigures(msgspec.Struct, frozen=True):
    """One scenario; ``start`` and ``end`` in seconds of the run."""

    key: str
    title: str
    node: str
    start: float
    end: float
    note: str
    blackouts: tuple[Blackout, ...]
    passed: bool


class ProofFigures(msgspec.Struct, frozen=True):
    """What the capture says about one address; see AddressProof."""

    address: str
    service: str
    asks: int
    answers: int
    announcements: int
    doubles: int
    interleavings: int
    strangers: int
    passed: bool


class Owned(msgspec.Struct, frozen=True):
    """``node`` held an address from ``start`` to ``end``, seconds of the run."""

    node: str
    start: float
    end: float


class Report(msgspec.Struct, frozen=True):
    """The whole file."""

    version: int
    started: str
    seconds: float
    passed: bool
    timings: AgentSettings
    interval: float
    longest_pause: float
    capture: CaptureResult
    scenarios: tuple[ScenarioFigures, ...]
    proof: tuple[ProofFigures, ...]
    ownership: dict[str, tuple[Owned, ...]]
    newcomer: NewService | None = None
    cluster: str = "embedded"
    http: dict[str, dict[str, int]] = {}


class Run(msgspec.Struct, frozen=True):
    """Everything a run leaves: the raw material of the report.

    ``nodes`` maps MACs to names, ``holders`` leases to changes, ``seen`` addresses to frames about them, ``echoes`` addresses to the MAC
    that sent the reply to datagram N, ``http`` addresses to how often each backend answered the client's HTTP requests. ``newcomer`` is
    the Service that was created meanwhile.
    """

    start: int
    end: int
    services: tuple[ServiceAddress, ...]
    nodes: dict[bytes, str]
    timings: AgentSettings
    log: ProbeLog
    holders: dict[str, list[tuple[int, str]]]
    capture: CaptureResult
    seen: dict[str, list[Seen]]
    echoes: dict[str, dict[int, bytes]]
    played: tuple[Played, ...]
    events: tuple[tuple[int, Event], ...]
    newcomer: NewService | None = None
    cluster: str = "embedded"
    http: dict[str, dict[str, int]] = {}


def sort_frames(
    frames: Iterable[Frame], services: Sequence[ServiceAddress], echo_port: int
) -> tuple[dict[str, list[Seen]], dict[str, dict[int, bytes]]]:
    """The frames of a capture by service address, as ``Run.seen`` and ``Run.echoes``."""
    seen: dict[str, list[Seen]] = {str(item.address): [] for item in services}
    echoes: dict[str, dict[int, bytes]] = {address: {} for address in seen}
    for frame in frames:
        if echo := parse_echo(frame.octets, echo_port):
            if (address := str(echo.address)) in echoes:
                echoes[address][echo.number] = echo.mac
        elif (what := parse(frame.octets)) and (address := str(what.address)) in seen:
            seen[address].append(Seen(frame.time, what))
    return seen, echoes


def make_report(run: Run) -> Report:
    """Judge a run."""
    scenarios = tuple(_scenario(run, played) for played in run.played)
    proof = tuple(_proof(run, item) for item in run.services)
    return Report(
        version=1,
        cluster=run.cluster,
        newcomer=run.newcomer,
        http=run.http,
        started=datetime.fromtimestamp(run.start / NANO, UTC).isoformat(timespec="milliseconds"),
        seconds=round((run.end - run.start) / NANO, 3),
        passed=bool(scenarios)
        and all(s.passed for s in scenarios)
        and all(p.passed for p in proof)
        and (run.newcomer is None or run.newcomer.passed)
        and run.capture.lost == 0,
        timings=run.timings,
        interval=run.log.interval,
        longest_pause=round(max(longest_pause(log.asks) for log in run.log.addresses.values()), 4),
        capture=run.capture,
        scenarios=scenarios,
        proof=proof,
        ownership={
            str(item.address): tuple(
                Owned(node, round(start, 3), round(end, 3))
                for start, end, node in ownership(run.holders.get(item.lease, []), run.start, run.end)
            )
            for item in run.services
        },
    )


def _scenario(run: Run, played: Played) -> ScenarioFigures:
    blackouts = tuple(_blackout(run, played, item) for item in run.services)
    passed = any(item.lost for item in blackouts) and all(item.passed for item in blackouts)
    start, end = ((moment - run.start) / NANO for moment in (played.start, played.end))
    return ScenarioFigures(played.key, played.title, played.node, round(start, 3), round(end, 3), played.note, blackouts, passed)


def _blackout(run: Run, played: Played, item: ServiceAddress) -> Blackout:
    """One address in one scenario. An address that the node did not hold has the bound of an orderly change."""
    log = run.log.addresses[str(item.address)]
    lost = item in played.lost
    asks = blackout([when for when, _, _ in log.answers], played.start, played.end)
    traffic = blackout([when for when, _ in log.replies], played.start, played.end)
    bound = played.bound if lost else ORDERLY_BOUND
    heir = played.heirs[played.lost.index(item)] if lost else ""
    return Blackout(
        str(item.address), item.service, lost, heir, round(asks, 4), round(traffic, 4), bound, asks <= bound and traffic <= bound
    )


def _proof(run: Run, item: ServiceAddress) -> ProofFigures:
    found = prove(run.seen[str(item.address)], run.holders.get(item.lease, []), run.nodes)
    counts = (found.asks, found.answers, found.announcements, found.doubles, found.interleavings, found.strangers)
    return ProofFigures(str(item.address), item.service, *counts, found.holds)


def make_timeline(run: Run, report: Report) -> Timeline:
    """The picture of a run."""
    nodes = tuple(sorted(set(run.nodes.values())))
    events = tuple(Event((time - run.start) / NANO, event.label, event.main) for time, event in run.events)
    bounds = f"lease duration {run.timings.lease_duration}, renewed every {run.timings.lease_renew_deadline}"
    return Timeline(
        title="l2announce lab: who owned which address when",
        subtitle=f"{report.started}, {report.seconds:.0f} s; {bounds}; every address asked for each {run.log.interval * 1000:.0f} ms "
        "in two ways: by ARP/NDP to all nodes, and by UDP through the client's neighbor table",
        seconds=report.seconds,
        nodes=nodes,
        lanes=tuple(_lane(run, report, item) for item in run.services),
        events=events,
        spans=tuple(_span(figures) for figures in report.scenarios),
        span_headings=("longest time without an answer", "ARP/NDP asks", "UDP traffic", "bound"),
    )


def _span(figures: ScenarioFigures) -> Span:
    lost = [item for item in figures.blackouts if item.lost]
    asks, traffic = (max((value for value in values), default=0.0) for values in ([b.asks for b in lost], [b.traffic for b in lost]))
    bound = max((item.bound for item in lost), default=0.0)
    return Span(figures.start, figures.end, (figures.title, milliseconds(asks), milliseconds(traffic), milliseconds(bound)))


def milliseconds(seconds: float) -> str:
    """A duration for people: ``12 ms`` or ``2.71 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _lane(run: Run, report: Report, item: ServiceAddress) -> Lane:
    address = str(item.address)
    log, seen = run.log.addresses[address], run.seen[address]
    announced = tuple(
        ((entry.time - run.start) / NANO, run.nodes.get(entry.what.mac, "")) for entry in seen if entry.what.kind is Kind.ANNOUNCEMENT
    )
    owners = tuple(Bar(owned.start, owned.end, owned.node) for owned in report.ownership[address])
    names = {mac.hex(":"): name for mac, name in run.nodes.items()}
    asks = _cells(log.asks, {number: names.get(mac, mac) for _, number, mac in log.answers}, run)
    served = {number: run.nodes.get(run.echoes[address].get(number, b""), "") for _, number in log.replies}
    return Lane(address, item.service, owners, announced, asks, _cells(log.sent, served, run))


def _cells(sent: Sequence[int], answered_by: Mapping[int, str], run: Run) -> tuple[Cell, ...]:
    """Asks by their time of sending into cells of CELL; ``answered_by`` names the node that answered ask number N."""
    groups: dict[int, list[str | None]] = {}
    for number, time in enumerate(sent):
        groups.setdefault((time - run.start) // CELL, []).append(answered_by.get(number))
    cells = []
    for slot, nodes in sorted(groups.items()):
        names = Counter(node for node in nodes if node is not None)
        most = names.most_common(1)[0][0] if names else ""
        cells.append(Cell(slot * CELL / NANO, (slot + 1) * CELL / NANO, most, names.total(), len(nodes) - names.total()))
    return tuple(cells)
