"""A real Kubernetes control plane: etcd, kube-apiserver, and if wanted the controllers, on one address, with TLS, RBAC and tokens.

Its programs come from netns-lab/control-plane. Everything it writes is below one directory, which is the caller's. It can be hurt on
purpose: each process can be killed, frozen and started again.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme
import yaml

from netlab.namespaces import Namespace, run_command
from netlab.topology import LAB_DIRECTORY
from netlab.waiting import wait_until

BUILD = LAB_DIRECTORY / "control-plane" / "build"
START_SECONDS = 60.0
SERVICE_RANGES = "10.96.0.0/16,fd00:96::/112"
CONTROLLERS = ("endpointslice-controller", "node-lifecycle-controller", "namespace-controller")
POD_CONTROLLERS = ("daemonset-controller", "serviceaccount-controller", "root-ca-certificate-publisher-controller")
ADMIN = "admin"


def find_programs() -> Path:
    """The directory with etcd, kube-apiserver and the rest: that of KUBEBUILDER_ASSETS, else of the release that KUBERNETES says.

    Built when it is not there yet, which takes minutes and says so on stderr. CalledProcessError when it cannot be, with the reason there.
    """
    environment = {"PYTHON": sys.executable, **os.environ}
    return Path(subprocess.run((str(BUILD),), check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout.strip())


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a token."""

    name: str
    groups: tuple[str, ...] = ()

    @property
    def token(self) -> str:
        """What proves it."""
        return f"token-of-{self.name}"


