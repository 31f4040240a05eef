"""`events` and `seen`: what came in, and the ids that senders have burned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json

from gateway.contracts import MOST_BYTES, Accepted
from gateway.model import Event, Millis
from gateway.store.driver import Connection, Prepared, Row, Rows, among, insert, listed, written
from gateway.store.newest import Listing, newest
from gateway.store.schema import apart, events, seen, word

LARGE = 64 * 1024
"""Bytes: no larger body is fetched before it is known that there is room for it."""

_ADD = Rows(lambda rows: sa.insert(events).values(rows), [column.name for column in events.c])
_NEW_KEY = insert(seen)
# A key whose time is over is taken anew; a living one is left as it is.
_BURN = Rows(
    lambda rows: _NEW_KEY.values(rows).on_conflict_do_update(
        index_elements=[seen.c.source, seen.c.key],
        set_={"event_id": _NEW_KEY.excluded.event_id, "until": _NEW_KEY.excluded.until},
        where=seen.c.until < sa.bindparam("now", type_=sa.BigInteger()),
    ),
    [column.name for column in seen.c],
)
_OWNERS = Prepared(
    sa.select(seen.c.source, seen.c.key, seen.c.event_id).where(among((seen.c.source, seen.c.key), "keys"))
)
_BUT_BODY = [column for column in events.c if column.name != "body"]
_SIZE = sa.func.length(events.c.body)  # neither engine reads the body for that
_SMALL = sa.func.length(events.c.body) <= sa.literal_column(str(LARGE))
# A large body is fetched by itself, once it is known that there is room for it.
_WAITING = Prepared(
    sa.select(*_BUT_BODY, _SIZE.label("size"), sa.case((_SMALL, events.c.body)).label("body"))
    .where(events.c.state == word("waiting"))
    .order_by(events.c.id)
    .limit(sa.bindparam("most"))
)
_BODIES = Prepared(sa.select(events.c.id, events.c.body).where(among(events.c.id, "ids")))
_FINISH = Prepared(
    sa.update(events)
    .where(events.c.id == sa.bindparam("event"))
    .values(state=sa.bindparam("new_state"), reason=sa.bindparam("why"))
)
_FINISH_ALL = Prepared(sa.update(events).where(among(events.c.id, "ids")).values(state="done", reason=""))
_UNREADABLE = Prepared(
    sa.select(sa.func.count().label("many")).where(
        # Of one source there may be a million events: those that could not be read are few.
        events.c.state == word("unreadable"),
        apart(events.c.source) == sa.bindparam("of_source"),
    )
)
_AGAIN = Prepared(
    sa.update(events)
    .where(events.c.id == sa.bindparam("event"))
    .values(state="waiting", reason=sa.case((events.c.reason == "", "replayed"), else_=events.c.reason))
)
_SHOWN = (*_BUT_BODY, sa.literal("").label("body"))
_LISTING = Listing(events, _SHOWN, events.c.source, frozenset(("unreadable",)), frozenset(("waiting", "unreadable")))
_GET = Prepared(sa.select(events).where(events.c.id == sa.bindparam("event")))
# The oldest is the first by its id: to ask each of them when it came would read them all.
_FIRST = sa.select(events.c.received_at).where(events.c.state == word("waiting")).order_by(events.c.id).limit(1)
_DEPTH = Prepared(
    sa.select(sa.func.count().label("many"), _FIRST.scalar_subquery().label("oldest")).where(
        events.c.state == word("waiting")
    )
)


async def accept(connection: Connection, entries: Sequence[tuple[Event, str | None, Millis]]) -> list[Accepted]:
    """Store many events and burn their keys. An event whose key is burned already is not stored: the answer
    names the first one's id."""
    firsts = _firsts(entries)
    taken = await _burn(connection, entries, firsts) if firsts else {}
    return await _keep(connection, entries, firsts, taken)


async def accept_new(connection: Connection, entries: Sequence[tuple[Event, str | None, Millis]]) -> list[Accepted]:
    """As `accept`, in the hope that no key is burned, as hardly any is: SQLite's thread then has all of it at once.
    Raises NotNewError, or lets what comes next raise it, where one is; in the same transaction `accept` then takes what
    this one has burned for theirs."""
    firsts = _firsts(entries)
    if firsts:
        await connection.put_new(_BURN, *_burning(entries, firsts))
    return await _keep(connection, entries, firsts, {})


def _firsts(entries: Sequence[tuple[Event, str | None, Millis]]) -> dict[tuple[str, str], str]:
    """The id of the first event that brings it, for each key."""
    firsts: dict[tuple[str, str], str] = {}
    for event, key, _ in entries:
        if key is not None:
            firsts.setdefault((event.source, key), event.id)
    return firsts


async def _keep(
    connection: Connection,
    entries: Sequence[tuple[Event, str | None, Millis]],
    firsts: Mapping[tuple[str, str], str],
    taken: Mapping[tuple[str, str], str],
) -> list[Accepted]:
    """Store those whose key is theirs: by `taken`, where it says whose, else by `firsts`."""
    fresh, answers = [], []
    for event, key, _ in entries:
        owner = event.id if key is None else taken.get((event.source, key)) or firsts[event.source, key]
        answers.append(Accepted(owner, duplicate=owner != event.id))
        if owner == event.id:
            fresh.append(_row(event))
    await connection.put(_ADD, fresh)
    return answers


