"""The names in routing.yaml: what each may mean, and what is wrong where one means nothing.

They are looked up in the tree of the file, so that a name is checked even where the rest of its entry is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, TypeAlias

from gateway.model import GATEWAY
from gateway.rules.calendars import choice, nearest, suggestion
from gateway.rules.documents import Place, Value
from gateway.rules.escalation import loops
from gateway.rules.matching import Match
from gateway.values import frozen

Wrong: TypeAlias = list[tuple[Place, str]]
"""Places in the file, each with a sentence."""

NOBODY: Final = "nobody"
"""In `expect:` no name, but the list of those that hear nothing."""

SHARED: Final = {"channels": "channel", "people": "person", "rotations": "rotation", "escalations": "escalation"}
"""The blocks whose names are one namespace, each with the word for one of its entries."""

_EACH: Final = "*"
_TO: Final = (("default",), ("routes", _EACH, "to"), ("escalations", _EACH, "steps", _EACH, "to"))
_CHANNELS: Final = (("people", _EACH, "channels"),)
_PEOPLE: Final = (
    ("rotations", _EACH, "members"),
    ("rotations", _EACH, "layers", _EACH, "members"),
    ("rotations", _EACH, "overrides", _EACH, "member"),
    ("rotations", _EACH, "overrides", _EACH, "for"),
    ("tests", _EACH, "sequence", _EACH, "acknowledge"),
)
_CALENDARS: Final = (
    ("people", _EACH, "quiet", "during"),
    ("rotations", _EACH, "layers", _EACH, "during"),
    ("mutes", _EACH, "during"),
)
_MATCHES: Final = (
    ("routes", _EACH, "match"),
    ("mutes", _EACH, "match"),
    ("inhibit", _EACH, "when"),
    ("inhibit", _EACH, "mute"),
    ("expire", _EACH, "match"),
)
_ALERTS: Final = (
    ("tests", _EACH, "alert"),
    ("tests", _EACH, "sequence", _EACH, "alert"),
    ("tests", _EACH, "sequence", _EACH, "resolve"),
)
_LISTED: Final = {"routes": "route", "mutes": "mute", "inhibit": "rule", "tests": "test"}
_SHOWABLE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@frozen
class Written:
    """A file as it is written: its tree with the variables filled in, the line of a place, the adapters there are."""

    tree: Mapping[str, Value]
    line: Callable[[Place], int]
    adapters: Collection[str] = ()

    def names(self, block: str) -> Collection[str]:
        """The names of a block's entries, sleeping and wrong ones too."""
        entries = self.tree.get(block)
        return entries if isinstance(entries, dict) else {}


def wrong_names(written: Written) -> Wrong:
    """Every name that means nothing, or that two mean: each place with a sentence."""
    tree = written.tree
    others = [name for block in SHARED if block != "channels" for name in written.names(block)]
    channels = written.names("channels")
    everyone = dict.fromkeys([*channels, *others])
    wrong = [*_said_twice(written), *_listed_twice(tree)]
    wrong += [
        (place, _no_such_target(name, channels, everyone))
        for place, name in _all_texts(tree, _TO)
        if name not in everyone
    ]
    for what, paths, known in (
        ("channel", _CHANNELS, channels),
        ("person", _PEOPLE, written.names("people")),
        ("calendar", _CALENDARS, written.names("calendars")),
    ):
        wrong += [(place, no_such(what, name, known)) for place, name in _all_texts(tree, paths) if name not in known]
    wrong += [*_wrong_hours(written), *_wrong_senders(written), *_wrong_expectations(written)]
    return [*wrong, *loops(_escalations_named(written))]


def unknown_calendars(match: Match, calendars: Collection[str]) -> Wrong:
    """The calendars that a match names and nobody configured, each with its place in the block."""
    return [(place, no_such("calendar", name, calendars)) for place, name in match.calendars if name not in calendars]


def no_such(what: str, name: str, known: Collection[str]) -> str:
    """`unknown channel 'ops-slak'; did you mean 'ops-slack'?`"""
    # What is no name may be an address with a credential in it, written where a channel's name belongs.
    said = f"unknown {what} '{name}'" if _SHOWABLE.fullmatch(name) else f"names no {what}"
    return said + (suggestion(name, known) or f"; {choice('name' if ' ' in what else what, known)}")


