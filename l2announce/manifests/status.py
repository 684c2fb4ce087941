"""Conditions of policies as files: ``status/ciliuml2announcementpolicies/NAME.yaml``, in the form of Cilium's status.

A condition that was true and has no cause any more becomes False, as Cilium has it; a file whose content would be the same is left alone.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from l2announce.model.objects import AnnouncementPolicy, ObjectProblem

PLURAL = "ciliuml2announcementpolicies"
KIND = "CiliumL2AnnouncementPolicy"

Condition = dict[str, Any]

_TEXTS = ("type", "status", "message", "lastTransitionTime")


def write_conditions(directory: Path, problems: Sequence[ObjectProblem], policies: Mapping[str, AnnouncementPolicy], now: float) -> None:
    """Bring the files below ``directory`` in line with ``problems``, of which those count that are about one of ``policies``.

    Files of policies that are not there any more are removed. ``now`` is in seconds since 1970. OSError when a file cannot be written.
    """
    place = directory / PLURAL
    for path in place.glob("*.yaml"):
        if path.stem not in policies:
            path.unlink(missing_ok=True)
    for name, policy in sorted(policies.items()):
        messages: dict[str, list[str]] = {}
        for problem in problems:
            if problem.subject == f"{KIND.lower()}/{name}":
                messages.setdefault(problem.reason, []).append(problem.message)
        path = place / f"{name}.yaml"
        old = _read(path)
        new = conditions(old, {kind: "; ".join(texts) for kind, texts in messages.items()}, policy.generation, now)
        if new != old:
            _replace(path, _document(name, new))


def conditions(old: Iterable[Condition], messages: Mapping[str, str], generation: int, now: float) -> list[Condition]:
    """The conditions that follow ``old`` when those that ``messages`` has, by type, are true now.

    The transition time changes with the status only, the observed generation with anything.
    """
    before = {condition["type"]: condition for condition in old}
    result = []
    for kind in sorted(before.keys() | messages.keys()):
        status, message = "True" if kind in messages else "False", messages.get(kind, "")
        was = before.get(kind, {})
        if (was.get("status"), was.get("message")) == (status, message):
            result.append(was)
            continue
        moved = was.get("status") != status
        since = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moved else was["lastTransitionTime"]
        result.append(
            {
                "type": kind,
                "status": status,
                "reason": "error",
                "message": message,
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return result


def _document(name: str, new: list[Condition]) -> Mapping[str, object]:
    return {"apiVersion": "cilium.io/v2alpha1", "kind": KIND, "metadata": {"name": name}, "status": {"conditions": new}}


def _read(path: Path) -> list[Condition]:
    """The conditions of a file of ours; none when it is absent or somebody spoilt it."""
    try:
        document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        found = [dict(condition) for condition in document["status"]["conditions"]]
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
        return []
    return found if all(isinstance(condition.get(key), str) for condition in found for key in _TEXTS) else []


def _replace(path: Path, document: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        temporary.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
