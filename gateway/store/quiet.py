"""`silences`, `overrides` and `marks`: what people wish for a time, and which living incidents inhibit others.
`keys`: what this database signs with."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from gateway.model import Millis, Override, Silence
from gateway.store.driver import Connection, Prepared, Row, among, insert, listed
from gateway.store.schema import keys, marks, overrides, silences

_IN_FORCE = sa.and_(silences.c.until > sa.bindparam("now"), silences.c.ended_at.is_(None))
_SILENCES = Prepared(sa.select(silences).where(_IN_FORCE).order_by(silences.c.until))
_SILENCE = Prepared(sa.select(silences).where(silences.c.id == sa.bindparam("silence")))
_ADD_SILENCE = Prepared(sa.insert(silences))
_END_SILENCE = Prepared(
    sa.update(silences)
    .where(
        silences.c.id == sa.bindparam("silence"), silences.c.until > sa.bindparam("now"), silences.c.ended_at.is_(None)
    )
    .values(ended_at=sa.bindparam("now"))
)
_OVERRIDES = Prepared(sa.select(overrides).where(overrides.c.end > sa.bindparam("after")).order_by(overrides.c.end))
_ADD_OVERRIDE = Prepared(sa.insert(overrides))
_DROP_OVERRIDE = Prepared(sa.delete(overrides).where(overrides.c.id == sa.bindparam("override")))
_MARK = Prepared(insert(marks).on_conflict_do_nothing())
_UNMARK = Prepared(sa.delete(marks).where(among(marks.c.incident_id, "ids")))
_MARKED = Prepared(sa.select(marks).where(among(marks.c.mark, "marks")))
_OF = Prepared(sa.select(marks).where(among(marks.c.incident_id, "ids")))
_ADD_KEY = Prepared(insert(keys).on_conflict_do_nothing())
_KEY = Prepared(sa.select(keys.c.value).where(keys.c.name == sa.bindparam("of_name")))


class Quiet:
    """The wishes and marks of one transaction. See `contracts.Quiet`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def silences(self, now: Millis) -> list[Silence]:
        return [_silence(row) for row in await self._connection.all(_SILENCES, {"now": now})]

    async def silence(self, id_: str) -> Silence | None:
        row = await self._connection.one(_SILENCE, {"silence": id_})
        return None if row is None else _silence(row)

    async def add_silence(self, silence: Silence) -> None:
        values = asdict(silence)
        await self._connection.run(_ADD_SILENCE, {**values, "match": json.dumps(silence.match, ensure_ascii=False)})

    async def end_silence(self, id_: str, at: Millis) -> Silence | None:
        if not await self._connection.run(_END_SILENCE, {"silence": id_, "now": at}):
            return None
        return await self.silence(id_)

    async def overrides(self, after: Millis) -> list[Override]:
        return [Override(**dict(row)) for row in await self._connection.all(_OVERRIDES, {"after": after})]

    async def add_override(self, override: Override) -> None:
        await self._connection.run(_ADD_OVERRIDE, asdict(override))

    async def drop_override(self, id_: str) -> bool:
        return await self._connection.run(_DROP_OVERRIDE, {"override": id_}) == 1

    async def mark(self, marked: Collection[tuple[str, str]], unmarked: Collection[str]) -> None:
        if unmarked:
            await self._connection.put(_UNMARK, [{"ids": listed(unmarked)}])
        if marked:
            await self._connection.put(_MARK, [{"mark": mark, "incident_id": id_} for mark, id_ in marked])

    async def marked(self, named: Collection[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for row in await self._connection.all(_MARKED, {"marks": listed(named)}) if named else []:
            found.setdefault(row["mark"], set()).add(row["incident_id"])
        return found

    async def marks_of(self, incidents: Collection[str]) -> dict[str, set[str]]:
        """The marks that each of these incidents bears."""
        found: dict[str, set[str]] = {}
        for row in await self._connection.all(_OF, {"ids": listed(incidents)}) if incidents else []:
            found.setdefault(row["incident_id"], set()).add(row["mark"])
        return found

    async def key(self, name: str) -> bytes:
        """32 random bytes of this database's own under a name: made at the first asking, and the same ever after."""
        await self._connection.run(_ADD_KEY, {"name": name, "value": secrets.token_hex(32)})
        row = await self._connection.one(_KEY, {"of_name": name})
        return bytes.fromhex(row["value"]) if row else b""


def _silence(row: Row) -> Silence:
    values: dict[str, Any] = dict(row)
    return Silence(**{**values, "match": json.loads(values["match"])})
