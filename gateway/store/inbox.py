"""`events` and `seen`: what came in, and the ids that senders have burned."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.contracts import Accepted
from gateway.model import Event, Millis
from gateway.store.schema import events, seen

_ADD = sa.insert(events)
_NEW_KEY = insert(seen)
# A key whose time is over is taken anew; a living one is left and not returned.
_BURN = _NEW_KEY.on_conflict_do_update(
    index_elements=[seen.c.source, seen.c.key],
    set_={"event_id": _NEW_KEY.excluded.event_id, "until": _NEW_KEY.excluded.until},
    where=seen.c.until < sa.bindparam("now"),
)
_WAITING = sa.select(events).where(events.c.state == "waiting").order_by(events.c.id).limit(sa.bindparam("most"))
_FINISH = (
    sa.update(events)
    .where(events.c.id == sa.bindparam("event"))
    .values(state=sa.bindparam("new_state"), reason=sa.bindparam("why"))
)


async def accept(connection: AsyncConnection, entries: Sequence[tuple[Event, str | None, Millis]]) -> list[Accepted]:
    """Store many events and burn their keys. An event whose key is burned already is not stored: the answer
    names the first one's id."""
    firsts: dict[tuple[str, str], str] = {}
    for event, key, _ in entries:
        if key is not None:
            firsts.setdefault((event.source, key), event.id)
    taken = await _burn(connection, entries, firsts) if firsts else {}
    fresh, answers = [], []
    for event, key, _ in entries:
        owner = event.id if key is None else taken.get((event.source, key)) or firsts[event.source, key]
        answers.append(Accepted(owner, duplicate=owner != event.id))
        if owner == event.id:
            fresh.append(_row(event))
    if fresh:
        await connection.execute(_ADD, fresh)
    return answers


async def _burn(
    connection: AsyncConnection,
    entries: Sequence[tuple[Event, str | None, Millis]],
    firsts: Mapping[tuple[str, str], str],
) -> dict[tuple[str, str], str]:
    """Burn each key for the first event that brings it. Who owns the keys now, or {} where all of them are new."""
    now = min(event.received_at for event, _, _ in entries)
    rows = [
        {"source": event.source, "key": key, "event_id": event.id, "until": until, "now": now}
        for event, key, until in entries
        if key is not None and firsts[event.source, key] == event.id
    ]
    if (await connection.execute(_BURN, rows)).rowcount == len(rows):
        return {}
    wanted = [(row["source"], row["key"]) for row in rows]
    owners = await connection.execute(
        sa.select(seen.c.source, seen.c.key, seen.c.event_id).where(sa.tuple_(seen.c.source, seen.c.key).in_(wanted))
    )
    return {(source, key): owner for source, key, owner in owners}


class Inbox:
    """The events of one transaction. See `contracts.Inbox`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def accept(self, entries: Sequence[tuple[Event, str | None, Millis]]) -> list[Accepted]:
        """All of these or none, as `accept` of this file."""
        return await accept(self._connection, entries)

    async def waiting(self, most: int) -> list[Event]:
        return [_event(row) for row in await self._connection.execute(_WAITING, {"most": most})]

    async def add(self, event: Event) -> None:
        await self._connection.execute(_ADD, _row(event))

    async def finish(self, done: Sequence[str], unreadable: Mapping[str, str]) -> None:
        rows = [{"event": id_, "new_state": "done", "why": ""} for id_ in done]
        rows += [{"event": id_, "new_state": "unreadable", "why": why} for id_, why in unreadable.items()]
        if rows:
            await self._connection.execute(_FINISH, rows)

    async def unreadable(self, source: str) -> int:
        found = await self._connection.execute(
            sa.select(sa.func.count()).where(events.c.state == "unreadable", events.c.source == source)
        )
        return int(found.scalar_one())

    async def again(self, id_: str) -> None:
        """Let a kept event be read again. Its reason stays until then, and says that it is a second reading."""
        await self._connection.execute(
            sa.update(events)
            .where(events.c.id == id_)
            .values(state="waiting", reason=sa.case((events.c.reason == "", "replayed"), else_=events.c.reason))
        )

    async def get(self, id_: str) -> Event | None:
        row = (await self._connection.execute(sa.select(events).where(events.c.id == id_))).one_or_none()
        return None if row is None else _event(row)

    async def page(self, state: Collection[str], source: str | None, before: str | None, most: int) -> list[Event]:
        """Events, newest first, without their bodies; those older than the id `before`."""
        columns = [column for column in events.c if column.name != "body"]
        query = sa.select(*columns, sa.literal(b"").label("body")).order_by(events.c.id.desc()).limit(most)
        if state:
            query = query.where(events.c.state.in_(sorted(state)))
        if source is not None:
            query = query.where(events.c.source == source)
        if before is not None:
            query = query.where(events.c.id < before)
        return [_event(row) for row in await self._connection.execute(query)]

    async def depth(self) -> tuple[int, Millis | None]:
        """How many events wait, and when the oldest of them came."""
        row = (
            await self._connection.execute(
                sa.select(sa.func.count(), sa.func.min(events.c.received_at)).where(events.c.state == "waiting")
            )
        ).one()
        return int(row[0]), row[1]

    async def forget_keys(self, now: Millis, most: int = 500) -> int:
        """Drop burned ids whose time is over."""
        old = sa.select(seen.c.source, seen.c.key).where(seen.c.until < now).limit(most)
        result = await self._connection.execute(sa.delete(seen).where(sa.tuple_(seen.c.source, seen.c.key).in_(old)))
        return int(result.rowcount)


def _row(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "source": event.source,
        "adapter": event.adapter,
        "received_at": event.received_at,
        "state": event.state,
        "reason": event.reason,
        "headers": json.dumps(dict(event.headers), ensure_ascii=False),
        "body": event.body,
    }


def _event(row: Any) -> Event:
    return Event(
        id=row.id,
        source=row.source,
        adapter=row.adapter,
        received_at=row.received_at,
        headers=json.loads(row.headers),
        body=bytes(row.body),
        state=row.state,
        reason=row.reason,
    )
