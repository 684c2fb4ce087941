"""``l2announce move`` and ``l2announce drain``: hand addresses over, for maintenance, by the caller's own rights on the leases.

Both write a lease and then watch what the agents make of it; they need no agent on the machine where they run.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from l2announce.agent.clusters import open_cluster
from l2announce.agent.settings import Settings, parse_duration
from l2announce.cli.agent import LeaseNameStyle
from l2announce.cli.output import make_console, print_table
from l2announce.control.groups import LEASE_NAME_PREFIX, Group, group_leases, shared_address_groups
from l2announce.control.placement import candidates_of
from l2announce.control.ports import Cluster, LeasesListed, LeaseStore
from l2announce.errors import ConfigurationError, L2AnnounceError
from l2announce.model.lease import ANYBODY, DRAIN_PREFIX, MOVE_TO, Conflict, Lease, LeaseWrite, Unreachable, Verb, Written
from l2announce.model.names import is_name
from l2announce.model.objects import ClusterState, NamespacedName
from l2announce.model.timing import Timing

SIGHT_LIMIT = 15.0
"""Seconds in which the cluster must show its objects and its leases."""
DRAINER = "l2announce-drain"
"""The holder that a drain lease names; only that it exists counts."""

Manifests = Annotated[Path | None, typer.Option(metavar="DIR", help="The directory that the agents are given.")]
Kubeconfig = Annotated[Path | None, typer.Option(metavar="FILE", help="The API server to use, and who you are there.")]
Context = Annotated[str | None, typer.Option(metavar="NAME", help="Of the kubeconfig. Default: its current one.")]
Namespace = Annotated[str, typer.Option("--lease-namespace", envvar="L2ANNOUNCE_LEASE_NAMESPACE", metavar="NAME", help="Of the leases.")]
Style = Annotated[LeaseNameStyle, typer.Option("--lease-name-style", envvar="L2ANNOUNCE_LEASE_NAME_STYLE", help="As the agents have it.")]
Wait = Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long to wait for it to be done.")]
T = TypeVar("T")


class NotDoneError(L2AnnounceError):
    """It was asked for, and did not happen: exit code 1."""


@dataclass(slots=True)
class Sight:
    """The cluster as the command sees it: objects once, leases as they change."""

    store: LeaseStore
    state: ClusterState
    groups: Mapping[str, Group]
    place: str
    """The flag that names the cluster, for messages."""
    leases: dict[str, Lease] = field(default_factory=dict)

    async def follow(self) -> AsyncIterator[None]:
        """Keep ``leases`` up to date; yields after each change, the first time after the list."""
        events = self.store.watch()
        async with aclosing(events) as changes:  # type: ignore[type-var]
            async for event in changes:
                if isinstance(event, LeasesListed):
                    self.leases = {lease.name: lease for lease in event.leases}
                elif event.lease is None:
                    self.leases.pop(event.name, None)
                else:
                    self.leases[event.name] = event.lease
                yield

    def held_by(self, node: str) -> set[str]:
        """The leases of ours that the node holds; the namespace may have those of other programs."""
        return {name for name, known in self.leases.items() if known.holder_identity == node and name.startswith(LEASE_NAME_PREFIX)}

    def title(self, name: str) -> str:
        """The Services of a lease."""
        group = self.groups.get(name)
        return " ".join(map(str, group.services)) if group else name


def move(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="NAMESPACE/NAME, or a NAME in namespace default.")],
    node: Annotated[str | None, typer.Argument(metavar="[NODE]", help="Default: the best of the others.")] = None,
    manifests: Manifests = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    lease_namespace: Namespace = "kube-system",
    lease_name_style: Style = LeaseNameStyle.DOT,
    timeout: Wait = "15s",
) -> None:
    """Hand a Service's addresses, and those it shares an address with, to another node, and wait until that has them.

    Exit code 1 when it did not come to that, with the reason.
    """
    settings = _settings(manifests, kubeconfig, context, lease_namespace, lease_name_style)
    seconds = _limit(timeout)
    namespace, _, name = service.rpartition("/")
    key = NamespacedName(namespace or "default", name)

    async def work(sight: Sight) -> None:
        await _move(sight, key, node, seconds)

    asyncio.run(_with_sight(settings, work))


def drain(
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node that shall hold nothing.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let it hold leases again.")] = False,
    manifests: Manifests = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    lease_namespace: Namespace = "kube-system",
    lease_name_style: Style = LeaseNameStyle.DOT,
    timeout: Wait = "30s",
) -> None:
    """Take every address from a node, and keep it without any until --undo. Waits until it holds none.

    Exit code 1 when an address then has no owner, or the node still holds one.
    """
    settings = _settings(manifests, kubeconfig, context, lease_namespace, lease_name_style)
    seconds = _limit(timeout)
    if not is_name(node):
        raise ConfigurationError(f"node {node[:40]!r}: not the name of a node; use lower case letters, digits, '-' and '.'")

    async def work(sight: Sight) -> None:
        await (_undo(sight, node) if undo else _drain(sight, node, seconds))

    asyncio.run(_with_sight(settings, work))


def _settings(manifests: Path | None, kubeconfig: Path | None, context: str | None, namespace: str, style: LeaseNameStyle) -> Settings:
    if manifests is None and kubeconfig is None:
        raise ConfigurationError("--manifests DIR or --kubeconfig FILE: give one of them, to say which cluster it is")
    return Settings(DRAINER, Timing(), manifests, kubeconfig, context, lease_namespace=namespace, lease_name_style=style.value)


def _limit(timeout: str) -> float:
    seconds = parse_duration(timeout, "--timeout")
    if not seconds:
        raise ConfigurationError(f"--timeout {timeout}: too short for anything to happen; write a time such as 15s")
    return seconds


async def _with_sight(settings: Settings, work: Callable[[Sight], Awaitable[None]]) -> None:
    place = f"--kubeconfig {settings.kubeconfig}" if settings.manifests is None else f"--manifests {settings.manifests}"
    async with open_cluster(settings) as (cluster, store):
        state = await _first_state(cluster, place)
        groups = group_leases(shared_address_groups(state), settings.lease_name_style).groups
        await work(Sight(store, state, groups, place))


async def _first_state(cluster: Cluster, place: str) -> ClusterState:
    try:
        async with asyncio.timeout(SIGHT_LIMIT), aclosing(cluster.states()) as states:  # type: ignore[type-var]
            return await anext(states)
    except TimeoutError as err:
        raise NotDoneError(
            f"{place}: the cluster did not show its objects within {SIGHT_LIMIT:g}s; is it there, and may you list and watch nodes, "
            "services, endpointslices and policies?"
        ) from err


def _no_leases(sight: Sight, seconds: float) -> NotDoneError:
    """Nothing was asked for yet."""
    return NotDoneError(
        f"{sight.place}: the cluster did not show its leases within {seconds:g}s, and nothing was changed; may you list and watch leases?"
    )


def _group_of(sight: Sight, key: NamespacedName) -> str:
    for name, group in sight.groups.items():
        if key in group.services:
            return name
    if key not in sight.state.services:
        raise ConfigurationError(f"service {key}: there is none of this name; write NAMESPACE/NAME")
    raise ConfigurationError(f"service {key}: nothing of it is announced; a policy must select it, and it needs an address")


def _known_node(sight: Sight, node: str) -> None:
    if node not in sight.state.nodes:
        raise ConfigurationError(f"node {node!r}: there is no such node; the nodes are {', '.join(sorted(sight.state.nodes)) or 'none'}")


async def _move(sight: Sight, key: NamespacedName, node: str | None, seconds: float) -> None:
    name = _group_of(sight, key)
    if node is not None:
        _known_node(sight, node)
        if node not in (able := candidates_of(sight.groups[name], sight.state)):
            raise ConfigurationError(f"node {node!r}: may not hold {key}; those that may are {', '.join(sorted(able)) or 'none'}")
    base, asked, began = None, False, time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            async for _ in sight.follow():
                lease = sight.leases.get(name)
                if base is None:
                    asked = True
                    base = _holding(sight, lease, key, node)
                    wanted = {**base.annotations, MOVE_TO: node or ANYBODY}
                    outcome = await sight.store.write(
                        LeaseWrite(Verb.ANNOTATE, name, base.holder_identity, base.lease_duration, base, wanted)
                    )
                    base = _accepted(outcome)
                    began = time.monotonic()
                elif lease is not None and _is_decided(lease, base):
                    _report_move(sight, name, base.holder_identity, lease, node, time.monotonic() - began)
                    return
    except TimeoutError as err:
        if not asked:
            raise _no_leases(sight, seconds) from err
        where = sight.leases[name].holder_identity if name in sight.leases else ""
        remedy = f"does the agent of {where} run?" if where else "l2announce explain tells why"
        raise NotDoneError(f"service {key}: not moved within {seconds:g}s; {where or 'nobody'} holds it; {remedy}") from err


def _holding(sight: Sight, lease: Lease | None, key: NamespacedName, node: str | None) -> Lease:
    if node is not None and DRAIN_PREFIX + node in sight.leases:
        raise NotDoneError(f"service {key}: {node} is drained; l2announce drain {node} --undo lets it take leases again")
    if lease is None or not lease.holder_identity:
        raise NotDoneError(f"service {key}: nobody holds it, so nobody can hand it over; l2announce explain {key} tells why")
    if lease.holder_identity == node:
        raise NotDoneError(f"service {key}: {node} holds it already")
    return lease


def _accepted(outcome: Written | Conflict | Unreachable) -> Lease | None:
    """The lease as written; None when it changed meanwhile: the next change shows it."""
    if isinstance(outcome, Unreachable):
        raise NotDoneError(outcome.reason)
    return outcome.lease if isinstance(outcome, Written) else None


def _is_decided(lease: Lease, asked: Lease) -> bool:
    """Somebody else has it, or its holder wrote it again without the wish. What is older than our write still has another version."""
    if lease.holder_identity in ("", asked.holder_identity):
        renewed = lease.renew_time != asked.renew_time and MOVE_TO not in lease.annotations
        return bool(lease.holder_identity) and renewed
    return True


def _report_move(sight: Sight, name: str, source: str, lease: Lease, node: str | None, seconds: float) -> None:
    target = lease.holder_identity
    if target == source:
        raise NotDoneError(f"{sight.title(name)}: {source} keeps it; its log says why (is {node or 'another node'} able to hold it?)")
    typer.echo(f"{sight.title(name)}: {source} -> {target} in {seconds * 1000:.0f} ms")
    if node not in (None, target):
        raise NotDoneError(f"{sight.title(name)}: {node} did not take it, so {target} did")


async def _drain(sight: Sight, node: str, seconds: float) -> None:
    _known_node(sight, node)
    lease, began, moved = DRAIN_PREFIX + node, time.monotonic(), dict[str, float]()
    held: set[str] | None = None
    try:
        async with asyncio.timeout(seconds):
            async for _ in sight.follow():
                if held is None:
                    held = set()
                    if lease not in sight.leases:
                        outcome = await sight.store.write(LeaseWrite(Verb.ACQUIRE, lease, DRAINER, 1.0, None))
                        if isinstance(outcome, Unreachable):
                            raise NotDoneError(outcome.reason)
                    began = time.monotonic()
                held |= sight.held_by(node)
                for name in held - moved.keys():
                    if name not in sight.leases or sight.leases[name].holder_identity not in ("", node):
                        moved[name] = time.monotonic() - began
                if moved.keys() == held:
                    break
    except TimeoutError as err:
        if held is None:
            raise _no_leases(sight, seconds) from err
        _report_drain(sight, node, moved)
        left = ", ".join(sorted(sight.title(name) for name in held - moved.keys()))
        raise NotDoneError(
            f"node {node}: not taken over by anybody within {seconds:g}s: {left}; it stays drained until l2announce drain {node} --undo"
        ) from err
    _report_drain(sight, node, moved)
    typer.echo(f"node {node} is drained: it holds nothing until l2announce drain {node} --undo")


def _report_drain(sight: Sight, node: str, moved: Mapping[str, float]) -> None:
    rows = [
        (sight.title(name), node, sight.leases[name].holder_identity if name in sight.leases else "-", f"{seconds * 1000:.0f} ms")
        for name, seconds in sorted(moved.items())
    ]
    if rows:
        print_table(make_console(), ("SERVICE", "FROM", "TO", "AFTER"), rows)


async def _undo(sight: Sight, node: str) -> None:
    outcome = await sight.store.delete(DRAIN_PREFIX + node)
    if isinstance(outcome, Unreachable):
        raise NotDoneError(outcome.reason)
    typer.echo(f"node {node} may hold addresses again" if isinstance(outcome, Written) else f"node {node} was not drained")
