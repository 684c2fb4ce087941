"""The protocols that adapters fulfil, so that the decisions know neither Kubernetes nor files."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from l2announce.model.lease import Lease, LeaseWrite, WriteOutcome
from l2announce.model.objects import ClusterState, ObjectProblem


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

    async def write_policy_problems(self, problems: Sequence[ObjectProblem]) -> None:
        """Publish what is wrong with policies, whole, where their users look. Failing is not fatal."""
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
