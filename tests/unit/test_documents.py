"""The text of manifests: YAML and JSON with the line of every field, and text that is neither, or is made to overrun the reader."""

import gc
import json
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from l2announce.manifests.documents import DEEPEST, MOST, TextError, read_documents


def values(text: str | bytes, *, is_json: bool = False) -> list[object]:
    data = text if isinstance(text, bytes) else text.encode()
    return [document.value for document in read_documents(data, is_json=is_json)]


def error_of(text: str | bytes, *, is_json: bool = False) -> TextError:
    with pytest.raises(TextError) as caught:
        values(text, is_json=is_json)
    return caught.value


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a comment\n", "---\n", "---\n---\n# x\n---\n~\n", "null\n", "\ufeff"])
def test_empty_documents_are_left_out(text: str) -> None:
    assert values(text) == []


def test_several_documents_in_their_order() -> None:
    assert values("---\na: 1\n---\n# empty\n---\nb: [x, 2.5, true, ~]\n...\n") == [{"a": 1}, {"b": ["x", 2.5, True, None]}]


def test_a_byte_order_mark_and_windows_line_ends_are_no_harm() -> None:
    (document,) = read_documents("\ufeffa: 1\r\nb:\r\n  c: 2\r\n".encode())
    assert document.value == {"a": 1, "b": {"c": 2}}
    assert document.line_of(("b", "c")) == 3


def test_lines_of_fields() -> None:
    text = "# comment\n---\na: 1\n---\nkind: x\nspec:\n  list:\n  - one\n  - two: 2\n    three: [3,\n      4]\n"
    first, second = read_documents(text.encode())
    assert (first.line, second.line) == (3, 5)
    assert [
        second.line_of(path)
        for path in [(), ("kind",), ("spec",), ("spec", "list", 0), ("spec", "list", 1, "three"), ("spec", "list", 1, "three", 1)]
    ] == [5, 5, 6, 8, 10, 11]


def test_the_line_of_what_is_not_there_is_its_nearest_parent_s() -> None:
    (document,) = read_documents(b"a:\n  b:\n  - c\n")
    assert document.line_of(("a", "x", "y")) == 1
    assert document.line_of(("a", "b", 7)) == 2
    assert document.line_of(("a", "b", "word")) == 2
    assert document.line_of(("a", "b", 0, "deeper")) == 3


def test_merged_keys_have_the_line_of_the_one_that_counts() -> None:
    (document,) = read_documents(b"base: &base\n  a: 1\n  b: 2\nuse:\n  <<: *base\n  b: 3\n")
    assert document.value["use"] == {"a": 1, "b": 3}
    assert document.line_of(("use", "a")) == 2
    assert document.line_of(("use", "b")) == 6


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: [1,\nc: 2\n", 3, "is not YAML: did not find expected ',' or ']'; correct the syntax"),
        ("a: 1\n\tb: 2\n", 2, "is not YAML: found a tab character that violates indentation; correct the syntax"),
        ("a: *x\n", 1, "is not YAML: found undefined alias; correct the syntax"),
        ("a: 1\n---\nb: 2\nb: 3\n", 4, "has the key 'b' a second time in one mapping; remove one of the two"),
        ("a: !!python/object/apply:os.system [x]\n", 1, "could not determine a constructor for the tag"),
        ("a:\n  <<: 3\n", 2, "expected a mapping or list of mappings for merging"),
        ("a: 1\nb: x\x07y\n", 2, "is not YAML: control characters are not allowed; remove the character"),
        ("ä: 1\nb: x\x00y\n", 2, "is not YAML: control characters are not allowed; remove the character"),
        ("a: 1\n? [b]\n: 3\n", 2, "is not YAML: found unhashable key; correct the syntax"),
    ],
)
def test_what_is_not_yaml_is_told_by_its_line(text: str, line: int, message: str) -> None:
    error = error_of(text)
    assert error.line == line
    assert message in error.message
    assert str(error) == f"line {line}: {error.message}"


@pytest.mark.parametrize(("data", "line"), [(b"a: 1\nb: \xff\n", 2), ("a: ä\n".encode("latin-1"), 1), ("a: 1\n".encode("utf-16"), 1)])
def test_what_is_not_utf_8_is_told_by_its_line(data: bytes, line: int) -> None:
    error = error_of(data)
    assert (error.line, error.message) == (line, "is not UTF-8 text; save the file as UTF-8")


@pytest.mark.parametrize(
    ("scalar", "kind"),
    [
        ("2024-13-01", "timestamp"),
        ("2001-01-01T00:00:00+99:99", "timestamp"),
        ("!!timestamp tomorrow", "timestamp"),
        ("!!int ''", "int"),
        ("!!int many", "int"),
        ("9" * 5000, "int"),
        ("!!float ''", "float"),
        (f"{'1:' * 200}1.0", "float"),
        ("!!bool perhaps", "bool"),
    ],
)
def test_a_scalar_that_cannot_be_of_its_type_is_told_by_its_line(scalar: str, kind: str) -> None:
    error = error_of(f"a: 1\nb:\n- {scalar}\n")
    assert error.line == 3
    assert error.message.endswith(f"in the place of a value of type {kind}; put it in quotes")
    assert len(error.message) < 120


