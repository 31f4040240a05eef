"""What is over and old is deleted in small bites: each looks at a few rows in the order of time, takes those that
may go, and says where the next one begins.

A bite is one short transaction of the writer, and one that would take nothing is none. Nothing that lives goes, nor
what something living speaks of. Two that sweep at once (replicas) do each other no harm: rows that the other one holds
are passed over, and what is gone is not found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final

import sqlalchemy as sa

from gateway.model import Millis
from gateway.rules.retention import Bounds
from gateway.store.driver import Connection, Prepared, among, listed
from gateway.store.safe import Ledger, Safe
from gateway.store.schema import (
    alerts,
    apart,
    attempts,
    changes,
    deliveries,
    digests,
    events,
    incidents,
    marks,
    members,
    overrides,
    seen,
    silences,
    timers,
    word,
)
from gateway.values import frozen

ROWS_OF_A_BITE: Final = 150
"""Of any one table."""
EVENTS_OF_A_BITE: Final = 75
INCIDENTS_OF_A_BITE: Final = 20
LOOKED_AT: Final = 500
"""Rows read, by an index and beside the writer, to find those of a bite."""

_MOST: Final[sa.BindParameter[Any]] = sa.bindparam("most")
_BEFORE: Final[sa.BindParameter[Any]] = sa.bindparam("before")


def _next(table: sa.Table, at: sa.Column[Any], *shown: sa.Column[Any]) -> Prepared:
    """The next rows in the order of (at, id), from what lies before the bound."""
    key = sa.tuple_(at, table.c.id) > sa.tuple_(sa.bindparam("after_at"), sa.bindparam("after_id"))
    return Prepared(sa.select(at.label("at"), *shown).where(at < _BEFORE, key).order_by(at, table.c.id).limit(_MOST))


# Ids sort by time, and an id of a millisecond is above the text of that millisecond alone.
_OLD_EVENTS = Prepared(
    sa.select(events.c.id, events.c.state)
    .where(events.c.id > sa.bindparam("after_id"), events.c.id < _BEFORE)
    .order_by(events.c.id)
    .limit(_MOST)
)
_OLD_DIGESTS = Prepared(
    sa.select(digests.c.id, digests.c.closed, digests.c.open, digests.c.updated_at)
    .where(digests.c.id > sa.bindparam("after_id"), digests.c.id < _BEFORE)
    .order_by(digests.c.id)
    .limit(_MOST)
)
# What was resolved before an instant was opened before it, too.
_OLD_INCIDENTS = _next(incidents, incidents.c.opened_at, incidents.c.id, incidents.c.state, incidents.c.resolved_at)
_OLD_SILENCES = _next(silences, silences.c.until, silences.c.id)
_OLD_OVERRIDES = _next(overrides, overrides.c.end, overrides.c.id)


def _taken(table: sa.Table, *where: sa.ColumnElement[bool]) -> Prepared:
    """Those of a list that may go, as it stands in this transaction."""
    return Prepared(sa.select(table.c.id).where(among(table.c.id, "ids"), *where).with_for_update(skip_locked=True))


_PROMISED = sa.or_(deliveries.c.state == word("waiting"), deliveries.c.lease_until > sa.literal_column("0"))
_IN_TALK = (
    sa.select(members.c.digest_id)
    .join_from(members, digests, digests.c.id == members.c.digest_id)
    .where(members.c.incident_id == incidents.c.id, digests.c.closed == sa.false(), digests.c.open > 0)
)


def _promised_of(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.exists(sa.select(deliveries.c.id).where(deliveries.c.incident_id == table.c.id, _PROMISED))


_TAKE_EVENTS = _taken(events, events.c.state != word("waiting"), events.c.received_at < _BEFORE)
_TAKE_INCIDENTS = _taken(
    incidents,
    apart(incidents.c.state) == word("resolved"),
    incidents.c.resolved_at < _BEFORE,
    sa.not_(_promised_of(incidents)),
    sa.not_(sa.exists(_IN_TALK)),
)
_TAKE_DIGESTS = _taken(
    digests,
    sa.or_(digests.c.closed == sa.true(), digests.c.open == 0),
    digests.c.updated_at < _BEFORE,
    sa.not_(_promised_of(digests)),
    sa.not_(sa.exists(sa.select(members.c.digest_id).where(members.c.digest_id == digests.c.id))),
)
# Its timer tells of what it hid: until that has rung, it is not over.
_RINGS = sa.exists(sa.select(timers.c.subject).where(timers.c.subject == silences.c.id))
_TAKE_SILENCES = _taken(silences, silences.c.until < _BEFORE, sa.not_(_RINGS))
_TAKE_OVERRIDES = _taken(overrides, overrides.c.end < _BEFORE)


def _some(table: sa.Table, of: sa.ColumnElement[Any]) -> Prepared:
    """Rows that belong to a list, at most so many."""
    return Prepared(sa.delete(table).where(table.c.id.in_(sa.select(table.c.id).where(among(of, "ids")).limit(_MOST))))


def _all(table: sa.Table, of: sa.ColumnElement[Any]) -> Prepared:
    return Prepared(sa.delete(table).where(among(of, "ids")))


_TRIES = (
    sa.select(attempts.c.id)
    .join_from(deliveries, attempts, attempts.c.delivery_id == deliveries.c.id)
    .where(among(deliveries.c.incident_id, "ids"))
    .limit(_MOST)
)
_DROP_ATTEMPTS = Prepared(sa.delete(attempts).where(attempts.c.id.in_(_TRIES)))
_DROP_DELIVERIES = _some(deliveries, deliveries.c.incident_id)
_DROP_CHANGES = _some(changes, changes.c.incident_id)
_DROP_ALERTS = _some(alerts, alerts.c.event_id)
_HIDDEN = sa.select(members.c.digest_id, members.c.incident_id).where(among(members.c.digest_id, "ids")).limit(_MOST)
_DROP_HIDDEN = Prepared(sa.delete(members).where(sa.tuple_(members.c.digest_id, members.c.incident_id).in_(_HIDDEN)))
_DROP_MEMBERS = _all(members, members.c.incident_id)
_DROP_MARKS = _all(marks, marks.c.incident_id)
_DROP_TIMERS = _all(timers, timers.c.subject)
_SPENT_KEYS = sa.select(seen.c.source, seen.c.key).where(seen.c.until < _BEFORE).limit(_MOST)
_DROP_KEYS = Prepared(sa.delete(seen).where(sa.tuple_(seen.c.source, seen.c.key).in_(_SPENT_KEYS)))


@frozen
class Kind:
    """One sort of thing that goes as a whole: how it is found, when it may go, and what goes before it, whose number
    has no bound, and with it."""

    name: str
    bite: int
    take: Prepared
    table: sa.Table
    parts: Sequence[Prepared] = ()
    rest: Sequence[Prepared] = ()
    drop: Prepared = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "drop", _all(self.table, self.table.c.id))


EVENT: Final = Kind("event", EVENTS_OF_A_BITE, _TAKE_EVENTS, events, (_DROP_ALERTS,))
INCIDENT: Final = Kind(
    "incident",
    INCIDENTS_OF_A_BITE,
    _TAKE_INCIDENTS,
    incidents,
    (_DROP_ATTEMPTS, _DROP_DELIVERIES, _DROP_CHANGES),
    (_DROP_MEMBERS, _DROP_MARKS, _DROP_TIMERS),
)
DIGEST: Final = Kind(
    "digest", INCIDENTS_OF_A_BITE, _TAKE_DIGESTS, digests, (_DROP_ATTEMPTS, _DROP_DELIVERIES), (_DROP_TIMERS,)
)
SILENCE: Final = Kind("silence", INCIDENTS_OF_A_BITE, _TAKE_SILENCES, silences, (_DROP_HIDDEN,), (_DROP_TIMERS,))
OVERRIDE: Final = Kind("override", ROWS_OF_A_BITE, _TAKE_OVERRIDES, overrides)
KEY: Final = "key"
_BY_ID: Final = (EVENT, DIGEST)
_FIND: Final = {
    "event": _OLD_EVENTS,
    "incident": _OLD_INCIDENTS,
    "digest": _OLD_DIGESTS,
    "silence": _OLD_SILENCES,
    "override": _OLD_OVERRIDES,
}

Place = tuple[Millis, str]
START: Final[Place] = (0, "")


@frozen
class Looked:
    """`ids` may go; `place` is where to look next, None where there is no more."""

    ids: tuple[str, ...]
    place: Place | None


async def look(store: Safe, kind: Kind, bounds: Bounds, place: Place) -> Looked:
    """Beside the writer. Raises StoreUnavailable."""
    return await store.read(lambda ledger: _Rooms(ledger).look(kind, bounds, place))


async def bite(store: Safe, kind: Kind, bounds: Bounds, ids: Sequence[str]) -> tuple[int, bool]:
    """In one short transaction. How many went, and whether some of them must be bitten off in a further one, for too
    much belongs to them. Raises StoreUnavailable."""
    return await store.write(lambda ledger: _Rooms(ledger).bite(kind, bounds, ids), lasting=False)


async def forget_keys(store: Safe, now: Millis) -> int:
    """Burned ids whose time is over; how many went. Raises StoreUnavailable."""
    return await store.write(lambda ledger: _Rooms(ledger).forget_keys(now), lasting=False)


class _Rooms:
    """The tables of one transaction, as the sweeper goes through them."""

    def __init__(self, ledger: Ledger) -> None:
        self._connection: Connection = ledger._connection  # noqa: SLF001  # a room of the same house

    async def look(self, kind: Kind, bounds: Bounds, place: Place) -> Looked:
        before, by_id = _before(kind, bounds), kind in _BY_ID
        at, after = place
        asked = {"before": first_id(before) if by_id else before, "after_at": at, "after_id": after, "most": LOOKED_AT}
        rows = await self._connection.all(_FIND[kind.name], asked)
        ids: list[str] = []
        for number, row in enumerate(rows, 1):
            if _may_go(kind, row, before):
                ids.append(row["id"])
            if len(ids) == kind.bite or number == LOOKED_AT:
                return Looked(tuple(ids), (0 if by_id else row["at"], row["id"]))
        return Looked(tuple(ids), None)

    async def bite(self, kind: Kind, bounds: Bounds, ids: Sequence[str]) -> tuple[int, bool]:
        asked: Mapping[str, Any] = {"ids": listed(ids), "before": _before(kind, bounds)}
        taken = [row["id"] for row in await self._connection.all(kind.take, asked)]
        if not taken:
            return 0, False
        these = {"ids": listed(taken), "most": ROWS_OF_A_BITE}
        for part in kind.parts:
            if await self._connection.run(part, these) == ROWS_OF_A_BITE:
                return 0, True
        for part in (*kind.rest, kind.drop):
            await self._connection.run(part, these)
        return len(taken), False

    async def forget_keys(self, now: Millis) -> int:
        return await self._connection.run(_DROP_KEYS, {"before": now, "most": ROWS_OF_A_BITE})


def first_id(at: Millis) -> str:
    """Below every id made at this millisecond, and above all those made before."""
    stamp = f"{max(at, 0):012x}"
    return f"{stamp[:8]}-{stamp[8:]}"


def _before(kind: Kind, bounds: Bounds) -> Millis:
    return bounds.events if kind is EVENT else bounds.incidents


def _may_go(kind: Kind, row: Any, before: Millis) -> bool:
    """By what was read; `Kind.take` asks again, and for more."""
    if kind is EVENT:
        return bool(row["state"] != "waiting")
    if kind is INCIDENT:
        return bool(row["state"] == "resolved" and (row["resolved_at"] or before) < before)
    if kind is DIGEST:
        return bool((row["closed"] or row["open"] == 0) and row["updated_at"] < before)
    return True
