from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import _shapes

DOCUMENT = {"a": {"b": [1, {"c": " deep "}]}, "n": 3, "f": 2.5, "whole": 4.0, "huge": 1e300, "t": True, "nil": None}

json_documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("a", "b", 1, "c"), "deep"),
        (("a", "b", -1, "c"), "deep"),
        (("a", "b", 0), "1"),
        (("f",), "2.5"),
        (("whole",), "4"),
        (("huge",), "1e+300"),
        (("t",), "true"),
        (("nil",), ""),
        (("a",), ""),
        (("a", "b", 2, "c"), ""),
        (("a", "b", "c"), ""),
        (("a", 0), ""),
        (("n", "x"), ""),
    ],
)
def test_text_is_found_at_a_path_or_is_empty(path: tuple[str | int, ...], found: str) -> None:
    assert _shapes.text(DOCUMENT, *path) == found


def test_false_is_written_as_json_writes_it() -> None:
    assert _shapes.text(False) == "false"


@pytest.mark.parametrize(
    ("value", "read"),
    [(3, 3.0), ("24.60", 24.6), (" 24.6 % ", 24.6), ("ten", None), (True, None), ("1e999", None), ([], None)],
)
def test_a_number_is_a_number_or_text_that_is_one(value: Any, read: float | None) -> None:
    assert _shapes.number(value) == read


def test_objects_and_lists_are_empty_where_there_are_none() -> None:
    assert _shapes.mapping(DOCUMENT, "a", "b") == {}
    assert _shapes.items(DOCUMENT, "a") == []
    assert _shapes.items(DOCUMENT, "a", "b")[0] == 1
    assert _shapes.mapping(DOCUMENT, "a") == DOCUMENT["a"]


def test_the_first_candidate_that_says_something_wins() -> None:
    assert _shapes.first("", "b", "c") == "b"
    assert _shapes.first("", "") == ""


def test_a_line_is_one_line_and_ends_in_an_ellipsis_where_it_was_cut() -> None:
    assert _shapes.line("  two\n lines ") == "two lines"
    assert _shapes.line("x" * 300) == "x" * 199 + "…"
    assert len(_shapes.cut("y " * 5_000)) <= _shapes.LONGEST_BODY


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "ftp://example.com",
        "http:///x",
        "https://a b",
        "//example.com",
        "https://x/" + "y" * 3_000,
    ],
)
def test_what_is_no_http_address_is_no_link(address: str) -> None:
    assert _shapes.link(address) == ""


def test_the_first_http_address_is_the_link() -> None:
    assert _shapes.link("", "mailto:x@example.com", " https://example.com/a?b=c#d ") == "https://example.com/a?b=c#d"


@pytest.mark.parametrize(
    ("value", "millis"),
    [
        (1_499_666_192, 1_499_666_192_000),
        ("1499666192", 1_499_666_192_000),
        (1_499_666_192.5, 1_499_666_192_500),
        (1_499_666_192_000, 1_499_666_192_000),
        ("2020-04-28T14:05:04.210463Z", 1_588_082_704_210),
        ("2020-04-28T14:05:04.210463999Z", 1_588_082_704_210),
        ("2020-04-28T23:05:04+09:00", 1_588_082_704_000),
        ("2020-04-28 14:05:04 UTC", 1_588_082_704_000),
        ("2020-04-28T14:05:04", 1_588_082_704_000),
        ("0001-01-01T00:00:00Z", None),
        ("1960-01-01T00:00:00Z", None),
        ("yesterday", None),
        (0, None),
        (-5, None),
        (1e300, None),
        (None, None),
        (True, None),
    ],
)
def test_a_moment_is_read_however_it_is_written(value: Any, millis: int | None) -> None:
    assert _shapes.instant(value) == millis


def test_a_key_too_long_to_index_still_names_its_problem() -> None:
    long, other = "x" * 400, "x" * 401
    assert _shapes.key("a", "b") == "a:b"
    assert len(_shapes.key("a", long)) == _shapes.LONGEST_KEY
    assert _shapes.key("a", long) != _shapes.key("a", other)
    assert _shapes.key("a", long) == _shapes.key("a", long)


def test_labels_and_fields_leave_out_what_says_nothing() -> None:
    assert _shapes.labels({"a": "x\ny", "b": " "}) == {"a": "x y"}
    assert _shapes.fields({"a": " x\ny ", "b": ""}) == {"a": "x\ny"}


@settings(deadline=None)
@given(json_documents, st.lists(st.text(max_size=5) | st.integers(), max_size=3))
def test_nothing_raises_whatever_stands_there(document: Any, path: list[str | int]) -> None:
    _shapes.text(document, *path)
    _shapes.number(document, *path)
    _shapes.instant(_shapes.at(document, *path))
    _shapes.link(_shapes.text(document, *path))
    _shapes.line(_shapes.text(document, *path))
