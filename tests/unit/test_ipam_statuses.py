"""What LB-IPAM writes into statuses, and when it writes nothing."""

from dataclasses import replace
from ipaddress import ip_address

from l2announce.ipam.allocator import Decision, Usage
from l2announce.ipam.pools import CheckedPool
from l2announce.ipam.refusals import Refusal, RefusalReason
from l2announce.ipam.statuses import CONFLICT, INVALID, ServiceStatus, merged, pool_conditions, service_status, waits
from l2announce.model.conditions import Condition
from l2announce.model.objects import NamespacedName
from l2announce.model.pools import AddressPool, BalancedService
from l2announce.wire.given import SATISFIED

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
OTHER = Condition("example.com/Other", "True", "Fine", "", 0, THEN)
A = ip_address("10.0.0.1")
GIVEN = Decision((A,))
NONE_LEFT = Decision((), Refusal(RefusalReason.OUT_OF_IPS, "none left"))
BARE = BalancedService(NamespacedName("default", "web"), generation=4, conditions=(OTHER,))


def written(service: BalancedService, status: ServiceStatus) -> BalancedService:
    """The Service with this status."""
    ours = next((one for one in status.conditions if one.type == SATISFIED), None)
    return replace(service, ingress=status.addresses, conditions=status.conditions, condition=ours, strays=False)


def test_an_address_is_written_once_beside_the_conditions_of_others() -> None:
    status = service_status(BARE, GIVEN, NOW)
    assert status == ServiceStatus((A,), (OTHER, Condition(SATISFIED, "True", "satisfied", "", 4, NOW)))
    assert service_status(written(BARE, status), GIVEN, "later") is None


def test_a_refusal_and_its_end_have_their_times() -> None:
    refused = service_status(BARE, NONE_LEFT, THEN)
    assert refused is not None
    service = written(BARE, refused)
    assert service.condition == Condition(SATISFIED, "False", "out_of_ips", "none left", 4, THEN)
    assert service_status(service, NONE_LEFT, NOW) is None
    other = service_status(service, Decision((), Refusal(RefusalReason.NO_POOL, "no pool")), NOW)
    assert other is not None
    assert other.conditions[-1] == Condition(SATISFIED, "False", "no_pool", "no pool", 4, THEN), "the same status since then"
    lifted = service_status(service, GIVEN, NOW)
    assert lifted is not None
    assert lifted.conditions[-1].last_transition_time == NOW


def test_hostnames_and_other_addresses_are_taken_off() -> None:
    status = service_status(BARE, GIVEN, NOW)
    assert status is not None
    service = written(BARE, status)
    for changed in (replace(service, strays=True), replace(service, ingress=(A, ip_address("10.0.0.2"))), replace(service, ingress=())):
        assert service_status(changed, GIVEN, NOW) == ServiceStatus((A,), (OTHER, replace(status.conditions[-1])))


def test_an_address_that_has_to_go_goes_before_another_comes() -> None:
    old, six = ip_address("10.0.0.9"), ip_address("fd00::1")
    service = replace(BARE, ingress=(old, six))
    first = service_status(service, Decision((A, six)), NOW)
    assert first == ServiceStatus((six,), (OTHER, Condition(SATISFIED, "Unknown", "waiting", "", 4, NOW)))
    second = service_status(written(service, first), Decision((A, six)), NOW)
    assert second == ServiceStatus((A, six), (OTHER, Condition(SATISFIED, "True", "satisfied", "", 4, NOW)))
    assert service_status(replace(BARE, strays=True), GIVEN, NOW) == ServiceStatus((), first.conditions)


def test_what_was_ours_is_cleared_and_what_never_was_is_left_alone() -> None:
    assert service_status(replace(BARE, ingress=(A,)), None, NOW) is None
    status = service_status(BARE, GIVEN, NOW)
    assert status is not None
    assert service_status(written(BARE, status), None, NOW) == ServiceStatus((), (OTHER,))


def test_waiting_is_another_version_of_the_same() -> None:
    assert waits(BARE, NOW) == (OTHER, Condition(SATISFIED, "Unknown", "waiting", "", 4, NOW))
    refused = service_status(BARE, NONE_LEFT, THEN)
    assert refused is not None
    service = written(BARE, refused)
    assert waits(service, NOW) == (OTHER, replace(refused.conditions[-1], last_transition_time=NOW))
    assert service_status(replace(service, conditions=waits(service, NOW)), NONE_LEFT, "later") is None


def test_waiting_twice_in_a_second_is_still_another_version() -> None:
    """An API server makes no version of a write that changes nothing."""
    now = "2026-01-01T00:00:59Z"
    once = replace(BARE, conditions=waits(BARE, now), condition=waits(BARE, now)[-1])
    assert waits(once, now)[-1] == replace(once.conditions[-1], last_transition_time="2026-01-01T00:01:00Z")


def test_the_conditions_of_a_pool() -> None:
    pool = AddressPool("a", generation=2)
    wanted = pool_conditions(CheckedPool(pool, ()), Usage(4, 1))
    assert [(one.type, one.status, one.reason, one.message) for one in wanted] == [
        ("cilium.io/PoolConflict", "False", "resolved", ""),
        ("cilium.io/IPsTotal", "Unknown", "noreason", "4"),
        ("cilium.io/IPsAvailable", "Unknown", "noreason", "3"),
        ("cilium.io/IPsUsed", "Unknown", "noreason", "1"),
    ]
    first = merged((OTHER,), wanted, THEN)
    assert first is not None
    assert {one.last_transition_time for one in first} == {THEN}
    assert OTHER not in first, "it is applied: what others own stays by itself"
    assert merged((OTHER, *first), wanted, NOW) is None
    bad = pool_conditions(CheckedPool(pool, (), ("one", "two"), conflict="overlaps"), Usage(4, 1))
    second = merged(first, bad, NOW)
    assert second is not None
    assert {one.type: (one.status, one.message, one.last_transition_time) for one in second} == {
        CONFLICT: ("True", "overlaps", NOW),
        INVALID: ("True", "one; two", NOW),
        **{one.type: (one.status, one.message, THEN) for one in first[:3]},
    }
    third = merged(second, wanted, NOW)
    assert third is not None
    assert next(one for one in third if one.type == INVALID) == Condition(INVALID, "False", "Valid", "", 2, NOW)
    assert merged(third, wanted, "later") is None
