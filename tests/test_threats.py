"""docs/threats.md is held to the tests: each threat and each answer names some that exist, or says why it has none."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/threats.md").read_text(encoding="utf-8")
NOT_YET = "Not applicable yet: "


def sections() -> dict[str, str]:
    """The text below each heading of the third level."""
    parts = re.split(r"^### (.*)$", re.sub(r"^## .*$", "", PAGE, flags=re.MULTILINE), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def named(text: str) -> list[str]:
    return re.findall(r"^- `(tests/\S+::\S+)`$", text, re.MULTILINE)


@cache
def found_in(file: str) -> frozenset[str]:
    """`test_x` and `TestY::test_x` of a file."""
    found = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{part.name}" for part in node.body if _is_test(part)}
        elif _is_test(node):
            found.add(node.name)  # type: ignore[attr-defined]
    return frozenset(found)


def _is_test(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")


def test_the_threats_are_numbered_and_none_is_left_out() -> None:
    numbers = [int(match[1]) for match in (re.match(r"(\d+)\. ", heading) for heading in sections()) if match]
    assert numbers == list(range(1, 30))


def test_every_answer_that_senders_are_told_of_has_its_tests() -> None:
    held = {match[1] for match in (re.match(r"(\d{3}): ", heading) for heading in sections()) if match}
    sources = (ROOT / "docs/sources.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| (\d{3})\b", sources, re.MULTILINE))
    assert len(told) >= 9
    assert told | {"405", "408", "409", "422", "431"} == held


@pytest.mark.parametrize(("heading", "text"), sections().items(), ids=sections())
def test_every_threat_names_tests_or_says_why_it_has_none(heading: str, text: str) -> None:
    assert named(text) or text.strip().startswith(NOT_YET)


@pytest.mark.parametrize("test", sorted(set(named(PAGE))))
def test_every_test_that_is_named_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert (ROOT / file).is_file()
    assert name in found_in(file)


def test_nothing_that_looks_like_a_test_is_passed_over() -> None:
    assert len(named(PAGE)) == len(re.findall(r"\btest_\w+`", PAGE)) > 150


def test_a_test_that_is_gone_would_be_missed() -> None:
    assert Path(__file__).name in {path.name for path in (ROOT / "tests").glob("*.py")}
    assert "test_a_test_that_is_gone_would_be_missed" in found_in("tests/test_threats.py")
    assert "test_that_nobody_wrote" not in found_in("tests/test_threats.py")
