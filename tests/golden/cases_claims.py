"""Who else claims an address: strangers (conflicts), other nodes of the cluster (takeovers), ourselves; and what is probed for."""

from typing import Any

from scapy.layers.inet6 import ICMPv6ND_NA
from scapy.layers.l2 import Ether

from l2announce.responder.verdict import Verdict
from tests.golden.corpus import (
    BOTH_LINKS,
    BROADCAST,
    CLIENT,
    NODE,
    NODE2,
    OTHER4,
    OWN_BOTH,
    ROUTER,
    UNSPECIFIED4,
    VIP4,
    VIP6,
    Case,
    Frame,
    advertise,
    advertise_to_all,
    case,
    frame,
    is_at,
    own,
    solicit,
    who_has,
)

_PROBED: tuple[dict[str, Any], ...] = (own(VIP4) | {"probe": True}, own(VIP6) | {"probe": True})


def _announced(mac: str) -> Any:
    return who_has(VIP4, source=mac, hwsrc=mac, psrc=VIP4)


def _told(mac: str, to: str = BROADCAST) -> Any:
    return is_at(mac=mac, to=to, to_address=VIP4)


def _of_peer(name: str, *frames: Frame) -> Case:
    return Case(name, frames, OWN_BOTH, peers=(ROUTER,))


def _without_option() -> Any:
    packet = advertise_to_all(mac=CLIENT)
    packet[ICMPv6ND_NA].remove_payload()
    return Ether(bytes(packet))


STRANGERS = (
    case("claim-arp-announcement", frame("announcement of our address by a stranger", _announced(CLIENT), Verdict.CONFLICT)),
    case("claim-arp-gratuitous-reply", frame("gratuitous reply of a stranger", _told(CLIENT), Verdict.CONFLICT)),
    case("claim-arp-reply", frame("reply of a stranger, to us", _told(CLIENT, NODE), Verdict.CONFLICT)),
    case("claim-arp-asks-for-foreign", frame("who-has by a stranger with our address", who_has("10.99.0.77", psrc=VIP4), Verdict.CONFLICT)),
    case(
        "claim-arp-asks-for-owned",
        frame(
            "a stranger with our first address asks for our second",
            who_has(OTHER4, psrc=VIP4),
            Verdict.ANSWERED,
            is_at(OTHER4, to_address=VIP4),
        ),
        claims=(own(VIP4), own(OTHER4)),
    ),
    case("claim-ndp-advertisement", frame("unsolicited advertisement of a stranger", advertise_to_all(mac=CLIENT), Verdict.CONFLICT)),
    case("claim-ndp-without-option", frame("advertisement without link-layer address", _without_option(), Verdict.CONFLICT)),
    case(
        "claim-of-expired",
        frame("before the deadline", _announced(CLIENT), Verdict.CONFLICT),
        frame("after it", _announced(CLIENT), Verdict.ANNOUNCEMENT, at=2_000_000),
        claims=(own(VIP4, deadline=1.0),),
    ),
)

OURSELVES = (
    case("claim-own-looped-back", frame("our own announcement comes back", _announced(NODE), Verdict.OWN_FRAME)),
    case("claim-own-other-link", frame("the announcement of our other link", _announced(NODE2), Verdict.ANNOUNCEMENT), links=BOTH_LINKS),
    case("claim-own-other-link-reply", frame("its gratuitous reply", _told(NODE2), Verdict.NOT_REQUEST), links=BOTH_LINKS),
    case("claim-own-other-link-ndp", frame("its advertisement", advertise_to_all(mac=NODE2), Verdict.NOT_REQUEST), links=BOTH_LINKS),
)

PEERS = (
    _of_peer("claim-takeover-arp", frame("announcement by another node", _announced(ROUTER), Verdict.TAKEOVER)),
    _of_peer("claim-takeover-ndp", frame("advertisement by another node", advertise_to_all(mac=ROUTER), Verdict.TAKEOVER)),
    _of_peer("claim-takeover-and-stranger", frame("announcement by somebody else", _announced(CLIENT), Verdict.CONFLICT)),
)

PROBED = (
    case(
        "probe-nothing-is-answered",
        frame("who-has while we probe", who_has(), Verdict.PROBING),
        frame("solicitation while we probe", solicit(), Verdict.PROBING, at=10),
        claims=_PROBED,
    ),
    case("probe-answered-arp", frame("a stranger answers our probe", _told(CLIENT, NODE), Verdict.CONFLICT), claims=_PROBED),
    case("probe-answered-ndp", frame("a stranger answers our probe", advertise_to_all(mac=CLIENT), Verdict.CONFLICT), claims=_PROBED),
    case(
        "probe-by-two",
        frame("a stranger probes for the same", who_has(psrc=UNSPECIFIED4), Verdict.CONFLICT),
        claims=_PROBED,
    ),
    case(
        "probe-solicited-answer",
        frame("advertisement to us", advertise(mac=CLIENT, to=NODE, solicited=0), Verdict.CONFLICT),
        claims=_PROBED,
    ),
)

CASES = (*STRANGERS, *OURSELVES, *PEERS, *PROBED)
