"""Neighbor Discovery: RFC 4861 (receive checks of 7.1.1, answers of 7.2.4), RFC 4862 5.4.3, RFC 6980."""

from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    RouterAlert,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from l2announce.responder.verdict import Verdict
from tests.golden.corpus import (
    ALL_NODES,
    ALL_NODES_MAC,
    CLIENT,
    CLIENT_LL,
    NODE,
    NODE_LL,
    OTHER6,
    ROUTER,
    VIP6,
    VIP6_GROUP,
    VIP6_GROUP_MAC,
    WITH_LINK_LOCAL,
    ZERO,
    advertise,
    advertise_to_all,
    case,
    frame,
    own,
    patch,
    solicit,
)

_SOURCE = ICMPv6NDOptSrcLLAddr(lladdr=CLIENT)
_NONCE = Raw(bytes.fromhex("0e01a1b2c3d4e5f6"))
_UNKNOWN = Raw(bytes.fromhex("fd02") + bytes(14))
_DAD = {"src": "::"}
_CHECKSUM = 56

ASKED = (
    case("ndp-multicast", frame("NS to the solicited-node group", solicit(), Verdict.ANSWERED, advertise())),
    case("ndp-unicast", frame("NS to our MAC and address (NUD)", solicit(ip={"dst": VIP6}, to=NODE), Verdict.ANSWERED, advertise())),
    case(
        "ndp-unicast-no-option",
        frame(
            "NUD without link-layer address: answered to the Ethernet source",
            solicit(ip={"dst": VIP6}, to=NODE, options=None),
            Verdict.ANSWERED,
            advertise(),
        ),
    ),
    case(
        "ndp-multicast-no-option", frame("NS to the group without link-layer address", solicit(options=None), Verdict.ANSWERED, advertise())
    ),
    case(
        "ndp-link-local-source",
        frame("NS from a link-local address", solicit(ip={"src": CLIENT_LL}), Verdict.ANSWERED, advertise(to_address=CLIENT_LL)),
    ),
    case("ndp-to-all-nodes", frame("NS to all nodes", solicit(ip={"dst": ALL_NODES}, to=ALL_NODES_MAC), Verdict.ANSWERED, advertise())),
    case(
        "ndp-unicast-in-group-frame", frame("NS to our address in a group frame", solicit(ip={"dst": VIP6}), Verdict.ANSWERED, advertise())
    ),
    case(
        "ndp-traffic-class",
        frame("NS with traffic class and flow label", solicit(ip={"tc": 0xC0, "fl": 0x12345}), Verdict.ANSWERED, advertise()),
    ),
    case("ndp-reserved-not-zero", frame("NS, reserved field not zero", solicit(res=0xDEADBEEF), Verdict.ANSWERED, advertise())),
    case("ndp-padded", frame("NS followed by padding", bytes(solicit()) + b"\xa5" * 7, Verdict.ANSWERED, advertise())),
    case(
        "ndp-option-other-than-ethernet",
        frame("NS relayed by another MAC: answered to the option", solicit(source=ROUTER), Verdict.ANSWERED, advertise()),
    ),
    case(
        "ndp-link-local-target",
        frame("NS for an owned link-local address", solicit("fe80::10"), Verdict.ANSWERED, advertise("fe80::10")),
        claims=(own("fe80::10"),),
    ),
    case(
        "ndp-two-owned-in-one-group",
        frame("NS for the first", solicit(), Verdict.ANSWERED, advertise()),
        frame("NS for the second, same group", solicit("fd99:1::10"), Verdict.ANSWERED, advertise("fd99:1::10"), at=10),
        claims=(own(VIP6), own("fd99:1::10")),
    ),
)

