"""timeline.svg: who owned which address when, what was announced, answered and lost, and what was done to the nodes.

Takes plain data and returns text: nothing here reads a file or a clock, and the same data gives the same octets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

WIDTH = 1480
LEFT = 250
RIGHT = 40
LANE_HEIGHT = 112
EVENT_ROW = 17
CHARACTER = 6.7
"""Width of a character of a 12 px label, on average and a little more, in px: for placing labels without measuring fonts."""

NODE_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d31")
"""Distinguishable with every kind of colour vision (after Okabe and Ito)."""

LOST = "#d5001c"
NOBODY = "#d9dce1"
INK = "#1d2430"
FAINT = "#667085"


@dataclass(frozen=True, slots=True)
class Bar:
    """A node owned the address (held its lease) from ``start`` to ``end``, in seconds of the run."""

    start: float
    end: float
    node: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A short stretch of asks or traffic: how many were answered, and by which node; how many never were."""

    start: float
    end: float
    node: str
    answered: int
    lost: int


@dataclass(frozen=True, slots=True)
class Lane:
    """Everything about one address. ``announcements`` are (seconds, node)."""

    address: str
    service: str
    owners: tuple[Bar, ...]
    announcements: tuple[tuple[float, str], ...]
    asks: tuple[Cell, ...]
    traffic: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the lab did at a moment. ``main`` events get a full line and bold words."""

    at: float
    label: str
    main: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """A scenario, shaded from ``start`` to ``end``, with lines of result below the lanes: its name, then a figure for each heading."""

    start: float
    end: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The whole picture. ``nodes`` in the order of their colours; ``seconds`` is the length of the time axis; ``span_headings`` say what
    the lines of the spans are."""

    title: str
    subtitle: str
    seconds: float
    nodes: tuple[str, ...]
    lanes: tuple[Lane, ...]
    events: tuple[Event, ...]
    spans: tuple[Span, ...]
    span_headings: tuple[str, ...] = ()


def color_of(node: str, nodes: Sequence[str]) -> str:
    """The colour of a node; grey for nobody and strangers."""
    return NODE_COLORS[nodes.index(node) % len(NODE_COLORS)] if node in nodes else NOBODY


def label_rows(events: Sequence[Event], x_of: "Scale") -> list[int]:
    """For each event (in order of time) the row its label goes to, so that no two labels of a row touch."""
    ends: list[float] = []
    rows = []
    for event in events:
        start, end = label_extent(event, x_of)
        row = next((number for number, taken in enumerate(ends) if taken + 8 <= start), len(ends))
        ends[row : row + 1] = [end]
        rows.append(row)
    return rows


def label_extent(event: Event, x_of: "Scale") -> tuple[float, float]:
    """Left and right end of an event's label in px: to the right of its line, or to the left where the picture ends."""
    width = len(event.label) * CHARACTER
    x = x_of(event.at)
    return (x + 4, x + 4 + width) if x + 4 + width <= WIDTH - 4 else (x - 4 - width, x - 4)


def merged(cells: Iterable[Cell]) -> list[Cell]:
    """Neighbouring cells of one node without loss as one cell, and those that lost all too, so that a quiet minute is one rectangle."""
    result: list[Cell] = []
    for (node, lossy, mixed), group in groupby(cells, key=lambda cell: (cell.node, cell.lost > 0, cell.lost > 0 and cell.answered > 0)):
        run = list(group)
        if mixed:
            result += run
        else:
            total = sum(cell.answered + cell.lost for cell in run)
            result.append(Cell(run[0].start, run[-1].end, node, 0 if lossy else total, total if lossy else 0))
    return result


class Scale:
    """Seconds of the run to px."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(seconds, 0.001)

    def __call__(self, at: float) -> float:
        """The x of a moment, one decimal."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * min(max(at, 0.0), self.seconds) / self.seconds, 1)

    def ticks(self) -> list[int]:
        """The labelled seconds of the axis: at most about fifteen, at round steps."""
        step = next((step for step in (1, 2, 5, 10, 20, 30) if self.seconds / step <= 15), 60)
        return list(range(0, int(self.seconds) + 1, step))


