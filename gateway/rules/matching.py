"""What a `match:` block of routing.yaml asks of an incident; all of its conditions must hold.

Text is compared without regard to case, as a glob over the whole value (`*`, `?`, `[abc]`, `[!abc]`), or,
between slashes, as an RE2 expression that is searched and minds case. A list means any of. An absent value
matches nothing, not even `*`. Neither kind takes time that grows faster than the value.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any, Final, TypeAlias

import re2
from pydantic_core import CoreSchema, core_schema

from gateway.model import Incident, Millis, Severity
from gateway.rules.calendars import CalendarSettings, is_open, located, suggestion
from gateway.rules.documents import Place
from gateway.values import frozen

Calendars: TypeAlias = Mapping[str, CalendarSettings]

_FIELDS: Final[Mapping[str, Callable[[Incident], str]]] = {
    name: operator.attrgetter(name) for name in ("source", "adapter", "kind", "service", "environment", "title")
}
_KEYS: Final = ("severity", *_FIELDS, "labels", "during", "not")
_LABEL: Final = "labels."
_COMPARISON: Final = re.compile(r"(>=|<=|>|<|)\s*(.*)", re.DOTALL)
_COMPARISONS: Final[Mapping[str, Callable[[Severity, Severity], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "": operator.eq,
}
_NO_BLOCK: Final = 'must be a mapping of conditions, like {severity: ">=error", service: db-*}'
_EMPTY: Final = "is empty; give it a value, or remove it"


@frozen
class Seen:
    """One incident at one hour, as many match blocks look at it: each of its texts is folded only once."""

    incident: Incident
    calendars: Calendars
    now: Millis
    folded: dict[str, tuple[str, str]] = field(default_factory=dict)


@frozen
class Match:
    """A match block, compiled. As a field of Settings it is read from the tree of the file.

    `calendars` are those that `during` names, each with its place in the block."""

    written: Mapping[str, Any] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = field(default=(), compare=False, repr=False)
    calendars: tuple[tuple[Place, str], ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def read(cls, tree: object) -> Match:
        """From {'severity': '>=error', 'labels.team': ['data', 'web']}, all scalars text.

        Raises pydantic's ValidationError with every problem, each at its place in the block."""
        if isinstance(tree, Match):
            return tree
        if not isinstance(tree, Mapping):
            raise located("match", [((), _NO_BLOCK)])
        reader = _Reader()
        conditions = tuple(reader.block(tree, ()))
        if reader.wrong:
            raise located("match", reader.wrong)
        return cls(tree, conditions, tuple(reader.calendars))

    def holds(self, seen: Seen) -> bool:
        """Whether all of its conditions do."""
        return self.missed(seen) is None

    def missed(self, seen: Seen) -> int | None:
        """The place of the first condition that does not hold; None where all do."""
        for place, condition in enumerate(self.conditions):
            if not condition.holds(seen):
                return place
        return None

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _next: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.read,
            serialization=core_schema.plain_serializer_function_ser_schema(operator.attrgetter("written")),
            json_schema_input_schema=core_schema.dict_schema(core_schema.str_schema()),
        )


# --- the conditions: `wanted` is what the file says, `was` what the incident is -----------------------


@frozen
class _OfSeverity:
    wanted: str
    levels: frozenset[Severity]
    key: str = "severity"

    def holds(self, seen: Seen) -> bool:
        return seen.incident.severity in self.levels

    def was(self, seen: Seen) -> str:
        return seen.incident.severity.word


@frozen
class _OfText:
    """`exact` and `glob` are in folded case; `expressions` are RE2 over UTF-8. `heads`: how every value begins that
    may hold; () where it may begin in any way."""

    key: str
    wanted: str
    look: Callable[[Incident], str]
    exact: frozenset[str]
    glob: re.Pattern[str] | None
    expressions: tuple[Any, ...]
    heads: tuple[str, ...] = ()

    def holds(self, seen: Seen) -> bool:
        known = seen.folded.get(self.key)
        if known is None:
            value = self.look(seen.incident)
            known = seen.folded[self.key] = value, value.casefold()
        value, folded = known
        if not value:
            return False
        if folded in self.exact or (self.glob is not None and self.glob.match(folded)):
            return True
        if not self.expressions:
            return False
        return any(expression.search(value.encode("utf-8", "replace")) for expression in self.expressions)

    def was(self, seen: Seen) -> str:
        return self.look(seen.incident)


@frozen
class _During:
    """Holds while one of the calendars is open; a calendar that nobody configured is closed."""

    wanted: str
    names: tuple[str, ...]
    key: str = "during"

    def holds(self, seen: Seen) -> bool:
        return any(name in seen.calendars and is_open(seen.calendars[name], seen.now) for name in self.names)

    def was(self, seen: Seen) -> str:
        return "open" if self.holds(seen) else "closed"


@frozen
class _Not:
    """Holds where the block inside does not. A block of one line lends it its key: `not.severity`."""

    written: Mapping[str, Any]
    inner: tuple[Condition, ...]

    @property
    def key(self) -> str:
        return f"not.{self.inner[0].key}" if len(self.inner) == 1 else "not"

    @property
    def wanted(self) -> str:
        return self.inner[0].wanted if len(self.inner) == 1 else f"not {_as_written(self.written)}"

    def holds(self, seen: Seen) -> bool:
        return not all(condition.holds(seen) for condition in self.inner)

    def was(self, seen: Seen) -> str:
        found = {condition.key: condition.was(seen) for condition in self.inner}
        return next(iter(found.values())) if len(self.inner) == 1 else _as_written(found)


Condition: TypeAlias = _OfSeverity | _OfText | _During | _Not


