"""What comes of the frames of a capture in a fresh Responder, and what is to be told of the capture itself. Reads and prints nothing."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from l2announce.cli.captures import SECOND, Captured, refused_linktype
from l2announce.cli.cooked import COOKED, decode_cooked, rebuild_frame
from l2announce.errors import DecodeError
from l2announce.model.claim import ClaimSet
from l2announce.model.link import Link
from l2announce.responder.engine import Responder
from l2announce.responder.verdict import Verdict


class Judged(NamedTuple):
    """What came of one frame: the frame, of Ethernet, seconds since the first one, the link's name, the verdict, and the reply if there is
    one."""

    captured: Captured
    seconds: float
    interface: str
    verdict: Verdict
    reply: bytes | None


class Unjudged(NamedTuple):
    """A frame that the engine was not asked about, and the reason with its remedy."""

    captured: Captured
    seconds: float
    interface: str
    reason: str


NO_LINK = 0
"""An interface index that no link has."""
ANY_DEVICE = "any"
"""What a capture on all interfaces calls its interface."""
_BY_INDEX = "index="
_NAMED = 5
"""How many frame numbers a note lists."""


def replay_frames(claims: ClaimSet, links: Sequence[Link], frames: Iterable[Captured]) -> list[Judged | Unjudged]:
    """Hand every frame to a fresh Responder, its clock at 0 with the first frame. A frame belongs to the link that its capture names, or
    whose index its cooked header has; where the capture tells neither, to the first link. What is no Ethernet frame, and cannot be made
    one, is not handed over."""
    responder = Responder()
    responder.replace_links(links, 0.0)
    responder.replace_claims(claims, 0.0)
    outcomes: list[Judged | Unjudged] = []
    start: int | None = None
    for captured in frames:
        start = captured.time if start is None else start
        now = (captured.time - start) / SECOND
        name = _named(captured) or links[0].name
        try:
            name, ifindex, frame = _place(captured, name, links)
        except DecodeError as err:
            outcomes.append(Unjudged(captured, now, name, str(err)))
            continue
        verdict = responder.receive_frame(frame, ifindex, now)
        sent = responder.frames_to_send()
        outcomes.append(Judged(captured._replace(frame=frame), now, name, verdict, sent[0].frame if sent else None))
    return outcomes


def _named(captured: Captured) -> str | None:
    return None if captured.linktype in COOKED and captured.interface == ANY_DEVICE else captured.interface


def _place(captured: Captured, name: str, links: Sequence[Link]) -> tuple[str, int, bytes]:
    """The name and index of a frame's link, and the frame as Ethernet. DecodeError when it cannot be had."""
    if (reason := refused_linktype(captured.linktype)) is not None:
        raise DecodeError(reason)
    link = next((link for link in links if link.name == name), None)
    if captured.linktype not in COOKED:
        return name, link.index if link else NO_LINK, captured.frame
    cooked = decode_cooked(captured.linktype, captured.frame)
    if cooked.ifindex is not None:
        link = next((link for link in links if link.index == cooked.ifindex), None)
        name = link.name if link else f"{_BY_INDEX}{cooked.ifindex}"
    elif _named(captured) is None:
        _require_one(links)
    if link is None:
        return name, NO_LINK, captured.frame
    return name, link.index, rebuild_frame(cooked, link.mac)


def _require_one(links: Sequence[Link]) -> None:
    if len(links) > 1:
        raise DecodeError(
            f"Linux cooked (113) does not tell the interface, and links has {len(links)}; capture with tcpdump -y LINUX_SLL2, "
            "or list only the one whose frames these are"
        )


def replies(outcomes: Iterable[Judged | Unjudged]) -> list[tuple[int, bytes]]:
    """The replies for ``write_capture``, each with the time of the frame that it answers."""
    return [(one.captured.time, one.reply) for one in outcomes if isinstance(one, Judged) and one.reply is not None]


def notes(outcomes: Sequence[Judged | Unjudged]) -> list[str]:
    """One line for each thing that the verdicts do not tell: frames without verdict by reason, frames that break a receive check since the
    capture kept less than there was, and stamps that go backwards."""
    numbers: dict[str, list[int]] = {}
    latest: int | None = None
    for number, one in enumerate(outcomes, start=1):
        if isinstance(one, Unjudged):
            numbers.setdefault(f"not judged: {one.reason}", []).append(number)
        elif (cut := cut_short(one)) is not None:
            numbers.setdefault(cut, []).append(number)
        if latest is not None and one.captured.time < latest:
            numbers.setdefault("stamped earlier than a frame before; deadlines go by the stamps; sort with reordercap", []).append(number)
        latest = one.captured.time if latest is None else max(latest, one.captured.time)
    lines = [f"{_frames(found)}: {what}" for what, found in numbers.items()]
    by_index = [one.interface for one in outcomes if one.interface.startswith(_BY_INDEX)]
    if outcomes and len(by_index) == len(outcomes):
        lines.append(f"no frame is on a link that is listed, the first on {by_index[0]}; give links[].index as ip link shows it")
    return lines


def cut_short(one: Judged) -> str | None:
    """That a malformed frame was cut by the capture, with the remedy; None for every other frame."""
    if one.verdict is not Verdict.MALFORMED or one.captured.cut_from is None:
        return None
    return f"malformed as captured: the capture cut a frame of {one.captured.cut_from} octets short; capture with tcpdump -s 0"


def _frames(numbers: Sequence[int]) -> str:
    named = ", ".join(map(str, numbers[:_NAMED]))
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    return f"frame{'s' if len(numbers) > 1 else ''} {named}{more}"
