"""``l2announce explain NAMESPACE/SERVICE``: who owns it, and for each other node one reason why it does not, with what to do."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from l2announce.cli.ask import ask_why
from l2announce.cli.conflicts import conflict_lines
from l2announce.cli.output import Output, make_console, print_document, print_table
from l2announce.cli.reasons import REASONS
from l2announce.errors import ConfigurationError, L2AnnounceError
from l2announce.model.status import AddressStatus, Explanation, ServiceStatus


class NoAnswerError(L2AnnounceError):
    """The agent knows no such Service: nothing is wrong with the command, so not exit code 2."""


def explain(
    service: Annotated[str, typer.Argument(metavar="NAMESPACE/SERVICE", help="As kubectl names it.")],
    address: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Only this one of its addresses.")] = None,
    state_socket: Annotated[Path | None, typer.Option(envvar="L2ANNOUNCE_STATE_SOCKET", metavar="PATH", help="The agent to ask.")] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="A table, or the document.")] = Output.TABLE,
) -> None:
    """Tell who owns the addresses of a Service, and why each other node does not announce them.

    Exit code 1 when nobody announces it, also when there is no such Service.
    """
    namespace, slash, name = service.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise ConfigurationError(f"{service!r}: not a Service; write NAMESPACE/NAME, such as default/web")
    explanation = ask_why(state_socket, service)
    if explanation.service is None:
        raise NoAnswerError(explanation.refused)
    found = _addresses(explanation.service, address)
    if output in (Output.JSON, Output.YAML):
        print_document(explanation, output)
    else:
        _print(explanation, explanation.service, found)
    if not any(node.reason == "Announces" for node in explanation.nodes) or all(known.guarded for known in found):
        raise typer.Exit(1)


def _addresses(service: ServiceStatus, text: str | None) -> tuple[AddressStatus, ...]:
    if text is None:
        return service.addresses
    try:
        wanted = str(ip_address(text))
    except ValueError as err:
        raise ConfigurationError(f"--address {text!r}: not an IPv4 or IPv6 address") from err
    found = tuple(known for known in service.addresses if known.address == wanted)
    if not found:
        has = ", ".join(known.address for known in service.addresses) or "none"
        raise NoAnswerError(f"{wanted}: not an address of {service.service}, which has {has}")
    return found


def _print(explanation: Explanation, service: ServiceStatus, addresses: tuple[AddressStatus, ...]) -> None:
    typer.echo(f"{service.service}  {' '.join(known.address for known in addresses) or 'no address'}")
    if service.shares_with:
        typer.echo(f"shares an address with {', '.join(service.shares_with)}: one node owns them all")
    if service.lease:
        since = f" since {service.since}" if service.since else ""
        typer.echo(f"lease {service.lease}: {f'held by {service.holder}{since}' if service.holder else 'held by nobody'}")
    for known in addresses:
        if known.guarded:
            typer.echo(f"{known.address}: never announced here ({known.guarded})")
        for line in conflict_lines(known):
            typer.echo(line)
    typer.echo()
    rows = []
    for node in explanation.nodes:
        meaning = REASONS[node.reason.partition("=")[0]]
        rows.append((node.node, node.reason, meaning.means.replace("`", ""), meaning.remedy.replace("`", "")))
    print_table(make_console(), ("NODE", "REASON", "WHAT IT MEANS", "WHAT TO DO"), rows)
    others = [node.node for node in explanation.nodes if not node.seen]
    if others:
        typer.echo(f"\nas seen by {explanation.asked}; interfaces and responders of other nodes are known to their own agents alone")
