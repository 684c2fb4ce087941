"""What one node sees, and what follows from it alone: groups, guarded addresses, and what it would announce for each lease.

Made anew from whole inputs, objects and interfaces. Knows nothing of leases, deadlines and the responder.
"""

from collections.abc import Iterable, Sequence

from l2announce.control.claims import Places, of_groups, places
from l2announce.control.devices import Candidates, candidate_devices
from l2announce.control.groups import Group, GroupLeases, LeaseNameStyle, clash_problems, group_leases, shared_address_groups
from l2announce.control.guard import GuardList, guard_list
from l2announce.control.policy import Announcement, Selection, select
from l2announce.control.preferences import preference_problems
from l2announce.control.segments import Segments, segments
from l2announce.model.address import NEVER, Address, Instant
from l2announce.model.claim import Claim
from l2announce.model.link import Device
from l2announce.model.objects import ClusterState, NamespacedName, ObjectProblem


class Picture:
    """The objects and interfaces as last seen, and what this node may announce of them."""

    def __init__(self, node_name: str, style: LeaseNameStyle, patterns: Sequence[str]) -> None:
        """``patterns`` are the expressions of --devices; ValueError when one does not compile."""
        self._node_name = node_name
        self._style: LeaseNameStyle = style
        self._patterns = tuple(patterns)
        self._state: ClusterState | None = None
        self._candidates: Candidates = candidate_devices((), self._patterns)
        self._guard = GuardList()
        self._announcements: dict[str, tuple[Announcement, ...]] = {}
        self._places: dict[str, Places] = {}
        self._places_with: frozenset[str] = frozenset()
        self.has_devices = False
        self.devices: tuple[Device, ...] = ()
        self.segments = Segments()
        self.groups: dict[str, Group] = {}
        """The groups of Services that share addresses, by the name of the lease that decides over each."""
        self.selection = Selection()
        self.problems: tuple[ObjectProblem, ...] = ()
        """What is wrong with objects whatever this node's interfaces are."""

    def replace_cluster(self, state: ClusterState) -> None:
        """The objects of the cluster, whole. To be followed by ``select``."""
        self._state = state
        leases: GroupLeases = group_leases(shared_address_groups(state), self._style)
        self.groups = leases.groups
        self.problems = state.problems + clash_problems(leases) + preference_problems(state)
        self._guard = self._guard_list()

    def replace_devices(self, devices: Iterable[Device]) -> tuple[bool, bool]:
        """The interfaces of this node, whole. Tells whether the routes have changed, and whether ``select`` would select otherwise."""
        self.has_devices = True
        self.devices = tuple(devices)
        before = self.segments, self._candidates, self._guard
        self.segments = segments(self.devices)
        self._places.clear()
        self._candidates, self._guard = candidate_devices(self.devices, self._patterns), self._guard_list()
        return self.segments != before[0], (self._candidates, self._guard) != before[1:]

    def select(self, served: frozenset[NamespacedName], alone: dict[str, Group], held: Iterable[str]) -> bool:
        """Find out what this node would announce. ``served`` are the Services that it can serve, ``alone`` the leases that decide over no
        group with the Service of each. True when it is something else for one of the leases in ``held``."""
        if self._state is None:
            return False
        self.selection = select(self._state, self._node_name, self._candidates, self._guard, served)
        announcements = of_groups(self.selection.announcements, self.groups | alone)
        changed = any(announcements.get(name) != self._announcements.get(name) for name in held)
        self._announcements = announcements
        self._places.clear()
        return changed

    @property
    def is_whole(self) -> bool:
        """True when objects and interfaces have been seen once."""
        return self._state is not None and self.has_devices

    @property
    def cluster(self) -> ClusterState:
        """The objects as last seen; empty before that."""
        return self._state or ClusterState()

    def addresses_of(self, service: NamespacedName) -> tuple[Address, ...]:
        """The addresses of a Service, external IPs first, each once."""
        known = self.cluster.services.get(service)
        return tuple(dict.fromkeys((*known.external_ips, *known.load_balancer_ips))) if known else ()

    def services_with(self, address: Address) -> frozenset[NamespacedName]:
        """The Services that have an address."""
        return frozenset().union(*(group.services for group in self.groups.values() if address in group.addresses))

    def wanted(self, name: str) -> tuple[Announcement, ...]:
        """What this node announces while it holds the lease ``name``, on every interface that policies choose."""
        return self._announcements.get(name, ())

    def claims(self, name: str, with_carrier: frozenset[str], deadline: Instant = NEVER) -> tuple[Claim, ...]:
        """What this node claims until ``deadline`` while it holds the lease ``name``: of several interfaces on one segment, one answers,
        where it can one of ``with_carrier``."""
        return tuple([Claim(address, interfaces, deadline) for address, interfaces in self._places_of(name, with_carrier)])

    def _places_of(self, name: str, with_carrier: frozenset[str]) -> Places:
        """Found once for each lease until what it follows from changes: claims are made anew for every renewal."""
        if with_carrier != self._places_with:
            self._places.clear()
            self._places_with = with_carrier
        if name not in self._places:
            self._places[name] = places(self.wanted(name), lambda address, wanted: self.segments.answering(address, wanted, with_carrier))
        return self._places[name]

    def _guard_list(self) -> GuardList:
        return guard_list(self._node_name, self.devices, self.cluster.nodes.values(), self.cluster.api_servers)
