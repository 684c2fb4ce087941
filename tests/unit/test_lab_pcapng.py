"""The lab's capture file: what is written is read back, and the blocks are the format's."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netlab.pcapng import Frame, read_capture, write_capture

PORTS = [("c", "switch port of c"), ("n1", "switch port of n1")]

frames_of_any_size = st.lists(
    st.builds(Frame, time=st.integers(0, 2**63), interface=st.integers(0, 1), octets=st.binary(min_size=14, max_size=200)), max_size=20
)


@given(frames=frames_of_any_size)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, frames: list[Frame]) -> None:
    path = tmp_path_factory.mktemp("capture") / "lab.pcapng"
    assert write_capture(path, PORTS, frames, "a comment of odd length.") == len(frames)
    assert list(read_capture(path)) == frames


def test_the_blocks_are_those_of_the_format(tmp_path: Path) -> None:
    """Each block says its length at both ends, in units of four octets; section header, two interfaces, two packets."""
    path = tmp_path / "lab.pcapng"
    write_capture(path, PORTS, [Frame(1, 0, bytes(15)), Frame(2, 1, bytes(60))], "")
    content, offset, kinds = path.read_bytes(), 0, []
    while offset < len(content):
        kind, length = struct.unpack_from("<II", content, offset)
        assert length % 4 == 0
        assert struct.unpack_from("<I", content, offset + length - 4) == (length,)
        kinds.append(kind)
        offset += length
    assert offset == len(content)
    assert kinds == [0x0A0D0D0A, 1, 1, 6, 6]
    assert content[8:12] == b"\x4d\x3c\x2b\x1a"
