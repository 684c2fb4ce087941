"""Conditions of cluster-scoped objects as files: ``status/PLURAL/NAME.yaml``, in the form of the status that Cilium writes."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from l2announce.control.conditions import merged
from l2announce.model.conditions import Condition
from l2announce.wire import schema
from l2announce.wire.conditions import condition_documents, decode_conditions


@dataclass(frozen=True, slots=True)
class StatusKind:
    """Of what kind of object the files are."""

    plural: str
    kind: str
    api_version: str


POLICIES = StatusKind("ciliuml2announcementpolicies", "CiliumL2AnnouncementPolicy", "cilium.io/v2alpha1")
POOLS = StatusKind("ciliumloadbalancerippools", "CiliumLoadBalancerIPPool", "cilium.io/v2")


class Statuses:
    """The files of one kind below ``directory``."""

    def __init__(self, directory: Path, kind: StatusKind) -> None:
        self._place = directory / kind.plural
        self._kind = kind

    def read(self, name: str) -> tuple[Condition, ...]:
        """The conditions of one object; none when there is no file of ours, or somebody spoilt it."""
        try:
            document = yaml.load(self._path(name).read_bytes(), Loader=yaml.CSafeLoader)
            return decode_conditions(msgspec.convert(document["status"]["conditions"], list[schema.Condition]))
        except (OSError, yaml.YAMLError, msgspec.ValidationError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
            return ()

    def write(self, name: str, conditions: Sequence[Condition]) -> None:
        """Write the conditions of one object. OSError when that fails; the file is then as it was."""
        document = {
            "apiVersion": self._kind.api_version,
            "kind": self._kind.kind,
            "metadata": {"name": name},
            "status": {"conditions": condition_documents(conditions)},
        }
        self._place.mkdir(parents=True, exist_ok=True)
        temporary = self._place / f".{secrets.token_hex(8)}"
        try:
            temporary.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
            temporary.replace(self._path(name))
        finally:
            temporary.unlink(missing_ok=True)

    def keep_only(self, names: Collection[str]) -> None:
        """Remove the files of all other objects. OSError when that fails."""
        for path in self._place.glob("*.yaml"):
            if path.stem not in names:
                path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._place / f"{name}.yaml"


def write_policy_conditions(directory: Path, wanted: Mapping[str, Sequence[Condition]], now: str) -> None:
    """Bring the files of policies below ``directory`` in line with ``wanted``, the conditions of every policy by its name.

    A file whose content would be the same is left alone. ``now`` is RFC 3339. OSError when a file cannot be written.
    """
    statuses = Statuses(directory, POLICIES)
    statuses.keep_only(wanted)
    for name, conditions in sorted(wanted.items()):
        old = statuses.read(name)
        new = merged(old, conditions, now)
        if new != old:
            statuses.write(name, new)
