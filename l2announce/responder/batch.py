"""Many frames at once: the fast way to the same replies and verdicts as ``Responder.receive_frame``.

A batch is one bytes object with a frame at the start of every slot. Only requests in the plain form that kernels send, for an address that
is answered, are handled here; each reply is put together from the octets that ``Answer`` prepared. Every other frame goes to
``receive_frame``, so nothing here decides not to answer. A property test holds both ways equal, octet by octet.
"""

import struct
from collections.abc import Sequence

from l2announce.model.address import BROADCAST_MAC, Instant
from l2announce.model.link import Link
from l2announce.responder.answers import ARP_REQUEST_START, SOLICITED_OVERRIDE, LinkAnswers
from l2announce.responder.engine import Responder
from l2announce.responder.verdict import Verdict
from l2announce.wire.arp import FRAME_LENGTH as ARP_FRAME_LENGTH
from l2announce.wire.arp import NO_MAC

ARP_SLOT = 64
"""Octets of one slot for ARP, in batches and in replies; longer frames are cut off, as nothing after octet 42 counts."""
NDP_SLOT = 256
"""Octets of one slot for IPv6: room for a solicitation with any options in use."""
ADVERTISEMENT_SLOT = 128
ADVERTISEMENT_FRAME_LENGTH = 86

_ARP_FIELDS = struct.Struct("6s6s10s6s4s6x4s22x")
"""Destination, source, EtherType to opcode, sender hardware and protocol address, target protocol address."""
_NDP_FIELDS = struct.Struct("6s6s2sB3x4s16s16s2s6x16s2s6s170x")
"""Destination, source, EtherType, version, length to hop limit, IPv6 source and destination, type and code, target, option
start, link-layer address."""
_ARP_PADDING = bytes(ARP_SLOT - ARP_FRAME_LENGTH)
_NDP_PADDING = bytes(ADVERTISEMENT_SLOT - ADVERTISEMENT_FRAME_LENGTH)

_PLAIN_SOLICITATIONS = {b"\0\x20\x3a\xff": 32, b"\0\x18\x3a\xff": 24}
"""Payload length, next header and hop limit of a solicitation with and without a source link-layer address option."""
_IPV6_TYPE = b"\x86\xdd"
_SOLICITATION_START = b"\x87\0"
_SOURCE_OPTION_START = b"\1\1"
_ADVERTISEMENT_START = b"\x88\0"
_UNSPECIFIED = bytes(16)
_LOOPBACK = bytes(15) + b"\1"


def answer_arp(responder: Responder, octets: bytes, lengths: Sequence[int], ifindex: int, now: Instant) -> bytes:
    """Answer a batch of ARP frames from one link. ``octets`` holds one frame in each ARP_SLOT, ``lengths`` their lengths.

    Returns the replies of 42 octets, one in each ARP_SLOT. Replies to unusual frames wait in ``responder.frames_to_send``.
    """
    link_answers = responder.links.get(ifindex) or _no_answers(ifindex)
    owned = link_answers.ipv4
    get, mac = owned.get, link_answers.link.mac
    for_us, nobody = (BROADCAST_MAC, mac), (mac, NO_MAC)
    join, head = b"".join, link_answers.arp_head
    unlimited = link_answers.limit.has_room(len(lengths), now)
    admits, limited = link_answers.limit.admits, 0
    replies: list[bytes] = []
    offset = 0
    for (destination, source, start, sender, sender_ip, target), length in zip(_ARP_FIELDS.iter_unpack(octets), lengths, strict=True):
        answer = get(target)
        if (
            answer is not None
            and now < answer.deadline
            and start == ARP_REQUEST_START
            and destination in for_us
            and length >= ARP_FRAME_LENGTH
            and sender not in nobody
            and not sender[0] & 1
            and source != mac
            and sender_ip not in owned
        ):
            if unlimited or admits(sender, now):
                answer.count += 1
                answer.last = now
                replies.append(join((sender, head, target, sender, sender_ip, _ARP_PADDING)))
            else:
                limited += 1
        else:
            responder.receive_frame(octets[offset : offset + length], ifindex, now)
        offset += ARP_SLOT
    _count(responder, link_answers, len(replies), limited, unlimited, now)
    return b"".join(replies)


def answer_ndp(responder: Responder, octets: bytes, lengths: Sequence[int], ifindex: int, now: Instant) -> bytes:
    """Answer a batch of IPv6 frames, one in each NDP_SLOT, as ``answer_arp`` does; replies of 86 octets, one in each ADVERTISEMENT_SLOT."""
    link_answers = responder.links.get(ifindex) or _no_answers(ifindex)
    get, mac = link_answers.ipv6.get, link_answers.link.mac
    nobody = (mac, NO_MAC)
    join, head, tail = b"".join, link_answers.na_head, link_answers.na_tail + _NDP_PADDING
    link_local = link_answers.na_source
    unlimited = link_answers.limit.has_room(len(lengths), now)
    admits, limited = link_answers.limit.admits, 0
    replies: list[bytes] = []
    offset = 0
    for (destination, source, kind, version, ip, asker_ip, asked_ip, start, target, option, asker), length in zip(
        _NDP_FIELDS.iter_unpack(octets), lengths, strict=True
    ):
        answer = get(target)
        payload = _PLAIN_SOLICITATIONS.get(ip, 0)
        to = asker if payload == 32 else source
        if (
            answer is not None
            and now < answer.deadline
            and payload
            and length >= 54 + payload
            and start == _SOLICITATION_START
            and kind == _IPV6_TYPE
            and version >> 4 == 6
            and (payload == 24 or option == _SOURCE_OPTION_START)
            and (destination[0] & 1 or destination == mac)
            and to not in nobody
            and not to[0] & 1
            and source != mac
            and asker_ip != _UNSPECIFIED
            and asker_ip != _LOOPBACK
            and asker_ip[0] != 0xFF
            and (asked_ip[0] == 0xFF or asked_ip == target)
            and (int.from_bytes(octets[offset + 22 : offset + 54 + payload], "big") + payload + 58) % 0xFFFF == 0
        ):
            if unlimited or admits(to, now):
                answer.count += 1
                answer.last = now
                checksum = -(answer.partial_sum + int.from_bytes(asker_ip, "big")) % 0xFFFF
                message = _ADVERTISEMENT_START + checksum.to_bytes(2, "big") + SOLICITED_OVERRIDE
                replies.append(join((to, head, link_local or target, asker_ip, message, target, tail)))
            else:
                limited += 1
        else:
            responder.receive_frame(octets[offset : offset + length], ifindex, now)
        offset += NDP_SLOT
    _count(responder, link_answers, len(replies), limited, unlimited, now)
    return b"".join(replies)


def _count(responder: Responder, answers: LinkAnswers, replies: int, limited: int, unlimited: bool, now: Instant) -> None:
    responder.verdicts[Verdict.ANSWERED] += replies
    if unlimited:
        answers.limit.given(replies, now)
    if limited:
        responder.verdicts[Verdict.RATE_LIMITED] += limited


def _no_answers(ifindex: int) -> LinkAnswers:
    """For frames that were still on their way when their link vanished."""
    return LinkAnswers(Link(ifindex, "", b""))