def rectangle(left: float, top: float, right: float, height: float, fill: str, extra: str = "") -> str:
    """A rectangle between two x, never thinner than half a px."""
    return f'<rect x="{left:g}" y="{top:g}" width="{max(round(right - left, 1), 0.5):g}" height="{height:g}" fill="{fill}"{extra}/>'


def text(x: float, y: float, words: str, style: str = "", size: int = 12) -> str:
    """A line of text."""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}"{style}>{escape(words)}</text>'


def render(timeline: Timeline) -> str:
    """The picture as SVG text."""
    x_of = Scale(timeline.seconds)
    events = sorted(timeline.events, key=lambda event: event.at)
    rows = label_rows(events, x_of)
    heights = [116 + EVENT_ROW * row for row in rows]
    top = 104 + EVENT_ROW * (max(rows, default=-1) + 1)
    bottom = top + LANE_HEIGHT * len(timeline.lanes)
    height = bottom + 62 + 16 * max((len(span.lines) for span in timeline.spans), default=0)
    body = [
        rectangle(0, 0, WIDTH, height, "#ffffff"),
        text(24, 36, timeline.title, ' font-weight="bold"', 22),
        text(24, 58, timeline.subtitle, f' fill="{FAINT}"', 13),
        *_legend(timeline.nodes, 84),
        *(_shade(span, x_of, top, bottom) for span in timeline.spans),
        *_axis(x_of, top, bottom),
        *_results(timeline, x_of, bottom),
        *(part for number, lane in enumerate(timeline.lanes) for part in _lane(lane, timeline.nodes, x_of, top + LANE_HEIGHT * number)),
        *(_event_line(event, y, x_of, bottom) for event, y in zip(events, heights, strict=True)),
        *(_event_label(event, y, x_of) for event, y in zip(events, heights, strict=True)),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f"font-family=\"'DejaVu Sans', 'Segoe UI', Helvetica, Arial, sans-serif\" fill=\"{INK}\">"
    )
    return "\n".join([head, f"<title>{escape(timeline.title)}</title>", *body, "</svg>"]) + "\n"


def _legend(nodes: Sequence[str], y: float) -> list[str]:
    """What colours and marks mean."""
    parts = []
    x = 24.0
    for color, words in [*((color_of(node, nodes), f"{node} holds the lease / answers") for node in nodes), (LOST, "lost: never answered")]:
        parts += [rectangle(x, y - 10, x + 14, 12, color), text(x + 20, y, words)]
        x += 20 + len(words) * CHARACTER + 26
    parts += [_triangle(x + 6, y - 10, INK), text(x + 18, y, "announcement (gratuitous ARP, unsolicited NA)")]
    return parts


def _triangle(x: float, y: float, fill: str) -> str:
    return f'<path d="M{x:g} {y:g}l4.5 9h-9z" fill="{fill}"/>'


def _shade(span: Span, x_of: Scale, top: float, bottom: float) -> str:
    """The shade of a scenario."""
    return rectangle(x_of(span.start), top - 6, x_of(span.end), bottom - top + 6, "#f2f4f8")


def _results(timeline: Timeline, x_of: Scale, bottom: float) -> list[str]:
    """The figures of the scenarios below the axis, each under its shade, the names of the lines at the left."""
    columns = [(LEFT - 10.0, f' text-anchor="end" fill="{FAINT}"', timeline.span_headings)]
    columns += [(x_of(span.start), "", span.lines) for span in timeline.spans]
    return [
        text(x, bottom + 44 + 16 * number, line, style or (' font-weight="bold"' if number == 0 else ""))
        for x, style, lines in columns
        for number, line in enumerate(lines)
    ]


