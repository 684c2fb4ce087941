"""The packet sockets of the responder: which link and protocol each serves, and the kernel filter on it.

Follows what the Responder owns, whole, each time ``follow`` is called; decides nothing about frames.
"""

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from l2announce.kernel.packet import PacketSocket, Vector
from l2announce.model.address import Instant
from l2announce.responder.answers import LinkAnswers
from l2announce.responder.batch import (
    ADVERTISEMENT_FRAME_LENGTH,
    ADVERTISEMENT_SLOT,
    ARP_SLOT,
    NDP_SLOT,
    answer_arp,
    answer_ndp,
)
from l2announce.responder.engine import Responder
from l2announce.responder.frames import Transmit
from l2announce.wire.arp import FRAME_LENGTH as ARP_FRAME_LENGTH
from l2announce.wire.bpf import DROP_ALL, Filter, arp_filter, ndp_filter
from l2announce.wire.ethernet import ETH_P_ARP, ETH_P_IPV6

POOL_SIZE = 64
"""Sockets opened at start: two for each link that announces both families."""
HOLD_UP = 0.1
"""Seconds between judging a frame and sending its reply after which the reply is thrown away whatever its deadline: the process was
stopped in between, and who asked will ask again. The deadlines themselves are compared again just before sending, so nothing of the tenth
of a lease that the fence leaves for clocks is spent on delays."""
BATCHES_PER_WAKE = 4
"""Batches read from one socket before others get their turn."""
_MAX_FILTER = 4096
_MIN_FILTER = 128
_PROTOCOL_NAMES = {ETH_P_ARP: "ARP", ETH_P_IPV6: "NDP"}


@dataclass(slots=True)
class _Binding:
    """What one socket serves, and the answers, with their revision, that its filter was made from."""

    ifindex: int
    protocol: int
    socket: PacketSocket
    answers: LinkAnswers | None = None
    revision: int = -1
    owned: frozenset[bytes] = field(default_factory=frozenset)
    problem: str | None = None


