"""`timers`: what is to be looked at again, and when. One for each kind, subject and name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json

from gateway.model import Millis, Timer, TimerKind
from gateway.store.driver import Connection, Prepared, Row, among, insert, listed, written
from gateway.store.schema import timers

_NEW = insert(timers)
_SET = Prepared(
    _NEW.on_conflict_do_update(
        index_elements=[timers.c.subject, timers.c.kind, timers.c.name],
        set_={"due_at": _NEW.excluded.due_at, "wall": _NEW.excluded.wall, "about": _NEW.excluded.about},
    )
)
_THESE = among((timers.c.subject, timers.c.kind, timers.c.name), "keys")
_DROP = Prepared(sa.delete(timers).where(_THESE))
_CANCEL = Prepared(sa.delete(timers).where(among(timers.c.subject, "subjects"), among(timers.c.kind, "kinds")))
_OF = Prepared(sa.select(timers).where(among(timers.c.subject, "subjects")).order_by(timers.c.due_at))
_DUE = Prepared(
    sa.select(timers)
    .where(timers.c.due_at <= sa.bindparam("now"))
    .order_by(timers.c.due_at)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_IS_DUE = timers.c.due_at <= sa.bindparam("now")
_LOOK = Prepared(
    sa.select(*(column for column in timers.c if column.name != "about"))
    .where(_IS_DUE)
    .order_by(timers.c.due_at)
    .limit(sa.bindparam("most"))
)
_TAKE = Prepared(sa.delete(timers).where(_THESE, _IS_DUE).returning(*timers.c))
_PUT_OFF = Prepared(sa.update(timers).where(_THESE, _IS_DUE).values(due_at=sa.bindparam("until")))
_NEXT = Prepared(sa.select(sa.func.min(timers.c.due_at).label("due")))
_LATER = timers.c.due_at > sa.bindparam("now")
_HASTEN_ALL = Prepared(
    sa.update(timers).where(timers.c.kind == sa.bindparam("of_kind"), _LATER).values(due_at=sa.bindparam("now"))
)
_HASTEN = Prepared(
    sa.update(timers)
    .where(timers.c.kind == sa.bindparam("of_kind"), among(timers.c.name, "names"), _LATER)
    .values(due_at=sa.bindparam("now"))
)
_SHIFT = Prepared(
    sa.update(timers).where(timers.c.wall == sa.false()).values(due_at=timers.c.due_at + sa.bindparam("by"))
)


class Timers:
    """The timers of one transaction. See `contracts.Timers`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def set(self, armed: Sequence[Timer]) -> None:
        if armed:
            await self._connection.put(_SET, [_row(timer) for timer in armed])

    async def cancel(self, subjects: Collection[str], kinds: Collection[TimerKind]) -> None:
        if subjects:
            await self._connection.put(_CANCEL, [{"subjects": listed(subjects), "kinds": listed(kinds)}])

    async def drop(self, gone: Sequence[Timer]) -> None:
        if gone:
            await self._connection.put(_DROP, [{"keys": _keys(gone)}])

    async def of(self, subjects: Collection[str]) -> dict[str, list[Timer]]:
        found: dict[str, list[Timer]] = {}
        for row in await self._connection.all(_OF, {"subjects": listed(subjects)}) if subjects else []:
            found.setdefault(row["subject"], []).append(_timer(row))
        return found

    async def due(self, now: Millis, most: int) -> list[Timer]:
        taken = [_timer(row) for row in await self._connection.all(_DUE, {"now": now, "most": most})]
        await self.drop(taken)
        return taken

    async def look(self, now: Millis, most: int) -> list[Timer]:
        rows = await self._connection.all(_LOOK, {"now": now, "most": most})
        return [_timer({**dict(row), "about": "{}"}) for row in rows]

    async def take(self, timer: Timer, now: Millis) -> Timer | None:
        row = await self._connection.one(_TAKE, {"keys": _keys([timer]), "now": now})
        return None if row is None else _timer(row)

    async def put_off(self, timers: Sequence[Timer], now: Millis, until: Millis) -> None:
        await self._connection.put(_PUT_OFF, [{"keys": _keys(timers), "now": now, "until": until}])

    async def next_due(self) -> Millis | None:
        row = await self._connection.one(_NEXT)
        return None if row is None else row["due"]

    async def hasten(self, kind: TimerKind, names: Collection[str] | None, now: Millis) -> int:
        if names is None:
            return await self._connection.run(_HASTEN_ALL, {"of_kind": kind, "now": now})
        if not names:
            return 0
        return await self._connection.run(_HASTEN, {"of_kind": kind, "names": listed(names), "now": now})

    async def shift(self, by: Millis) -> None:
        await self._connection.run(_SHIFT, {"by": by})


def _keys(armed: Sequence[Timer]) -> str:
    return listed([(timer.subject, timer.kind, timer.name) for timer in armed])


def _row(timer: Timer) -> dict[str, Any]:
    return {
        "subject": timer.subject,
        "kind": timer.kind,
        "name": timer.name,
        "due_at": timer.due_at,
        "wall": timer.wall,
        "about": written(dict(timer.about)),
    }


def _timer(row: Row) -> Timer:
    return Timer(
        kind=row["kind"],
        subject=row["subject"],
        due_at=row["due_at"],
        name=row["name"],
        wall=bool(row["wall"]),
        about=from_json(row["about"]),
    )
