"""``l2announce replay``: a capture through the engine, a verdict for each frame, the replies into another capture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from l2announce.cli.captures import Captured, read_capture, write_capture
from l2announce.cli.claims_file import read_claims
from l2announce.cli.explain import explain as in_words
from l2announce.cli.outcomes import Judged, Unjudged, cut_short, notes, replay_frames, replies
from l2announce.cli.output import make_console, print_table
from l2announce.errors import ConfigurationError
from l2announce.model.claim import ClaimSet

NOT_JUDGED = "not_judged"
"""Stands in the column of verdicts for a frame without one."""


def replay(
    capture: Annotated[Path, typer.Argument(metavar="IN.pcap", help="pcap or pcapng, Ethernet or Linux cooked.")],
    claims: Annotated[Path, typer.Option(metavar="CLAIMS.yaml", help="What to answer for, and on which links.")],
    write: Annotated[Path | None, typer.Option("-w", "--write", metavar="OUT.pcap", help="Write the replies here.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say in words why each frame is, or is not, answered.")] = False,
) -> None:
    """Run the frames of a capture through the engine: a verdict for each frame in, the replies out. Sends nothing."""
    claim_set, links = read_claims(claims)
    if write is not None and write.resolve() == capture.resolve():
        raise ConfigurationError(f"-w {write}: is the capture that is read; choose another file")
    frames, fault = _read_to_the_fault(capture)
    outcomes = replay_frames(claim_set, links, frames)
    if write is not None:
        write_capture(write, replies(outcomes))
    _print_outcomes(outcomes, claim_set, explain)
    typer.echo(f"{len(outcomes)} frames, {len(replies(outcomes))} replies" + (f" written to {write}" if write else ""))
    for note in notes(outcomes):
        typer.echo(f"l2announce: {capture}: {note}", err=True)
    if fault is not None:
        raise fault
    if outcomes and all(isinstance(one, Unjudged) for one in outcomes):
        raise ConfigurationError(f"{capture}: no frame can be judged; capture on one Ethernet interface: tcpdump -i eth0 -w FILE")


def _print_outcomes(outcomes: Sequence[Judged | Unjudged], claims: ClaimSet, explain: bool) -> None:
    columns = ["FRAME", "SECONDS", "INTERFACE", "VERDICT"] + ["WHY"] * explain
    rows = []
    for number, one in enumerate(outcomes, start=1):
        verdict = one.verdict.value if isinstance(one, Judged) else NOT_JUDGED
        row = [str(number), f"{one.seconds:.6f}", one.interface, verdict]
        rows.append([*row, _why(one, claims)] if explain else row)
    print_table(make_console(), columns, rows)


def _why(one: Judged | Unjudged, claims: ClaimSet) -> str:
    if isinstance(one, Unjudged):
        return one.reason
    words = in_words(one.captured.frame, one.verdict, one.reply, claims, one.seconds)
    return "; ".join(filter(None, (words, cut_short(one))))


def _read_to_the_fault(capture: Path) -> tuple[list[Captured], ConfigurationError | None]:
    """The frames of a capture, all or those before the place where it is cut or damaged. ConfigurationError when nothing can be read."""
    records = read_capture(capture)
    frames: list[Captured] = []
    try:
        frames.extend(records)
    except ConfigurationError as err:
        return frames, err
    return frames, None
