"""Linux cooked captures in ``replay``: what scapy cooks of an Ethernet frame gets the verdict that the frame itself gets."""

import struct
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Ether
from scapy.utils import PcapWriter
from typer.testing import CliRunner

from l2announce.cli.captures import Captured, read_capture
from l2announce.cli.claims_file import read_claims
from l2announce.cli.main import app
from l2announce.cli.outcomes import Judged, Unjudged, replay_frames
from l2announce.errors import ConfigurationError
from l2announce.responder.verdict import Verdict
from tests.golden.corpus import (
    BROADCAST,
    CLIENT,
    NODE,
    ROUTER,
    VIP4,
    VIP6_GROUP_MAC,
    solicit,
    who_has,
)

SLL, SLL2 = 113, 276
IFINDEX = 14
CLAIMS = f"""
links:
- {{name: eth0, mac: '{NODE}', index: {IFINDEX}}}
claims:
- {{address: {VIP4}, interfaces: [eth0]}}
- {{address: fd99::10, interfaces: [eth0]}}
"""
TWO_LINKS = CLAIMS.replace("claims:", "- {name: eth1, mac: '02:00:00:00:00:02', index: 15}\nclaims:")


def cook(packet: Any, linktype: int, kind: int, **fields: Any) -> bytes:
    """What tcpdump -i any has of an Ethernet packet that the kernel gave the packet type ``kind``."""
    common = {"pkttype": kind, "lladdrtype": 1, "lladdrlen": 6, "src": bytes.fromhex(packet.src.replace(":", "")), "proto": packet.type}
    if linktype == SLL:
        return bytes(CookedLinux(**(common | fields)) / packet.payload)
    return bytes(CookedLinuxV2(**(common | {"ifindex": IFINDEX} | fields)) / packet.payload)


def outcomes(tmp_path: Path, *frames: Captured, claims: str = CLAIMS) -> list[Judged | Unjudged]:
    """Frames through the engine."""
    path = tmp_path / "claims.yaml"
    path.write_text(claims)
    return replay_frames(*read_claims(path), frames)


def reason(tmp_path: Path, frame: Captured, claims: str = CLAIMS) -> str:
    """Why a frame is not judged."""
    (one,) = outcomes(tmp_path, frame, claims=claims)
    assert isinstance(one, Unjudged)
    return one.reason


def run(tmp_path: Path, capture: Path, claims: str = CLAIMS, *options: str) -> tuple[list[list[str]], str]:
    """The command: the rows that it prints, and standard error."""
    path = tmp_path / "claims.yaml"
    path.write_text(claims)
    done = CliRunner().invoke(app, ["replay", str(capture), "--claims", str(path), *options], catch_exceptions=False)
    assert done.exit_code == 0
    return [row.split() for row in done.stdout.splitlines()[1:-1]], done.stderr


REQUESTS = [
    (who_has(), 1, Verdict.ANSWERED),
    (who_has(to=NODE), 0, Verdict.ANSWERED),
    (who_has(to="01:00:5e:00:00:01"), 2, Verdict.ANSWERED),
    (who_has(to=ROUTER), 3, Verdict.OTHER_DESTINATION),
    (who_has(source=NODE, hwsrc=NODE), 4, Verdict.OWN_FRAME),
    (solicit(), 2, Verdict.ANSWERED),
    (solicit(to=NODE, ip={"dst": "fd99::10"}), 0, Verdict.ANSWERED),
    (solicit(to=BROADCAST), 1, Verdict.ANSWERED),
    (solicit(to=VIP6_GROUP_MAC, ip={"dst": "fd99::10"}), 2, Verdict.ANSWERED),
    (solicit(to=ROUTER), 3, Verdict.OTHER_DESTINATION),
    (solicit(source=NODE), 4, Verdict.OWN_FRAME),
]


@pytest.mark.parametrize("linktype", [SLL, SLL2])
@pytest.mark.parametrize(("packet", "kind", "verdict"), REQUESTS)
def test_a_cooked_frame_is_judged_as_the_frame_was(tmp_path: Path, packet: Any, kind: int, verdict: Verdict, linktype: int) -> None:
    plain, cooked = outcomes(tmp_path, Captured(0, None, bytes(packet)), Captured(0, None, cook(packet, linktype, kind), linktype))
    assert isinstance(plain, Judged)
    assert isinstance(cooked, Judged)
    assert (plain.verdict, plain.reply, plain.interface) == (cooked.verdict, cooked.reply, cooked.interface)
    assert cooked.verdict is verdict


