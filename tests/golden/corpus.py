"""What a golden case is made of: frames, what is expected of each, and the words to write both down by hand.

Nothing here, nor in the cases, uses the engine: frames and replies are scapy's, verdicts are written by a person. ``build`` turns a case
into its files; tests/golden/test_golden.py runs the engine against them.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Ether
from scapy.utils import RawPcapWriter

from l2announce.responder.verdict import Verdict

NODE = "02:00:00:00:00:01"
"""The hardware address of eth0, the link under test."""
NODE2 = "02:00:00:00:00:02"
"""The hardware address of eth1."""
CLIENT = "02:00:00:00:00:0c"
ROUTER = "02:00:00:00:00:0d"
BROADCAST = "ff:ff:ff:ff:ff:ff"
UNSPECIFIED4 = "0.0.0.0"  # noqa: S104 - a field of a packet, nothing is bound
ZERO = "00:00:00:00:00:00"

VIP4, OTHER4, CLIENT4 = "10.99.0.10", "10.99.0.11", "10.99.0.1"
VIP6, CLIENT6, CLIENT_LL = "fd99::10", "fd99::1", "fe80::c"
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
NODE_LL, OTHER6 = "fe80::1", "fd99::11"
VIP6_GROUP, VIP6_GROUP_MAC = "ff02::1:ff00:10", "33:33:ff:00:00:10"

ETHERNET, LINUX_SLL, LINUX_SLL2 = 1, 113, 276


@dataclass(frozen=True)
class Frame:
    """One received frame and what must come of it. ``at`` is microseconds; ``interface`` makes the capture a pcapng file."""

    what: str
    octets: bytes
    verdict: Verdict
    reply: Any = None
    at: int = 0
    interface: str | None = None


@dataclass(frozen=True)
class Case:
    """One directory of the corpus."""

    name: str
    frames: tuple[Frame, ...]
    claims: tuple[dict[str, Any], ...] = ()
    links: tuple[dict[str, Any], ...] = field(default=({"name": "eth0", "mac": NODE},))
    peers: tuple[str, ...] = ()
    answer_limit: int = 0
    linktype: int = ETHERNET
    """What tcpdump makes of the frames: LINUX_SLL and LINUX_SLL2 keep no destination, but the packet type that the node gives it."""


ETH1: dict[str, Any] = {"name": "eth1", "mac": NODE2, "index": 7}
WITH_LINK_LOCAL: tuple[dict[str, Any], ...] = ({"name": "eth0", "mac": NODE, "link_local": NODE_LL},)
BOTH_LINKS = ({"name": "eth0", "mac": NODE}, ETH1)
OWN_BOTH = ({"address": VIP4, "interfaces": ["eth0"]}, {"address": VIP6, "interfaces": ["eth0"]})


def own(address: str, *interfaces: str, deadline: float | None = None) -> dict[str, Any]:
    """One claim."""
    claim: dict[str, Any] = {"address": address, "interfaces": list(interfaces or ("eth0",))}
    return claim if deadline is None else claim | {"deadline": deadline}


def frame(what: str, packet: Any, verdict: Verdict, reply: Any = None, at: int = 0, interface: str | None = None) -> Frame:
    """A frame from a scapy packet or from octets."""
    return Frame(what, bytes(packet), verdict, reply, at, interface)


def case(name: str, *frames: Frame, claims: tuple[dict[str, Any], ...] = OWN_BOTH, links: tuple[dict[str, Any], ...] | None = None) -> Case:
    """A case that owns VIP4 and VIP6 on eth0 unless it says otherwise."""
    return Case(name, frames, claims, ({"name": "eth0", "mac": NODE},) if links is None else links)


def who_has(address: str = VIP4, *, to: str = BROADCAST, source: str = CLIENT, **fields: Any) -> Any:
    """An ARP request of CLIENT for ``address``; ``fields`` are scapy's, set on top."""
    return Ether(dst=to, src=source) / ARP(**({"op": 1, "hwsrc": CLIENT, "psrc": CLIENT4, "hwdst": ZERO, "pdst": address} | fields))


def is_at(address: str = VIP4, *, mac: str = NODE, to: str = CLIENT, to_address: str = CLIENT4) -> Any:
    """The ARP reply that the asker must get."""
    return Ether(dst=to, src=mac) / ARP(op=2, hwsrc=mac, psrc=address, hwdst=to, pdst=to_address)


def solicit(
    target: str = VIP6,
    *,
    ip: dict[str, Any] | None = None,
    to: str = VIP6_GROUP_MAC,
    source: str = CLIENT,
    options: Any = "source",
    **fields: Any,
) -> Any:
    """A solicitation of CLIENT for ``target``, multicast and with its link-layer address, unless ``ip``, ``options`` or ``fields`` say
    otherwise."""
    header = IPv6(**({"src": CLIENT6, "dst": VIP6_GROUP, "hlim": 255, "nh": 58} | (ip or {})))
    packet = Ether(dst=to, src=source) / header / ICMPv6ND_NS(tgt=target, **fields)
    if options == "source":
        return packet / ICMPv6NDOptSrcLLAddr(lladdr=CLIENT)
    return packet if options is None else packet / options


