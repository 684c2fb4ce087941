"""``kubectl l2announce COMMAND``: the commands that ask an agent, asked in the agent's pod; kubectl finds the program by its name.

Who may exec into the pods may ask. ``--namespace`` and ``--pod`` in front of the command choose the pod; what follows it is the command's.
"""

import os
import sys
from typing import NoReturn

NAMESPACE = "kube-system"
DAEMONSET = "daemonset/l2announce"
COMMANDS = ("status", "who", "explain")
USAGE = "usage: kubectl l2announce [--namespace NAME] [--pod NAME] status|who|explain [ARGUMENTS]"


def kubectl_command(arguments: list[str]) -> list[str]:
    """What kubectl is to be called with; ValueError when ``arguments`` are none of ours."""
    namespace, target, rest = NAMESPACE, DAEMONSET, list(arguments)
    while len(rest) > 1 and rest[0] in ("--namespace", "-n", "--pod"):
        flag, value, *rest = rest
        if flag == "--pod":
            target = f"pod/{value}"
        else:
            namespace = value
    if not rest or rest[0] not in COMMANDS:
        raise ValueError(USAGE)
    terminal = ["--stdin", "--tty"] if "--watch" in rest or "-w" in rest else []
    return ["kubectl", "--namespace", namespace, "exec", *terminal, target, "--container", "control", "--", "l2announce", *rest]


def main() -> NoReturn:
    """Entry point: becomes kubectl."""
    try:
        command = kubectl_command(sys.argv[1:])
        os.execvp(command[0], command)  # noqa: S606 - kubectl, which has called us
    except ValueError as err:
        sys.exit(str(err))
    except FileNotFoundError:
        sys.exit("kubectl l2announce: kubectl is not on the PATH")
