"""Why a Service does not get the addresses that it wants: one reason of a closed list, and words."""

from dataclasses import dataclass
from enum import Enum


class RefusalReason(Enum):
    """The reasons of the condition ``cilium.io/IPAMRequestSatisfied``, as Cilium has them but for the last."""

    NO_POOL = "no_pool"
    SELECTOR = "pool_selector_mismatch"
    TAKEN = "already_allocated"
    INCOMPATIBLE = "already_allocated_incompatible_service"
    OUT_OF_IPS = "out_of_ips"
    INVALID_REQUEST = "invalid_request"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is refused, and what to do about it."""

    reason: RefusalReason
    message: str


SATISFIED = None
"""In place of a Refusal: the Service has all that it wants."""
