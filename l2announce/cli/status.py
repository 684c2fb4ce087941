"""``l2announce status``: what this node announces, holds and sees; or, from a manifests directory, what the cluster's leases say."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from l2announce.cli.ask import ask_agent
from l2announce.cli.conflicts import conflict_lines
from l2announce.cli.live import watch_text
from l2announce.cli.output import Output, ago, make_console, print_document, print_table
from l2announce.errors import ConfigurationError
from l2announce.manifests.leases import read_leases
from l2announce.model.status import NodeStatus, ServiceStatus


def status(
    state_socket: Annotated[Path | None, typer.Option(envvar="L2ANNOUNCE_STATE_SOCKET", metavar="PATH", help="The agent to ask.")] = None,
    manifests: Annotated[Path | None, typer.Option(metavar="DIR", help="Read its leases instead; no agent is needed.")] = None,
    lease_namespace: Annotated[
        str, typer.Option(envvar="L2ANNOUNCE_LEASE_NAMESPACE", metavar="NAME", help="With --manifests: whose leases.")
    ] = "kube-system",
    output: Annotated[Output, typer.Option("-o", "--output", help="A table, a wider one, or everything.")] = Output.TABLE,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on: again with each change, until Ctrl-C.")] = False,
) -> None:
    """Tell what this node announces, holds and sees, or what the cluster's leases say."""
    if watch and (manifests is not None or output in (Output.JSON, Output.YAML)):
        raise ConfigurationError("--watch: for the tables of a live agent; leave out --manifests, and -o json or yaml")
    if watch:
        watch_status(state_socket, wide=output is Output.WIDE)
    elif manifests is None:
        document = ask_agent(state_socket)
        if output in (Output.JSON, Output.YAML):
            print_document(document, output)
        else:
            print_node(make_console(), document, wide=output is Output.WIDE)
    elif state_socket is not None:
        raise ConfigurationError("--state-socket and --manifests: give one of them")
    else:
        _print_leases(manifests, lease_namespace, output)


def watch_status(state_socket: Path | None, wide: bool) -> None:
    """The tables again and again, until Ctrl-C. While no agent answers, that is told."""
    console = make_console()

    def show() -> str:
        try:
            document = ask_agent(state_socket)
        except ConfigurationError as err:
            return f"{err}\n"
        with console.capture() as captured:
            print_node(console, document, wide)
        return captured.get()

    watch_text(console, show)


def _print_leases(manifests: Path, namespace: str, output: Output) -> None:
    if not manifests.is_dir():
        raise ConfigurationError(f"--manifests {manifests}: no such directory; name the one that the agents are given")
    leases = sorted(read_leases(manifests, namespace), key=lambda lease: lease.name)
    if output in (Output.JSON, Output.YAML):
        print_document(leases, output)
        return
    rows = [
        (lease.name, lease.holder_identity or "nobody", lease.acquire_time or "-", lease.renew_time or "-", str(lease.lease_transitions))
        for lease in leases
    ]
    print_table(make_console(), ("LEASE", "HOLDER", "ACQUIRED", "RENEWED", "TRANSITIONS"), rows)


def print_node(console: Console, node: NodeStatus, wide: bool) -> None:
    """The tables of one agent."""
    state = "ready" if node.ready else "not ready"
    gate = "open" if node.gate_open else "closed"
    bounds = f"failover bound {node.failover_bound:g}s  restart bound {node.restart_bound:g}s"
    console.print(f"node {node.node}  {state}  gate {gate}  {bounds}  l2announce {node.version}")
    console.print()
    columns = ["SERVICE", "ADDRESSES", "HOLDER", "HERE", "WHY NOT HERE"]
    if wide:
        columns += ["LEASE", "STATE", "SINCE", "ON", "ANSWERS", "LAST ANSWER", "SHARES WITH", "POOLS"]
    print_table(console, columns, [_row(service, wide) for service in node.services])
    console.print()
    print_table(console, ("INTERFACE", "MAC", "CARRIER"), [(link.name, link.mac, "yes" if link.carrier else "no") for link in node.links])
    for line in (line for service in node.services for known in service.addresses for line in conflict_lines(known)):
        console.print(line)
    if wide and node.verdicts:
        console.print()
        print_table(console, ("VERDICT", "FRAMES"), [(name, str(count)) for name, count in sorted(node.verdicts.items())])
    problems = [(problem.subject, problem.reason, problem.message) for problem in node.problems]
    problems += [("responder", "Datapath", problem) for problem in node.responder_problems]
    if problems:
        console.print()
        print_table(console, ("PROBLEM WITH", "REASON", "WHAT TO DO"), problems)


def _row(service: ServiceStatus, wide: bool) -> list[str]:
    addresses = " ".join(known.address for known in service.addresses) or "-"
    row = [service.service, addresses, service.holder or "nobody", "announced" if service.announced else "-", service.reason or "-"]
    if wide:
        answers = sum(known.answers for known in service.addresses)
        last = min((known.last_answer for known in service.addresses if known.last_answer is not None), default=None)
        row += [service.lease or "-", service.state or "-", service.since or "-", " ".join(service.macs) or "-", str(answers), ago(last)]
        row.append(" ".join(service.shares_with) or "-")
        row.append(" ".join(dict.fromkeys(filter(None, (known.pool for known in service.addresses)))) or "-")
    return row
