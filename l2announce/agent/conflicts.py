"""What the responder told of strangers who claim our addresses: for status, and for one log line when a conflict begins."""

from collections.abc import Iterable

from l2announce.model.address import Address, Instant, format_mac
from l2announce.model.report import ConflictRecord
from l2announce.model.status import ConflictStatus
from l2announce.model.timing import CONFLICT_MEMORY


class Conflicts:
    """The newest record of each address and interface."""

    def __init__(self) -> None:
        self._records: dict[Address, dict[str, ConflictRecord]] = {}

    def note(self, record: ConflictRecord) -> bool:
        """Take one record; true when it begins a conflict: the first one, another stranger, or one after CONFLICT_MEMORY of peace."""
        here = self._records.setdefault(record.address, {})
        known, here[record.interface] = here.get(record.interface), record
        return known is None or known.mac != record.mac or record.last - known.last > CONFLICT_MEMORY

    def keep(self, addresses: Iterable[Address]) -> None:
        """Forget all other addresses."""
        kept = set(addresses)
        self._records = {address: records for address, records in self._records.items() if address in kept}

    def active(self, now: Instant) -> int:
        """How many addresses another host was seen to claim within CONFLICT_MEMORY."""
        return sum(1 for address in self._records if self.of(address, now))

    def of(self, address: Address, now: Instant) -> tuple[ConflictStatus, ...]:
        """The conflicts about one address that were seen within CONFLICT_MEMORY, by interface. One that holds
        the address back is seen again with every probe; the last record of one whose claim has gone since is not believed for ever."""
        return tuple(
            ConflictStatus(name, format_mac(record.mac), record.count, now - record.last, record.held_back)
            for name, record in sorted(self._records.get(address, {}).items())
            if now - record.last <= CONFLICT_MEMORY
        )
