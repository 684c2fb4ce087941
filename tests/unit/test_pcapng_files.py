"""pcapng for ``replay``: sections, interfaces of several types and resolutions, every kind of frame block, and damage by name."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l2announce.cli.captures import Captured, read_capture
from l2announce.errors import ConfigurationError

SECOND = 10**9


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """One block around a body, padded."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    """A section header."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(linktype: int, order: str = "<", snaplen: int = 0, **options: bytes) -> bytes:
    """An interface description with if_name, if_tsresol, if_tsoffset."""
    codes = {"comment": 1, "name": 2, "resolution": 9, "offset": 14}
    body = struct.pack(order + "HHI", linktype, 0, snaplen)
    for name, value in options.items():
        body += struct.pack(order + "HH", codes[name], len(value)) + value + bytes(-len(value) % 4)
    return block(1, body + (bytes(4) if options else b""), order)


def packet(number: int, stamp: int, frame: bytes, order: str = "<", length: int | None = None) -> bytes:
    """An enhanced packet block."""
    fields = struct.pack(order + "IIIII", number, stamp >> 32, stamp & 0xFFFFFFFF, len(frame), length or len(frame))
    return block(6, fields + frame, order)


def read(tmp_path: Path, *blocks: bytes) -> list[Captured]:
    path = tmp_path / "in.pcapng"
    path.write_bytes(b"".join(blocks))
    return list(read_capture(path))


def refused(tmp_path: Path, *blocks: bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, *blocks)
    return str(caught.value).removeprefix(f"{tmp_path / 'in.pcapng'}: ").removesuffix("; capture or copy it again")


@pytest.mark.parametrize("order", ["<", ">"])
def test_interfaces_of_several_types_and_resolutions(tmp_path: Path, order: str) -> None:
    described = (
        interface(1, order, name=b"eth0"),
        interface(276, order, name=b"any", resolution=b"\x09"),
        interface(113, order, comment=b"!", resolution=b"\x8a", offset=struct.pack(order + "q", -5)),
    )
    frames = (
        packet(0, 1_700_000_000_000_007, b"abc", order),
        packet(1, 1_700_000_000_000_000_007, b"de", order),
        packet(2, 6 << 10 | 1 << 9, b"f", order, 60),
    )
    assert read(tmp_path, section(order), *described, *frames) == [
        Captured(1_700_000_000 * SECOND + 7000, "eth0", b"abc"),
        Captured(1_700_000_000 * SECOND + 7, "any", b"de", 276),
        Captured(SECOND + SECOND // 2, None, b"f", 113, 60),
    ]


def test_each_section_describes_its_own_interfaces(tmp_path: Path) -> None:
    first = section() + interface(1, name=b"eth0") + packet(0, 1, b"a")
    second = section(">") + interface(1, ">", name=b"eth1") + packet(0, 2, b"b", ">")
    assert [(one.interface, one.frame) for one in read(tmp_path, first, second)] == [("eth0", b"a"), ("eth1", b"b")]


def test_blocks_of_other_kinds(tmp_path: Path) -> None:
    simple = block(3, struct.pack("<I", 60) + b"xyzw")
    old = block(2, struct.pack("<HHIIII", 0, 0, 0, 9, 3, 3) + b"old")
    statistics = block(5, bytes(12))
    assert read(tmp_path, section(), interface(1, snaplen=4), packet(0, 8, b"a"), statistics, simple, old) == [
        Captured(8000, None, b"a"),
        Captured(8000, None, b"xyzw", 1, 60),
        Captured(9000, None, b"old"),
    ]


def test_damage_is_named(tmp_path: Path) -> None:
    start = section() + interface(1)
    good = packet(0, 0, b"abcd")
    at = len(start)
    assert refused(tmp_path, start, packet(1, 0, b"a")) == f"damaged: frame 1 at offset {at}: it is of interface 1, and 1 are described"
    assert refused(tmp_path, start, block(6, bytes(16))) == f"damaged: frame 1 at offset {at}: too short for a frame"
    assert refused(tmp_path, section(), block(1, bytes(4))).endswith("behind frame 0: too short for an interface")
    too_much = block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5) + b"abcd")
    assert "frame 2 at offset" in refused(tmp_path, start, good, too_much)
    assert refused(tmp_path, start, too_much).endswith("it says that it has 5 octets, and the block has 4")
    huge = block(6, struct.pack("<IIIII", 0, 0, 0, 0xFFFFFFFF, 5) + b"abcd")
    assert refused(tmp_path, start, huge).endswith("says that it has 4294967295 octets, more than 262144")
    assert refused(tmp_path, start, good[:-4] + b"\1\0\0\0").endswith("its two lengths differ")
    assert refused(tmp_path, start, struct.pack("<III", 6, 13, 0)).endswith("its length is 13")
    assert refused(tmp_path, start, struct.pack("<III", 0x0A0D0D0A, 28, 0) + bytes(16)).endswith("begins a section without a byte order")
    assert refused(tmp_path, start, good[:9]).startswith(f"truncated after {at + 9} octets, in the block at offset {at}, behind frame 0")


WHOLE = (
    section() + interface(276, name=b"any", resolution=b"\x09", offset=bytes(8)) + packet(0, 7, b"abcdef") + packet(0, 8, b"ghi", length=9)
)
PCAP = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + 2 * (struct.pack("<IIII", 1, 2, 3, 3) + b"abc")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    whole=st.sampled_from([WHOLE, PCAP]),
    changes=st.dictionaries(st.integers(4, 150), st.integers(0, 255), max_size=4),
    cut=st.integers(5, 200),
)
def test_any_damage_is_one_line_or_none(tmp_path: Path, whole: bytes, changes: dict[int, int], cut: int) -> None:
    octets = bytearray(whole[:cut])
    for position, value in changes.items():
        if position < len(octets):
            octets[position] = value
    said = ""
    try:
        read(tmp_path, bytes(octets))
    except ConfigurationError as err:
        said = str(err)
    assert "\n" not in said
