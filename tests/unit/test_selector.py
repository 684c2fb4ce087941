"""Label selectors: Kubernetes' matching, validation and text grammar."""

import pytest

from l2announce.model.objects import LabelSelector, Requirement
from l2announce.model.selector import check, matches, parse_selector

LABELS = {"app": "web", "tier": "front", "empty": "", "cpu": "8"}


def expression(key: str, operator: str, *values: str) -> LabelSelector:
    return LabelSelector(match_expressions=(Requirement(key, operator, values),))


@pytest.mark.parametrize("selector", [None, LabelSelector()])
def test_no_requirement_matches_everything(selector: LabelSelector | None) -> None:
    assert matches(selector, LABELS)
    assert matches(selector, {})
    assert check(selector) is None


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (LabelSelector(match_labels=(("app", "web"),)), True),
        (LabelSelector(match_labels=(("app", "web"), ("tier", "back"))), False),
        (LabelSelector(match_labels=(("missing", ""),)), False),
        (expression("app", "In", "db", "web"), True),
        (expression("app", "In", "db"), False),
        (expression("missing", "In", "db"), False),
        (expression("app", "NotIn", "db"), True),
        (expression("app", "NotIn", "db", "web"), False),
        (expression("missing", "NotIn", "db"), True),
        (expression("empty", "Exists"), True),
        (expression("missing", "Exists"), False),
        (expression("empty", "DoesNotExist"), False),
        (expression("missing", "DoesNotExist"), True),
        (LabelSelector((("app", "web"),), (Requirement("tier", "In", ("back",)),)), False),
    ],
)
def test_matches(selector: LabelSelector, expected: bool) -> None:
    assert check(selector) is None
    assert matches(selector, LABELS) is expected


@pytest.mark.parametrize(
    ("selector", "sentence"),
    [
        (LabelSelector(match_labels=(("", "x"),)), "matchLabels: '' is not a label key"),
        (LabelSelector(match_labels=(("a" * 64, "x"),)), "is not a label key: its name must be"),
        (LabelSelector(match_labels=(("-a", "x"),)), "'-a' is not a label key"),
        (LabelSelector(match_labels=(("a\n", "x"),)), r"'a\n' is not a label key"),
        (LabelSelector(match_labels=(("/a", "x"),)), "the part before the slash must be a DNS subdomain"),
        (LabelSelector(match_labels=(("Upper.io/a", "x"),)), "'Upper.io/a' is not a label key: the part before"),
        (LabelSelector(match_labels=(("a/b/c", "x"),)), "'a/b/c' is not a label key"),
        (LabelSelector(match_labels=((f"{'a' * 254}/b", "x"),)), "at most 253 characters"),
        (LabelSelector(match_labels=(("a", "b c"),)), "matchLabels: 'b c' is not a label value"),
        (LabelSelector(match_labels=(("a", "b" * 64),)), "is not a label value: it must be empty or at most 63"),
        (LabelSelector((("a", "b"),), (Requirement("a", "Exists"), Requirement("b", "in", ("c",)))), "matchExpressions[1]: operator 'in'"),
        (expression("a", "Gt", "1"), "operator 'Gt' of key 'a' is unknown; use In, NotIn, Exists or DoesNotExist"),
        (expression("a", "In"), "operator In of key 'a' needs at least one value"),
        (expression("a", "NotIn"), "operator NotIn of key 'a' needs at least one value"),
        (expression("a", "Exists", "b"), "operator Exists of key 'a' takes no values; remove 'b'"),
        (expression("a", "DoesNotExist", "b", "c"), "takes no values; remove 'b', 'c'"),
        (expression("a", "In", "ok", "_"), "'_' is not a label value"),
        (expression("!", "Exists"), "'!' is not a label key"),
    ],
)
def test_check_names_what_is_wrong(selector: LabelSelector, sentence: str) -> None:
    assert sentence in str(check(selector))


@pytest.mark.parametrize("key", ["a", "A.b_c-d", "example.com/name", "io.kubernetes.service.namespace", f"{'a' * 63}.b/{'n' * 63}"])
def test_check_accepts_kubernetes_keys(key: str) -> None:
    assert check(expression(key, "In", "", "v", "V-1_2.3", "v" * 63)) is None


