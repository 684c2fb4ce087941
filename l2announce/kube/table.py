"""The decoded objects of one resource, kept up with what its reflector tells. An object that cannot be used keeps its last good value."""

from collections.abc import Callable
from typing import Generic, TypeVar

from l2announce.errors import ApiError
from l2announce.kube.reflector import Change, Listed
from l2announce.kube.watch import decode_key
from l2announce.model.objects import ObjectProblem
from l2announce.wire.fields import ObjectError
from l2announce.wire.objects import Decoded

_T = TypeVar("_T")
_Key = tuple[str, str]


class Table(Generic[_T]):
    """Objects of ``kind`` by namespace and name. ``is_complete`` once they were listed, or cannot be."""

    def __init__(self, kind: str, decode: Callable[[bytes], Decoded[_T]]) -> None:
        self.kind = kind
        self.values: dict[_Key, _T] = {}
        self.is_complete = False
        self._decode = decode
        self._problems: dict[_Key, tuple[ObjectProblem, ...]] = {}
        self._failure: ObjectProblem | None = None

    def apply(self, change: Change) -> bool:
        """Take a change in; True when it makes a difference."""
        before = self.is_complete
        self.is_complete = True
        if isinstance(change, Listed):
            keys = {decode_key(item): item for item in change.items}
            known = self.values.keys() | self._problems.keys()
            gone = [self._remove(key) for key in known - keys.keys()]
            put = [self._put(key, item) for key, item in keys.items()]
            return not before or any(gone) or any(put)
        key = (change.namespace, change.name)
        return self._remove(key) if change.type == "DELETED" else self._put(key, change.octets)

    def fail(self, err: ApiError | None) -> bool:
        """The resource cannot be listed or watched, or (None) can be again; True when that makes a difference.

        What was known stays. Where we may not read (403), nothing counts as known: the others go on.
        """
        before = (self._failure, self.is_complete)
        if err is None:
            self._failure = None
        else:
            forbidden = err.code == 403
            remedy = f"; grant list and watch on {self.kind}" if forbidden else ""
            self._failure = ObjectProblem(self.kind.lower(), "Forbidden" if forbidden else "NotWatched", f"{err}{remedy}")
            self.is_complete = self.is_complete or forbidden
        return before != (self._failure, self.is_complete)

    def clear(self) -> bool:
        """Know of no object any more, and of no failure; True when that makes a difference."""
        before = bool(self.values or self._problems or self._failure) or not self.is_complete
        self.values.clear()
        self._problems.clear()
        self._failure = None
        self.is_complete = True
        return before

    def problems(self) -> tuple[ObjectProblem, ...]:
        """What is wrong with the resource and its objects."""
        own = (self._failure,) if self._failure else ()
        return own + tuple(problem for key in sorted(self._problems) for problem in self._problems[key])

    def _put(self, key: _Key, octets: bytes) -> bool:
        before = (self.values.get(key), self._problems.get(key, ()))
        subject = "/".join(part for part in (self.kind.lower(), *key) if part)
        try:
            decoded = self._decode(octets)
        except ObjectError as err:
            message = f"{err.problem.field}: {err.problem.message}; its last good state, if any, stays in force"
            problems: tuple[ObjectProblem, ...] = (ObjectProblem(subject, err.problem.reason, message),)
        else:
            self.values[key] = decoded.value
            problems = tuple(ObjectProblem(subject, problem.reason, f"{problem.field}: {problem.message}") for problem in decoded.problems)
        if problems:
            self._problems[key] = problems
        else:
            self._problems.pop(key, None)
        return before != (self.values.get(key), problems)

    def _remove(self, key: _Key) -> bool:
        known = key in self.values or key in self._problems
        self.values.pop(key, None)
        self._problems.pop(key, None)
        return known
