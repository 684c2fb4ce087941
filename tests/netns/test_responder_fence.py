"""The responder process and its control: the fence on a real clock, withdrawal, orphans, adoption, broken messages."""

import signal
import time
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from netlab.frames import ask
from netlab.namespaces import stop_processes
from netlab.waiting import wait_until

from l2announce.kernel.channel import Channel, PeerGone, connect
from l2announce.kernel.clock import boot_time
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.report import Report
from l2announce.wire.messages import VERSION, encode_claims
from tests.netns.stand import PATIENCE, ResponderUnderTest, Starter, Tap, Taps, Wire, is_answer

pytestmark = pytest.mark.netns

V4, V6 = "10.99.0.200", "fd99::200"
QUIET = 0.3
"""Seconds of listening to show that nothing comes."""


def request(ear: Tap, address: str = V4) -> bytes:
    """A request of the client for an address."""
    target = IPv6Address(address) if ":" in address else IPv4Address(address)
    return ask(target, IPv6Address("fd99::1") if ":" in address else IPv4Address("10.99.0.1"), ear.mac)


def answers(ear: Tap) -> list[tuple[float, bytes]]:
    """Answers so far, with the time at which they were seen."""
    ear.read()
    return [(seen, frame) for seen, frame in ear.frames if is_answer(frame, ear.mac)]


def answered(ear: Tap, address: str) -> None:
    """Ask until answered."""
    before = len(answers(ear))

    def look() -> bool:
        ear.send(request(ear, address))
        return len(answers(ear)) > before

    wait_until(look, PATIENCE, f"{address} to be answered", interval=0.05)


def silent(ear: Tap, *addresses: str) -> None:
    """Ask each address, and see that no answer comes."""
    ear.listen_for(0.05)
    before = len(answers(ear))
    for address in addresses:
        ear.send(request(ear, address))
    ear.listen_for(QUIET)
    assert len(answers(ear)) == before