def _axis(x_of: Scale, top: float, bottom: float) -> list[str]:
    """The time axis below the lanes, with thin lines upwards."""
    parts = [f'<path d="M{LEFT} {bottom:g}H{WIDTH - RIGHT}" stroke="{INK}"/>']
    ticks = x_of.ticks()
    for at in ticks:
        x = x_of(at)
        label = f"{at} s" if at in {ticks[0], ticks[-1]} else str(at)
        parts.append(f'<path d="M{x:g} {top:g}V{bottom + 5:g}" stroke="#e3e6eb"/>')
        parts.append(text(x, bottom + 19, label, ' text-anchor="middle"'))
    return parts


def _lane(lane: Lane, nodes: Sequence[str], x_of: Scale, top: float) -> list[str]:
    """One address: its names, the bar of owners, announcements below, then the strips of asks and traffic."""
    right_aligned = f' text-anchor="end" fill="{FAINT}"'
    parts = [
        f'<path d="M24 {top:g}H{WIDTH - RIGHT}" stroke="#cfd4dc"/>',
        text(24, top + 28, lane.address, ' font-weight="bold"', 16),
        text(24, top + 47, lane.service, f' fill="{FAINT}"', 13),
        text(LEFT - 10, top + 26, "lease held by", right_aligned, 11),
        text(LEFT - 10, top + 47, "announced", right_aligned, 11),
        text(LEFT - 10, top + 69, "ARP asks" if ":" not in lane.address else "NDP asks", right_aligned, 11),
        text(LEFT - 10, top + 95, "UDP traffic", right_aligned, 11),
        rectangle(x_of(0), top + 10, x_of(x_of.seconds), 24, "none", f' stroke="{NOBODY}" stroke-dasharray="3 3"'),
    ]
    for bar in lane.owners:
        parts += _bar(bar, nodes, x_of, top + 10)
    parts += [_triangle(x_of(at), top + 38, color_of(node, nodes)) for at, node in lane.announcements]
    parts += _strip(lane.asks, nodes, x_of, top + 56)
    parts += _strip(lane.traffic, nodes, x_of, top + 82)
    return parts


def _bar(bar: Bar, nodes: Sequence[str], x_of: Scale, top: float) -> list[str]:
    """A stretch of ownership, with the node's name where it fits."""
    left, right = x_of(bar.start), x_of(bar.end)
    parts = [rectangle(left, top, right, 24, color_of(bar.node, nodes))]
    if right - left > len(bar.node) * 8 + 12:
        parts.append(text(left + 7, top + 17, bar.node, ' font-weight="bold" fill="#ffffff"', 14))
    return parts


def _strip(cells: Sequence[Cell], nodes: Sequence[str], x_of: Scale, top: float) -> list[str]:
    """How full each moment was of answers, in the answering node's colour; losses in red from above."""
    height = 18
    parts = []
    for cell in merged(cells):
        left, right, total = x_of(cell.start), x_of(cell.end), cell.answered + cell.lost
        red = round(height * cell.lost / total, 1) if total else 0
        if cell.answered:
            parts.append(rectangle(left, top + red, right, height - red, color_of(cell.node, nodes), ' fill-opacity="0.55"'))
        if red:
            parts.append(rectangle(left, top, right, max(red, 1.5), LOST))
    return parts


def _event_line(event: Event, label_y: float, x_of: Scale, bottom: float) -> str:
    """A vertical line."""
    x = x_of(event.at)
    stroke, dashes = (INK, "") if event.main else (FAINT, ' stroke-dasharray="4 3"')
    return f'<path d="M{x:g} {label_y - 11:g}V{bottom:g}" stroke="{stroke}" stroke-width="{1.4 if event.main else 1}"{dashes}/>'


def _event_label(event: Event, label_y: float, x_of: Scale) -> str:
    """The label, with a white seam that keeps it readable where another event's line passes."""
    start, _ = label_extent(event, x_of)
    weight = ' font-weight="bold"' if event.main else f' fill="{FAINT}"'
    return text(start, label_y, event.label, f'{weight} stroke="#ffffff" stroke-width="4" paint-order="stroke"')
