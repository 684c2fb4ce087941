"""Ethernet captures, pcap and pcapng, read and written with scapy's raw readers; scapy's dissectors are not used."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from scapy.error import Scapy_Exception
from scapy.utils import RawPcapReader, RawPcapWriter

from l2announce.errors import ConfigurationError

LINKTYPE_ETHERNET = 1
SECOND = 1_000_000_000
"""Nanoseconds."""

_PCAP_BYTE_ORDER = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\x3c\x4d": ">"}
_PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_PCAPNG_BYTE_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_LINKTYPES = {
    0: "BSD loopback",
    101: "raw IP",
    105: "802.11",
    113: "Linux cooked, of tcpdump -i any",
    127: "802.11 radiotap",
    228: "raw IPv4",
    229: "raw IPv6",
    276: "Linux cooked v2, of tcpdump -i any",
}


class Captured(NamedTuple):
    """One frame of a capture: nanoseconds since the epoch, the interface where pcapng names it, the octets."""

    time: int
    interface: str | None
    frame: bytes


def read_capture(path: Path) -> Iterator[Captured]:
    """The frames of a capture in order. ConfigurationError when it is not a whole capture of Ethernet frames."""
    _require_whole(path)
    try:
        reader = RawPcapReader(str(path))
    except (OSError, Scapy_Exception) as err:
        raise ConfigurationError(f"{path}: not a pcap or pcapng file: {err}") from err
    with reader:
        _require_ethernet(path, getattr(reader, "linktype", None))
        for frame, metadata in reader:
            _require_ethernet(path, getattr(metadata, "linktype", None))
            name = getattr(metadata, "ifname", None)
            yield Captured(_nanoseconds(reader, metadata), name.decode(errors="replace") if isinstance(name, bytes) else name, frame)


def _require_ethernet(path: Path, linktype: int | None) -> None:
    if linktype not in (None, LINKTYPE_ETHERNET):
        name = _LINKTYPES.get(linktype, "unknown")
        raise ConfigurationError(f"{path}: link type {linktype} ({name}): only Ethernet can be replayed; capture on one Ethernet interface")


def _require_whole(path: Path) -> None:
    """Walk the records of the file: scapy ends silently where one is cut short."""
    try:
        octets = path.read_bytes()
    except OSError as err:
        raise ConfigurationError(f"{path}: {err.strerror}; give a capture that can be read") from err
    if octets[:4] in _PCAP_BYTE_ORDER:
        end = _end_of_records(octets, _PCAP_BYTE_ORDER[octets[:4]])
    elif octets[:4] == _PCAPNG_MAGIC and octets[8:12] in _PCAPNG_BYTE_ORDER:
        end = _end_of_blocks(octets)
    else:
        raise ConfigurationError(f"{path}: not a pcap or pcapng file; capture with tcpdump -w, and unpack what is compressed")
    if end != len(octets):
        raise ConfigurationError(f"{path}: truncated after {len(octets)} octets, in the record at {end}; capture or copy it again")


def _end_of_records(octets: bytes, order: str) -> int:
    """Where the last whole pcap record ends; 0 when not even the file's header is whole."""
    position = 24 if len(octets) >= 24 else 0
    while position and position + 16 <= len(octets):
        (length,) = struct.unpack_from(order + "I", octets, position + 8)
        if position + 16 + length > len(octets):
            break
        position += 16 + length
    return position


def _end_of_blocks(octets: bytes) -> int:
    """Where the last whole pcapng block ends. Each section may have another byte order."""
    position, order = 0, "<"
    while position + 12 <= len(octets):
        if octets[position : position + 4] == _PCAPNG_MAGIC:
            order = _PCAPNG_BYTE_ORDER.get(octets[position + 8 : position + 12], order)
        (length,) = struct.unpack_from(order + "I", octets, position + 4)
        if length < 12 or position + length > len(octets):
            break
        position += length
    return position


def _nanoseconds(reader: Any, metadata: Any) -> int:
    """The timestamp of either format; integers, since a float of seconds since the epoch cannot tell nanoseconds apart."""
    if hasattr(metadata, "tshigh"):
        return int((metadata.tshigh << 32) + metadata.tslow) * SECOND // int(metadata.tsresol)
    return int(metadata.sec) * SECOND + int(metadata.usec) * (1 if reader.nano else 1000)


def write_capture(path: Path, frames: Iterable[tuple[int, bytes]]) -> None:
    """Write (nanoseconds, frame) pairs as a pcap file of Ethernet frames with microseconds."""
    try:
        with RawPcapWriter(str(path), linktype=LINKTYPE_ETHERNET, sync=True) as writer:
            writer.write_header(None)
            for time, frame in frames:
                writer.write_packet(frame, sec=time // SECOND, usec=time % SECOND // 1000)
    except OSError as err:
        raise ConfigurationError(f"{path}: cannot be written: {err.strerror}; choose another file with -w") from err