def advertise(
    target: str = VIP6, *, mac: str = NODE, to: str = CLIENT, to_address: str = CLIENT6, solicited: int = 1, source: str | None = None
) -> Any:
    """The advertisement that the asker must get: from ``source``, else from the target itself, Override set, Router not."""
    return (
        Ether(dst=to, src=mac)
        / IPv6(src=source or target, dst=to_address, hlim=255)
        / ICMPv6ND_NA(R=0, S=solicited, O=1, tgt=target)
        / ICMPv6NDOptDstLLAddr(lladdr=mac)
    )


def advertise_to_all(target: str = VIP6, *, mac: str = NODE, source: str | None = None) -> Any:
    """The answer to duplicate address detection (RFC 4861, 7.2.4): to all nodes, Solicited not set."""
    return advertise(target, mac=mac, to=ALL_NODES_MAC, to_address=ALL_NODES, solicited=0, source=source)


def patch(packet: Any, offset: int, *octets: int) -> bytes:
    """The octets of ``packet`` with some of them overwritten."""
    raw = bytearray(bytes(packet))
    raw[offset : offset + len(octets)] = octets
    return bytes(raw)


def describe(reply: Any) -> str:
    """A reply in one line, for verdicts.txt."""
    if reply is None:
        return "-"
    packet = Ether(bytes(reply))
    if ARP in packet:
        return f"to {packet.dst}: {packet[ARP].psrc} is at {packet[ARP].hwsrc} (tells {packet[ARP].pdst})"
    na = packet[ICMPv6ND_NA]
    flags = "".join(name for name, is_set in (("R", na.R), ("S", na.S), ("O", na.O)) if is_set)
    told = f"from {packet[IPv6].src}, tells {packet[IPv6].dst}, flags {flags}"
    return f"to {packet.dst}: {na.tgt} is at {packet[ICMPv6NDOptDstLLAddr].lladdr} ({told})"


def build(made: Case, root: Path) -> None:
    """Write the four files of a case into ``root/name``."""
    folder = root / made.name
    folder.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {"links": list(made.links), "claims": list(made.claims)}
    if made.peers:
        document["peers"] = list(made.peers)
    if made.answer_limit:
        document["answer_limit"] = made.answer_limit
    (folder / "claims.yaml").write_text(yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120))
    if any(one.interface for one in made.frames):
        (folder / "in.pcap").write_bytes(pcapng(made.frames))
    else:
        _write_pcap(folder / "in.pcap", [(one.at, cook(one.octets, made.linktype)) for one in made.frames], made.linktype)
    _write_pcap(folder / "out.pcap", [(one.at, bytes(one.reply)) for one in made.frames if one.reply is not None])
    first = made.frames[0].at
    lines = [_line(made, number, one, (one.at - first) / 1e6) for number, one in enumerate(made.frames, start=1)]
    (folder / "verdicts.txt").write_text("\n".join(lines) + "\n")


def _line(made: Case, number: int, one: Frame, seconds: float) -> str:
    interface = one.interface or made.links[0]["name"]
    return f"{number} {seconds:.6f} {interface} {one.verdict.value} | {one.what} | {describe(one.reply)}"


def cook(octets: bytes, linktype: int) -> bytes:
    """What a capture of ``linktype`` on all interfaces has of a frame that eth0, of address NODE and index 1, received or sent."""
    if linktype == ETHERNET:
        return octets
    packet = Ether(octets)
    kind = 4 if packet.src == NODE else {NODE: 0, BROADCAST: 1}.get(packet.dst, 2 if octets[0] & 1 else 3)
    fields = {"pkttype": kind, "lladdrtype": 1, "lladdrlen": 6, "src": octets[6:12], "proto": packet.type}
    header = CookedLinux(**fields) if linktype == LINUX_SLL else CookedLinuxV2(**fields, ifindex=1)
    return bytes(header) + octets[14:]


def _write_pcap(path: Path, frames: list[tuple[int, bytes]], linktype: int = ETHERNET) -> None:
    with RawPcapWriter(str(path), linktype=linktype, sync=True) as writer:
        writer.write_header(None)
        for at, octets in frames:
            writer.write_packet(octets, sec=at // 1_000_000, usec=at % 1_000_000)


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def pcapng(frames: tuple[Frame, ...]) -> bytes:
    """A pcapng file with an interface description for each name: Ethernet, microseconds (the default resolution)."""
    names = sorted({one.interface or "" for one in frames})
    blocks = [_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for name in names:
        value = name.encode()
        option = struct.pack("<HH", 2, len(value)) + value + bytes(-len(value) % 4) + bytes(4)
        blocks.append(_block(1, struct.pack("<HHI", 1, 0, 0) + option))
    for one in frames:
        fields = struct.pack(
            "<IIIII", names.index(one.interface or ""), one.at >> 32, one.at & 0xFFFFFFFF, len(one.octets), len(one.octets)
        )
        blocks.append(_block(6, fields + one.octets))
    return b"".join(blocks)
