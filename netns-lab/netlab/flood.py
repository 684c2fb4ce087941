"""A hostile host: ``python -m netlab.flood DEVICE KIND SECONDS RATE [ADDRESS...]`` sends one kind of frames.

Kinds: ``same`` (one host asks for the addresses without end), ``spoofed`` (each question comes from a host that does not exist),
``foreign`` (questions for what nobody has), ``octets`` (random octets, half of them behind the header of a question for an address),
``mld`` (listener reports for random groups). Runs in the namespace that it is started in; prints how many frames it sent.
"""

import random
import socket
import sys
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from netlab.frames import Address, ask, internet_checksum

FRAMES = 4096
"""Frames made beforehand, which are sent in turn."""
BURST = 32
CLIENTS4, CLIENTS6 = IPv4Address("10.99.8.0"), IPv6Address("fd99::8:0")
_ALL_ROUTERS = IPv6Address("ff02::16")


def _question(address: Address, number: int, mac: bytes) -> bytes:
    return ask(address, (CLIENTS4 if address.version == 4 else CLIENTS6) + number % 1000, mac)


def same(addresses: Sequence[Address], mac: bytes, _: random.Random) -> list[bytes]:
    """One host that asks for each address in turn."""
    return [_question(addresses[number % len(addresses)], 0, mac) for number in range(FRAMES)]


def spoofed(addresses: Sequence[Address], _: bytes, chance: random.Random) -> list[bytes]:
    """The same questions, each from a hardware address that was made up."""
    return [_question(addresses[number % len(addresses)], number, b"\2" + chance.randbytes(5)) for number in range(FRAMES)]


def foreign(_: Sequence[Address], mac: bytes, chance: random.Random) -> list[bytes]:
    """Questions for addresses from outside of what anybody answers."""
    return [
        _question(ip_address(b"\x0a\x63" + chance.randbytes(2) if number % 2 else b"\xfd\x98" + chance.randbytes(14)), number, mac)
        for number in range(FRAMES)
    ]


def octets(addresses: Sequence[Address], mac: bytes, chance: random.Random) -> list[bytes]:
    """Rubbish: random octets behind a random header, or a question with random octets written over it."""
    made = []
    for number in range(FRAMES):
        frame = bytearray(_question(addresses[number % len(addresses)], 0, mac))
        if number % 2:
            frame = bytearray(chance.randbytes(chance.randint(14, 200)))
            frame[12:14] = chance.choice((b"\x08\x06", b"\x86\xdd"))
            frame[:6] = b"\xff" * 6
        else:
            for _ in range(3):
                frame[chance.randrange(6, len(frame))] = chance.randrange(256)
        made.append(bytes(frame))
    return made


def mld(_: Sequence[Address], mac: bytes, chance: random.Random) -> list[bytes]:
    """MLDv2 reports of random solicited-node groups (RFC 3810, 5.2): a switch that snoops must remember each."""
    source = IPv6Address("fe80::8").packed
    made = []
    for _number in range(FRAMES):
        group = IPv6Address("ff02::1:ff00:0").packed[:13] + chance.randbytes(3)
        record = b"\x04\0\0\0" + group
        message = b"\x8f\0\0\0\0\0\0\1" + record
        sum_ = internet_checksum(source + _ALL_ROUTERS.packed + len(message).to_bytes(4, "big") + b"\0\0\0\x3a" + message)
        message = message[:2] + sum_.to_bytes(2, "big") + message[4:]
        header = b"\x60\0\0\0" + (len(message) + 8).to_bytes(2, "big") + b"\0\1" + source + _ALL_ROUTERS.packed
        made.append(b"\x33\x33\0\0\0\x16" + mac + b"\x86\xdd" + header + b"\x3a\0\5\2\0\0\1\0" + message)
    return made


KINDS: dict[str, Callable[[Sequence[Address], bytes, random.Random], list[bytes]]] = {
    "same": same,
    "spoofed": spoofed,
    "foreign": foreign,
    "octets": octets,
    "mld": mld,
}


def flood(device: str, kind: str, seconds: float, rate: int, addresses: Sequence[Address]) -> int:
    """Send for a time, at most ``rate`` frames a second; returns how many were sent."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.bind((device, 0))
        out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        frames = KINDS[kind](addresses, out.getsockname()[4], random.Random(kind))  # noqa: S311 - the same rubbish in every run
        sent, began = 0, time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            if sent > passed * rate:
                time.sleep(BURST / rate)
                continue
            for _ in range(BURST):
                out.send(frames[sent % FRAMES])
                sent += 1
    return sent


if __name__ == "__main__":
    count = flood(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), [ip_address(each) for each in sys.argv[5:]])
    sys.stdout.write(f"{count}\n")
