"""The channel between the two processes: whole messages, back pressure, its end, and the path it listens at."""

import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from l2announce.errors import ChannelError
from l2announce.kernel.channel import Channel, PeerGone, connect, listen
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.report import Report
from l2announce.wire.messages import encode_claims, encode_report

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of one channel."""
    left, right = (Channel(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    yield left, right
    left.close()
    right.close()


def claims(generation: int, count: int) -> ClaimSet:
    """A claim set with ``count`` addresses."""
    interfaces = frozenset({"eth0"})
    return ClaimSet(generation, tuple(Claim(IPv4Address(n + 1), interfaces, 5.0) for n in range(count)))


def test_messages_of_many_parts_come_whole_and_in_order(pair: Pair) -> None:
    control, responder = pair
    first, second = claims(1, 20_000), claims(2, 3)
    datagrams = encode_claims(first)
    assert len(datagrams) > 4
    assert sum(map(len, datagrams)) > 200_000
    control.send(datagrams)
    received: list[ClaimSet] = []
    while not received:
        received += responder.receive(ClaimSet)
        control.flush()
    control.send(encode_claims(second))
    received += responder.receive(ClaimSet)
    assert received == [first, second]
    assert not control.wants_write


def test_slow_reader_gets_what_was_begun_and_then_the_newest(pair: Pair) -> None:
    """The sender never blocks and remembers two messages at most."""
    control, responder = pair
    generation = 0
    while not control.wants_write:
        generation += 1
        control.send(encode_claims(claims(generation, 20_000)))
    begun = generation
    for generation in range(begun + 1, begun + 50):
        control.send(encode_claims(claims(generation, 10)))
    received: list[int] = []
    while control.wants_write:
        received += [message.generation for message in responder.receive(ClaimSet)]
        control.flush()
    received += [message.generation for message in responder.receive(ClaimSet)]
    assert received == [*range(1, begun + 1), begun + 49]


def test_both_directions_at_once(pair: Pair) -> None:
    control, responder = pair
    control.send(encode_claims(claims(1, 1)))
    responder.send(encode_report(Report(0, 1.0)))
    assert list(control.receive(Report)) == [Report(0, 1.0)]
    assert list(responder.receive(ClaimSet)) == [claims(1, 1)]
    assert list(responder.receive(ClaimSet)) == []


def test_closed_peer_ends_reading_after_its_last_word(pair: Pair) -> None:
    control, responder = pair
    control.send(encode_claims(claims(3, 1)))
    control.close()
    received = responder.receive(ClaimSet)
    assert next(received) == claims(3, 1)
    with pytest.raises(PeerGone, match="is gone: end of file"):
        next(received)


def test_closed_peer_ends_writing(pair: Pair) -> None:
    control, responder = pair
    control.close()
    with pytest.raises(PeerGone, match="is gone: Broken pipe"):
        responder.send(encode_report(Report(0, 1.0)))


def test_peer_that_left_unread_words_behind(pair: Pair) -> None:
    """The kernel then says "connection reset" before the end of file."""
    control, responder = pair
    responder.send(encode_report(Report(0, 1.0)))
    control.close()
    with pytest.raises(PeerGone, match="is gone: "):
        list(responder.receive(ClaimSet))


def test_the_other_kind_of_message_is_an_error(pair: Pair) -> None:
    control, responder = pair
    control.send(encode_report(Report(0, 1.0)))
    with pytest.raises(ChannelError, match="sent a Report, not a ClaimSet"):
        list(responder.receive(ClaimSet))


def test_deadline_that_never_comes_is_an_error(pair: Pair) -> None:
    control, responder = pair
    control.send(encode_claims(ClaimSet(1, (Claim(IPv4Address(1), frozenset({"eth0"}), float("nan")),))))
    with pytest.raises(ChannelError, match="deadline that is not a number"):
        list(responder.receive(ClaimSet))


def test_listen_and_connect(tmp_path: Path) -> None:
    path = tmp_path / "new" / "responder.sock"
    with listen(path) as listener:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        channel = connect(path)
        assert channel is not None
        listener.accept()[0].close()
        channel.close()


def test_nobody_there(tmp_path: Path) -> None:
    path = tmp_path / "responder.sock"
    assert connect(path) is None
    listen(path).close()
    assert path.exists()
    assert connect(path) is None


def test_stale_path_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "responder.sock"
    listen(path).close()
    with listen(path):
        channel = connect(path)
        assert channel is not None
        channel.close()


def test_path_in_use_is_refused_without_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "responder.sock"
    with listen(path) as listener:
        with pytest.raises(ChannelError, match=r"another process listens at .*: stop it or choose another path"):
            listen(path)
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert path.exists()


def test_path_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ChannelError, match="exists and is not a socket"):
        listen(path)
    assert path.read_text() == "data"
    with pytest.raises(ChannelError, match=r"cannot listen at .*: (Not a directory|File exists)"):
        listen(path / "below")
    with pytest.raises(ChannelError, match=r"cannot connect to .*: Not a directory"):
        connect(path / "below")


def test_path_too_long_for_a_socket(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    with pytest.raises(ChannelError, match=r"cannot listen at .*: AF_UNIX path too long; choose another path"):
        listen(path)
    with pytest.raises(ChannelError, match=r"cannot connect to .*: AF_UNIX path too long"):
        connect(path)


def test_the_peer_is_known_by_its_process(pair: Pair) -> None:
    assert [end.peer_pid() for end in pair] == [os.getpid()] * 2
