"""The gate: no answering datapath, no renewal. The mirror image of the responder's fence.

Open while the responder reports, and obeys, within GATE_TIMEOUT, the newest claim set that it was sent.
"""

from collections import deque

from l2announce.model.address import NEVER, Instant
from l2announce.model.report import Report
from l2announce.model.timing import GATE_TIMEOUT


class Gate:
    """What control knows of its responder."""

    def __init__(self) -> None:
        self.report: Report | None = None
        self._unapplied: deque[tuple[int, Instant]] = deque()

    @property
    def applied(self) -> int:
        """The generation that the responder last reported to obey; -1 when it never reported."""
        return -1 if self.report is None else self.report.generation

    def claims_sent(self, generation: int, now: Instant) -> None:
        """A claim set was handed to the channel."""
        self._unapplied.append((generation, now))

    def report_received(self, report: Report) -> None:
        """The responder reported. Its own ``sent_at`` counts: reports that waited while control was frozen prove nothing."""
        self.report = report
        while self._unapplied and self._unapplied[0][0] <= report.generation:
            self._unapplied.popleft()

    def lost(self) -> None:
        """The channel ended."""
        self.report = None

    def closes_at(self) -> Instant:
        """The gate is open strictly before this instant, unless something is heard until then."""
        if self.report is None:
            return NEVER
        heard = self.report.sent_at + GATE_TIMEOUT
        return min(heard, self._unapplied[0][1] + GATE_TIMEOUT) if self._unapplied else heard

    def is_open(self, now: Instant) -> bool:
        """True while the responder is known to answer for what it is told."""
        return now < self.closes_at()

    def links_with_carrier(self) -> frozenset[str]:
        """Names of the links that frames can flow on, as the responder sees them."""
        return frozenset(link.name for link in self.report.links if link.carrier) if self.report else frozenset()
