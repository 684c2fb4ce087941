"""Which claims are the first that anybody in the cluster makes for an address: those are probed for (RFC 5227, 2.1.1; RFC 4862, 5.4).

An address that is taken over, or that moves from one Service to another, was answered before: it is not."""

from collections.abc import Collection, Mapping

from l2announce.control.groups import Group
from l2announce.model.address import Address
from l2announce.model.lease import LeaseWrite, Verb


class FirstClaims:
    """What this node claims first: the addresses of a lease that it created, and what was added to a lease that it holds."""

    def __init__(self) -> None:
        self._groups: Mapping[str, Group] = {}
        self._first: dict[str, frozenset[Address]] = {}

    def write_sent(self, write: LeaseWrite, was_known: bool) -> None:
        """A write goes out. ``was_known``: the lease was seen before, so that somebody held it."""
        if write.verb is Verb.RENEW:
            return
        self._first.pop(write.name, None)
        if write.verb is Verb.ACQUIRE and write.base is None and not was_known and write.name in self._groups:
            self._first[write.name] = self._groups[write.name].addresses

    def replace_groups(self, groups: Mapping[str, Group], held: Collection[str]) -> None:
        """The groups by lease. Of the leases in ``held``, addresses that no Service had before are new."""
        known = frozenset().union(*(group.addresses for group in self._groups.values()))
        self._groups = dict(groups)
        none: frozenset[Address] = frozenset()
        self._first = {
            name: groups[name].addresses & self._first.get(name, none) | (groups[name].addresses - known if name in held else none)
            for name in groups.keys() & {*held, *self._first}
        }

    def includes(self, name: str, address: Address) -> bool:
        """Whether the claim of ``address`` by the lease ``name`` is the first."""
        return address in self._first.get(name, ())
