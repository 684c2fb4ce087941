"""What is neither ARP nor NDP, and what decides besides the octets: links and deadlines."""

from typing import Any

from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import LLC, Dot3, Ether

from l2announce.responder.verdict import Verdict
from tests.golden.corpus import (
    BOTH_LINKS,
    CLIENT,
    NODE,
    NODE2,
    OTHER4,
    OWN_BOTH,
    VIP4,
    VIP6,
    Case,
    advertise,
    advertise_to_all,
    case,
    frame,
    is_at,
    own,
    solicit,
    who_has,
)


def _mac(host: int) -> str:
    return f"02:00:00:00:01:{host:02x}"


def _ask(host: int) -> Any:
    return who_has(source=_mac(host), hwsrc=_mac(host))


def _told(host: int) -> Any:
    return is_at(to=_mac(host))


_STP = "01:80:c2:00:00:00"
_SECOND = 1_000_000
_BOOT = 1_700_000_000 * _SECOND
"""A capture's usual times, where a float of seconds no longer tells microseconds apart exactly."""

FOREIGN = (
    case(
        "ipv4", frame("IPv4 to our address", Ether(dst=NODE, src=CLIENT) / IP(src="10.99.0.1", dst=VIP4) / ICMP(), Verdict.OTHER_PROTOCOL)
    ),
    case(
        "llc",
        frame(
            "802.3 frame with LLC",
            Dot3(dst=_STP, src=CLIENT, len=7) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / b"\0\0\0\0",
            Verdict.OTHER_PROTOCOL,
        ),
    ),
    case("ethertype-lldp", frame("EtherType LLDP", Ether(dst=_STP, src=CLIENT, type=0x88CC) / b"\0\0", Verdict.OTHER_PROTOCOL)),
    case(
        "runt",
        frame("13 octets", bytes(who_has())[:13], Verdict.MALFORMED),
        frame("1 octet", b"\xff", Verdict.MALFORMED, at=1),
        frame("no octet", b"", Verdict.MALFORMED, at=2),
    ),
    case("header-only-ipv6", frame("Ethernet header of IPv6 alone", bytes(solicit())[:14], Verdict.MALFORMED)),
)

FLOODS = (
    Case(
        "flood-one-host",
        (
            frame("who-has", who_has(), Verdict.ANSWERED, is_at()),
            frame("again", who_has(), Verdict.ANSWERED, is_at(), at=1),
            frame("and again", who_has(), Verdict.RATE_LIMITED, at=2),
            frame("NS from the same host", solicit(), Verdict.RATE_LIMITED, at=3),
            frame("another host asks", _ask(0x30), Verdict.ANSWERED, _told(0x30), at=4),
            frame("the first one asks for what is not ours", who_has(OTHER4), Verdict.NOT_CLAIMED, at=5),
            frame("three answers are paid for after 30 ms", who_has(), Verdict.RATE_LIMITED, at=25_000),
            frame("then it is answered", who_has(), Verdict.ANSWERED, is_at(), at=31_000),
        ),
        OWN_BOTH,
        answer_limit=100,
    ),
    Case(
        "flood-many-hosts",
        (
            *(frame(f"who-has of host {host}", _ask(host), Verdict.ANSWERED, _told(host), at=host) for host in range(1, 11)),
            frame("who-has of host 11", _ask(11), Verdict.RATE_LIMITED, at=11),
            frame("who-has of host 12 a hundredth of a second later", _ask(12), Verdict.ANSWERED, _told(12), at=10_100),
            frame("who-has of host 13", _ask(13), Verdict.RATE_LIMITED, at=10_101),
        ),
        OWN_BOTH,
        answer_limit=100,
    ),
)

