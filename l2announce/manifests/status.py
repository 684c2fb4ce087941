"""Conditions of policies as files: ``status/ciliuml2announcementpolicies/NAME.yaml``, in the form of Cilium's status.

A file whose content would be the same is left alone.
"""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import yaml

from l2announce.control.conditions import merged
from l2announce.model.conditions import Condition
from l2announce.wire import schema
from l2announce.wire.conditions import condition_documents, decode_conditions

PLURAL = "ciliuml2announcementpolicies"
KIND = "CiliumL2AnnouncementPolicy"


def write_conditions(directory: Path, wanted: Mapping[str, Sequence[Condition]], now: str) -> None:
    """Bring the files below ``directory`` in line with ``wanted``, the conditions of every policy by its name.

    Files of policies that are not there any more are removed. ``now`` is RFC 3339. OSError when a file cannot be written.
    """
    place = directory / PLURAL
    for path in place.glob("*.yaml"):
        if path.stem not in wanted:
            path.unlink(missing_ok=True)
    for name, conditions in sorted(wanted.items()):
        path = place / f"{name}.yaml"
        old = _read(path)
        new = merged(old, conditions, now)
        if new != old:
            _replace(path, _document(name, new))


def _document(name: str, new: Sequence[Condition]) -> Mapping[str, object]:
    status = {"conditions": condition_documents(new)}
    return {"apiVersion": "cilium.io/v2alpha1", "kind": KIND, "metadata": {"name": name}, "status": status}


def _read(path: Path) -> tuple[Condition, ...]:
    """The conditions of a file of ours; none when it is absent or somebody spoilt it."""
    try:
        document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        return decode_conditions(msgspec.convert(document["status"]["conditions"], list[schema.Condition]))
    except (OSError, yaml.YAMLError, msgspec.ValidationError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
        return ()


def _replace(path: Path, document: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        temporary.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
