"""Captures for ``replay``: pcap and pcapng, Ethernet and Linux cooked, read; pcap of Ethernet written with scapy's raw writer."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from scapy.utils import RawPcapWriter

from l2announce.cli.cooked import COOKED
from l2announce.cli.pcap import SECOND, is_pcap, pcap_linktype, pcap_records
from l2announce.cli.pcap import Record as Captured
from l2announce.cli.pcapng import is_pcapng, pcapng_records
from l2announce.errors import ConfigurationError

__all__ = ["LINKTYPE_ETHERNET", "SECOND", "Captured", "read_capture", "refused_linktype", "write_capture"]

LINKTYPE_ETHERNET = 1
_READABLE = COOKED | {LINKTYPE_ETHERNET}
_LINKTYPES = {
    0: "BSD loopback",
    9: "PPP",
    12: "raw IP",
    101: "raw IP",
    104: "Cisco HDLC",
    105: "802.11",
    108: "OpenBSD loopback",
    119: "802.11 with Prism header",
    127: "802.11 radiotap",
    192: "per-packet information",
    227: "CAN",
    228: "raw IPv4",
    229: "raw IPv6",
    239: "netfilter log",
    249: "USB of Windows",
    253: "netlink",
}


def read_capture(path: Path) -> Iterator[Captured]:
    """The frames of a capture in order, cooked ones as they are. ConfigurationError for a file that is none, for a pcap of a link type that
    cannot be judged, and, after the frames before it, for what is cut or damaged."""
    octets = _octets(path)
    if is_pcapng(octets):
        return pcapng_records(path, octets)
    linktype = pcap_linktype(path, octets)
    if (reason := refused_linktype(linktype)) is not None:
        raise ConfigurationError(f"{path}: {reason}")
    return pcap_records(path, octets)


def refused_linktype(linktype: int) -> str | None:
    """Why frames of a link type cannot be judged, and what to do; None when they can."""
    if linktype in _READABLE:
        return None
    name = _LINKTYPES.get(linktype, "unknown")
    return f"link type {linktype} ({name}): neither Ethernet nor Linux cooked; capture on one Ethernet interface: tcpdump -i eth0 -w FILE"


def _octets(path: Path) -> bytes:
    try:
        octets = path.read_bytes()
    except OSError as err:
        raise ConfigurationError(f"{path}: {err.strerror}; give a capture that can be read") from err
    if not octets:
        raise ConfigurationError(f"{path}: an empty file, not a pcap or pcapng file; end tcpdump with SIGINT, so that it writes all")
    if not is_pcap(octets) and not is_pcapng(octets):
        raise ConfigurationError(f"{path}: not a pcap or pcapng file; capture with tcpdump -w, and unpack what is compressed")
    return octets


def write_capture(path: Path, frames: Iterable[tuple[int, bytes]]) -> None:
    """Write (nanoseconds, frame) pairs as a pcap file of Ethernet frames with microseconds."""
    try:
        with RawPcapWriter(str(path), linktype=LINKTYPE_ETHERNET, sync=True) as writer:
            writer.write_header(None)
            for time, frame in frames:
                writer.write_packet(frame, sec=time // SECOND, usec=time % SECOND // 1000)
    except OSError as err:
        raise ConfigurationError(f"{path}: cannot be written: {err.strerror}; choose another file with -w") from err
