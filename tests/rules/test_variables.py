"""`${…}` in the texts of a configuration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.variables import Gap, fill

_FILES = {"/run/secrets/x": "s3cret\n", "crlf": "s3cret\r\n", "two": "a\n\n", "blank": "\n"}


def read_file(path: str) -> str:
    if path == "binary":
        raise ValueError
    if path not in _FILES:
        raise FileNotFoundError(2, "No such file or directory")
    return _FILES[path]


def filled(text: str, **variables: str) -> object:
    result = fill({"a": text}, variables, read_file)
    assert result.gaps == ()
    return result.value["a"]


def gap(text: str, **variables: str) -> Gap:
    result = fill({"a": [text]}, variables, read_file)
    assert result.value == {"a": [text]}
    (only,) = result.gaps
    assert only.place == ("a", 0)
    return only


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("${NAME}", "kim"),
        ("${NAME:-lee}", "kim"),
        ("${OTHER:-lee}", "lee"),
        ("${OTHER:-}", ""),
        ("${OTHER:-a:-b}", "a:-b"),
        ("${EMPTY:-lee}", "lee"),
        ("hi ${NAME}, hi ${OTHER:-you}!", "hi kim, hi you!"),
        ("$${NAME}", "${NAME}"),
        ("$${NAME} is ${NAME}", "${NAME} is kim"),
        ("$NAME and $5 {x}", "$NAME and $5 {x}"),
        ("${file:/run/secrets/x}", "s3cret"),
        ("${file:crlf}", "s3cret"),
        ("${file:two}", "a\n"),
    ],
)
def test_a_variable_is_put_in(text: str, becomes: str) -> None:
    assert filled(text, NAME="kim", EMPTY="") == becomes


def test_a_value_is_never_read_as_markup_or_as_another_variable() -> None:
    assert filled("${NAME}", NAME="${OTHER} {a: [b]} # c") == "${OTHER} {a: [b]} # c"


def test_keys_and_what_is_no_text_are_left_alone() -> None:
    result = fill({"${NAME}": None, "b": ["x", {"c": "${NAME}"}]}, {"NAME": "kim"}, read_file)
    assert result.value == {"${NAME}": None, "b": ["x", {"c": "kim"}]}


def test_a_variable_that_is_not_set_is_named() -> None:
    assert gap("x ${NAME}") == Gap(("a", 0), "NAME", "the variable NAME is not set")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert gap("${NAME}", NAME="").what == "the variable NAME is empty, which counts as not set"


def test_every_missing_variable_of_one_text_is_named() -> None:
    gaps = fill("${A} ${B} ${C:-d}", {}, read_file).gaps
    assert [gap.name for gap in gaps] == ["A", "B"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("${file:/gone}", "the file /gone cannot be read (No such file or directory)"),
        ("${file:blank}", "the file blank is empty, which counts as not set"),
        ("${file:binary}", "the file binary is not UTF-8 text, or is over 1 MiB"),
    ],
)
def test_a_file_that_gives_nothing_is_named(text: str, what: str) -> None:
    assert gap(text).what == what
    assert gap(text).name == text[2:-1]


@pytest.mark.parametrize(
    "text", ["${", "${NAME", "${}", "${1A}", "${A-b}", "${file:}", "${A:-${B}}", "${ A }", "a${b c}"]
)
def test_what_is_no_variable_says_how_to_write_one(text: str) -> None:
    gaps = fill(text, {"B": "b"}, read_file).gaps
    assert [gap.name for gap in gaps] == [""]
    assert "write ${NAME}" in gaps[0].what


def test_bytes_that_are_not_utf8_are_refused_before_they_break_something_later() -> None:
    assert gap("${NAME}", NAME="\udcff").what == "the variable NAME holds bytes that are not UTF-8"


@given(st.text(alphabet="${}NAME:-file/x \n", max_size=40))
def test_any_text_is_filled_or_has_a_gap(text: str) -> None:
    result = fill(text, {"NAME": "kim"}, read_file)
    assert isinstance(result.value, str)
    assert result.value == text or not result.gaps
