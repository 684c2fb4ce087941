"""What an agent serves at /metrics. Numbers that come and go are read when they are asked for; the others are counted where things happen.

Labels are words of closed lists: no address, no Service and no client is one, so the number of series does not grow with the cluster.
"""

from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from l2announce import __version__
from l2announce.agent.status import ELECTING
from l2announce.control.controller import Controller
from l2announce.model.address import Instant
from l2announce.model.lease import LeaseWrite, Verb, WriteOutcome
from l2announce.model.timing import FENCE

ANNOUNCES = "Announces"
"""The reason of a Service that this node announces, as in ``l2announce explain``."""
FAILOVER_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom the numbers are read from: functions, called at each scrape."""

    controller: Controller
    now: Callable[[], Instant]
    api_trouble: Callable[[], str]
    leases_heard_at: Callable[[], Instant]
    """When the watch of leases last told anything."""
    active_conflicts: Callable[[], int]
    events_dropped: Callable[[], int]
    without_owner: Callable[[], int | None]
    """Services that policies choose and nobody announces; None from an agent that does not write statuses."""


class Metrics:
    """The numbers of one agent. The methods with verbs are called where things happen."""

    def __init__(self, sources: Sources) -> None:
        self._timing = sources.controller.timing
        self._sent: deque[tuple[int, int]] = deque(maxlen=1000)
        self.registry = CollectorRegistry()
        self.registry.register(_Present(sources, self._claims_applied))
        ProcessCollector(registry=self.registry)
        self._writes = Counter(
            "l2announce_lease_writes", "Writes of Leases, by what for and what came of it.", ["verb", "outcome"], registry=self.registry
        )
        self._late = Counter(
            "l2announce_lease_renewals_late", "Renewals sent later than a renew deadline and a retry period after the one before.",
            registry=self.registry,
        )  # fmt: skip
        self._transitions = Counter(
            "l2announce_ownership_transitions", "Groups of Services that this node began or ceased to announce, and why.",
            ["to", "reason"], registry=self.registry,
        )  # fmt: skip
        self._failover = Histogram(
            "l2announce_failover_seconds",
            "For each Lease taken from another holder: from the last change of it that was seen, its last renewal or its release, "
            "until it was ours.",
            buckets=FAILOVER_BUCKETS,
            registry=self.registry,
        )
        self._conflicts = Counter(
            "l2announce_conflicts", "Times that another host began to claim an address of this node.", registry=self.registry
        )

    def write_ended(self, write: LeaseWrite, outcome: WriteOutcome, sent_at: Instant, since: Instant, now: Instant) -> None:
        """What came of a write of a Lease that was sent at ``sent_at``; ``since`` is when the Lease was last seen to change before."""
        word = type(outcome).__name__
        self._writes.labels(write.verb.value, word).inc()
        if word != "Written":
            return
        if write.verb is Verb.RENEW and sent_at - since > self._timing.renew_deadline + self._timing.retry_period:
            self._late.inc()
        if write.verb is Verb.ACQUIRE and write.base is not None and since > 0:
            self._failover.observe(max(0.0, now - since))

    def ownership_changed(self, to: str, reason: str) -> None:
        """A group of Services is ``announced`` or ``withdrawn`` from now on."""
        self._transitions.labels(to, reason.partition("=")[0]).inc()

    def conflict_began(self) -> None:
        """Another host claims an address of ours."""
        self._conflicts.inc()

    def claims_sent(self, generation: int, count: int) -> None:
        """A claim set with so many addresses went to the responder."""
        self._sent.append((generation, count))

    def render(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)

    def _claims_applied(self, generation: int) -> int:
        while len(self._sent) > 1 and self._sent[1][0] <= generation:
            self._sent.popleft()
        return self._sent[0][1] if self._sent and self._sent[0][0] <= generation else 0


class _Present(Collector):
    """The numbers that are so at the moment."""

    def __init__(self, sources: Sources, claims_applied: Callable[[int], int]) -> None:
        self._sources = sources
        self._claims_applied = claims_applied

    def collect(self) -> Iterator[Metric]:
        now, controller = self._sources.now(), self._sources.controller
        yield InfoMetricFamily("l2announce_build", "The program.", {"version": __version__})
        yield from self._states(now)
        yield from self._leases(now)
        report = controller.gate.report
        verdicts = CounterMetricFamily("l2announce_verdicts", "Frames judged by the responder, by verdict.", labels=["verdict"])
        for verdict, count in report.verdicts if report is not None else ():
            verdicts.add_metric([verdict], count)
        yield verdicts
        sent = report.announcements if report is not None else 0
        yield CounterMetricFamily("l2announce_announcements", "Announcements sent: gratuitous ARP, unsolicited advertisements.", sent)
        yield _gauge("services", "Services of interest, by what this node has to say of them.", self._services(now), "reason")

    def _states(self, now: Instant) -> Iterator[Metric]:
        controller, sources = self._sources.controller, self._sources
        yield _gauge("ready", "1 when everything that decisions need was seen once.", controller.is_ready)
        yield _gauge("gate_open", "1 while the responder reports and obeys.", controller.gate.is_open(now))
        yield _gauge("api_reachable", "1 while Leases can be watched and written.", not sources.api_trouble())
        yield _gauge("lease_watch_age_seconds", "Since the watch of Leases last told anything.", max(0.0, now - sources.leases_heard_at()))
        yield _gauge("failover_bound_seconds", "The longest that a crash leaves an address unanswered.", controller.timing.failover_bound)
        yield _gauge("restart_bound_seconds", "A control process that is back within it is not missed.", controller.timing.restart_bound)
        yield _gauge("conflicts_active", "Addresses of this node that another host claims.", sources.active_conflicts())
        yield _gauge("policy_problems", "What is wrong with policies and annotations.", len(controller.picture.selection.problems))
        yield CounterMetricFamily("l2announce_events_dropped", "Events that were too many to tell.", sources.events_dropped())
        without = sources.without_owner()
        if without is not None:
            yield _gauge("services_without_owner", "Services that policies choose and no node announces; from one agent.", without)

    def _leases(self, now: Instant) -> Iterator[Metric]:
        controller = self._sources.controller
        deadlines = [controller.electors[name].deadline for name in controller.held if name in controller.electors]
        ages = [now - (deadline - FENCE * controller.timing.lease_duration) for deadline in deadlines if deadline is not None]
        yield _gauge("leases_held", "Leases that this node holds, of groups of Services.", len(controller.held))
        yield _gauge("lease_age_seconds", "Since the oldest renewal that a held Lease relies on.", max(ages, default=0.0))
        claims = Tally({"desired": sum(1 for _ in controller.claims()), "applied": self._claims_applied(controller.gate.applied)})
        yield _gauge("claims", "Addresses to be answered, and those that the responder was told of and obeys.", claims, "state")

    def _services(self, now: Instant) -> "Tally[str]":
        """Each Service once: announced here, refused by what objects say, or held elsewhere or by nobody with this node's reason."""
        controller = self._sources.controller
        tally = Tally(reason.value for reason in controller.picture.selection.refusals.values())
        for name, group in controller.picture.groups.items():
            services = len([service for service in group.services if service not in controller.picture.selection.refusals])
            if not services:
                continue
            if name in controller.held:
                tally[ANNOUNCES] += services
            elif controller.holder(name, now) is not None:
                tally["HeldBy"] += services
            else:
                blocker = controller.blocker(name, now)
                tally[blocker.value if blocker is not None else ELECTING] += services
        return tally


def _gauge(name: str, words: str, value: "float | Tally[str]", label: str = "") -> GaugeMetricFamily:
    if not isinstance(value, Tally):
        return GaugeMetricFamily(f"l2announce_{name}", words, value)
    family = GaugeMetricFamily(f"l2announce_{name}", words, labels=[label])
    for word, count in sorted(value.items()):
        family.add_metric([word], count)
    return family
