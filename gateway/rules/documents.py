"""A YAML file into a tree of text, each place with its line: pure, without the surprises of YAML.

Every scalar stays what was written (`18:00`, `NO`, `1.10`, `+82…`); the field that takes it decides its
type. What makes YAML dangerous or puzzling is refused: aliases, tags, merge keys, keys said twice,
several documents. `fill` then puts variables in, scalar by scalar, so that a value can never be markup.
No sentence repeats a text of the file other than keys that look like names: it may be a credential.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from gateway.errors import BadConfiguration, Problem
from gateway.values import frozen

LARGEST: Final = 1024 * 1024
DEEPEST: Final = 20

Place: TypeAlias = tuple[str | int, ...]
"""Where a value stands: ('channels', 'ops-slack', 'to', 0)."""

Value: TypeAlias = Any
"""dict, list, str, or None where nothing was written."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# YAML 1.1 §5.1 allows no other control characters; found here, because the C parser names no line.
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SHOWABLE: Final = re.compile(r"[\w .()-]{1,64}")


@frozen
class Tree:
    """What a file says. `lines` holds the line of each key and item, counted from 1; () is the top.

    `problems` are those that leave the rest of the file readable."""

    value: dict[str, Value]
    lines: Mapping[Place, int]
    problems: tuple[Problem, ...] = ()

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest one above it that was written."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]


