"""Leases that are held over: their right has run out, or is about to, because the API is out of reach, and the user wants the addresses
answered all the same while nobody else claims them (--on-api-loss hold).

Says from when, and when the responder is to be told again. The fence is untouched: what is held over has a deadline that has passed, and
the responder answers beyond it only as long as its probes find nobody.
"""

from collections.abc import Callable, Iterable, Mapping

from l2announce.control.election import LeaseElector
from l2announce.model.address import FOREVER, NEVER, Instant
from l2announce.model.timing import HOLD_GRANT


class HoldOver:
    """By lease the instant from which it may be held over. A grant lasts HOLD_GRANT, and is given again in half of that."""

    def __init__(self) -> None:
        self._from: dict[str, Instant] = {}
        self._granted_at: Instant = NEVER

    def note(self, name: str, since: Instant) -> None:
        """The lease may be held over from ``since``; FOREVER for not at all."""
        if since == FOREVER:
            self._from.pop(name, None)
        else:
            self._from[name] = since

    def due_at(self) -> Instant:
        """When the responder is to be told next; FOREVER for never."""
        return max(min(self._from.values()), self._granted_at + HOLD_GRANT / 2) if self._from else FOREVER

    def grant(self, electors: Mapping[str, LeaseElector], group: Callable[[str], Iterable[str]], now: Instant) -> dict[str, Instant]:
        """The leases that are held over from now on, or from before the next grant, each until when at most. Their electors are told, and
        those of the leases of the same group, which ``group`` names: an address is answered by all of them."""
        granted = {name: now + HOLD_GRANT for name, since in self._from.items() if since < now + HOLD_GRANT / 2}
        if granted:
            self._granted_at = now
        for name, until in granted.items():
            for related in filter(electors.__contains__, {name, *group(name)}):
                electors[related].hold_granted(until)
        return granted
