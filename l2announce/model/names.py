"""What Kubernetes allows as names of objects."""

import re

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


def is_name(text: str, *, label: bool = False) -> bool:
    """True for a DNS-1123 subdomain of at most 253 characters, or with ``label`` for a single DNS-1123 label: what Kubernetes allows."""
    parts = [text] if label else text.split(".")
    return len(text) <= 253 and all(_LABEL.fullmatch(part) for part in parts)
