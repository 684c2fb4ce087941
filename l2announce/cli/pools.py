"""``l2announce pools``: how full each pool is, what of it is free, and who has what. Reads the cluster; no operator need run."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from l2announce.agent.settings import Settings
from l2announce.cli.handover import Context, Kubeconfig, Manifests
from l2announce.cli.output import Output, make_console, print_document, print_table
from l2announce.errors import ConfigurationError
from l2announce.ipam.allocator import Allocator
from l2announce.model.pools import AddressPool, BalancedService
from l2announce.model.timing import Timing

BAR = 20
"""Characters of a bar."""
READ_LIMIT = 30.0
"""Seconds within which the API server has to answer."""
FREE_SHOWN = 3
"""Stretches of free addresses in the table; all of them with -o wide."""


@dataclass(frozen=True, slots=True)
class Given:
    """An address that is given out, and to whom."""

    address: str
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """One pool. ``used`` counts addresses that are kept back. ``free`` are stretches, as ``first - last``."""

    name: str
    blocks: tuple[str, ...]
    total: int
    used: int
    disabled: bool
    conflict: str
    problems: tuple[str, ...]
    free: tuple[str, ...]
    given: tuple[Given, ...]


def pools(
    name: Annotated[str | None, typer.Argument(metavar="[POOL]", help="Only this pool, with all its addresses.")] = None,
    manifests: Manifests = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="A table, a wider one, or everything.")] = Output.TABLE,
) -> None:
    """Tell how full the pools of addresses are, what is free, and who has what."""
    if manifests is None and kubeconfig is None:
        raise ConfigurationError("--manifests DIR or --kubeconfig FILE: give one of them, to say which cluster it is")
    found = usage_of(*read_cluster(Settings("pools", Timing(), manifests, kubeconfig, context)))
    if name is not None:
        found = [one for one in found if one.name == name]
        if not found:
            raise ConfigurationError(f"{name!r}: there is no such pool; l2announce pools lists them")
    if output in (Output.JSON, Output.YAML):
        print_document(found, output)
    else:
        print_pools(make_console(), found, wide=output is Output.WIDE or name is not None)


def read_cluster(settings: Settings) -> tuple[tuple[AddressPool, ...], tuple[BalancedService, ...]]:
    """Every pool and every Service as they are now; ConfigurationError when they cannot be had."""
    if settings.manifests is None:
        return asyncio.run(_read(settings))
    from l2announce.manifests.pools import read_pools

    try:
        known, services, problems = read_pools(settings.manifests)
    except OSError as err:
        raise ConfigurationError(f"{err.filename or settings.manifests}: {err.strerror}; make it readable") from err
    for problem in problems:
        typer.echo(f"{problem.subject}: {problem.message}", err=True)
    return known, services


def usage_of(known: tuple[AddressPool, ...], services: tuple[BalancedService, ...]) -> list[PoolUsage]:
    """The pools, the oldest first, as the statuses of the Services have filled them."""
    allocator = Allocator()
    allocator.replace_pools(known)
    allocator.replace_services(services)
    allocator.adopt()
    held = sorted({address for service in services for address in service.ingress}, key=lambda address: (address.version, address.packed))
    usage = allocator.usage()
    return [
        PoolUsage(
            one.pool.name,
            tuple(map(str, one.pool.blocks)),
            usage[one.pool.name].total,
            usage[one.pool.name].used,
            one.pool.disabled,
            one.conflict,
            one.problems,
            tuple(f"{first} - {last}" if first != last else str(first) for first, last in allocator.free(one.pool.name)),
            tuple(
                Given(str(address), tuple(map(str, allocator.holders(address))))
                for address in held
                if allocator.holders(address) and any(address in each for each in one.ranges)
            ),
        )
        for one in allocator.book.pools
    ]


def print_pools(console: Console, found: list[PoolUsage], *, wide: bool) -> None:
    """The tables."""
    rows = [(one.name, *_filled(one), " ".join(one.blocks), _some(one.free, wide), _state(one)) for one in found]
    print_table(console, ("POOL", "USED", "OF", "", "BLOCKS", "FREE", "STATE"), rows)
    for one in found:
        for problem in (*filter(None, [one.conflict]), *one.problems):
            console.print(f"\n{one.name}: {problem}")
        if wide and one.given:
            console.print()
            print_table(console, ("ADDRESS", "SERVICES"), [(each.address, ", ".join(each.services)) for each in one.given])


def _filled(one: PoolUsage) -> tuple[str, str, str]:
    """Used, total, and a bar that is not empty unless nothing is used, nor full unless all is."""
    filled = 0 if not one.used else max(1, one.used * BAR // one.total)
    return str(one.used), str(one.total), "#" * filled + "." * (BAR - filled)


def _some(stretches: tuple[str, ...], wide: bool) -> str:
    shown = stretches if wide else stretches[:FREE_SHOWN]
    more = f" and {len(stretches) - len(shown)} more" if len(stretches) > len(shown) else ""
    return (", ".join(shown) or "-") + more


def _state(one: PoolUsage) -> str:
    words = (("conflict", one.conflict), ("disabled", one.disabled), ("invalid", one.problems))
    return ", ".join(word for word, is_so in words if is_so) or "ok"


async def _read(settings: Settings) -> tuple[tuple[AddressPool, ...], tuple[BalancedService, ...]]:
    """The same of an API server. ConfigurationError when the API server does not answer in time."""
    from l2announce.agent.clusters import open_pools
    from l2announce.ipam.ports import PoolsSeen, ServicesSeen

    known: tuple[AddressPool, ...] | None = None
    services: tuple[BalancedService, ...] | None = None
    async with open_pools(settings) as (objects, _):
        try:
            async with asyncio.timeout(READ_LIMIT):
                async for seen in objects.changes():
                    match seen:
                        case PoolsSeen():
                            known = seen.pools
                        case ServicesSeen():
                            services = seen.services
                    if known is not None and services is not None:
                        return known, services
        except TimeoutError as err:
            raise ConfigurationError(
                f"--kubeconfig {settings.kubeconfig}: no answer within {READ_LIMIT:g} s; is the server there?"
            ) from err
    raise AssertionError("the changes of a cluster never end")
