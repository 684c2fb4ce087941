"""What the user asked of an agent, checked: every bad value is refused here, before an agent's work begins."""

import os
import re
import socket
import tempfile
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from l2announce.control.devices import compile_pattern
from l2announce.errors import ConfigurationError
from l2announce.model.eligibility import EligibilitySettings
from l2announce.model.lease import HEARTBEAT_PREFIX
from l2announce.model.names import is_name
from l2announce.model.timing import LONGEST_LEASE, Timing

LONGEST_SOCKET_PATH = 107
"""Octets of sun_path without its final zero, unix(7)."""

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SHOWN = 40
"""Characters of a bad duration that its error shows."""
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def parse_duration(text: str, flag: str) -> float:
    """Go's way to write a duration (``15s``, ``1m30s``, ``500ms``, ``0``) as seconds; at most an hour, LONGEST_LEASE.

    ConfigurationError names the flag.
    """
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ConfigurationError(f"{flag} {text[:_SHOWN]!r}: not a duration; write a number with ms, s, m or h, such as 15s or 1m30s")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds > LONGEST_LEASE:
        raise ConfigurationError(f"{flag} {text[:_SHOWN]!r}: too long, at most 1h; write a number with ms, s, m or h, such as 15s or 1m30s")
    return seconds


def parse_count(text: str, flag: str) -> int:
    """A whole number that is not negative. ConfigurationError names the flag."""
    if not (text.isascii() and text.isdecimal() and len(text) < _SHOWN):
        raise ConfigurationError(f"{flag} {text[:_SHOWN]!r}: not a number; write digits alone, such as 20000")
    return int(text)


def default_run_directory() -> Path:
    """Where the sockets go unless told: /run for root, else the user's own run directory."""
    if os.access("/run", os.W_OK):
        return Path("/run/l2announce")
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "l2announce" if base else Path(tempfile.gettempdir()) / f"l2announce-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class Settings:
    """One agent. ``responder_socket`` is where its responder process listens; ``other_responder`` that of one it does not start itself.

    Its cluster is the directory ``manifests``, else the API server of ``kubeconfig`` and ``context``, else that of the pod it runs in.
    """

    node_name: str
    timing: Timing
    manifests: Path | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    devices: tuple[str, ...] = ()
    lease_namespace: str = "kube-system"
    lease_name_style: Literal["dot", "dash"] = "dot"
    lease_mode: Literal["service", "node"] = "service"
    state_socket: Path = Path("/run/l2announce/agent.sock")
    other_responder: Path | None = None
    eligibility: EligibilitySettings = field(default_factory=EligibilitySettings)
    metrics_address: tuple[str, int] | None = ("127.0.0.1", 9967)
    log_format: Literal["text", "json"] = "text"
    log_level: str = "info"

    def __post_init__(self) -> None:
        if not _DNS_SUBDOMAIN.fullmatch(self.node_name) or len(self.node_name) > 253:
            raise ConfigurationError(
                f"--node-name {self.node_name!r}: not a Kubernetes node name; use lower case letters, digits, '-' and '.'"
            )
        if self.lease_mode == "node" and not is_name(HEARTBEAT_PREFIX + self.node_name):
            raise ConfigurationError(
                f"--lease-mode node: no Lease can be named {HEARTBEAT_PREFIX}{self.node_name}, as it would be too long; use service"
            )
        if not _DNS_LABEL.fullmatch(self.lease_namespace) or len(self.lease_namespace) > 63:
            raise ConfigurationError(
                f"--lease-namespace {self.lease_namespace!r}: not a namespace name; use lower case letters, digits and '-'"
            )
        if self.manifests is not None and (self.kubeconfig is not None or self.context is not None):
            raise ConfigurationError("--manifests and --kubeconfig: give one of them, as an agent has one cluster")
        if self.context is not None and self.kubeconfig is None:
            raise ConfigurationError(f"--context {self.context}: there is no kubeconfig; name it by --kubeconfig FILE")
        if self.kubeconfig is not None and not self.kubeconfig.exists():
            raise ConfigurationError(f"--kubeconfig {self.kubeconfig}: no such file; create it, or name the one of your cluster")
        if self.manifests is not None and not self.manifests.is_dir():
            raise ConfigurationError(f"--manifests {self.manifests}: no such directory; create it, or name the one with your YAML files")
        for pattern in self.devices:
            try:
                compile_pattern(pattern)
            except ValueError as err:
                raise ConfigurationError(f"--devices {pattern!r}: {err}; expressions have RE2 syntax, as Go's regexp") from err

    @property
    def responder_socket(self) -> Path:
        """That of ``other_responder``, else one beside the state socket."""
        return self.other_responder or self.state_socket.with_name(self.state_socket.stem + ".responder.sock")


def parse_metrics_address(text: str) -> tuple[str, int] | None:
    """HOST:PORT, with brackets around an IPv6 address; None for ``none``."""
    if text == "none":
        return None
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address, number = ip_address(host[1:-1] if bracketed else host), int(port) if port.isascii() and port.isdigit() else 0
    except ValueError:
        address, number = None, 0
    if address is None or bracketed != (address.version == 6) or not 0 < number < 65536:
        raise ConfigurationError(
            f"--metrics-address {text!r}: not an address and a port; write one such as 127.0.0.1:9967 or [::1]:9967, or none"
        )
    return str(address), number


def prepare_sockets(settings: Settings) -> None:
    """Make the directory of the sockets, for its owner alone; refuse a state socket that cannot be made, is a file, or serves an agent."""
    path = settings.state_socket
    if settings.other_responder is not None and len(os.fsencode(settings.other_responder)) > LONGEST_SOCKET_PATH:
        raise ConfigurationError(
            f"--responder-socket {settings.other_responder}: too long, {LONGEST_SOCKET_PATH} octets at most; choose a shorter path"
        )
    if len(os.fsencode(settings.state_socket)) > LONGEST_SOCKET_PATH or len(os.fsencode(settings.responder_socket)) > LONGEST_SOCKET_PATH:
        raise ConfigurationError(
            f"--state-socket {path}: too long for the responder's socket beside it, {LONGEST_SOCKET_PATH} octets at most; "
            "choose a shorter path"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_file = path.exists() and not path.is_socket()
    except OSError as err:
        raise ConfigurationError(f"--state-socket {path}: cannot make its directory: {err.strerror}; choose another path") from err
    if is_file:
        raise ConfigurationError(f"--state-socket {path}: exists and is not a socket; choose another path")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--state-socket {path}: {path.parent} is not writable; choose another path")
    _try_directory(path)
    with socket.socket(socket.AF_UNIX) as connection:
        if connection.connect_ex(str(path)) == 0:
            raise ConfigurationError(f"--state-socket {path}: another agent serves there; stop it, or choose another path")


def _try_directory(path: Path) -> None:
    """Refuse a directory in which no socket can be made, whatever its mode says: on /proc, or on a file system without sockets."""
    trial = path.with_name(f"{path.stem}.{os.getpid()}")
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(trial))
        trial.unlink()
    except OSError as err:
        raise ConfigurationError(
            f"--state-socket {path}: no socket can be made in {path.parent}: {err.strerror or err}; choose another path"
        ) from err
