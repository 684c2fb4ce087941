"""The protocol that adapters fulfil, so that LB-IPAM knows neither Kubernetes nor files."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from l2announce.model.address import Address
from l2announce.model.conditions import Condition
from l2announce.model.events import ServiceEvent
from l2announce.model.objects import NamespacedName, ObjectProblem
from l2announce.model.pools import AddressPool, BalancedService


@dataclass(frozen=True, slots=True)
class PoolsSeen:
    """These are all pools. ``reading`` is what ``read_anew`` returned last before they were read; 0 before that."""

    pools: tuple[AddressPool, ...]
    reading: int = 0


@dataclass(frozen=True, slots=True)
class ServicesSeen:
    """These are all Services; ``reading`` as PoolsSeen."""

    services: tuple[BalancedService, ...]
    reading: int = 0


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """A Service as it is now; ``service`` None: it is gone."""

    key: NamespacedName
    service: BalancedService | None


Seen: TypeAlias = PoolsSeen | ServicesSeen | ServiceSeen


class IpamObjects(Protocol):
    """What the operator reads and writes."""

    @property
    def problems(self) -> tuple[ObjectProblem, ...]:
        """What is wrong with objects, or with reading them."""
        ...

    def changes(self) -> AsyncIterator[Seen]:
        """All pools and all Services, in either order, then what changes. Never ends; recovers by itself from losses."""
        ...

    def read_anew(self) -> int:
        """Have all pools and all Services read once more, by reads that see every write that was done before this call. The number that
        PoolsSeen and ServicesSeen will carry."""
        ...

    async def write_service(self, service: BalancedService, addresses: Sequence[Address], conditions: Sequence[Condition]) -> None:
        """Write the status of a Service as it was read. ApiError, 409 when it is another by now, 404 when it is gone."""
        ...

    async def write_pool(self, name: str, conditions: Sequence[Condition]) -> None:
        """Write the conditions of a pool; ApiError. A pool that is gone is no error."""
        ...

    async def forget_gone(self) -> None:
        """Remove what is stored of Services and pools that are gone, where nobody else does. For who leads, and has read anew since."""
        ...

    async def publish(self, event: ServiceEvent) -> bool:
        """Show an Event where those look who look at the Service. False when that failed, which was logged."""
        ...
