"""How commands print a document: a table for people, JSON or YAML for programs."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
import typer
import yaml
from rich.console import Console
from rich.table import Table


class Output(StrEnum):
    """The value of -o."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


def print_document(document: Any, output: Output) -> None:
    """Print a dataclass, or a list of them, as JSON or YAML."""
    if output is Output.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        typer.echo(yaml.safe_dump(msgspec.to_builtins(document), sort_keys=False), nl=False)


def print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table without borders, as kubectl prints them; it is never cut at the width of a pipe."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=not console.is_terminal)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def make_console() -> Console:
    """Standard output; wide enough for any table when it is not a terminal.

    Words are printed as they are: neither the ``:cd:`` of a MAC address nor the ``[a-z]`` of an expression means anything to the console.
    """
    console = Console(highlight=False, emoji=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, emoji=False, markup=False, width=400)


def ago(seconds: float | None) -> str:
    """A time span for people: ``never``, ``0.4s ago``, ``12m ago``."""
    if seconds is None:
        return "never"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit} ago"
    return f"{seconds:.1f}s ago"
