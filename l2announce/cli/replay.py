"""``l2announce replay``: a capture through the engine, a verdict for each frame, the replies into another capture."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from l2announce.cli.captures import Captured, read_capture, write_capture
from l2announce.cli.claims_file import read_claims
from l2announce.cli.output import make_console, print_table
from l2announce.errors import ConfigurationError
from l2announce.model.claim import ClaimSet
from l2announce.model.link import Link
from l2announce.responder.engine import Responder
from l2announce.responder.verdict import Verdict


class Judged(NamedTuple):
    """What came of one frame: seconds since the first one, the link's name, the verdict, and the reply if there is one."""

    time: float
    interface: str
    verdict: Verdict
    reply: bytes | None


def replay_frames(claims: ClaimSet, links: Sequence[Link], frames: Iterable[Captured]) -> list[Judged]:
    """Hand every frame to a fresh Responder, its clock at 0 with the first frame. A frame belongs to the link that its capture names,
    else to the first one."""
    responder = Responder()
    responder.replace_links(links, 0.0)
    responder.replace_claims(claims, 0.0)
    by_name = {link.name: link for link in links}
    judged = []
    start: float | None = None
    for captured in frames:
        start = captured.time if start is None else start
        link = by_name.get(captured.interface or "", links[0])
        now = captured.time - start
        verdict = responder.receive_frame(captured.frame, link.index, now)
        replies = responder.frames_to_send()
        judged.append(Judged(now, link.name, verdict, replies[0].frame if replies else None))
    return judged


def verdict_lines(judged: Iterable[Judged]) -> list[str]:
    """One line for each frame: number, seconds, interface, verdict."""
    return [f"{number} {one.time:.6f} {one.interface} {one.verdict.value}" for number, one in enumerate(judged, start=1)]


def replay(
    capture: Annotated[Path, typer.Argument(metavar="IN.pcap", help="pcap or pcapng, Ethernet.")],
    claims: Annotated[Path, typer.Option(metavar="CLAIMS.yaml", help="What to answer for, and on which links.")],
    write: Annotated[Path | None, typer.Option("-w", "--write", metavar="OUT.pcap", help="Write the replies here.")] = None,
) -> None:
    """Run the frames of a capture through the engine: a verdict for each frame in, the replies out. Sends nothing."""
    claim_set, links = read_claims(claims)
    if write is not None and write.resolve() == capture.resolve():
        raise ConfigurationError(f"-w {write}: is the capture that is read; choose another file")
    judged = replay_frames(claim_set, links, read_capture(capture))
    if write is not None:
        write_capture(write, [(one.time, one.reply) for one in judged if one.reply is not None])
    rows = [tuple(line.split(" ")) for line in verdict_lines(judged)]
    print_table(make_console(), ("FRAME", "SECONDS", "INTERFACE", "VERDICT"), rows)
    typer.echo(f"{len(judged)} frames, {sum(one.reply is not None for one in judged)} replies" + (f" written to {write}" if write else ""))
