"""Which claims are the first that anybody in the cluster makes for an address: those are probed for (RFC 5227, 2.1.1; RFC 4862, 5.4).

An address that is taken over, or that moves from one Service to another, was answered before: it is not."""

from collections.abc import Collection, Mapping

from l2announce.control.groups import Group
from l2announce.model.address import Address
from l2announce.model.lease import LeaseWrite, Verb


class FirstClaims:
    """What this node claims first: every address of a lease that it created, and what was added to a lease that it holds."""

    def __init__(self) -> None:
        self._created: set[str] = set()
        self._added: dict[str, frozenset[Address]] = {}

    def write_sent(self, write: LeaseWrite, was_known: bool) -> None:
        """A write goes out. ``was_known``: the lease was seen before, so that somebody held it."""
        if write.verb is Verb.RENEW:
            return
        self._created.discard(write.name)
        self._added.pop(write.name, None)
        if write.verb is Verb.ACQUIRE and write.base is None and not was_known:
            self._created.add(write.name)

    def groups_changed(self, before: Mapping[str, Group], after: Mapping[str, Group], held: Collection[str]) -> None:
        """Of the leases in ``held``, addresses that no Service had before are new."""
        known = frozenset().union(*(group.addresses for group in before.values()))
        for name in held:
            if name in after:
                new = after[name].addresses - known
                self._added[name] = (self._added.get(name, frozenset()) & after[name].addresses) | new

    def includes(self, name: str, address: Address) -> bool:
        """Whether the claim of ``address`` by the lease ``name`` is the first."""
        return name in self._created or address in self._added.get(name, ())
