"""Strangers who claim our addresses, with real peers: the kernel of a client that has the address, arping -A and -U."""

from ipaddress import ip_address

import pytest

from l2announce.kernel.clock import boot_time
from l2announce.model.address import BROADCAST_MAC, Address
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.report import ConflictRecord
from l2announce.wire.messages import encode_claims
from tests.netns.stand import PATIENCE, Control, ResponderUnderTest, Taps, Wire

pytestmark = pytest.mark.netns

V4, V6 = "10.99.0.200", "fd99::200"
INTERVAL = 1.0
"""The defend interval of these tests, in seconds."""


def claim(control: Control, *addresses: str, probe: bool = False, peers: frozenset[bytes] = frozenset(), wait: float = 0.3) -> None:
    """Claim on eth0 for ten minutes, and wait until it is applied."""
    control.generation += 1
    claims = tuple(Claim(ip_address(a), frozenset({"eth0"}), boot_time() + 600, probe) for a in addresses)
    control.send(encode_claims(ClaimSet(control.generation, claims, 0.0, peers, INTERVAL, wait)))
    control.wait(lambda report: report.generation == control.generation, "the claims to be applied")


def conflicts(control: Control) -> dict[Address, ConflictRecord]:
    """The newest record of each address."""
    control.read()
    return {record.address: record for report in control.reports for record in report.conflicts}


def told(control: Control, address: str, held_back: bool) -> ConflictRecord:
    """The record of a conflict, once there is one."""
    key = ip_address(address)

    def is_there(_: object) -> bool:
        record = conflicts(control).get(key)
        return record is not None and record.held_back == held_back

    control.wait(is_there, f"the conflict about {address} to be reported, held back: {held_back}")
    return conflicts(control)[key]


def announced(frames: list[bytes], mac: bytes) -> list[bytes]:
    """The RFC 5227 announcements of ``mac`` among ``frames``."""
    return [f for f in frames if f[:12] == BROADCAST_MAC + mac and f[12:14] == b"\x08\x06" and f[20:22] == b"\0\1" and f[28:32] == f[38:42]]


def test_a_stranger_who_announces_is_answered_once_in_a_defend_interval(wire: Wire, responder: ResponderUnderTest, tap: Taps) -> None:
    claim(responder.control, V4)
    ear, mac = tap(wire.client, protocol=0x0806), wire.node.mac("eth0")
    responder.control.wait(lambda report: report.announcements >= 10, "the round of announcements to end", 7.0 + PATIENCE)
    ear.listen_for(0.1)
    del ear.frames[:]
    wire.client.address("eth0", f"{V4}/32")
    for form in ("-A", "-U"):
        wire.client.run("arping", form, "-c3", "-w4", "-I", "eth0", "-s", V4, V4, check=False)
        ear.read()
    record = told(responder.control, V4, held_back=False)
    assert (record.mac, record.interface) == (wire.client.mac("eth0"), "eth0")
    assert responder.control.wait(lambda report: dict(report.verdicts).get("conflict", 0) >= 4, "several conflicts")
    ear.listen_for(0.2)
    defences = len(announced(ear.read(), mac))
    assert 1 <= defences <= 9, "one for each interval of the eight seconds at most"
    assert responder.control.reports[-1].announcements == 10 + 2 * defences


def test_another_node_of_the_cluster_is_no_conflict(wire: Wire, responder: ResponderUnderTest) -> None:
    claim(responder.control, V4, peers=frozenset({wire.client.mac("eth0")}))
    wire.client.address("eth0", f"{V4}/32")
    wire.client.run("arping", "-A", "-c1", "-w1", "-I", "eth0", "-s", V4, V4, check=False)
    responder.control.wait(lambda report: dict(report.verdicts).get("takeover", 0) > 0, "a takeover")
    assert conflicts(responder.control) == {}


@pytest.mark.parametrize("address", [V4, V6])
def test_a_probe_finds_the_stranger_and_that_it_is_gone(wire: Wire, responder: ResponderUnderTest, address: str) -> None:
    length = 128 if ":" in address else 32
    wire.client.address("eth0", f"{address}/{length}")
    wire.network.wait_ready()
    claim(responder.control, address, probe=True)
    record = told(responder.control, address, held_back=True)
    assert record.mac == wire.client.mac("eth0")
    assert responder.control.reports[-1].announcements == 0, "never announced"
    wire.client.ip(f"address del {address}/{length} dev eth0")
    responder.control.wait(lambda report: report.announcements > 0, "the address to be announced once the stranger is gone")
    assert not told(responder.control, address, held_back=False).held_back


@pytest.mark.parametrize("address", [V4, V6])
def test_a_probe_that_nobody_answers_delays_the_announcement(wire: Wire, responder: ResponderUnderTest, tap: Taps, address: str) -> None:
    ear, mac = tap(wire.client), wire.node.mac("eth0")
    claim(responder.control, address, probe=True)
    responder.control.wait(lambda report: report.announcements > 0, "the address to be announced")
    packed, version6 = ip_address(address).packed, ":" in address

    def about(frame: bytes) -> bool:
        return frame[6:12] == mac and (frame[62:78] == packed if version6 else frame[38:42] == packed)

    seen = ear.watch(lambda frames: len([frame for frame in frames if about(frame)]) >= 3, "two probes and an announcement")
    kinds = [frame[54] == 135 if version6 else frame[28:32] == bytes(4) for frame in seen if about(frame)]
    assert kinds[:3] == [True, True, False], "two probes, then the first announcement"
    assert conflicts(responder.control) == {}