def _no_such_target(name: str, channels: Collection[str], everyone: Collection[str]) -> str:
    """What is near to a channel's name was meant for one."""
    if len(everyone) == len(channels) or nearest(name, everyone) in channels:
        return no_such("channel", name, everyone)
    return no_such("channel, person, rotation or escalation", name, everyone)


def _said_twice(written: Written) -> Wrong:
    """Names that two of the blocks share; the one further down is wrong."""
    places: list[Place] = [(block, name) for block in SHARED for name in written.names(block)]
    wrong: Wrong = []
    first: dict[str, Place] = {}
    for place in sorted(places, key=written.line):
        other = first.setdefault(str(place[1]), place)
        if other != place:
            of_what, line = SHARED[str(other[0])], written.line(other)
            wrong.append((place, f"is the name of the {of_what} in line {line} already; give each its own"))
    return wrong


def _listed_twice(tree: Mapping[str, Value]) -> Wrong:
    """Names of routes, mutes … that two of a list share. Without a name, one is called by its place."""
    wrong: Wrong = []
    for block, what in _LISTED.items():
        owners: dict[str, int] = {}
        entries = tree.get(block)
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            name = entry.get("name") if isinstance(entry, dict) else None
            first = owners.setdefault(name if isinstance(name, str) and name else f"{what} {number}", number)
            if first != number:
                said = f"is the name of {block}.{first} already; give each {what} its own"
                wrong.append(((block, number, "name"), said))
    return wrong


def _escalations_named(written: Written) -> dict[str, Wrong]:
    """For each escalation those that its steps name, with the places."""
    known = written.names("escalations")
    paths = {name: ("escalations", name, "steps", _EACH, "to") for name in known}
    return {
        name: [(place, to) for place, to in _all_texts(written.tree, [path]) if to in known]
        for name, path in paths.items()
    }


def _wrong_hours(written: Written) -> Wrong:
    """`during` in all matches, and in what they negate. What is empty, the match itself refuses."""
    known = written.names("calendars")
    wrong: Wrong = []
    for path in _MATCHES:
        for start, block in _at(written.tree, path):
            here, match = start, block
            while isinstance(match, dict):
                named = _texts((*here, "during"), match.get("during"))
                wrong += [(at, no_such("calendar", name, known)) for at, name in named if name and name not in known]
                here, match = (*here, "not"), match.get("not")
    return wrong


def _wrong_senders(written: Written) -> Wrong:
    """The sources and adapters of the alerts in `tests`."""
    wrong: Wrong = []
    for what, known in (("source", {*written.names("sources"), GATEWAY}), ("adapter", {*written.adapters, GATEWAY})):
        named = _all_texts(written.tree, [(*path, what) for path in _ALERTS])
        wrong += [(place, no_such(what, name, known)) for place, name in named if name not in known]
    return wrong


def _wrong_expectations(written: Written) -> Wrong:
    """A test says of channels, people and rotations what they hear."""
    known = {name for block in ("channels", "people", "rotations") for name in written.names(block)}
    named: list[tuple[Place, str]] = []
    for place, expect in _at(written.tree, ("tests", _EACH, "expect")):
        if isinstance(expect, dict):
            named += [((*place, name), name) for name in expect if name != NOBODY]
            named += _texts((*place, NOBODY), expect.get(NOBODY))
    return [
        (place, "is an escalation; name the channels, people or rotations that it reaches")
        if name in written.names("escalations")
        else (place, no_such("channel, person or rotation", name, known))
        for place, name in named
        if name not in known
    ]


def _all_texts(tree: Mapping[str, Value], paths: Collection[tuple[str, ...]]) -> Iterator[tuple[Place, str]]:
    for path in paths:
        for place, value in _at(tree, path):
            yield from _texts(place, value)


def _at(value: Value, path: tuple[str, ...], here: Place = ()) -> Iterator[tuple[Place, Value]]:
    """What stands at a path of the tree, if anything does; `*` is each entry of a list or of a block."""
    if not path:
        yield here, value
    elif path[0] == _EACH:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for step, entry in inner:
            yield from _at(entry, path[1:], (*here, step))
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:], (*here, path[0]))


def _texts(place: Place, value: Value) -> Iterator[tuple[Place, str]]:
    """One text, or each of a list of them, with its place."""
    many = enumerate(value) if isinstance(value, list) else ()
    inner = [((*place, number), entry) for number, entry in many] or [(place, value)]
    return ((at, entry) for at, entry in inner if isinstance(entry, str))
