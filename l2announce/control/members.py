"""The leases of Services that share an address with the Service whose lease decides.

They decide nothing, but they follow: whoever holds the deciding lease takes and renews them too, so that ``kubectl get lease`` tells the
truth for each Service, and that a group which splits has its owner already. When groups are joined, the former owner of a member goes on
answering for it until somebody holds the deciding lease.
"""

from collections.abc import Container, Iterable, Iterator, Mapping

from l2announce.control.groups import Group, LeaseNameStyle, lease_name
from l2announce.control.observed import ObservedLeases
from l2announce.model.address import Instant
from l2announce.model.lease import FOLLOWS_ANNOTATION, LeaseWrite, Verb
from l2announce.model.objects import NamespacedName


class Members:
    """Which lease belongs to which group, and what is known of those who hold them. ``identity`` is this node's."""

    def __init__(self, identity: str, style: LeaseNameStyle, leases: ObservedLeases) -> None:
        self._identity = identity
        self._style: LeaseNameStyle = style
        self._leases = leases
        self._members: dict[str, tuple[str, ...]] = {}
        self._deciding: dict[str, str] = {}
        self._services: dict[str, NamespacedName] = {}
        self._former: dict[str, str] = {}

    def replace_groups(self, groups: Mapping[str, Group]) -> None:
        """The groups by the name of their deciding lease. A name that decides is no member's, also where names clash."""
        self._members, self._deciding, self._services = {}, {}, {}
        self._former = {name: holder for name, holder in self._former.items() if name in groups}
        for deciding, group in groups.items():
            named = {lease_name(service, self._style): service for service in group.services[1:]}
            members = tuple(name for name in named if name not in groups)
            if members:
                self._members[deciding] = members
                self._deciding |= dict.fromkeys(members, deciding)
                self._services |= {name: named[name] for name in members}

    @property
    def alone(self) -> dict[str, Group]:
        """Each member's lease with a group of its Service alone."""
        return {name: Group((service,), frozenset()) for name, service in self._services.items()}

    def __contains__(self, name: object) -> bool:
        return name in self._deciding

    def of(self, deciding: str) -> tuple[str, ...]:
        """The leases of the members of a group."""
        return self._members.get(deciding, ())

    def deciding(self, name: str) -> str | None:
        """The lease that decides over the member ``name``; None when it is no member."""
        return self._deciding.get(name)

    def group_of(self, name: str) -> tuple[str, ...]:
        """The leases of the group of which ``name`` is one, the deciding one first."""
        deciding = self._deciding.get(name, name)
        return (deciding, *self.of(deciding))

    def service(self, name: str) -> NamespacedName:
        """Whose lease the member is."""
        return self._services[name]

    def annotations(self, name: str, held: Container[str]) -> dict[str, str]:
        """What is written to a lease about whom it follows, while the leases in ``held`` are ours."""
        deciding = self._deciding.get(name)
        return {FOLLOWS_ANNOTATION: deciding} if deciding is not None and deciding in held else {}

    def outdated(self, names: Iterable[str], held: Container[str]) -> Iterator[str]:
        """Those of ``names`` that are held and say other than they should about whom they follow."""
        for name in names:
            if name not in held:
                continue
            lease = self._leases.present(name)
            if lease is not None and lease.annotations.get(FOLLOWS_ANNOTATION) != self.annotations(name, held).get(FOLLOWS_ANNOTATION):
                yield name

    def write_sent(self, write: LeaseWrite) -> None:
        """A write of a deciding lease goes out: whom it is taken from is whom its followers belonged to."""
        if write.verb is Verb.ACQUIRE:
            self._former[write.name] = write.base.holder_identity if write.base is not None else ""

    def was_followers(self, name: str) -> bool:
        """Whether the member's lease still names the node from which this one has taken the deciding lease: that node held it as a
        follower, by a right that has ended, so that it may be taken at once, though it was renewed later than the deciding one."""
        return self._follows(name, self._former.get(self._deciding[name], ""))

    def _follows(self, name: str, holder: str) -> bool:
        """Whether ``holder`` has the member's lease as a follower of the deciding one, as it wrote there itself."""
        member = self._leases.present(name)
        return (
            member is not None
            and bool(holder)
            and member.holder_identity == holder
            and member.annotations.get(FOLLOWS_ANNOTATION) == self._deciding[name]
        )

    def foreign(self, deciding: str, now: Instant) -> Iterator[tuple[str, Instant]]:
        """The members that another node validly holds by a right of its own, each with the instant until which it does.

        A node that the deciding lease names, live or expired, holds them as its followers: its right is that of the deciding lease.
        """
        present = self._leases.present(deciding)
        holder = present.holder_identity if present is not None else ""
        for name in self.of(deciding):
            until = self._leases.foreign_until(name, self._identity)
            if until is not None and now < until and not self._follows(name, holder) and not self.was_followers(name):
                yield name, until

    def may_bridge(self, name: str) -> bool:
        """Whether whoever holds the member ``name`` may go on answering for it alone: nobody has the deciding lease, or had it last."""
        present = self._leases.present(self._deciding[name])
        return present is None or not present.holder_identity
