"""The benchmarks' figures: medians, spreads, ratios, and what is saved of them."""

import math

import pytest

from benchmarks.harness.results import DISTURBED, Figures, Result, Series


@pytest.mark.parametrize(
    ("values", "median", "spread"),
    [([3.0], 3.0, 0.0), ([9.0, 1.0, 2.0], 2.0, 8.0), ([4.0, 1.0, 2.0, 3.0], 2.5, 3.0)],
)
def test_series(values: list[float], median: float, spread: float) -> None:
    series = Series(values)
    assert (series.median, series.spread) == (median, spread)


def test_rounds_are_kept_in_order() -> None:
    result = Result("arp 1")
    for value in (2.0, 1.0, 3.0):
        result.add("kernel", cpu_us=value)
    assert result.systems["kernel"]["cpu_us"].values == [2.0, 1.0, 3.0]
    assert result.median("kernel", "cpu_us") == 2.0


def test_ratio_is_of_medians_not_of_means() -> None:
    result = Result("arp 1")
    for kernel, responder in ((1.0, 3.0), (1.0, 3.0), (100.0, 300_000.0)):
        result.add("kernel", cpu_us=kernel)
        result.add("responder", cpu_us=responder)
    assert result.ratio("cpu_us") == 3.0


def test_ratio_to_nothing_is_infinite() -> None:
    result = Result("arp 1")
    result.add("kernel", cpu_us=0.0)
    result.add("responder", cpu_us=1.0)
    assert result.ratio("cpu_us") == math.inf


@pytest.mark.parametrize(("system", "figure"), [("kernel", "p50_us"), ("responder", "cpu_us")])
def test_what_was_not_measured_has_no_median(system: str, figure: str) -> None:
    result = Result("arp 1")
    result.add("kernel", cpu_us=1.0)
    with pytest.raises(KeyError):
        result.median(system, figure)


def test_figures_are_a_mapping() -> None:
    figures = Figures({"cpu_us": Series([1.0]), "p50_us": Series([2.0])})
    assert (len(figures), list(figures), "memory_mib" in figures) == (2, ["cpu_us", "p50_us"], False)


def test_a_round_is_disturbed_above_the_limit_only() -> None:
    assert not Result("flood", disturbed=DISTURBED).is_disturbed
    disturbed = Result("flood", disturbed=DISTURBED + 0.001)
    assert disturbed.is_disturbed
    assert not disturbed.undisturbed().is_disturbed
    assert disturbed.is_disturbed


def test_json_holds_every_round() -> None:
    result = Result("flood", disturbed=0.01)
    result.add("kernel", core_percent=8.0)
    result.add("kernel", core_percent=6.0)
    assert result.as_json() == {
        "case": "flood",
        "disturbed": 0.01,
        "systems": {"kernel": {"core_percent": {"median": 7.0, "rounds": [8.0, 6.0]}}},
    }
