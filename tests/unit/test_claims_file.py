"""CLAIMS.yaml: what it may say, and one line for everything that it may not."""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from l2announce.cli.claims_file import read_claims
from l2announce.errors import ConfigurationError
from l2announce.model.address import FOREVER
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.model.timing import PROBE_WAIT

LINKS = "links: [{name: eth0, mac: '02:00:00:00:00:01'}, {name: eth1, mac: '02:00:00:00:00:02', index: 9, link_local: 'fe80::2'}]\n"


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    return path


def test_claims_and_links(tmp_path: Path) -> None:
    path = _write(
        tmp_path, LINKS + "claims: [{address: 10.0.0.1, interfaces: [eth0, eth1], deadline: 5}, {address: 'fd00::1', interfaces: [eth1]}]"
    )
    claims, links = read_claims(path)
    assert links == (
        Link(1, "eth0", bytes.fromhex("020000000001")),
        Link(9, "eth1", bytes.fromhex("020000000002"), link_local=IPv6Address("fe80::2")),
    )
    assert claims == ClaimSet(
        1,
        (
            Claim(IPv4Address("10.0.0.1"), frozenset({"eth0", "eth1"}), 5.0),
            Claim(IPv6Address("fd00::1"), frozenset({"eth1"}), FOREVER),
        ),
        probe_wait=PROBE_WAIT,
    )


def test_peers_and_probes(tmp_path: Path) -> None:
    text = LINKS + "claims: [{address: 10.0.0.1, interfaces: [eth0], probe: true}]\npeers: ['02:00:00:00:00:09']"
    claims, _ = read_claims(_write(tmp_path, text))
    assert claims.peers == {bytes.fromhex("020000000009")}
    assert claims.claims[0].probe
    with pytest.raises(ConfigurationError, match=r"peers: .*such as '02:00:00:00:00:01'"):
        read_claims(_write(tmp_path, LINKS + "peers: [nobody]"))


def test_no_claims_are_allowed(tmp_path: Path) -> None:
    claims, links = read_claims(_write(tmp_path, LINKS))
    assert claims.claims == ()
    assert len(links) == 2


def _claim(text: str) -> str:
    return LINKS + "claims: [" + text + "]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "links: at least one is needed"),
        ("[", "not YAML: while parsing"),
        ("- a\n- b\n", "Expected `object`, got `array`"),
        ("claim: []", "unknown field `claim`"),
        ("links: [{name: eth0}]", "missing required field `mac` - at `$.links[0]`"),
        ("links: [{name: '', mac: '02:00:00:00:00:01'}]", "at `$.links[0].name`"),
        ("links: [{name: eth0, mac: 10:20:30:40:50:11}]", "Expected `str`, got `int` - at `$.links[0].mac`"),
        ("links: [{name: eth0, mac: '02:00'}]", "links[0]: '02:00' is not a hardware address of six octets; such as '02:00:00:00:00:01'"),
        ("links: [{name: eth0, mac: '00:00:00:00:00:00'}]", "links[0]: '00:00:00:00:00:00' is no hardware address of an interface"),
        ("links: [{name: eth0, mac: '33:33:00:00:00:01'}]", "links[0]: '33:33:00:00:00:01' is no hardware address of an interface"),
        ("answer_limit: -1", "Expected `int` >= 0 - at `$.answer_limit`"),
        ("links: [{name: eth0, mac: '02:00:00:00:00:01', index: 0}]", "at `$.links[0].index`"),
        ("links: [{name: eth0, mac: '02:00:00:00:00:01', link_local: fe80}]", "links[0]: "),
        (
            "links: [{name: a, mac: '02:00:00:00:00:01'}, {name: a, mac: '02:00:00:00:00:02'}]",
            "links[1].name: a is also that of links[0]; leave one of them out",
        ),
        (
            "links: [{name: a, mac: '02:00:00:00:00:01', index: 2}, {name: b, mac: '02:00:00:00:00:02'}]",
            "links[1].index: 2 is also that of links[0]; leave one of them out",
        ),
        (_claim("{address: 10.0.0.256, interfaces: [eth0]}"), "claims[0].address: '10.0.0.256' is not an IP address"),
        (_claim("{address: 224.0.0.1, interfaces: [eth0]}"), "claims[0].address: 224.0.0.1 cannot be announced"),
        (_claim("{address: '::', interfaces: [eth0]}"), "claims[0].address: :: cannot be announced"),
        (_claim("{address: 'fe80::1%eth0', interfaces: [eth0]}"), "claims[0].address: fe80::1%eth0 cannot be announced"),
        (_claim("{address: 10.0.0.1, interfaces: [eth7]}"), "claims[0].interfaces: no link named eth7; links has eth0, eth1"),
        (_claim("{address: 10.0.0.1, interfaces: eth0}"), "Expected `array`, got `str` - at `$.claims[0].interfaces`"),
        (_claim("{address: 10.0.0.1, interfaces: [eth0], deadline: -1}"), "claims[0].deadline: -1.0: give seconds from 0 on"),
        (_claim("{address: 10.0.0.1, interfaces: [eth0], deadline: .nan}"), "claims[0].deadline: nan: give seconds from 0 on"),
        (_claim("{address: 10.0.0.1, interfaces: [eth0], until: 5}"), "unknown field `until` - at `$.claims[0]`"),
        (
            _claim("{address: 'fd00::1', interfaces: [eth0]}, {address: 'fd00:0::1', interfaces: [eth1]}"),
            "claims[1].address: fd00::1 is also that of claims[0]",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        read_claims(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml: No such file or directory; give a file"):
        read_claims(tmp_path / "none.yaml")


def test_octets_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_bytes(b"links: \xff")
    with pytest.raises(ConfigurationError, match="not YAML: octet 7 is not UTF-8"):
        read_claims(path)
