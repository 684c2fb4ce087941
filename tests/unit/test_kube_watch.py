"""The octets of lists and watches: cut anywhere, with errors, bookmarks and garbage in them."""

import json
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2announce.errors import ApiError, GoneError
from l2announce.kube.watch import Page, WatchDecoder, WatchEvent, decode_key, decode_page

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
TYPES = st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"])


def line(kind: str, name: str = "web", namespace: str = "default", version: str = "7") -> bytes:
    metadata = {"name": name, "namespace": namespace, "resourceVersion": version}
    return json.dumps({"type": kind, "object": {"kind": "Service", "metadata": metadata}}).encode() + b"\n"


def failure(code: int, reason: str, message: str) -> bytes:
    return json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": code, "reason": reason, "message": message}}).encode() + b"\n"


# -- events


@given(st.lists(st.tuples(TYPES, NAMES, NAMES, st.integers(1, 10**12))), st.lists(st.integers(min_value=0)))
def test_events_are_the_same_wherever_their_octets_are_cut(events: list[tuple[str, str, str, int]], cuts: list[int]) -> None:
    octets = b"".join(line(kind, name, namespace, str(version)) for kind, name, namespace, version in events)
    places = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    decoder = WatchDecoder()
    came = [event for start, end in pairwise(places) for event in decoder.feed(octets[start:end])]
    assert [(event.type, event.name, event.namespace, int(event.resource_version)) for event in came] == events


def test_event_holds_the_object_as_it_was_sent() -> None:
    [event] = WatchDecoder().feed(b'{"type":"ADDED","object": {"metadata":{"name":"n1","resourceVersion":"9"}, "x":[1, 2]} }\n')
    assert event == WatchEvent("ADDED", "", "n1", "9", b'{"metadata":{"name":"n1","resourceVersion":"9"}, "x":[1, 2]}')


def test_nothing_is_told_before_the_line_ends() -> None:
    decoder = WatchDecoder()
    assert decoder.feed(line("ADDED")[:-1]) == []
    assert [event.name for event in decoder.feed(b"\n")] == ["web"]


def test_empty_lines_between_events_mean_nothing() -> None:
    assert [event.name for event in WatchDecoder().feed(b"\r\n\n" + line("ADDED", "a") + b"\n" + line("ADDED", "b"))] == ["a", "b"]


def test_bookmark_brings_its_version() -> None:
    [event] = WatchDecoder().feed(b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12"}}}\n')
    assert (event.type, event.resource_version) == ("BOOKMARK", "12")


def test_error_410_means_list_again() -> None:
    with pytest.raises(GoneError, match="watch: Expired: too old resource version: 1 \\(20\\)") as raised:
        WatchDecoder().feed(failure(410, "Expired", "too old resource version: 1 (20)"))
    assert raised.value.code == 410


def test_other_errors_carry_their_code() -> None:
    with pytest.raises(ApiError, match="watch: InternalError: etcd is away") as raised:
        WatchDecoder().feed(failure(500, "InternalError", "etcd is away"))
    assert raised.value.code == 500
    assert not isinstance(raised.value, GoneError)


@pytest.mark.parametrize(
    "octets",
    [
        b"<html>\n",
        b"[]\n",
        b'"ADDED"\n',
        b'{"type":"ADDED"}\n',
        b'{"type":"ADDED","object":7}\n',
        b'{"type":"ADDED","object":{}}\n',
        b'{"type":"ADDED","object":{"metadata":{"name":3}}}\n',
        b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"1"}}}\n',
        b'{"type":"\xff","object":{}}\n',
        b'{"type":"ADDED","object":{"metadata":{"name":"\xff","resourceVersion":"1"}}}\n',
        b'{"type":"ERROR","object":[]}\n',
    ],
)
def test_garbage_is_an_api_error_and_nothing_else(octets: bytes) -> None:
    with pytest.raises(ApiError, match="the API server sent something that is not a watch event"):
        WatchDecoder().feed(octets)


def test_unknown_type_of_event_is_named() -> None:
    with pytest.raises(ApiError, match="unknown type 'SYNC'"):
        WatchDecoder().feed(b'{"type":"SYNC","object":{"metadata":{"name":"a"}}}\n')


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_any_octets_give_events_or_an_api_error(chunks: list[bytes]) -> None:
    decoder = WatchDecoder()
    with suppress(ApiError):
        for chunk in chunks:
            assert all(isinstance(event, WatchEvent) for event in decoder.feed(chunk))


# -- pages


def test_page_has_items_version_and_where_it_goes_on() -> None:
    page = decode_page(
        b'{"metadata":{"resourceVersion":"5","continue":"tok"},"items":[{"metadata":{"name":"a"}}, {"metadata":{"name":"b"}}]}'
    )
    assert page.items == (b'{"metadata":{"name":"a"}}', b'{"metadata":{"name":"b"}}')
    assert (page.resource_version, page.next_page) == ("5", "tok")


@pytest.mark.parametrize("items", [b"[]", b"null"])
def test_page_may_be_empty(items: bytes) -> None:
    assert decode_page(b'{"metadata":{"resourceVersion":"5"},"items":%s}' % items).items == ()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"ok",
        b"{}",
        b'{"metadata":{"resourceVersion":"1"},"items":{}}',
        b'{"metadata":{"resourceVersion":"1"},"items":[{}]}',
        b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{}}]}',
        b'{"metadata":{"resourceVersion":"\xff"}}',
        b'{"metadata":{},"items":[]}',
    ],
)
def test_what_is_not_a_list_is_an_api_error(octets: bytes) -> None:
    with pytest.raises(ApiError, match="the API server answered with something that is not a list"):
        decode_page(octets)


@given(st.binary(max_size=64))
def test_any_octets_give_a_page_or_an_api_error(octets: bytes) -> None:
    with suppress(ApiError):
        assert isinstance(decode_page(octets), Page)


def test_key_of_an_object() -> None:
    assert decode_key(b'{"metadata":{"name":"web","namespace":"shop"}}') == ("shop", "web")
    assert decode_key(b'{"metadata":{"name":"n1"}}') == ("", "n1")


@pytest.mark.parametrize("octets", [b"", b"{}", b'{"metadata":{}}', b'{"metadata":{"name":"\xff"}}'])
def test_object_without_a_name_is_an_api_error(octets: bytes) -> None:
    with pytest.raises(ApiError, match="the API server sent an object without a name"):
        decode_key(octets)
