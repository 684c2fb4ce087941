"""Pools, checked: their ranges, what is wrong with them, which of them overlap, and which one an address or a Service belongs to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from l2announce.ipam.ranges import BlockError, Range, first_overlap, parse_block
from l2announce.model.address import Address
from l2announce.model.pools import AddressPool, BalancedService
from l2announce.model.selector import check, matches

NAMESPACE_LABEL = "io.kubernetes.service.namespace"
NAME_LABEL = "io.kubernetes.service.name"


@dataclass(frozen=True, slots=True)
class CheckedPool:
    """A pool with the ranges of its good blocks. ``problems`` are sentences about the others. ``conflict``: why nothing is given out of it,
    "" when nothing is in the way; what was given out before stays."""

    pool: AddressPool
    ranges: tuple[Range, ...]
    problems: tuple[str, ...] = ()
    conflict: str = ""
    selects_nothing: bool = False

    @property
    def gives(self) -> bool:
        """Whether new addresses come from it."""
        return not (self.pool.disabled or self.conflict)

    def selects(self, service: BalancedService) -> bool:
        """Whether the pool is for this Service: by its selector, and by the Service's own choice of pools."""
        if self.selects_nothing or (service.pools and self.pool.name not in service.pools):
            return False
        labels = {**service.labels, NAMESPACE_LABEL: service.key.namespace, NAME_LABEL: service.key.name}
        return matches(self.pool.service_selector, labels)


@dataclass(frozen=True, slots=True)
class PoolBook:
    """Every pool, the oldest first."""

    pools: tuple[CheckedPool, ...] = ()

    @classmethod
    def of(cls, pools: Iterable[AddressPool]) -> "PoolBook":
        """Check them. Of two that overlap the younger one is in conflict, as is one that overlaps itself."""
        checked = [_check(pool) for pool in sorted(pools, key=lambda pool: pool.age)]
        return cls(tuple(_with_conflict(one, checked[:number]) for number, one in enumerate(checked)))

    def containing(self, address: Address) -> list[CheckedPool]:
        """The pools that have an address."""
        return [one for one in self.pools if any(address in found for found in one.ranges)]

    def by_name(self) -> Mapping[str, CheckedPool]:
        """The pools by their names."""
        return {one.pool.name: one for one in self.pools}

    def is_reserved(self, address: Address) -> bool:
        """Whether every range that has the address keeps it back, as first or last."""
        found = [each for one in self.pools for each in one.ranges if address in each]
        return bool(found) and all(int(address) in each.reserved for each in found)


def _check(pool: AddressPool) -> CheckedPool:
    ranges, problems = [], []
    for position, block in enumerate(pool.blocks):
        try:
            ranges.append(parse_block(pool, block))
        except BlockError as err:
            problems.append(f"spec.blocks[{position}]: {err}; the block is not used until it is corrected")
    wrong = check(pool.service_selector)
    if wrong:
        problems.append(f"spec.serviceSelector.{wrong}; the pool selects nothing until it is corrected")
    return CheckedPool(pool, tuple(ranges), tuple(problems), selects_nothing=bool(wrong))


def _with_conflict(one: CheckedPool, older: Iterable[CheckedPool]) -> CheckedPool:
    conflict = ""
    if pair := first_overlap(one.ranges, one.ranges):
        conflict = f"its own ranges {pair[0]} and {pair[1]} overlap; correct one of them"
    for other in older:
        if not conflict and (pair := first_overlap(one.ranges, other.ranges)):
            conflict = f"range {pair[0]} overlaps {pair[1]} of the older pool {other.pool.name}; correct one of them"
    return CheckedPool(one.pool, one.ranges, one.problems, conflict, one.selects_nothing)
