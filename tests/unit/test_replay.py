"""``l2announce replay``: captures in both formats, what it prints and writes, and one line for every bad input."""

import errno
import os
import struct
import subprocess
import sys
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from typer.testing import CliRunner

from l2announce.cli.captures import Captured, read_capture, write_capture
from l2announce.cli.explain import explain
from l2announce.cli.main import app
from l2announce.errors import ConfigurationError
from l2announce.model.claim import NO_CLAIMS
from l2announce.responder.verdict import Verdict
from l2announce.wire.icmpv6 import ALL_NODES, ALL_NODES_MAC, NeighborAdvertisement, encode_neighbor_advertisement

GOLDEN = Path(__file__).parent.parent / "golden"
ASKED = GOLDEN / "arp-who-has-broadcast"
TWO_LINKS = GOLDEN / "links-one-claimed"


def _replay(*arguments: object) -> list[str]:
    done = CliRunner().invoke(app, ["replay", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout.splitlines()


def _refused(*arguments: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        CliRunner().invoke(app, ["replay", *map(str, arguments)], catch_exceptions=False)
    message = str(caught.value)
    assert "\n" not in message
    return message


def _capture(tmp_path: Path, octets: bytes) -> Path:
    path = tmp_path / "in.pcap"
    path.write_bytes(octets)
    return path


def test_a_verdict_for_each_frame() -> None:
    header, *rows, last = _replay(TWO_LINKS / "in.pcap", "--claims", TWO_LINKS / "claims.yaml")
    assert header.split() == ["FRAME", "SECONDS", "INTERFACE", "VERDICT"]
    assert [" ".join(row.split()) for row in rows] == [
        line.split(" | ")[0] for line in (TWO_LINKS / "verdicts.txt").read_text().splitlines()
    ]
    assert last == "4 frames, 2 replies"


def test_the_replies_are_written(tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    lines = _replay(ASKED / "in.pcap", "--claims", ASKED / "claims.yaml", "-w", out)
    assert lines[-1] == f"1 frames, 1 replies written to {out}"
    assert out.read_bytes() == (ASKED / "out.pcap").read_bytes()


def test_a_capture_without_frames(tmp_path: Path) -> None:
    empty = _capture(tmp_path, (ASKED / "in.pcap").read_bytes()[:24])
    assert _replay(empty, "--claims", ASKED / "claims.yaml")[-1] == "0 frames, 0 replies"


def test_a_capture_is_not_overwritten(tmp_path: Path) -> None:
    capture = _capture(tmp_path, (ASKED / "in.pcap").read_bytes())
    assert "choose another file" in _refused(capture, "--claims", ASKED / "claims.yaml", "-w", capture)
    assert capture.read_bytes() == (ASKED / "in.pcap").read_bytes()


def test_replies_that_cannot_be_written(tmp_path: Path) -> None:
    out = tmp_path / "missing" / "out.pcap"
    message = _refused(ASKED / "in.pcap", "--claims", ASKED / "claims.yaml", "-w", out)
    assert message == f"{out}: cannot be written: No such file or directory; choose another file with -w"


def test_no_such_capture(tmp_path: Path) -> None:
    missing = tmp_path / "none.pcap"
    message = _refused(missing, "--claims", ASKED / "claims.yaml")
    assert message == f"{missing}: No such file or directory; give a capture that can be read"


@pytest.mark.parametrize("octets", [b"PK\3\4 not a capture", b"\x1f\x8b\x08" + bytes(40), b"\x0a\x0d\x0d\x0a" + bytes(24)])
def test_not_a_capture(tmp_path: Path, octets: bytes) -> None:
    message = _refused(_capture(tmp_path, octets), "--claims", ASKED / "claims.yaml")
    assert "not a pcap or pcapng file; capture with tcpdump -w" in message


def test_an_empty_file(tmp_path: Path) -> None:
    path = _capture(tmp_path, b"")
    message = _refused(path, "--claims", ASKED / "claims.yaml")
    assert message == f"{path}: an empty file, not a pcap or pcapng file; end tcpdump with SIGINT, so that it writes all"


def test_a_directory(tmp_path: Path) -> None:
    message = _refused(tmp_path, "--claims", ASKED / "claims.yaml")
    assert message == f"{tmp_path}: Is a directory; give a capture that can be read"


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads any file, so the refusal of the kernel is played."""

    def refuse(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    path = _capture(tmp_path, b"x")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigurationError, match="Permission denied; give a capture that can be read"):
        read_capture(path)


@pytest.mark.parametrize("folder", [ASKED, TWO_LINKS])
def test_a_capture_cut_anywhere_is_refused_or_ends_between_frames(tmp_path: Path, folder: Path) -> None:
    whole = (folder / "in.pcap").read_bytes()
    frames = list(read_capture(folder / "in.pcap"))
    refused = []
    for length in range(len(whole)):
        path = _capture(tmp_path, whole[:length])
        got: list[Captured] = []
        try:
            got.extend(read_capture(path))
        except ConfigurationError as err:
            refused.append(str(err))
        assert got == frames[: len(got)]
        assert len(got) < len(frames)
    assert len(refused) > len(whole) - 10
    assert [message for message in refused if "truncated" not in message and "not a pcap" not in message] == []


def test_a_truncated_capture_is_named(tmp_path: Path) -> None:
    path = _capture(tmp_path, (ASKED / "in.pcap").read_bytes()[:-1])
    message = _refused(path, "--claims", ASKED / "claims.yaml")
    assert message == f"{path}: truncated after 81 octets, in frame 1 at offset 24; capture or copy it again"


def test_what_is_before_the_fault_is_judged(tmp_path: Path) -> None:
    path = _capture(tmp_path, (TWO_LINKS / "in.pcap").read_bytes()[:-1])
    out = tmp_path / "out.pcap"
    program = Path(sys.executable).parent / "l2announce"
    command = [str(word) for word in (program, "replay", path, "--claims", TWO_LINKS / "claims.yaml", "-w", out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    _, *rows, last = done.stdout.splitlines()
    assert [row.split()[3] for row in rows] == ["answered", "wrong_interface", "answered"]
    assert last == f"3 frames, 2 replies written to {out}"
    assert len(list(read_capture(out))) == 2
    assert done.returncode == 2
    assert done.stderr.startswith(f"l2announce: {path}: truncated after ")
    assert "in frame 4 at offset" in done.stderr


@pytest.mark.parametrize(
    ("linktype", "name"), [(0, "0 (BSD loopback)"), (101, "101 (raw IP)"), (105, "105 (802.11)"), (250, "250 (unknown)")]
)
def test_other_link_types_are_named(tmp_path: Path, linktype: int, name: str) -> None:
    octets = bytearray((ASKED / "in.pcap").read_bytes())
    octets[20:24] = struct.pack("<I", linktype)
    path = _capture(tmp_path, bytes(octets))
    assert _refused(path, "--claims", ASKED / "claims.yaml") == (
        f"{path}: link type {name}: neither Ethernet nor Linux cooked; capture on one Ethernet interface: tcpdump -i eth0 -w FILE"
    )


def test_the_length_of_a_check_sequence_is_no_link_type(tmp_path: Path) -> None:
    octets = bytearray((ASKED / "in.pcap").read_bytes())
    octets[20:24] = struct.pack("<I", 0x24000001)
    assert [one.linktype for one in read_capture(_capture(tmp_path, bytes(octets)))] == [1]


def test_other_link_types_beside_ethernet_in_pcapng(tmp_path: Path) -> None:
    octets = bytearray((TWO_LINKS / "in.pcap").read_bytes())
    octets[36:38] = struct.pack("<H", 101)
    done = CliRunner().invoke(
        app, ["replay", str(_capture(tmp_path, bytes(octets))), "--claims", str(TWO_LINKS / "claims.yaml")], catch_exceptions=False
    )
    assert [row.split()[3] for row in done.stdout.splitlines()[1:-1]] == ["not_judged", "wrong_interface", "not_judged", "wrong_interface"]
    assert "frames 1, 3: not judged: link type 101 (raw IP): neither Ethernet" in done.stderr


def test_a_pcapng_without_any_frame_that_can_be_judged(tmp_path: Path) -> None:
    octets = (TWO_LINKS / "in.pcap").read_bytes().replace(struct.pack("<HHI", 1, 0, 0) + b"\2\0", struct.pack("<HHI", 105, 0, 0) + b"\2\0")
    assert "no frame can be judged; capture on one Ethernet" in _refused(_capture(tmp_path, octets), "--claims", TWO_LINKS / "claims.yaml")


@pytest.mark.parametrize(
    ("magic", "order", "nanoseconds"), [(0xA1B2C3D4, "<", 7000), (0xA1B2C3D4, ">", 7000), (0xA1B23C4D, "<", 7), (0xA1B23C4D, ">", 7)]
)
def test_byte_orders_and_resolutions(tmp_path: Path, magic: int, order: str, nanoseconds: int) -> None:
    header = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, 65535, 1)
    path = _capture(tmp_path, header + struct.pack(order + "IIII", 1_700_000_000, 7, 3, 3) + b"abc")
    assert list(read_capture(path)) == [Captured(1_700_000_000 * 10**9 + nanoseconds, None, b"abc")]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    frames = [(0, b"\1" * 60), (1_700_000_000_123_456_000, b"\2" * 14)]
    write_capture(tmp_path / "x.pcap", frames)
    assert [(one.time, one.frame) for one in read_capture(tmp_path / "x.pcap")] == frames


def test_bad_claims_are_refused_before_the_capture_is_read(tmp_path: Path) -> None:
    claims = tmp_path / "claims.yaml"
    claims.write_text("links: []")
    assert "links: at least one is needed" in _refused(tmp_path / "none.pcap", "--claims", claims)


def test_the_installed_program(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "l2announce"
    environment = {**os.environ, "COLUMNS": "200"}
    good = subprocess.run(
        [program, "replay", ASKED / "in.pcap", "--claims", ASKED / "claims.yaml"],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
    )
    assert (good.returncode, good.stderr) == (0, "")
    assert "answered" in good.stdout
    missing = tmp_path / "none.pcap"
    bad = subprocess.run([program, "replay", missing, "--claims", ASKED / "claims.yaml"], capture_output=True, text=True, timeout=30)
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert bad.stderr == f"l2announce: {missing}: No such file or directory; give a capture that can be read\n"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("ndp-from-link-local", "from fe80::1, tells fd99::1, S=1 O=1 R=0"),
        ("ndp-dad", "to 33:33:00:00:00:01: fd99::10 is at 02:00:00:00:00:01, from fd99::10, tells ff02::1, S=0 O=1 R=0"),
        ("arp-who-has-broadcast", "claim 10.99.0.10 on eth0 until inf s, now 0 s; reply to 02:00:00:00:00:0c: 10.99.0.10 is at"),
        ("ndp-bad-checksum", "RFC 4861, 7.1; RFC 8200, 3 and 8.1); ICMPv6 checksum is wrong"),
        ("ndp-fragment", "RFC 6980, 5"),
        ("deadline-zero", "the claim's deadline has passed; claim 10.99.0.10 on eth0 until 0 s"),
        ("link-not-claimed-ndp", "not on this link; claim fd99::10 on eth1"),
    ],
)
def test_explained_in_words(case: str, words: str) -> None:
    folder = GOLDEN / case
    assert words in "\n".join(_replay(folder / "in.pcap", "--claims", folder / "claims.yaml", "--explain"))


def test_the_failed_check_of_an_advertisement_is_its_own() -> None:
    target = IPv6Address("fd99::10")
    solicited = NeighborAdvertisement(target, solicited=True, target_link_layer_address=bytes(6))
    frame = encode_neighbor_advertisement(bytes(6), ALL_NODES_MAC, target, ALL_NODES, solicited)
    assert explain(frame, Verdict.MALFORMED, None, NO_CLAIMS, 0.0).endswith("; solicited flag set towards ff02::1")


def test_every_golden_frame_is_explained() -> None:
    for folder in sorted(path.parent for path in GOLDEN.glob("*/claims.yaml")):
        header, *rows, _ = _replay(folder / "in.pcap", "--claims", folder / "claims.yaml", "--explain")
        assert header.split()[-1] == "WHY"
        assert [row for row in rows if len(row.split()) < 8] == []