def test_the_same_key_may_be_there_once_in_each_mapping() -> None:
    assert values("a: {b: 1}\nc: {b: 1}\n") == [{"a": {"b": 1}, "c": {"b": 1}}]
    assert values("x: &x {a: 1}\ny: &y {b: 1}\nz: {<<: *x, c: 1}\nw: {<<: [*x, *y]}\n")[0]["w"] == {"a": 1, "b": 1}  # type: ignore[index]


def test_a_key_said_twice_is_found_anywhere() -> None:
    assert error_of("a:\n- b:\n    c: 1\n    d: 2\n    c: 3\n").line == 5


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_nesting_has_a_bottom(opening: str) -> None:
    fits, closing = opening * DEEPEST, {"[": "]", "{a: ": "}", "- ": ""}[opening]
    assert len(values(f"{fits}x{closing * DEEPEST}\n")) == 1
    message = f"is nested more than {DEEPEST} levels deep; flatten it"
    assert error_of(f"\n{fits}{opening}x{closing * (DEEPEST + 1)}\n").message == message
    assert error_of(opening * 200_000).message == message  # far beyond what libyaml's recursion survives


def test_nesting_by_aliases_has_the_same_bottom() -> None:
    chain = "- &a0 [x]\n" + "".join(f"- &a{i} [*a{i - 1}]\n" for i in range(1, 5000))
    assert error_of(chain).message == f"is nested more than {DEEPEST} levels deep; flatten it"


def test_a_chain_of_merges_does_not_overrun_the_stack() -> None:
    chain = "z:\n  a0: &a0 {k: v}\n" + "".join(f"  a{i}: &a{i} {{<<: *a{i - 1}}}\n" for i in range(1, 5000)) + "  <<: *a4999\n"
    assert error_of(chain).message == f"is nested more than {DEEPEST} levels deep; flatten it"


@pytest.mark.parametrize("text", ["&a [*a]\n", "a: &a {b: *a}\n", "a: &a {<<: *a}\n"])
def test_a_value_that_contains_itself(text: str) -> None:
    assert error_of(text).message == "contains itself through an alias; write the value out"


@pytest.mark.parametrize(
    "lines",
    [
        ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)],
        ["a0: &a0 {k: v}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 10)],
    ],
    ids=["lists", "merges"],
)
def test_few_lines_that_stand_for_billions_of_values(lines: list[str]) -> None:
    before = time.monotonic()
    error = error_of("\n".join(lines))
    assert time.monotonic() - before < 30
    assert error.message == f"has the file stand for more than {MOST:,} values; use fewer aliases, or split the file"


def test_the_bound_on_values_is_one_for_all_documents_of_a_file() -> None:
    bomb = "\n".join(["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 6)])
    assert len(values(bomb)) == 1
    assert "stand for more than" in error_of("\n---\n".join([bomb] * 20)).message


def test_json() -> None:
    text = '{\n\t"kind": "List",\n\t"items": [\t{"a": "x\\ty", "b": "\\u00e4 \\ud83d\\ude00 \\\\ud83d\\\\ude00 \\/"}]\n}\n'
    assert values(text, is_json=True) == [json.loads(text)]
    (document,) = read_documents(text.encode(), is_json=True)
    assert document.line_of(("items", 0, "b")) == 3


def test_broken_json_is_told_by_its_line() -> None:
    assert error_of('{\n"a": 1,\n"b": \n', is_json=True).line >= 3


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(_JSON.filter(lambda value: value is not None), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_every_json_text_is_read_as_json_reads_it(value: object, indent: int | str | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    if any(0x7F <= ord(char) < 0xA0 or ord(char) in (0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF) for char in text):
        return  # characters that YAML wants escaped, and json.dumps does not escape
    assert values(text, is_json=True) == [value]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="ab:-?*&!<>[]{}'\"|%@`#, \n\t~=.01", max_size=80).map(str.encode))
def test_any_octets_give_documents_or_a_text_error(data: bytes) -> None:
    lines = data.count(b"\n") + data.count(b"\r") + 2
    try:
        found = [document.line for document in read_documents(data)]
    except TextError as err:
        found = [err.line]
    assert all(1 <= line <= lines for line in found)


def test_reading_leaves_no_reference_cycles_of_nodes_behind() -> None:
    gc.collect()
    before = sum(isinstance(thing, yaml.Node) for thing in gc.get_objects())
    values("a: {b: [1, 2]}\n---\nc: &c {d: e}\nf: {<<: *c}\n")
    gc.collect()
    assert sum(isinstance(thing, yaml.Node) for thing in gc.get_objects()) == before
