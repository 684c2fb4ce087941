"""What the control process tells the responder: which addresses to answer for, where, and until when."""

from dataclasses import dataclass

from l2announce.model.address import NEVER, Address, Instant
from l2announce.model.timing import DEFEND_INTERVAL


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to answer for one address on some links until a deadline.

    ``interfaces`` are link names. ``deadline`` is an instant of the boot clock: at and after it nothing is answered (the fence).
    ``probe``: nobody held the address before, so it is probed for before it is answered or announced for the first time.
    ``held_until``: beyond the deadline, until then at most, the address is answered as long as probes find nobody else who has it, and no
    longer than that: the lease cannot be renewed, and whoever takes it over will be seen on the link. Not later than the deadline: never.
    """

    address: Address
    interfaces: frozenset[str]
    deadline: Instant
    probe: bool = False
    held_until: Instant = NEVER

    @property
    def until(self) -> Instant:
        """At and after this instant nothing is answered, whatever is seen."""
        return max(self.deadline, self.held_until)


@dataclass(frozen=True, slots=True)
class ClaimSet:
    """Every claim of this node, whole. ``generation`` grows with each set that one control process sends.

    ``refresh_interval``: seconds in which a held address is announced once, 0 for never. ``peers``: the MACs of this cluster's nodes; who
    else claims an address of ours is a stranger. ``defend_interval``: the least seconds between two announcements against strangers, and
    between two tries to get an address that a stranger has. ``probe_wait``: seconds for which a probe waits for answers, 0 for no probes.
    ``answer_limit``: how many requests a link answers in a second at most, 0 for any number.
    """

    generation: int
    claims: tuple[Claim, ...]
    refresh_interval: float = 0.0
    peers: frozenset[bytes] = frozenset()
    defend_interval: float = DEFEND_INTERVAL
    probe_wait: float = 0.0
    answer_limit: int = 0


NO_CLAIMS = ClaimSet(0, ())
