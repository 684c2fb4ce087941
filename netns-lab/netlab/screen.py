"""What people see in the terminal: the live table, the lines between, the closing tables."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from netlab.analysis import NANO
from netlab.newcomer import NAME, NewService
from netlab.report import ProofFigures, Report, ScenarioFigures, milliseconds
from netlab.view import Row, View

NODE_STYLES = ("bold dodger_blue1", "bold orange1", "bold spring_green3", "bold plum2")


FILE_WIDTH = 100
"""Columns where the output is no terminal."""

WIDE = 98
"""From this width on the live table has the gaps as well."""

BLACKOUTS = """\
The longest time without an answer, for a client that asks every {interval}.
ARP/NDP: a new request each time, to all nodes. UDP: through the client's
neighbor table; the kernel of a node whose agent died forwards as before.
"""
PROOF = """\
Doubled: an ask answered from two MACs. Overlaps: a MAC answers again after
another did, without having won the lease anew. Strangers: an answer or an
announcement of a node that does not hold the lease. All three must be 0.
"""


class Screen:
    """The console. On a terminal a table below the lines shows the present state twice a second."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self.console = Console(highlight=False, emoji=False)
        if not self.console.is_terminal and "COLUMNS" not in os.environ:
            self.console.width = FILE_WIDTH
        self._nodes = tuple(nodes)
        self._view: View | None = None

    def say(self, line: str) -> None:
        """One line, with rich's markup. A long one is not broken: it may hold a path."""
        self.console.print(line, soft_wrap=True)

    def rule(self, title: str) -> None:
        """A heading."""
        self.console.print(Rule(title, align="left"))

    @contextmanager
    def live(self, view: View) -> Iterator[None]:
        """Show the state while this lasts; without a terminal, nothing."""
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=lambda: self.state(view), console=self.console, refresh_per_second=4, transient=True):
            yield

    def state(self, view: View) -> RenderableType:
        """Who holds what, what the client's kernel believes and what it gets, now."""
        wide = self.console.width >= WIDE
        table = _table()
        for heading in ("Service", "Address", "Lease", "Client's ip neigh", "HTTP"):
            table.add_column(heading, no_wrap=True)
        if wide:
            table.add_column("Ask gap", justify="right", no_wrap=True)
            table.add_column("UDP gap", justify="right", no_wrap=True)
        for row in view.rows():
            gaps = _gaps(row) if wide else ()
            table.add_row(row.item.service, str(row.item.address), self.node(row.holder), *self._client_cells(row), *gaps)
        return table

    def _client_cells(self, row: Row) -> tuple[Text, str]:
        neighbor = Text.assemble(f"{row.neighbor_mac} ", self.node(row.neighbor), f" {row.neighbor_state}") if row.neighbor else Text("-")
        return neighbor, row.http.partition(":")[0] or "[red]no answer[/]"

    def node(self, name: str) -> Text:
        """A node's name in its colour."""
        style = NODE_STYLES[self._nodes.index(name) % len(NODE_STYLES)] if name in self._nodes else "red"
        return Text(name or "nobody", style)

    def closing(self, report: Report) -> None:
        """The figures against their bounds."""
        self.rule("figures against bounds")
        self.say(BLACKOUTS.format(interval=milliseconds(report.interval)))
        self.console.print(self._blackouts(report.scenarios))
        self.say(f"\n[bold]No two MACs answered at once[/]: from the capture of all {report.capture.frames} frames.")
        self.say(PROOF)
        self.console.print(self._proof(report.proof))
        self.say("\nHTTP from the client was answered by")
        for address, counts in report.http.items():
            self.say(f"  {address:<12} {', '.join(f'{backend} {count} times' for backend, count in counts.items()) or 'nobody'}")
        self.say(
            f"\nThe capture lost {report.capture.lost} frames; the prober never paused for more than\n"
            f"{milliseconds(report.longest_pause)}; the run took {report.seconds:.0f} s."
        )

    def born(self, mark: Callable[[str, bool], int], watch: Callable[[], NewService]) -> NewService:
        """The birth of a Service, as it happens."""
        mark(f"Service {NAME}", True)
        self.say(
            f"[bold]A Service that asks for nothing[/]: default/{NAME}, of IPv4 and IPv6, is created; a pool and an operator are there"
        )
        found = watch()
        addresses = " and ".join(item.address for item in found.reached)
        self.say(f"    given {addresses} by the operator after {milliseconds(found.given)} (bound {milliseconds(found.given_bound)})")
        for item in found.reached:
            where = f"announced by {item.node}, reached by the client, answered by {item.backend}"
            self.say(f"    {item.address}: {where}, after {milliseconds(item.seconds)} (bound {milliseconds(found.reached_bound)})")
        return found

    def _blackouts(self, scenarios: Sequence[ScenarioFigures]) -> Table:
        table = _table()
        for heading in ("Scenario", "Node", "Address", "Heir"):
            table.add_column(heading, no_wrap=True)
        for heading in ("ARP/NDP", "UDP", "Bound", ""):
            table.add_column(heading, justify="right", no_wrap=True)
        for figures in scenarios:
            for number, item in enumerate(entry for entry in figures.blackouts if entry.lost):
                first = (figures.title, self.node(figures.node)) if number == 0 else ("", "")
                passed = _mark(item.passed)
                table.add_row(
                    *first,
                    item.address,
                    self.node(item.heir),
                    milliseconds(item.asks),
                    milliseconds(item.traffic),
                    milliseconds(item.bound),
                    passed,
                )
            others = [entry for entry in figures.blackouts if not entry.lost]
            if others:
                asks, traffic = (milliseconds(max(values)) for values in ([o.asks for o in others], [o.traffic for o in others]))
                bound = milliseconds(min(entry.bound for entry in others))
                passed = _mark(all(entry.passed for entry in others))
                table.add_row("", "", "[dim]all the others[/]", "", asks, traffic, bound, passed, style="dim")
            table.add_section()
        return table

    def _proof(self, proof: Sequence[ProofFigures]) -> Table:
        table = _table()
        table.add_column("Address", no_wrap=True)
        for heading in ("Asks", "Answers", "Announced", "Doubled", "Overlaps", "Strangers", ""):
            table.add_column(heading, justify="right", no_wrap=True)
        for item in proof:
            counts = (item.asks, item.answers, item.announcements, item.doubles, item.interleavings, item.strangers)
            table.add_row(item.address, *map(str, counts), _mark(item.passed))
        return table


def _table() -> Table:
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)


def _gaps(row: Row) -> tuple[str, str]:
    return milliseconds(row.gap.asks / NANO), milliseconds(row.gap.traffic / NANO)


def _mark(passed: bool) -> str:
    return "[green]ok[/]" if passed else "[bold red]MISSED[/]"
