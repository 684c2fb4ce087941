"""Files of a directory -> objects. Reads files when it is told to; watching them is cluster.py's task.

A file that is broken keeps the objects that it last had, an object that is broken keeps its last good value, and both are reported as an
ObjectProblem with ``path:line``. Neither hurts another file or object.
"""

import contextlib
import gc
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from l2announce.manifests.documents import Document, TextError, read_documents
from l2announce.model.objects import ObjectProblem
from l2announce.wire.fields import FieldPath, FieldProblem, ObjectError
from l2announce.wire.objects import Kinds, ObjectKey, decode_object, identify

SUFFIXES = (".yaml", ".yml", ".json")

LARGEST = 16 << 20
"""The most octets of one file that are read: room for ten thousand Services, and memory for what YAML makes of them."""

V = TypeVar("V", covariant=True)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedObject(Generic[V]):
    """One object of a file; ``value`` is None where the file has it in a form that cannot be used."""

    key: ObjectKey
    value: V | None
    where: str


@dataclass(frozen=True, slots=True)
class LoadedFile(Generic[V]):
    """What one file says. ``incomplete`` is true when part of it could not even be told by kind and name."""

    objects: tuple[LoadedObject[V], ...] = ()
    problems: tuple[ObjectProblem, ...] = ()
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Loaded(Generic[V]):
    """All objects of a directory, and what is wrong with any."""

    values: Mapping[ObjectKey, V]
    problems: tuple[ObjectProblem, ...] = ()


def is_manifest(path: Path) -> bool:
    """Whether a file of this name is read: YAML or JSON by its suffix, and not hidden."""
    return path.suffix in SUFFIXES and not path.name.startswith(".")


def directories_below(directory: Path) -> Iterator[Path]:
    """``directory`` and every directory below it that is neither hidden (as .cluster is) nor a symbolic link."""
    yield directory
    for entry in _entries(directory):
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from directories_below(Path(entry.path))


class ObjectLoader(Generic[V]):
    """The files below ``directory`` and the objects of ``kinds`` that they are good for. Not for use by two threads at once."""

    def __init__(self, directory: Path, kinds: Kinds[V]) -> None:
        self._directory = directory
        self._kinds = kinds
        self._files: dict[Path, LoadedFile[V]] = {}
        self._signatures: dict[Path, tuple[int, ...]] = {}
        self._good: dict[ObjectKey, V] = {}

    def refresh(self, changed: Iterable[Path] = (), *, rescan: bool = True) -> Loaded[V]:
        """Read the files named in ``changed``, with ``rescan`` also those whose size, time or inode differ, and give all there is.

        While the directory itself is away, everything stays as it was and a problem says so.
        """
        if not self._directory.is_dir():
            message = "the directory is gone, so its last objects stay in force; put it back"
            return self._all((ObjectProblem(str(self._directory), "NoDirectory", message),))
        with _uncollected():
            for path in sorted({*changed, *(self._changed_files() if rescan else ())}):
                self._load(path)
        return self._all(())

    def _changed_files(self) -> list[Path]:
        found = [path for place in directories_below(self._directory) for path in _manifests_in(place)]
        gone = set(self._files).difference(found)
        return [*gone, *(path for path in found if self._signatures.get(path) != _signature(path))]

    def _load(self, path: Path) -> None:
        """Read one file. One that is gone takes its objects along; one that cannot be read keeps them."""
        old: LoadedFile[V] = self._files.get(path) or LoadedFile()
        signature = _signature(path)
        try:
            loaded = load_text(str(path), _read(path), self._kinds)
        except (FileNotFoundError, NotADirectoryError):
            self._files.pop(path, None)
            self._signatures.pop(path, None)
            return
        except TextError as err:
            problem = ObjectProblem(f"{path}:{err.line}", "BrokenFile", f"{err.message}. {_kept(old)}")
            loaded = LoadedFile(old.objects, (problem,))
        except OSError as err:
            problem = ObjectProblem(str(path), "UnreadableFile", f"{err.strerror}; make it a file that can be read. {_kept(old)}")
            loaded = LoadedFile(old.objects, (problem,))
        if loaded.incomplete:
            present = {entry.key for entry in loaded.objects}
            loaded = replace(loaded, objects=loaded.objects + tuple(entry for entry in old.objects if entry.key not in present))
        self._files[path] = loaded
        self._signatures[path] = signature

    def _all(self, problems: tuple[ObjectProblem, ...]) -> Loaded[V]:
        """Put the files together, in the order of their paths: of an object that is there twice, the first counts."""
        found: list[ObjectProblem] = list(problems)
        entries: dict[ObjectKey, LoadedObject[V]] = {}
        for path in sorted(self._files):
            found.extend(self._files[path].problems)
            for entry in self._files[path].objects:
                first = entries.setdefault(entry.key, entry)
                if first is not entry:
                    message = f"{entry.key} is also at {first.where}, and that one counts; remove one of the two"
                    found.append(ObjectProblem(entry.where, "Duplicate", message))
        values = {key: entry.value if entry.value is not None else self._good.get(key) for key, entry in sorted(entries.items())}
        self._good = {key: value for key, value in values.items() if value is not None}
        return Loaded(self._good, tuple(found))


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for reference cycles, which in a large file takes half the time and halts every thread, renewals included."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load_text(name: str, data: bytes, kinds: Kinds[V]) -> LoadedFile[V]:
    """The objects of one file called ``name``; TextError when it is not YAML. Objects of other kinds are left out."""
    objects: list[LoadedObject[V]] = []
    problems: list[ObjectProblem] = []
    incomplete, others = False, 0
    for document in read_documents(data, is_json=name.endswith(".json")):
        for prefix, raw in _objects_of(document.value):
            where = f"{name}:{document.line_of(prefix)}"
            key: ObjectKey | None = None
            try:
                key = identify(raw, kinds)
                decoded = decode_object(raw, kinds) if key is not None else None
            except ObjectError as err:
                problems.append(_problem(name, document, prefix, err.problem, key, "Its last good state, if any, stays in force."))
                incomplete = incomplete or key is None
                if key is not None:
                    objects.append(LoadedObject(key, None, where))
                continue
            if decoded is None:
                others += 1
                continue
            objects.append(LoadedObject(decoded.key, decoded.value, where))
            problems.extend(
                _problem(name, document, prefix, problem, decoded.key, "The rest of the object counts.") for problem in decoded.problems
            )
    if others:
        _log.debug("%s: %d objects of other kinds are not read", name, others)
    return LoadedFile(tuple(objects), tuple(problems), incomplete)


