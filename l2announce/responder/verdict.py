"""Why a frame was, or was not, answered. The values are the labels of counters, of replay's output and of the golden corpus."""

from enum import Enum


class Verdict(Enum):
    """One verdict for each received frame."""

    ANSWERED = "answered"
    NOT_CLAIMED = "not_claimed"
    """A good request for an address that is not ours."""
    WRONG_INTERFACE = "wrong_interface"
    """Claimed, but not on the link it came in on."""
    EXPIRED = "expired"
    """Claimed, but the deadline has passed: the fence."""
    NOT_REQUEST = "not_request"
    """An ARP reply, an advertisement, an ICMPv6 message of another type."""
    ANNOUNCEMENT = "announcement"
    """An ARP request for the sender's own address (RFC 5227): nobody asks."""
    OWN_FRAME = "own_frame"
    """Sent by this link's own hardware address and looped back."""
    BAD_SENDER = "bad_sender"
    """The sender's hardware address is zero or a group address: there is nobody to answer."""
    OTHER_DESTINATION = "other_destination"
    """A unicast frame, or a solicitation to a unicast address, for another host."""
    UNKNOWN_LINK = "unknown_link"
    """Received on a link that is not, or no longer, known."""
    VLAN_TAGGED = "vlan_tagged"
    """An 802.1Q or 802.1ad frame: it belongs to a VLAN interface, not to this link."""
    OTHER_PROTOCOL = "other_protocol"
    """Neither ARP nor ICMPv6 in IPv6."""
    MALFORMED = "malformed"
    """Breaks a receive check of RFC 826, 4861 or 8200."""
