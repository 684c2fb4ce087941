"""The golden corpus through the engine: verdicts and replies octet by octet, then scapy and tshark as judges of every reply."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from l2announce.cli.captures import Captured, read_capture, write_capture
from l2announce.cli.claims_file import read_claims
from l2announce.cli.outcomes import Judged, replay_frames, replies
from l2announce.model.link import Link
from l2announce.responder.batch import ARP_SLOT, NDP_SLOT, answer_arp, answer_ndp
from l2announce.responder.engine import Responder
from l2announce.responder.verdict import Verdict
from tests.golden.build import CASES, HERE, build_all

NAMES = [one.name for one in CASES]
PCAP_HEADER = 24


def _replay(folder: Path) -> list[Judged]:
    claims, links = read_claims(folder / "claims.yaml")
    outcomes = replay_frames(claims, links, read_capture(folder / "in.pcap"))
    judged = [one for one in outcomes if isinstance(one, Judged)]
    assert len(judged) == len(outcomes)
    return judged


def _line(number: int, one: Judged) -> str:
    return f"{number} {one.seconds:.6f} {one.interface} {one.verdict.value}"


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_gives_the_golden_verdicts_and_replies(name: str, tmp_path: Path) -> None:
    judged = _replay(HERE / name)
    golden = (HERE / name / "verdicts.txt").read_text().splitlines()
    assert [_line(number, one) for number, one in enumerate(judged, start=1)] == [line.split(" | ")[0] for line in golden]
    write_capture(tmp_path / "out.pcap", replies(judged))
    assert (tmp_path / "out.pcap").read_bytes() == (HERE / name / "out.pcap").read_bytes()
    assert [one.reply is not None for one in judged] == [one.verdict is Verdict.ANSWERED for one in judged]


@pytest.mark.parametrize("name", NAMES)
def test_scapy_agrees_with_every_reply(name: str) -> None:
    _, links = read_claims(HERE / name / "claims.yaml")
    for one in _replay(HERE / name):
        if one.reply is not None:
            link = next(link for link in links if link.name == one.interface)
            _judge_with_scapy(Ether(one.captured.frame), Ether(one.reply), one.reply, link)


def _judge_with_scapy(question: Any, reply: Any, octets: bytes, link: Link) -> None:
    mac = link.mac.hex(":")
    assert reply.src == mac
    assert Raw not in reply
    if ARP in reply:
        asked, told = question[ARP], reply[ARP]
        assert (told.op, told.hwsrc, told.psrc, told.hwdst, told.pdst) == (2, mac, asked.pdst, asked.hwsrc, asked.psrc)
        assert reply.dst == asked.hwsrc
        assert len(octets) == 42
        return
    na = reply[ICMPv6ND_NA]
    assert (na.code, na.R, na.O, na.res) == (0, 0, 1, 0)
    assert na.tgt == question.tgt
    assert reply[IPv6].src == str(link.link_local or na.tgt)
    assert (question[IPv6].src != "::") == na.S
    assert reply[IPv6].hlim == 255
    assert reply[ICMPv6NDOptDstLLAddr].lladdr == mac
    received = na.cksum
    del na.cksum
    assert Ether(bytes(reply))[ICMPv6ND_NA].cksum == received
    assert bytes(reply) == octets


def test_scapy_sees_a_wrong_checksum() -> None:
    folder = HERE / "ndp-multicast"
    (one,) = _replay(folder)
    assert one.reply is not None
    spoilt = one.reply[:56] + b"\xbe\xef" + one.reply[58:]
    _, links = read_claims(folder / "claims.yaml")
    with pytest.raises(AssertionError):
        _judge_with_scapy(Ether(one.captured.frame), Ether(spoilt), spoilt, links[0])


def _tshark_complaints(capture: Path) -> list[str]:
    """Frames that tshark calls malformed, or to which it adds a note or worse. Several links answer for one address here, so its
    detection of duplicate addresses is off."""
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed: apt-get install tshark")
    command = [
        tshark,
        "-n",
        "-r",
        str(capture),
        "-o",
        "arp.detect_duplicate_ips:FALSE",
        "-Y",
        "_ws.malformed || _ws.expert.severity >= 0x200000",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_tshark_has_nothing_to_say_about_any_reply(tmp_path: Path) -> None:
    captures = [(HERE / name / "out.pcap").read_bytes() for name in NAMES]
    merged = tmp_path / "all.pcap"
    merged.write_bytes(captures[0][:PCAP_HEADER] + b"".join(capture[PCAP_HEADER:] for capture in captures))
    assert sum(1 for _ in read_capture(merged)) == sum(one.reply is not None for case in CASES for one in case.frames)
    assert _tshark_complaints(merged) == []


def test_tshark_does_complain_about_bad_requests() -> None:
    assert len(_tshark_complaints(HERE / "ndp-bad-checksum" / "in.pcap")) == 1
    assert len(_tshark_complaints(HERE / "ndp-option-length-0" / "in.pcap")) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_path_says_the_same(name: str) -> None:
    """Every frame as a batch of one: what packet sockets hand over."""
    claims, links = read_claims(HERE / name / "claims.yaml")
    responder = Responder()
    responder.replace_links(links, 0.0)
    responder.replace_claims(claims, 0.0)
    for one in _replay(HERE / name):
        before = responder.verdicts.copy()
        index = next((link.index for link in links if link.name == one.interface), 0)
        assert _batch_of_one(responder, one.captured, index, one.seconds) == one.reply
        assert responder.verdicts - before == {one.verdict: 1}


def _batch_of_one(responder: Responder, captured: Captured, ifindex: int, now: float) -> bytes | None:
    frame = captured.frame
    is_ipv6 = frame[12:14] == b"\x86\xdd"
    slot = NDP_SLOT if is_ipv6 else ARP_SLOT
    kept = frame[:slot]
    answer = answer_ndp if is_ipv6 else answer_arp
    answered = answer(responder, kept.ljust(slot, b"\0"), [len(kept)], ifindex, now)
    waiting = [one.frame for one in responder.frames_to_send()]
    if answered:
        waiting.append(answered[: 86 if is_ipv6 else 42])
    assert len(waiting) <= 1
    return waiting[0] if waiting else None


def test_every_verdict_has_a_case() -> None:
    assert {one.verdict for case in CASES for one in case.frames} == set(Verdict)


def test_the_corpus_is_large_enough() -> None:
    assert len(CASES) >= 80


def test_the_files_are_those_that_the_builder_makes(tmp_path: Path) -> None:
    """After a change of a case: make golden-update, and read the difference."""
    build_all(tmp_path)
    fresh = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.glob("*/*")}
    kept = {
        path.relative_to(HERE): path.read_bytes()
        for folder in HERE.iterdir()
        if (folder / "verdicts.txt").exists()
        for path in folder.iterdir()
    }
    assert fresh.keys() == kept.keys()
    assert [path for path in fresh if fresh[path] != kept[path]] == []


FIELDS = (
    *("eth.dst", "arp.opcode", "arp.src.hw_mac", "arp.src.proto_ipv4", "arp.dst.hw_mac", "arp.dst.proto_ipv4"),
    *("ipv6.src", "ipv6.dst", "icmpv6.nd.na.target_address", "icmpv6.nd.na.flag.r", "icmpv6.nd.na.flag.s", "icmpv6.nd.na.flag.o"),
    *("icmpv6.opt.linkaddr", "icmpv6.checksum.status"),
)


def _fields(reply: Any) -> list[str]:
    """What the case says of a reply, as tshark prints it."""
    packet = Ether(bytes(reply))
    if ARP in packet:
        arp = packet[ARP]
        return [packet.dst, str(arp.op), arp.hwsrc, arp.psrc, arp.hwdst, arp.pdst, *[""] * 8]
    ip, na = packet[IPv6], packet[ICMPv6ND_NA]
    flags = ["True" if flag else "False" for flag in (na.R, na.S, na.O)]
    return [packet.dst, *[""] * 5, ip.src, ip.dst, na.tgt, *flags, packet[ICMPv6NDOptDstLLAddr].lladdr, "Good"]


def test_tshark_reads_in_every_reply_what_the_case_says(tmp_path: Path) -> None:
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed: apt-get install tshark")
    captures = [(HERE / name / "out.pcap").read_bytes() for name in NAMES]
    merged = tmp_path / "all.pcap"
    merged.write_bytes(captures[0][:PCAP_HEADER] + b"".join(capture[PCAP_HEADER:] for capture in captures))
    command = [tshark, "-n", "-r", str(merged), "-T", "fields", *(word for field in FIELDS for word in ("-e", field))]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    seen = [[_plain(value) for value in line.split("\t")] for line in shown]
    assert seen == [[_plain(value) for value in _fields(one.reply)] for case in CASES for one in case.frames if one.reply is not None]


def _plain(value: str) -> str:
    """Booleans and checksum states are printed in other words by other versions."""
    return {"True": "1", "False": "0", "Good": "1"}.get(value, value)
