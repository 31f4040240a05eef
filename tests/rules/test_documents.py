"""YAML without its surprises."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadConfiguration
from gateway.rules import documents
from gateway.rules.documents import dotted, read, showable


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers of PyYAML: which one is there depends on how it was built."""
    if not hasattr(yaml, request.param):
        pytest.skip(f"PyYAML was built without {request.param}")
    monkeypatch.setattr(documents, "_LOADER", getattr(yaml, request.param))


def tree_of(text: str) -> documents.Tree:
    return read(text.encode(), "r.yaml")


def said_of(text: str | bytes) -> list[str]:
    """Every problem, whether it ended the reading or not."""
    try:
        return [str(problem) for problem in read(text if isinstance(text, bytes) else text.encode(), "r.yaml").problems]
    except BadConfiguration as refused:
        return [str(problem) for problem in refused.problems]


@pytest.mark.parametrize(
    "scalar",
    ["18:00", "NO", "yes", "1.10", "+8210", "null", "~", "0x1F", "1e3", "2026-01-05", "-1001234", "true", ".inf"],
)
def test_a_plain_scalar_stays_what_was_written(scalar: str) -> None:
    assert tree_of(f"a: {scalar}").value == {"a": scalar}


def test_an_empty_value_is_none_and_an_empty_quote_is_text() -> None:
    assert tree_of("a:\nb: ''\nc: \"\"\nd: [x, ]").value == {"a": None, "b": "", "c": "", "d": ["x"]}


def test_quotes_blocks_lists_and_mappings_are_read() -> None:
    tree = tree_of("a: '1'\nb: |\n  two\n  lines\nc: [x, {y: z}]\nd:\n  - e: f\n")
    assert tree.value == {"a": "1", "b": "two\nlines\n", "c": ["x", {"y": "z"}], "d": [{"e": "f"}]}


def test_every_key_and_item_has_its_line() -> None:
    tree = tree_of("a: 1\nb:\n  c:\n    - x\n    - y: 1\n      z: 2\n")
    assert tree.line(("a",)) == 1
    assert tree.line(("b",)) == 2
    assert tree.line(("b", "c")) == 3
    assert tree.line(("b", "c", 0)) == 4
    assert tree.line(("b", "c", 1, "z")) == 6


def test_a_place_that_was_not_written_has_the_line_of_what_holds_it() -> None:
    tree = tree_of("a: 1\nb:\n  c: 1\n")
    assert tree.line(("b", "missing", 3)) == 2
    assert tree.line(("nothing",)) == 1


def test_a_byte_order_mark_is_no_text() -> None:
    assert read(b"\xef\xbb\xbfa: 1", "r.yaml").value == {"a": "1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: *x", "r.yaml:1: a: a text that begins with '*' or '&' is an alias or anchor"),
        ("b: 1\na: &x 1", "r.yaml:2: a: a text that begins with '*' or '&' is an alias or anchor"),
        ("a: &x [1]", "r.yaml:1: a: a text that begins with '*' or '&' is an alias or anchor"),
        ("a: !!python/object:os.system x", "r.yaml:1: a: a text that begins with '!' is a tag"),
        ("a: !secret", "r.yaml:1: a: a text that begins with '!' is a tag"),
        ("a: !!str 1", "r.yaml:1: a: a text that begins with '!' is a tag"),
        ("a: !foo!bar 1", "r.yaml:1: a text that begins with '!' is a tag"),
        ("a: 1\nb: 2\na: 3", "r.yaml:3: a: is said twice, first in line 1; keep one of them"),
        ("s:\n  <<: {a: 1}", "r.yaml:2: s: merge keys ('<<') are not read"),
        ("? [a]\n: b", "r.yaml:1: a key must be a word"),
        ("a: {{b: c}: d}", "r.yaml:1: a: a key must be a word"),
        ("*x : 1", "r.yaml:1: ?: a text that begins with '*' or '&'"),
        ("a: 1\n---\nb: 2", "r.yaml:2: a second document begins here"),
    ],
)
def test_what_makes_yaml_dangerous_is_refused(text: str, said: str) -> None:
    assert [line[: len(said)] for line in said_of(text)] == [said]


