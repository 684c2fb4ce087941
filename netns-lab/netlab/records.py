"""Which labs are there: one small file for each, by which ``down`` removes a lab even after its process was killed.

A lab is its process (by id and start time, so that a reused id is nobody's), its directory, and every process that carries the directory's
name in its environment. Its namespaces live in a mount namespace of those processes and end with the last of them.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from netlab.topology import LAB_DIRECTORY
from netlab.waiting import WaitTimeout, wait_until

RECORDS = LAB_DIRECTORY / ".labs"
MARK = "NETLAB_DIRECTORY"
"""The environment variable that every process of a lab inherits."""

ORDERLY_SECONDS = 15.0
"""How long a lab may take to remove itself."""

LINGER_SECONDS = 1.0
"""How long its processes may take to end after it asked them to."""

KILL_SECONDS = 5.0


class Record(msgspec.Struct, frozen=True):
    """One lab. ``stays`` tells one that ``up`` made from a run, which removes itself; ``ready``: it is built and its agents serve."""

    pid: int
    started: int
    directory: str
    stays: bool
    ready: bool = False
    cluster: str = "embedded"

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return RECORDS / f"{self.pid}.json"

    def save(self) -> None:
        """Write it; a reader sees all of it or nothing."""
        RECORDS.mkdir(exist_ok=True)
        unfinished = self.file.with_suffix(".new")
        unfinished.write_bytes(msgspec.json.encode(self))
        unfinished.replace(self.file)

    def is_alive(self) -> bool:
        """Whether its process is the one that wrote it, and lives."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """When a process started, in ticks since boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


@contextmanager
def recorded(directory: Path, cluster: str = "embedded", stays: bool = False) -> Iterator[Record]:
    """Keep a record of this process's lab while the block lasts, and mark the processes it starts; none of them outlives the block."""
    record = Record(os.getpid(), start_time(os.getpid()) or 0, str(directory), stays, cluster=cluster)
    record.save()
    os.environ[MARK] = str(directory)
    try:
        yield record
    finally:
        with suppress(WaitTimeout):
            wait_until(lambda: not marked_processes(record.directory), LINGER_SECONDS, "the lab's processes to end")
        _kill_marked(record.directory)
        record.file.unlink(missing_ok=True)


def records() -> list[Record]:
    """Every lab that has a record, alive or left over. A file that is no record is passed over."""
    found = []
    for file in sorted(RECORDS.glob("*.json")):
        with suppress(FileNotFoundError, msgspec.DecodeError):
            found.append(msgspec.json.decode(file.read_bytes(), type=Record))
    return found


def marked_processes(directory: str) -> list[int]:
    """The processes that a lab with this directory started and that live, but for this one."""
    wanted = f"{MARK}={directory}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def remove(record: Record) -> None:
    """End a lab: ask its process to remove it, kill what is left, remove its directory."""
    if record.is_alive():
        os.kill(record.pid, signal.SIGTERM)
        try:
            wait_until(lambda: not record.is_alive(), ORDERLY_SECONDS, "the lab to remove itself")
        except WaitTimeout:
            os.kill(record.pid, signal.SIGKILL)
    _kill_marked(record.directory)
    shutil.rmtree(record.directory, ignore_errors=True)
    record.file.unlink(missing_ok=True)


def _kill_marked(directory: str) -> None:
    """Kill what a lab started and wait for its end."""
    for pid in marked_processes(directory):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not marked_processes(directory), KILL_SECONDS, "the lab's processes to end")
