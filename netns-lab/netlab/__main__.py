"""``python -m netlab run | up | shell | down``: see netns-lab/README.md. Enters a private network namespace by itself."""

import os
import signal
import sys
from types import FrameType

from netlab.namespaces import INSIDE
from netlab.run import run_lab
from netlab.topology import LAB_DIRECTORY

ENTER = LAB_DIRECTORY / "enter"


def _end_orderly(number: int, _frame: FrameType | None) -> None:
    """Let ``finally`` do its work when we are told to stop."""
    raise SystemExit(128 + number)


def main() -> int:
    """The exit code: 0 well, 1 a bound was missed or something failed, 2 the lab cannot run here."""
    arguments = sys.argv[1:]
    if arguments == ["run"] and os.environ.get(INSIDE) != "1":
        os.execv(ENTER, [str(ENTER), sys.executable, "-m", "netlab", *arguments])  # noqa: S606 - our own script
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_orderly)
    return run_lab()


if __name__ == "__main__":
    sys.exit(main())