def test_silence_after_the_deadline(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    ear = tap(wire.client)
    deadline = responder.control.claim(V4, V6, seconds=1.5)
    answered(ear, V4)
    answered(ear, V6)
    while boot_time() < deadline + QUIET:
        ear.send(request(ear, V4))
        ear.send(request(ear, V6))
        ear.listen_for(0.01)
    margin = 0.05  # from the reply being sent to its being seen here
    assert all(seen < deadline + margin for seen, _ in answers(ear))
    silent(ear, V4, V6)
    assert responder.process.poll() is None
    responder.control.wait(lambda report: dict(report.verdicts).get("expired", 0) > 0, "expired verdicts")


def test_renewed_claim_is_answered_on(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    ear = tap(wire.client)
    first = responder.control.claim(V4, seconds=1.0)
    responder.control.claim(V4, seconds=30.0)
    wait_until(lambda: boot_time() > first, PATIENCE, "the first deadline to pass")
    answered(ear, V4)


def test_stopped_process_sends_nothing_stale(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """Requests that queued up while it was frozen are not answered after the deadline."""
    ear = tap(wire.client)
    deadline = responder.control.claim(V4, V6, seconds=1.5)
    answered(ear, V4)
    answered(ear, V6)
    ear.listen_for(0.1)
    responder.process.send_signal(signal.SIGSTOP)
    ear.listen_for(0.1)
    before = len(answers(ear))
    for _ in range(100):
        ear.send(request(ear, V4))
        ear.send(request(ear, V6))
    wait_until(lambda: boot_time() > deadline, PATIENCE, "the deadline to pass")
    responder.process.send_signal(signal.SIGCONT)
    responder.control.wait(lambda report: dict(report.verdicts).get("expired", 0) >= 200, "the queued requests to be judged")
    ear.listen_for(QUIET)
    assert len(answers(ear)) == before
    announced = [seen for seen, frame in ear.frames if is_about(frame, V4) and seen > deadline]
    assert announced == []


def is_about(frame: bytes, address: str) -> bool:
    """An ARP frame whose sender address is ``address``."""
    return frame[12:14] == b"\x08\x06" and frame[28:32] == IPv4Address(address).packed


def test_withdrawal_silences_at_once(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    ear = tap(wire.client)
    responder.control.claim(V4, V6)
    answered(ear, V4)
    answered(ear, V6)
    responder.control.claim(V6)
    silent(ear, V4)
    answered(ear, V6)
    responder.control.claim()
    silent(ear, V4, V6)


def test_orphan_answers_until_the_deadline_then_ends(wire: Wire, start_responder: Starter, tap: Taps) -> None:
    responder = start_responder(wire.node, "--exit-when-orphaned")
    ear = tap(wire.client)
    deadline = responder.control.claim(V4, seconds=1.5)
    responder.control.channel.close()
    answered(ear, V4)
    assert responder.process.wait(timeout=PATIENCE) == 0
    assert boot_time() >= deadline
    assert not responder.path.exists()
    assert "end of file; its claims hold until their deadlines" in responder.log()


def test_orderly_stop_is_not_worth_a_word(wire: Wire, start_responder: Starter) -> None:
    responder = start_responder(wire.node, "--exit-when-orphaned")
    responder.control.claim(V4)
    responder.control.claim()
    responder.control.channel.close()
    assert responder.process.wait(timeout=PATIENCE) == 0
    assert responder.log() == ""


def test_sigterm_ends_it_in_order(wire: Wire, responder: ResponderUnderTest) -> None:
    responder.control.claim(V4)
    responder.process.terminate()
    assert responder.process.wait(timeout=PATIENCE) == 0
    assert not responder.path.exists()
    assert responder.log() == ""


def test_second_control_adopts(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """Control goes, another comes with a generation of its own: no answer is missed, and its word counts."""
    ear = tap(wire.client)
    responder.control.claim(V4)
    responder.control.channel.close()
    answered(ear, V4)
    responder.control = responder.connect()
    assert responder.control.reports[-1].generation == 1
    answered(ear, V4)
    responder.control.claim(V6)
    answered(ear, V6)
    silent(ear, V4)


def test_newest_control_counts(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """A second control comes while the first one still talks: both events may wait in one wake-up."""
    ear = tap(wire.client)
    responder.process.send_signal(signal.SIGSTOP)
    second = connect(responder.path)
    assert second is not None
    old = ClaimSet(9, (Claim(IPv4Address(V4), frozenset({"eth0"}), boot_time() + 60),))
    responder.control.send(encode_claims(old))
    responder.process.send_signal(signal.SIGCONT)
    responder.control.channel, first = second, responder.control.channel
    responder.control.reports.clear()
    responder.control.claim(V6)
    answered(ear, V6)
    silent(ear, V4)
    first.close()


def test_second_responder_on_one_path_is_refused_and_disturbs_nobody(wire: Wire, responder: ResponderUnderTest) -> None:
    responder.control.claim(V4)
    other = wire.node.run(*responder.command, check=False)
    assert other.returncode == 1
    assert other.stderr.strip() == (f"l2announce responder: another process listens at {responder.path}: stop it or choose another path")
    responder.control.claim(V6)


def test_many_claims_are_applied(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """10,000 addresses: a message of many parts, a filter that no longer tells them apart exactly, thousands of groups."""
    ear = tap(wire.client)
    addresses = [str(IPv4Address("10.128.0.0") + n) for n in range(5000)] + [str(IPv6Address("fd98::1:0") + n) for n in range(5000)]
    started = time.monotonic()
    responder.control.claim(*addresses)
    assert time.monotonic() - started < PATIENCE
    for address in (addresses[0], addresses[4999], addresses[5000], addresses[9999]):
        answered(ear, address)
    silent(ear, "10.129.0.1", "fd98::2:1")
    assert responder.control.reports[-1].problems == ()
    responder.control.claim()
    silent(ear, addresses[0], addresses[9999])


STRANGE = Claim(IPv4Address("10.99.0.201"), frozenset({"eth0"}), 1e12)
BROKEN = {
    "datagram of 1 octets: shorter than its header": b"x",
    "not a message of l2announce": b"GET / HTTP/1.1\r\n\r\n",
    "ends within a field": encode_claims(ClaimSet(7, (STRANGE,)))[0][:-1],
    "deadline that is not a number": encode_claims(ClaimSet(7, (replace(STRANGE, deadline=float("nan")),)))[0],
    f"message version 9, but this program speaks {VERSION}": b"l2an\x09" + bytes(20),
}


def test_broken_message_costs_the_channel_alone(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    """Each is logged in one line and ends its connection; what was claimed is answered on, and the next control is heard."""
    ear = tap(wire.client)
    responder.control.claim(V4)
    for number, (words, datagram) in enumerate(BROKEN.items(), start=1):
        responder.control.send([datagram])
        wait_until(partial(is_closed, responder.control.channel), PATIENCE, "the channel to be closed")
        responder.control.channel.close()
        lines = responder.log().splitlines()
        assert len(lines) == number
        assert words in lines[-1]
        answered(ear, V4)
        responder.control = responder.connect()
    silent(ear, "10.99.0.201")
    responder.control.claim(V6)
    answered(ear, V6)


def is_closed(channel: Channel) -> bool:
    """Whether the other side has closed."""
    try:
        list(channel.receive(Report))
    except PeerGone:
        return True
    return False


def test_killed_responder_leaves_a_path_that_the_next_one_takes(wire: Wire, start_responder: Starter, tmp_path: Path) -> None:
    first = start_responder(wire.node)
    first.process.kill()
    first.process.wait(timeout=PATIENCE)
    assert first.path.exists()
    again = wire.node.popen(*first.command)
    wait_until(lambda: connect(first.path), PATIENCE, "the next responder to listen")
    stop_processes([again])
    assert again.returncode == 0


def test_no_capability_is_left(wire: Wire, responder: ResponderUnderTest) -> None:
    status = dict(line.split(":\t") for line in Path(f"/proc/{responder.process.pid}/status").read_text().splitlines() if ":\t" in line)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Threads"] == "1"


def test_responder_without_the_right_says_so(responder: ResponderUnderTest, wire: Wire, tmp_path: Path) -> None:
    command = (responder.command[0], *responder.command[1:4], str(tmp_path / "other.sock"))
    refused = wire.node.run("setpriv", "--bounding-set=-net_raw", *command, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("l2announce responder: cannot open a packet socket: needs CAP_NET_RAW")
    assert refused.stderr.count("\n") == 1
