"""Conflicts in words, for ``status`` and ``who``."""

from collections.abc import Iterator

from l2announce.model.status import AddressStatus


def conflict_lines(known: AddressStatus) -> Iterator[str]:
    """One line for each stranger who claims the address."""
    for conflict in known.conflicts:
        times = "once" if conflict.count == 1 else f"{conflict.count} times"
        line = f"{known.address}: CONFLICT with {conflict.mac} on {conflict.interface}, {times}, last {conflict.last:.0f} s ago"
        yield line + ("; not announced there while it answers: take the address off that host" if conflict.held_back else "")
