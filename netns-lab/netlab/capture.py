"""The capture process: every frame that enters the switch by any port, once, with the kernel's time stamp.

Runs in the switch's namespace (``python -m netlab.capture FILE PORT...``), keeps the frames in memory and writes a pcapng file when it gets
SIGTERM. One interface of the file is one port, so the file tells who sent what. Prints ``ready`` when it listens, and at the end one JSON
object: ``frames`` written, ``lost`` by the kernel for want of room.
"""

import errno
import json
import operator
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

from netlab.pcapng import Frame, write_capture
from netlab.stamps import receive, stamp

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_IGNORE_OUTGOING = 23
BATCH_PAUSE = 0.02
"""Seconds between two looks at the sockets: one wake-up for many frames."""


def open_port(name: str) -> socket.socket:
    """A packet socket that sees what enters by one port."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    stamp(port)
    port.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    port.bind((name, ETH_P_ALL))
    port.setblocking(False)
    return port


def drain(port: socket.socket, number: int, frames: list[Frame]) -> None:
    """Move every waiting frame of a port into ``frames``. A port that went down says so once; that is no reason to stop."""
    while True:
        try:
            time, octets = receive(port)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
        else:
            frames.append(Frame(time, number, octets))


def lost_frames(port: socket.socket) -> int:
    """How many frames the kernel dropped at this socket since it was opened."""
    return int(struct.unpack("II", port.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1])


def main(path: str, *names: str) -> None:
    """Capture on the named ports until SIGTERM, then write the file."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ports = [open_port(name) for name in names]
    frames: list[Frame] = []
    print("ready", flush=True)
    stopped = False
    while not stopped:
        waiting, _, _ = select.select(ports, [], [], 0.2)
        stopped = signal.sigtimedwait({signal.SIGTERM}, BATCH_PAUSE if waiting else 0) is not None
        for number, port in enumerate(ports):
            drain(port, number, frames)
    frames.sort(key=operator.attrgetter("time"))
    described = [(name, f"switch port of {name}: what {name} sends") for name in names]
    count = write_capture(Path(path), described, frames, "l2announce lab: each frame once, by the switch port it came in")
    with suppress(BrokenPipeError):  # nobody waits for it any more
        print(json.dumps({"frames": count, "lost": sum(lost_frames(port) for port in ports)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