DAD = (
    case("ndp-dad", frame("DAD: source ::, to the group", solicit(ip=_DAD, options=None), Verdict.ANSWERED, advertise_to_all())),
    case(
        "ndp-dad-nonce",
        frame("DAD with a nonce (RFC 7527), not echoed", solicit(ip=_DAD, options=_NONCE), Verdict.ANSWERED, advertise_to_all()),
    ),
    case("ndp-dad-with-option", frame("DAD with a source link-layer address", solicit(ip=_DAD), Verdict.MALFORMED)),
    case(
        "ndp-dad-to-unicast",
        frame("NS from :: to our address", solicit(ip={"src": "::", "dst": VIP6}, options=None, to=NODE), Verdict.MALFORMED),
    ),
    case(
        "ndp-dad-to-all-nodes",
        frame("NS from :: to all nodes", solicit(ip={"src": "::", "dst": ALL_NODES}, options=None), Verdict.MALFORMED),
    ),
    case("ndp-dad-not-owned", frame("DAD for an address of nobody", solicit("fd99::11", ip=_DAD, options=None), Verdict.NOT_CLAIMED)),
)

SOURCES = (
    case(
        "ndp-from-link-local",
        frame("NS: answered from the link-local address", solicit(), Verdict.ANSWERED, advertise(source=NODE_LL)),
        frame("NUD", solicit(ip={"dst": VIP6}, to=NODE), Verdict.ANSWERED, advertise(source=NODE_LL), at=1),
        links=WITH_LINK_LOCAL,
    ),
    case(
        "ndp-dad-from-link-local",
        frame("DAD: source ::", solicit(ip=_DAD, options=None), Verdict.ANSWERED, advertise_to_all(source=NODE_LL)),
        links=WITH_LINK_LOCAL,
    ),
    case(
        "ndp-from-target",
        frame("no link-local address: answered from the target", solicit(), Verdict.ANSWERED, advertise(source=VIP6)),
        frame("DAD", solicit(ip=_DAD, options=None), Verdict.ANSWERED, advertise_to_all(source=VIP6), at=1),
    ),
    case("ndp-source-loopback", frame("NS from ::1", solicit(ip={"src": "::1"}), Verdict.MALFORMED)),
)

DESTINATIONS = (
    case(
        "ndp-to-another-address",
        frame("NS to another unicast address, our MAC", solicit(ip={"dst": OTHER6}, to=NODE), Verdict.OTHER_DESTINATION),
        frame("the same in a group frame", solicit(ip={"dst": OTHER6}), Verdict.OTHER_DESTINATION, at=1),
        frame("with options out of the ordinary", solicit(ip={"dst": OTHER6}, options=_NONCE), Verdict.OTHER_DESTINATION, at=2),
    ),
    case(
        "ndp-to-another-group",
        frame("NS to another solicited-node group", solicit(ip={"dst": "ff02::1:ff00:11"}), Verdict.ANSWERED, advertise()),
    ),
    case(
        "ndp-dad-to-another-group",
        frame(
            "DAD to another solicited-node group",
            solicit(ip=_DAD | {"dst": "ff02::1:ff00:11"}, options=None),
            Verdict.ANSWERED,
            advertise_to_all(),
        ),
    ),
    case(
        "ndp-dad-to-another-host", frame("DAD to another host's MAC", solicit(ip=_DAD, options=None, to=ROUTER), Verdict.OTHER_DESTINATION)
    ),
)

