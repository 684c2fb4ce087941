"""``python -m netlab run | up | shell | down``: see netns-lab/README.md. ``run`` enters a private network namespace by itself."""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from netlab.clusters import CLUSTERS, EMBEDDED
from netlab.kube import Kubernetes, ProgramsMissing, lab_programs
from netlab.lab import OUT
from netlab.namespaces import INSIDE, NamespaceError
from netlab.run import run_lab
from netlab.scenarios import SCENARIOS
from netlab.services import ManifestError
from netlab.standing import ENTER, down, hold, shell, up
from netlab.topology import TOPOLOGY_FILE, TopologyError

COMMANDS = {"up": up, "hold": hold, "shell": shell, "down": down}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _end_orderly(number: int, _frame: FrameType | None) -> None:
    """Let ``finally`` do its work when we are told to stop, and let nothing disturb it then."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    keys = [scenario.key for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m netlab", description="l2announce's lab in network namespaces")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="play the main job and judge it")
    run.add_argument("--out", type=Path, default=OUT, help="where report.json, timeline.svg and lab.pcapng go")
    run.add_argument("--scenario", action="append", choices=keys, dest="scenarios", help="play only this one (repeatable)")
    run.add_argument("--topology", type=Path, default=TOPOLOGY_FILE, help="another network than netns-lab/topology.yaml")
    parser.add_argument("--cluster", choices=CLUSTERS, default=EMBEDDED, help="where objects and leases live (default: %(default)s)")
    commands.add_parser("up", help="make a lab that stays")
    commands.add_parser("hold", help="what up starts: be the process that keeps the lab")
    commands.add_parser("shell", help="a shell inside the lab that stays")
    commands.add_parser("down", help="remove the lab that stays, and what killed labs left")
    return parser


def main() -> int:
    """The exit code: 0 well, 1 a bound was missed or something failed, 2 the lab cannot run here."""
    options = _parser().parse_args()
    try:
        if options.command == "run" and os.environ.get(INSIDE) != "1":
            if options.cluster == Kubernetes.name:
                lab_programs()
            os.execv(ENTER, [str(ENTER), sys.executable, "-m", "netlab", *sys.argv[1:]])  # noqa: S606 - our own script
        for number in SIGNALS:
            signal.signal(number, _end_orderly)
        if options.command == "run":
            chosen = tuple(item for item in SCENARIOS if not options.scenarios or item.key in options.scenarios)
            return run_lab(options.out, chosen, options.topology, options.cluster)
        return COMMANDS[options.command](options.cluster)
    except (TopologyError, ManifestError, ProgramsMissing) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except (NamespaceError, OSError, RuntimeError) as error:  # OSError: among others our timeouts and a child that failed
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
