"""The prober and the capture as the lab sees them: started, listened to, stopped."""

import json
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from netlab.build import WITH_PARENT
from netlab.frames import Address
from netlab.namespaces import Namespace
from netlab.prober import ProberConfig
from netlab.waiting import wait_until

WRITE_TIME = 30.0
"""Seconds that a process gets to write its file after SIGTERM."""


class Heard(msgspec.Struct, frozen=True):
    """The prober's latest word about one address; see AddressProbe.live()."""

    last_answer: int = 0
    last_reply: int = 0
    mac: str = ""
    ask_gap: int = 0
    traffic_gap: int = 0


class AddressLog(msgspec.Struct, frozen=True):
    """All that the prober saw of one address; see AddressProbe."""

    asks: list[int]
    answers: list[tuple[int, int, str]]
    sent: list[int]
    replies: list[tuple[int, int]]


class ProbeLog(msgspec.Struct, frozen=True):
    """The prober's file. ``interval`` in seconds, times in nanoseconds since the epoch."""

    interval: float
    addresses: dict[str, AddressLog]


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest blackouts of an address since somebody began to watch, nanoseconds."""

    asks: int = 0
    traffic: int = 0


class ProberFeed:
    """The running prober. ``heard`` is its latest word for each address, ``worst`` the longest gaps since ``watch_gaps``."""

    def __init__(self, namespace: Namespace, config: ProberConfig, directory: Path) -> None:
        self.heard: dict[str, Heard] = {address: Heard() for address in config.addresses}
        self.worst: dict[str, Gap] = {address: Gap() for address in config.addresses}
        self._log = Path(config.log)
        config_file = directory / "prober.json"
        config_file.write_text(json.dumps(asdict(config)))
        command = (*WITH_PARENT, sys.executable, "-m", "netlab.prober", str(config_file))
        self._process = namespace.popen(*command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Take the prober's lines until it ends."""
        if self._process.stdout is None:
            return
        decoder = msgspec.json.Decoder(dict[str, Heard])
        for line in self._process.stdout:
            heard = decoder.decode(line)
            worst = self.worst
            self.worst = {
                address: Gap(max(worst[address].asks, now.ask_gap), max(worst[address].traffic, now.traffic_gap))
                for address, now in heard.items()
            }
            self.heard = heard

    def watch_gaps(self) -> None:
        """Forget the gaps so far."""
        self.worst = dict.fromkeys(self.worst, Gap())

    def of(self, address: Address) -> Heard:
        """The latest word about one address."""
        return self.heard[str(address)]

    def check(self) -> None:
        """Raise ChildProcessError when the prober ended by itself."""
        if self._process.poll() is not None:
            raise ChildProcessError(f"the prober ended with exit code {self._process.returncode}")

    def stop(self) -> ProbeLog:
        """End the prober and read its file."""
        self.check()
        self._process.terminate()
        self._process.wait(timeout=WRITE_TIME)
        self._reader.join(timeout=WRITE_TIME)
        return msgspec.json.decode(self._log.read_bytes(), type=ProbeLog)


class CaptureResult(msgspec.Struct, frozen=True):
    """How many frames are in the file, and how many the kernel lost for want of room."""

    frames: int
    lost: int


class CaptureFeed:
    """The running capture of the switch's ports into one file."""

    def __init__(self, switch: Namespace, path: Path, ports: list[str]) -> None:
        command = (*WITH_PARENT, sys.executable, "-m", "netlab.capture", str(path), *ports)
        self._process = switch.popen(*command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_until(self._is_ready, 10, "the capture to listen")

    def _is_ready(self) -> bool:
        return self._process.stdout is not None and self._process.stdout.readline() == b"ready\n"

    def stop(self) -> CaptureResult:
        """End the capture; returns when its file is written. ChildProcessError when it failed."""
        self._process.terminate()
        output, _ = self._process.communicate(timeout=WRITE_TIME)
        if self._process.returncode != 0 or not output:
            raise ChildProcessError(f"the capture ended with exit code {self._process.returncode}")
        return msgspec.json.decode(output, type=CaptureResult)
