"""The namespace toolkit on a real kernel: commands, sockets, wires, and nothing left behind."""

import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from netlab.namespaces import NamespaceError, Network
from netlab.segment import Segment
from netlab.waiting import wait_until

pytestmark = pytest.mark.netns


def test_client_reaches_every_node_in_both_families(segment: Segment) -> None:
    for number, node in zip((101, 102, 103), segment.nodes, strict=True):
        for family, address in ((socket.AF_INET, f"10.99.0.{number}"), (socket.AF_INET6, f"fd99::{number}")):
            with node.entered():
                server = socket.create_server((address, 7777), family=family)
            with server, segment.client.entered():
                socket.create_connection((address, 7777), timeout=2).close()
            mac, state = segment.client.neighbors()[address]
            assert mac == node.mac("eth0")
            assert state in {"REACHABLE", "DELAY", "STALE"}


def test_sockets_opened_inside_stay_inside(segment: Segment) -> None:
    with segment.nodes[0].entered():
        server = socket.create_server(("10.99.0.101", 7777))
    with server:
        with pytest.raises(OSError, match="Cannot assign"):
            socket.create_server(("10.99.0.101", 7777))
        with segment.client.entered():
            asking = socket.create_connection(("10.99.0.101", 7777), timeout=2)
        asking.close()


def test_thread_comes_home_also_after_an_error(network: Network) -> None:
    home = Path("/proc/thread-self/ns/net").readlink()
    namespace = network.namespace("a")

    def fail_inside() -> None:
        with namespace.entered():
            assert Path("/proc/thread-self/ns/net").readlink() != home
            raise LookupError

    with pytest.raises(LookupError):
        fail_inside()
    assert Path("/proc/thread-self/ns/net").readlink() == home


def test_everything_is_gone_after_a_failure(network: Network) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def fail() -> None:
        with Network() as inner:
            namespace = inner.namespace("short")
            started.append(namespace.popen(sys.executable, "-c", "import signal; signal.pause()"))
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert not Path("/run/netns/short").exists()
    assert started[0].returncode is not None


def test_process_that_ignores_sigterm_is_killed(network: Network) -> None:
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    with Network() as inner:
        process = inner.namespace("stubborn").popen(sys.executable, "-c", ignoring, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        process.stdout.close()
        inner.close()
    assert process.returncode == -signal.SIGKILL


def test_pid_of_popen_is_the_command(network: Network) -> None:
    process = network.namespace("a").popen(sys.executable, "-c", "import signal; signal.pause()")
    command_line = Path(f"/proc/{process.pid}/cmdline")
    wait_until(lambda: command_line.read_bytes().startswith(sys.executable.encode()), 5, "the command to replace ip")


def test_failed_command_is_quoted(network: Network) -> None:
    namespace = network.namespace("a")
    with pytest.raises(NamespaceError, match=r"no-such-device.*exit code|Cannot find device"):
        namespace.ip("link set no-such-device up")
    assert namespace.run("false", check=False).returncode == 1


def test_snooping_keeps_foreign_multicast_away(segment: Segment) -> None:
    """A solicitation for a group nobody but n2 joined reaches n2 alone."""
    group = "ff02::1:ff77:7777"
    with segment.nodes[1].entered():
        member = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        index = socket.if_nametoindex("eth0")
        member.setsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + index.to_bytes(4, sys.byteorder)
        )
    sockets = []
    for node in segment.nodes:
        with node.entered():
            sockets.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD)))
    for listening in sockets:
        listening.setblocking(False)

    with segment.client.entered():
        asking = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        target = (group, 9, 0, socket.if_nametoindex("eth0"))

    def heard() -> list[int]:
        for listening in sockets:
            _drain(listening)
        asking.sendto(b"x", target)
        wait_until(lambda: select.select([sockets[1]], [], [], 0)[0], 2, "the member to hear the group")
        return [sum(bytes.fromhex("3333ff777777") == frame[:6] for frame in _drain(listening)) for listening in sockets]

    try:
        wait_until(lambda: heard() == [0, 1, 0], 15, "multicast to reach only the node that joined", interval=0.2)
    finally:
        for used in (member, asking, *sockets):
            used.close()


def _drain(listening: socket.socket) -> list[bytes]:
    """Every frame that waits in a nonblocking packet socket."""
    frames = []
    while True:
        try:
            frames.append(listening.recv(2048))
        except BlockingIOError:
            return frames
