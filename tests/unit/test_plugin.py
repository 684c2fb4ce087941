"""kubectl l2announce: what it makes kubectl do, with a program in kubectl's place."""

import os
import subprocess
from pathlib import Path

import pytest
from netlab.agents import PROGRAM

from l2announce.cli.plugin import USAGE, kubectl_command

EXEC = ["exec", "daemonset/l2announce", "--container", "control", "--", "l2announce"]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["status"], ["kubectl", "--namespace", "kube-system", *EXEC, "status"]),
        (["-n", "lb", "who", "10.99.0.10"], ["kubectl", "--namespace", "lb", *EXEC, "who", "10.99.0.10"]),
        (
            ["--pod", "l2announce-x", "--namespace", "lb", "explain", "default/web", "-o", "json"],
            ["kubectl", "--namespace", "lb", "exec", "pod/l2announce-x", *EXEC[2:], "explain", "default/web", "-o", "json"],
        ),
        (["status", "-w"], ["kubectl", "--namespace", "kube-system", "exec", "--stdin", "--tty", *EXEC[1:], "status", "-w"]),
    ],
)
def test_a_command_is_asked_in_the_pod(arguments: list[str], wanted: list[str]) -> None:
    assert kubectl_command(arguments) == wanted


@pytest.mark.parametrize("arguments", [[], ["agent"], ["--namespace"], ["--node", "n1", "status"], ["--help"]])
def test_what_it_cannot_ask_is_answered_with_its_usage(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match="usage: kubectl l2announce"):
        kubectl_command(arguments)


def test_the_program_that_kubectl_finds(tmp_path: Path) -> None:
    plugin = PROGRAM.with_name("kubectl-l2announce")
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\necho "$@"\n')
    kubectl.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    asked = subprocess.run((plugin, "status"), env=environment, capture_output=True, text=True, check=True)
    assert asked.stdout == "--namespace kube-system exec daemonset/l2announce --container control -- l2announce status\n"
    refused = subprocess.run((plugin, "agent"), env=environment, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (1, f"{USAGE}\n")
