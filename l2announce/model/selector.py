"""Label selectors: what they match, whether they are valid, and their one-line text form. Knows nothing of policies or Services.

Rules are those of Kubernetes (apimachinery's labels and validation): all requirements must hold; NotIn also holds where the key is absent.
"""

import re
from collections.abc import Iterator, Mapping

from l2announce.model.objects import LabelSelector, Requirement

_OBJECT_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
"""What matchExpressions may say."""

_TEXT_OPERATORS = (*_OBJECT_OPERATORS, "Gt", "Lt")
"""What the text form may say: Kubernetes has ``key>1`` and ``key<1`` in text only."""

_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_TOKEN = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+)")
_SYMBOLS = frozenset(("", "==", "!=", "=", "!", "(", ")", ",", "<", ">"))
_INT64_END = 1 << 63


def matches(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """True when every requirement of ``selector`` holds for ``labels``. None and an empty selector match everything.

    An operator that ``check`` would refuse matches nothing.
    """
    if selector is None:
        return True
    return all(labels.get(key) == value for key, value in selector.match_labels) and all(
        _holds(requirement, labels.get(requirement.key)) for requirement in selector.match_expressions
    )


def check(selector: LabelSelector | None) -> str | None:
    """What is wrong with a selector of an object, as one sentence that names the field; None when it is valid."""
    if selector is None:
        return None
    for key, value in selector.match_labels:
        if wrong := _wrong_key(key) or _wrong_value(value):
            return f"matchLabels: {wrong}"
    for position, requirement in enumerate(selector.match_expressions):
        if wrong := _wrong_requirement(requirement, _OBJECT_OPERATORS):
            return f"matchExpressions[{position}]: {wrong}"
    return None


def parse_selector(text: str) -> LabelSelector:
    """Read a label-selector string such as ``a=b,c in (d,e),!f``; the empty text selects everything.

    The grammar is that of Kubernetes' labels.Parse, with ``=``, ``==``, ``!=``, ``in``, ``notin``, ``key``, ``!key``, ``>`` and ``<``.
    ValueError with one sentence for anything else.
    """
    return LabelSelector(match_expressions=tuple(_Parser(text).requirements()))


def _holds(requirement: Requirement, value: str | None) -> bool:
    """Whether one requirement holds for the value of its key, None where the key is absent."""
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(requirement, value)
        case _:
            return False


def _compares(requirement: Requirement, value: str | None) -> bool:
    """Gt and Lt: both sides must be integers; an absent key or another text does not hold."""
    number = _integer(value or "")
    bound = _integer("".join(requirement.values))
    if number is None or bound is None:
        return False
    return number > bound if requirement.operator == "Gt" else number < bound


def _integer(text: str) -> int | None:
    """A label value as an integer of 64 bits, which cannot have a sign because label values begin with a letter or a digit."""
    if not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number < _INT64_END else None


def _wrong_requirement(requirement: Requirement, operators: tuple[str, ...]) -> str | None:
    """What is wrong with one requirement, where ``operators`` are allowed."""
    if wrong := _wrong_key(requirement.key):
        return wrong
    operator, values = requirement.operator, requirement.values
    if operator not in operators:
        return f"operator {operator!r} of key {requirement.key!r} is unknown; use In, NotIn, Exists or DoesNotExist"
    if operator in ("Exists", "DoesNotExist") and values:
        return f"operator {operator} of key {requirement.key!r} takes no values; remove {', '.join(map(repr, values))}"
    if operator in ("In", "NotIn") and not values:
        return f"operator {operator} of key {requirement.key!r} needs at least one value"
    if operator in ("Gt", "Lt") and _integer(values[0]) is None:
        return f"key {requirement.key!r} is compared with {values[0]!r}, which is not an integer"
    return next(filter(None, map(_wrong_value, values)), None)


def _wrong_key(key: str) -> str | None:
    """Kubernetes' qualified name: an optional DNS subdomain and a slash, then a name of at most 63 characters."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= 253 and _DNS_SUBDOMAIN.fullmatch(prefix)):
        return f"{key!r} is not a label key: the part before the slash must be a DNS subdomain of at most 253 characters"
    if len(name) > 63 or not _NAME.fullmatch(name):
        return (
            f"{key!r} is not a label key: its name must be 1 to 63 letters, digits, '-', '_' or '.', "
            "beginning and ending with a letter or digit"
        )
    return None


def _wrong_value(value: str) -> str | None:
    """Kubernetes' label value: empty, or as the name of a key."""
    if value and (len(value) > 63 or not _NAME.fullmatch(value)):
        return (
            f"{value!r} is not a label value: it must be empty or at most 63 letters, digits, '-', '_' or '.', "
            "beginning and ending with a letter or digit"
        )
    return None


class _Parser:
    """Recursive descent over the tokens of one text; "" is the end of the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = [*_TOKEN.findall(text), ""]
        self._position = 0

    def requirements(self) -> Iterator[Requirement]:
        """Every requirement, checked."""
        if self._peek() == "":
            return
        while True:
            requirement = self._requirement()
            if wrong := _wrong_requirement(requirement, _TEXT_OPERATORS):
                raise ValueError(f"selector {self._text!r}: {wrong}")
            yield requirement
            symbol = self._next()
            if symbol == "":
                return
            if symbol != ",":
                raise self._unexpected(symbol, "',' or the end")

    def _requirement(self) -> Requirement:
        """``key``, ``!key`` or ``key operator values``."""
        if self._peek() == "!":
            self._next()
            return Requirement(self._word("a label key"), "DoesNotExist")
        key = self._word("a label key or '!'")
        if self._peek() in ("", ","):
            return Requirement(key, "Exists")
        match self._next():
            case "=" | "==":
                return Requirement(key, "In", (self._value(),))
            case "!=":
                return Requirement(key, "NotIn", (self._value(),))
            case ">":
                return Requirement(key, "Gt", (self._value(),))
            case "<":
                return Requirement(key, "Lt", (self._value(),))
            case "in":
                return Requirement(key, "In", self._values())
            case "notin":
                return Requirement(key, "NotIn", self._values())
            case symbol:
                raise self._unexpected(symbol, "=, ==, !=, in, notin, > or <")

    def _value(self) -> str:
        """One value; nothing before a comma or the end is the empty value."""
        return "" if self._peek() in ("", ",") else self._word("a value")

    def _values(self) -> tuple[str, ...]:
        """``(a,b)``. ``()`` is no value at all, which the check refuses; an empty place between commas is the empty value."""
        self._expect("(")
        if self._peek() == ")":
            self._next()
            return ()
        values = []
        while True:
            values.append("" if self._peek() in (",", ")") else self._word("a value"))
            symbol = self._next()
            if symbol == ")":
                return tuple(values)
            if symbol != ",":
                raise self._unexpected(symbol, "',' or ')'")

    def _peek(self) -> str:
        return self._tokens[self._position]

    def _next(self) -> str:
        symbol = self._tokens[self._position]
        self._position += symbol != ""
        return symbol

    def _word(self, expected: str) -> str:
        symbol = self._next()
        if symbol in _SYMBOLS:
            raise self._unexpected(symbol, expected)
        return symbol

    def _expect(self, wanted: str) -> None:
        symbol = self._next()
        if symbol != wanted:
            raise self._unexpected(symbol, f"'{wanted}'")

    def _unexpected(self, symbol: str, expected: str) -> ValueError:
        found = repr(symbol) if symbol else "the end"
        return ValueError(f"selector {self._text!r}: found {found} where {expected} is expected")
