"""An object of the API server straight from its octets: what is wrong with it is told by path."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2announce.wire import schema
from l2announce.wire.fields import ObjectError, decode


def test_unknown_fields_are_ignored_and_null_counts_as_absent() -> None:
    service = decode(b'{"kind":"Service","metadata":{"name":"web","uid":"1","x":[1]},"spec":null,"status":{"later":{}}}', schema.Service)
    assert service.metadata.name == "web"
    assert service.spec is None


@pytest.mark.parametrize(
    ("octets", "field", "message"),
    [
        (b'{"metadata":{"name":7}}', "metadata.name", "Expected str | null, got int (7); put it in quotes"),
        (b'{"metadata":{"labels":{"a.b/c":true}}}', 'metadata.labels["a.b/c"]', "Expected str, got bool (true); put it in quotes"),
        (b'{"spec":{"externalIPs":"192.0.2.1"}}', "spec.externalIPs", "Expected array | null, got str ('192.0.2.1'); write a list"),
        (b'{"spec":{"ports":[{"port":80},{"port":"http"}]}}', "spec.ports[1].port", "Expected int, got str ('http')"),
        (b'{"spec":{"ports":[{}]}}', "spec.ports[0]", "missing required field port; add it"),
        (b"[]", "", "Expected object, got array; write a mapping"),
    ],
)
def test_wrong_types_are_told_by_path(octets: bytes, field: str, message: str) -> None:
    with pytest.raises(ObjectError) as raised:
        decode(octets, schema.Service)
    assert raised.value.problem.field == field
    assert message in raised.value.problem.message


@pytest.mark.parametrize("octets", [b"", b"{", b"<html>", b"0\x00", b'{"metadata":{"name":"\xff"}}'])
def test_what_is_not_json_is_told(octets: bytes) -> None:
    with pytest.raises(ObjectError, match=r"not JSON: .*; look at what sent it") as raised:
        decode(octets, schema.Service)
    assert raised.value.problem.reason == "NotJSON"


@given(st.binary(max_size=80))
def test_any_octets_give_an_object_or_an_object_error(octets: bytes) -> None:
    with suppress(ObjectError):
        assert isinstance(decode(octets, schema.Service), schema.Service)
