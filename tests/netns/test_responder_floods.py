"""A hostile host on the segment, and an honest client that must be answered all the same."""

import os
import statistics
import sys
import time
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from netlab.flood import KINDS
from netlab.frames import Kind, ask, parse
from netlab.waiting import wait_until

from l2announce.kernel.clock import boot_time
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.timing import ANSWER_LIMIT, HEARTBEAT
from l2announce.wire.messages import encode_claims
from tests.netns.stand import PATIENCE, Control, ResponderUnderTest, Taps, Wire

pytestmark = pytest.mark.netns

VIPS = ("10.99.0.200", "10.99.0.201", "fd99::200", "fd99::201")
SECONDS = 2.0
RATE = 60_000
"""Frames a second that the hostile host tries to send: three times what a link answers."""
TRIES = 3
"""A kernel asks so often before it gives up (mcast_solicit, ucast_solicit)."""


def memory(process: int) -> int:
    """What a process holds of memory of its own, in KiB."""
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))


def claim(control: Control, limit: int) -> None:
    control.generation += 1
    claims = tuple(Claim(ip_address(vip), frozenset({"eth0"}), boot_time() + 600) for vip in VIPS)
    control.send(encode_claims(ClaimSet(control.generation, claims, answer_limit=limit)))
    control.wait(lambda report: report.generation == control.generation, "the claims to be applied")


@pytest.fixture
def hostile(wire: Wire) -> Wire:
    """The wire with a third host on it."""
    host = wire.network.namespace("hostile")
    wire.network.attach(wire.switch, "br0", host)
    host.address("eth0", "10.99.0.66/24", "fd99::66/64")
    wire.network.wait_ready()
    return wire


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_client_is_answered(hostile: Wire, responder: ResponderUnderTest, tap: Taps, kind: str) -> None:
    control = responder.control
    claim(control, ANSWER_LIMIT)
    ear = tap(hostile.client)
    questions = [ask(ip_address(vip), IPv4Address("10.99.0.1") if "." in vip else IPv6Address("fd99::1"), ear.mac) for vip in VIPS]

    def seconds_to_answer(number: int) -> float:
        """Ask as a kernel does, but every tenth of a second; the time from the first question to the answer."""
        wanted = ip_address(VIPS[number % len(VIPS)])
        began, before, asked = time.monotonic(), len(ear.read()), 0

        def answered() -> bool:
            nonlocal asked
            if time.monotonic() >= began + asked * 0.1 and asked < TRIES * 10:
                ear.send(questions[number % len(VIPS)])
                asked += 1
            seen = map(parse, ear.read()[before:])
            return any(found and found.kind is Kind.ANSWER and found.address == wanted for found in seen)

        wait_until(answered, PATIENCE, f"an answer for {wanted} amid {kind}", interval=0.001)
        return time.monotonic() - began

    seconds_to_answer(0)
    memory_before, reports_before, began = memory(responder.process.pid), len(control.reports), time.monotonic()
    attack = hostile.network["hostile"].popen(
        *(sys.executable, "-m", "netlab.flood", "eth0", kind, str(SECONDS), str(RATE), *VIPS),
        stdout=-1,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "netns-lab")},
    )
    times: list[float] = []
    while attack.poll() is None:
        times.append(seconds_to_answer(len(times)))
        time.sleep(0.01)
    sent = int(attack.communicate()[0])
    control.read()
    assert attack.returncode == 0
    assert sent > SECONDS * 5000, "no flood"
    print(
        f"\n{kind}: {sent / SECONDS:.0f}/s, {len(times)} asked, median {statistics.median(times) * 1000:.1f} ms, "
        f"max {max(times) * 1000:.0f} ms"
    )
    assert max(times) < 1.0, "longer than a kernel waits before it asks again"
    assert memory(responder.process.pid) < memory_before + 1024
    assert len(control.reports) - reports_before <= (time.monotonic() - began) / HEARTBEAT + 2, "control is woken by the flood"
    if kind in {"same", "spoofed"}:
        control.wait(lambda report: dict(report.verdicts).get("rate_limited", 0) > 0, "the limit to be counted")
        answered = control.verdict("answered")
        assert answered <= ANSWER_LIMIT * (time.monotonic() - began + 0.1)
