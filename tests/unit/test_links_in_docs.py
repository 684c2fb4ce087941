"""Every relative link of the documents leads to a file of this repository."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def documents() -> list[str]:
    """The tracked Markdown files."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True)
    return listed.stdout.split()


def dead_links(document: Path) -> list[str]:
    """The relative links of a document that lead nowhere."""
    targets = [target for target in _LINK.findall(document.read_text()) if "://" not in target and not target.startswith("mailto:")]
    return [target for target in targets if not (document.parent / target).exists()]


@pytest.mark.parametrize("name", documents())
def test_every_relative_link_leads_to_a_file(name: str) -> None:
    assert dead_links(ROOT / name) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("[a](a.md) [b](gone.md) [c](https://example.com/x) [d](a.md#part)")
    assert dead_links(document) == ["gone.md"]
