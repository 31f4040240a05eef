"""Lists of incidents, newest first: however many there are, a page looks at a bounded number of them.

What can be asked for to the letter (a source, a service, a severity, what is not resolved) is walked by its own index.
What cannot (a word of the title, two of those at once) is sifted on the way; where too many were looked at, the page
ends early and says where to go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from gateway.model import Millis, Severity, State
from gateway.store.driver import Connection, Prepared, among, listed
from gateway.store.schema import apart, incidents
from gateway.values import frozen

MOST_SIFTED: Final = 2_500
"""Incidents that a page looks at to find those that fit, where they lie side by side."""
MOST_SCATTERED: Final = 500
"""The same where each lies somewhere else: all of one source, service or severity, and what is not over."""
FEW: Final = 1_000
"""So many that have moved lately are sorted; more are found by walking."""

Place = tuple[Millis, str]
"""`opened_at` and the id: the order of the list."""
Condition = sa.ColumnElement[bool]

_ORDER: Final = (incidents.c.opened_at, incidents.c.id)
_DOWN: Final = [column.desc() for column in _ORDER]
_MOVED: Final = Prepared(
    sa.select(incidents.c.id)
    .where(incidents.c.updated_at >= sa.bindparam("since"))
    .order_by(incidents.c.updated_at, incidents.c.id)
    .limit(sa.bindparam("most"))
)


@frozen
class Wanted:
    """What a list is asked for; what is empty or None is not asked. `text` is part of the title, in any case.
    `since`: what has moved then or later."""

    states: frozenset[State] = frozenset()
    severities: frozenset[Severity] = frozenset()
    source: str | None = None
    service: str | None = None
    text: str = ""
    since: Millis | None = None


@frozen
class Found:
    """Rows of `incidents`. `rest`: there may be more behind this place, though these be fewer than were asked for."""

    rows: Sequence[Any]
    rest: Place | None


async def search(connection: Connection, wanted: Wanted, before: Place | None, most: int) -> Found:
    """The newest `most` that fit, of those behind the place `before`."""
    behind = [] if before is None else [sa.tuple_(*_ORDER) < sa.tuple_(*before)]
    if wanted.since is not None:
        moved = await connection.all(_MOVED, {"since": wanted.since, "most": FEW + 1})
        if len(moved) <= FEW:
            query = _page([among(incidents.c.id, "ids"), *_conditions(wanted).values(), *behind], most)
            return _found(await connection.all(query, {"ids": listed([row["id"] for row in moved])}), most, None)
    rows: list[Any] = []
    floor: Place | None = None
    for way in _ways(wanted):
        ground = await _ground(connection, [*way.walked, *behind], way.most) if way.sifted else None
        above = [] if ground is None else [sa.tuple_(*_ORDER) >= sa.tuple_(*ground)]
        rows += await connection.all(_page([*way.walked, *way.sifted, *behind, *above], most))
        if ground is not None:
            floor = ground if floor is None else max(floor, ground)
    # Below the highest ground one of the ways has not been looked at yet.
    return _found([row for row in rows if floor is None or _place(row) >= floor], most, floor)


@frozen
class _Way:
    """What an index answers, and what is to be sifted on the way, of at most so many rows."""

    walked: Sequence[Condition]
    sifted: Sequence[Condition]
    most: int


def _ways(wanted: Wanted) -> list[_Way]:
    """One, or several to be walked side by side."""
    sifted = _conditions(wanted)
    if wanted.states and "resolved" not in wanted.states:
        return _by_state(wanted, sifted)
    for name, column, value in (
        ("service", incidents.c.service, wanted.service),
        ("source", incidents.c.source, wanted.source),
    ):
        if value is not None:
            del sifted[name]
            return [_Way([column == value], list(sifted.values()), MOST_SCATTERED)]
    if wanted.severities:
        del sifted["severities"]
        walked = [incidents.c.severity == int(level) for level in sorted(wanted.severities)]
        return [_Way([one], list(sifted.values()), MOST_SCATTERED // len(walked)) for one in walked]
    return _by_state(wanted, sifted) or [_Way([], list(sifted.values()), MOST_SIFTED)]


def _by_state(wanted: Wanted, sifted: dict[str, Condition]) -> list[_Way]:
    rest = [condition for name, condition in sifted.items() if name != "states"]
    most = {"resolved": MOST_SIFTED}
    return [_Way([incidents.c.state == one], rest, most.get(one, MOST_SCATTERED)) for one in sorted(wanted.states)]


def _conditions(wanted: Wanted) -> dict[str, Condition]:
    """Each condition that was asked for, as it is asked of a row that was found."""
    asked: dict[str, Condition] = {}
    if wanted.states:
        asked["states"] = apart(incidents.c.state).in_(sorted(wanted.states))
    if wanted.severities:
        levels = sorted(int(severity) for severity in wanted.severities)
        asked["severities"] = apart(incidents.c.severity, 0).in_(levels)
    if wanted.source is not None:
        asked["source"] = apart(incidents.c.source) == wanted.source
    if wanted.service is not None:
        asked["service"] = apart(incidents.c.service) == wanted.service
    if wanted.text:
        asked["text"] = incidents.c.title.icontains(wanted.text, autoescape=True)
    if wanted.since is not None:
        asked["since"] = apart(incidents.c.updated_at, 0) >= wanted.since
    return asked


async def _ground(connection: Connection, where: Sequence[Condition], most: int) -> Place | None:
    """The last place that is looked at; None where all that there is may be."""
    query = sa.select(*_ORDER).where(*where).order_by(*_DOWN).limit(1).offset(most - 1)
    row = await connection.one(Prepared(query))
    return None if row is None else _place(row)


def _page(where: Sequence[Condition], most: int) -> Prepared:
    return Prepared(sa.select(incidents).where(*where).order_by(*_DOWN).limit(most + 1))


def _found(rows: Sequence[Any], most: int, floor: Place | None) -> Found:
    """`rows` in any order, with one more than asked for where there is more."""
    found = sorted(rows, key=_place, reverse=True)
    return Found(found[:most], _place(found[most - 1]) if len(found) > most else floor)


def _place(row: Any) -> Place:
    return row["opened_at"], row["id"]