@pytest.mark.parametrize("packet", [packet for packet, kind, _ in REQUESTS if kind in (0, 1) or packet.dst == VIP6_GROUP_MAC][:4])
def test_the_frame_is_rebuilt_octet_by_octet(tmp_path: Path, packet: Any) -> None:
    kind = {NODE: 0, BROADCAST: 1}.get(packet.dst, 2)
    (one,) = outcomes(tmp_path, Captured(0, None, cook(packet, SLL, kind), SLL))
    assert one.captured.frame == bytes(packet)


def test_a_frame_that_this_host_forwarded_is_for_another(tmp_path: Path) -> None:
    (one,) = outcomes(tmp_path, Captured(0, None, cook(who_has(), SLL2, 4), SLL2))
    assert isinstance(one, Judged)
    assert one.verdict is Verdict.OTHER_DESTINATION


@pytest.mark.parametrize(("tag", "verdict"), [(b"\0\x07", Verdict.VLAN_TAGGED), (b"\xe0\0", Verdict.ANSWERED)])
def test_a_tag_keeps_its_verdict(tmp_path: Path, tag: bytes, verdict: Verdict) -> None:
    asked = bytes(who_has())
    packet = Ether(asked[:12] + b"\x81\0" + tag + asked[12:])
    (one,) = outcomes(tmp_path, Captured(0, None, cook(packet, SLL, 1), SLL))
    assert isinstance(one, Judged)
    assert one.verdict is verdict
    assert one.captured.frame == bytes(packet)


@pytest.mark.parametrize("linktype", [SLL, SLL2])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lladdrtype": 772}, "hardware type 772 (loopback) is not Ethernet; capture on one interface: tcpdump -i eth0"),
        ({"lladdrtype": 778}, "hardware type 778 (GRE or ERSPAN over IPv4) is not Ethernet"),
        ({"lladdrtype": 65534}, "hardware type 65534 (no link layer, as of tun and WireGuard) is not Ethernet"),
        ({"lladdrtype": 4711}, "hardware type 4711 (unknown) is not Ethernet"),
        ({"lladdrlen": 0}, "the sender's address has 0 octets, not 6"),
        ({"lladdrlen": 20}, "the sender's address has 20 octets, not 6"),
        ({"pkttype": 5}, "packet type 5 is not one of 0 to 4"),
    ],
)
def test_what_cannot_be_rebuilt_is_named(tmp_path: Path, linktype: int, fields: dict[str, int], words: str) -> None:
    assert words in reason(tmp_path, Captured(0, None, cook(who_has(), linktype, 1, **fields), linktype))


@pytest.mark.parametrize(("linktype", "length"), [(SLL, 16), (SLL2, 20)])
def test_a_frame_cut_in_its_cooked_header(tmp_path: Path, linktype: int, length: int) -> None:
    octets = cook(who_has(), linktype, 1)
    words = reason(tmp_path, Captured(0, None, octets[: length - 1], linktype))
    assert words == f"{length - 1} octets: shorter than the {length} of a cooked header; capture with tcpdump -s 0"
    (one,) = outcomes(tmp_path, Captured(0, None, octets[:length], linktype))
    assert isinstance(one, Judged)
    assert one.verdict is Verdict.MALFORMED


def test_the_index_names_the_link(tmp_path: Path) -> None:
    frames = [Captured(0, "any", cook(who_has(), SLL2, 1, ifindex=index), SLL2) for index in (14, 15, 16)]
    found = outcomes(tmp_path, *frames, claims=TWO_LINKS)
    assert [(one.interface, one.verdict) for one in found if isinstance(one, Judged)] == [
        ("eth0", Verdict.ANSWERED),
        ("eth1", Verdict.WRONG_INTERFACE),
        ("index=16", Verdict.UNKNOWN_LINK),
    ]


def test_version_one_does_not_tell_which_of_two_links(tmp_path: Path) -> None:
    octets = cook(who_has(), SLL, 1)
    words = "Linux cooked (113) does not tell the interface, and links has 2; capture with tcpdump -y LINUX_SLL2"
    assert words in reason(tmp_path, Captured(0, None, octets, SLL), TWO_LINKS)
    assert words in reason(tmp_path, Captured(0, "any", octets, SLL), TWO_LINKS)
    named, elsewhere = outcomes(tmp_path, Captured(0, "eth1", octets, SLL), Captured(0, "eth9", octets, SLL), claims=TWO_LINKS)
    assert isinstance(named, Judged)
    assert isinstance(elsewhere, Judged)
    assert (named.interface, named.verdict) == ("eth1", Verdict.WRONG_INTERFACE)
    assert (elsewhere.interface, elsewhere.verdict) == ("eth9", Verdict.UNKNOWN_LINK)


