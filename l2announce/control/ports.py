"""The protocols that adapters fulfil, so that the decisions know neither Kubernetes nor files."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from l2announce.model.conditions import Condition
from l2announce.model.events import ServiceEvent
from l2announce.model.lease import Lease, LeaseWrite, WriteOutcome
from l2announce.model.objects import ClusterState


@dataclass(frozen=True, slots=True)
class LeaseObserved:
    """A lease of our namespace changed: ``lease`` is its present value, None when it was deleted."""

    name: str
    lease: Lease | None


@dataclass(frozen=True, slots=True)
class LeasesListed:
    """All leases of our namespace at one moment: the first event of every watch, and again after a gap in it."""

    leases: tuple[Lease, ...]


class Cluster(Protocol):
    """The objects that users write."""

    def states(self) -> AsyncIterator[ClusterState]:
        """The whole state, once complete, then again after every change (coalesced). Never ends; recovers by itself from losses."""
        ...

    async def write_policy_status(self, wanted: Mapping[str, Sequence[Condition]]) -> bool:
        """Have each policy that is named say so in its status, without a write where it does. False when that failed for one, which was
        logged and may be tried again."""
        ...

    async def publish(self, event: ServiceEvent) -> bool:
        """Show an Event where those look who look at the Service. False when that failed, which was logged."""
        ...


class LeaseStore(Protocol):
    """Leases with compare-and-swap on resourceVersion."""

    @property
    def trouble(self) -> str:
        """Why the store cannot be reached at present, one sentence; "" when it can, as far as was tried."""
        ...

    def watch(self) -> AsyncIterator[LeasesListed | LeaseObserved]:
        """LeasesListed first, then every change, in order for each lease. Never ends; recovers by itself from losses."""
        ...

    async def write(self, write: LeaseWrite) -> WriteOutcome:
        """Try one write, once. Returns within the store's own time limit; never raises for what the store may answer."""
        ...

    async def delete(self, name: str) -> WriteOutcome:
        """Delete a lease, whoever holds it. Written when it was there, Conflict when there is none."""
        ...


class Clock(Protocol):
    """The boot clock."""

    def now(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        ...
