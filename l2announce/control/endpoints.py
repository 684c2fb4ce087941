"""Where Services of externalTrafficPolicy Local can be served: on nodes with an endpoint that takes traffic.

That is a ready one, or one that is terminating and still serving, as kube-proxy uses it. An endpoint that does not say where it runs counts
as local everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from l2announce.control.groups import Group
from l2announce.control.services import takes_traffic
from l2announce.model.objects import ClusterState, NamespacedName


@dataclass(frozen=True, slots=True)
class LocalEndpoints:
    """The nodes on which each Service of externalTrafficPolicy Local has an endpoint that takes traffic. ``everywhere``: those with one
    that does not say where it runs. ``local``: every Service of that policy, with endpoints or without."""

    local: frozenset[NamespacedName] = frozenset()
    nodes: Mapping[NamespacedName, frozenset[str]] = field(default_factory=dict)
    everywhere: frozenset[NamespacedName] = frozenset()

    def servers(self, service: NamespacedName, candidates: frozenset[str]) -> frozenset[str]:
        """Those of ``candidates`` that can serve the Service, of externalTrafficPolicy Local."""
        return candidates if service in self.everywhere else candidates & self.nodes.get(service, frozenset())

    def able(self, group: Group, candidates: frozenset[str]) -> frozenset[str]:
        """Those of ``candidates`` that may hold the lease of the group: they serve all of its Local Services where some candidate does,
        else at least one. Services that no candidate can serve do not count; without others every candidate may."""
        served = [nodes for service in group.services if service in self.local if (nodes := self.servers(service, candidates))]
        if not served:
            return candidates
        return frozenset.intersection(*served) or frozenset.union(*served)

    def unserved(self, group: Group, candidates: frozenset[str]) -> frozenset[NamespacedName]:
        """The Local Services of the group that no candidate can serve."""
        return frozenset(service for service in group.services if service in self.local and not self.servers(service, candidates))


def local_endpoints(state: ClusterState) -> LocalEndpoints:
    """What the objects tell of Services of externalTrafficPolicy Local."""
    local = frozenset(key for key, service in state.services.items() if service.external_traffic_policy == "Local")
    nodes: dict[NamespacedName, set[str]] = {}
    everywhere: set[NamespacedName] = set()
    for endpoint in state.endpoints:
        if endpoint.service not in local or not takes_traffic(endpoint):
            continue
        if endpoint.node_name is None:
            everywhere.add(endpoint.service)
        else:
            nodes.setdefault(endpoint.service, set()).add(endpoint.node_name)
    return LocalEndpoints(local, {service: frozenset(names) for service, names in nodes.items()}, frozenset(everywhere))