DEADLINES = (
    case(
        "deadline-to-the-tick",
        frame("who-has at 0", who_has(), Verdict.ANSWERED, is_at(), at=_BOOT),
        frame("a microsecond before the deadline", who_has(), Verdict.ANSWERED, is_at(), at=_BOOT + 5 * _SECOND - 1),
        frame("at the deadline", who_has(), Verdict.EXPIRED, at=_BOOT + 5 * _SECOND),
        frame("a microsecond after", who_has(), Verdict.EXPIRED, at=_BOOT + 5 * _SECOND + 1),
        claims=(own(VIP4, deadline=5.0),),
    ),
    case(
        "deadline-ndp",
        frame("NS before the deadline", solicit(), Verdict.ANSWERED, advertise()),
        frame("NS at the deadline", solicit(), Verdict.EXPIRED, at=_SECOND // 2),
        frame("DAD after the deadline", solicit(ip={"src": "::"}, options=None), Verdict.EXPIRED, at=_SECOND),
        claims=(own(VIP6, deadline=0.5),),
    ),
    case("deadline-zero", frame("claim that was over from the start", who_has(), Verdict.EXPIRED), claims=(own(VIP4, deadline=0.0),)),
    case(
        "deadline-of-one-address",
        frame("the one that expired", who_has(), Verdict.ANSWERED, is_at()),
        frame("the one that expired", who_has(), Verdict.EXPIRED, at=2 * _SECOND),
        frame("the other one", who_has(OTHER4), Verdict.ANSWERED, is_at(OTHER4), at=2 * _SECOND),
        claims=(own(VIP4, deadline=1.0), own(OTHER4)),
    ),
    case(
        "clock-goes-back",
        frame("who-has", who_has(), Verdict.ANSWERED, is_at(), at=3 * _SECOND),
        frame("a frame stamped earlier than the first", who_has(), Verdict.ANSWERED, is_at(), at=2 * _SECOND),
        claims=(own(VIP4, deadline=1.0),),
    ),
)

LINKS = (
    case(
        "link-not-claimed",
        frame("who-has on the first link", who_has(), Verdict.WRONG_INTERFACE),
        claims=(own(VIP4, "eth1"),),
        links=BOTH_LINKS,
    ),
    case(
        "link-not-claimed-ndp",
        frame("NS on the first link", solicit(), Verdict.WRONG_INTERFACE),
        claims=(own(VIP6, "eth1"),),
        links=BOTH_LINKS,
    ),
    case(
        "links-one-claimed",
        frame("on the link claimed", who_has(), Verdict.ANSWERED, is_at(), interface="eth0"),
        frame("on the other", who_has(), Verdict.WRONG_INTERFACE, at=1, interface="eth1"),
        frame("NS on the link claimed", solicit(), Verdict.ANSWERED, advertise(), at=2, interface="eth0"),
        frame("NS on the other", solicit(), Verdict.WRONG_INTERFACE, at=3, interface="eth1"),
        links=BOTH_LINKS,
    ),
    case(
        "links-both-claimed",
        frame("on eth0: its MAC", who_has(), Verdict.ANSWERED, is_at(), interface="eth0"),
        frame("on eth1: its MAC", who_has(), Verdict.ANSWERED, is_at(mac=NODE2), at=1, interface="eth1"),
        frame("NS on eth0", solicit(), Verdict.ANSWERED, advertise(), at=2, interface="eth0"),
        frame("NS on eth1", solicit(), Verdict.ANSWERED, advertise(mac=NODE2), at=3, interface="eth1"),
        frame(
            "DAD on eth1", solicit(ip={"src": "::"}, options=None), Verdict.ANSWERED, advertise_to_all(mac=NODE2), at=4, interface="eth1"
        ),
        claims=(own(VIP4, "eth0", "eth1"), own(VIP6, "eth0", "eth1")),
        links=BOTH_LINKS,
    ),
    case(
        "links-each-its-own",
        frame("eth0's on eth0", who_has(), Verdict.ANSWERED, is_at(), interface="eth0"),
        frame("eth1's on eth0", who_has(OTHER4), Verdict.WRONG_INTERFACE, at=1, interface="eth0"),
        frame("eth0's on eth1", who_has(), Verdict.WRONG_INTERFACE, at=2, interface="eth1"),
        frame("eth1's on eth1", who_has(OTHER4), Verdict.ANSWERED, is_at(OTHER4, mac=NODE2), at=3, interface="eth1"),
        frame("nobody's on eth1", who_has("10.99.0.12"), Verdict.NOT_CLAIMED, at=4, interface="eth1"),
        claims=(own(VIP4, "eth0"), own(OTHER4, "eth1")),
        links=BOTH_LINKS,
    ),
    case(
        "link-mac-of-the-other",
        frame("to eth0's MAC, on eth1", who_has(to=NODE), Verdict.OTHER_DESTINATION, interface="eth1"),
        frame(
            "sent by eth0, seen on eth1",
            who_has(source=NODE, hwsrc=NODE),
            Verdict.ANSWERED,
            is_at(mac=NODE2, to=NODE),
            at=1,
            interface="eth1",
        ),
        claims=(own(VIP4, "eth1"),),
        links=BOTH_LINKS,
    ),
    case(
        "link-unknown",
        frame("on an interface that claims.yaml does not list", who_has(), Verdict.UNKNOWN_LINK, interface="eth9"),
        frame("NS on it", solicit(), Verdict.UNKNOWN_LINK, at=1, interface="eth9"),
    ),
)

CASES = (*FOREIGN, *FLOODS, *DEADLINES, *LINKS)