def read(raw: bytes, file: str) -> Tree:
    """The tree in a file's bytes; `file` is its name in problems.

    Raises BadConfiguration where there is no tree: not UTF-8, over 1 MiB, a syntax error, nested deeper
    than 20, empty, or no mapping at the top."""
    text = _decode(raw, file)
    reading = _Reading(file)
    try:
        top = reading.document(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        raise BadConfiguration([*reading.problems, _syntax_error(error, file)]) from None
    if top is _NOTHING:
        raise BadConfiguration([*reading.problems, Problem(file, 1, "", "the file is empty")])
    if not isinstance(top, dict):
        what = "the file must be a mapping: lines like `sources:`, with what belongs to them indented below"
        raise BadConfiguration([*reading.problems, Problem(file, 1, "", what)])
    return Tree(top, reading.lines, tuple(reading.problems))


def dotted(place: Place) -> str:
    """A place as people write it: channels.ops-slack.to.0; a key that is no name is shown as '?'."""
    return ".".join(str(part) if isinstance(part, int) or showable(part) else "?" for part in place)


def showable(text: str) -> bool:
    """Whether a text looks like a name, so that a sentence may repeat it. URLs and addresses do not."""
    return _SHOWABLE.fullmatch(text) is not None


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > LARGEST:
        raise BadConfiguration([Problem(file, 0, "", "the file is over 1 MiB; that is no configuration")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadConfiguration([Problem(file, line, "", "is not UTF-8; save the file as UTF-8")]) from None
    unwanted = _FORBIDDEN.search(text)
    if unwanted:
        line = text[: unwanted.start()].count("\n") + 1
        what = f"holds the control character U+{ord(unwanted[0]):04X}; remove it"
        raise BadConfiguration([Problem(file, line, "", what)])
    return text


_NOTHING: Final = object()
_ALIAS = "a text that begins with '*' or '&' is an alias or anchor in YAML, and none are read; put the text in quotes"
_TAG = "a text that begins with '!' is a tag in YAML, and none are read; put the text in quotes"
_NOT_YAML = "the file cannot be read as YAML; check indentation, colons and quotes"


@dataclass(slots=True)
class _Reading:
    """One pass over the parser's events. `problems` and `lines` grow while it goes."""

    file: str
    lines: dict[Place, int] = field(default_factory=lambda: {(): 1})
    problems: list[Problem] = field(default_factory=list)

    def document(self, events: Iterator[Event]) -> Value:
        """The value of the only document; _NOTHING where there is none."""
        top: Value = _NOTHING
        while not isinstance(event := next(events), StreamEndEvent):
            if isinstance(event, DocumentStartEvent):
                if top is not _NOTHING:
                    self._fault(event, (), "a second document begins here; keep everything in one, without '---'")
                    break
                top = self._node(events, next(events), ())
        return _NOTHING if top is None else top

    def _node(self, events: Iterator[Event], event: Event, place: Place) -> Value:
        if len(place) > DEEPEST:
            line = _line(event.start_mark)
            what = f"is nested deeper than {DEEPEST} levels; check the brackets"
            raise BadConfiguration([*self.problems, Problem(self.file, line, "", what)])
        self._refuse_marks(event, place)
        if isinstance(event, ScalarEvent):
            return event.value if event.value or event.style else None
        if isinstance(event, SequenceStartEvent):
            return self._sequence(events, place)
        if isinstance(event, MappingStartEvent):
            return self._mapping(events, place)
        return None  # an alias, already refused

    def _refuse_marks(self, event: Event, place: Place) -> None:
        if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor is not None):
            self._fault(event, place, _ALIAS)
        if getattr(event, "tag", None) is not None:
            self._fault(event, place, _TAG)

    def _sequence(self, events: Iterator[Event], place: Place) -> list[Value]:
        items: list[Value] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            inner = (*place, len(items))
            self.lines[inner] = _line(event.start_mark)
            items.append(self._node(events, event, inner))
        return items

    def _mapping(self, events: Iterator[Event], place: Place) -> dict[str, Value]:
        pairs: dict[str, Value] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            key = self._key(events, event, place)
            if key is None or key in pairs:
                if key is not None:
                    first = self.lines[*place, key]
                    self._fault(event, (*place, key), f"is said twice, first in line {first}; keep one of them")
                self._node(events, next(events), (*place, "?"))
                continue
            self.lines[*place, key] = _line(event.start_mark)
            pairs[key] = self._node(events, next(events), (*place, key))
        return pairs

    def _key(self, events: Iterator[Event], event: Event, place: Place) -> str | None:
        """The key that begins with this event; None where it is refused."""
        known = len(self.problems)
        value = self._node(events, event, (*place, "?"))
        if len(self.problems) > known:
            return None
        if not isinstance(value, str):
            self._fault(event, place, "a key must be a word; put a text with brackets or braces in quotes")
        elif value == "<<":
            self._fault(event, place, "merge keys ('<<') are not read; write the keys out")
        else:
            return value
        return None

    def _fault(self, event: Event, place: Place, what: str) -> None:
        self.problems.append(Problem(self.file, _line(event.start_mark), dotted(place), what))


# What libyaml and PyYAML call it → what to do. Theirs speak of tokens, and PyYAML's may repeat the text.
_SYNTAX: Final = (
    ("mapping values are not allowed", "a ':' stands where none can; check the indentation, or put the text in quotes"),
    ("cannot start any token", "begins with what YAML reserves (a tab, '@', '`', '%'); indent with spaces, quote text"),
    ("tab character", "a tab is used to indent; use spaces"),
    ("',' or '}'", "the '{' is not closed, a comma is missing, or a text with ${…} inside { } is not in quotes"),
    ("',' or ']'", "the '[' is not closed, or a comma is missing"),
    ("end of stream", "a quote is opened and never closed"),
    ("escape", "inside double quotes a backslash begins an escape; write two, or use single quotes"),
    ("hexdecimal", "inside double quotes a backslash begins an escape; write two, or use single quotes"),
    ("could not find expected ':'", "a ':' with a space after it is missing"),
    ("document start", "the text goes on after the end of the document; check the indentation and brackets"),
    ("expected key", "the indentation does not fit the lines above, or a quote or bracket is not closed"),
    ("block end", "the indentation does not fit the lines above, or a quote or bracket is not closed"),
    ("'-' indicator", "the indentation of this list does not fit the lines above"),
    ("sequence entries are not allowed", "a list cannot begin here; put each '-' on a line of its own"),
    ("alias", _ALIAS),
    ("anchor", _ALIAS),
    ("tag", _TAG),
)  # fmt: skip


def _syntax_error(error: yaml.YAMLError, file: str) -> Problem:
    said = str(getattr(error, "problem", ""))
    what = next((ours for theirs, ours in _SYNTAX if theirs in said), _NOT_YAML)
    line, began = (_line(getattr(error, mark, None)) for mark in ("problem_mark", "context_mark"))
    if 0 < began < line:
        what += f" (it began in line {began})"
    return Problem(file, line or began, "", what)


def _line(mark: Any) -> int:
    """Counted from 1; 0 where the parser named none. Its two kinds of marks have no type in common."""
    return mark.line + 1 if mark else 0
