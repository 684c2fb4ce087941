"""The responder process: packet sockets, links, one channel to the control process; no Kubernetes, no capabilities after its start.

``python -m l2announce.agent.responder --socket PATH``. One epoll loop and no event loop library: every wake-up hands what has come to the
Responder, with the time at which it was taken, and sends what it wants sent. Without a control process it goes on answering until its last
deadline.
"""

import argparse
import contextlib
import math
import os
import select
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

from l2announce.agent.responder_alive import mark_alive
from l2announce.errors import ChannelError, L2AnnounceError
from l2announce.kernel.channel import Channel, PeerGone, listen
from l2announce.kernel.clock import boot_time
from l2announce.kernel.datapath import Datapath
from l2announce.kernel.groups import GroupMemberships
from l2announce.kernel.netlink import LinkMonitor
from l2announce.kernel.privilege import drop_capabilities, raise_file_limit
from l2announce.model.address import Instant
from l2announce.model.claim import ClaimSet
from l2announce.model.timing import HEARTBEAT
from l2announce.responder.engine import Responder
from l2announce.wire.messages import encode_report

CONTROL_GRACE = 10.0
"""Seconds within which the process that started us must connect; later we are orphaned. As long as it waits for us itself."""


class ResponderProcess:
    """Wires one Responder to the kernel and to the control process."""

    def __init__(self, path: Path, exit_when_orphaned: bool, group_access: bool = False) -> None:
        """Open every descriptor, then drop every capability. With ``group_access`` the group of the socket may connect as well."""
        raise_file_limit()
        self._responder = Responder()
        self._datapath = Datapath()
        self._monitor = LinkMonitor()
        self._groups = GroupMemberships()
        self._listener = listen(path, 0o660 if group_access else 0o600)
        self._path = path
        drop_capabilities()
        self._channel: Channel | None = None
        self._exit_when_orphaned = exit_when_orphaned
        self._had_control = False
        self._stopping = False
        self._started_at = boot_time()
        self._report_at = self._started_at
        self._group_problems: tuple[str, ...] = ()
        self._epoll = select.epoll()
        self._follow_links(boot_time())

    def run(self) -> None:
        """Serve until SIGTERM, or until orphaned where that was asked for."""
        wakeup, signalled = socket.socketpair()
        wakeup.setblocking(False)
        signalled.setblocking(False)
        signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._stop)
        for fd in (wakeup.fileno(), self._listener.fileno(), self._monitor.fileno(), *self._datapath.filenos()):
            self._epoll.register(fd, select.EPOLLIN)
        while not self._stopping and not self._orphaned():
            self._turn(self._epoll.poll(self._patience()))
        self._path.unlink(missing_ok=True)

    def _stop(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a signal handler
        self._stopping = True

    def _orphaned(self) -> bool:
        if not self._exit_when_orphaned or self._channel is not None:
            return False
        now = boot_time()
        if not self._had_control and now < self._started_at + CONTROL_GRACE:
            return False
        return not self._responder.has_live_claims(now)

    def _patience(self) -> float:
        """Seconds until something is due, in whole milliseconds as epoll counts, never early."""
        if self._groups.is_behind:
            return 0.0
        due = min(self._report_at, self._responder.next_timer() or math.inf)
        return max(0.0, math.ceil((due - boot_time()) * 1000) / 1000)

    def _turn(self, events: list[tuple[int, int]]) -> None:
        now = boot_time()
        for fd, event in events:
            if fd == self._listener.fileno():
                self._accept()
            elif fd == self._monitor.fileno():
                if self._monitor.read():
                    self._follow_links(now)
            elif self._channel is not None and fd == self._channel.fileno():
                self._serve_channel(event, now)
            else:
                self._datapath.receive(fd, self._responder, boot_time)
        now = boot_time()
        self._responder.handle_timer(now)
        unsent = self._datapath.send(self._responder, now, boot_time)
        self._responder.sending_failed(unsent, now)
        if self._groups.is_behind:
            self._group_problems = self._groups.go_on()
        if now >= self._report_at:
            self._report(now)

    def _follow_links(self, now: Instant) -> None:
        links = self._monitor.links()
        removed = self._monitor.take_removed()
        for index in removed | self._monitor.take_without_ipv6():
            self._groups.forget_link(index)
        if any(link.index in removed for link in links):  # came back with the same index: nothing of the first one works any more
            self._responder.replace_links([link for link in links if link.index not in removed], now)
            self._datapath.follow(self._responder)
        self._responder.replace_links(links, now)
        self._follow(now)

    def _follow(self, now: Instant) -> None:
        """Bring sockets, filters and memberships to what the Responder owns; then tell control at once."""
        self._datapath.follow(self._responder)
        self._group_problems = self._groups.replace(self._responder.solicited_node_groups())
        self._report_at = now

    def _accept(self) -> None:
        """A control process has come; the newest one counts, as a supervisor has replaced the other."""
        with contextlib.suppress(BlockingIOError):
            connection, _ = self._listener.accept()
            self._drop_channel()
            self._channel = Channel(connection)
            self._had_control = True
            self._responder.forget_reports()
            self._epoll.register(self._channel.fileno(), select.EPOLLIN)
            self._report_at = boot_time()

    def _serve_channel(self, event: int, now: Instant) -> None:
        assert self._channel is not None  # noqa: S101 - the caller compared its descriptor
        try:
            if event & select.EPOLLOUT:
                self._channel.flush()
                self._arm_channel()
            for claims in self._channel.receive(ClaimSet):
                self._responder.replace_claims(claims, now)
                self._follow(now)
        except ChannelError as err:
            if not isinstance(err, PeerGone):
                self._log(f"{err}; its connection is closed, its claims hold until their deadlines")
            elif self._responder.has_live_claims(now):
                self._log(f"{err}; its claims hold until their deadlines")
            self._drop_channel()

    def _report(self, now: Instant) -> None:
        self._report_at = now + HEARTBEAT
        mark_alive(self._path, now)
        if self._group_problems:
            self._group_problems = self._groups.go_on()
        if self._channel is None or self._channel.wants_write:
            return
        try:
            self._channel.send(encode_report(self._responder.report(now, (*self._group_problems, *self._datapath.problems()))))
            self._arm_channel()
        except ChannelError:
            self._drop_channel()

    def _arm_channel(self) -> None:
        if self._channel is not None:
            wanted = select.EPOLLIN | (select.EPOLLOUT if self._channel.wants_write else 0)
            self._epoll.modify(self._channel.fileno(), wanted)

    def _drop_channel(self) -> None:
        if self._channel is not None:
            self._responder.control_lost(boot_time())
            self._epoll.unregister(self._channel.fileno())
            self._channel.close()
            self._channel = None

    def _log(self, message: str) -> None:
        sys.stderr.write(f"responder[{os.getpid()}]: {message}\n")


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(prog="l2announce responder", description="Answer ARP and NDP as a control process says.")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen for the control process")
    parser.add_argument("--exit-when-orphaned", action="store_true", help="end when control is gone and the last deadline has passed")
    parser.add_argument("--group-access", action="store_true", help="let the group of the socket connect, not its owner alone")
    arguments = parser.parse_args()
    try:
        ResponderProcess(arguments.socket, arguments.exit_when_orphaned, arguments.group_access).run()
    except L2AnnounceError as err:
        sys.exit(f"l2announce responder: {err}")


if __name__ == "__main__":
    main()