OPTIONS = (
    case(
        "ndp-nonce",
        frame("NS with a nonce after the address, not echoed", solicit(options=_SOURCE / _NONCE), Verdict.ANSWERED, advertise()),
    ),
    case("ndp-nonce-first", frame("NS with a nonce before the address", solicit(options=_NONCE / _SOURCE), Verdict.ANSWERED, advertise())),
    case("ndp-unknown-option", frame("NS with option 253", solicit(options=_UNKNOWN / _SOURCE), Verdict.ANSWERED, advertise())),
    case("ndp-only-unknown-option", frame("NS with option 253 alone", solicit(options=_UNKNOWN), Verdict.ANSWERED, advertise())),
    case(
        "ndp-address-option-twice",
        frame(
            "two source link-layer addresses: the first holds",
            solicit(options=_SOURCE / ICMPv6NDOptSrcLLAddr(lladdr=ROUTER)),
            Verdict.ANSWERED,
            advertise(),
        ),
    ),
    case("ndp-option-length-0", frame("NS with an option of length 0", solicit(options=Raw(b"\1\0" + bytes(6))), Verdict.MALFORMED)),
    case(
        "ndp-second-option-length-0",
        frame("NS, second option of length 0", solicit(options=_SOURCE / Raw(b"\x0e\0" + bytes(6))), Verdict.MALFORMED),
    ),
    case("ndp-option-truncated", frame("NS, option of 8 octets has 5", solicit(options=Raw(b"\1\1\2\0\0")), Verdict.MALFORMED)),
    case("ndp-option-one-octet", frame("NS, a single octet of option", solicit(options=Raw(b"\1")), Verdict.MALFORMED)),
    case(
        "ndp-option-longer-than-message", frame("NS, option says 16 octets", solicit(options=Raw(b"\1\2\2\0\0\0\0\x0c")), Verdict.MALFORMED)
    ),
    case(
        "ndp-address-option-16", frame("NS, link-layer address of 14 octets", solicit(options=Raw(b"\1\2" + bytes(14))), Verdict.MALFORMED)
    ),
)

CHECKS = (
    case("ndp-hop-limit-254", frame("NS with hop limit 254", solicit(ip={"hlim": 254}), Verdict.MALFORMED)),
    case("ndp-code-1", frame("NS with code 1", solicit(code=1), Verdict.MALFORMED)),
    case("ndp-bad-checksum", frame("NS, checksum wrong", patch(solicit(), _CHECKSUM, 0xBE, 0xEF), Verdict.MALFORMED)),
    case("ndp-zero-checksum", frame("NS, checksum left zero", solicit(cksum=0), Verdict.MALFORMED)),
    case("ndp-target-multicast", frame("NS for a group", solicit(VIP6_GROUP), Verdict.MALFORMED)),
    case("ndp-source-multicast", frame("NS from a group", solicit(ip={"src": ALL_NODES}), Verdict.MALFORMED)),
    case("ndp-version-4", frame("IP version 4 in an IPv6 frame", solicit(ip={"version": 4}), Verdict.MALFORMED)),
    case("ndp-payload-length-short", frame("payload length 16", solicit(ip={"plen": 16}), Verdict.MALFORMED)),
    case("ndp-payload-length-0", frame("payload length 0", solicit(ip={"plen": 0}), Verdict.MALFORMED)),
    case("ndp-payload-length-beyond", frame("payload length 40, the frame holds 32", solicit(ip={"plen": 40}), Verdict.MALFORMED)),
    case("ndp-truncated", frame("NS cut in the target", bytes(solicit())[:70], Verdict.MALFORMED)),
    case("ndp-truncated-header", frame("IPv6 header cut", bytes(solicit())[:40], Verdict.MALFORMED)),
)

SENDERS = (
    case("ndp-own-frame", frame("our own NS, looped back", solicit(source=NODE), Verdict.OWN_FRAME)),
    case("ndp-own-option", frame("our MAC in the option", solicit(options=ICMPv6NDOptSrcLLAddr(lladdr=NODE)), Verdict.OWN_FRAME)),
    case("ndp-option-zero", frame("link-layer address zero", solicit(options=ICMPv6NDOptSrcLLAddr(lladdr=ZERO)), Verdict.BAD_SENDER)),
    case(
        "ndp-option-group",
        frame("link-layer address of a group", solicit(options=ICMPv6NDOptSrcLLAddr(lladdr=VIP6_GROUP_MAC)), Verdict.BAD_SENDER),
    ),
    case("ndp-own-dad", frame("our own DAD, looped back", solicit(ip=_DAD, options=None, source=NODE), Verdict.OWN_FRAME)),
    case(
        "ndp-own-dad-nonce",
        frame("our own DAD with a nonce, looped back (RFC 7527)", solicit(ip=_DAD, options=_NONCE, source=NODE), Verdict.OWN_FRAME),
    ),
    case("ndp-ethernet-source-zero", frame("no option, Ethernet source zero", solicit(options=None, source=ZERO), Verdict.BAD_SENDER)),
    case("ndp-other-destination", frame("NS to another host's MAC", solicit(to=ROUTER), Verdict.OTHER_DESTINATION)),
)