def _objects_of(value: Any) -> Iterator[tuple[FieldPath, Any]]:
    """A document, or each item of a ``List`` or ``ServiceList``, with its path; the items of the latter need no kind of their own."""
    kind = value.get("kind") if isinstance(value, Mapping) else None
    items = value.get("items") if isinstance(kind, str) and kind.endswith("List") else None
    if not isinstance(items, list):
        yield (), value
        return
    for position, item in enumerate(items):
        typed = item
        if isinstance(item, Mapping) and kind != "List":
            typed = {"kind": str(kind).removesuffix("List"), "apiVersion": value.get("apiVersion"), **item}
        yield ("items", position), typed


def _problem(
    name: str, document: Document, prefix: FieldPath, problem: FieldProblem, key: ObjectKey | None, consequence: str
) -> ObjectProblem:
    line = document.line_of(prefix + problem.path)
    parts = [str(part) for part in (key, problem.field) if part]
    return ObjectProblem(f"{name}:{line}", problem.reason, ": ".join([*parts, f"{problem.message}. {consequence}"]))


def _kept(old: LoadedFile[object]) -> str:
    return f"The file's last {len(old.objects)} objects stay in force." if old.objects else "Nothing of the file is in force."


def _manifests_in(directory: Path) -> list[Path]:
    return [path for entry in _entries(directory) if not entry.is_dir(follow_symlinks=False) and is_manifest(path := Path(entry.path))]


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    """What is in a directory, by name; nothing when it is gone or not for us to read: the event that changes this brings us back."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _signature(path: Path) -> tuple[int, ...]:
    """What changes when a file changes; empty while it cannot be told."""
    try:
        facts = path.stat()
    except OSError:
        return ()
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _read(path: Path) -> bytes:
    """The content of a file. OSError when it cannot be read, TextError when it is too large to be a manifest."""
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "is not a regular file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise TextError(1, f"is larger than {LARGEST >> 20} MiB; split it into several files")
    return data


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody at the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
