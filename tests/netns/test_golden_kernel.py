"""The golden corpus against the Linux kernel, which answers here for addresses of its own: it agrees, but for the differences declared.

One node whose eth0 has the corpus's hardware address and, as addresses of its own, those that a case claims. Each frame is sent by the
peer, then a question for each of two fence addresses; whether the kernel has answered the frame is compared with whether the corpus says
so. What a reply looks like is not compared: the kernel advertises from the target.
"""

from ipaddress import IPv4Address, IPv6Address

import pytest
from netlab.namespaces import Namespace, Network

from tests.golden.build import CASES
from tests.golden.corpus import CLIENT, CLIENT6, CLIENT_LL, ETHERNET, NODE, VIP6, Case, Frame, solicit, who_has
from tests.golden.differences import DIFFERENCES
from tests.netns.stand import Tap, Taps

pytestmark = pytest.mark.netns

FENCE4, FENCE6 = IPv4Address("10.99.0.250"), IPv6Address("fd99::fa")
"""Owned besides, and asked for after each frame: their answers say that it has been judged."""
FENCES = {FENCE4.packed, FENCE6.packed}
FENCE_QUESTIONS = (bytes(who_has(str(FENCE4))), bytes(solicit(str(FENCE6), ip={"dst": str(FENCE6)}, to=NODE)))
NODE_MAC = bytes.fromhex(NODE.replace(":", ""))
STRICTNESS = ("rp_filter", "arp_ignore", "arp_filter", "accept_local")
"""Settings by which a kernel answers less, or more, than by default. A namespace may inherit them from its host."""
SHORTEST = 14


def why_skipped(case: Case) -> str | None:
    """Why a kernel that owns the claimed addresses cannot express a case: the rule, in order."""
    if len(case.links) > 1 or any(one.interface for one in case.frames):
        return "several links"
    if any("probe" in claim or "deadline" in claim for claim in case.claims):
        return "the kernel knows neither deadlines nor addresses that are held back"
    if case.linktype != ETHERNET:
        return "the same frames as Ethernet are other cases"
    if case.answer_limit:
        return "the kernel answers without limit"
    if any(len(one.octets) < SHORTEST for one in case.frames):
        return "no packet socket sends less than a header"
    return None


def answered(frames: list[bytes]) -> set[bytes]:
    """The addresses that ARP replies and advertisements of the node among ``frames`` tell of."""
    mine = [frame for frame in frames if frame[6:12] == NODE_MAC]
    replies = {frame[28:32] for frame in mine if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2"}
    return replies | {frame[62:78] for frame in mine if frame[12:14] == b"\x86\xdd" and frame[54:55] == b"\x88"}


def kernel_answers(one: Frame, ear: Tap) -> bool:
    """Send a frame, then a question for each fence; whether the kernel answered the frame."""
    before = len(ear.read())
    for octets in (one.octets, *FENCE_QUESTIONS):
        ear.send(octets)
    frames = ear.watch(lambda seen: answered(seen[before:]) >= FENCES, f"{one.what}: the fences to be answered")
    return answered(frames[before:]) > FENCES


def own(node: Namespace, addresses: frozenset[str], before: frozenset[str]) -> None:
    """Replace the addresses ``before`` by ``addresses``."""
    for address in sorted(before - addresses):
        node.ip(f"address delete {_prefix(address)} dev eth0")
    node.address("eth0", *map(_prefix, sorted(addresses - before)))


def _prefix(address: str) -> str:
    return f"{address}/64" if ":" in address else f"{address}/24"


@pytest.fixture
def node(network: Network) -> Namespace:
    """The node, on a wire with a client. It knows the client's MAC for good, so that it never has to ask before it advertises."""
    client, made = network.namespace("client"), network.namespace("node")
    for host in (client, made):
        host.sysctl("net/ipv6/conf/default/addr_gen_mode", 1)
    for name in STRICTNESS:
        for scope in ("all", "default"):
            made.sysctl(f"net/ipv4/conf/{scope}/{name}", 0)
    network.veth(client, "eth0", made, "eth0", right_mac=NODE)
    network.wait_ready()
    own(made, frozenset({str(FENCE4), str(FENCE6)}), frozenset())
    for address in (CLIENT6, CLIENT_LL):
        made.ip(f"neighbor add {address} lladdr {CLIENT} dev eth0 nud permanent")
    return made


def test_the_kernel_agrees_but_for_the_declared_differences(network: Network, node: Namespace, tap: Taps) -> None:
    ear = tap(network["client"])
    owned: frozenset[str] = frozenset()
    differ: dict[str, bool] = {}
    compared = [case for case in CASES if not why_skipped(case)]
    assert len(compared) > 100
    for case in sorted(compared, key=lambda case: sorted(claim["address"] for claim in case.claims)):
        addresses = frozenset(claim["address"] for claim in case.claims)
        own(node, addresses, owned)
        owned = addresses
        for one in case.frames:
            kernel = kernel_answers(one, ear)
            if kernel is not (one.reply is not None):
                differ[case.name] = kernel
    assert differ == {name: difference.kernel for difference in DIFFERENCES for name in difference.cases}


def test_the_kernel_takes_any_of_its_addresses_and_advertises_from_the_target(network: Network, node: Namespace, tap: Taps) -> None:
    """What docs/wire.md says of it besides the declared differences."""
    own(node, frozenset({VIP6}), frozenset())
    ear, target = tap(network["client"]), IPv6Address(VIP6).packed
    ear.send(bytes(solicit(VIP6, ip={"dst": str(FENCE6)}, to=NODE)))
    frames = ear.watch(lambda seen: target in answered(seen), "an answer to a solicitation that was sent to another address of the node")
    assert [frame[22:38] for frame in frames if target in answered([frame])] == [target]
