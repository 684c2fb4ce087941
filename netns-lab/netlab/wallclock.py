"""The wall clock of one process and its children, to be stepped while they run. One machine has only one, so it is put in between.

Linux has namespaces for the monotonic and the boot clock, but none for the wall clock. libfaketime would put itself between program and C
library; its clock_nanosleep refuses absolute times of the monotonic clock, by which Python sleeps. So this is done in Python.
"""

from pathlib import Path

SHIM = Path(__file__).resolve().parent / "clock"


class WallClock:
    """``file`` says how far ahead it is, in whole seconds."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.step(0)

    def command(self) -> tuple[str, ...]:
        """In front of the command of a Python program: it has this clock."""
        return ("env", f"PYTHONPATH={SHIM}", f"NETLAB_CLOCK={self._file}")

    def step(self, seconds: int) -> None:
        """Be so far ahead of the machine's from now on; negative: behind."""
        draft = self._file.with_name(f".{self._file.name}")
        draft.write_text(str(seconds))
        draft.replace(self._file)
