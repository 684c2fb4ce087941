"""The frames of a pcapng file: sections of either byte order, and for each interface its name, link type and resolution of time.

Blocks other than those that describe interfaces or hold frames are passed over.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from l2announce.cli.pcap import AGAIN, SECOND, Record, require_possible, truncated
from l2announce.errors import ConfigurationError

_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_MAGIC = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_IF_NAME, _IF_TSRESOL, _IF_TSOFFSET = 2, 9, 14
_FRAME_BLOCKS = (_PACKET, _OLD_PACKET, _SIMPLE_PACKET)


class _Interface(NamedTuple):
    name: str | None
    linktype: int
    snaplen: int
    resolution: int
    offset: int

    def nanoseconds(self, high: int, low: int) -> int:
        """Since the epoch; integers, since a float cannot tell nanoseconds apart."""
        return ((high << 32) + low) * SECOND // self.resolution + self.offset * SECOND


class _Block(NamedTuple):
    kind: int
    order: str
    body: bytes
    where: str


def is_pcapng(octets: bytes) -> bool:
    """True for a file that begins with a section header of either byte order."""
    return octets[:4] == _MAGIC and octets[8:12] in _BYTE_ORDER


def pcapng_records(path: Path, octets: bytes) -> Iterator[Record]:
    """The frames in order. ConfigurationError, after those before it, at a block that is cut or damaged. A simple packet block has no
    time: its frame gets that of the one before it."""
    interfaces: list[_Interface] = []
    time = 0
    for block in _blocks(path, octets):
        if block.kind == _SECTION:
            interfaces = []
        elif block.kind == _INTERFACE:
            interfaces.append(_interface(path, block))
        elif block.kind in _FRAME_BLOCKS:
            record = _frame(path, block, interfaces, time)
            time = record.time
            yield record


def _blocks(path: Path, octets: bytes) -> Iterator[_Block]:
    position, order, frames = 0, "<", 0
    while position < len(octets):
        head = octets[position : position + 12]
        where = f"the block at offset {position}, behind frame {frames}"
        if len(head) < 12:
            raise truncated(path, octets, where)
        if head[:4] == _MAGIC:
            if head[8:] not in _BYTE_ORDER:
                raise _damaged(path, where, "it begins a section without a byte order")
            order = _BYTE_ORDER[head[8:]]
        kind, length = struct.unpack_from(order + "II", head)
        if kind in _FRAME_BLOCKS:
            frames += 1
            where = f"frame {frames} at offset {position}"
        if length < 12 or length % 4:
            raise _damaged(path, where, f"its length is {length}")
        if position + length > len(octets):
            raise truncated(path, octets, where)
        body = octets[position + 8 : position + length - 4]
        if octets[position + 4 : position + 8] != octets[position + length - 4 : position + length]:
            raise _damaged(path, where, "its two lengths differ")
        yield _Block(kind, order, body, where)
        position += length


def _damaged(path: Path, where: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{path}: damaged: {where}: {why}; {AGAIN}")


def _interface(path: Path, block: _Block) -> _Interface:
    if len(block.body) < 8:
        raise _damaged(path, block.where, "too short for an interface")
    linktype, snaplen = struct.unpack_from(block.order + "HxxI", block.body)
    options = _options(block.body[8:], block.order)
    name = options.get(_IF_NAME)
    resolution = options.get(_IF_TSRESOL, b"\6")[0]
    (offset,) = struct.unpack(block.order + "q", options.get(_IF_TSOFFSET, b"")[:8].ljust(8, b"\0"))
    return _Interface(
        None if name is None else name.decode(errors="replace"),
        linktype,
        snaplen,
        2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution,
        offset,
    )


def _options(octets: bytes, order: str) -> dict[int, bytes]:
    options = {}
    while len(octets) >= 4:
        code, length = struct.unpack_from(order + "HH", octets)
        if code == 0:
            break
        if length:
            options[code] = octets[4 : 4 + length]
        octets = octets[4 + length + -length % 4 :]
    return options


def _frame(path: Path, block: _Block, interfaces: list[_Interface], before: int) -> Record:
    simple = block.kind == _SIMPLE_PACKET
    start = 4 if simple else 20
    if len(block.body) < start:
        raise _damaged(path, block.where, "too short for a frame")
    form = {_PACKET: "IIIII", _OLD_PACKET: "HxxIIII", _SIMPLE_PACKET: "I"}[block.kind]
    *fields, length = struct.unpack_from(block.order + form, block.body)
    number, high, low, kept = fields or (0, 0, 0, 0)
    require_possible(path, block.where, kept)
    if number >= len(interfaces):
        raise _damaged(path, block.where, f"it is of interface {number}, and {len(interfaces)} are described")
    interface = interfaces[number]
    if simple:
        kept = min(length, interface.snaplen or length)
    if start + kept > len(block.body):
        raise _damaged(path, block.where, f"it says that it has {kept} octets, and the block has {len(block.body) - start}")
    time = before if simple else interface.nanoseconds(high, low)
    cut_from = length if kept < length else None
    return Record(time, interface.name, block.body[start : start + kept], interface.linktype, cut_from)
