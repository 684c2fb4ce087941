"""report.json: which runs pass and which do not, from hand-made logs and captures."""

from dataclasses import replace
from ipaddress import ip_address

import msgspec
import pytest
from netlab.analysis import NANO, Seen
from netlab.feed import AddressLog, CaptureResult, ProbeLog
from netlab.frames import Kind, Resolution
from netlab.report import Run, make_report, make_timeline, milliseconds
from netlab.scenarios import Played
from netlab.services import ServiceAddress
from netlab.timeline import Event, render
from netlab.topology import load_topology

START = 1_800_000_000 * NANO
TICK = NANO // 100
WEB = ServiceAddress("default/web", ip_address("10.99.0.10"))
ADDRESS = str(WEB.address)
N1, N2 = b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x02"
ASKER = ip_address("10.99.0.192")


def made_run(silence: float = 2.0, double_at: float | None = None) -> Run:
    """Ten seconds: n1 serves until 3 s, then silence, then n2. One asker asks every 10 ms."""
    asks = [START + number * TICK for number in range(1000)]
    back = 3.0 + silence
    owners = {number: N1 if number < 300 else N2 for number in range(1000) if not 300 <= number < back * 100}
    seen = []
    for number, time in enumerate(asks):
        seen.append(Seen(time, Resolution(Kind.ASK, WEB.address, b"\x02\xa5" + bytes(4), ASKER)))
        if number in owners:
            seen.append(Seen(time + 1000, Resolution(Kind.ANSWER, WEB.address, owners[number], ASKER)))
            if double_at is not None and number == int(double_at * 100):
                seen.append(Seen(time + 2000, Resolution(Kind.ANSWER, WEB.address, N1 if owners[number] == N2 else N2, ASKER)))
    replies = [(asks[number] + 5000, number) for number in owners]
    answers = [(asks[number] + 1000, number, mac.hex(":")) for number, mac in owners.items()]
    return Run(
        start=START,
        end=START + 10 * NANO,
        services=(WEB,),
        nodes={N1: "n1", N2: "n2"},
        timings=load_topology().agents,
        log=ProbeLog(0.01, {ADDRESS: AddressLog(asks, answers, asks, replies)}),
        holders={WEB.lease: [(START - NANO, "n1"), (START + int(back * NANO), "n2")]},
        capture=CaptureResult(len(seen), 0),
        seen={ADDRESS: seen},
        echoes={ADDRESS: dict(owners)},
        played=(Played("crash", "Crash", "n1", 3.3, START + 3 * NANO, START + 8 * NANO, (WEB,), ("n2",)),),
        events=((START + 3 * NANO, Event(0.0, "n1: SIGKILL")),),
    )


def test_a_run_within_its_bounds_passes() -> None:
    report = make_report(made_run())
    assert report.passed
    (blackout,) = report.scenarios[0].blackouts
    assert blackout.asks == pytest.approx(2.01, abs=0.011)
    assert blackout.traffic == pytest.approx(2.01, abs=0.011)
    assert (blackout.lost, blackout.heir, blackout.bound) == (True, "n2", 3.3)
    assert [(owned.node, owned.start, owned.end) for owned in report.ownership[ADDRESS]] == [("n1", 0.0, 5.0), ("n2", 5.0, 10.0)]


def test_a_missed_bound_fails_the_run() -> None:
    report = make_report(made_run(silence=3.5))
    assert not report.scenarios[0].blackouts[0].passed
    assert not report.scenarios[0].passed
    assert not report.passed


def test_an_orderly_change_has_the_small_bound() -> None:
    """An address that the node did not hold must not go silent because of it."""
    run = made_run()
    others = msgspec.structs.replace(run, played=(replace(run.played[0], lost=(), heirs=()),))
    blackout = make_report(others).scenarios[0].blackouts[0]
    assert (blackout.lost, blackout.bound, blackout.passed) == (False, 1.0, False)


def test_a_doubled_answer_fails_the_run() -> None:
    report = make_report(made_run(double_at=7.0))
    (proof,) = report.proof
    assert (proof.doubles, proof.interleavings, proof.strangers) == (1, 2, 1)  # n1 begins again, then n2 does
    assert not proof.passed
    assert not report.passed


def test_lost_frames_fail_the_run() -> None:
    """A capture with holes proves nothing."""
    assert not make_report(msgspec.structs.replace(made_run(), capture=CaptureResult(1000, 1))).passed


def test_a_run_without_scenarios_proves_nothing() -> None:
    assert not make_report(msgspec.structs.replace(made_run(), played=())).passed


def test_a_report_is_json_and_a_picture() -> None:
    run = made_run()
    report = make_report(run)
    assert msgspec.json.decode(msgspec.json.encode(report))["scenarios"][0]["key"] == "crash"
    timeline = make_timeline(run, report)
    lost = sum(cell.lost for cell in timeline.lanes[0].asks)
    assert lost == 200
    assert sum(cell.answered for cell in timeline.lanes[0].asks) == 800
    assert "Crash" in render(timeline)


@pytest.mark.parametrize(("seconds", "said"), [(0.0123, "12 ms"), (0.9994, "999 ms"), (2.706, "2.71 s")])
def test_durations_for_people(seconds: float, said: str) -> None:
    assert milliseconds(seconds) == said
