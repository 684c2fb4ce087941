"""ARP: RFC 826 and RFC 5227, address family IPv4."""

from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from l2announce.responder.verdict import Verdict
from tests.golden.corpus import (
    BROADCAST,
    CLIENT,
    CLIENT4,
    NODE,
    OTHER4,
    ROUTER,
    UNSPECIFIED4,
    VIP4,
    ZERO,
    case,
    frame,
    is_at,
    own,
    patch,
    who_has,
)

_EARTH = "01:00:5e:00:00:0a"
_HTYPE, _PTYPE, _HLEN, _PLEN, _OPCODE = 14, 16, 18, 19, 20

ASKED = (
    case("arp-who-has-broadcast", frame("who-has, broadcast", who_has(), Verdict.ANSWERED, is_at())),
    case("arp-who-has-unicast", frame("who-has to our MAC (neighbor cache revalidation)", who_has(to=NODE), Verdict.ANSWERED, is_at())),
    case("arp-who-has-multicast", frame("who-has to a group MAC", who_has(to=_EARTH), Verdict.ANSWERED, is_at())),
    case("arp-probe", frame("probe, sender 0.0.0.0", who_has(psrc=UNSPECIFIED4), Verdict.ANSWERED, is_at(to_address=UNSPECIFIED4))),
    case("arp-target-hardware-filled", frame("who-has with a target MAC filled in", who_has(hwdst=BROADCAST), Verdict.ANSWERED, is_at())),
    case("arp-sender-differs-from-ethernet", frame("who-has relayed by another MAC", who_has(source=ROUTER), Verdict.ANSWERED, is_at())),
    case(
        "arp-sender-of-another-network",
        frame("who-has from off-link", who_has(psrc="192.0.2.9"), Verdict.ANSWERED, is_at(to_address="192.0.2.9")),
    ),
    case(
        "arp-sender-broadcast-address",
        frame("who-has", who_has(psrc="255.255.255.255"), Verdict.ANSWERED, is_at(to_address="255.255.255.255")),
    ),
    case("arp-padded", frame("who-has padded to 60 octets", bytes(who_has()) + bytes(18), Verdict.ANSWERED, is_at())),
    case("arp-padded-with-rubbish", frame("who-has, padding not zero", bytes(who_has()) + b"\xa5" * 18, Verdict.ANSWERED, is_at())),
    case("arp-over-long", frame("who-has in a frame of 1514 octets", bytes(who_has()) + bytes(1472), Verdict.ANSWERED, is_at())),
    case(
        "arp-asked-twice",
        frame("who-has", who_has(), Verdict.ANSWERED, is_at()),
        frame("the same again", who_has(), Verdict.ANSWERED, is_at(), at=1),
    ),
    case(
        "arp-two-owned-addresses",
        frame("who-has the first", who_has(), Verdict.ANSWERED, is_at()),
        frame("who-has the second", who_has(OTHER4), Verdict.ANSWERED, is_at(OTHER4), at=10),
        claims=(own(VIP4), own(OTHER4)),
    ),
    case(
        "arp-owned-asks-for-owned",
        frame(
            "another host with our first address asks for our second",
            who_has(OTHER4, psrc=VIP4),
            Verdict.ANSWERED,
            is_at(OTHER4, to_address=VIP4),
        ),
        claims=(own(VIP4), own(OTHER4)),
    ),
)

NOT_OWNED = (
    case("arp-not-owned", frame("who-has an address of nobody", who_has(OTHER4), Verdict.NOT_CLAIMED)),
    case("arp-neighbor-of-owned", frame("who-has, last octet differs by one bit", who_has("10.99.0.8"), Verdict.NOT_CLAIMED)),
    case("arp-nothing-owned", frame("who-has", who_has(), Verdict.NOT_CLAIMED), claims=()),
    case("arp-target-unspecified", frame("who-has 0.0.0.0", who_has(UNSPECIFIED4), Verdict.NOT_CLAIMED)),
    case("arp-probe-unspecified", frame("probe for 0.0.0.0", who_has(UNSPECIFIED4, psrc=UNSPECIFIED4), Verdict.ANNOUNCEMENT)),
    case("arp-only-ipv6-owned", frame("who-has", who_has(), Verdict.NOT_CLAIMED), claims=(own("fd99::10"),)),
)

UNASKED = (
    case("arp-reply-to-us", frame("is-at of a client", is_at(CLIENT4, mac=CLIENT, to=NODE, to_address=VIP4), Verdict.NOT_REQUEST)),
    case("arp-reply-for-owned", frame("is-at for our address, by another host", is_at(VIP4, mac=ROUTER, to=NODE), Verdict.CONFLICT)),
    case("arp-gratuitous-request", frame("announcement of our address by another host", who_has(psrc=VIP4), Verdict.CONFLICT)),
    case("arp-gratuitous-reply", frame("gratuitous reply for our address", who_has(op=2, psrc=VIP4, hwdst=CLIENT), Verdict.CONFLICT)),
    case("arp-sender-is-target-foreign", frame("announcement of a client's address", who_has(CLIENT4), Verdict.ANNOUNCEMENT)),
    case("arp-opcode-0", frame("opcode 0", who_has(op=0), Verdict.NOT_REQUEST)),
    case("arp-opcode-rarp", frame("opcode 3, RARP request, as ARP", who_has(op=3), Verdict.NOT_REQUEST)),
    case("arp-opcode-inarp", frame("opcode 8, InARP request", who_has(op=8), Verdict.NOT_REQUEST)),
    case("arp-opcode-high-octet", frame("opcode 0x0101", patch(who_has(), _OPCODE, 1, 1), Verdict.NOT_REQUEST)),
    case("rarp", frame("EtherType RARP", patch(who_has(op=3), 12, 0x80, 0x35), Verdict.OTHER_PROTOCOL)),
)