def test_an_unchecked_operator_matches_nothing() -> None:
    assert not matches(expression("app", "Equals", "web"), LABELS)
    assert not matches(expression("cpu", "Gt"), LABELS)


@pytest.mark.parametrize(
    ("text", "requirements"),
    [
        ("", []),
        (" \t\r\n", []),
        ("a", [("a", "Exists", ())]),
        ("!a", [("a", "DoesNotExist", ())]),
        ("! a , b", [("a", "DoesNotExist", ()), ("b", "Exists", ())]),
        ("a=b", [("a", "In", ("b",))]),
        ("a==b", [("a", "In", ("b",))]),
        ("a = b", [("a", "In", ("b",))]),
        ("a!=b", [("a", "NotIn", ("b",))]),
        ("a=", [("a", "In", ("",))]),
        ("a=,b", [("a", "In", ("",)), ("b", "Exists", ())]),
        ("a>1,b<22", [("a", "Gt", ("1",)), ("b", "Lt", ("22",))]),
        ("a=b,c in (d,e),!f", [("a", "In", ("b",)), ("c", "In", ("d", "e")), ("f", "DoesNotExist", ())]),
        ("c notin( d , e )", [("c", "NotIn", ("d", "e"))]),
        ("c in (,)", [("c", "In", ("", ""))]),
        ("c in (d,)", [("c", "In", ("d", ""))]),
        ("c in (,d,,e)", [("c", "In", ("", "d", "", "e"))]),
        ("in in (in,notin)", [("in", "In", ("in", "notin"))]),
        ("notin", [("notin", "Exists", ())]),
        ("service.cilium.io/node in ( t1 , t1-t2 )", [("service.cilium.io/node", "In", ("t1", "t1-t2"))]),
    ],
)
def test_parse_selector(text: str, requirements: list[tuple[str, str, tuple[str, ...]]]) -> None:
    assert parse_selector(text) == LabelSelector(match_expressions=tuple(Requirement(*each) for each in requirements))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (",", "found ',' where a label key or '!' is expected"),
        ("a,", "found the end where a label key or '!' is expected"),
        ("a,,b", "found ',' where a label key or '!' is expected"),
        ("!", "found the end where a label key is expected"),
        ("!a=b", "found '=' where ',' or the end is expected"),
        ("!!a", "found '!' where a label key is expected"),
        ("a b", "found 'b' where =, ==, !=, in, notin, > or < is expected"),
        ("a=b c", "found 'c' where ',' or the end is expected"),
        ("a===b", "found '=' where a value is expected"),
        ("a in b", "found 'b' where '(' is expected"),
        ("a in", "found the end where '(' is expected"),
        ("a in (", "found the end where a value is expected"),
        ("a in (b", "found the end where ',' or ')' is expected"),
        ("a in (b c)", "found 'c' where ',' or ')' is expected"),
        ("a in ()", "operator In of key 'a' needs at least one value"),
        ("a in (!b)", "found '!' where a value is expected"),
        ("a In (b)", "found 'In' where"),
        ("a>b", "key 'a' is compared with 'b', which is not an integer"),
        ("a<", "key 'a' is compared with '', which is not an integer"),
        ("a>²", "which is not an integer"),
        ("a>9223372036854775808", "which is not an integer"),
        ("a/b/c=d", "'a/b/c' is not a label key"),
        ("a=b\u00a0", "is not a label value"),
        ("a=-1", "'-1' is not a label value"),
    ],
)
def test_parse_selector_refuses(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^selector ") as caught:
        parse_selector(text)
    assert sentence in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu>7", True),
        ("cpu>8", False),
        ("cpu<9", True),
        ("cpu<8", False),
        ("app>1", False),
        ("missing>1", False),
        ("missing<1", False),
        ("app=web,!missing", True),
        ("empty=", True),
        ("missing=", False),
    ],
)
def test_parsed_selectors_match(text: str, expected: bool) -> None:
    assert matches(parse_selector(text), LABELS) is expected
