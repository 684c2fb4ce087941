"""timeline.svg: valid XML, every part of the picture is there, and hostile names stay text."""

from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from netlab.timeline import (
    LOST,
    NOBODY,
    NODE_COLORS,
    Bar,
    Cell,
    Event,
    Lane,
    Scale,
    Span,
    Timeline,
    color_of,
    label_extent,
    label_rows,
    merged,
    render,
)

SVG = "{http://www.w3.org/2000/svg}"

LANE = Lane(
    address="10.99.0.10",
    service="default/web",
    owners=(Bar(1.0, 5.0, "n1"), Bar(8.0, 20.0, "n2")),
    announcements=((1.0, "n1"), (8.0, "n2"), (8.2, "n2")),
    asks=(Cell(0.0, 5.0, "n1", 500, 0), Cell(5.0, 5.1, "n1", 4, 6), Cell(5.1, 8.0, "", 0, 290), Cell(8.0, 20.0, "n2", 1200, 0)),
    traffic=(Cell(0.0, 20.0, "n1", 2000, 0),),
)
PICTURE = Timeline(
    title="a <run> & more",
    subtitle="when & how",
    seconds=20.0,
    nodes=("n1", "n2"),
    lanes=(LANE, replace(LANE, address="fd99::10", service="default/<api>")),
    events=(Event(5.0, "n1: SIGKILL"), Event(9.0, "n1: started again", main=False)),
    spans=(Span(5.0, 9.5, ("Crash", "3.00 s", "12 ms", "3.30 s")),),
    span_headings=("longest time", "asks", "traffic", "bound"),
)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own text


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in parsed(svg).iter(f"{SVG}text")]


def rectangles(svg: str, fill: str) -> list[tuple[float, float]]:
    """(x, width) of the rectangles of a colour."""
    return [(float(r.get("x", "")), float(r.get("width", ""))) for r in parsed(svg).iter(f"{SVG}rect") if r.get("fill") == fill]


def test_everything_is_in_the_picture() -> None:
    written = texts(render(PICTURE))
    wanted = {"a <run> & more", "when & how", "10.99.0.10", "fd99::10", "default/<api>", "ARP asks", "NDP asks", "lost: never answered"}
    assert wanted <= set(written)
    assert {"n1: SIGKILL", "n1: started again", "Crash", "3.00 s", "3.30 s", "bound", "0 s", "20 s"} <= set(written)
    assert written.count("n1") == written.count("n2") == 2


def test_bars_stand_where_the_lease_was_held() -> None:
    x = Scale(20.0)
    bars = rectangles(render(PICTURE), NODE_COLORS[1])
    assert dict(bars)[x(8.0)] == pytest.approx(x(20.0) - x(8.0), abs=0.11)


def test_losses_are_red_and_only_where_something_was_lost() -> None:
    x = Scale(20.0)
    red = rectangles(render(PICTURE), LOST)[1:]  # the first is the legend's
    assert {left for left, _ in red} == {x(5.0), x(5.1)}
    assert len(red) == 4
    quiet = replace(PICTURE, lanes=(replace(LANE, asks=LANE.traffic),))
    assert rectangles(render(quiet), LOST)[1:] == []


def test_the_same_data_gives_the_same_octets() -> None:
    assert render(PICTURE) == render(PICTURE)


def test_an_empty_run_is_a_picture_too() -> None:
    assert "nothing" in texts(render(Timeline("nothing", "", 0.0, (), (), (), ())))


def test_nothing_is_drawn_outside() -> None:
    root = parsed(render(PICTURE))
    _, _, width, height = map(float, root.get("viewBox", "").split())
    for element in root.iter(f"{SVG}text"):
        assert 0 <= float(element.get("x", "")) <= width
        assert 0 <= float(element.get("y", "")) <= height
    for element in root.iter(f"{SVG}rect"):
        assert float(element.get("x", "")) + float(element.get("width", "")) <= width
        assert float(element.get("y", "")) + float(element.get("height", "")) <= height


def test_labels_of_one_row_do_not_touch() -> None:
    scale = Scale(20.0)
    events = [Event(at / 10, f"event number {at}") for at in range(0, 200, 7)]
    rows = label_rows(events, scale)
    for row in set(rows):
        extents = [label_extent(event, scale) for event, its in zip(events, rows, strict=True) if its == row]
        assert all(end < start for (_, end), (start, _) in pairwise(sorted(extents)))


def test_cells_of_one_kind_become_one() -> None:
    cells = [
        Cell(0, 1, "n1", 10, 0),
        Cell(1, 2, "n1", 10, 0),
        Cell(2, 3, "n1", 5, 5),
        Cell(3, 4, "n1", 6, 4),
        Cell(4, 5, "", 0, 10),
        Cell(5, 6, "", 0, 10),
        Cell(6, 7, "n2", 10, 0),
    ]
    assert merged(cells) == [
        Cell(0, 2, "n1", 20, 0),
        Cell(2, 3, "n1", 5, 5),
        Cell(3, 4, "n1", 6, 4),
        Cell(4, 6, "", 0, 20),
        Cell(6, 7, "n2", 10, 0),
    ]


def test_colours() -> None:
    assert color_of("n2", ("n1", "n2")) == NODE_COLORS[1]
    assert color_of("a stranger", ("n1", "n2")) == NOBODY


@pytest.mark.parametrize("seconds", [0.5, 1, 7, 19.5, 60, 119, 600])
def test_the_axis_has_few_round_ticks(seconds: float) -> None:
    ticks = Scale(seconds).ticks()
    assert ticks[0] == 0
    assert ticks[-1] <= seconds
    assert len(ticks) <= 16
