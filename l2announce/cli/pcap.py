"""The records of a pcap file, either byte order, microseconds or nanoseconds. It knows link types only as numbers.

Read here and not with scapy, whose readers end silently where a file is cut or damaged: each fault names its frame and offset.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from l2announce.errors import ConfigurationError

SECOND = 1_000_000_000
"""Nanoseconds."""
MAX_LENGTH = 262_144
"""What tcpdump keeps of a frame at most, in octets: a record that says more is damaged."""
AGAIN = "capture or copy it again"
_HEADER, _RECORD = 24, 16
_MAGIC = {b"\xd4\xc3\xb2\xa1": ("<", 1000), b"\xa1\xb2\xc3\xd4": (">", 1000), b"\x4d\x3c\xb2\xa1": ("<", 1), b"\xa1\xb2\x3c\x4d": (">", 1)}


class Record(NamedTuple):
    """One frame of a capture file: nanoseconds since the epoch, the interface where the file names it, the octets that were kept, the
    link type, and the length on the wire where the capture kept less than that."""

    time: int
    interface: str | None
    frame: bytes
    linktype: int = 1
    cut_from: int | None = None


def is_pcap(octets: bytes) -> bool:
    """True for the four magic numbers of pcap."""
    return octets[:4] in _MAGIC


def pcap_linktype(path: Path, octets: bytes) -> int:
    """The link type of the whole file. ConfigurationError when the file's header is cut."""
    if len(octets) < _HEADER:
        raise ConfigurationError(f"{path}: truncated after {len(octets)} octets, in the header of the file; {AGAIN}")
    (linktype,) = struct.unpack_from(_MAGIC[octets[:4]][0] + "I", octets, 20)
    return int(linktype & 0xFFFF)  # the rest tells the length of the frame check sequence


def pcap_records(path: Path, octets: bytes) -> Iterator[Record]:
    """The records in order. ConfigurationError, after those before it, at one that is cut or damaged."""
    linktype = pcap_linktype(path, octets)
    order, unit = _MAGIC[octets[:4]]
    position, number = _HEADER, 1
    while position < len(octets):
        where = f"frame {number} at offset {position}"
        if position + _RECORD > len(octets):
            raise truncated(path, octets, where)
        seconds, fraction, kept, length = struct.unpack_from(order + "IIII", octets, position)
        require_possible(path, where, kept)
        position += _RECORD
        if position + kept > len(octets):
            raise truncated(path, octets, where)
        frame = octets[position : position + kept]
        yield Record(seconds * SECOND + fraction * unit, None, frame, linktype, length if kept < length else None)
        position += kept
        number += 1


def truncated(path: Path, octets: bytes, where: str) -> ConfigurationError:
    """The error for a file that ends in ``where``."""
    return ConfigurationError(f"{path}: truncated after {len(octets)} octets, in {where}; {AGAIN}")


def require_possible(path: Path, where: str, kept: int) -> None:
    """ConfigurationError for a length that no captured frame has."""
    if kept > MAX_LENGTH:
        raise ConfigurationError(f"{path}: damaged: {where} says that it has {kept} octets, more than {MAX_LENGTH}; {AGAIN}")
