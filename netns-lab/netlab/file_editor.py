"""The administrator of an embedded cluster: edits its YAML files, and its leases through l2announce's own store."""

import asyncio
from pathlib import Path
from typing import Any

import yaml

from l2announce.manifests.leases import FileLeases, read_leases
from l2announce.model.lease import LeaseWrite, Verb, Written
from netlab.edits import STRANGER_SECONDS, Editor, Part

NAMESPACE = "kube-system"
TRIES = 5


class FileEditor(Editor):
    """Edits the ``*.yaml`` files of a directory; comments in a file that is edited are lost."""

    def __init__(self, manifests: Path) -> None:
        super().__init__()
        self._manifests = manifests
        self._files = {path: list(yaml.safe_load_all(path.read_text())) for path in sorted(manifests.glob("*.yaml"))}
        self._leases = FileLeases(manifests, NAMESPACE)

    def _read(self, part: Part) -> Any:
        value: Any = self._find(part)[1]
        for key in part.path:
            value = value[key]
        return value

    def _write(self, part: Part, value: Any) -> None:
        path, document = self._find(part)
        for key in part.path[:-1]:
            document = document[key]
        document[part.path[-1]] = value
        draft = path.with_name(f".{path.name}")
        draft.write_text(yaml.safe_dump_all(self._files[path]))
        draft.rename(path)

    def _find(self, part: Part) -> tuple[Path, dict[str, Any]]:
        """The file of an object, and the object in what was read from it."""
        for path, documents in self._files.items():
            for document in documents:
                for item in document["items"] if document["kind"] == "List" else [document]:
                    if (item["kind"], item["metadata"]["name"]) == (part.kind, part.name):
                        return path, item
        raise LookupError(f"{self._manifests}: no {part.kind} {part.name} in any *.yaml file")

    def delete_lease(self, name: str) -> None:
        """See Editor."""
        asyncio.run(self._leases.delete(name))

    def set_holder(self, name: str, holder: str) -> bool:
        """See Editor."""
        for _ in range(TRIES):
            base = next((lease for lease in read_leases(self._manifests, NAMESPACE) if lease.name == name), None)
            if base is None:
                return False
            verb = Verb.ACQUIRE if holder else Verb.RELEASE
            write = LeaseWrite(verb, name, holder, float(STRANGER_SECONDS) if holder else 1.0, base)
            if isinstance(asyncio.run(self._leases.write(write)), Written):
                return True
        return False
