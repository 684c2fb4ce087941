"""The gate: open while the responder reports, and obeys, in time."""

from dataclasses import replace

from l2announce.control.gate import Gate
from l2announce.model.address import NEVER
from l2announce.model.link import Link
from l2announce.model.report import Report
from l2announce.model.timing import GATE_TIMEOUT

LINK = Link(1, "eth0", b"\2\0\0\0\0\1")


def test_closed_before_the_first_report() -> None:
    gate = Gate()
    assert gate.closes_at() == NEVER
    assert not gate.is_open(0.0)
    assert gate.applied == -1
    assert gate.links_with_carrier() == frozenset()


def test_silence_closes_it_strictly_at_its_timeout() -> None:
    gate = Gate()
    gate.report_received(Report(-1, 10.0))
    assert gate.is_open(10.0 + GATE_TIMEOUT - 0.001)
    assert not gate.is_open(10.0 + GATE_TIMEOUT)


def test_a_report_that_waited_proves_nothing() -> None:
    gate = Gate()
    gate.report_received(Report(-1, 10.0))
    assert not gate.is_open(20.0)


def test_disobedience_closes_it_although_reports_come() -> None:
    gate = Gate()
    gate.report_received(Report(-1, 10.0))
    gate.claims_sent(1, 10.5)
    gate.claims_sent(2, 11.5)
    gate.report_received(Report(0, 12.0))
    assert gate.closes_at() == 10.5 + GATE_TIMEOUT
    gate.report_received(Report(1, 12.1))
    assert gate.closes_at() == 11.5 + GATE_TIMEOUT
    gate.report_received(Report(2, 12.2))
    assert gate.closes_at() == 12.2 + GATE_TIMEOUT
    assert gate.applied == 2


def test_a_lost_channel_closes_it_until_the_next_report() -> None:
    gate = Gate()
    gate.report_received(Report(3, 10.0, (LINK, replace(LINK, index=2, name="eth1", carrier=False))))
    assert gate.links_with_carrier() == {"eth0"}
    gate.lost()
    assert not gate.is_open(10.0)
    assert gate.links_with_carrier() == frozenset()
    gate.report_received(Report(3, 10.5))
    assert gate.is_open(10.6)