@pytest.mark.parametrize(("linktype", "layer"), [(SLL, CookedLinux), (SLL2, CookedLinuxV2)])
def test_a_pcap_of_scapy(tmp_path: Path, linktype: int, layer: Any) -> None:
    path, out = tmp_path / "any.pcap", tmp_path / "out.pcap"
    packets = [cook(who_has(), linktype, 1), cook(who_has(), linktype, 1, lladdrtype=772), cook(solicit(), linktype, 2)]
    with PcapWriter(str(path), linktype=linktype) as writer:
        writer.write([layer(octets) for octets in packets])
    rows, words = run(tmp_path, path, CLAIMS, "-w", str(out))
    assert [row[3] for row in rows] == ["answered", "not_judged", "answered"]
    assert words.splitlines() == [
        f"l2announce: {path}: frame 2: not judged: hardware type 772 (loopback) is not Ethernet; capture on one interface: tcpdump -i eth0"
    ]
    replies = list(read_capture(out))
    assert [(one.linktype, one.frame[:6].hex(":")) for one in replies] == [(1, CLIENT), (1, CLIENT)]
    rows, _ = run(tmp_path, path, CLAIMS, "--explain")
    assert " ".join(rows[1][4:]).startswith("hardware type 772 (loopback)")


def test_no_frame_on_a_listed_link_is_told(tmp_path: Path) -> None:
    path = tmp_path / "any.pcap"
    with PcapWriter(str(path), linktype=SLL2) as writer:
        writer.write(CookedLinuxV2(cook(who_has(), SLL2, 1)))
    rows, words = run(tmp_path, path, CLAIMS.replace(", index: 14", ""))
    assert rows[0][2:4] == ["index=14", "unknown_link"]
    assert "no frame is on a link that is listed, the first on index=14; give links[].index as ip link shows it" in words


def test_only_loopback_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "any.pcap"
    with PcapWriter(str(path), linktype=SLL) as writer:
        writer.write(CookedLinux(cook(who_has(), SLL, 0, lladdrtype=772)))
    with pytest.raises(ConfigurationError, match="no frame can be judged; capture on one Ethernet interface"):
        run(tmp_path, path)


# -- what the capture itself is


def pcap(*frames: tuple[int, bytes, int]) -> bytes:
    """A pcap of Ethernet: (seconds, octets kept, length on the wire)."""
    records = [struct.pack("<IIII", at, 0, len(octets), length) + octets for at, octets, length in frames]
    return struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records)


def test_a_frame_cut_by_the_capture_is_told(tmp_path: Path) -> None:
    path = tmp_path / "in.pcap"
    asked = bytes(who_has())
    path.write_bytes(pcap((0, asked[:30], 42), (0, asked, 60), (0, asked[:30], 30)))
    rows, words = run(tmp_path, path, CLAIMS, "--explain")
    assert [row[3] for row in rows] == ["malformed", "answered", "malformed"]
    told = "malformed as captured: the capture cut a frame of 42 octets short; capture with tcpdump -s 0"
    assert words.splitlines() == [f"l2announce: {path}: frame 1: {told}"]
    assert [told in " ".join(row) for row in rows] == [True, False, False]


def test_stamps_that_go_backwards_are_told(tmp_path: Path) -> None:
    path = tmp_path / "in.pcap"
    asked = bytes(who_has())
    path.write_bytes(pcap(*[(at, asked, 42) for at in (9, 3, 4, 9, 8, 7, 6, 5, 10)]))
    rows, words = run(tmp_path, path)
    assert [row[1] for row in rows][:3] == ["0.000000", "-6.000000", "-5.000000"]
    assert {row[3] for row in rows} == {"answered"}
    assert f"{path}: frames 2, 3, 5, 6, 7 and 1 more: stamped earlier than a frame before" in words


def test_a_length_that_no_frame_has(tmp_path: Path) -> None:
    path = tmp_path / "in.pcap"
    whole = pcap((0, bytes(who_has()), 42))
    path.write_bytes(whole + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(100))
    with pytest.raises(ConfigurationError) as caught:
        run(tmp_path, path)
    assert str(caught.value) == (
        f"{path}: damaged: frame 2 at offset 82 says that it has 4294967295 octets, more than 262144; capture or copy it again"
    )
