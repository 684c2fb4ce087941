"""What a request is, read a second time: plainly, slowly, and without the code under test. Judges the answers of the fuzz targets."""

from ipaddress import IPv6Address

ARP, IPV6 = b"\x08\x06", b"\x86\xdd"
VLANS = (b"\x81\x00", b"\x88\xa8")


def untagged(frame: bytes) -> bytes:
    """The frame without one priority tag (802.1Q or 802.1ad, VLAN 0); as it is with any other."""
    if frame[12:14] in VLANS and len(frame) >= 18 and int.from_bytes(frame[14:16], "big") & 0xFFF == 0:
        return frame[:12] + frame[16:]
    return frame


def asked_for(frame: bytes, own_mac: bytes) -> bytes | None:
    """The target, as octets, of a request that a host with ``own_mac`` may answer; None when there is nobody, or nothing, to answer."""
    frame = untagged(frame)
    if len(frame) < 14 or frame[6:12] == own_mac or not (frame[0] & 1 or frame[:6] == own_mac):
        return None
    if frame[12:14] == ARP:
        return _arp_target(frame[14:], own_mac)
    return _ndp_target(frame, own_mac) if frame[12:14] == IPV6 else None


def _usable(mac: bytes, own_mac: bytes) -> bool:
    return mac not in (own_mac, bytes(6)) and not mac[0] & 1


def _arp_target(packet: bytes, own_mac: bytes) -> bytes | None:
    if len(packet) < 28 or packet[:8] != b"\0\1\x08\0\6\4\0\1":
        return None
    sender, sender_ip, target = packet[8:14], packet[14:18], packet[24:28]
    return target if _usable(sender, own_mac) and sender_ip != target else None


def _ndp_target(frame: bytes, own_mac: bytes) -> bytes | None:
    packet = frame[14:]
    if len(packet) < 64 or packet[0] >> 4 != 6 or packet[6] != 58 or packet[7] != 255:
        return None
    length = int.from_bytes(packet[4:6], "big")
    message = packet[40 : 40 + length]
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    if length < 24 or len(message) < length or message[:2] != b"\x87\0" or not _sums_up(packet[8:40], message):
        return None
    options = _options(message[24:])
    if options is None or message[8] == 0xFF or source.is_multicast or source.is_loopback:
        return None
    target = IPv6Address(message[8:24])
    if not destination.is_multicast and destination != target:
        return None
    mac = next((value for kind, value in options if kind == 1), None)
    if source.is_unspecified and (mac is not None or destination.packed[:13] != IPv6Address("ff02::1:ff00:0").packed[:13]):
        return None
    asker = frame[6:12] if mac is None else mac
    if len(asker) != 6 or not _usable(asker, own_mac):
        return None
    return message[8:24]


def _sums_up(addresses: bytes, message: bytes) -> bool:
    octets = addresses + len(message).to_bytes(4, "big") + b"\0\0\0\x3a" + message
    octets += bytes(len(octets) % 2)
    total = sum(int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2))
    return total % 0xFFFF == 0


def _options(octets: bytes) -> list[tuple[int, bytes]] | None:
    """The options as (type, value); None when they do not add up."""
    found = []
    while octets:
        if len(octets) < 2 or not octets[1] or len(octets) < 8 * octets[1]:
            return None
        found.append((octets[0], octets[2 : 8 * octets[1]]))
        octets = octets[8 * octets[1] :]
    return found
