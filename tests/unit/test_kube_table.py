"""The objects of one resource: bad ones keep their last good state, refusals are told, what makes no difference is not."""

import json

from l2announce.errors import ApiError
from l2announce.kube.reflector import Listed
from l2announce.kube.table import Table
from l2announce.kube.watch import WatchEvent
from l2announce.model.objects import Node, ObjectProblem
from l2announce.wire import schema
from l2announce.wire.fields import FieldProblem, decode
from l2announce.wire.objects import Decoded, decode_node


def node(name: str, **labels: object) -> bytes:
    return json.dumps({"metadata": {"name": name, "labels": labels}}).encode()


def event(kind: str, octets: bytes) -> WatchEvent:
    name = json.loads(octets)["metadata"]["name"]
    return WatchEvent(kind, "", name, "1", octets)  # type: ignore[arg-type]


def nodes() -> Table[Node]:
    return Table("Node", lambda octets: decode_node(decode(octets, schema.Node)))


def test_list_replaces_what_was_known() -> None:
    table = nodes()
    assert not table.is_complete
    assert table.apply(Listed((node("n1"), node("n2", zone="a"))))
    assert table.is_complete
    assert table.values == {("", "n1"): Node("n1"), ("", "n2"): Node("n2", {"zone": "a"})}
    assert table.apply(Listed((node("n2", zone="b"),)))
    assert table.values == {("", "n2"): Node("n2", {"zone": "b"})}


def test_what_makes_no_difference_is_not_told() -> None:
    table = nodes()
    assert table.apply(Listed(())), "the first list does, even an empty one"
    assert not table.apply(Listed(()))
    assert table.apply(event("ADDED", node("n1")))
    assert not table.apply(event("MODIFIED", node("n1")))
    assert not table.apply(Listed((node("n1"),)))
    assert table.apply(event("DELETED", node("n1")))
    assert not table.apply(event("DELETED", node("n1")))


def test_bad_object_keeps_its_last_good_state() -> None:
    table = nodes()
    table.apply(Listed((node("n1", zone="a"), node("n2"))))
    assert table.apply(event("MODIFIED", node("n1", zone=7)))
    assert table.values["", "n1"] == Node("n1", {"zone": "a"})
    assert table.problems() == (
        ObjectProblem(
            "node/n1",
            "BadField",
            "metadata.labels.zone: Expected str, got int (7); put it in quotes; its last good state, if any, stays in force",
        ),
    )
    assert not table.apply(event("MODIFIED", node("n1", zone=7))), "told once"
    assert table.apply(event("MODIFIED", node("n1", zone="b")))
    assert table.problems() == ()
    assert table.values["", "n1"] == Node("n1", {"zone": "b"})


def test_bad_object_that_never_was_good_is_told_and_absent() -> None:
    table = nodes()
    assert table.apply(Listed((node("n1", zone=7), node("n2"))))
    assert list(table.values) == [("", "n2")]
    assert [problem.subject for problem in table.problems()] == ["node/n1"]
    assert table.apply(event("DELETED", node("n1")))
    assert table.problems() == ()


def test_bad_object_that_is_no_longer_listed_is_forgotten() -> None:
    table = nodes()
    table.apply(Listed((node("n1", zone=7),)))
    assert table.apply(Listed(()))
    assert table.problems() == ()


def test_problems_of_a_usable_object_are_told_by_path() -> None:
    def decode_in_part(octets: bytes) -> Decoded[Node]:
        decoded = decode_node(decode(octets, schema.Node))
        return Decoded(decoded.key, decoded.value, (FieldProblem(("metadata", "labels", "a.b/c"), "BadLabel", "not used"),))

    table = Table("Node", decode_in_part)
    assert table.apply(Listed((node("n1"),)))
    assert table.values == {("", "n1"): Node("n1")}
    assert table.problems() == (ObjectProblem("node/n1", "BadLabel", 'metadata.labels["a.b/c"]: not used'),)


def test_refused_resource_counts_as_known_and_names_the_right() -> None:
    table = nodes()
    assert table.fail(ApiError(403, 'HTTP 403 Forbidden: User "n1" cannot list resource "nodes"'))
    assert table.is_complete
    assert table.problems() == (
        ObjectProblem("node", "Forbidden", 'HTTP 403 Forbidden: User "n1" cannot list resource "nodes"; grant list and watch on Node'),
    )
    assert table.fail(None)
    assert table.problems() == ()


def test_unreachable_resource_is_waited_for_and_what_was_known_stays() -> None:
    table = nodes()
    assert table.fail(ApiError(0, "no connection"))
    assert not table.is_complete
    table.apply(Listed((node("n1"),)))
    assert not table.fail(ApiError(0, "no connection")), "told once"
    for code in (0, 401, 403, 404, 500):
        table.fail(ApiError(code, "away"))
        assert list(table.values) == [("", "n1")]


def test_cleared_table_knows_nothing_and_is_complete() -> None:
    table = nodes()
    assert table.clear(), "it was not complete before"
    assert not table.clear()
    table.apply(Listed((node("n1"), node("n2", zone=7))))
    table.fail(ApiError(500, "away"))
    assert table.clear()
    assert (table.values, table.problems(), table.is_complete) == ({}, (), True)
