"""The program ``l2announce``: its commands, and what a wrong one gets (one line, exit code 2)."""

import sys
from typing import Annotated

import typer

from l2announce import __version__
from l2announce.cli import agent, replay, status, who
from l2announce.errors import ConfigurationError, L2AnnounceError

app = typer.Typer(
    name="l2announce",
    help="Announce Kubernetes LoadBalancer and External IPs on the local network by ARP and NDP, one owner per address.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("agent")(agent.agent)
app.command("responder", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(agent.responder)
app.command("status")(status.status)
app.command("who")(who.who)
app.command("replay")(replay.replay)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"l2announce {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 a fault, 2 something the user can correct."""
    try:
        app()
    except ConfigurationError as err:
        sys.stderr.write(f"l2announce: {err}\n")
        sys.exit(2)
    except L2AnnounceError as err:
        sys.stderr.write(f"l2announce: {err}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