@dataclass(slots=True)
class ControlPlane:
    """A control plane at ``address``, in ``namespace`` or, without one, on this host's loopback. A context manager: started, then gone.

    Its processes end with the thread that started them. ``users`` get a token and a kubeconfig each; ``admin`` is always one of them and
    may do everything. ``with_pods``: its controllers make the Pods of DaemonSets, and what these need to know who they are.
    """

    programs: Path
    directory: Path
    users: tuple[User, ...] = ()
    namespace: Namespace | None = None
    address: str = "127.0.0.1"
    with_controllers: bool = False
    with_pods: bool = False
    authority: trustme.CA = field(default_factory=trustme.CA)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _ports: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._ports = dict(zip(("api", "etcd", "peer"), self._free_ports(3), strict=True))
        self.users = (User(ADMIN, ("system:masters",)), *(user for user in self.users if user.name != ADMIN))
        self.issue_certificates()
        self.write_tokens(self.users)
        try:
            self.start_etcd()
            self.start_api_server()
            self.wait_ready()
            if self.with_controllers or self.with_pods:
                self.start_controllers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # -- its parts

    @property
    def url(self) -> str:
        """Where the API is served."""
        return f"https://{self.address}:{self._ports['api']}"

    def issue_certificates(self) -> None:
        """Write the authority and a serving certificate, made anew: to be read by an API server that starts, or rereads them by itself."""
        self.authority.cert_pem.write_to_path(str(self.directory / "ca.crt"))
        serving = self.authority.issue_cert(self.address, "10.96.0.1", "localhost", "kubernetes")
        for name, blobs in (("serving.crt", serving.cert_chain_pems), ("serving.key", [serving.private_key_pem])):
            _replace(self.directory / name, b"".join(blob.bytes() for blob in blobs))
        accounts = self.directory / "accounts.key"
        if not accounts.exists():
            accounts.write_bytes(self.authority.issue_cert("accounts").private_key_pem.bytes())

    def write_tokens(self, users: Iterable[User]) -> None:
        """Write the token file, which an API server reads when it starts, and a kubeconfig for each user."""
        lines = [f'{user.token},{user.name},{user.name},"{",".join(user.groups)}"' for user in users]
        (self.directory / "tokens.csv").write_text("\n".join(lines) + "\n")
        for user in users:
            self.write_kubeconfig(user.name, {"token": user.token})

    def write_kubeconfig(self, name: str, credentials: Mapping[str, object]) -> Path:
        """A kubeconfig of the user ``name`` with these credentials."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": self.url, "certificate-authority": str(self.directory / "ca.crt")}}],
            "users": [{"name": name, "user": dict(credentials)}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        }
        _replace(self.kubeconfig(name), yaml.safe_dump(document).encode())
        return self.kubeconfig(name)

    def kubeconfig(self, user: str = ADMIN) -> Path:
        """The kubeconfig of a user."""
        return self.directory / f"{user}.kubeconfig"

    def start_etcd(self) -> None:
        """Start etcd on what it stored before."""
        client, peer = (f"http://{self.address}:{self._ports[name]}" for name in ("etcd", "peer"))
        self._start(
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        )

    def start_api_server(self, *flags: str) -> None:
        """Start the API server; it is not ready yet."""
        at = self.directory
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://{self.address}:{self._ports['etcd']}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self._ports['api']}",
            f"--tls-cert-file={at / 'serving.crt'}",
            f"--tls-private-key-file={at / 'serving.key'}",
            f"--client-ca-file={at / 'ca.crt'}",
            f"--token-auth-file={at / 'tokens.csv'}",
            f"--service-account-key-file={at / 'accounts.key'}",
            f"--service-account-signing-key-file={at / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={SERVICE_RANGES}",
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",
            *(() if self.with_pods else ("--disable-admission-plugins=ServiceAccount",)),
            *flags,
        )

    def start_controllers(self) -> None:
        """Start the controllers that serve Services (EndpointSlices, node lifecycle, namespaces), those that make Pods, or both."""
        wanted = (*(CONTROLLERS if self.with_controllers else ()), *(POD_CONTROLLERS if self.with_pods else ()))
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig()}",
            f"--controllers={','.join(wanted)}",
            f"--root-ca-file={self.directory / 'ca.crt'}",
            "--leader-elect=false",
            "--secure-port=0",
        )

    def wait_ready(self, deadline_seconds: float = START_SECONDS) -> None:
        """Wait until the API server says that it is ready; ChildProcessError with its last words when it ended."""

        def ready() -> bool:
            if not self.is_running("kube-apiserver"):
                raise ChildProcessError(f"kube-apiserver ended:\n{self.last_words('kube-apiserver')}")
            return self.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok"

        wait_until(ready, deadline_seconds, "the API server to be ready", interval=0.05)

    # -- its use

    def kubectl(self, *arguments: str, user: str = ADMIN, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl as a user; NamespaceError with its words when it fails and ``check`` is true."""
        command = (str(self.programs / "kubectl"), f"--kubeconfig={self.kubeconfig(user)}", f"--cache-dir={self.directory / 'cache'}")
        run = self.namespace.run if self.namespace else run_command
        return run(*command, *arguments, check=check, timeout=30.0, stdin_text=stdin)

    def apply(self, *documents: Mapping[str, object]) -> None:
        """``kubectl apply`` these objects."""
        self.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(documents))

    # -- its faults

    def is_running(self, name: str) -> bool:
        """Whether a process of it lives (a frozen one does)."""
        return name in self.processes and self.processes[name].poll() is None

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process of it: SIGSTOP and SIGCONT to freeze and thaw."""
        os.kill(self.processes[name].pid, number)

    def pids(self) -> list[int]:
        """The process ids of what runs."""
        return [process.pid for process in self.processes.values() if process.poll() is None]

    def kill(self, name: str) -> None:
        """Kill a process of it and wait until it is gone."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            process.kill()
        process.wait(10)

    def lose_etcd(self) -> None:
        """Kill the API server and etcd and forget all that was stored. Nothing is started again."""
        self.kill("kube-apiserver")
        self.kill("etcd")
        shutil.rmtree(self.directory / "etcd")

    def compact_etcd(self) -> None:
        """Have etcd forget every version but the present one. For a control plane on this host, outside of namespaces."""
        etcd = f"http://{self.address}:{self._ports['etcd']}/v3/kv"
        revision = json.loads(_post(f"{etcd}/range", {"key": "AA=="}))["header"]["revision"]
        _post(f"{etcd}/compaction", {"revision": revision, "physical": True})

    def stop(self) -> None:
        """Kill everything. The API server goes first: without etcd its orderly end would never come."""
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            if name in self.processes:
                self.kill(name)

    def last_words(self, name: str, lines: int = 8) -> str:
        """The end of a process's log."""
        return "\n".join((self.directory / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])

    def _start(self, name: str, *flags: str) -> None:
        command = ("setpriv", "--pdeathsig", "KILL", str(self.programs / name), *flags)
        with (self.directory / f"{name}.log").open("ab") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.processes[name] = (
                self.namespace.popen(*command, **options) if self.namespace else subprocess.Popen(command, **options)  # type: ignore[call-overload]
            )

    def _free_ports(self, count: int) -> list[int]:
        if self.namespace:
            return [6443, 2379, 2380][:count]
        sockets = [socket.create_server((self.address, 0)) for _ in range(count)]
        ports = [one.getsockname()[1] for one in sockets]
        for one in sockets:
            one.close()
        return ports


def _post(url: str, document: Mapping[str, object]) -> bytes:
    request = urllib.request.Request(url, json.dumps(document).encode(), method="POST")  # noqa: S310 - our own etcd
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        content: bytes = answer.read()
        return content


def _replace(path: Path, content: bytes) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(content)
    unfinished.chmod(0o600)
    unfinished.replace(path)
