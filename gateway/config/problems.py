"""What is wrong with a configuration, in sentences: every fault of every block, each with its line.

A sentence is made of pydantic's name for the fault and our own words, never of its input: that may be a
credential. A text of the file is repeated only where it looks like a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import Problem
from gateway.rules.calendars import choice, suggestion
from gateway.rules.documents import Place, Tree, Value, dotted
from gateway.rules.variables import Filled, Gap

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
LONGEST_NAME: Final = 64

MOST_PROBLEMS: Final = 100

OR_DEFAULT: Final = ", or write a default: ${NAME:-…}"

_Said: TypeAlias = Mapping[str, Any]
"""pydantic's `ctx`: the limits and words that its own sentence would name."""


def unknown(what: str, word: str, known: Collection[str]) -> str:
    """`unknown channel 'ops-slak'; did you mean 'ops-slack'?`; a word that is no name is not repeated."""
    if not NAME.fullmatch(word) or len(word) > LONGEST_NAME:
        return f"names no {what}; {choice(what, known)}"
    return f"unknown {what} '{word}'" + (suggestion(word, known) or f"; {choice(what, known)}")


def few(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The first of them by line, and in the place of very many more how many they are: nobody mends a thousand
    lines by a list, and every log line and answer would carry it."""
    found = sorted(problems, key=lambda problem: problem.line)
    if len(found) <= MOST_PROBLEMS:
        return tuple(found)
    left = len(found) - MOST_PROBLEMS
    return (*found[:MOST_PROBLEMS], Problem(found[0].file, 0, "", f"… and {left:,} more"))


@dataclass(slots=True)
class Findings:
    """Collects the problems of one file: `tree` is what was written, `filled` what the variables made of it."""

    file: str
    tree: Tree
    filled: Filled
    problems: list[Problem] = field(default_factory=list)
    _texts: dict[Place, list[Place]] = field(init=False)
    _gaps: dict[Place, list[Gap]] = field(init=False)

    def __post_init__(self) -> None:
        """By each place above them, so that a large file is not gone through for each of its faults."""
        self._texts, self._gaps = {}, {}
        for inner, text in self.filled.texts.items():
            for end in range(len(inner) + 1 if text else 0):
                self._texts.setdefault(inner[:end], []).append(inner)
        for gap in self.filled.gaps:
            for end in range(len(gap.place) + 1):
                self._gaps.setdefault(gap.place[:end], []).append(gap)

    def add(self, place: Place, what: str) -> None:
        """A sentence that names what a variable put there names the variable instead."""
        for inner in self._texts.get(place, ()):
            what = what.replace(f"'{self.filled.texts[inner]}'", f"'{self._as_written(inner)}'")
        self.problems.append(Problem(self.file, self.tree.line(place), dotted(place), what))

    def add_inside(self, place: Place, what: str) -> None:
        """As `add`, for a place that may lie within a text of the file; nothing where that text has a gap."""
        written = self._written(place)
        if not self.gaps_in(written):
            self.add(written, what)

    def block(self, block: Value, place: Place) -> Mapping[str, Value]:
        """A block of named entries; empty where it is none. A key with nothing below it is an empty block:
        its entries are commented out."""
        if block is not None and not isinstance(block, dict):
            self.add(place, "must be a mapping: each name on a line of its own, with its keys indented below")
        return block if isinstance(block, dict) else {}

    def gaps_in(self, place: Place) -> tuple[Gap, ...]:
        """What could not be filled in at this place and below it."""
        return tuple(self._gaps.get(place, ()))

    def add_gaps(self, place: Place, remedy: str) -> None:
        """Each variable that is missing here; `remedy` says what else can be done than to set it."""
        for gap in self.gaps_in(place):
            self.add(gap.place, f"{gap.what}; {_set_it(gap)}{remedy}" if gap.name else gap.what)

    def add_refusal(
        self,
        place: Place,
        error: ValidationError,
        model: type[BaseModel],
        *,
        asleep: bool = False,
    ) -> None:
        """Every fault of the block at `place`; of a sleeping block only the keys that nobody knows.

        What a missing variable may have caused is not said twice."""
        gaps = {gap.place for gap in self.gaps_in(place)}
        said: set[Place] = set()
        for fault in error.errors(include_url=False, include_input=False):
            where = self._written((*place, *fault["loc"]), fault["type"])
            if where in said or (asleep and fault["type"] != "extra_forbidden"):
                continue
            if where in gaps or (where == place and gaps and fault["type"] != "extra_forbidden"):
                continue
            said.add(where)
            if fault["type"] == "extra_forbidden":
                self.add(where, _unknown_key(fault["loc"], model))
            else:
                self.add(where, self._sentence(where, fault))

    def _written(self, place: Place, fault: str = "") -> Place:
        """The part of a place that stands in the file: pydantic's own steps inside a field are cut off."""
        kept: Place = place
        while kept and kept not in self.tree.lines and not (fault == "missing" and kept[:-1] in self.tree.lines):
            kept = kept[:-1]
        return kept

    def _sentence(self, place: Place, fault: ErrorDetails) -> str:
        if fault["type"] != "missing" and self._as_written(place) is None:
            return "is empty; give it a value, or remove it"
        return sentence(fault["type"], fault.get("ctx", {}))

    def _as_written(self, place: Place) -> Value:
        value: Value = self.tree.value
        for step in place:
            value = value[step]
        return value


def sentence(fault: str, said: _Said) -> str:
    """pydantic's type of a fault, with its context → what is wrong and what to do, without the input."""
    words = _SENTENCES.get(fault)
    if words is None:
        return f"is not usable here ({fault.replace('_', ' ')})"
    return words if isinstance(words, str) else words(said)


def _set_it(gap: Gap) -> str:
    return "put it there" if gap.name.startswith("file:") else "set it"


def _unknown_key(loc: tuple[str | int, ...], model: type[BaseModel]) -> str:
    key = str(loc[-1])
    known = sorted({name for at in _models_at(model, loc[:-1]) for name in _keys(at)})
    if re.search(r"[^\w -]", key):
        return "unknown key; put a space after each ':', and texts with ${…} inside { } in quotes"
    return "unknown key" + (suggestion(key, known) or (f"; there are {', '.join(known)}" if known else ""))


def _models_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """The blocks that may stand at this place inside a model."""
    models = [model]
    for step in loc:
        inner = [found for at in models for found in _models_in(_keys(at).get(str(step)))]
        models = inner or models
    return models


def _keys(model: type[BaseModel]) -> dict[str, Any]:
    """Key as written in the file → its type."""
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


_TEXT = "must be text"
_WHOLE = "must be a whole number"
_NUMBER = "must be a number"
_MAPPING = "must be a mapping: lines of `key: value`, indented below it"
_LIST = "must be a list, like [a, b]"

_SENTENCES: Final[Mapping[str, str | Callable[[_Said], str]]] = {
    "missing": "is missing; add it",
    "value_error": lambda said: str(said["error"]),
    "assertion_error": lambda said: str(said["error"]),
    "literal_error": lambda said: f"must be {said['expected']}",
    "enum": lambda said: f"must be {said['expected']}",
    "greater_than": lambda said: f"must be more than {said['gt']}",
    "greater_than_equal": lambda said: f"must be at least {said['ge']}",
    "less_than": lambda said: f"must be less than {said['lt']}",
    "less_than_equal": lambda said: f"must be at most {said['le']}",
    "string_too_short": lambda said: f"must have at least {said['min_length']} characters",
    "string_too_long": lambda said: f"must have at most {said['max_length']} characters",
    "string_pattern_mismatch": lambda said: f"has not the right form, which is {said['pattern']}",
    "too_short": lambda said: f"must have at least {said['min_length']} entries",
    "too_long": lambda said: f"must have at most {said['max_length']} entries",
    **dict.fromkeys(("string_type", "string_sub_type", "string_unicode"), _TEXT),
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number", "decimal_parsing", "decimal_type"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"), _MAPPING),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type", "sequence_str"), _LIST),
    **dict.fromkeys(
        ("date_type", "date_parsing", "date_from_datetime_parsing"), "is no date; write it like 2026-12-25"
    ),
    **dict.fromkeys(("time_type", "time_parsing"), 'is no time of day; write it like "09:00"'),
}
