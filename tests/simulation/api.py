"""The API server as candidates see it: a store of leases, and a network that delays, loses and repeats what goes to and fro."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from l2announce.model.lease import Conflict, Lease, LeaseWrite, Unreachable, Verb, WriteOutcome, Written
from tests.simulation.virtual import EventQueue, Process

REQUEST_TIMEOUT = 3.0
"""A write without an answer is given up as Unreachable after this long."""

RELIST_PERIOD = (0.5, 3.0)
"""A broken watch tries to list again after so many seconds."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How messages travel. Probabilities are per message; a slow message takes up to ``slow_delay``."""

    delay: tuple[float, float] = (0.0005, 0.01)
    loss: float = 0.0
    repetition: float = 0.0
    slow: float = 0.0
    slow_delay: float = 0.0
    stale_list: float = 0.0


CALM = Weather()


class Store:
    """Leases with compare-and-swap on resourceVersion, and the history of their changes."""

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue
        self._revision = 100
        self.leases: dict[str, Lease] = {}
        self.history: list[tuple[float, str, Lease | None]] = []
        self.subscribers: list[Callable[[], None]] = []

    def write(self, write: LeaseWrite) -> WriteOutcome:
        """One compare-and-swap, as kube-apiserver does it."""
        current = self.leases.get(write.name)
        if (current and current.resource_version) != (write.base and write.base.resource_version):
            return Conflict(current)
        if write.verb is Verb.ANNOTATE and current is not None:
            return Written(self.put(replace(current, annotations=write.annotations)))
        transitions = 0
        if current is not None:
            transitions = current.lease_transitions + (write.verb is Verb.ACQUIRE and current.holder_identity != write.holder_identity)
        lease = Lease(
            write.name,
            write.holder_identity,
            write.lease_duration,
            "",
            lease_transitions=transitions,
            annotations=write.annotations,
        )
        return Written(self.put(lease))

    def put(self, lease: Lease) -> Lease:
        """Store ``lease`` under a new version, asked by nobody: also what a stranger's edit does."""
        self._revision += 1
        stored = replace(lease, resource_version=str(self._revision))
        self._changed(lease.name, stored)
        return stored

    def delete(self, name: str) -> None:
        """What a stranger may do to a lease."""
        if name in self.leases:
            self._changed(name, None)

    def state_at(self, position: int) -> dict[str, Lease]:
        """The leases after the first ``position`` changes."""
        state: dict[str, Lease] = {}
        for _, name, lease in self.history[:position]:
            if lease is None:
                state.pop(name, None)
            else:
                state[name] = lease
        return state

    def _changed(self, name: str, lease: Lease | None) -> None:
        if lease is None:
            del self.leases[name]
        else:
            self.leases[name] = lease
        self.history.append((self._queue.now, name, lease))
        for notify in list(self.subscribers):
            notify()


@dataclass(slots=True)
class Network:
    """What lies between the nodes and the API server."""

    queue: EventQueue
    rng: random.Random
    store: Store
    weather: Weather = CALM
    api_up: bool = True
    partitioned: set[str] = field(default_factory=set)
    _creations: list["Request"] = field(default_factory=list)

    def reaches(self, node: str) -> bool:
        """Whether messages between this node and the API server have a chance."""
        return self.api_up and node not in self.partitioned

    def sent(self, request: "Request") -> None:
        """Remember a creation as long as it may still be carried out."""
        if request.write.base is None:
            self._creations = [known for known in self._creations if known.under_way]
            self._creations.append(request)

    def creation_under_way(self, name: str) -> bool:
        """Whether a request to create this lease may still reach the store."""
        return any(request.under_way for request in self._creations if request.write.name == name)

    def delay(self) -> float:
        """How long one message takes."""
        if self.weather.slow and self.rng.random() < self.weather.slow:
            return self.rng.uniform(0.0, self.weather.slow_delay)
        return self.rng.uniform(*self.weather.delay)

    def chance(self, probability: float) -> bool:
        """A coin that falls so."""
        return probability > 0.0 and self.rng.random() < probability

    def copies(self, node: str) -> tuple[float, ...]:
        """The delays after which copies of one message arrive: none when it is lost."""
        if not self.reaches(node) or self.chance(self.weather.loss):
            return ()
        return (self.delay(), self.delay()) if self.chance(self.weather.repetition) else (self.delay(),)


