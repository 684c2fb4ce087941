"""The leases that this node holds, what each of them lets it claim, and when the responder is to be told.

Knows nothing of electors and of interfaces: the controller says what is held until when, and makes the claims of one lease.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from l2announce.control.firsts import FirstClaims
from l2announce.control.members import Members
from l2announce.model.address import FOREVER, NEVER, Address, Instant
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.timing import Timing

GATHER_PER_HUNDRED = 0.002
"""Seconds, for each hundred leases that are held, between two claim sets when leases are won or lost: about twice what making and applying
one takes."""

MakeClaims = Callable[[str, Instant], tuple[Claim, ...]]
"""The claims of everything that is announced while a lease is held, until a deadline."""


class Holdings:
    """Held leases with their deadlines. ``changed``: the responder is to be told soon; ``extended``: it is to be told some time."""

    def __init__(self, members: Members, make: MakeClaims) -> None:
        self.until: dict[str, Instant] = {}
        self.firsts = FirstClaims()
        self.changed = True
        self.extended = False
        self._members = members
        self._make = make
        self._macs: frozenset[bytes] = frozenset()
        self._told: dict[str, set[Address]] = {}
        self._told_at: Instant = NEVER

    def note(self, name: str, deadline: Instant | None) -> bool:
        """A lease is held until ``deadline``, or not. True when it was won or lost."""
        changed = (deadline is None) != (name not in self.until)
        if changed:
            self.changed = True
        elif deadline is not None and deadline != self.until[name]:
            self.extended = True
        if deadline is None:
            self.until.pop(name, None)
        else:
            self.until[name] = deadline
        return changed

    def due_at(self, gathering: float) -> Instant:
        """When the next claim set is to go; FOREVER when nothing changed.

        What was won or lost goes at once, but not so soon after the last set that making sets, which are whole, would be most of the work:
        a thousand leases won one after the other are then some fifty sets, not a thousand. Extensions are gathered for ``gathering``
        seconds.
        """
        if not (self.changed or self.extended):
            return FOREVER
        return self._told_at + (len(self.until) // 100 * GATHER_PER_HUNDRED if self.changed else gathering)

    def learn_macs(self, macs: frozenset[bytes]) -> None:
        """Those of the nodes of this cluster, as far as they are known."""
        self.extended |= macs != self._macs and bool(self.until)
        self._macs = macs

    def take(self, generation: int, timing: Timing, now: Instant, held_over: Mapping[str, Instant]) -> ClaimSet:
        """The claims of every lease, to be told now. Those of the leases in ``held_over`` may be held until the instants there: the
        addresses that were told before, where all leases of the group are ours."""
        self.changed = self.extended = False
        self._told_at = now
        made = {name: tuple(self._claims_of_lease(name)) for name in self.until}
        for name, until in held_over.items():
            deciding = self._members.deciding(name) or name
            if all(member in self.until for member in (deciding, *self._members.of(deciding))):
                told = self._told.get(deciding, ())
                made[deciding] = tuple(replace(one, held_until=until) if one.address in told else one for one in made[deciding])
        self._told = {name: {claim.address for claim in claims if now < claim.until} for name, claims in made.items()}
        return ClaimSet(
            generation,
            tuple(claim for claims in made.values() for claim in claims),
            timing.announce_refresh,
            self._macs,
            probe_wait=timing.probe_wait,
            answer_limit=timing.answer_limit,
        )

    def claims(self) -> Iterator[Claim]:
        """The claims of every lease that is held, as their leases alone allow."""
        for name in self.until:
            yield from self._claims_of_lease(name)

    def _claims_of_lease(self, name: str) -> Iterator[Claim]:
        for claim in self._claims_for(name):
            yield replace(claim, probe=True) if self.firsts.includes(name, claim.address) else claim

    def member_lost(self, name: str, addresses: Collection[Address]) -> None:
        """A member's lease was lost to somebody who may believe that it is a group of its own: the Service's addresses are his."""
        if (deciding := self._members.deciding(name)) in self.until and name not in self.until:
            self._told.get(deciding, set()).difference_update(addresses)

    def _claims_for(self, name: str) -> Iterable[Claim]:
        """What the held lease ``name`` lets this node claim: nothing where it is a member's and the deciding one is held too. While a lease
        of the group is not ours, nothing is claimed that was not claimed before. The first deadline of all counts: who does not know of the
        group waits for the lease of a member alone."""
        if self._members.deciding(name) in self.until:
            return ()
        deadlines = [self.until.get(member) for member in self._members.of(name)]
        held = [deadline for deadline in deadlines if deadline is not None]
        claims = self._make(name, min((self.until[name], *held)))
        if name not in self._members and len(held) == len(deadlines):
            return claims
        return (claim for claim in claims if claim.address in self._told.get(name, ()))
