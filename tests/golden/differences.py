"""Where the corpus differs from what the Linux kernel does for addresses of its own, and why it does on purpose.

tests/netns/test_golden_kernel.py holds these against the kernel of the machine; docs/wire.md has them as a table.
"""

from typing import NamedTuple


class Difference(NamedTuple):
    """One rule. The kernel answers the frames of ``cases`` when ``kernel`` is true and the corpus does not, or the other way round."""

    what: str
    kernel: bool
    why: str
    cases: tuple[str, ...]


DIFFERENCES = (
    Difference(
        "a frame from the link's own MAC",
        True,
        "it was looped back; an answer would tell the network nothing, and one that circulates would be answered again and again",
        (
            *("arp-own-frame", "arp-own-ethernet-source", "arp-own-sender", "arp-own-probe"),
            *("ndp-own-frame", "ndp-own-option", "ndp-own-dad", "ndp-own-dad-nonce"),
        ),
    ),
    Difference(
        "a sender MAC of zero or of a group",
        True,
        "nobody can be reached there, or everybody would be",
        ("arp-sender-zero", "arp-sender-broadcast", "arp-sender-multicast", "ndp-option-zero", "ndp-option-group"),
    ),
    Difference(
        "no source option, and an Ethernet source of zero",
        True,
        "the kernel asks for the asker's MAC then; the responder resolves nobody, it answers to the Ethernet source",
        ("ndp-ethernet-source-zero",),
    ),
    Difference(
        "ARP of hardware type 6 (IEEE 802)",
        True,
        "no host on Ethernet asks so",
        ("arp-hardware-type",),
    ),
    Difference(
        "a solicitation behind extension headers that are no fragment",
        True,
        "no host sends them, and the filter looks at fixed places",
        ("ndp-hop-by-hop", "ndp-extension-headers"),
    ),
    Difference(
        "ARP whose sender's address is the broadcast address",
        False,
        "the reply goes to the sender's MAC, whatever the address; only the target decides",
        ("arp-sender-broadcast-address",),
    ),
    Difference(
        "ARP whose sender's address is another one of ours",
        False,
        "the conflict is noted, and the asker, who may be the other node of a failover, still learns where to send",
        ("arp-owned-asks-for-owned", "claim-arp-asks-for-owned"),
    ),
    Difference(
        "a solicitation to a solicited-node group that is not the target's",
        False,
        "groups only deliver; the target decides",
        ("ndp-to-another-group", "ndp-dad-to-another-group"),
    ),
)
