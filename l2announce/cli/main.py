"""The program ``l2announce``: its commands, and what a wrong one gets (one line, exit code 2)."""

import sys
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from l2announce import __version__
from l2announce.cli import agent, explain_service, handover, operator, pools, replay, status, who
from l2announce.errors import ConfigurationError, L2AnnounceError

app = typer.Typer(
    name="l2announce",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("agent", short_help="Announce this node's share of the Services.")(agent.agent)
app.command("operator", short_help="Give the addresses of pools to Services (LB-IPAM).")(operator.operator)
app.command("pools", short_help="How full the pools of addresses are, and who has what.")(pools.pools)
_PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True}
app.command("responder", short_help="Be only the responder process.", context_settings=_PASS_ON, add_help_option=False)(agent.responder)
app.command("status", short_help="What this node announces, and why not the rest.")(status.status)
app.command("who", short_help="Whose an address is, and who answers for it.")(who.who)
app.command("explain", short_help="Why each node announces a Service, or does not.")(explain_service.explain)
app.command("move", short_help="Hand a Service's addresses to another node.")(handover.move)
app.command("drain", short_help="Take every address from a node.")(handover.drain)
app.command("replay", short_help="The frames of a capture, through the engine.")(replay.replay)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"l2announce {__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback has done the work
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Announce Kubernetes LoadBalancer and External IPs on the local network by ARP and NDP, one owner per address."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 a fault, 2 something the user can correct."""
    try:
        sys.exit(app(prog_name="l2announce", standalone_mode=False))
    except TyperException as err:
        _complain(f"{_in_one_line(err)}; see {_command_path(err)} --help", 2)
    except ConfigurationError as err:
        _complain(str(err), 2)
    except PermissionError as err:
        _complain(f"{err.filename}: {err.strerror}; name a path that this user may use, or run as one who may", 2)
    except L2AnnounceError as err:
        _complain(str(err), 1)


def _in_one_line(err: TyperException) -> str:
    """What is wrong with the command line, without the library's jargon."""
    return " ".join(err.format_message().split()).replace("Value error, ", "").rstrip(".")


def _command_path(err: TyperException) -> str:
    """The command whose help explains it."""
    return str(getattr(getattr(err, "ctx", None), "command_path", "l2announce"))


def _complain(message: str, code: int) -> NoReturn:
    """End with one line."""
    sys.stderr.write(f"l2announce: {message}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