async def _burn(
    connection: Connection,
    entries: Sequence[tuple[Event, str | None, Millis]],
    firsts: Mapping[tuple[str, str], str],
) -> dict[tuple[str, str], str]:
    """Burn each key for the first event that brings it. Who owns the keys now, or {} where all of them are new."""
    rows, more = _burning(entries, firsts)
    if await connection.add(_BURN, rows, more) == len(rows):
        return {}
    owners = await connection.all(_OWNERS, {"keys": listed([(row["source"], row["key"]) for row in rows])})
    return {(row["source"], row["key"]): row["event_id"] for row in owners}


def _burning(
    entries: Sequence[tuple[Event, str | None, Millis]], firsts: Mapping[tuple[str, str], str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of `_BURN`, and its further values."""
    rows = [
        {"source": event.source, "key": key, "event_id": event.id, "until": until}
        for event, key, until in entries
        if key is not None and firsts[event.source, key] == event.id
    ]
    rows.sort(key=lambda row: (row["source"], row["key"]))  # two that burn the same ones never wait for each other
    return rows, {"now": min(event.received_at for event, _, _ in entries)}


class Inbox:
    """The events of one transaction. See `contracts.Inbox`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def accept(self, entries: Sequence[tuple[Event, str | None, Millis]]) -> list[Accepted]:
        """All of these or none, as `accept` of this file."""
        return await accept(self._connection, entries)

    async def burn(self, place: str, key: str, now: Millis, until: Millis) -> bool:
        """Use a key once, until then; False where it has been used."""
        return (
            await self._connection.add(
                _BURN, [{"source": place, "key": key, "event_id": "", "until": until}], {"now": now}
            )
            == 1
        )

    async def burned(self, place: str, key: str) -> bool:
        """Whether a key was used."""
        return bool(await self._connection.all(_OWNERS, {"keys": listed([(place, key)])}))

    async def waiting(self, most: int) -> list[Event]:
        rows = _as_fit(await self._connection.all(_WAITING, {"most": most}))
        large = [row["id"] for row in rows if row["body"] is None]
        fetched = await self._connection.all(_BODIES, {"ids": listed(large)}) if large else []
        bodies = {row["id"]: row["body"] for row in fetched}
        # One that another gateway has decided and deleted meanwhile is not there any more.
        there = [row for row in rows if row["body"] is not None or row["id"] in bodies]
        return [_event({**dict(row), "body": bodies[row["id"]]} if row["body"] is None else row) for row in there]

    async def add(self, event: Event) -> None:
        await self._connection.put(_ADD, [_row(event)])

    async def finish(self, done: Sequence[str], unreadable: Mapping[str, str]) -> None:
        if done:
            await self._connection.put(_FINISH_ALL, [{"ids": listed(done)}])
        if unreadable:
            rows = [{"event": id_, "new_state": "unreadable", "why": why} for id_, why in unreadable.items()]
            await self._connection.put(_FINISH, rows)

    async def unreadable(self, source: str) -> int:
        row = await self._connection.one(_UNREADABLE, {"of_source": source})
        return int(row["many"]) if row else 0

    async def again(self, id_: str) -> None:
        """Let a kept event be read again. Its reason stays until then, and says that it is a second reading."""
        await self._connection.run(_AGAIN, {"event": id_})

    async def get(self, id_: str) -> Event | None:
        row = await self._connection.one(_GET, {"event": id_})
        return None if row is None else _event(row)

    async def page(self, state: Collection[str], source: str | None, before: str | None, most: int) -> list[Event]:
        """Events, newest first, without their bodies; those older than the id `before`."""
        rows = await newest(self._connection, _LISTING, state, source, before, most)
        return [_event(row) for row in rows]

    async def depth(self) -> tuple[int, Millis | None]:
        """How many events wait, and when the oldest of them came."""
        row = await self._connection.one(_DEPTH)
        return (int(row["many"]), row["oldest"]) if row else (0, None)


def _as_fit(rows: Sequence[Row]) -> list[Row]:
    """The first of these, until their bodies are enough for a batch."""
    before = accumulate((row["size"] for row in rows), initial=0)
    return [row for row, size in zip(rows, before, strict=False) if size < MOST_BYTES]


def _row(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "source": event.source,
        "adapter": event.adapter,
        "received_at": event.received_at,
        "state": event.state,
        "reason": event.reason,
        "headers": written(dict(event.headers)),
        "body": event.body,
    }


def _headers(written: str) -> dict[str, str]:
    """None where they cannot be read: one broken row must not keep from being read what waits behind it."""
    try:
        headers: dict[str, str] = from_json(written)
    except ValueError:
        return {}
    return headers


def _event(row: Row) -> Event:
    return Event(
        id=row["id"],
        source=row["source"],
        adapter=row["adapter"],
        received_at=row["received_at"],
        headers=_headers(row["headers"]),
        body=row["body"] or b"",
        state=row["state"],
        reason=row["reason"],
    )
