"""A kubeconfig that cannot serve: one line that names the file, what is wrong and what to do, and exit code 2."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from l2announce.errors import ConfigurationError
from l2announce.kube.credentials import from_kubeconfig
from l2announce.kube.transport import Transport

GOOD = """
apiVersion: v1
kind: Config
current-context: lab
clusters: [{name: lab, cluster: {server: "SERVER"CLUSTER}}]
contexts: [{name: lab, context: {cluster: lab, user: me}}]
users: [{name: me, user: {USER}}]
"""


def kubeconfig(server: str = "https://127.0.0.1:1", cluster: str = "", user: str = "token: x") -> str:
    return GOOD.replace("SERVER", server).replace("CLUSTER", cluster).replace("USER", user)


BAD = {
    "empty": ("", "is empty"),
    "no YAML": ('{"a', "not YAML"),
    "a text": ("hello", "is no kubeconfig"),
    "a list": ("[1]", "is no kubeconfig"),
    "another object": ("{apiVersion: v1, kind: Secret}", "is no kubeconfig"),
    "no context": ("{apiVersion: v1, kind: Config, clusters: [], contexts: [], users: []}", "current-context"),
    "no cluster": (kubeconfig().replace("name: lab, cluster", "name: other, cluster"), "name lab"),
    "no server": (kubeconfig().replace('server: "https://127.0.0.1:1"', ""), "server"),
    "no URL": (kubeconfig("not a url"), "its server 'not a url' is no address"),
    "a port beyond all": (kubeconfig("https://127.0.0.1:99999"), "Port out of range"),
    "another scheme": (kubeconfig("ftp://127.0.0.1"), "is no address of a web server"),
    "no user": (kubeconfig(user=""), "neither token nor client certificate"),
    "authority not there": (kubeconfig(cluster=", certificate-authority: /none"), "/none"),
    "certificate not there": (kubeconfig(user="client-certificate: /none, client-key: /none"), "/none"),
    "token file not there": (kubeconfig(user="tokenFile: /none"), "/none"),
    "authority that is none": (kubeconfig(cluster=", certificate-authority-data: aGVsbG8="), "certificates or key"),
    "certificate that is none": (kubeconfig(user="client-certificate-data: aGVsbG8=, client-key-data: aGVsbG8="), "certificates or key"),
    "a plugin that is not there": (
        kubeconfig(user="exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin, interactiveMode: Never}"),
        "its plugin gave none",
    ),
}


async def use(path: Path) -> None:
    transport = Transport(from_kubeconfig(path), 1)
    try:
        await transport.open()
    finally:
        await transport.close()


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_a_bad_kubeconfig_is_refused_in_one_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(ConfigurationError) as refusal:
        asyncio.run(use(path))
    said = str(refusal.value)
    assert words in said
    assert "; " in said, "what to do"
    assert "\n" not in said
    assert str(path) in said


def test_a_kubeconfig_that_is_a_directory_ends_the_agent_in_one_line(tmp_path: Path) -> None:
    command = (str(Path(sys.executable).with_name("l2announce")), "agent", "--node-name", "n1", "--kubeconfig", str(tmp_path))
    done = subprocess.run((*command, "--state-socket", str(tmp_path / "a.sock")), check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr == f"l2announce: --kubeconfig {tmp_path}: cannot be read (Is a directory); name a file that this user may read\n"