class Datapath:
    """Receives requests for owned addresses, has the Responder judge them, sends what it wants sent."""

    def __init__(self, pool_size: int = POOL_SIZE) -> None:
        """Open the pool of sockets: the only step that needs CAP_NET_RAW."""
        self._pool = [PacketSocket() for _ in range(pool_size)]
        self._all = {socket.fileno(): socket for socket in self._pool}
        self._bound: dict[tuple[int, int], _Binding] = {}
        self._by_fd: dict[int, _Binding] = {}
        self._starved: str | None = None
        self._requests = {ETH_P_ARP: Vector(ARP_SLOT, ARP_SLOT), ETH_P_IPV6: Vector(NDP_SLOT, NDP_SLOT)}
        self._replies = {
            ETH_P_ARP: Vector(ARP_SLOT, ARP_FRAME_LENGTH),
            ETH_P_IPV6: Vector(ADVERTISEMENT_SLOT, ADVERTISEMENT_FRAME_LENGTH),
        }

    def filenos(self) -> Iterator[int]:
        """Every descriptor of the pool, bound or not, to wait for."""
        return iter(self._all)

    def follow(self, responder: Responder) -> None:
        """Bind a socket for each link and family that has owned addresses, release those of vanished links, refresh filters."""
        self._starved = None
        for key in [key for key in self._bound if key[0] not in responder.links]:
            self._release(self._bound.pop(key))
        for ifindex, answers in responder.links.items():
            for protocol in (ETH_P_ARP, ETH_P_IPV6):
                owned = answers.ipv4 if protocol == ETH_P_ARP else answers.ipv6
                if owned or (ifindex, protocol) in self._bound:
                    self._serve(ifindex, protocol, answers)

    def problems(self) -> tuple[str, ...]:
        """What could not be bound or filtered, as sentences."""
        found = [binding.problem for binding in self._bound.values() if binding.problem]
        unsent = sum(socket.unsent for socket in self._all.values())
        if unsent:
            found.append(f"{unsent} frames were refused by the kernel when sent")
        if self._starved:
            found.append(self._starved)
        return tuple(found)

    def receive(self, fd: int, responder: Responder, clock: Callable[[], Instant]) -> None:
        """Judge and answer what waits on one descriptor, up to a few batches, each by the time at which it was taken.

        Descriptors of others are left alone.
        """
        binding = self._by_fd.get(fd)
        if binding is None:
            if fd in self._all:  # released: what it says last is that its link went
                self._all[fd].receive(self._requests[ETH_P_ARP])
            return
        answer = answer_arp if binding.protocol == ETH_P_ARP else answer_ndp
        requests, vector = self._requests[binding.protocol], self._replies[binding.protocol]
        for _ in range(BATCHES_PER_WAKE):
            batch = binding.socket.receive(requests)
            if batch is None:
                return
            octets, lengths = batch
            now = clock()
            replies = answer(responder, octets, lengths, binding.ifindex, now)
            if replies and _still_true(responder, now, clock()):
                binding.socket.send_batch(replies, vector)
            self.send(responder, now, clock)
            if len(lengths) < len(requests.messages):
                return

    def send(self, responder: Responder, judged: Instant, clock: Callable[[], Instant]) -> list[Transmit]:
        """Send its single frames: announcements, and replies to unusual requests; unless what held at ``judged`` may not any more. Returns
        what was not sent."""
        transmits = responder.frames_to_send()
        if not transmits or not _still_true(responder, judged, clock()):
            return transmits
        return [transmit for transmit in transmits if not self._send(transmit)]

    def _send(self, transmit: Transmit) -> bool:
        protocol = int.from_bytes(transmit.frame[12:14], "big")
        binding = self._bound.get((transmit.ifindex, protocol))
        return binding is not None and binding.socket.send(transmit.frame)

    def close(self) -> None:
        """Close every socket."""
        for socket in self._all.values():
            socket.close()

    def _serve(self, ifindex: int, protocol: int, answers: LinkAnswers) -> None:
        binding = self._bound.get((ifindex, protocol)) or self._take(ifindex, protocol, answers)
        if binding is None or (binding.answers is answers and binding.revision == answers.revision):
            return
        owned = frozenset(answers.ipv4 if protocol == ETH_P_ARP else answers.ipv6)
        if owned != binding.owned or binding.revision < 0:
            binding.problem = _attach(binding, answers)
            binding.owned = owned
        binding.answers, binding.revision = answers, answers.revision

    def _take(self, ifindex: int, protocol: int, answers: LinkAnswers) -> _Binding | None:
        name = answers.link.name
        if not self._pool:
            self._starved = f"link {name}: all {len(self._all)} packet sockets are in use; narrow --devices or the policies' interfaces"
            return None
        socket = self._pool.pop()
        try:
            socket.bind(answers.link, protocol)
        except OSError as err:
            self._pool.append(socket)
            self._starved = f"link {name}: cannot bind a packet socket for {_PROTOCOL_NAMES[protocol]}: {err.strerror}"
            return None
        binding = self._bound[ifindex, protocol] = self._by_fd[socket.fileno()] = _Binding(ifindex, protocol, socket)
        return binding

    def _release(self, binding: _Binding) -> None:
        binding.socket.attach(DROP_ALL)
        while binding.socket.receive(self._requests[binding.protocol]) is not None:
            pass  # what waits came from the former link, and is not to be answered on the next one
        del self._by_fd[binding.socket.fileno()]
        self._pool.append(binding.socket)


def _still_true(responder: Responder, judged: Instant, now: Instant) -> bool:
    """Whether what was judged at ``judged`` may be sent at ``now``."""
    return now - judged < HOLD_UP and responder.may_send(judged, now)


def _attach(binding: _Binding, answers: LinkAnswers) -> str | None:
    """Put the filter for the owned addresses on a socket, a coarser one where the kernel has no room; a sentence when none fits."""
    build: Callable[[int], Filter]
    if binding.protocol == ETH_P_ARP:
        ipv4 = answers.ipv4_addresses()
        build = lambda limit: arp_filter(ipv4, binding.ifindex, limit)  # noqa: E731 - two builders of one shape
    else:
        ipv6 = answers.ipv6_addresses()
        build = lambda limit: ndp_filter(ipv6, binding.ifindex, limit)  # noqa: E731
    if not answers.ipv4 if binding.protocol == ETH_P_ARP else not answers.ipv6:
        binding.socket.attach(DROP_ALL)
        return None
    limit = _MAX_FILTER
    while True:
        try:
            binding.socket.attach(build(limit).program)
        except OSError as err:
            if err.errno != errno.ENOMEM or limit <= _MIN_FILTER:
                protocol = _PROTOCOL_NAMES[binding.protocol]
                return f"link {answers.link.name}: cannot filter {protocol}: {err.strerror}; raise net.core.optmem_max"
            limit //= 2
        else:
            return None
