"""``l2announce operator``: flags and variables to settings; then the process itself."""

import asyncio
import signal
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from l2announce.agent.logs import set_up_logging
from l2announce.agent.settings import Settings, parse_duration, parse_metrics_address
from l2announce.cli.agent import LogFormat, LogLevel
from l2announce.errors import ConfigurationError
from l2announce.ipam.demand import IpamSettings
from l2announce.model.timing import Timing

FAMILIES = {"IPv4": 4, "IPv6": 6}


class DefaultIpam(StrEnum):
    """Who gives addresses to Services without a loadBalancerClass."""

    LBIPAM = "lbipam"
    NODEIPAM = "nodeipam"
    NONE = "none"


def operator(
    manifests: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="L2ANNOUNCE_MANIFESTS", help="YAML manifests: the embedded cluster, no Kubernetes."),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="L2ANNOUNCE_KUBECONFIG", help="The API server to use. Default: that of the pod we run in."),
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="NAME", envvar="L2ANNOUNCE_CONTEXT", help="Of the kubeconfig. Default: its current one.")
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(metavar="NAME", envvar="L2ANNOUNCE_IDENTITY", help="Of this operator among others. Default: the host's name."),
    ] = None,
    default_lb_service_ipam: Annotated[
        DefaultIpam,
        typer.Option(envvar="L2ANNOUNCE_DEFAULT_LB_SERVICE_IPAM", help="Who serves Services without a class; lbipam: this operator."),
    ] = DefaultIpam.LBIPAM,
    ip_families: Annotated[
        str,
        typer.Option(metavar="LIST", envvar="L2ANNOUNCE_IP_FAMILIES", help="The families of the cluster, the first by default."),
    ] = "IPv4,IPv6",
    lease_duration: Annotated[
        str, typer.Option(metavar="TIME", envvar="L2ANNOUNCE_LEASE_DURATION", help="How long the lease of the one that leads lasts.")
    ] = "15s",
    lease_renew_deadline: Annotated[
        str, typer.Option(metavar="TIME", envvar="L2ANNOUNCE_LEASE_RENEW_DEADLINE", help="How often it is renewed.")
    ] = "5s",
    lease_retry_period: Annotated[
        str,
        typer.Option(metavar="TIME", envvar="L2ANNOUNCE_LEASE_RETRY_PERIOD", help="Wait before a failed write of it is tried again."),
    ] = "2s",
    lease_namespace: Annotated[
        str, typer.Option(metavar="NAME", envvar="L2ANNOUNCE_LEASE_NAMESPACE", help="Where the lease is kept.")
    ] = "kube-system",
    metrics_address: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", envvar="L2ANNOUNCE_METRICS_ADDRESS", help="Where /metrics, /livez and /readyz are served; none: nowhere."
        ),
    ] = "127.0.0.1:9968",
    log_format: Annotated[
        LogFormat, typer.Option(envvar="L2ANNOUNCE_LOG_FORMAT", help="For people, or one JSON object a line.")
    ] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(envvar="L2ANNOUNCE_LOG_LEVEL", help="The least level that is logged.")] = LogLevel.INFO,
) -> None:
    """Give the addresses of CiliumLoadBalancerIPPools to Services of type LoadBalancer. Of several operators one leads.

    Ends on SIGTERM; Services keep what they have.
    """
    settings = Settings(
        identity or socket.gethostname().lower(),
        Timing(
            lease_duration=parse_duration(lease_duration, "--lease-duration"),
            renew_deadline=parse_duration(lease_renew_deadline, "--lease-renew-deadline"),
            retry_period=parse_duration(lease_retry_period, "--lease-retry-period"),
        ),
        manifests=manifests,
        kubeconfig=kubeconfig,
        context=context,
        lease_namespace=lease_namespace,
        metrics_address=parse_metrics_address(metrics_address),
    )
    ipam = IpamSettings(classless=default_lb_service_ipam is DefaultIpam.LBIPAM, families=parse_families(ip_families))
    set_up_logging(log_format.value, log_level.value)
    run_operator(settings, ipam)


def parse_families(text: str) -> tuple[int, ...]:
    """``IPv4,IPv6`` and the like, as IP versions in this order."""
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= FAMILIES.keys() or len(set(names)) != len(names):
        raise ConfigurationError(f"--ip-families {text!r}: write IPv4, IPv6, or both with a comma, the cluster's first one first")
    return tuple(FAMILIES[name] for name in names)


def run_operator(settings: Settings, ipam: IpamSettings) -> None:
    """Be the operator until SIGTERM or SIGINT."""
    from l2announce.agent.clusters import open_pools
    from l2announce.agent.health import serve_health
    from l2announce.agent.operator import Operator
    from l2announce.kernel.clock import BootClock
    from l2announce.kernel.loop import new_event_loop

    async def serve() -> None:
        async with open_pools(settings) as (objects, leases):
            made = Operator(settings.node_name, settings.timing, ipam, objects, leases, BootClock())
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, made.stop)
            async with serve_health(settings.metrics_address, made.metrics.render, made.not_live, made.not_ready):
                await made.run()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve())
