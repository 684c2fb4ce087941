"""``l2announce agent`` and ``l2announce responder``: flags, variables and a YAML file to Settings; then the process itself."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import yaml

from l2announce.agent.logs import set_up_logging
from l2announce.agent.settings import Settings, default_run_directory, parse_count, parse_duration, parse_metrics_address, prepare_sockets
from l2announce.errors import ConfigurationError
from l2announce.model.eligibility import EligibilitySettings
from l2announce.model.timing import Timing


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class LeaseMode(StrEnum):
    """What a holder renews."""

    SERVICE = "service"
    NODE = "node"


class LeaseNameStyle(StrEnum):
    """What stands between namespace and name in a lease's name. The same on every node of a cluster."""

    DOT = "dot"
    DASH = "dash"


class Keeping(StrEnum):
    """Whether addresses stay, or are withdrawn."""

    KEEP = "keep"
    WITHDRAW = "withdraw"


class ApiLoss(StrEnum):
    """What becomes of addresses whose leases cannot be renewed."""

    WITHDRAW = "withdraw"
    HOLD = "hold"


class SubnetMatch(StrEnum):
    """Whether an address has to lie in a connected subnet."""

    OFF = "off"
    PREFER = "prefer"
    REQUIRE = "require"


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
        raise ConfigurationError(f"--config {path}: {err.strerror}; name a YAML file that can be read") from err
    except (UnicodeDecodeError, yaml.YAMLError) as err:
        raise ConfigurationError(f"--config {path}: not YAML: {' '.join(str(err).split())}; correct the file") from err
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"--config {path}: must be a mapping of flag names (without dashes in front) to values")
    known = {parameter.name for parameter in ctx.command.params if parameter.name} - {"config"}
    flags = [name.replace("_", "-") for name in known]
    defaults: dict[str, str | list[str]] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise ConfigurationError(f"--config {path}: unknown key {key!r}; keys are {', '.join(sorted(flags))}")
        if name == "subnet_match" and value is False:
            value = "off"  # which is a boolean to YAML
        defaults[name] = _as_typed(path, key, value, many=name == "devices")
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return path


def _as_typed(path: Path, key: object, value: object, *, many: bool) -> str | list[str]:
    """A value of the file as it would stand on the command line; only flags that may be repeated take a list."""
    if many and isinstance(value, list):
        return [str(_as_typed(path, key, each, many=False)) for each in value]
    if value is None or isinstance(value, bool | list | Mapping):
        raise ConfigurationError(f"--config {path}: {key}: {value!r} cannot be its value; write what you would write after --{key}")
    return [str(value)] if many else str(value)


def _env(name: str) -> str:
    return f"L2ANNOUNCE_{name}"


