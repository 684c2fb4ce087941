"""What is wrong with a field of an object, told by its path (``spec.interfaces[0]``) and one sentence; conversion with such errors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias, TypeVar

import msgspec

from l2announce.errors import DecodeError

FieldPath: TypeAlias = tuple[str | int, ...]
"""The way from an object to one of its fields: keys of mappings and positions in lists."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHERE = re.compile(r"(?P<what>.*?)(?: - at (?:(?P<key>`key`) in )?`\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_EXPECTED = re.compile(r"Expected `(\w+)")
_REMEDIES = {
    "str": "put it in quotes",
    "bool": "write true or false, without quotes",
    "int": "write a whole number, without quotes",
    "array": "write a list",
    "object": "write a mapping",
}


_S = TypeVar("_S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """Something wrong with one field: ``reason`` is one CamelCase word, ``message`` says what is wrong and what to do."""

    path: FieldPath
    reason: str
    message: str

    @property
    def field(self) -> str:
        """The path as ``spec.interfaces[0]``; keys that are not plain words as ``metadata.labels["example.com/a"]``."""
        text = ""
        for step in self.path:
            if isinstance(step, int):
                text += f"[{step}]"
            elif _PLAIN_KEY.fullmatch(step):
                text += f".{step}" if text else step
            else:
                text += f'["{step}"]'
        return text


class ObjectError(DecodeError):
    """An object that cannot be used at all; ``problem`` says why."""

    def __init__(self, path: FieldPath, reason: str, message: str) -> None:
        self.problem = FieldProblem(path, reason, message)
        super().__init__(f"{self.problem.field or 'object'}: {message}")


def convert(raw: object, struct: type[_S]) -> _S:
    """A mapping as a Struct; ObjectError that names the first field with a wrong type, its value and what to write instead."""
    try:
        return msgspec.convert(raw, struct)
    except msgspec.ValidationError as err:
        raise _object_error(str(err), raw) from err


def decode(octets: bytes, struct: type[_S]) -> _S:
    """JSON as a Struct; ObjectError as ``convert``, and for what is not JSON."""
    try:
        try:
            return msgspec.json.decode(octets, type=struct)
        except msgspec.ValidationError as err:
            raise _object_error(str(err), msgspec.json.decode(octets)) from err  # which may show that the rest is no JSON
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise ObjectError((), "NotJSON", f"not JSON: {err}; look at what sent it") from err


def _object_error(text: str, raw: object) -> ObjectError:
    """msgspec's sentence with the path as a value, the offending value and a remedy."""
    matched = _WHERE.fullmatch(text)
    what, key, where = (matched["what"], matched["key"], matched["path"]) if matched else (text, None, None)
    path: list[str | int] = []
    value: Any = raw
    for name, position in _STEP.findall(where or ""):
        if position == "...":  # msgspec does not name the key; only mappings of text to text have such a place
            step: str | int = next(key for key, item in value.items() if not isinstance(item, str))
        else:
            step = name or int(position)
        path.append(step)
        value = value[step]
    if key is not None:
        value = next(key for key in value if not isinstance(key, str))
    expected = _EXPECTED.match(what)
    remedy = _REMEDIES.get(expected[1], "correct it") if expected else "add it"
    scalar = f" ({words(value)})" if expected and isinstance(value, str | int | float | date) else ""
    return ObjectError(tuple(path), "BadField", f"{'in a key: ' if key else ''}{what.replace('`', '')}{scalar}; {remedy}")


def words(value: object) -> str:
    """A value for a message: scalars as written in YAML, the rest by kind."""
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case str():
            return repr(value)
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return str(value)
