"""``l2announce agent`` and ``l2announce responder``: flags, variables and a YAML file to Settings; then the process itself."""

import asyncio
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from l2announce.agent.logs import set_up_logging
from l2announce.agent.settings import Settings, default_run_directory, parse_duration
from l2announce.errors import ConfigurationError
from l2announce.model.timing import Timing


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class LeaseNameStyle(StrEnum):
    """What stands between namespace and name in a lease's name. The same on every node of a cluster."""

    DOT = "dot"
    DASH = "dash"


class LogLevel(StrEnum):
    """The least level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _read_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a YAML file the defaults of the flags of the same names."""
    if path is None:
        return None
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as err:
        raise ConfigurationError(f"--config {path}: {err.strerror}") from err
    except yaml.YAMLError as err:
        raise ConfigurationError(f"--config {path}: not YAML: {' '.join(str(err).split())}") from err
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"--config {path}: must be a mapping of flag names (without dashes in front) to values")
    known = {parameter.name for parameter in ctx.command.params if parameter.name} - {"config"}
    flags = [name.replace("_", "-") for name in known]
    defaults: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise ConfigurationError(f"--config {path}: unknown key {key!r}; keys are {', '.join(sorted(flags))}")
        defaults[name] = value
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return path


def _env(name: str) -> str:
    return f"L2ANNOUNCE_{name}"


def agent(
    node_name: Annotated[str, typer.Option(envvar=_env("NODE_NAME"), help="The name of this Kubernetes node.")],
    manifests: Annotated[
        Path | None, typer.Option(envvar=_env("MANIFESTS"), help="Directory of YAML manifests: the embedded cluster, no Kubernetes.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(envvar=_env("KUBECONFIG"), help="The API server to use. Default: that of the pod we run in.")
    ] = None,
    context: Annotated[str | None, typer.Option(envvar=_env("CONTEXT"), help="Of the kubeconfig. Default: its current one.")] = None,
    devices: Annotated[
        list[str] | None,
        typer.Option(envvar=_env("DEVICES"), help="RE2 expression for interfaces that may announce; repeatable. Default: detected."),
    ] = None,
    lease_duration: Annotated[str, typer.Option(envvar=_env("LEASE_DURATION"), help="How long a lease lasts unrenewed.")] = "15s",
    lease_renew_deadline: Annotated[str, typer.Option(envvar=_env("LEASE_RENEW_DEADLINE"), help="How often a holder renews.")] = "5s",
    lease_retry_period: Annotated[
        str, typer.Option(envvar=_env("LEASE_RETRY_PERIOD"), help="Wait before a failed lease write is tried again.")
    ] = "2s",
    lease_namespace: Annotated[str, typer.Option(envvar=_env("LEASE_NAMESPACE"), help="Where the leases are kept.")] = "kube-system",
    lease_name_style: Annotated[
        LeaseNameStyle, typer.Option(envvar=_env("LEASE_NAME_STYLE"), help="Between namespace and name in lease names.")
    ] = LeaseNameStyle.DOT,
    state_socket: Annotated[
        Path | None, typer.Option(envvar=_env("STATE_SOCKET"), help="Where status is served. Default: in the run directory.")
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(envvar=_env("LOG_FORMAT"))] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(envvar=_env("LOG_LEVEL"))] = LogLevel.INFO,
    config: Annotated[  # noqa: ARG001 - its callback has done the work
        Path | None,
        typer.Option(envvar=_env("CONFIG"), callback=_read_config, is_eager=True, help="YAML file with any of these flags as keys."),
    ] = None,
) -> None:
    """Announce this node's share of the Services: elect, answer, fail over.

    Flags win over L2ANNOUNCE_* variables, and those over the file. Starts its responder process by itself.
    """
    settings = Settings(
        node_name=node_name,
        manifests=manifests,
        kubeconfig=kubeconfig,
        context=context,
        timing=Timing(
            lease_duration=parse_duration(lease_duration, "--lease-duration"),
            renew_deadline=parse_duration(lease_renew_deadline, "--lease-renew-deadline"),
            retry_period=parse_duration(lease_retry_period, "--lease-retry-period"),
        ),
        devices=tuple(devices or ()),
        lease_namespace=lease_namespace,
        lease_name_style=lease_name_style.value,
        state_socket=state_socket or default_run_directory() / "agent.sock",
        log_format=log_format.value,
        log_level=log_level.value,
    )
    set_up_logging(settings.log_format, settings.log_level)
    sys.exit(run_agent(settings))


def run_agent(settings: Settings) -> int:
    """Start or adopt the responder, then be the control process. Returns the exit code."""
    from l2announce.agent.clusters import open_cluster
    from l2announce.agent.control import ControlProcess
    from l2announce.agent.responder_child import ResponderChild
    from l2announce.kernel.clock import BootClock
    from l2announce.kernel.loop import new_event_loop

    child = ResponderChild(settings.responder_socket)

    async def control() -> int:
        async with open_cluster(settings) as (cluster, leases):
            return await ControlProcess(settings, cluster, leases, BootClock(), child).run()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(control())


def responder(ctx: typer.Context) -> None:
    """Be only the responder process; --help tells its flags. An agent starts one by itself."""
    os.execv(sys.executable, [sys.executable, "-m", "l2announce.agent.responder", *ctx.args])  # noqa: S606 - ourselves, without this program's imports