_LINK = Ether(dst=VIP6_GROUP_MAC, src=CLIENT)
_IP = IPv6(src=CLIENT_LL, dst=VIP6_GROUP, hlim=255)
_ALERT = IPv6ExtHdrHopByHop(options=RouterAlert())

OTHERS = (
    case("ndp-not-owned", frame("NS for an address of nobody", solicit("fd99::11"), Verdict.NOT_CLAIMED)),
    case("ndp-same-low-24-bits", frame("NS for an address that shares the group", solicit("fd99::1:0:10"), Verdict.NOT_CLAIMED)),
    case("ndp-only-ipv4-owned", frame("NS", solicit(), Verdict.NOT_CLAIMED), claims=(own("10.99.0.10"),)),
    case("ndp-advertisement", frame("NA for our address by another host", advertise(to=NODE, mac=ROUTER), Verdict.CONFLICT)),
    case("ndp-unsolicited-advertisement", frame("NA to all nodes", advertise_to_all(mac=ROUTER), Verdict.CONFLICT)),
    case("ndp-router-solicitation", frame("RS", _LINK / _IP / ICMPv6ND_RS() / _SOURCE, Verdict.NOT_REQUEST)),
    case("ndp-router-advertisement", frame("RA", _LINK / _IP / ICMPv6ND_RA() / _SOURCE, Verdict.NOT_REQUEST)),
    case("icmpv6-echo", frame("echo request to the group", _LINK / _IP / ICMPv6EchoRequest(data=b"ping"), Verdict.NOT_REQUEST)),
    case("mld-report", frame("MLDv2 report behind a hop-by-hop header", _LINK / _IP / _ALERT / ICMPv6MLReport2(), Verdict.OTHER_PROTOCOL)),
    case("ndp-hop-by-hop", frame("NS behind a hop-by-hop header", _LINK / _IP / _ALERT / solicit()[IPv6].payload, Verdict.OTHER_PROTOCOL)),
    case(
        "ndp-extension-headers",
        frame("NS behind destination options", _LINK / _IP / IPv6ExtHdrDestOpt() / solicit()[IPv6].payload, Verdict.OTHER_PROTOCOL),
        frame("NS behind a routing header", _LINK / _IP / IPv6ExtHdrRouting() / solicit()[IPv6].payload, Verdict.OTHER_PROTOCOL, at=1),
    ),
    case(
        "ndp-fragment-first",
        frame(
            "NS in a first fragment, more to come",
            _LINK / _IP / IPv6ExtHdrFragment(id=1, m=1) / solicit()[IPv6].payload,
            Verdict.OTHER_PROTOCOL,
        ),
        frame("its last fragment", _LINK / _IP / IPv6ExtHdrFragment(id=1, offset=4, nh=58) / Raw(bytes(8)), Verdict.OTHER_PROTOCOL, at=1),
    ),
    case(
        "ndp-fragment-behind-options",
        frame(
            "NS behind hop-by-hop and fragment headers",
            _LINK / _IP / _ALERT / IPv6ExtHdrFragment(id=1) / solicit()[IPv6].payload,
            Verdict.OTHER_PROTOCOL,
        ),
    ),
    case(
        "ndp-fragment",
        frame(
            "NS behind a fragment header (RFC 6980)",
            _LINK / _IP / IPv6ExtHdrFragment(id=1) / solicit()[IPv6].payload,
            Verdict.OTHER_PROTOCOL,
        ),
    ),
    case("ndp-vlan", frame("NS in VLAN 10", _LINK / Dot1Q(vlan=10) / solicit()[IPv6], Verdict.VLAN_TAGGED)),
)

CASES = (*ASKED, *DAD, *SOURCES, *DESTINATIONS, *OPTIONS, *CHECKS, *SENDERS, *OTHERS)