def test_what_can_be_read_beside_a_fault_is_read() -> None:
    tree = tree_of("a: &x 1\nb: {c: 2, c: 3}\n<<: 4\nd: *x\n")
    assert tree.value == {"a": "1", "b": {"c": "2"}, "d": None}
    assert [problem.line for problem in tree.problems] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "r.yaml:1: the file is empty"),
        ("# only a comment\n", "r.yaml:1: the file is empty"),
        ("---\n", "r.yaml:1: the file is empty"),
        ("- a\n- b", "r.yaml:1: the file must be a mapping"),
        ("hello", "r.yaml:1: the file must be a mapping"),
        ("a: b: c", "r.yaml:1: a ':' stands where none can"),
        ("a: [1, 2\nb: 3", "r.yaml:2: the '[' is not closed, or a comma is missing (it began in line 1)"),
        ("a: {b: ${X}}", "r.yaml:1: the '{' is not closed, a comma is missing, or a text with ${…} inside { }"),
        ("a: @x", "r.yaml:1: begins with what YAML reserves"),
        ("a:\n\tb: 1", "r.yaml:2: begins with what YAML reserves"),
        ('a: "x\\q"', "r.yaml:1: inside double quotes a backslash begins an escape"),
        ("b: 1\na: 'x", "r.yaml:2: a quote is opened and never closed"),
        ("a: - b", "r.yaml:1: a list cannot begin here"),
        ("a:\n  - x\n y: 1", "r.yaml:3: the indentation does not fit the lines above"),
        ("a: >x\n b", "r.yaml:1: the file cannot be read as YAML"),
        (b"a: 1\nb: \xff", "r.yaml:2: is not UTF-8; save the file as UTF-8"),
        (b"a: 1\nb: \x00", "r.yaml:2: holds the control character U+0000; remove it"),
        ("[" * 100, "r.yaml:1: is nested deeper than 20 levels"),
        (b"a: " + b"x" * documents.LARGEST, "r.yaml: the file is over 1 MiB"),
    ],
)
def test_what_cannot_be_read_at_all_says_where_and_what_to_do(text: str | bytes, said: str) -> None:
    assert [line[: len(said)] for line in said_of(text)] == [said]


def test_a_fault_before_the_end_is_said_beside_the_syntax_error() -> None:
    assert len(said_of("a: &x 1\nb: [")) == 2
    assert len(said_of("a: &x " + "[" * 30)) == 2
    assert len(said_of("&x [1]")) == 2


def test_an_alias_bomb_costs_nothing() -> None:
    rows = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))]
    assert all("alias" in line for line in said_of("\n".join(rows)))


def test_twenty_levels_are_read() -> None:
    assert tree_of("a: " + "[" * 19 + "x" + "]" * 19).problems == ()


def test_no_sentence_repeats_a_text_of_the_file() -> None:
    for mark in ("&", "*", "!", "@", "%", "'", '"\\', "[", "{", "? ", "`", "|9", "- ", "a: "):
        assert not any("canary" in line for line in said_of(f"ok: 1\ntoken: {mark}canary-4711\nb: [\n"))


def test_a_key_that_is_no_name_is_not_shown() -> None:
    assert dotted(("channels", "ops", "https://x/secret", 0)) == "channels.ops.?.0"
    assert showable("Backup Size")
    assert showable("요약")
    assert not showable("ops@example.com")


@given(st.text(max_size=200) | st.text(alphabet="abc:-[]{}&*!|>'\"#%@`,?<\n\t 0~", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    said_of(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    said_of(raw)


_TREES = st.recursive(
    st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), _TREES, min_size=1, max_size=4))
def test_what_yaml_writes_quoted_comes_back(value: object) -> None:
    text = yaml.safe_dump(value, default_style='"', allow_unicode=False)
    if "!!" not in text and "&" not in text and '"<<"' not in text:
        assert tree_of(text).value == value
