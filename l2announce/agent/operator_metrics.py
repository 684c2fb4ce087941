"""What an operator serves at /metrics: Cilium's numbers of LB-IPAM under our prefix, read when they are asked for."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from l2announce.ipam.allocator import Allocator


class OperatorMetrics:
    """The numbers of one operator. ``allocator`` gives the one that decides, None while another operator leads."""

    def __init__(self, allocator: Callable[[], Allocator | None]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Present(allocator))
        ProcessCollector(registry=self.registry)
        self._writes = Counter(
            "l2announce_lbipam_status_writes", "Statuses that were written, and what came of it.", ["of", "outcome"], registry=self.registry
        )

    def written(self, of: str, outcome: str) -> None:
        """A status ``of`` a ``service`` or a ``pool`` was written: ``Written``, ``Conflict`` or ``Refused``."""
        self._writes.labels(of, outcome).inc()

    def render(self) -> bytes:
        """The text of /metrics."""
        return generate_latest(self.registry)


class _Present(Collector):
    def __init__(self, allocator: Callable[[], Allocator | None]) -> None:
        self._allocator = allocator

    def collect(self) -> Iterator[Metric]:
        """Gauges. An operator that does not lead knows nothing but that."""
        allocator = self._allocator()
        yield GaugeMetricFamily("l2announce_lbipam_leading", "1 for the operator that gives addresses.", value=int(allocator is not None))
        available = GaugeMetricFamily("l2announce_lbipam_ips_available", "Addresses of a pool that are left.", labels=["pool"])
        used = GaugeMetricFamily(
            "l2announce_lbipam_ips_used", "Addresses of a pool that are given out, or kept back as first or last.", labels=["pool"]
        )
        conflicts = GaugeMetricFamily("l2announce_lbipam_conflicting_pools", "Pools that overlap an older one, or themselves.")
        matching = GaugeMetricFamily("l2announce_lbipam_services_matching", "Services whose addresses are the operator's work.")
        unsatisfied = GaugeMetricFamily("l2announce_lbipam_services_unsatisfied", "Of these, those that lack an address that they want.")
        if allocator is not None:
            for pool, usage in allocator.usage().items():
                available.add_metric([pool], float(usage.available))
                used.add_metric([pool], float(usage.used))
            conflicts.add_metric([], sum(bool(one.conflict) for one in allocator.book.pools))
            matching.add_metric([], len(allocator.decisions))
            unsatisfied.add_metric([], sum(decision.refusal is not None for decision in allocator.decisions.values()))
        yield from (available, used, conflicts, matching, unsatisfied)
