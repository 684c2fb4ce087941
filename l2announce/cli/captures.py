"""Ethernet captures, pcap and pcapng, read and written with scapy's raw readers; scapy's dissectors are not used."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from scapy.error import Scapy_Exception
from scapy.utils import RawPcapReader, RawPcapWriter

from l2announce.errors import ConfigurationError

LINKTYPE_ETHERNET = 1


class Captured(NamedTuple):
    """One frame of a capture: seconds since the epoch, the interface where pcapng names it, the octets."""

    time: float
    interface: str | None
    frame: bytes


def read_capture(path: Path) -> Iterator[Captured]:
    """The frames of a capture in order. ConfigurationError when it is not a capture of Ethernet frames."""
    try:
        reader = RawPcapReader(str(path))
    except FileNotFoundError as err:
        raise ConfigurationError(f"{path}: no such file") from err
    except (OSError, Scapy_Exception) as err:
        raise ConfigurationError(f"{path}: not a pcap or pcapng file: {err}") from err
    with reader:
        for frame, metadata in reader:
            linktype = getattr(metadata, "linktype", None) or reader.linktype
            if linktype != LINKTYPE_ETHERNET:
                raise ConfigurationError(f"{path}: link type {linktype}; only Ethernet (1) can be replayed, so capture on one interface")
            name = getattr(metadata, "ifname", None)
            yield Captured(_seconds(metadata), name.decode() if isinstance(name, bytes) else name, frame)


def _seconds(metadata: object) -> float:
    """The timestamp of either format."""
    if hasattr(metadata, "tshigh"):
        ticks = (metadata.tshigh << 32) + metadata.tslow  # type: ignore[attr-defined] # scapy's records are untyped
        return float(ticks / metadata.tsresol)  # type: ignore[attr-defined]
    return float(metadata.sec + metadata.usec / 1e6)  # type: ignore[attr-defined]


def write_capture(path: Path, frames: Iterable[tuple[float, bytes]]) -> None:
    """Write (seconds, frame) pairs as a pcap file of Ethernet frames."""
    try:
        with RawPcapWriter(str(path), linktype=LINKTYPE_ETHERNET, sync=True) as writer:
            writer.write_header(None)
            for time, frame in frames:
                microseconds = round(time * 1e6)
                writer.write_packet(frame, sec=microseconds // 1_000_000, usec=microseconds % 1_000_000)
    except OSError as err:
        raise ConfigurationError(f"{path}: cannot be written: {err.strerror}") from err
