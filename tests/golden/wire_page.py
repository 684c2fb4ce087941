"""Write the tables of docs/wire.md: ``.venv/bin/python -m tests.golden.wire_page``.

One row for each verdict: its words are those of ``replay --explain``, its cases those of the corpus. One for each difference from Linux, as
tests/golden/differences.py declares them. The prose of the page is left alone.
"""

from collections import defaultdict
from collections.abc import Sequence

from l2announce.cli.explain import RULES
from l2announce.responder.verdict import Verdict
from tests.golden.build import CASES, HERE
from tests.golden.differences import DIFFERENCES, Difference

PAGE = HERE.parent.parent / "docs" / "wire.md"
SHOWN = 4
"""Cases that the row of a verdict links; the rest is counted."""
_VERDICTS = """\
| verdict | the frame | why | source | what to do | cases |
| --- | --- | --- | --- | --- | --- |
"""
_DIFFERENCES = """\
| the frame | Linux | we | why | cases |
| --- | --- | --- | --- | --- |
"""


def tables() -> dict[str, str]:
    """The tables, by the name that their place in the page has."""
    return {
        "verdicts": _VERDICTS + "".join(_row(verdict) for verdict in Verdict),
        "differences": _DIFFERENCES + "".join(_difference(one) for one in DIFFERENCES),
    }


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
    cases = _cases(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"| `{verdict.value}` | {rule.frame} | {rule.why} | {rule.source or 'ours'} | {_linked(rule.remedy)} | {cases} |\n"


def _difference(one: Difference) -> str:
    linux, we = ("answers", "silent") if one.kernel else ("silent", "answer")
    return f"| {one.what} | {linux} | {we} | {one.why} | {_cases(one.cases)} |\n"


def _cases(names: Sequence[str]) -> str:
    return ", ".join(f"[{name}](../tests/golden/{name}/verdicts.txt)" for name in names)


def _linked(words: str) -> str:
    """The pages that a remedy names, as links."""
    return " ".join(_link(word) for word in words.split(" "))


def _link(word: str) -> str:
    name = word.strip("(),;:")
    return word.replace(name, f"[{name}]({name})") if name.endswith(".md") else word


def with_tables(page: str) -> str:
    """The page with its tables as they should be; ValueError when it has no place for one."""
    for name, table in tables().items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{PAGE}: no lines {begin.strip()} and {end.strip()}; put them around the table")
        page = before + begin + table + end + after
    return page


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(with_tables(PAGE.read_text()))


if __name__ == "__main__":
    main()
