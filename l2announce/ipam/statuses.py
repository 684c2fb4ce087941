"""What the statuses of Services and pools shall say, and whether they say so already. Times are filled in by whoever writes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from l2announce.ipam.allocator import Decision, Usage
from l2announce.ipam.pools import CheckedPool
from l2announce.model.address import Address
from l2announce.model.conditions import Condition
from l2announce.model.pools import BalancedService
from l2announce.wire.given import SATISFIED, given_message

WAITING = "waiting"
"""The reason of its Unknown: nothing is decided yet."""
CONFLICT = "cilium.io/PoolConflict"
TOTAL, AVAILABLE, USED = "cilium.io/IPsTotal", "cilium.io/IPsAvailable", "cilium.io/IPsUsed"
INVALID = "l2announce.io/InvalidPool"
"""Ours: blocks or a selector of the pool cannot be used."""
COUNTED = "noreason"
"""The reason that Cilium gives to its counters, whose status is Unknown."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The addresses, in order, and all conditions that the status of a Service shall have."""

    addresses: tuple[Address, ...]
    conditions: tuple[Condition, ...]


def service_status(service: BalancedService, decision: Decision | None, now: str) -> ServiceStatus | None:
    """What to write into the status of a Service; None when it says so already. ``decision`` None: the Service is not ours.

    What was ours and no longer is loses every address and our condition; what never was is left alone. Others' conditions stay.
    An address is only ever given to a Service whose status shows that it lacks one: what has to go goes first, by a write of its own.
    Whoever leads next can then tell from the status alone for whom a write may be on its way (ADR 22).
    """
    others = tuple(one for one in service.conditions if one.type != SATISFIED)
    if decision is None:
        return None if service.condition is None else ServiceStatus((), others)
    wanted = _satisfied(service, decision)
    known = service.condition
    if known is not None and _same(known, wanted) and service.ingress == decision.addresses and not service.strays:
        return None
    kept = tuple(address for address in service.ingress if address in decision.addresses)
    if (kept != service.ingress or service.strays) and set(decision.addresses) - set(kept):
        return ServiceStatus(kept, (*others, Condition(SATISFIED, "Unknown", WAITING, "", service.generation, now)))
    return ServiceStatus(decision.addresses, (*others, _dated(known, wanted, now)))


def waits(service: BalancedService, now: str) -> tuple[Condition, ...]:
    """The conditions of a Service, with ours as it is, or not known yet, and the time ``now``: another version of the same.

    It is never what the status says already, as an API server makes no version of that: a time of this second becomes one of the next.
    """
    others = tuple(one for one in service.conditions if one.type != SATISFIED)
    known = service.condition or Condition(SATISFIED, "Unknown", WAITING, "", service.generation)
    if known.last_transition_time == now:
        now = (datetime.fromisoformat(now) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (*others, replace(known, last_transition_time=now))


def pool_conditions(one: CheckedPool, usage: Usage) -> tuple[Condition, ...]:
    """The conditions of a pool, without times."""
    generation = one.pool.generation
    counters = ((TOTAL, usage.total), (AVAILABLE, usage.available), (USED, usage.used))
    conflict = (
        Condition(CONFLICT, "True", "cidr_overlap", one.conflict, generation)
        if one.conflict
        else Condition(CONFLICT, "False", "resolved", "", generation)
    )
    invalid = (Condition(INVALID, "True", "Invalid", "; ".join(one.problems), generation),) if one.problems else ()
    return (conflict, *(Condition(kind, "Unknown", COUNTED, str(number), generation) for kind, number in counters), *invalid)


def merged(old: Iterable[Condition], wanted: Iterable[Condition], now: str) -> tuple[Condition, ...] | None:
    """``wanted`` with times, beside the False of what was invalid; None when ``old`` says so already."""
    before = {one.type: one for one in old}
    result = {one.type: one for one in wanted}
    if INVALID in before and INVALID not in result:
        generation = max((one.observed_generation for one in result.values()), default=0)
        result[INVALID] = Condition(INVALID, "False", "Valid", "", generation)
    if all(kind in before and _same(before[kind], one) for kind, one in result.items()):
        return None
    return tuple(
        replace(
            one, last_transition_time=before[kind].last_transition_time if kind in before and before[kind].status == one.status else now
        )
        for kind, one in sorted(result.items())
    )


def _satisfied(service: BalancedService, decision: Decision) -> Condition:
    if decision.refusal is None:
        message = given_message(zip(decision.addresses, decision.pools, strict=False))
        return Condition(SATISFIED, "True", "satisfied", message, service.generation)
    return Condition(SATISFIED, "False", decision.refusal.reason.value, decision.refusal.message, service.generation)


def _dated(known: Condition | None, wanted: Condition, now: str) -> Condition:
    """With the time of its transition: that of the one there is while the status is the same."""
    stays = known is not None and known.status == wanted.status
    return replace(wanted, last_transition_time=known.last_transition_time if known is not None and stays else now)


def _same(one: Condition, other: Condition) -> bool:
    """Whether they say the same, whenever they began to."""
    return replace(one, last_transition_time="") == replace(other, last_transition_time="")
