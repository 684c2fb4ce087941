"""What was measured, and the goals judged by it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

MIB_LIMIT = 150.0
CORE_LIMIT = 3.0
REACTION_LIMIT_MS = 100.0
ELECTION_LIMIT = 10.0
BLACKOUT_LIMIT_MS = 100.0
SHARE_TOLERANCE = 0.1
"""How far the shares of agents that start together may be from an even one."""
WRITES_TOLERANCE = 0.1
"""A share of S / renew interval: so far the lease writes may be from it."""
RENEW_INTERVAL = 5.0


ONE_ADDRESS_LIMIT_MS = 5.0


@dataclass(slots=True)
class Case:
    """One case: its parameters, its figures, its requests by phase and kind, and its series of samples."""

    name: str
    parameters: dict[str, int]
    figures: dict[str, float] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "case": self.name,
            "parameters": self.parameters,
            "figures": self.figures,
            "requests": self.counts,
            "samples": {name: sorted(values) for name, values in self.samples.items()},
        }


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table. ``is_met`` is None where nothing was promised."""

    name: str
    wanted: str
    measured: str
    is_met: bool | None = None


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of ``values`` do not exceed."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def judge(cases: Sequence[Case]) -> Iterator[Goal]:
    """The table's lines, case by case."""
    for case in cases:
        if "failover_leases" in case.figures:
            yield from _requests(case)
        if "announcing_mib" in case.figures:
            yield from _large(case)
        if "moved" in case.figures:
            yield from _election(case)
        if "plan_first_s" in case.figures:
            yield from _plan(case)
        if "given_cpu_s" in case.figures:
            yield from _addresses(case)
        if "blackout_ms" in case.samples:
            yield from _hand_over(case)
        if "from_acknowledgement_ms" in case.samples:
            yield from _reaction(case)


def _requests(case: Case) -> Iterator[Goal]:
    figures = case.figures
    wanted = case.parameters["services"] / RENEW_INTERVAL
    writes, agents = figures["idle_lease_writes_per_s"], case.parameters["agents"]
    of = case.name
    yield Goal(f"{of}: lease writes/s, idle", f"{wanted:g} ± 10 %", f"{writes:.1f}", abs(writes - wanted) <= WRITES_TOLERANCE * wanted)
    yield Goal(f"{of}: GET and LIST, idle", "0", f"{figures['idle_polls']:g}", figures["idle_polls"] == 0)
    # each of an agent's six watches begins anew every five to ten minutes
    yield Goal(
        f"{of}: other requests, idle", f"<= {6 * agents} watches", f"{figures['idle_other_requests']:g}",
        figures["idle_other_requests"] <= 6 * agents,
    )  # fmt: skip
    yield Goal(f"{of}: GET and LIST, failover", "0", f"{figures['failover_polls']:g}", figures["failover_polls"] == 0)
    yield Goal(
        f"{of}: failover", "<= 17 s",
        f"{figures['failover_leases']:g} leases, the last after {figures['failover_last_taken_s']:.1f} s, "
        f"{figures['failover_conflicts']:g} conflicts, at most {figures['failover_peak_requests_per_s']:g} requests in a second",
        figures["failover_last_taken_s"] <= 17.0,
    )  # fmt: skip
    yield Goal(
        f"{of}: octets/s of an agent, idle", "-",
        f"{figures['idle_received_octets_per_s_and_agent']:,.0f} in, {figures['idle_sent_octets_per_s_and_agent']:,.0f} out, "
        f"{figures['idle_events_per_s_and_agent']:.1f} events/s",
    )  # fmt: skip
    yield Goal(f"{of}: CPU of an agent, idle", "-", f"{figures['idle_core_percent_per_agent']:.2f} % of a core")
    yield Goal(
        f"{of}: cold start until all are elected", "-",
        f"{figures['cold_start_s']:.1f} s, {figures['first_to_last_lease_s']:.1f} s of it from the first to the last",
    )  # fmt: skip


def _large(case: Case) -> Iterator[Goal]:
    figures = case.figures
    mib, core = figures["announcing_mib"], figures["announcing_core_percent"]
    of = case.name
    yield Goal(
        f"{of}: memory", f"< {MIB_LIMIT:g} MiB",
        f"{mib:.0f} MiB: control {figures['announcing_control_mib']:.0f}, responder {figures['announcing_responder_mib']:.0f}; "
        f"at most {figures['announcing_peak_mib']:.0f}",
        mib < MIB_LIMIT,
    )  # fmt: skip
    yield Goal(
        f"{of}: CPU of the busiest, idle", f"< {CORE_LIMIT:g} % of a core",
        f"{core:.1f} % with {figures['announcing_leases']:.0f} leases", core < CORE_LIMIT,
    )  # fmt: skip
    yield Goal(
        f"{of}: an agent that only watches", "-",
        f"{figures['watching_mib']:.0f} MiB, {figures['watching_core_percent']:.1f} %, "
        f"{figures['watching_received_octets_per_s']:,.0f} octets/s in, {figures['octets_per_event']:,.0f} an event",
    )  # fmt: skip
    yield Goal(f"{of}: cold start until all are elected", "-", f"{figures['cold_start_s']:.1f} s")


