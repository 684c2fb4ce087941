"""Several interfaces on one segment give one answer: which of those that the policies want answers for an address.

Two hardware addresses for one IP address make clients and switches flap between them. So the interface answers that the kernel would send
to the address from, and only where no route tells, all of them do, one for each subnet that they have in common.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from l2announce.model.address import Address
from l2announce.model.link import ConnectedRoute, Device, Network


@dataclass(frozen=True, slots=True)
class Segments:
    """The connected routes of each interface, by name, and its index. Link-local ones, which every link has, tell nothing."""

    routes: Mapping[str, tuple[ConnectedRoute, ...]] = field(default_factory=dict)
    indexes: Mapping[str, int] = field(default_factory=dict)

    def answering(self, address: Address, wanted: frozenset[str], with_carrier: frozenset[str]) -> frozenset[str]:
        """The interfaces of ``wanted`` that shall answer for ``address``: none but those with carrier, as long as one has it.

        Of interfaces with a connected route to the address, the one whose route the kernel prefers: the longest prefix, then the least
        metric, then the first. Without any such route every interface, but of those in one subnet only one, by the same order.
        """
        usable = (wanted & with_carrier) or wanted
        if len(usable) < 2:
            return usable
        best = min(
            (
                (-route.destination.prefixlen, route.metric, route.position, self.indexes[name], name)
                for name in usable
                for route in self.routes.get(name, ())
                if address in route.destination
            ),
            default=None,
        )
        return self._one_for_each_subnet(usable, address.version) if best is None else frozenset({best[-1]})

    def reach(self, address: Address, names: Iterable[str]) -> bool:
        """Whether one of these interfaces has a connected route to the address."""
        return any(address in route.destination for name in names for route in self.routes.get(name, ()))

    def _one_for_each_subnet(self, names: Iterable[str], version: int) -> frozenset[str]:
        """Leave out each interface that shares a subnet of this family with a preferred one."""
        routes = {name: [route for route in self.routes.get(name, ()) if route.destination.version == version] for name in names}
        taken: set[Network] = set()
        kept: set[str] = set()
        for name in sorted(names, key=lambda name: _preference(routes[name], self.indexes.get(name, 0))):
            subnets = {route.destination for route in routes[name]}
            if not subnets & taken:
                kept.add(name)
            taken |= subnets
        return frozenset(kept)


def segments(devices: Iterable[Device]) -> Segments:
    """What the routes of ``devices`` tell."""
    known = tuple(devices)
    return Segments(
        routes={
            device.name: tuple(route for route in device.connected if not route.destination.is_link_local)
            for device in known
            if device.connected
        },
        indexes={device.name: device.index for device in known},
    )


def _preference(routes: Iterable[ConnectedRoute], index: int) -> tuple[int, int, int]:
    """Less is preferred: by the route that the kernel likes best, then by index."""
    metric, position = min(((route.metric, route.position) for route in routes), default=(0, 0))
    return metric, position, index
