"""``l2announce pools``: what it makes of pools and Services, and how it shows it."""

from io import StringIO
from ipaddress import ip_address

from rich.console import Console

from l2announce.cli.pools import Given, print_pools, usage_of
from l2announce.model.objects import NamespacedName
from l2announce.model.pools import AddressPool, BalancedService, Block, Port

POOLS = (
    AddressPool("a", (Block("10.0.0.0/29"), Block(start="fd00::1")), created="1", allow_first_last=False),
    AddressPool("b", (Block("10.0.0.4/31"), Block("10.0.0.300/24")), created="2", disabled=True),
    AddressPool("big", (Block("fd01::/64"),), created="3"),
)


def service(name: str, *addresses: str, **more: object) -> BalancedService:
    return BalancedService(NamespacedName("shop", name), ingress=tuple(map(ip_address, addresses)), **more)  # type: ignore[arg-type]


SERVICES = (
    service("one", "10.0.0.3", sharing_key="k", ports=frozenset((Port("TCP", 80),))),
    service("two", "10.0.0.3", sharing_key="k", ports=frozenset((Port("TCP", 443),))),
    service("stranger", "192.0.2.1"),
)


def shown(*, wide: bool = False) -> list[str]:
    file = StringIO()
    print_pools(Console(file=file, width=300), usage_of(POOLS, SERVICES), wide=wide)
    return file.getvalue().splitlines()


def test_usage() -> None:
    a, b, big = usage_of(POOLS, SERVICES)
    assert (a.total, a.used, a.free) == (9, 3, ("10.0.0.1 - 10.0.0.2", "10.0.0.4 - 10.0.0.6", "fd00::1"))
    assert a.given == (Given("10.0.0.3", ("shop/one", "shop/two")),)
    assert b.disabled
    assert b.conflict
    assert len(b.problems) == 1
    assert (big.total, big.used, big.given) == (1 << 64, 0, ())


def test_tables() -> None:
    lines = shown()
    assert lines[1].split()[:4] == ["a", "3", "9", "######.............."]
    assert lines[2].split()[-3:] == ["conflict,", "disabled,", "invalid"]
    assert "...................." in lines[3]
    assert any(line.startswith("b: range 10.0.0.4 - 10.0.0.5 overlaps") for line in lines)
    assert any(line.startswith("b: spec.blocks[1]: ") for line in lines)
    assert not any("shop/one" in line for line in lines)
    assert any(line.split() == ["10.0.0.3", "shop/one,", "shop/two"] for line in shown(wide=True))


def test_only_some_stretches_are_shown() -> None:
    scattered = [service(f"s{number}", f"10.0.0.{2 * number}") for number in range(5)]
    file = StringIO()
    print_pools(Console(file=file, width=300), usage_of((AddressPool("a", (Block("10.0.0.0/24"),)),), tuple(scattered)), wide=False)
    assert "10.0.0.1, 10.0.0.3, 10.0.0.5 and 2 more" in file.getvalue()
