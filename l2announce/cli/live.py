"""A text that is shown again and again: in place on a terminal, else once for each change."""

import time
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console
from rich.live import Live
from rich.text import Text

INTERVAL = 1.0
"""Seconds between two looks."""


def watch_text(console: Console, show: Callable[[], str]) -> None:
    """Show what ``show`` returns, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        if console.is_terminal:
            _in_place(console, show)
        else:
            _each_change(console, show)


def _in_place(console: Console, show: Callable[[], str]) -> None:
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(Text.from_ansi(show()), refresh=True)
            time.sleep(INTERVAL)


def _each_change(console: Console, show: Callable[[], str]) -> None:
    last = ""
    while True:
        text = show()
        if text != last:
            console.file.write(text + "\n")
            console.file.flush()
            last = text
        time.sleep(INTERVAL)
