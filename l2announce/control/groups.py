"""One address, one owner: Services joined by a shared address form a group, and a group has one Lease.

Node-independent: from one state every node computes the same groups, whatever its labels, links and endpoints, or two nodes would hold
two leases for one address.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from l2announce.control.policy import check_policies, matching_policies
from l2announce.control.services import Announceable, announceable
from l2announce.model.address import Address
from l2announce.model.objects import ClusterState, NamespacedName, ObjectProblem

LEASE_NAME_PREFIX = "cilium-l2announce-"
LEASE_NAME_CLASH = "LeaseNameClash"

LeaseNameStyle: TypeAlias = Literal["dot", "dash"]

_SEPARATORS: Mapping[LeaseNameStyle, str] = {"dot": ".", "dash": "-"}


@dataclass(frozen=True, slots=True)
class Group:
    """Services, sorted, that are owned together, and every address that some policy announces for them on some node."""

    services: tuple[NamespacedName, ...]
    addresses: frozenset[Address]

    @property
    def deciding_service(self) -> NamespacedName:
        """The Service whose Lease decides for all of them: the smallest."""
        return self.services[0]


@dataclass(frozen=True, slots=True)
class GroupLeases:
    """The group of each lease name. ``clashes``: names that belong to several groups, which were merged, with their deciding Services."""

    groups: dict[str, Group]
    clashes: dict[str, tuple[NamespacedName, ...]]


def shared_address_groups(state: ClusterState) -> tuple[Group, ...]:
    """Services that a policy selects and that have an address to announce, as connected components by shared address, sorted.

    A policy counts whether or not its nodeSelector matches a node: a group without a node is a group that nobody is eligible for.
    """
    addresses_of = _policy_addresses(state)
    parent = {service: service for service in addresses_of}
    first_with: dict[Address, NamespacedName] = {}
    for service in addresses_of:
        for address in addresses_of[service]:
            _join(parent, first_with.setdefault(address, service), service)
    members: dict[NamespacedName, list[NamespacedName]] = {}
    for service in sorted(parent):
        members.setdefault(_root(parent, service), []).append(service)
    return tuple(_group(services, addresses_of) for services in members.values())


def lease_name(service: NamespacedName, style: LeaseNameStyle) -> str:
    """``cilium-l2announce-<namespace>.<name>``, or with a dash as Cilium up to 1.20 has it. Dash names are ambiguous: ``foo/bar-baz``
    and ``foo-bar/baz`` have the same."""
    return f"{LEASE_NAME_PREFIX}{service.namespace}{_SEPARATORS[style]}{service.name}"


def group_leases(groups: Iterable[Group], style: LeaseNameStyle) -> GroupLeases:
    """The lease name of each group. Groups with equal names cannot be owned apart: they become one group, which keeps the name."""
    named: dict[str, list[Group]] = {}
    for group in groups:
        named.setdefault(lease_name(group.deciding_service, style), []).append(group)
    return GroupLeases(
        groups={name: _merge(same) for name, same in named.items()},
        clashes={name: tuple(sorted(group.deciding_service for group in same)) for name, same in named.items() if len(same) > 1},
    )


def clash_problems(leases: GroupLeases) -> tuple[ObjectProblem, ...]:
    """One problem for each Service whose lease name is also another's."""
    return tuple(
        ObjectProblem(
            f"service/{service}",
            LEASE_NAME_CLASH,
            f"its lease {name} is also that of {', '.join(str(other) for other in services if other != service)}: "
            "one node announces all of them; use --lease-name-style dot on every node to tell them apart",
        )
        for name, services in sorted(leases.clashes.items())
        for service in services
    )


def _policy_addresses(state: ClusterState) -> dict[NamespacedName, frozenset[Address]]:
    """For each Service the addresses that some policy announces on some node; Services without any are left out."""
    policies = check_policies(state.policies.values()).usable
    found: dict[NamespacedName, frozenset[Address]] = {}
    for service in state.services.values():
        addresses = announceable(service)
        if isinstance(addresses, Announceable):
            matched = matching_policies(policies, service, addresses)
            if chosen := frozenset(address for match in matched for address in match.addresses):
                found[service.key] = chosen
    return found


def _root(parent: dict[NamespacedName, NamespacedName], service: NamespacedName) -> NamespacedName:
    """The smallest Service of the component; shortens the path on the way."""
    while parent[service] != service:
        parent[service] = parent[parent[service]]
        service = parent[service]
    return service


def _join(parent: dict[NamespacedName, NamespacedName], one: NamespacedName, other: NamespacedName) -> None:
    low, high = sorted((_root(parent, one), _root(parent, other)))
    parent[high] = low


def _group(services: list[NamespacedName], addresses_of: Mapping[NamespacedName, frozenset[Address]]) -> Group:
    return Group(tuple(services), frozenset().union(*(addresses_of[service] for service in services)))


def _merge(groups: list[Group]) -> Group:
    services = sorted(service for group in groups for service in group.services)
    return Group(tuple(services), frozenset().union(*(group.addresses for group in groups)))
