"""A classic BPF machine in Python: runs the programs of l2announce.wire.bpf on a frame as the kernel would. For tests; not fast."""

from collections.abc import Sequence

MULTICAST = 2
OTHERHOST = 3
_ANCILLARY = {0xFFFFF004: "packet_type", 0xFFFFF008: "ifindex"}
_WIDTHS = {0x20: 4, 0x28: 2, 0x30: 1}


class InvalidProgramError(Exception):
    """A program that the kernel would refuse: an unknown instruction, a jump out of it, an end without a return."""


def check(program: Sequence[tuple[int, int, int, int]]) -> None:
    """Raise InvalidProgramError unless every jump stays inside, every field has its width, and the last instruction returns."""
    for at, (code, jt, jf, k) in enumerate(program):
        farthest = {0x05: k, 0x15: max(jt, jf), 0x25: max(jt, jf), 0x35: max(jt, jf)}.get(code, 0)
        if code not in {*_WIDTHS, 0x05, 0x06, 0x15, 0x25, 0x35} or at + 1 + farthest >= len(program) + (code == 0x06):
            raise InvalidProgramError(f"instruction {at} of {len(program)}: {(code, jt, jf, k)}")
        if not (0 <= jt <= 255 and 0 <= jf <= 255 and 0 <= k <= 0xFFFFFFFF):
            raise InvalidProgramError(f"instruction {at}: a field is too wide: {(code, jt, jf, k)}")
    if program[-1][0] != 0x06:
        raise InvalidProgramError("the last instruction does not return")


def run(program: Sequence[tuple[int, int, int, int]], frame: bytes, ifindex: int, packet_type: int = MULTICAST) -> tuple[int, int]:
    """What ``program`` returns for ``frame`` (0: dropped), and how many instructions that took."""
    ancillary = {"packet_type": packet_type, "ifindex": ifindex}
    accumulator = at = steps = 0
    while True:
        code, jt, jf, k = program[at]
        steps += 1
        at += 1
        if code == 0x06:
            return k, steps
        if code in _WIDTHS:
            if k in _ANCILLARY:
                accumulator = ancillary[_ANCILLARY[k]]
                continue
            octets = frame[k : k + _WIDTHS[code]]
            if len(octets) < _WIDTHS[code]:
                return 0, steps
            accumulator = int.from_bytes(octets, "big")
        elif code == 0x05:
            at += k
        else:
            held = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[code]
            at += jt if held else jf