def beginnings(condition: Condition) -> tuple[str, ...]:
    """How every value of its text begins, in folded case, for which the condition may hold; () where it may begin in
    any way, or the condition is about no text."""
    return condition.heads if isinstance(condition, _OfText) else ()


# --- reading ------------------------------------------------------------------------------------------


class _Reader:
    """Walks one block, and keeps what is wrong in it and which calendars it names."""

    def __init__(self) -> None:
        self.wrong: list[tuple[Place, str]] = []
        self.calendars: list[tuple[Place, str]] = []

    def block(self, tree: Mapping[Any, object], here: Place) -> Iterator[Condition]:
        for key, value in tree.items():
            yield from self._line(str(key), value, (*here, str(key)))

    def _line(self, key: str, value: object, here: Place) -> Iterator[Condition]:
        if key == "severity":
            yield self._severity(value, here)
        elif key in _FIELDS:
            yield self._text(key, _FIELDS[key], value, here)
        elif key == "labels" or key.startswith(_LABEL):
            yield from self._labels(key, value, here)
        elif key == "during":
            named = list(self._texts(value, here))
            self.calendars += named
            yield _During(_as_written(value), tuple(name for _, name in named))
        elif key == "not":
            yield from self._not(value, here)
        else:
            self.wrong.append((here, _unknown_key(key)))

    def _severity(self, value: object, here: Place) -> Condition:
        levels: set[Severity] = set()
        for place, text in self._texts(value, here):
            try:
                levels |= _levels(text)
            except ValueError as error:
                self.wrong.append((place, str(error)))
        return _OfSeverity(_as_written(value), frozenset(levels))

    def _text(self, key: str, look: Callable[[Incident], str], value: object, here: Place) -> Condition:
        exact: list[str] = []
        globs, stems, expressions = [], [], []
        for place, text in self._texts(value, here):
            if len(text) > 1 and text[0] == text[-1] == "/":
                try:
                    expressions.append(_expression(text[1:-1]))
                except ValueError as error:
                    self.wrong.append((place, str(error)))
            elif any(sign in text for sign in "*?["):
                globs.append(fnmatch.translate(text.casefold()))
                stems.append(re.split(r"[*?\[]", text.casefold(), maxsplit=1)[0])
            else:
                exact.append(text.casefold())
        # What fnmatch writes never goes back to an earlier star, so that no glob takes time without end.
        glob = re.compile("|".join(globs)) if globs else None
        heads = {*exact, *stems}
        known = tuple(sorted(heads)) if not expressions and "" not in heads else ()
        return _OfText(key, _as_written(value), look, frozenset(exact), glob, tuple(expressions), known)

    def _labels(self, key: str, value: object, here: Place) -> Iterator[Condition]:
        if key != "labels":
            yield self._label(key.removeprefix(_LABEL), value, here)
        elif isinstance(value, Mapping) and value:
            for name, inner in value.items():
                yield self._label(str(name), inner, (*here, str(name)))
        else:
            self.wrong.append((here, "must be a mapping of labels, like {team: data}"))

    def _label(self, name: str, value: object, here: Place) -> Condition:
        if not name:
            self.wrong.append((here, "names no label; write it like labels.team"))
        return self._text(_LABEL + name, lambda incident: incident.labels.get(name, ""), value, here)

    def _not(self, value: object, here: Place) -> Iterator[Condition]:
        if not isinstance(value, Mapping):
            self.wrong.append((here, _NO_BLOCK))
        elif not value:
            self.wrong.append((here, "is empty, so that nothing would match; give it a condition, or remove it"))
        else:
            yield _Not(value, tuple(self.block(value, here)))

    def _texts(self, value: object, here: Place) -> Iterator[tuple[Place, str]]:
        """Each text that stands here, alone or in a list, with its place."""
        many: list[tuple[Place, object]] = [(here, value)]
        if isinstance(value, (list, tuple)):
            many = [((*here, number), entry) for number, entry in enumerate(value)]
        for place, entry in many or [(here, None)]:
            if entry in ("", None):
                self.wrong.append((place, _EMPTY))
            elif isinstance(entry, str):
                yield place, entry
            else:
                self.wrong.append((place, "must be text, or a list of texts"))


def _levels(text: str) -> set[Severity]:
    """'>=error' → error, critical, emergency. Raises ValueError with a sentence."""
    sign, word = _COMPARISON.fullmatch(text.strip()).groups()  # type: ignore[union-attr]  # it takes any text
    bound = Severity.read(word)
    if bound is None:
        raise ValueError(f"is no severity; take one of {', '.join(level.word for level in Severity)}")
    levels = {level for level in Severity if _COMPARISONS[sign](level, bound)}
    if not levels:
        raise ValueError("holds for no severity; nothing is beyond it")
    return levels


def _expression(pattern: str) -> Any:
    """Raises ValueError with a sentence that says what RE2 does not take."""
    if not pattern:
        raise ValueError("is an RE2 expression without anything in it; give it a pattern, or write *")
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    try:
        return re2.compile(pattern.encode("utf-8", "replace"), options)
    except re2.error as error:
        # Behind the colon RE2 repeats a piece of the expression: the line shows it, the sentence need not.
        why = error.args[0].decode("utf-8", "replace").partition(":")[0]
        foreign = why.startswith(("invalid perl operator", "invalid escape sequence"))
        hint = "; RE2 has no look-around and no backreferences" if foreign else ""
        raise ValueError(f"is no RE2 expression: {why}{hint}") from None


def _as_written(value: object) -> str:
    """As one would write it in one line of the file."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_as_written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_as_written, value)) + "]"
    return str(value)


def _unknown_key(key: str) -> str:
    _, dot, name = key.partition(".")
    near = suggestion(key, (*_KEYS, f"{_LABEL}{name}") if dot else _KEYS)
    return "unknown key" + (near or f"; there are {', '.join(_KEYS)}")