def agent(
    node_name: Annotated[str, typer.Option(envvar=_env("NODE_NAME"), metavar="NAME", help="The name of this Kubernetes node.")],
    manifests: Annotated[
        Path | None, typer.Option(envvar=_env("MANIFESTS"), metavar="DIR", help="YAML manifests: the embedded cluster, no Kubernetes.")
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(envvar=_env("KUBECONFIG"), metavar="FILE", help="The API server to use. Default: that of the pod we run in."),
    ] = None,
    context: Annotated[
        str | None, typer.Option(envvar=_env("CONTEXT"), metavar="NAME", help="Of the kubeconfig. Default: its current one.")
    ] = None,
    devices: Annotated[
        list[str] | None,
        typer.Option(
            envvar=_env("DEVICES"), metavar="REGEX", help="RE2 expression for interfaces that may announce; repeatable. Default: detected."
        ),
    ] = None,
    lease_duration: Annotated[
        str, typer.Option(envvar=_env("LEASE_DURATION"), metavar="TIME", help="How long a lease lasts unrenewed; whole seconds.")
    ] = "15s",
    lease_renew_deadline: Annotated[
        str, typer.Option(envvar=_env("LEASE_RENEW_DEADLINE"), metavar="TIME", help="How often a holder renews.")
    ] = "5s",
    lease_retry_period: Annotated[
        str, typer.Option(envvar=_env("LEASE_RETRY_PERIOD"), metavar="TIME", help="Wait before a failed lease write is tried again.")
    ] = "2s",
    announce_refresh: Annotated[
        str,
        typer.Option(envvar=_env("ANNOUNCE_REFRESH"), metavar="TIME", help="How often held addresses are announced again; 0 for never."),
    ] = "180s",
    probe_wait: Annotated[
        str,
        typer.Option(envvar=_env("PROBE_WAIT"), metavar="TIME", help="Wait for whoever has an address that nobody held; 0 for no probe."),
    ] = "200ms",
    answer_limit: Annotated[
        str,
        typer.Option(envvar=_env("ANSWER_LIMIT"), metavar="NUMBER", help="Requests that one link answers in a second; 0 for no limit."),
    ] = "20000",
    node_grace: Annotated[
        str, typer.Option(envvar=_env("NODE_GRACE"), metavar="TIME", help="How long a Node may be unhealthy before others take over.")
    ] = "15s",
    on_cordon: Annotated[
        Keeping,
        typer.Option(envvar=_env("ON_CORDON"), help="What a cordoned node does with its addresses if another can have them."),
    ] = Keeping.KEEP,
    on_exclude_label: Annotated[
        Keeping,
        typer.Option(envvar=_env("ON_EXCLUDE_LABEL"), help="The same by the label exclude-from-external-load-balancers."),
    ] = Keeping.KEEP,
    on_no_endpoints: Annotated[
        Keeping,
        typer.Option(envvar=_env("ON_NO_ENDPOINTS"), help="Addresses of externalTrafficPolicy Local without an endpoint anywhere."),
    ] = Keeping.WITHDRAW,
    subnet_match: Annotated[
        SubnetMatch, typer.Option(envvar=_env("SUBNET_MATCH"), help="Whether an address must lie in a subnet of an announcing interface.")
    ] = SubnetMatch.OFF,
    rebalance: Annotated[
        str,
        typer.Option(envvar=_env("REBALANCE"), metavar="TIME", help="How often a node that holds too little asks for a lease; 0: never."),
    ] = "0",
    on_api_loss: Annotated[
        ApiLoss,
        typer.Option(envvar=_env("ON_API_LOSS"), help="Addresses whose lease cannot be renewed: hold them while nobody else claims them?"),
    ] = ApiLoss.WITHDRAW,
    lease_namespace: Annotated[
        str, typer.Option(envvar=_env("LEASE_NAMESPACE"), metavar="NAME", help="Where the leases are kept.")
    ] = "kube-system",
    lease_name_style: Annotated[
        LeaseNameStyle,
        typer.Option(envvar=_env("LEASE_NAME_STYLE"), help="Between namespace and name in lease names; the same on every node."),
    ] = LeaseNameStyle.DOT,
    lease_mode: Annotated[
        LeaseMode, typer.Option(envvar=_env("LEASE_MODE"), help="What is renewed: each Service's Lease, or one heartbeat of the node.")
    ] = LeaseMode.SERVICE,
    state_socket: Annotated[
        Path | None,
        typer.Option(envvar=_env("STATE_SOCKET"), metavar="PATH", help="Where status is served. Default: agent.sock in the run directory."),
    ] = None,
    metrics_address: Annotated[
        str,
        typer.Option(
            envvar=_env("METRICS_ADDRESS"), metavar="HOST:PORT", help="Where /metrics, /livez and /readyz are served; none: nowhere."
        ),
    ] = "127.0.0.1:9967",
    responder_socket: Annotated[
        Path | None,
        typer.Option(
            envvar=_env("RESPONDER_SOCKET"), metavar="PATH", help="Of a responder that runs by itself. Default: the agent starts its own."
        ),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(envvar=_env("LOG_FORMAT"), help="For people, or one JSON object a line.")
    ] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(envvar=_env("LOG_LEVEL"), help="The least level that is logged.")] = LogLevel.INFO,
    config: Annotated[  # noqa: ARG001 - its callback has done the work
        Path | None,
        typer.Option(
            envvar=_env("CONFIG"),
            metavar="FILE",
            callback=_read_config,
            is_eager=True,
            help="YAML file with any of these flags as keys, without dashes in front.",
        ),
    ] = None,
) -> None:
    """Announce this node's share of the Services: elect, answer, fail over.

    Flags win over L2ANNOUNCE_* variables, and those over the file. A TIME is a number with ms, s, m or h, such as 15s or 1m30s. Starts its
    responder process by itself, for which it needs the capability CAP_NET_RAW; with --responder-socket it needs none. Ends on SIGTERM, in
    order, within a second.
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
            announce_refresh=parse_duration(announce_refresh, "--announce-refresh"),
            probe_wait=parse_duration(probe_wait, "--probe-wait"),
            answer_limit=parse_count(answer_limit, "--answer-limit"),
            rebalance=parse_duration(rebalance, "--rebalance"),
            hold_on_api_loss=on_api_loss is ApiLoss.HOLD,
        ),
        devices=tuple(devices or ()),
        lease_namespace=lease_namespace,
        lease_name_style=lease_name_style.value,
        eligibility=EligibilitySettings(
            node_grace=parse_duration(node_grace, "--node-grace"),
            on_cordon=on_cordon.value,
            on_exclude_label=on_exclude_label.value,
            on_no_endpoints=on_no_endpoints.value,
            subnet_match=subnet_match.value,
        ),
        lease_mode=lease_mode.value,
        state_socket=state_socket or default_run_directory() / "agent.sock",
        metrics_address=parse_metrics_address(metrics_address),
        other_responder=responder_socket,
        log_format=log_format.value,
        log_level=log_level.value,
    )
    prepare_sockets(settings)
    set_up_logging(settings.log_format, settings.log_level)
    run_agent(settings)


def run_agent(settings: Settings) -> None:
    """Start or adopt the responder, then be the control process, and end with its exit code. Returns by an error only."""
    from l2announce.agent.clusters import open_cluster
    from l2announce.agent.control import ControlProcess
    from l2announce.agent.responder_child import ResponderChild
    from l2announce.kernel.clock import BootClock
    from l2announce.kernel.loop import new_event_loop

    child = ResponderChild(settings.responder_socket, may_start=settings.other_responder is None)

    async def control() -> NoReturn:
        async with open_cluster(settings) as (cluster, leases):
            _leave(await ControlProcess(settings, cluster, leases, BootClock(), child).run())

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(control())


def _leave(code: int) -> NoReturn:
    """End the process now. By this time leases are released, the channel is closed and the state socket is gone.

    Worker threads that still read a file or wait for a disk, connections and the interpreter are the kernel's to take down: to wait for
    them would cost seconds, in which nothing of use happens. What is logged is written first.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def responder(ctx: typer.Context) -> None:
    """Be only the responder process. An agent starts one by itself."""
    os.execv(sys.executable, [sys.executable, "-m", "l2announce.agent.responder", *ctx.args])  # noqa: S606 - ourselves, without this program's imports
