"""The pages of docs/reference, made from the code: ``python -m l2announce.cli.reference docs/reference``. A test holds them equal."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from typer.main import get_command

from l2announce.agent import metrics_reference
from l2announce.cli.main import app
from l2announce.cli.reasons import REASONS
from l2announce.control.conditions import ACCEPTED, CILIUM_REASON, READY
from l2announce.control.policy import BAD_INTERFACE_REGEX, BAD_NODE_SELECTOR, BAD_SERVICE_SELECTOR
from l2announce.model.events import EventReason

MADE = "This page is made by `make reference`."

CONDITIONS = {
    (ACCEPTED, "True", "Valid"): "every expression and selector of the policy can be used",
    (ACCEPTED, "False", "Invalid"): "an expression or a selector is bad; the message names it, and what becomes of the rest",
    (READY, "True", "Announced"): "every Service that the policy chooses an address of is announced by some node",
    (READY, "False", "NotAnnounced"): "of so many Services some are not; the message counts them and names three: ask `l2announce explain`",
    (
        READY,
        "False",
        "NothingSelected",
    ): "it chooses no address: its serviceSelector matches nothing, or neither kind of address is set",
    (BAD_INTERFACE_REGEX, "True", CILIUM_REASON): "an expression in `spec.interfaces` is no RE2; it is ignored, the others count",
    (BAD_NODE_SELECTOR, "True", CILIUM_REASON): "`spec.nodeSelector` is bad; the policy selects nothing",
    (BAD_SERVICE_SELECTOR, "True", CILIUM_REASON): "`spec.serviceSelector` is bad; the policy selects nothing",
}
"""What each condition of a policy means, by type, status and reason. Cilium's become False, and stay, when their cause is gone."""

EVENTS = {
    EventReason.ANNOUNCED: ("Normal", "a node has begun to answer; the message names node, interfaces and MAC"),
    EventReason.CONFLICT: ("Warning", "another host on the link claims an address of the Service; the message has its MAC"),
    EventReason.ADDRESS_REFUSED: ("Warning", "the operator has no address of the wanted kind for the Service; the message says why"),
    EventReason.NOT_ANNOUNCED: ("Warning", "policies choose the Service and no node announces it; the message has each node's reason"),
}
"""What each Event on a Service means."""


def flags() -> str:
    """Every command with its arguments, flags, variables and defaults."""
    parts = ["# Flags and variables", "", f"What they mean at length: [the command line](../cli.md). {MADE}"]
    for name, command in sorted(getattr(get_command(app), "commands", {}).items()):
        rows = [_parameter(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        parts += [
            "",
            f"## l2announce {name}",
            "",
            " ".join((command.help or "").split()),
            "",
            _table(("", "variable", "default", ""), rows),
        ]
    return "\n".join(parts).rstrip() + "\n"


def words() -> str:
    """Reasons, conditions and Events."""
    conditions = [(f"`{kind}`", status, f"`{reason}`", text) for (kind, status, reason), text in CONDITIONS.items()]
    events = [(f"`{reason.value}`", kind, text) for reason, (kind, text) in EVENTS.items()]
    reasons = [
        (f"`{word}`", meaning.means, meaning.remedy.replace("(topology.md)", "(../topology.md)")) for word, meaning in REASONS.items()
    ]
    return "\n".join(
        (
            "# Conditions, Events, reasons",
            "",
            f"Closed lists: there are no other words. {MADE}",
            "",
            "## Conditions of a policy",
            "",
            "In the `status` of each CiliumL2AnnouncementPolicy, with `observedGeneration`. The last three are Cilium's own types: they",
            "are there while they are true, and False afterwards.",
            "",
            _table(("type", "status", "reason", "meaning"), conditions),
            "",
            "## Events on a Service",
            "",
            "One Event for each reason and Service in a minute at most, five a second for each agent.",
            "",
            _table(("reason", "type", "meaning"), events),
            "",
            "## Reasons why a node does not announce a Service",
            "",
            "In `l2announce explain`, `status` and `who`, in Events, and as the label `reason` of [metrics](metrics.md).",
            "There, and in the log, also `NotSelected`: no policy chooses the Service here any more; and `DeadlinePassed`: its lease",
            "was not renewed in time.",
            "",
            _table(("word", "what it means", "remedy"), reasons),
            "",
        )
    )


PAGES = {"flags.md": flags, "metrics.md": metrics_reference.reference, "words.md": words}
"""What makes each page."""


def _parameter(parameter: Any) -> Sequence[str]:
    """One row of a table. Typer's own types of parameters are not typed."""
    options = [option for option in (*getattr(parameter, "opts", ()), *getattr(parameter, "secondary_opts", ())) if option.startswith("-")]
    shown = ", ".join(f"`{option}`" for option in options) or f"`{(parameter.metavar or parameter.name).upper()}`"
    variable = f"`{parameter.envvar}`" if getattr(parameter, "envvar", None) else ""
    default = parameter.default
    if parameter.required:
        text = "required"
    elif default is None or default is False or default == () or callable(default):
        text = ""
    else:
        text = f"`{getattr(default, 'value', default)}`"
    return shown, variable, text, " ".join((getattr(parameter, "help", None) or "").split())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def main() -> None:
    """Write every page into the directory that the command line names."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (directory / name).write_text(make())


if __name__ == "__main__":
    main()
