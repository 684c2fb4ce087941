"""Leases with the moment when their present version was first seen."""

import pytest

from l2announce.control import observed
from l2announce.control.election import LeaseElector
from l2announce.control.observed import FORGET, ObservedLeases
from l2announce.control.states import State
from l2announce.model.lease import INTERFACES_ANNOTATION, Lease
from l2announce.model.timing import Timing

LEASE = Lease("a", "n2", 15.0, "1")


def test_ready_after_the_first_list() -> None:
    leases = ObservedLeases()
    leases.lease_observed("a", None, 0.0)
    assert not leases.is_ready
    assert leases.list_received([LEASE], 1.0) == {"a": LEASE}
    assert leases.is_ready
    assert leases.present("a") == LEASE
    assert leases.present("b") is None


def test_a_repeated_version_does_not_lengthen_anything() -> None:
    leases = ObservedLeases()
    leases.list_received([LEASE], 1.0)
    leases.list_received([LEASE], 5.0)
    assert leases.foreign_until("a", "n1") == 16.0
    leases.lease_observed("a", Lease("a", "n2", 15.0, "2"), 6.0)
    assert leases.foreign_until("a", "n1") == 21.0


def test_who_is_foreign() -> None:
    leases = ObservedLeases()
    leases.list_received([LEASE, Lease("free", "", 1.0, "1")], 1.0)
    assert leases.foreign_until("a", "n2") is None
    assert leases.foreign_until("free", "n1") is None
    assert leases.foreign_until("unknown", "n1") is None


def test_a_lease_that_vanished_counts_from_its_disappearance() -> None:
    leases = ObservedLeases()
    leases.list_received([LEASE], 1.0)
    leases.list_received([], 5.0)
    leases.lease_observed("a", None, 9.0)
    assert leases.present("a") is None
    assert leases.foreign_until("a", "n1") == 20.0
    leases.lease_observed("a", LEASE, 30.0)
    assert leases.foreign_until("a", "n1") == 45.0


def test_replay_gives_an_elector_the_past() -> None:
    leases = ObservedLeases()
    leases.list_received([LEASE], 1.0)
    elector = LeaseElector("a", "n1", Timing())
    leases.replay(elector, 10.0)
    assert elector.expires_at == 16.0
    leases.lease_observed("a", None, 5.0)
    late = LeaseElector("a", "n1", Timing())
    leases.replay(late, 10.0)
    assert late.expires_at == 20.0
    new = LeaseElector("b", "n1", Timing())
    leases.replay(new, 10.0)
    new.set_eligible(True, 10.0)
    assert new.state is State.ACQUIRING


def test_the_holder_is_who_has_not_let_it_run_out() -> None:
    leases = ObservedLeases()
    leases.list_received([LEASE, Lease("free", "", 1.0, "1")], 1.0)
    assert leases.holder("a", 15.9) == "n2"
    assert leases.holder("a", 16.0) is None
    assert leases.holder("free", 1.5) is None
    assert leases.holder("unknown", 1.5) is None
    leases.list_received([], 2.0)
    assert leases.holder("a", 2.0) is None


def test_the_macs_of_holders_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(pairs: str) -> Lease:
        return Lease("a", "n1", 15.0, pairs, annotations={INTERFACES_ANNOTATION: pairs})

    leases = ObservedLeases()
    leases.lease_observed("a", noted("eth0=02:00:00:00:00:01,eth1=02:00:00:00:00:02"), 0.0)
    leases.lease_observed("a", noted("eth0=rubbish,,eth1=02:00:00:00:00:01"), 1.0)
    leases.lease_observed("a", None, 2.0)
    assert leases.macs == {b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"}
    assert leases.knows("a")
    assert not leases.knows("b")
    monkeypatch.setattr(observed, "MAX_MACS", 2)
    leases.lease_observed("a", noted("eth0=02:00:00:00:00:03"), 3.0)
    assert len(leases.macs) == 2


def test_what_vanished_long_ago_is_forgotten() -> None:
    leases = ObservedLeases()
    leases.list_received([LEASE, Lease("back", "n2", 15.0, "1"), Lease("long", "n2", 2 * FORGET, "1")], 0.0)
    for name in ("a", "back", "long"):
        leases.lease_observed(name, None, 1.0)
    leases.lease_observed("back", Lease("back", "n2", 15.0, "2"), 2.0)
    leases.lease_observed("b", Lease("b", "n2", 15.0, "1"), 1.0 + FORGET)
    leases.lease_observed("b", None, 1.0 + FORGET)
    assert [leases.knows(name) for name in ("a", "back", "long", "b")] == [False, True, True, True]
    assert [leases.was_held(name) for name in ("a", "back", "long", "b")] == [False, True, True, True]
