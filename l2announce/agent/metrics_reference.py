"""The page of metrics in docs/reference, made from the metrics themselves. cli/reference.py writes it."""

from prometheus_client import CollectorRegistry

from l2announce.agent.metrics import Metrics, Sources
from l2announce.agent.operator_metrics import OperatorMetrics
from l2announce.control.controller import Controller
from l2announce.ipam.allocator import Allocator
from l2announce.model.timing import Timing

TOP = """# Metrics

An agent serves them at `http://127.0.0.1:9967/metrics` (`--metrics-address`), in the text format of Prometheus, with `/livez` and
`/readyz` beside them ([operations](../operations.md#probes)). Labels are words of closed lists: the number of series does not grow with
the cluster. Words of `reason` are those of `l2announce explain`, in [words](words.md). Alert rules and a Grafana dashboard
are in `deploy/monitoring`.

This page is made by `make reference`.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""
LABELS = {
    "l2announce_build": "`version`",
    "l2announce_verdicts": "`verdict`",
    "l2announce_services": "`reason`",
    "l2announce_claims": "`state`: desired, applied",
    "l2announce_lease_writes": "`verb`, `outcome`: Written, Conflict, Unreachable",
    "l2announce_ownership_transitions": "`to`: announced, withdrawn; `reason`",
    "l2announce_lbipam_ips_available": "`pool`",
    "l2announce_lbipam_ips_used": "`pool`",
    "l2announce_lbipam_status_writes": "`of`: service, pool; `outcome`: Written, Conflict, Refused",
}
OPERATOR = """
## The operator

`l2announce operator` serves these at `http://127.0.0.1:9968/metrics`. Those about pools and Services are there while it leads; there is one
series for each pool.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""
SUFFIX = {"counter": "_total", "info": "_info"}


def reference() -> str:
    """The page."""
    controller = Controller("n1", Timing(), 0.0)
    metrics = Metrics(Sources(controller, lambda: 0.0, lambda: "", lambda: 0.0, lambda: 0, lambda: 0, lambda: 0))
    return TOP + _rows(metrics.registry) + OPERATOR + _rows(OperatorMetrics(Allocator).registry)


def _rows(registry: CollectorRegistry) -> str:
    families = sorted((family for family in registry.collect() if family.name.startswith("l2announce_")), key=lambda one: one.name)
    rows = [
        f"| `{family.name}{SUFFIX.get(family.type, '')}` | {family.type} | {LABELS.get(family.name, '')} | {family.documentation} |"
        for family in families
    ]
    return "\n".join(rows) + "\n"
