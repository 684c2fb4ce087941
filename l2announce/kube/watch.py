"""The octets of a list or a watch -> items and events. Sans-IO: fed with chunks, cut anywhere."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from l2announce.errors import ApiError, GoneError


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str
    next_page: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str
    name: str = ""
    namespace: str = ""


class _Key(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _Key


class _Head(msgspec.Struct):
    metadata: _Meta


class _Failure(msgspec.Struct):
    code: int = 0
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: objects as octets, the version of the whole list, and where it goes on ("" at its end)."""

    items: tuple[bytes, ...]
    resource_version: str
    next_page: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """What a watch told. ``octets`` hold the object, as it was last when it is DELETED; a BOOKMARK brings a version only."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    namespace: str
    name: str
    resource_version: str
    octets: bytes


_LIST = msgspec.json.Decoder(_List)
_EVENT = msgspec.json.Decoder(_Event)
_HEAD = msgspec.json.Decoder(_Head)
_NAMED = msgspec.json.Decoder(_Named)
_FAILURE = msgspec.json.Decoder(_Failure)
_BAD = (msgspec.MsgspecError, UnicodeDecodeError)


def decode_page(octets: bytes) -> Page:
    """The answer to a list. ApiError when it is none, or when one of its items has no name."""
    try:
        page = _LIST.decode(octets)
        for item in page.items or ():
            _NAMED.decode(item)
    except _BAD as err:
        raise ApiError(0, f"the API server answered with something that is not a list: {err}") from err
    return Page(tuple(bytes(item) for item in page.items or ()), page.metadata.resource_version, page.metadata.next_page)


def decode_key(octets: bytes) -> tuple[str, str]:
    """Namespace and name of an object. ApiError when it has none."""
    try:
        key = _NAMED.decode(octets).metadata
    except _BAD as err:
        raise ApiError(0, f"the API server sent an object without a name: {err}") from err
    return key.namespace, key.name


class WatchDecoder:
    """The events of one watch: one JSON object a line."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[WatchEvent]:
        """The events that ``chunk`` completes. GoneError and ApiError when the server reports one; ApiError for what is no event."""
        self._rest += chunk
        if b"\n" not in chunk:
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return [_decode_event(line) for line in lines if line.strip()]


def _decode_event(line: bytes) -> WatchEvent:
    try:
        event = _EVENT.decode(line)
        octets = bytes(event.object)
        match event.type:
            case "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK":
                meta = _HEAD.decode(octets).metadata
                if event.type != "BOOKMARK":
                    _NAMED.decode(octets)
                return WatchEvent(event.type, meta.namespace, meta.name, meta.resource_version, octets)
            case "ERROR":
                failure = _FAILURE.decode(octets)
            case _:
                raise ApiError(0, f"the API server sent a watch event of the unknown type {event.type!r}")
    except _BAD as err:
        raise ApiError(0, f"the API server sent something that is not a watch event: {err}") from err
    said = f"watch: {failure.reason}: {failure.message}"
    raise GoneError(410, said) if failure.code == 410 else ApiError(failure.code, said)