def _election(case: Case) -> Iterator[Goal]:
    figures, of = case.figures, case.name
    services, agents = case.parameters["services"], case.parameters["agents"]
    least, greatest, even = figures["least_share"], figures["greatest_share"], services / agents
    yield Goal(
        f"{of}: from the policy until all are elected", f"< {ELECTION_LIMIT:g} s",
        f"{figures['election_s']:.1f} s, {figures['first_to_last_lease_s']:.1f} s of it from the first to the last; "
        f"{figures['agents_start_s']:.1f} s before that until the agents were ready",
        figures["election_s"] < ELECTION_LIMIT,
    )  # fmt: skip
    yield Goal(
        f"{of}: shares", f"{even:.0f} ± {SHARE_TOLERANCE:.0%}", f"{least:.0f} to {greatest:.0f}",
        least >= even * (1 - SHARE_TOLERANCE) - 1 and greatest <= even * (1 + SHARE_TOLERANCE) + 1,
    )  # fmt: skip
    yield Goal(
        f"{of}: late renewals, leases that moved", "0, 0",
        f"{figures['late']:g}, {figures['moved']:g}; the longest time between two was {figures['longest_gap_s']:.1f} s",
        figures["late"] == figures["moved"] == 0,
    )  # fmt: skip
    yield Goal(f"{of}: lease writes/s, idle", "-", f"{figures['writes_per_s']:.1f}, {figures['polls']:g} GET and LIST in all")
    yield Goal(
        f"{of}: CPU, idle", "-",
        f"{figures['busiest_core_percent']:.1f} % of a core the busiest agent, {figures['agents_core_percent']:.0f} % all, "
        f"{figures['server_core_percent']:.0f} % API server and etcd",
    )  # fmt: skip


def _plan(case: Case) -> Iterator[Goal]:
    figures, of = case.figures, case.name
    least, greatest = figures["least_share"], figures["greatest_share"]
    yield Goal(f"{of}: CPU", "-", f"{figures['plan_first_s'] * 1000:.0f} ms, {figures['plan_again_s'] * 1000:.0f} ms again")
    yield Goal(f"{of}: shares", "differ by 1 at most", f"{least:.0f} to {greatest:.0f}", greatest - least <= 1)
    yield Goal(
        f"{of}: a node is lost", "-",
        f"{figures['orphans']:.0f} Services, at most {figures['most_to_one_heir']:.0f} to one heir; "
        f"a new plan moves {figures['moved_besides']:.0f} more choices, and no lease that is held",
    )  # fmt: skip


def _hand_over(case: Case) -> Iterator[Goal]:
    values = case.samples["blackout_ms"]
    p50, p99 = quantile(values, 0.5), quantile(values, 0.99)
    yield Goal(
        f"{case.name}: blackout", f"p99 < {BLACKOUT_LIMIT_MS:g} ms", f"p50 {p50:.0f}, p99 {p99:.0f}, at most {max(values):.0f} ms",
        p99 < BLACKOUT_LIMIT_MS,
    )  # fmt: skip
    most = max(case.samples["changes_of_owner"])
    yield Goal(f"{case.name}: changes of owner in each", "1", f"{most:g} at most", most == 1)


def _addresses(case: Case) -> Iterator[Goal]:
    figures, values = case.figures, case.samples["one_more_ms"]
    yield Goal(
        f"{case.name}: CPU of the operator, reading and writing included", "-",
        f"{figures['given_cpu_s']:.1f} s in {figures['given_s']:.0f} s, {figures['writes']:.0f} writes; {figures['memory_mib']:.0f} MiB",
    )  # fmt: skip
    yield Goal(f"{case.name}: Services without", "0", f"{figures['without']:.0f}", figures["without"] == 0)
    yield Goal(
        f"{case.name}: one more", f"CPU < {ONE_ADDRESS_LIMIT_MS:g} ms",
        f"CPU {figures['one_more_cpu_ms']:.1f} ms; given after p50 {quantile(values, 0.5):.0f}, p99 {quantile(values, 0.99):.0f} ms",
        figures["one_more_cpu_ms"] < ONE_ADDRESS_LIMIT_MS,
    )  # fmt: skip
    yield Goal(
        f"{case.name}: a restart", "0 writes", f"{figures['restart_writes']:.0f} writes, {figures['restart_cpu_s']:.1f} s of CPU",
        figures["restart_writes"] == 0,
    )  # fmt: skip


def _reaction(case: Case) -> Iterator[Goal]:
    values = case.samples["from_acknowledgement_ms"]
    p50, p99 = quantile(values, 0.5), quantile(values, 0.99)
    wanted = f"p99 < {REACTION_LIMIT_MS:g} ms"
    measured = f"p50 {p50:.0f}, p99 {p99:.0f}, at most {max(values):.0f} ms"
    yield Goal(f"{case.name}: acknowledged to announced", wanted, measured, p99 < REACTION_LIMIT_MS)
    values = case.samples["from_request_ms"]
    measured = f"p50 {quantile(values, 0.5):.0f}, p99 {quantile(values, 0.99):.0f}, at most {max(values):.0f} ms"
    yield Goal(f"{case.name}: asked for to announced", "-", measured)
