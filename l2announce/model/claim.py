"""What the control process tells the responder: which addresses to answer for, where, and until when."""

from dataclasses import dataclass

from l2announce.model.address import Address, Instant


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to answer for one address on some links until a deadline.

    ``interfaces`` are link names. ``deadline`` is an instant of the boot clock: at and after it nothing is answered (the fence).
    """

    address: Address
    interfaces: frozenset[str]
    deadline: Instant


@dataclass(frozen=True, slots=True)
class ClaimSet:
    """Every claim of this node, whole. ``generation`` grows with each set that one control process sends.

    ``refresh_interval``: seconds in which a held address is announced once, 0 for never.
    """

    generation: int
    claims: tuple[Claim, ...]
    refresh_interval: float = 0.0


NO_CLAIMS = ClaimSet(0, ())
