"""For mkdocs: links that leave docs/ lead into the repository, which the site does not have; what they name is left as text."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]*)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Called by mkdocs with each page's text; the types are its own."""
    docs, here = Path(config["docs_dir"]), PurePosixPath(page.file.src_uri).parent

    def stay(link: re.Match[str]) -> str:
        inside = (docs / here / link[2]).resolve().is_relative_to(docs)
        return link[0] if inside else link[1]

    return _LINK.sub(stay, markdown)
