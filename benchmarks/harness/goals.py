"""The goals: what the figures should be, and whether they are. Pure: results in, judgements out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from benchmarks.harness.results import Result

ARP_CPU_RATIO = 3.3
NDP_CPU_RATIO = 1.0
LATENCY_RATIO = 1.5
FLOOD_PROCESS_PERCENT = 3.0
RESPONDER_MIB = 25.0
FIRST_ANSWER_MS = 50.0

FLOOD_RESOLUTION = 1.0
"""Percent of a core: a smaller difference between two medians is not told from chance here, even if the rounds of each agree."""
FORWARDING_RESOLUTION = 0.05
"""As FLOOD_RESOLUTION, as a share of the time of one datagram."""


class Judgement(Enum):
    """Whether a goal is met. UNSURE: other programs used the answering core, so its time says nothing."""

    PASS = "PASS"  # noqa: S105 - not a word to pass by
    MISS = "MISS"
    UNSURE = "UNSURE"


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal as judged: what was measured and what was wanted, both as text with unit."""

    name: str
    measured: str
    wanted: str
    judgement: Judgement


def _judge(name: str, value: float, limit: float, unit: str, result: Result) -> Goal:
    met = Judgement.PASS if value <= limit else Judgement.MISS
    return Goal(name, f"{value:.2f}{unit}", f"<= {limit:.4g}{unit}", Judgement.UNSURE if result.is_disturbed else met)


def judge(results: Iterable[Result]) -> list[Goal]:
    """Every goal that the results say something about, in the order of the issue."""
    by_case = {result.case: result for result in results}
    return [*_answer_goals(by_case), *_flood_goals(by_case), *_memory_goals(by_case), *_start_goals(by_case), *_forwarding_goals(by_case)]


def _answer_goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    for case, result in results.items():
        protocol, _, count = case.partition(" ")
        if protocol == "arp" and count in {"100", "1000", "10000", "10000 scattered"}:
            yield _judge(f"ARP, {count} addresses: CPU per reply", result.ratio("cpu_us"), ARP_CPU_RATIO, " x kernel", result)
        if case == "ndp 1000":
            yield _judge("NDP, 1000 addresses: CPU per reply", result.ratio("cpu_us"), NDP_CPU_RATIO, " x kernel", result)
    for case, result in results.items():
        if case.startswith(("arp", "ndp")):
            yield _judge(f"{case}: p50, one in flight", result.ratio("p50_us"), LATENCY_RATIO, " x kernel", result)


def _flood_goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    if (result := results.get("flood")) is None:
        return
    above = result.median("responder", "core_percent") - result.median("kernel", "core_percent")
    resolution = max(FLOOD_RESOLUTION, result.systems["kernel"]["core_percent"].spread)
    yield _judge("50,000 foreign ARP/s: core above the kernel's", above, resolution, " %", result)
    yield _judge("50,000 foreign ARP/s: process", result.median("responder", "process_percent"), FLOOD_PROCESS_PERCENT, " %", result)
    yield _judge("50,000 foreign ARP/s: owned requests lost", sum(result.systems["responder"]["lost"].values), 0, "", result)


def _memory_goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    """Memory does not depend on what else runs."""
    for case, result in results.items():
        if "memory_mib" in result.systems.get("responder", {}):
            yield _judge(
                f"{case}: responder's memory", result.median("responder", "memory_mib"), RESPONDER_MIB, " MiB", result.undisturbed()
            )


def _start_goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    if (result := results.get("start")) is not None:
        yield _judge(
            "lease won to first answer", result.median("program", "lease_to_answer_ms"), FIRST_ANSWER_MS, " ms", result.undisturbed()
        )


def _forwarding_goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    if (result := results.get("forwarding")) is None:
        return
    kernel = result.systems["kernel"]["cpu_us"]
    limit = 1 + max(FORWARDING_RESOLUTION, kernel.spread / kernel.median if kernel.median else 0)
    yield _judge("forwarded IPv6: CPU per datagram", result.ratio("cpu_us"), limit, " x without", result)
