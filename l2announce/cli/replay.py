"""``l2announce replay``: a capture through the engine, a verdict for each frame, the replies into another capture."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from l2announce.cli.captures import SECOND, Captured, read_capture, write_capture
from l2announce.cli.claims_file import read_claims
from l2announce.cli.explain import explain as in_words
from l2announce.cli.output import make_console, print_table
from l2announce.errors import ConfigurationError
from l2announce.model.claim import ClaimSet
from l2announce.model.link import Link
from l2announce.responder.engine import Responder
from l2announce.responder.verdict import Verdict


class Judged(NamedTuple):
    """What came of one frame: the frame, seconds since the first one, the link's name, the verdict, and the reply if there is one."""

    captured: Captured
    seconds: float
    interface: str
    verdict: Verdict
    reply: bytes | None


NO_LINK = 0
"""An interface index that no link has."""


def replay_frames(claims: ClaimSet, links: Sequence[Link], frames: Iterable[Captured]) -> list[Judged]:
    """Hand every frame to a fresh Responder, its clock at 0 with the first frame. A frame belongs to the link that its capture names;
    where the capture names none (pcap), to the first link."""
    responder = Responder()
    responder.replace_links(links, 0.0)
    responder.replace_claims(claims, 0.0)
    indices = {link.name: link.index for link in links}
    judged = []
    start: int | None = None
    for captured in frames:
        start = captured.time if start is None else start
        name = captured.interface or links[0].name
        now = (captured.time - start) / SECOND
        verdict = responder.receive_frame(captured.frame, indices.get(name, NO_LINK), now)
        sent = responder.frames_to_send()
        judged.append(Judged(captured, now, name, verdict, sent[0].frame if sent else None))
    return judged


def replies(judged: Iterable[Judged]) -> list[tuple[int, bytes]]:
    """The replies for ``write_capture``, each with the time of the frame that it answers."""
    return [(one.captured.time, one.reply) for one in judged if one.reply is not None]


def replay(
    capture: Annotated[Path, typer.Argument(metavar="IN.pcap", help="pcap or pcapng, Ethernet.")],
    claims: Annotated[Path, typer.Option(metavar="CLAIMS.yaml", help="What to answer for, and on which links.")],
    write: Annotated[Path | None, typer.Option("-w", "--write", metavar="OUT.pcap", help="Write the replies here.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say in words why each frame is, or is not, answered.")] = False,
) -> None:
    """Run the frames of a capture through the engine: a verdict for each frame in, the replies out. Sends nothing."""
    claim_set, links = read_claims(claims)
    if write is not None and write.resolve() == capture.resolve():
        raise ConfigurationError(f"-w {write}: is the capture that is read; choose another file")
    judged = replay_frames(claim_set, links, read_capture(capture))
    if write is not None:
        write_capture(write, replies(judged))
    columns = ["FRAME", "SECONDS", "INTERFACE", "VERDICT"]
    rows = [[str(number), f"{one.seconds:.6f}", one.interface, one.verdict.value] for number, one in enumerate(judged, start=1)]
    if explain:
        columns.append("WHY")
        for row, one in zip(rows, judged, strict=True):
            row.append(in_words(one.captured.frame, one.verdict, one.reply, claim_set, one.seconds))
    print_table(make_console(), columns, rows)
    typer.echo(f"{len(judged)} frames, {len(replies(judged))} replies" + (f" written to {write}" if write else ""))
