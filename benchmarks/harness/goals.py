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

ALL_ADDRESSES_SECONDS = 5.0
ONE_ADDRESS_MS = 5.0
EMPTY_POOLS_MIB = 1.0

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
    """One goal as judged, all as text: the median with least and greatest round, the kernel's, their ratio, what was wanted.

    ``kernel`` and ``ratio`` are "-" where the kernel has no part.
    """

    name: str
    measured: str
    kernel: str
    ratio: str
    wanted: str
    judgement: Judgement


def _with_spread(result: Result, system: str, figure: str, unit: str) -> str:
    series = result.systems[system][figure]
    return f"{series.median:.2f}{unit} ({min(series.values):.2f} to {max(series.values):.2f})"


def _judgement(value: float, limit: float, result: Result) -> Judgement:
    if result.is_disturbed:
        return Judgement.UNSURE
    return Judgement.PASS if value <= limit else Judgement.MISS


def _bound(name: str, result: Result, figure: str, limit: float, unit: str, system: str = "responder") -> Goal:
    """A goal for the figure by itself."""
    measured = _with_spread(result, system, figure, unit)
    return Goal(name, measured, "-", "-", f"<= {limit:.4g}{unit}", _judgement(result.median(system, figure), limit, result))


def _beside(name: str, result: Result, figure: str, limit: float, unit: str) -> Goal:
    """A goal for the ratio to the kernel's figure."""
    ratio = result.ratio(figure)
    measured, kernel = (_with_spread(result, system, figure, unit) for system in ("responder", "kernel"))
    return Goal(name, measured, kernel, f"{ratio:.2f}", f"<= {limit:.4g} x kernel", _judgement(ratio, limit, result))


def judge(results: Iterable[Result]) -> list[Goal]:
    """Every goal that the results say something about, in the order of the issue."""
    by_case = {result.case: result for result in results}
    return [
        *_answer_goals(by_case),
        *_flood_goals(by_case),
        *_memory_goals(by_case),
        *_start_goals(by_case),
        *_forwarding_goals(by_case),
        *_address_goals(by_case),
    ]


def _answer_goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    for case, result in results.items():
        protocol, _, count = case.partition(" ")
        if protocol == "arp" and count in {"100", "1000", "10000", "10000 scattered"}:
            yield _beside(f"ARP, {count} addresses: CPU per reply", result, "cpu_us", ARP_CPU_RATIO, " µs")
        if case == "ndp 1000":
            yield _beside("NDP, 1000 addresses: CPU per reply", result, "cpu_us", NDP_CPU_RATIO, " µs")
    for case, result in results.items():
        if case.startswith(("arp", "ndp")):
            yield _beside(f"{case}: p50, one in flight", result, "p50_us", LATENCY_RATIO, " µs")


def _flood_goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    if (result := results.get("flood")) is not None:
        yield from _flood_cpu_goals(result)
    for case, result in results.items():
        if case.startswith("flood"):
            lost = sum(result.systems["responder"]["lost"].values)
            yield Goal(f"{case}: owned requests lost", f"{lost:.0f}", "-", "-", "0", _judgement(lost, 0, result.undisturbed()))


def _flood_cpu_goals(result: Result) -> Iterator[Goal]:
    above = result.median("responder", "core_percent") - result.median("kernel", "core_percent")
    resolution = max(FLOOD_RESOLUTION, result.systems["kernel"]["core_percent"].spread)
    yield Goal(
        "50,000 foreign ARP/s: core",
        _with_spread(result, "responder", "core_percent", " %"),
        _with_spread(result, "kernel", "core_percent", " %"),
        f"{result.ratio('core_percent'):.2f}",
        f"<= kernel + {resolution:.1f} %",
        _judgement(above, resolution, result),
    )
    yield _bound("50,000 foreign ARP/s: process", result, "process_percent", FLOOD_PROCESS_PERCENT, " %")


def _memory_goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    """Memory does not depend on what else runs."""
    for case, result in results.items():
        if "memory_mib" in result.systems.get("responder", {}):
            yield _bound(f"{case}: responder's memory", result.undisturbed(), "memory_mib", RESPONDER_MIB, " MiB")


def _start_goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    if (result := results.get("start")) is not None:
        yield _bound("lease won to first answer", result.undisturbed(), "lease_to_answer_ms", FIRST_ANSWER_MS, " ms", "program")


def _forwarding_goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    if (result := results.get("forwarding")) is None:
        return
    kernel = result.systems["kernel"]["cpu_us"]
    limit = 1 + max(FORWARDING_RESOLUTION, kernel.spread / kernel.median if kernel.median else 0)
    yield _beside("forwarded IPv6: CPU per datagram", result, "cpu_us", limit, " µs")


def _address_goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    """CPU time of one process, far from its bounds whatever else runs."""
    if (result := results.get("addresses")) is None:
        return
    result = result.undisturbed()
    yield _bound("10,000 dual-stack Services get addresses: CPU", result, "all_s", ALL_ADDRESSES_SECONDS, " s", "program")
    yield _bound("one more: CPU", result, "one_more_ms", ONE_ADDRESS_MS, " ms", "program")
    yield _bound("a pool is edited: CPU", result, "pool_edit_s", ALL_ADDRESSES_SECONDS, " s", "program")
    yield _bound("all are adopted after a restart: CPU", result, "restart_s", ALL_ADDRESSES_SECONDS, " s", "program")
    yield _bound("a /8 and a /64 without a Service: memory", result, "empty_pools_mib", EMPTY_POOLS_MIB, " MiB", "program")
