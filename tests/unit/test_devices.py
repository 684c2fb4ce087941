"""Candidate interfaces: detection, --devices, and the sentence that says why not."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from l2announce.control.devices import Candidates, candidate_devices, compile_pattern, names_match, why_not
from l2announce.model.link import Device

ETH0 = Device(2, "eth0", ("enp1s0",), addresses=(IPv4Address("192.0.2.1"),), has_default_route=True, has_global_unicast_route=True)


def names(candidates: Candidates) -> tuple[list[str], list[str]]:
    """(default tier, named tier)"""
    return sorted(candidates.default), [device.name for device in candidates.named]


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        (replace(ETH0, loopback=True), "it is a loopback"),
        (replace(ETH0, ethernet=False), "it is not Ethernet or has no hardware address"),
        (replace(ETH0, slave=True), "it is a port of a bond; use the master"),
        (replace(ETH0, slave=True, master_kind="team"), "it is a port of a team; use the master"),
        (replace(ETH0, master_kind="bridge"), "it is a port of a bridge; use the master"),
    ],
)
@pytest.mark.parametrize("patterns", [(), ("eth",)])
@pytest.mark.parametrize("named", [False, True])
def test_what_can_never_announce(device: Device, sentence: str, patterns: tuple[str, ...], named: bool) -> None:
    assert why_not(device, [compile_pattern(pattern) for pattern in patterns], named=named) == sentence
    assert names(candidate_devices([device], patterns)) == ([], [])


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        (replace(ETH0, up=False), "it is down"),
        (replace(ETH0, name="cilium_host"), "names that begin with cilium_ are not detected; name it with --devices"),
        (replace(ETH0, name="lo-like"), "names that begin with lo are not detected; name it with --devices"),
        (replace(ETH0, name="lxc123"), "names that begin with lxc are not detected; name it with --devices"),
        (replace(ETH0, name="cni0", kind="bridge"), "names that begin with cni are not detected; name it with --devices"),
        (replace(ETH0, name="docker0", kind="bridge"), "names that begin with docker are not detected; name it with --devices"),
        (replace(ETH0, kind="openvswitch"), "devices of kind openvswitch are not detected; name it with --devices"),
        (replace(ETH0, kind="ipoib"), "devices of kind ipoib are not detected; name it with --devices"),
    ],
)
def test_what_only_the_devices_flag_can_choose(device: Device, sentence: str) -> None:
    assert why_not(device, (), named=True) == why_not(device, (), named=False) == sentence
    assert names(candidate_devices([device], ())) == ([], [])
    assert names(candidate_devices([device], (".",))) == ([device.name], [device.name])


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        (replace(ETH0, addresses=()), "it has no address"),
        (replace(ETH0, kind="veth", has_default_route=False), "it is a veth without a default route"),
        (replace(ETH0, has_global_unicast_route=False), "it has no route to a global unicast destination"),
    ],
)
def test_what_a_policy_must_name(device: Device, sentence: str) -> None:
    assert why_not(device, (), named=False) == f"{sentence}; name it in a policy's interfaces or with --devices"
    assert why_not(device, (), named=True) is None
    assert names(candidate_devices([device], ())) == ([], ["eth0"])
    assert names(candidate_devices([device], ("^eth0$",))) == (["eth0"], ["eth0"])


@pytest.mark.parametrize(
    "device",
    [
        ETH0,
        replace(ETH0, kind="veth"),
        replace(ETH0, kind="bridge"),
        replace(ETH0, kind="vlan", has_default_route=False),
        replace(ETH0, master_kind="vrf"),
    ],
)
def test_detected(device: Device) -> None:
    assert why_not(device, (), named=False) is None
    assert names(candidate_devices([device], ())) == (["eth0"], ["eth0"])


def test_the_devices_flag_chooses_by_name_and_alternative_name() -> None:
    eth1 = replace(ETH0, index=3, name="eth1", alternative_names=())
    assert names(candidate_devices([eth1, ETH0], ("enp",))) == (["eth0"], ["eth0"])
    assert names(candidate_devices([eth1, ETH0], ("none", "th1"))) == (["eth1"], ["eth1"])
    assert names(candidate_devices([eth1, ETH0], ("th",))) == (["eth0", "eth1"], ["eth0", "eth1"])
    assert why_not(eth1, [compile_pattern("enp")], named=True) == "no --devices expression matches its names"


def test_a_bad_devices_expression_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'\[' is not an RE2 expression: missing \]"):
        candidate_devices([ETH0], ("eth0", "["))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("(", "'(' is not an RE2 expression: missing ): ("),
        ("(?=a)", "invalid perl operator: (?="),
        (r"a\C", r"invalid escape sequence: \C"),
        (r"\Qa\E\C", r"invalid escape sequence: \C"),
        (r"\\\C", r"invalid escape sequence: \C"),
        (r"[\C]", r"invalid escape sequence: \C"),
        ("\ud800", "it is not valid UTF-8"),
        ("(a{1000}){1000}", "invalid repetition size"),
        ("a" * 100_000, "pattern too large"),
    ],
)
def test_expressions_that_go_refuses(text: str, sentence: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="is not an RE2 expression: ") as caught:
        compile_pattern(text)
    assert sentence in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_long_expression_does_not_make_a_long_message() -> None:
    with pytest.raises(ValueError, match="is not an RE2 expression") as caught:
        compile_pattern("[" * 5000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("eth", "veth0", True),
        ("^eth", "veth0", False),
        ("^eth0$", "eth0", True),
        ("^eth0$", "eth0\n", False),
        (r"eth0\z", "eth0", True),
        (r"^\Qeth0.100\E$", "eth0.100", True),
        (r"^\Qeth0.100\E$", "eth0x100", False),
        (r"^\Q\C\E$", r"\C", True),
        (r"^\\C$", r"\C", True),
        (r"^\pL+[0-9]$", "eth0", True),
        (r"\d", "eth٣", False),
        ("", "eth0", True),
        ("^é.$", "é0", True),
        ("^eth", "eth\udcff", True),
    ],
)
def test_matching_is_unanchored_re2(pattern: str, name: str, expected: bool) -> None:
    assert names_match([compile_pattern(pattern)], Device(1, name)) is expected


def test_no_expression_matches_nothing() -> None:
    assert not names_match([], ETH0)


def test_the_compiled_expression_remembers_its_text() -> None:
    assert compile_pattern("^eth").pattern == "^eth"
