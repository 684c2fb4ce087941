"""What the responder tells the control process: what it has applied, what it sees, what it answered."""

from dataclasses import dataclass

from l2announce.model.address import Address, Instant
from l2announce.model.link import Link


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """How often, and when last, one address was answered on one link, and how many announcements of it were sent there."""

    address: Address
    interface: str
    answers: int
    last_answer: Instant
    announcements: int


@dataclass(frozen=True, slots=True)
class ConflictRecord:
    """A stranger's claims of one address on one link: whose MAC claimed it last, how often it was claimed, when last. ``held_back``: the
    address is not announced there until a probe for it stays unanswered."""

    address: Address
    interface: str
    mac: bytes
    count: int
    last: Instant
    held_back: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """One heartbeat of the responder. ``generation`` is the claim set it now obeys; -1 before the first.

    ``verdicts`` and ``announcements`` count since the responder started. ``answered`` holds the records that changed since the last
    report (totals, so a lost report loses nothing), and so does ``conflicts``. ``problems`` are sentences: a link that could not be bound,
    a filter made coarser.
    """

    generation: int
    sent_at: Instant
    links: tuple[Link, ...] = ()
    verdicts: tuple[tuple[str, int], ...] = ()
    announcements: int = 0
    answered: tuple[AnswerRecord, ...] = ()
    problems: tuple[str, ...] = ()
    conflicts: tuple[ConflictRecord, ...] = ()
