"""The table of times to recover, the violations with what was going on, and the plot."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from netlab.chaos.judge import NANO, Violation
from netlab.chaos.run import Round

AROUND = 5.0
"""Seconds before a violation in which what was done is told with it."""
WIDTH, ROW, LEFT, MARGIN = 900, 26, 205, 24


def merge(rounds: Iterable[Round]) -> dict[str, list[float]]:
    """The times to recover of all rounds, sorted, by kind of fault."""
    found: dict[str, list[float]] = {}
    for one in rounds:
        for label, times in one.recovered.items():
            found.setdefault(label, []).extend(times)
    return {label: sorted(times) for label, times in sorted(found.items())}


def quantile(times: Sequence[float], share: float) -> float:
    """Of sorted values, the smallest that ``share`` of them do not exceed."""
    return times[max(0, -(-round(len(times) * share * 1000) // 1000) - 1)]


def table(recovered: Mapping[str, Sequence[float]]) -> str:
    """One line for each kind: how many, and how long the address that suffered most had no answer."""
    lines = [f"{'fault':28}{'count':>6}{'no gap':>8}{'p50':>8}{'p90':>8}{'longest':>9}"]
    for label, times in recovered.items():
        felt = sum(not each for each in times)
        row = "".join(f"{each:7.2f}s" for each in (quantile(times, 0.5), quantile(times, 0.9), times[-1]))
        lines.append(f"{label:28}{len(times):6}{felt:8}{row[:16]} {row[16:]}")
    return "\n".join(lines)


def describe(violation: Violation, one: Round, again: str) -> str:
    """A violation, what was done in the seconds before it, and the command that does its round again, without the round's number."""
    at = (violation.time - one.start) / NANO
    lines = [f"VIOLATION in round {one.number} at {at:.3f} s: {violation.address}: {violation.what}"]
    for span in one.spans:
        if span.begin - NANO * AROUND <= violation.time <= span.end + NANO * AROUND:
            begun, ended = ((each - one.start) / NANO for each in (span.begin, span.end))
            lines.append(f"    {begun:8.3f} to {ended:8.3f} s  {span.label}")
    lines.append(f"    again: {again} ROUND={one.number}")
    return "\n".join(lines)


def plot(recovered: Mapping[str, Sequence[float]], bound: float, title: str) -> str:
    """Every fault as a dot, by kind, at the seconds that it left an address without an answer; SVG."""
    longest = max([bound, *(times[-1] for times in recovered.values() if times)]) * 1.05
    height = MARGIN * 3 + ROW * len(recovered)
    scale = (WIDTH - LEFT - MARGIN) / longest
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/><text x="{MARGIN / 2}" y="16" font-weight="bold">{title}</text>',
    ]
    bottom = MARGIN + ROW * len(recovered) + 6
    for second in range(int(longest) + 1):
        x = LEFT + second * scale
        parts.append(f'<line x1="{x:.1f}" y1="{MARGIN}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle" fill="#555">{second} s</text>')
    x = LEFT + bound * scale
    parts.append(f'<line x1="{x:.1f}" y1="{MARGIN}" x2="{x:.1f}" y2="{bottom}" stroke="#c33" stroke-dasharray="4 3"/>')
    parts.append(f'<text x="{x - 4:.1f}" y="{bottom + 28}" text-anchor="end" fill="#c33">bound</text>')
    for number, (label, times) in enumerate(recovered.items()):
        y = MARGIN + ROW * number + ROW / 2
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label} ({len(times)})</text>')
        parts += [f'<circle cx="{LEFT + each * scale:.1f}" cy="{y:.1f}" r="3.5" fill="#36c" fill-opacity="0.45"/>' for each in times]
    return "\n".join([*parts, "</svg>\n"])


def write(rounds: Sequence[Round], seed: int, bound: float, out: Path) -> None:
    """chaos.json and chaos.svg."""
    minutes = sum(one.seconds for one in rounds) / 60
    count = sum(len(one.spans) for one in rounds)
    title = f"Seconds without an answer, by fault: seed {seed}, {minutes:.0f} minutes, {count} faults and restarts"
    (out / "chaos.json").write_bytes(msgspec.json.format(msgspec.json.encode(rounds), indent=1))
    (out / "chaos.svg").write_text(plot(merge(rounds), bound, title))
