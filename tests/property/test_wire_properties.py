"""The codecs of frames and of the channel: W1 what is encoded is decoded again, W2 no octets break a decoder, W3 scapy writes the same."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

from hypothesis import assume, given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from l2announce.errors import ChannelError, DecodeError
from l2announce.model.address import BROADCAST_MAC, Address, format_mac, solicited_node_multicast
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.model.report import AnswerRecord, Report
from l2announce.wire.arp import NO_MAC, REPLY, REQUEST, ArpPacket, arp_announcements, arp_reply, decode_arp, encode_arp
from l2announce.wire.ethernet import ETH_P_ARP, EthernetHeader, decode_ethernet
from l2announce.wire.icmpv6 import (
    ALL_NODES,
    ALL_NODES_MAC,
    UNSPECIFIED,
    NeighborAdvertisement,
    NeighborSolicitation,
    decode_neighbor_advertisement,
    decode_neighbor_solicitation,
    encode_neighbor_advertisement,
    encode_neighbor_solicitation,
    multicast_mac,
    neighbor_announcement,
    neighbor_reply,
)
from l2announce.wire.messages import Assembler, encode_claims, encode_report
from l2announce.wire.rtnetlink import decode_messages

macs = st.binary(min_size=6, max_size=6)
ipv4 = st.ip_addresses(v=4).map(lambda a: IPv4Address(int(a)))
ipv6 = st.ip_addresses(v=6).map(lambda a: IPv6Address(int(a)))
unicast = ipv6.filter(lambda a: not a.is_multicast)
assigned = unicast.filter(lambda a: not a.is_unspecified and not a.is_loopback)
arp_packets = st.builds(ArpPacket, st.integers(0, 0xFFFF), macs, ipv4, macs, ipv4)
ordinary_solicitations = st.builds(NeighborSolicitation, assigned, ipv6, unicast, st.none() | macs)
detections = unicast.map(lambda target: NeighborSolicitation(UNSPECIFIED, solicited_node_multicast(target), target, None))
solicitations = ordinary_solicitations | detections
advertisements = st.builds(NeighborAdvertisement, unicast, st.booleans(), st.booleans(), st.booleans(), st.none() | macs)

names = st.text(max_size=15)
instants = st.floats(allow_nan=False)
counts = st.integers(0, 2**64 - 1)
durations = st.floats(0, 1e6)
addresses: st.SearchStrategy[Address] = ipv4 | ipv6
claims = st.builds(Claim, addresses, st.frozensets(names, max_size=3), instants, st.booleans(), instants)
claim_sets = st.builds(
    ClaimSet,
    counts,
    st.lists(claims, max_size=20).map(tuple),
    durations,
    st.frozensets(macs, max_size=3),
    durations,
    durations,
    st.integers(0, 2**32 - 1),
)
links = st.builds(Link, st.integers(0, 2**31 - 1), names, macs, st.booleans(), st.none() | ipv6)
reports = st.builds(
    Report,
    st.integers(-1, 2**63 - 1),
    instants,
    st.lists(links, max_size=4).map(tuple),
    st.lists(st.tuples(names, counts), max_size=4).map(tuple),
    counts,
    st.lists(st.builds(AnswerRecord, addresses, names, counts, instants, counts), max_size=4).map(tuple),
    st.lists(st.text(max_size=200), max_size=3).map(tuple),
)


# -- W1: decode(encode(x)) == x


@given(macs, macs, st.integers(0, 0xFFFF), st.binary(max_size=50))
def test_w1_ethernet(destination: bytes, source: bytes, ethertype: int, payload: bytes) -> None:
    header = EthernetHeader(destination, source, ethertype)
    assert decode_ethernet(header.encode() + payload) == header


@given(arp_packets, st.binary(max_size=30))
def test_w1_arp(packet: ArpPacket, padding: bytes) -> None:
    assert decode_arp(encode_arp(packet) + padding) == packet


@given(macs, macs, solicitations, st.binary(max_size=30))
def test_w1_neighbor_solicitation(mac: bytes, to_mac: bytes, solicitation: NeighborSolicitation, padding: bytes) -> None:
    assert decode_neighbor_solicitation(encode_neighbor_solicitation(mac, to_mac, solicitation) + padding) == solicitation


@given(macs, macs, ipv6, ipv6, advertisements, st.binary(max_size=30))
def test_w1_neighbor_advertisement(
    mac: bytes, to_mac: bytes, source: IPv6Address, destination: IPv6Address, advertisement: NeighborAdvertisement, padding: bytes
) -> None:
    assume(not (destination.is_multicast and advertisement.solicited))
    frame = encode_neighbor_advertisement(mac, to_mac, source, destination, advertisement)
    assert decode_neighbor_advertisement(frame + padding) == advertisement


def assembled(datagrams: list[bytes]) -> list[ClaimSet | Report]:
    assembler = Assembler()
    return [message for datagram in datagrams for message in assembler.feed(datagram)]


@given(claim_sets)
def test_w1_claims(claim_set: ClaimSet) -> None:
    assert assembled(encode_claims(claim_set)) == [claim_set]


@given(reports)
def test_w1_report(report: Report) -> None:
    assert assembled(encode_report(report)) == [report]


# -- W2: any octets give a value or the decoder's own error


def judge(octets: bytes) -> None:
    """Every decoder of frames gives a value or a DecodeError, and a value that it gives obeys the receive checks."""
    try:
        decode_ethernet(octets)
    except DecodeError:
        assert len(octets) < 14
    try:
        decode_arp(octets)
    except DecodeError:
        assert octets[:6] != bytes.fromhex("000108000604") or len(octets) < 28
    with suppress(DecodeError):
        solicitation = decode_neighbor_solicitation(octets)
        assert octets[21] == 255
        assert not solicitation.target.is_multicast
        assert not solicitation.source.is_multicast
        assert solicitation.source != UNSPECIFIED or solicitation.source_link_layer_address is None
    with suppress(DecodeError):
        advertisement = decode_neighbor_advertisement(octets)
        assert octets[21] == 255
        assert not (octets[38] == 0xFF and advertisement.solicited)


def summed(frame: bytes) -> bytes:
    """``frame`` with the ICMPv6 checksum that its payload length asks for, so that the checks behind it are reached."""
    length = int.from_bytes(frame[18:20], "big")
    body = frame[54:56] + b"\0\0" + frame[58 : 54 + length]
    words = frame[22:54] + length.to_bytes(4, "big") + b"\0\0\0\x3a" + body + bytes(len(body) % 2)
    total = sum(int.from_bytes(words[at : at + 2], "big") for at in range(0, len(words), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return frame[:56] + (0xFFFF - total).to_bytes(2, "big") + frame[58:]


@given(st.binary(max_size=200))
def test_w2_any_octets(octets: bytes) -> None:
    judge(octets)


@given(solicitations, st.binary(max_size=40), st.integers(12, 90), st.integers(0, 255), st.integers(0, 130), st.booleans())
def test_w2_damaged_solicitations(
    solicitation: NeighborSolicitation, options: bytes, at: int, octet: int, length: int, repair: bool
) -> None:
    frame = bytearray(encode_neighbor_solicitation(b"\2\0\0\0\0\1", ALL_NODES_MAC, solicitation) + options)
    frame[19] = len(frame) - 54
    frame[min(at, len(frame) - 1)] = octet
    judge(summed(bytes(frame)) if repair else bytes(frame))
    judge(bytes(frame[:length]))


def feed(datagram: bytes) -> None:
    with suppress(ChannelError):
        list(Assembler().feed(datagram))


@given(st.binary(max_size=100), st.integers(1, 3))
def test_w2_channel_octets(octets: bytes, kind: int) -> None:
    feed(octets)
    feed(b"l2an\1" + bytes((kind, 0, 0, 0, 1, 0, 0, 0, 0)) + octets)


@given(claim_sets.map(encode_claims) | reports.map(encode_report), st.integers(0), st.integers(0, 255))
def test_w2_damaged_messages(datagrams: list[bytes], at: int, octet: int) -> None:
    damaged = bytearray(datagrams[0])
    damaged[at % len(damaged)] = octet
    feed(bytes(damaged))
    feed(datagrams[0][: at % len(damaged)])


@given(st.binary(max_size=200), st.sampled_from([2, 3, 16, 17, 20, 21]), st.booleans())
def test_w2_netlink_octets(octets: bytes, kind: int, inet6: bool) -> None:
    body = bytes((10,)) + octets[1:] if inet6 else b"\0" + octets[1:]
    header = (16 + len(body)).to_bytes(4, "little") + kind.to_bytes(2, "little") + bytes(10)
    for datagram in (octets, header + body):
        with suppress(DecodeError):
            list(decode_messages(datagram))


# -- W3: our octets equal scapy's


def scapy_arp(destination: bytes, source: bytes, packet: ArpPacket) -> bytes:
    return bytes(
        Ether(dst=format_mac(destination), src=format_mac(source))
        / ARP(
            op=packet.opcode,
            hwsrc=format_mac(packet.sender_hardware_address),
            psrc=str(packet.sender_protocol_address),
            hwdst=format_mac(packet.target_hardware_address),
            pdst=str(packet.target_protocol_address),
        )
    )


def scapy_ipv6(destination: bytes, source: bytes, ip_source: IPv6Address, ip_destination: IPv6Address) -> Ether:
    ethernet = Ether(dst=format_mac(destination), src=format_mac(source))
    return ethernet / IPv6(src=str(ip_source), dst=str(ip_destination), hlim=255)


def scapy_advertisement(advertisement: NeighborAdvertisement) -> Ether:
    a = advertisement
    made = ICMPv6ND_NA(tgt=str(a.target), R=int(a.router), S=int(a.solicited), O=int(a.override))
    mac = a.target_link_layer_address
    return made if mac is None else made / ICMPv6NDOptDstLLAddr(lladdr=format_mac(mac))


@given(macs, ipv4, arp_packets)
def test_w3_arp(mac: bytes, address: IPv4Address, request: ArpPacket) -> None:
    asker = request.sender_hardware_address
    reply = ArpPacket(REPLY, mac, address, asker, request.sender_protocol_address)
    assert arp_reply(mac, address, request) == scapy_arp(asker, mac, reply)
    assert EthernetHeader(asker, mac, ETH_P_ARP).encode() + encode_arp(request) == scapy_arp(asker, mac, request)
    assert arp_announcements(mac, address) == (
        scapy_arp(BROADCAST_MAC, mac, ArpPacket(REQUEST, mac, address, NO_MAC, address)),
        scapy_arp(BROADCAST_MAC, mac, ArpPacket(REPLY, mac, address, mac, address)),
    )


@given(macs, macs, solicitations)
def test_w3_neighbor_solicitation(mac: bytes, to_mac: bytes, solicitation: NeighborSolicitation) -> None:
    judge = scapy_ipv6(to_mac, mac, solicitation.source, solicitation.destination) / ICMPv6ND_NS(tgt=str(solicitation.target))
    if solicitation.source_link_layer_address is not None:
        judge /= ICMPv6NDOptSrcLLAddr(lladdr=format_mac(solicitation.source_link_layer_address))
    assert encode_neighbor_solicitation(mac, to_mac, solicitation) == bytes(judge)


@given(macs, macs, ipv6, ipv6, advertisements)
def test_w3_neighbor_advertisement(
    mac: bytes, to_mac: bytes, source: IPv6Address, destination: IPv6Address, advertisement: NeighborAdvertisement
) -> None:
    judge = scapy_ipv6(to_mac, mac, source, destination) / scapy_advertisement(advertisement)
    assert encode_neighbor_advertisement(mac, to_mac, source, destination, advertisement) == bytes(judge)


@given(macs, macs, solicitations, st.none() | unicast)
def test_w3_neighbor_reply(mac: bytes, to_mac: bytes, solicitation: NeighborSolicitation, link_local: IPv6Address | None) -> None:
    target = solicitation.target
    source = link_local or target
    advertisement = NeighborAdvertisement(target, False, not solicitation.is_duplicate_address_detection, True, mac)
    if solicitation.is_duplicate_address_detection:
        judge = scapy_ipv6(multicast_mac(ALL_NODES), mac, source, ALL_NODES) / scapy_advertisement(advertisement)
    else:
        judge = scapy_ipv6(to_mac, mac, source, solicitation.source) / scapy_advertisement(advertisement)
    assert neighbor_reply(mac, to_mac, solicitation, link_local) == bytes(judge)


@given(macs, unicast, st.none() | unicast)
def test_w3_neighbor_announcement(mac: bytes, address: IPv6Address, link_local: IPv6Address | None) -> None:
    advertisement = NeighborAdvertisement(address, False, False, True, mac)
    judge = scapy_ipv6(ALL_NODES_MAC, mac, link_local or address, ALL_NODES) / scapy_advertisement(advertisement)
    assert neighbor_announcement(mac, address, link_local) == bytes(judge)


@given(st.binary(min_size=4, max_size=4), unicast)
def test_w3_a_checksum_of_zero_is_written_as_zero(mac_start: bytes, address: IPv6Address) -> None:
    """RFC 4443, 2.3: only UDP writes 0xffff instead. The last word of the MAC is chosen so that all words sum up to 0xffff."""
    frame = neighbor_announcement(mac_start + b"\0\0", address, None)
    frame = neighbor_announcement(mac_start + frame[56:58], address, None)
    judge = scapy_ipv6(ALL_NODES_MAC, frame[6:12], address, ALL_NODES)
    judge /= scapy_advertisement(NeighborAdvertisement(address, False, False, True, frame[6:12]))
    assert frame[56:58] == b"\0\0"
    assert frame == bytes(judge)
    assert decode_neighbor_advertisement(frame).target == address
