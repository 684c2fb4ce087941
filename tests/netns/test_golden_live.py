"""The golden corpus against a responder process: each case's frames sent by its peer, the replies compared.

One node whose eth0 has the corpus's hardware address; the cases run one after the other on it, each after its own claims.
"""

import pytest
from netlab.namespaces import Network

from tests.golden.build import CASES
from tests.golden.corpus import NODE, Case, advertise, is_at, solicit, who_has
from tests.netns.stand import Starter, Tap, Taps

pytestmark = pytest.mark.netns

FENCE4, FENCE6 = "10.99.0.250", "fd99::fa"
"""Claimed besides, and asked for after the frames of a case: their answers say that those have been judged."""
SHORTEST = 14


def why_skipped(case: Case) -> str | None:
    """Why a live link cannot express a case: the rule, in order."""
    if len(case.links) > 1 or any(one.interface for one in case.frames):
        return "several links"
    if any("probe" in claim for claim in case.claims):
        return "probes take their time: test_responder_conflicts.py"
    if case.answer_limit:
        return "limits in the capture's time: test_responder_floods.py"
    if any("deadline" in claim for claim in case.claims):
        return "deadlines in the capture's time"
    if any(len(one.octets) < SHORTEST for one in case.frames):
        return "no packet socket sends less than a header"
    return None


SKIPPED = {
    *("runt", "deadline-to-the-tick", "deadline-ndp", "deadline-zero", "deadline-of-one-address", "clock-goes-back", "link-not-claimed"),
    *("link-not-claimed-ndp", "links-one-claimed", "links-both-claimed", "links-each-its-own", "link-mac-of-the-other", "link-unknown"),
    *("claim-own-other-link", "claim-own-other-link-ndp", "claim-own-other-link-reply", "claim-of-expired"),
    *("flood-one-host", "flood-many-hosts"),
    *("probe-answered-arp", "probe-answered-ndp", "probe-by-two", "probe-nothing-is-answered", "probe-solicited-answer"),
}


def test_only_these_cases_are_skipped() -> None:
    assert {case.name for case in CASES if why_skipped(case)} == SKIPPED


def is_reply(frame: bytes) -> bool:
    """An ARP reply, or an advertisement, to one asker. What goes to all may as well be an announcement."""
    if frame[0] & 1:
        return False
    return (frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2") or (frame[12:14] == b"\x86\xdd" and frame[54:55] == b"\x88")


def run_case(case: Case, ear: Tap) -> str | None:
    """Send the frames of one case, then a question for each fence; what came back that was not expected, in words."""
    before = len(ear.read())
    for one in case.frames:
        ear.send(one.octets)
    fences = {bytes(is_at(FENCE4)), bytes(advertise(FENCE6, source=case.links[0].get("link_local")))}
    ear.send(bytes(who_has(FENCE4)))
    ear.send(bytes(solicit(FENCE6, ip={"dst": FENCE6}, to=NODE)))
    frames = ear.watch(lambda seen: fences <= set(seen[before:]), f"{case.name}: the fences to be answered")[before:]
    expected = [bytes(one.reply) for one in case.frames if one.reply is not None]
    single = [frame for frame in frames if is_reply(frame) and frame not in fences]
    if sorted(single) != sorted(frame for frame in expected if is_reply(frame)):
        return f"{case.name}: replied {[frame.hex() for frame in single]}"
    if missing := [frame.hex() for frame in expected if frame not in frames]:
        return f"{case.name}: missing {missing}"
    return None


def test_the_corpus_on_a_live_responder(network: Network, start_responder: Starter, tap: Taps) -> None:
    client, node = network.namespace("client"), network.namespace("node")
    for host in (client, node):
        host.sysctl("net/ipv6/conf/default/addr_gen_mode", 1)
    network.veth(client, "eth0", node, "eth0", right_mac=NODE)
    network.wait_ready()
    ear, control = tap(client), start_responder(node).control
    wrong: list[str | None] = []
    claimed: frozenset[str] = frozenset()
    cases = sorted((case for case in CASES if not why_skipped(case)), key=lambda case: "link_local" in case.links[0])
    for case in cases:
        link_local = case.links[0].get("link_local")
        if link_local and not any(link.link_local for link in control.reports[-1].links):
            node.ip(f"address add {link_local}/64 dev eth0 nodad")
            control.wait(lambda report: any(link.link_local for link in report.links), "the link-local address to be seen")
        wanted = frozenset(claim["address"] for claim in case.claims)
        if wanted != claimed or not control.generation:
            control.claim(*wanted, FENCE4, FENCE6)
            claimed = wanted
        wrong.append(run_case(case, ear))
    assert [one for one in wrong if one] == []
