"""What tcpdump captures on ``any``, in both cooked formats, is judged as what it captures on the interface."""

import subprocess
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from netlab.namespaces import Namespace, Network
from netlab.waiting import wait_until
from scapy.layers.l2 import Ether

from l2announce.cli.captures import Captured, read_capture
from l2announce.cli.claims_file import read_claims
from l2announce.cli.outcomes import Judged, Unjudged, replay_frames
from l2announce.errors import ConfigurationError
from l2announce.responder.verdict import Verdict
from tests.golden.corpus import BROADCAST, CLIENT, NODE, ROUTER, VIP4, VIP6, VIP6_GROUP_MAC, solicit, who_has
from tests.netns.stand import PATIENCE, Taps

pytestmark = pytest.mark.netns

ASKED: list[tuple[Any, Verdict]] = [
    (who_has(), Verdict.ANSWERED),
    (who_has(to=NODE), Verdict.ANSWERED),
    (who_has(to="01:00:5e:00:00:01"), Verdict.ANSWERED),
    (who_has(to=ROUTER), Verdict.OTHER_DESTINATION),
    (solicit(), Verdict.ANSWERED),
    (solicit(to=NODE, ip={"dst": VIP6}), Verdict.ANSWERED),
    (solicit(to=VIP6_GROUP_MAC, ip={"src": "::"}, options=None), Verdict.ANSWERED),
    (solicit(to=ROUTER), Verdict.OTHER_DESTINATION),
    (Ether(dst=BROADCAST, src=CLIENT, type=0x88CC) / b"\2\7\4", Verdict.OTHER_PROTOCOL),
]
TAGGED = Ether(bytes(who_has())[:12] + b"\x81\0\0\7" + bytes(who_has())[12:])
OWN = who_has(source=NODE, hwsrc=NODE)
ALL = [*ASKED, (TAGGED, Verdict.VLAN_TAGGED), (OWN, Verdict.OWN_FRAME)]
IS_TAGGED, IS_OWN = len(ASKED), len(ASKED) + 1
MARK = b"mark"
"""Padding of every frame that is sent, before its number in ALL."""
Seen: TypeAlias = tuple[int, Verdict, bytes | None]
"""The number of a frame, its verdict and the reply."""


def dump(node: Namespace, path: Path, *options: str) -> Path:
    """Start a tcpdump in the node, and wait until it captures."""
    said = path.with_suffix(".log")
    with said.open("wb") as log:
        node.popen(
            "tcpdump", "-Z", "root", "-U", "--immediate-mode", "-n", "-w", str(path), *options, stderr=log, stdout=subprocess.DEVNULL
        )
    wait_until(lambda: "listening on" in said.read_text(), PATIENCE, f"tcpdump {' '.join(options)}")
    return path


def frames(path: Path) -> list[Captured]:
    """What a capture that is still being written has."""
    found: list[Captured] = []
    try:
        found.extend(read_capture(path))
    except ConfigurationError:
        return found
    return found


def numbers(path: Path) -> set[int]:
    """Which of ALL a capture has."""
    return {one.frame[-1] for one in frames(path) if one.frame[-5:-1] == MARK}


def judged(path: Path, tmp_path: Path, index: int) -> list[Judged | Unjudged]:
    """The outcomes of a capture."""
    claims = tmp_path / "claims.yaml"
    claims.write_text(
        f"links: [{{name: eth0, mac: '{NODE}', index: {index}}}]\n"
        f"claims: [{{address: {VIP4}, interfaces: [eth0]}}, {{address: '{VIP6}', interfaces: [eth0]}}]\n"
    )
    return replay_frames(*read_claims(claims), frames(path))


def on_the_link(outcomes: list[Judged | Unjudged]) -> set[Seen]:
    """What came of the frames that were sent on eth0: those of lo are not judged, or on no listed link."""
    return {
        (one.captured.frame[-1], one.verdict, one.reply)
        for one in outcomes
        if isinstance(one, Judged) and one.verdict is not Verdict.UNKNOWN_LINK and one.captured.frame[-5:-1] == MARK
    }


def test_cooked_captures_are_judged_as_the_capture_on_the_interface(network: Network, tap: Taps, tmp_path: Path) -> None:
    client, node = network.namespace("client"), network.namespace("node")
    for host in (client, node):
        host.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
    network.veth(client, "eth0", node, "eth0", right_mac=NODE)
    network.wait_ready()
    plain = dump(node, tmp_path / "plain.pcap", "-i", "eth0")
    second = dump(node, tmp_path / "sll2.pcap", "-i", "any")
    first = dump(node, tmp_path / "sll.pcap", "-i", "any", "-y", "LINUX_SLL")
    sender, own, loopback = tap(client), tap(node), tap(node, "lo")

    def all_are_captured() -> bool:
        """Send all, again and again: no capture promises to have every frame."""
        for number, (packet, _) in enumerate(ALL):
            (own if number == IS_OWN else sender).send(bytes(packet) + MARK + bytes((number,)))
        loopback.send(bytes(who_has()))
        return all(numbers(path) == set(range(len(ALL))) for path in (plain, second, first))

    wait_until(all_are_captured, PATIENCE, "the captures to have every frame", interval=0.2)
    index = node.interface("eth0").index
    seen = {path.stem: judged(path, tmp_path, index) for path in (plain, second, first)}
    assert {name: {one.captured.linktype for one in found} for name, found in seen.items()} == {"plain": {1}, "sll2": {276}, "sll": {113}}
    expected = on_the_link(seen["plain"])
    assert {(number, verdict) for number, verdict, _ in expected} == {(number, verdict) for number, (_, verdict) in enumerate(ALL)}
    assert on_the_link(seen["sll"]) == expected
    # libpcap 1.10 drops VLAN tags in the second format: docs/replay.md
    assert untagged(on_the_link(seen["sll2"])) == untagged(expected)
    assert any(isinstance(one, Unjudged) and "(loopback)" in one.reason for one in seen["sll"])


def untagged(found: set[Seen]) -> set[Seen]:
    """All but what came of the tagged frame."""
    return {one for one in found if one[0] != IS_TAGGED}
