"""The values: what they refuse, and the little that they compute."""

import dataclasses
import math
from ipaddress import IPv6Address

import pytest

from l2announce.errors import ConfigurationError
from l2announce.model import address, claim, lease, link, objects, report, status, timing
from l2announce.model.address import format_mac, parse_mac, solicited_node_multicast
from l2announce.model.objects import NamespacedName
from l2announce.model.timing import ANNOUNCE_BURST, ANNOUNCE_GAP, ANNOUNCE_OFFSETS, ANNOUNCE_REFRESH, FENCE, Timing


def test_hardware_addresses_as_text() -> None:
    assert format_mac(bytes.fromhex("0200000000ab")) == "02:00:00:00:00:ab"
    for text in ("02:00:00:00:00:ab", "02-00-00-00-00-AB", "0200000000ab"):
        assert parse_mac(text) == bytes.fromhex("0200000000ab")


@pytest.mark.parametrize("text", ["", "02:00:00:00:00", "02:00:00:00:00:00:01", "02:00:00:00:00:0", "02:00:00:00:00:zz", "eth0"])
def test_a_bad_hardware_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hardware address|non-hexadecimal"):
        parse_mac(text)


def test_the_example_of_rfc_4291() -> None:
    assert solicited_node_multicast(IPv6Address("4037::01:800:200e:8c6c")) == IPv6Address("ff02::1:ff0e:8c6c")
    assert solicited_node_multicast(IPv6Address("fe80::1")) == IPv6Address("ff02::1:ff00:1")


def test_a_namespaced_name_prints_and_sorts() -> None:
    assert str(NamespacedName("default", "web")) == "default/web"
    assert sorted([NamespacedName("b", "a"), NamespacedName("a", "z")])[0].namespace == "a"


def test_the_default_timings_are_ciliums() -> None:
    default = Timing()
    assert (default.lease_duration, default.renew_deadline, default.retry_period) == (15.0, 5.0, 2.0)
    assert default.failover_bound == 17.0


def test_announcements_go_out_at_the_promised_instants() -> None:
    assert ANNOUNCE_OFFSETS == (0.0, 0.2, 1.1, 3.0, 7.0)
    assert (ANNOUNCE_GAP, ANNOUNCE_BURST) == (0.001, 16)
    assert Timing().announce_refresh == ANNOUNCE_REFRESH == 180.0
    assert FENCE == 0.9


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((0.0, 5.0, 2.0), "--lease-duration 0s: must be a whole number of seconds, at least 1s"),
        ((2.5, 1.0, 0.5), "--lease-duration 2.5s: must be a whole number"),
        ((-3.0, 1.0, 0.5), "--lease-duration -3s"),
        ((math.nan, 1.0, 0.5), "--lease-duration nans: must be a whole number"),
        ((math.inf, 1.0, 0.5), "--lease-duration infs: must be a whole number"),
        ((3601.0, 5.0, 2.0), r"--lease-duration 3601s: must be at most 3600s \(1h\), as a crash"),
        ((float(2**31), 5.0, 2.0), r"--lease-duration 2.14748e\+09s: must be at most 3600s"),
        ((15.0, 0.0, 2.0), "--lease-renew-deadline 0s: must be above 0s"),
        ((15.0, -1.0, 2.0), "--lease-renew-deadline -1s: must be above 0s"),
        ((15.0, math.nan, 2.0), "--lease-renew-deadline nans: must be above 0s"),
        ((15.0, 5.0, 0.0), "--lease-retry-period 0s: must be above 0s"),
        ((15.0, 5.0, math.nan), "--lease-retry-period nans: must be above 0s"),
        ((10.0, 9.0, 2.0), "--lease-renew-deadline 9s: must be below 0.9 of the lease duration 10s; raise --lease-duration"),
        ((15.0, math.inf, 2.0), "--lease-renew-deadline infs: must be below 0.9"),
        ((15.0, 2.4, 2.0), "--lease-retry-period 2s: 1.2 times it must be below the lease renew deadline 2.4s; lower --lease-retry-period"),
        ((15.0, 5.0, math.inf), "--lease-retry-period infs: 1.2 times it"),
    ],
)
def test_timings_that_cannot_work_are_refused(values: tuple[float, float, float], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Timing(*values)


@pytest.mark.parametrize("interval", [9.9, -1.0, math.nan, math.inf])
def test_a_refresh_interval_that_cannot_be_is_refused(interval: float) -> None:
    with pytest.raises(ConfigurationError, match=r"--announce-refresh .*s: must be at least 10s, or 0s for no refresh"):
        Timing(announce_refresh=interval)
    assert [Timing(announce_refresh=good).announce_refresh for good in (0.0, 10.0)] == [0.0, 10.0]


@pytest.mark.parametrize("values", [(1.0, 0.5, 0.1), (15.0, 13.4, 2.0), (10.0, 8.999, 7.4), (3600.0, 5.0, 2.0)])
def test_timings_at_the_edge_are_allowed(values: tuple[float, float, float]) -> None:
    assert dataclasses.astuple(Timing(*values))[:3] == values


@pytest.mark.parametrize("module", [address, claim, lease, link, objects, report, status, timing], ids=lambda m: m.__name__)
def test_values_are_frozen_and_slotted(module: object) -> None:
    for kind in vars(module).values():
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
            assert "__slots__" in vars(kind)
