"""What people see in the terminal: the live table, the lines between, the closing tables."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from netlab.analysis import NANO
from netlab.report import ProofFigures, Report, ScenarioFigures, milliseconds
from netlab.view import Row, View

NODE_STYLES = ("bold dodger_blue1", "bold orange1", "bold spring_green3", "bold plum2")


class Screen:
    """The console. On a terminal a table below the lines shows the present state twice a second."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self.console = Console(highlight=False)
        self._nodes = tuple(nodes)
        self._view: View | None = None

    def say(self, line: str) -> None:
        """One line, with rich's markup."""
        self.console.print(line)

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
        table = Table(title="as the client sees it", title_justify="left", title_style="dim")
        for heading in ("Service", "Address", "Lease held by", "Answered by", "Client's neighbor table", "HTTP"):
            table.add_column(heading, no_wrap=heading != "HTTP")
        table.add_column("Longest gap: asks", justify="right")
        table.add_column("traffic", justify="right")
        for row in view.rows():
            table.add_row(row.item.service, str(row.item.address), self.node(row.holder), *self._client_cells(row), *_gaps(row))
        return table

    def _client_cells(self, row: Row) -> tuple[RenderableType, Text, str]:
        neighbor = Text.assemble(self.node(row.neighbor), f" {row.neighbor_state}") if row.neighbor else Text(row.neighbor_state or "-")
        return self.node(row.answered_by), neighbor, row.http or "[red]no answer[/]"

    def node(self, name: str) -> Text:
        """A node's name in its colour."""
        style = NODE_STYLES[self._nodes.index(name) % len(NODE_STYLES)] if name in self._nodes else "red"
        return Text(name or "nobody", style)

    def closing(self, report: Report) -> None:
        """The figures against their bounds."""
        self.rule("figures against bounds")
        self.console.print(Group(self._blackouts(report.scenarios), self._proof(report.proof)))
        pause = milliseconds(report.longest_pause)
        self.say(
            f"capture: {report.capture.frames} frames, {report.capture.lost} lost; the prober itself never paused for longer than {pause}; "
            f"the run took {report.seconds:.0f} s"
        )

    def _blackouts(self, scenarios: Sequence[ScenarioFigures]) -> Table:
        table = Table(title="longest time without an answer, asked every 10 ms", title_justify="left", title_style="dim")
        for heading in ("Scenario", "Node", "Address", "Taken over by"):
            table.add_column(heading, no_wrap=True)
        for heading in ("ARP/NDP asks", "UDP traffic", "Bound", ""):
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
        title = "from the capture of the whole segment: no two MACs answered at once"
        table = Table(title=title, title_justify="left", title_style="dim")
        table.add_column("Address", no_wrap=True)
        for heading in ("Asks", "Answers", "Announcements", "Asks with two MACs", "MACs interleaved", "Answers without lease", ""):
            table.add_column(heading, justify="right")
        for item in proof:
            counts = (item.asks, item.answers, item.announcements, item.doubles, item.interleavings, item.strangers)
            table.add_row(item.address, *map(str, counts), _mark(item.passed))
        return table


def _gaps(row: Row) -> tuple[str, str]:
    return milliseconds(row.gap.asks / NANO), milliseconds(row.gap.traffic / NANO)


def _mark(passed: bool) -> str:
    return "[green]ok[/]" if passed else "[bold red]MISSED[/]"
