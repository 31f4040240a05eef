"""What each route of the file said of one incident, kept so that five hundred routes cost little more than ten.

Most routes miss, and most of those for the same reason. A `Verdicts` is a sequence of `Because` that makes each one
only when somebody looks at it; packed, it names for each route only the place of the condition that it missed, and
what the routes are called and wanted stands once beside it, in a table that many decisions share.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, overload

from gateway.model import Because, Json, Missed
from gateway.rules.lookup import Lookup, named
from gateway.rules.matching import Match, Seen
from gateway.values import frozen

STOPPED: Final = -1
"""In the place of a missed condition: the route was not read, because one before it said stop."""
PACKED_FROM: Final = 20
"""So many routes are written down packed; fewer are shorter in plain words."""

Named = Callable[[int], str]


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts(Sequence[Because]):
    """`misses`: for each route the place of the first condition that did not hold, or STOPPED; routes in `said` have
    a `Because` of their own, and so has `default` behind the last one."""

    matches: Sequence[Match]
    named: Named
    seen: Seen
    misses: Sequence[int]
    said: Mapping[int, Because]
    lookup: Lookup
    stopped_by: str = ""

    def __len__(self) -> int:
        return len(self.misses) + (len(self.misses) in self.said)

    def __iter__(self) -> Iterator[Because]:
        return (self._one(number) for number in range(len(self)))

    @overload
    def __getitem__(self, place: int) -> Because: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Because]: ...
    def __getitem__(self, place: int | slice) -> Because | Sequence[Because]:
        if isinstance(place, slice):
            return [self._one(number) for number in range(*place.indices(len(self)))]
        return self._one(range(len(self))[place])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # it is a list in all but name

    def _one(self, number: int) -> Because:
        if number in self.said:
            return self.said[number]
        if self.misses[number] == STOPPED:
            return Because(self.named(number), Missed("stop", "", self.stopped_by))
        condition = self.matches[number].conditions[self.misses[number]]
        return Because(self.named(number), Missed(condition.key, condition.wanted, condition.was(self.seen)))

    def shapes(self, shown: Callable[[Because], Json]) -> list[Json]:
        """All of them in their public shape. `shown` writes those in `said`."""
        return [shown(self.said[number]) if number in self.said else self._shape(number) for number in range(len(self))]

    def _shape(self, number: int) -> Json:
        if self.misses[number] == STOPPED:
            return _missed(self.named(number), "stop", "", self.stopped_by)
        condition = self.matches[number].conditions[self.misses[number]]
        return _missed(self.named(number), condition.key, condition.wanted, condition.was(self.seen))

    def packed(self, shown: Callable[[Because], Json]) -> dict[str, Json]:
        """As JSON that `unpacked` reads, beside a table of these routes. `shown` writes those in `said`."""
        said = {str(number): shown(because) for number, because in self.said.items()}
        runs = [[missed, len(list(many))] for missed, many in groupby(self.misses)]
        was = self.lookup.was(self.seen)
        return {"misses": runs, "said": said, "was": dict(was), "stopped_by": self.stopped_by}


@frozen
class Table:
    """The routes as decisions refer to them. `id` is made of what they are called and want."""

    id: str
    text: str


def table(matches: Sequence[Match], named: Named) -> Table:
    """The table of these routes; the newest one is remembered, for every decision asks for it."""
    if _newest and _newest[0][0] is matches:
        return _newest[0][1]
    rows = [
        [named(number), [[condition.key, condition.wanted] for condition in match.conditions]]
        for number, match in enumerate(matches)
    ]
    text = json.dumps(rows, ensure_ascii=False)
    made = Table(hashlib.sha256(text.encode()).hexdigest()[:16], text)
    _newest[:] = [(matches, made)]
    return made


_newest: list[tuple[Sequence[Match], Table]] = []


def unpacked(packed: Mapping[str, Any], rows: Sequence[Any]) -> list[Json]:
    """The routes of a decision in their public shape. `rows` are those of its table."""
    shown: list[Json] = []
    number = 0
    for missed, many in packed["misses"]:
        for _ in range(many):
            own = packed["said"].get(str(number))
            name, conditions = rows[number]
            if own is not None:
                shown.append(own)
            elif missed == STOPPED:
                shown.append(_missed(name, "stop", "", packed["stopped_by"]))
            else:
                key, wanted = conditions[missed]
                was = packed["was"].get(key) if key in packed["was"] else packed["was"].get(named(key, wanted), "")
                shown.append(_missed(name, key, wanted, was))
            number += 1
    return shown + ([packed["said"][str(number)]] if str(number) in packed["said"] else [])


def _missed(name: str, key: str, wanted: str, was: str) -> Json:
    return {"name": name, "matched": False, "missed": {"key": key, "wanted": wanted, "was": was}}
