"""Capture files in the pcapng format with several Ethernet interfaces: as much of it as the lab writes and reads back.

Section header, interface descriptions with name and nanosecond resolution, enhanced packets; little endian. Not a general reader: it
understands the files that ``write_capture`` makes.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
ENHANCED_PACKET = 6
LINKTYPE_ETHERNET = 1
OPTION_END = 0
OPTION_COMMENT = 1
OPTION_INTERFACE_NAME = 2
OPTION_INTERFACE_DESCRIPTION = 3
OPTION_RESOLUTION = 9
SNAP_LENGTH = 65535


class Frame(NamedTuple):
    """One captured frame: nanoseconds since the epoch, the number of the interface it came in by, its octets."""

    time: int
    interface: int
    octets: bytes


def _padded(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def write_capture(path: Path, interfaces: Sequence[tuple[str, str]], frames: Iterable[Frame], comment: str) -> int:
    """Write a file: ``interfaces`` are (name, description), ``frames`` in the order of time. Returns how many frames were written."""
    count = 0
    with path.open("wb") as file:
        section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(OPTION_COMMENT, comment.encode()) + _option(OPTION_END, b"")
        file.write(_block(SECTION_HEADER, section))
        for name, description in interfaces:
            options = _option(OPTION_INTERFACE_NAME, name.encode()) + _option(OPTION_INTERFACE_DESCRIPTION, description.encode())
            options += _option(OPTION_RESOLUTION, b"\x09") + _option(OPTION_END, b"")
            file.write(_block(INTERFACE_DESCRIPTION, struct.pack("<HHI", LINKTYPE_ETHERNET, 0, SNAP_LENGTH) + options))
        for frame in frames:
            length = len(frame.octets)
            header = struct.pack("<IIIII", frame.interface, frame.time >> 32, frame.time & 0xFFFFFFFF, length, length)
            file.write(_block(ENHANCED_PACKET, header + _padded(frame.octets)))
            count += 1
    return count


def read_capture(path: Path) -> Iterator[Frame]:
    """The frames of a file that ``write_capture`` made, in its order."""
    content = path.read_bytes()
    offset = 0
    while offset < len(content):
        kind, length = struct.unpack_from("<II", content, offset)
        if kind == ENHANCED_PACKET:
            interface, high, low, captured = struct.unpack_from("<IIII", content, offset + 8)
            yield Frame(high << 32 | low, interface, content[offset + 28 : offset + 28 + captured])
        offset += length
