"""``l2announce who ADDRESS``: whose is it, who answers for it, and since when."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from l2announce.cli.ask import ask_agent
from l2announce.cli.conflicts import conflict_lines
from l2announce.cli.output import ago, make_console, print_table
from l2announce.errors import ConfigurationError, L2AnnounceError
from l2announce.model.status import AddressStatus, ServiceStatus


class NobodyError(L2AnnounceError):
    """No Service has the address: nothing is wrong with the command, so not exit code 2."""


def who(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="IPv4 or IPv6.")],
    state_socket: Annotated[Path | None, typer.Option(envvar="L2ANNOUNCE_STATE_SOCKET", metavar="PATH", help="The agent to ask.")] = None,
) -> None:
    """Tell the Service, holder, interface and MAC of an address, since when, and when this node last answered for it.

    Exit code 1 when nobody announces it, also when no Service has it.
    """
    try:
        wanted = str(ip_address(address))
    except ValueError as err:
        raise ConfigurationError(f"{address!r}: not an IPv4 or IPv6 address") from err
    status = ask_agent(state_socket)
    found = [(service, known) for service in status.services for known in service.addresses if known.address == wanted]
    if not found:
        raise NobodyError(f"{wanted}: no Service has this address, as far as node {status.node} knows")
    rows = [_row(service, known, status.node) for service, known in found]
    print_table(make_console(), ("SERVICE", "HOLDER", "ON", "SINCE", "LAST ANSWER", "WHY NOT HERE"), rows)
    for line in (line for _, known in found for line in conflict_lines(known)):
        typer.echo(line)
    if all(not service.holder or _is_held_back(known) for service, known in found):
        raise typer.Exit(1)


def _is_held_back(known: AddressStatus) -> bool:
    """Whether this node holds the address and announces it nowhere, because strangers have it."""
    return bool(known.interfaces) and set(known.interfaces) <= {conflict.interface for conflict in known.conflicts if conflict.held_back}


def _row(service: ServiceStatus, known: AddressStatus, node: str) -> tuple[str, ...]:
    elsewhere = service.holder not in (None, node)
    last = f"ask {service.holder}" if elsewhere and known.last_answer is None else ago(known.last_answer)
    why = known.guarded or service.reason or "-"
    return (service.service, service.holder or "nobody", " ".join(service.macs) or "-", service.since or "-", last, why)
