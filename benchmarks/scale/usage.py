"""What a process and an interface have used, from /proc."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int], proc: Path = Path("/proc")) -> float:
    """Processor time of these processes so far, user and kernel."""
    return sum(_ticks((proc / str(pid) / "stat").read_text()) for pid in pids) * TICK


def memory_mib(pids: Iterable[int], proc: Path = Path("/proc"), field: str = "VmRSS") -> float:
    """Resident memory of these processes in MiB; with ``field`` VmHWM the most that it ever was."""
    return sum(_kib((proc / str(pid) / "status").read_text(), field) for pid in pids) / 1024


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went through an interface."""

    received_octets: int
    received_packets: int
    sent_octets: int
    sent_packets: int

    def __sub__(self, before: "Traffic") -> "Traffic":
        return Traffic(
            self.received_octets - before.received_octets,
            self.received_packets - before.received_packets,
            self.sent_octets - before.sent_octets,
            self.sent_packets - before.sent_packets,
        )


def parse_traffic(text: str, device: str) -> Traffic:
    """The counters of ``device`` in the text of /proc/net/dev; LookupError when it is not there."""
    for line in text.splitlines():
        name, colon, counters = line.partition(":")
        if colon and name.strip() == device:
            numbers = [int(number) for number in counters.split()]
            return Traffic(numbers[0], numbers[1], numbers[8], numbers[9])
    raise LookupError(f"there is no interface {device}")


def _ticks(stat: str) -> int:
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _kib(status: str, field: str) -> int:
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:"))
