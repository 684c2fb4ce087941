"""Policies x Services x this node x its interfaces -> what this node would announce, what is wrong with policies, and why not.

Decides nothing about leases: the announcements are those of a holder of every lease. Semantics are those of CiliumL2AnnouncementPolicy,
except that problems are found on every node, whichever nodes the policy selects.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from l2announce.control.devices import Candidates, Pattern, compile_pattern, names_match
from l2announce.control.guard import Guarded, GuardList
from l2announce.control.services import (
    Announceable,
    Reason,
    annotation_problems,
    announceable,
    is_of_interest,
    locally_served,
    node_exposure,
    selector_labels,
)
from l2announce.model.address import Address
from l2announce.model.objects import AnnouncementPolicy, ClusterState, NamespacedName, Node, ObjectProblem, Service
from l2announce.model.selector import check, matches

__all__ = [
    "BAD_INTERFACE_REGEX",
    "BAD_NODE_SELECTOR",
    "BAD_SERVICE_SELECTOR",
    "Announcement",
    "CheckedPolicies",
    "CheckedPolicy",
    "Match",
    "Reason",
    "Selection",
    "check_policies",
    "matching_policies",
    "select",
]

BAD_INTERFACE_REGEX = "io.cilium/bad-interface-regex"
BAD_NODE_SELECTOR = "io.cilium/bad-node-selector"
BAD_SERVICE_SELECTOR = "io.cilium/bad-service-selector"


@dataclass(frozen=True, slots=True)
class Announcement:
    """One address of one Service, and every interface (by name, at least one) on which the matching policies want it."""

    service: NamespacedName
    address: Address
    interfaces: frozenset[str]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a node would announce. ``refusals`` has every Service with an address, or of type LoadBalancer, of which this node announces
    nothing. ``guarded`` has the addresses that policies choose here, but that are never announced. All four are sorted."""

    announcements: tuple[Announcement, ...] = ()
    problems: tuple[ObjectProblem, ...] = ()
    refusals: dict[NamespacedName, Reason] = field(default_factory=dict)
    guarded: dict[NamespacedName, dict[Address, Guarded]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckedPolicy:
    """A policy with valid selectors, and those of its interface expressions that compile."""

    policy: AnnouncementPolicy
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class CheckedPolicies:
    """The policies that select something, by name, and what is wrong with these and the others."""

    usable: tuple[CheckedPolicy, ...]
    problems: tuple[ObjectProblem, ...]


class Match(NamedTuple):
    """A policy that selects a Service, whatever the node, and the addresses it chooses by its two flags: maybe none."""

    name: str
    addresses: tuple[Address, ...]


class _Here(NamedTuple):
    """One policy on this node: whether it selects the node, and the names of the interfaces it chooses."""

    node_selected: bool
    interfaces: frozenset[str]


@dataclass(frozen=True, slots=True)
class _ThisNode:
    """What is known of the node before any Service is looked at. ``local`` are the Services that may be announced here where
    externalTrafficPolicy is Local."""

    node: Node
    policies: Sequence[CheckedPolicy]
    here: Mapping[str, _Here]
    local: frozenset[NamespacedName]


def check_policies(policies: Iterable[AnnouncementPolicy]) -> CheckedPolicies:
    """Check and compile policies. A bad selector makes a policy select nothing; a bad interface expression costs only itself."""
    usable: list[CheckedPolicy] = []
    problems: list[ObjectProblem] = []
    for policy in sorted(policies, key=lambda policy: policy.name):
        patterns, found = _compile_interfaces(policy)
        bad_selectors = _selector_problems(policy)
        problems += found + bad_selectors
        if not bad_selectors:
            usable.append(CheckedPolicy(policy, patterns))
    return CheckedPolicies(tuple(usable), tuple(problems))


def matching_policies(policies: Iterable[CheckedPolicy], service: Service, addresses: Announceable) -> tuple[Match, ...]:
    """The policies whose serviceSelector matches, in their order, each with the addresses of the Service that it chooses."""
    labels = selector_labels(service)
    return tuple(
        Match(checked.policy.name, _chosen(checked.policy, addresses))
        for checked in policies
        if matches(checked.policy.service_selector, labels)
    )


def select(
    state: ClusterState,
    node_name: str,
    candidates: Candidates,
    guard: GuardList = GuardList(),  # noqa: B008 - frozen
    served: frozenset[NamespacedName] | None = None,
) -> Selection:
    """What the node would announce if it held every lease: for each address the union over all matching policies, but for what is guarded.

    ``served``: the Services that the node may announce where externalTrafficPolicy is Local; None: those with an endpoint here.
    A node that is not in ``state`` announces nothing. The answer does not depend on the order of anything in ``state``.
    """
    checked = check_policies(state.policies.values())
    services = sorted(filter(is_of_interest, state.services.values()), key=lambda service: service.key)
    local = locally_served(state.endpoints, node_name) if served is None else served
    this_node = _this_node(state, node_name, candidates, checked.usable, local)
    announcements: list[Announcement] = []
    refusals: dict[NamespacedName, Reason] = {}
    guarded: dict[NamespacedName, dict[Address, Guarded]] = {}
    for service in services:
        wanted = _wanted(service, this_node)
        if isinstance(wanted, Reason):
            refusals[service.key] = wanted
            continue
        if never := {address: why for address in _sorted(wanted) if (why := guard.why_not(address)) is not None}:
            guarded[service.key] = never
        if len(never) == len(wanted):
            refusals[service.key] = Reason.GUARDED
        announcements += [Announcement(service.key, address, wanted[address]) for address in _sorted(wanted) if address not in never]
    problems = checked.problems + tuple(problem for service in services for problem in annotation_problems(service))
    return Selection(tuple(announcements), problems + _guard_problems(guarded), refusals, guarded)


def _compile_interfaces(policy: AnnouncementPolicy) -> tuple[tuple[Pattern, ...], list[ObjectProblem]]:
    patterns, problems = [], []
    for position, text in enumerate(policy.interfaces):
        try:
            patterns.append(compile_pattern(text))
        except ValueError as err:
            problems.append(_problem(policy, BAD_INTERFACE_REGEX, f"spec.interfaces[{position}]: {err}; it is ignored until corrected"))
    return tuple(patterns), problems


def _selector_problems(policy: AnnouncementPolicy) -> list[ObjectProblem]:
    named = (
        ("nodeSelector", BAD_NODE_SELECTOR, policy.node_selector),
        ("serviceSelector", BAD_SERVICE_SELECTOR, policy.service_selector),
    )
    return [
        _problem(policy, reason, f"spec.{name}.{wrong}; the policy selects nothing until it is corrected")
        for name, reason, selector in named
        if (wrong := check(selector))
    ]


def _problem(policy: AnnouncementPolicy, reason: str, message: str) -> ObjectProblem:
    return ObjectProblem(f"ciliuml2announcementpolicy/{policy.name}", reason, message)


def _chosen(policy: AnnouncementPolicy, addresses: Announceable) -> tuple[Address, ...]:
    external = addresses.external_ips if policy.external_ips else ()
    return external + (addresses.load_balancer_ips if policy.load_balancer_ips else ())


def _this_node(
    state: ClusterState, node_name: str, candidates: Candidates, policies: Sequence[CheckedPolicy], local: frozenset[NamespacedName]
) -> _ThisNode | None:
    """None when the cluster does not know the node."""
    if (node := state.nodes.get(node_name)) is None:
        return None
    here = {
        checked.policy.name: _Here(matches(checked.policy.node_selector, node.labels), _interfaces(checked, candidates))
        for checked in policies
    }
    return _ThisNode(node, policies, here, local)


def _interfaces(checked: CheckedPolicy, candidates: Candidates) -> frozenset[str]:
    """The interfaces a policy chooses. A policy whose expressions are all bad names interfaces too: it chooses none."""
    if not checked.policy.interfaces:
        return candidates.default
    return frozenset(device.name for device in candidates.named if names_match(checked.patterns, device))


def _wanted(service: Service, this_node: _ThisNode | None) -> dict[Address, frozenset[str]] | Reason:
    """The interfaces on which each address of one Service is wanted, or why none is."""
    addresses = announceable(service)
    if isinstance(addresses, Reason):
        return addresses
    if this_node is None:
        return Reason.NODE_UNKNOWN
    matched = matching_policies(this_node.policies, service, addresses)
    choosing = [match for match in matched if match.addresses]
    if not choosing:
        return Reason.ADDRESS_KIND if matched else Reason.NO_POLICY
    here = [match for match in choosing if this_node.here[match.name].node_selected]
    if not here:
        return Reason.NODE_SELECTOR
    if not _is_for(service, this_node.node):
        return Reason.NOT_FOR_THIS_NODE
    wanted = _union(here, this_node.here)
    if not wanted:
        return Reason.NO_INTERFACE
    if service.external_traffic_policy == "Local" and service.key not in this_node.local:
        return Reason.NO_LOCAL_ENDPOINT
    return wanted


def _is_for(service: Service, node: Node) -> bool:
    """Whether the Service's annotations mean it for the node; a bad annotation means it for none."""
    try:
        return matches(node_exposure(service), node.labels)
    except ValueError:
        return False


def _union(matched: Iterable[Match], here: Mapping[str, _Here]) -> dict[Address, frozenset[str]]:
    wanted: dict[Address, frozenset[str]] = {}
    for match in matched:
        interfaces = here[match.name].interfaces
        for address in match.addresses if interfaces else ():
            wanted[address] = wanted.get(address, frozenset()) | interfaces
    return wanted


def _sorted(addresses: Iterable[Address]) -> list[Address]:
    return sorted(addresses, key=lambda address: (address.version, address.packed))


def _guard_problems(guarded: Mapping[NamespacedName, Mapping[Address, Guarded]]) -> tuple[ObjectProblem, ...]:
    return tuple(
        ObjectProblem(
            f"service/{service}", why.reason.value, f"{address} is {why.what}, so it is never announced; give the Service another address"
        )
        for service, addresses in guarded.items()
        for address, why in addresses.items()
    )
