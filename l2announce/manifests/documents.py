"""The text of a file -> YAML documents as plain values, each of which knows the line of every field. Knows nothing of Kubernetes.

Only the safe subset of YAML is read (no Python objects), and JSON as far as it is YAML. Anchors and merge keys work.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

DEEPEST = 100
"""The most levels of nesting that are read. No Kubernetes object comes near, and libyaml's composer would overrun its stack far above."""

MOST = 2_000_000
"""The most keys and values of one file, those counted again that an alias repeats: a few lines of aliases can stand for billions."""

_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|.)", re.DOTALL)


class TextError(Exception):
    """Text that is not YAML: ``line`` counts from 1, ``message`` is one sentence."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file. ``value`` consists of dicts, lists and scalars."""

    value: Any
    root: yaml.Node

    @property
    def line(self) -> int:
        """The line on which the document starts."""
        return _line(self.root)

    def line_of(self, path: tuple[str | int, ...]) -> int:
        """The line of the field at ``path``, or of its nearest parent that is there; lines count from 1."""
        node, line = self.root, _line(self.root)
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            marked, node = found
            line = _line(marked)
        return line


def read_documents(data: bytes, *, is_json: bool = False) -> list[Document]:
    """Every document that is not empty; TextError when any part of the text is not YAML, or says a key twice."""
    try:
        text = data.decode("utf-8-sig")
        if is_json:
            text = _json_as_yaml(text)
        _check_depth(text)
        return list(_documents(text))
    except UnicodeDecodeError as err:
        raise TextError(data.count(b"\n", 0, err.start) + 1, "is not UTF-8 text; save the file as UTF-8") from err
    except yaml.MarkedYAMLError as err:
        raise TextError(_mark_line(err, text), f"is not YAML: {err.problem}; correct the syntax") from err
    except yaml.reader.ReaderError as err:
        raise TextError(text.encode().count(b"\n", 0, err.position) + 1, f"is not YAML: {err.reason}; remove the character") from err


class _Constructor(yaml.constructor.SafeConstructor):
    """Nodes -> plain values; TextError for a scalar that has the form or the tag of a type but cannot be of it, such as 2024-13-01."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, ArithmeticError, AttributeError) as err:
            kind = str(node.tag).rpartition(":")[2]
            raise TextError(_line(node), f"has {str(node.value)[:40]!r} in the place of a value of type {kind}; put it in quotes") from err


class _Extent(NamedTuple):
    """How large a node is with all that is below it, aliases followed."""

    nodes: int
    levels: int


def _documents(text: str) -> Iterator[Document]:
    left = MOST
    for root in yaml.compose_all(text, Loader=yaml.CSafeLoader):
        if not _empty(root):
            left -= _extent(root, {}, left).nodes
            yield Document(_Constructor().construct_document(root), root)


def _empty(root: yaml.Node | None) -> bool:
    return root is None or (isinstance(root, yaml.ScalarNode) and root.tag == "tag:yaml.org,2002:null")


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise TextError(_line(event), f"is nested more than {DEEPEST} levels deep; flatten it")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _extent(node: yaml.Node, known: dict[int, _Extent | None], most: int) -> _Extent:
    """The extent of a node, with a check of all that is below it. ``known`` has those of the nodes so far, None while one is looked at.

    An alias comes after its anchor, so that the recursion is as deep as the text is, not as deep as the aliases make it.
    """
    if isinstance(node, yaml.ScalarNode):
        return _Extent(1, 0)
    if id(node) in known:
        if (extent := known[id(node)]) is None:
            raise TextError(_line(node), "contains itself through an alias; write the value out")
        return extent
    known[id(node)] = None
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
    children = [child for entry in node.value for child in (entry if isinstance(entry, tuple) else (entry,))]
    extents = [_extent(child, known, most) for child in children]
    found = _Extent(1 + sum(extent.nodes for extent in extents), 1 + max((extent.levels for extent in extents), default=0))
    if found.levels > DEEPEST:
        raise TextError(_line(node), f"is nested more than {DEEPEST} levels deep; flatten it")
    if found.nodes > most:
        raise TextError(_line(node), f"has the file stand for more than {MOST:,} values; use fewer aliases, or split the file")
    known[id(node)] = found
    return found


def _check_keys(mapping: yaml.MappingNode) -> None:
    """A key that is said twice in one mapping is an error, as in YAML 1.2: it is not clear which one is meant."""
    keys: set[tuple[str, str]] = set()
    for key, _ in mapping.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if (key.tag, key.value) in keys:
                raise TextError(_line(key), f"has the key {key.value!r} a second time in one mapping; remove one of the two")
            keys.add((key.tag, key.value))


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node that marks where ``step`` is, and the node of its value."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    if isinstance(node, yaml.MappingNode):
        # merged keys stand in front of the mapping's own, which win
        return next(((key, value) for key, value in reversed(node.value) if key.value == step), None)
    return None


def _line(node: yaml.Node | yaml.Event) -> int:
    return node.start_mark.line + 1 if node.start_mark is not None else 1


def _mark_line(err: yaml.MarkedYAMLError, text: str) -> int:
    """The line of an error; that of the last line when something is missing at the end."""
    mark = err.problem_mark
    return max(1, min(mark.line + 1, len(text.splitlines()))) if mark is not None else 1


def _json_as_yaml(text: str) -> str:
    """JSON that YAML would refuse, with the same lines: tabs between tokens, and characters written as two escapes (surrogate pairs)."""
    return _ESCAPE.sub(lambda match: json.loads(f'"{match[0]}"') if len(match[0]) == 12 else match[0], text.replace("\t", " "))