class Request:
    """One write of one process: every copy of it may be carried out, the first reply or the timeout is its outcome."""

    def __init__(self, network: Network, node: str, process: Process, write: LeaseWrite, done: Callable[[WriteOutcome], None]) -> None:
        self._network = network
        self._node = node
        self._process = process
        self._life = process.life
        self.write = write
        self._done = done
        self._settled = False
        self._copies: int | None = None
        network.sent(self)

    @property
    def under_way(self) -> bool:
        """Not sent yet by a process that lives, or a copy has not arrived."""
        if self._copies is None:
            return self._process.alive and self._process.life == self._life
        return self._copies > 0

    def send(self) -> None:
        """Put it on the wire, now."""
        now = self._network.queue.now
        copies = self._network.copies(self._node)
        self._copies = len(copies)
        for delay in copies:
            self._network.queue.at(now + delay, self._reach_store)
        self._process.deliver(now + REQUEST_TIMEOUT, lambda: self._settle(Unreachable("no answer in time")))

    def _reach_store(self) -> None:
        assert self._copies is not None
        self._copies -= 1
        if not self._network.api_up:
            return
        outcome = self._network.store.write(self.write)
        if isinstance(outcome, Conflict) and self._network.chance(0.3):
            outcome = Conflict()
        for delay in self._network.copies(self._node):
            self._process.deliver(self._network.queue.now + delay, lambda: self._settle(outcome))

    def _settle(self, outcome: WriteOutcome) -> None:
        if not self._settled and self._life == self._process.life:  # a process has no replies to an earlier one's requests
            self._settled = True
            self._done(outcome)


class Watch:
    """List and watch of one process: changes in order, each after its own delay; after a loss a new list, which may be a stale one."""

    def __init__(
        self,
        network: Network,
        node: str,
        process: Process,
        listed: Callable[[dict[str, Lease]], None],
        observed: Callable[[str, Lease | None], None],
    ) -> None:
        self._network = network
        self._node = node
        self._process = process
        self._life = process.life
        self._listed = listed
        self._observed = observed
        self._position = 0
        self._connected = False
        self._last_arrival = 0.0
        network.store.subscribers.append(self._store_changed)
        self._list()

    def _store_changed(self) -> None:
        if self._life != self._process.life:
            self._network.store.subscribers.remove(self._store_changed)
        elif self._connected:
            self._stream()

    def _stream(self) -> None:
        """Put every change since our position on its way."""
        while self._connected and self._position < len(self._network.store.history):
            _, name, lease = self._network.store.history[self._position]
            copies = self._network.copies(self._node)
            if not copies:
                self._connected = False
                self._list_later()
                return
            self._position += 1
            for delay in copies:
                self._arrive(delay, name, lease)

    def _arrive(self, delay: float, name: str, lease: Lease | None) -> None:
        self._last_arrival = max(self._last_arrival, self._network.queue.now + delay)
        self._process.deliver(self._last_arrival, lambda: self._observed(name, lease))

    def _list_later(self) -> None:
        self._network.queue.after(self._network.rng.uniform(*RELIST_PERIOD), self._list)

    def _list(self) -> None:
        if self._life != self._process.life:
            return
        copies = self._network.copies(self._node)
        if not copies:
            self._list_later()
            return
        self._position = len(self._network.store.history)
        if self._network.chance(self._network.weather.stale_list):
            self._position = max(0, self._position - self._network.rng.randrange(1, 6))
        state = self._network.store.state_at(self._position)
        self._connected = True
        self._last_arrival = max(self._last_arrival, self._network.queue.now + copies[0])
        self._process.deliver(self._last_arrival, lambda: self._listed(state))
        self._stream()
