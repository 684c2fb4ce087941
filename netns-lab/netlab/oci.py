"""Containers as a node's runtime makes them, by crun: users, capabilities, a root that cannot be written, seccomp, namespaces.

What is missing beside a real node: the cgroups (limits of memory and CPU are not set), and AppArmor or SELinux.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netlab.build import WITH_PARENT
from netlab.namespaces import RUN_NETNS, Namespace, run_command
from netlab.topology import REPOSITORY

SECCOMP = Path("/usr/share/containers/seccomp.json")
"""The default profile of runtimes, from Debian's golang-github-containers-common."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
DEFAULT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID")
"""What a container of user 0 has unless it drops them."""
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory or file of the host at a place in a container."""

    source: Path
    target: str
    read_only: bool = True

    def config(self) -> dict[str, Any]:
        """As OCI wants it."""
        options = ["rbind", "ro" if self.read_only else "rw", "nosuid"]
        return {"destination": self.target, "type": "bind", "source": str(self.source), "options": options}


@dataclass(frozen=True, slots=True)
class Image:
    """A root file system and what its image configuration says."""

    root: Path
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()


def image_of_this_program(root: Path) -> Image:
    """What deploy/Dockerfile makes, without building it: this Python with its libraries and this checkout, at the places they have here."""
    for name in ("bin", "lib", "lib64", "sbin"):
        if Path("/", name).is_symlink():
            (root / name).symlink_to(Path("/", name).readlink())
    places = {Path("/usr"), Path("/etc/ld.so.cache"), REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)}
    outermost = sorted(place for place in places if place.exists() and not any(place.is_relative_to(o) for o in places - {place}))
    path = f"{sys.prefix}/bin:{sys.base_prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return Image(root, {"PATH": path}, tuple(Mount(place, str(place)) for place in outermost))


@dataclass(frozen=True, slots=True)
class Security:
    """A container's securityContext, together with its Pod's. ``capabilities`` without CAP_."""

    user: int
    group: int
    groups: tuple[int, ...]
    capabilities: tuple[str, ...]
    new_privileges: bool
    read_only_root: bool
    seccomp: bool

    @classmethod
    def of(cls, pod: Mapping[str, Any], container: Mapping[str, Any]) -> "Security":
        """Read both; PermissionError for a user 0 that shall not run as root, as the kubelet refuses it."""
        both = {**pod, **container}
        user, change = both.get("runAsUser", 0), both.get("capabilities", {})
        if both.get("runAsNonRoot") and user == 0:
            raise PermissionError("container has runAsNonRoot and would run as root")
        kept = () if "ALL" in change.get("drop", ()) else set(DEFAULT_CAPABILITIES) - set(change.get("drop", ()))
        return cls(
            user=user,
            group=both.get("runAsGroup", 0),
            groups=(both["fsGroup"],) if "fsGroup" in both else (),
            capabilities=tuple(sorted({*kept, *change.get("add", ())})),
            new_privileges=both.get("allowPrivilegeEscalation", True),
            read_only_root=both.get("readOnlyRootFilesystem", False),
            seccomp=both.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        )


def seccomp(capabilities: Sequence[str]) -> dict[str, Any]:
    """The runtimes' default profile as OCI wants it, for this architecture and a container with these capabilities."""
    profile = json.loads(SECCOMP.read_text())
    names = {f"CAP_{name}" for name in capabilities}
    rules = []
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        here = not includes.get("arches") or ARCHITECTURES.get(platform.machine()) in includes["arches"]
        if here and set(includes.get("caps", ())) <= names and not set(excludes.get("caps", ())) & names:
            rules.append({key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key)})
    return {"defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"], "syscalls": rules}


@dataclass(slots=True)
class Container:
    """One container: a bundle in ``directory``, a log, and the process once it runs. In the network namespace of a node. The runtime keeps
    what it knows of all containers in ``state``."""

    name: str
    directory: Path
    state: Path
    image: Image
    namespace: Namespace
    command: Sequence[str]
    environment: Mapping[str, str]
    mounts: Sequence[Mount]
    security: Security
    process: subprocess.Popen[bytes] | None = None
    starts: int = field(default=0)

    @property
    def log(self) -> Path:
        """What it wrote, over all its lives."""
        return self.directory / "log"

    def start(self) -> None:
        """Start it; returns once its process is there, or has ended."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "config.json").write_text(json.dumps(self.config()))
        self._pid_file.unlink(missing_ok=True)
        run_command(*self._runtime("delete", "--force", self.name), check=False)
        run = ("run", "--bundle", str(self.directory), "--pid-file", str(self._pid_file), self.name)
        with self.log.open("ab") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True}
            self.process = subprocess.Popen((*WITH_PARENT, *self._runtime(*run)), **options)  # type: ignore[call-overload]
        self.starts += 1

    def _runtime(self, *arguments: str) -> tuple[str, ...]:
        return ("crun", "--cgroup-manager=disabled", "--root", str(self.state), *arguments)

    @property
    def _pid_file(self) -> Path:
        return self.directory / "pid"

    @property
    def pid(self) -> int:
        """Its first process as this host counts them; 0 when it does not run."""
        try:
            return int(self._pid_file.read_text()) if self.is_running() else 0
        except (FileNotFoundError, ValueError):
            return 0

    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Signal its first process, if it runs."""
        if self.pid:
            os.kill(self.pid, number)

    def execute(self, *command: str, seconds: float = STOP_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command in it, with its rights, as ``kubectl exec`` and exec probes do. TimeoutExpired after ``seconds``."""
        process = {**self.config()["process"], "args": list(command)}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(process, file)
            file.flush()
            return run_command(*self._runtime("exec", "--process", file.name, self.name), check=False, timeout=seconds)

    def remove(self) -> None:
        """End it at once and forget it."""
        run_command(*self._runtime("delete", "--force", self.name), check=False)
        if self.process is not None:
            self.process.wait(STOP_SECONDS)

    def config(self) -> dict[str, Any]:
        """The bundle's configuration."""
        security = self.security
        capabilities = [f"CAP_{name}" for name in security.capabilities]
        process = {
            "terminal": False,
            "user": {"uid": security.user, "gid": security.group, "additionalGids": list(security.groups)},
            "args": list(self.command),
            "env": [f"{name}={value}" for name, value in {**self.image.environment, **self.environment}.items()],
            "cwd": "/",
            "noNewPrivileges": not security.new_privileges,
            "capabilities": {
                "bounding": capabilities,
                "permitted": capabilities if security.user == 0 else [],
                "effective": capabilities if security.user == 0 else [],
            },
        }
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            *(mount.config() for mount in (*self.image.mounts, *self.mounts)),
        ]
        spaces: list[dict[str, str]] = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
        linux: dict[str, Any] = {"namespaces": [*spaces, {"type": "network", "path": str(RUN_NETNS / self.namespace.name)}]}
        if security.seccomp:
            linux["seccomp"] = seccomp(security.capabilities)
        root = {"path": str(self.image.root), "readonly": security.read_only_root}
        return {"ociVersion": "1.0.0", "process": process, "root": root, "hostname": self.namespace.name, "mounts": mounts, "linux": linux}


def leave_hybrid_cgroups() -> None:
    """crun refuses hosts that have both versions of cgroups mounted. We use neither: hide the second in this private place."""
    unified = Path("/sys/fs/cgroup/unified")
    if unified.is_mount():
        run_command("umount", str(unified))