SENDERS = (
    case("arp-own-frame", frame("our own request, looped back", who_has(source=NODE, hwsrc=NODE), Verdict.OWN_FRAME)),
    case("arp-own-ethernet-source", frame("our MAC as Ethernet source", who_has(source=NODE), Verdict.OWN_FRAME)),
    case("arp-own-sender", frame("our MAC as sender", who_has(hwsrc=NODE), Verdict.OWN_FRAME)),
    case("arp-sender-zero", frame("sender MAC zero", who_has(hwsrc=ZERO), Verdict.BAD_SENDER)),
    case("arp-sender-broadcast", frame("sender MAC broadcast", who_has(hwsrc=BROADCAST), Verdict.BAD_SENDER)),
    case("arp-sender-multicast", frame("sender MAC of a group", who_has(hwsrc=_EARTH), Verdict.BAD_SENDER)),
    case("arp-own-probe", frame("our own probe, looped back", who_has(source=NODE, hwsrc=NODE, psrc=UNSPECIFIED4), Verdict.OWN_FRAME)),
    case(
        "arp-own-announcement",
        frame("our own announcement, looped back", who_has(source=NODE, hwsrc=NODE, psrc=VIP4), Verdict.OWN_FRAME),
    ),
    case("arp-ethernet-source-zero", frame("Ethernet source zero, sender good", who_has(source=ZERO), Verdict.ANSWERED, is_at())),
    case(
        "arp-probe-to-another-host", frame("probe to another host's MAC", who_has(to=ROUTER, psrc=UNSPECIFIED4), Verdict.OTHER_DESTINATION)
    ),
    case("arp-other-destination", frame("who-has to another host's MAC", who_has(to=ROUTER), Verdict.OTHER_DESTINATION)),
)

MALFORMED = (
    case("arp-empty", frame("Ethernet header alone", bytes(who_has())[:14], Verdict.MALFORMED)),
    case("arp-truncated", frame("who-has, last octet missing", bytes(who_has())[:41], Verdict.MALFORMED)),
    case("arp-truncated-at-target", frame("who-has without the target", bytes(who_has())[:38], Verdict.MALFORMED)),
    case("arp-hardware-type", frame("hardware type 6, IEEE 802", patch(who_has(), _HTYPE, 0, 6), Verdict.MALFORMED)),
    case("arp-protocol-type", frame("protocol type IPv6", patch(who_has(), _PTYPE, 0x86, 0xDD), Verdict.MALFORMED)),
    case("arp-hardware-length", frame("hardware length 8", patch(who_has(), _HLEN, 8), Verdict.MALFORMED)),
    case("arp-lengths-swapped", frame("hardware length 4, protocol length 6", patch(who_has(), _HLEN, 4, 6), Verdict.MALFORMED)),
    case("arp-lengths-0", frame("lengths 0", patch(who_has(), _HLEN, 0, 0), Verdict.MALFORMED)),
    case("arp-protocol-length", frame("protocol length 16", patch(who_has(), _PLEN, 16), Verdict.MALFORMED)),
)

_TAGGED = Ether(dst=BROADCAST, src=CLIENT) / Dot1Q(vlan=10) / who_has()[ARP]
_PRIORITY = Ether(dst=BROADCAST, src=CLIENT) / Dot1Q(vlan=0, prio=6) / who_has()[ARP]
_STACKED = Ether(dst=BROADCAST, src=CLIENT) / Dot1AD(vlan=5) / Dot1Q(vlan=10) / who_has()[ARP]

TAGGED = (
    case("arp-vlan", frame("who-has in VLAN 10", _TAGGED, Verdict.VLAN_TAGGED)),
    case("arp-priority-tag", frame("who-has with a priority tag, VLAN 0", _PRIORITY, Verdict.ANSWERED, is_at())),
    case(
        "arp-vlan-unicast",
        frame("who-has in VLAN 10 to our MAC", Ether(dst=NODE, src=CLIENT) / Dot1Q(vlan=10) / who_has()[ARP], Verdict.VLAN_TAGGED),
    ),
    case("arp-vlan-stacked", frame("who-has in 802.1ad and 802.1Q tags", _STACKED, Verdict.VLAN_TAGGED)),
)

CASES = (*ASKED, *NOT_OWNED, *UNASKED, *SENDERS, *MALFORMED, *TAGGED)
