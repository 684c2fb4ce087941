"""Captures of ``tcpdump -i any``: the verdicts are those of the Ethernet frames, which are what ``octets`` has."""

from dataclasses import replace

from scapy.layers.l2 import Dot1Q, Ether

from l2announce.responder.verdict import Verdict
from tests.golden.corpus import (
    LINUX_SLL,
    LINUX_SLL2,
    NODE,
    ROUTER,
    VIP6,
    Case,
    Frame,
    advertise,
    advertise_to_all,
    case,
    frame,
    is_at,
    patch,
    solicit,
    who_has,
)

_ARP = (
    frame("who-has, packet type broadcast", who_has(), Verdict.ANSWERED, is_at()),
    frame("who-has, packet type host", who_has(to=NODE), Verdict.ANSWERED, is_at(), at=1),
    frame("who-has, packet type multicast", who_has(to="01:00:5e:00:00:01"), Verdict.ANSWERED, is_at(), at=2),
)
_NDP = (
    frame("NS, packet type multicast", solicit(), Verdict.ANSWERED, advertise()),
    frame("NS, packet type host", solicit(ip={"dst": VIP6}, to=NODE), Verdict.ANSWERED, advertise(), at=1),
    frame("DAD", solicit(ip={"src": "::"}, options=None), Verdict.ANSWERED, advertise_to_all(), at=2),
    frame("NS with a wrong checksum", patch(solicit(), 56, 0, 1), Verdict.MALFORMED, at=3),
)
_NOT_FOR_US = (
    frame("who-has, packet type otherhost", who_has(to=ROUTER), Verdict.OTHER_DESTINATION),
    frame("NS, packet type otherhost", solicit(to=ROUTER), Verdict.OTHER_DESTINATION, at=1),
    frame("our own who-has, packet type outgoing", who_has(source=NODE, hwsrc=NODE), Verdict.OWN_FRAME, at=2),
)
_TAGGED = Ether(bytes(who_has())[:12] + bytes(Ether(type=0x8100) / Dot1Q(vlan=7, type=0x0806))[12:] + bytes(who_has())[14:])


def _cooked(name: str, linktype: int, *frames: Frame) -> Case:
    return replace(case(name, *frames), linktype=linktype)


CASES = (
    _cooked("cooked-arp", LINUX_SLL, *_ARP),
    _cooked("cooked-ndp", LINUX_SLL, *_NDP),
    _cooked("cooked-not-for-us", LINUX_SLL, *_NOT_FOR_US),
    _cooked("cooked-vlan", LINUX_SLL, frame("who-has in VLAN 7", _TAGGED, Verdict.VLAN_TAGGED)),
    _cooked("cooked2-arp", LINUX_SLL2, *_ARP),
    _cooked("cooked2-ndp", LINUX_SLL2, *_NDP),
    _cooked("cooked2-not-for-us", LINUX_SLL2, *_NOT_FOR_US),
)
