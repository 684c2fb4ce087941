"""What a report tells of single addresses: how often each was answered, and who else claims it. Only what changed since the last report."""

from collections.abc import Iterable, Mapping

from l2announce.model.address import Address
from l2announce.model.report import AnswerRecord, ConflictRecord
from l2announce.responder.answers import LinkAnswers

MAX_RECORDS = 1000
"""Records of a kind in one report: what does not fit comes with the next. A report stays below the least socket buffer."""


def answer_records(links: Mapping[int, LinkAnswers]) -> Iterable[AnswerRecord]:
    """The totals that have changed, which count as reported from now on."""
    left = MAX_RECORDS
    for answers in links.values():
        for table in (answers.ipv4, answers.ipv6):
            for answer in table.values():
                totals = (answer.count, answer.announcements)
                if totals != answer.reported and left:
                    left -= 1
                    answer.reported = totals
                    yield AnswerRecord(answer.address, answers.link.name, answer.count, answer.last, answer.announcements)


def conflict_records(links: Mapping[int, LinkAnswers], disputed: set[tuple[int, Address]]) -> Iterable[ConflictRecord]:
    """The same for conflicts. Addresses that are not answered any more are taken out of ``disputed``, by (ifindex, address)."""
    left = MAX_RECORDS
    for index, address in sorted(disputed, key=str):
        answers = links.get(index)
        answer = answers.table(address).get(address.packed) if answers is not None else None
        if answers is None or answer is None:
            disputed.discard((index, address))
            continue
        totals = (answer.conflicts, answer.is_held_back)
        if totals != answer.conflict_reported and left:
            left -= 1
            answer.conflict_reported = totals
            yield ConflictRecord(address, answers.link.name, answer.foreign_mac, answer.conflicts, answer.last_conflict, totals[1])


def forget_reports(links: Mapping[int, LinkAnswers]) -> None:
    """Everything counts as never reported."""
    for answers in links.values():
        for answer in (*answers.ipv4.values(), *answers.ipv6.values()):
            answer.reported = (0, 0)
            answer.conflict_reported = (0, False)
