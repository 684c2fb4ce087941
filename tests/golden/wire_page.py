"""Write the table of docs/wire.md: ``.venv/bin/python -m tests.golden.wire_page``.

One row for each verdict: its words are those of ``replay --explain``, its cases those of the corpus. The prose of the page is left alone.
"""

from collections import defaultdict

from l2announce.cli.explain import RULES
from l2announce.responder.verdict import Verdict
from tests.golden.build import CASES, HERE

PAGE = HERE.parent.parent / "docs" / "wire.md"
BEGIN, END = "<!-- verdicts -->\n", "<!-- end of verdicts -->\n"
SHOWN = 4
"""Cases that a row links; the rest is counted."""
_HEAD = """\
| verdict | the frame | why | source | what to do | cases |
| --- | --- | --- | --- | --- | --- |
"""


def table() -> str:
    """The rows, in the order of the enumeration."""
    return _HEAD + "".join(_row(verdict) for verdict in Verdict)


def examples(verdict: Verdict) -> list[str]:
    """Every case with a frame of this verdict: ARP and NDP in turn, then the others, the plain ones first."""
    families: dict[str, list[str]] = defaultdict(list)
    for case in sorted(CASES, key=lambda case: (len({one.verdict for one in case.frames}), len(case.frames))):
        if any(one.verdict is verdict for one in case.frames):
            families[case.name.partition("-")[0]].append(case.name)
    places = [(family not in ("arp", "ndp"), at, family, name) for family, names in families.items() for at, name in enumerate(names)]
    return [place[-1] for place in sorted(places)]


def _row(verdict: Verdict) -> str:
    rule = RULES[verdict]
    names = examples(verdict)
    cases = ", ".join(f"[{name}](../tests/golden/{name}/verdicts.txt)" for name in names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"| `{verdict.value}` | {rule.frame} | {rule.why} | {rule.source or 'ours'} | {_linked(rule.remedy)} | {cases}{more} |\n"


def _linked(words: str) -> str:
    """The pages that a remedy names, as links."""
    return " ".join(_link(word) for word in words.split(" "))


def _link(word: str) -> str:
    name = word.strip("(),;:")
    return word.replace(name, f"[{name}]({name})") if name.endswith(".md") else word


def with_table(page: str) -> str:
    """The page with its table as it should be."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE}: no lines {BEGIN.strip()} and {END.strip()}; put them around the table")
    return before + BEGIN + table() + END + after


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(with_table(PAGE.read_text()))


if __name__ == "__main__":
    main()
