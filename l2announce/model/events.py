"""What is told about a Service to those who look at it: the content of a core/v1 Event."""

from dataclasses import dataclass
from enum import Enum

from l2announce.model.objects import NamespacedName


class EventReason(Enum):
    """Why there is an Event; a closed list."""

    ANNOUNCED = "Announced"
    """A node has begun to answer for the Service's addresses."""
    CONFLICT = "Conflict"
    """Another host on the link claims an address of the Service."""
    ADDRESS_REFUSED = "AddressRefused"
    """The Service does not get an address that it wants from any pool: the message has why."""
    NOT_ANNOUNCED = "NotAnnounced"
    """Policies choose the Service, and no node announces it: the message has each node's reason."""


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """One Event on a Service. ``uid`` is the Service's."""

    service: NamespacedName
    uid: str
    reason: EventReason
    message: str

    @property
    def is_warning(self) -> bool:
        """Type Warning, else Normal."""
        return self.reason is not EventReason.ANNOUNCED
