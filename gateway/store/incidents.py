"""`incidents`: the living problems and the past ones, keyed by source and fingerprint."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields as fields_of
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json

from gateway.model import Incident, Key, Severity
from gateway.store.driver import Connection, Prepared, Row, among, listed, written
from gateway.store.schema import LIVING, apart, incidents, word
from gateway.store.searching import Place, Wanted, search

_COLUMNS = [field.name for field in fields_of(Incident)]
_STORED = [name for name in _COLUMNS if name != "number"]
_VALUES = attrgetter(*_STORED)
_FIXED = ("id", "source", "adapter", "fingerprint", "opened_at", "previous")
_NEW_NAMES = [(f"new_{name}", name) for name in _STORED if name not in _FIXED]
_KEY = (incidents.c.source, incidents.c.fingerprint)
_ADD = Prepared(sa.insert(incidents).values({name: sa.bindparam(name) for name in _STORED}))
_MOVE = Prepared(
    sa.update(incidents)
    .where(incidents.c.id == sa.bindparam("incident"))
    .values({name: sa.bindparam(new) for new, name in _NEW_NAMES})
)
_LIVING = Prepared(sa.select(incidents).where(among(_KEY, "keys"), LIVING))
# Grouped and asked `apart`, so that only `incidents_key` and the number serve: by the source alone, or the state, it
# would be a walk through everything that there ever was.
_NEWEST = (
    sa.select(sa.func.max(incidents.c.number)).where(among(_KEY, "keys")).group_by(*(apart(column) for column in _KEY))
)
_LAST = Prepared(
    sa.select(incidents).where(incidents.c.number.in_(_NEWEST), apart(incidents.c.state) == word("resolved"))
)
_BY_ID = Prepared(sa.select(incidents).where(among(incidents.c.id, "ids")))
_BY_NUMBER = Prepared(sa.select(incidents).where(incidents.c.number == sa.bindparam("name")))
_COUNT = Prepared(
    sa.select(incidents.c.source, sa.func.count().label("many")).where(LIVING).group_by(incidents.c.source)
)


_LIVING_AFTER = Prepared(
    sa.select(incidents)
    .where(sa.tuple_(*_KEY) > sa.tuple_(sa.bindparam("of_source"), sa.bindparam("of_fingerprint")), LIVING)
    .order_by(*_KEY)
    .limit(sa.bindparam("most"))
)


class Incidents:
    """The incidents of one transaction. See `contracts.Incidents`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def living(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Incident]:
        return await self._by_key(_LIVING, keys)

    async def last_resolved(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Incident]:
        return await self._by_key(_LAST, keys)

    async def by_id(self, ids: Collection[str]) -> dict[str, Incident]:
        rows = await self._connection.all(_BY_ID, {"ids": listed(ids)}) if ids else []
        return {row["id"]: incident_of(row) for row in rows}

    async def save(self, new: Sequence[Incident], moved: Sequence[Incident]) -> None:
        if moved:
            await self._connection.put(_MOVE, [_changed(incident) for incident in moved])
        if new:
            await self._connection.put(_ADD, [_row(incident) for incident in new])

    async def find(self, name: str) -> Incident | None:
        """By id, or by number where the name is one."""
        if name.isascii() and name.isdigit() and len(name) < 19:
            row = await self._connection.one(_BY_NUMBER, {"name": int(name)})
        else:
            row = await self._connection.one(_BY_ID, {"ids": listed([name])})
        return None if row is None else incident_of(row)

    async def page(self, wanted: Wanted, before: Place | None, most: int) -> tuple[list[Incident], Place | None]:
        """Incidents, newest first by `opened_at`, of those behind a place; and where the next page begins, None where
        there is none. A page may be shorter than asked for though another follows: see `searching`."""
        found = await search(self._connection, wanted, before, most)
        return [incident_of(row) for row in found.rows], found.rest

    async def living_after(self, key: Key, most: int) -> list[Incident]:
        """The incidents not resolved whose (source, fingerprint) is greater, in that order."""
        asked = {"of_source": key[0], "of_fingerprint": key[1], "most": most}
        return [incident_of(row) for row in await self._connection.all(_LIVING_AFTER, asked)]

    async def count_living(self) -> dict[str, int]:
        return {row["source"]: int(row["many"]) for row in await self._connection.all(_COUNT)}

    async def _by_key(self, statement: Prepared, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Incident]:
        rows = await self._connection.all(statement, {"keys": listed(keys)}) if keys else []
        return {(row["source"], row["fingerprint"]): incident_of(row) for row in rows}


def incident_of(row: Row) -> Incident:
    values = {name: row[name] for name in _COLUMNS}
    values["severity"] = Severity(values["severity"])
    values["worst"] = Severity(values["worst"])
    values["labels"] = from_json(values["labels"])
    values["fields"] = from_json(values["fields"])
    values["moves"] = tuple(from_json(values["moves"]))
    values["unrouted"] = bool(values["unrouted"])
    values["momentary"] = bool(values["momentary"])
    return Incident(**values)


def _row(incident: Incident) -> dict[str, Any]:
    values = dict(zip(_STORED, _VALUES(incident), strict=True))
    values["severity"] = int(incident.severity)
    values["worst"] = int(incident.worst)
    values["labels"] = written(dict(incident.labels))
    values["fields"] = written(dict(incident.fields))
    values["moves"] = written(incident.moves)
    return values


def _changed(incident: Incident) -> dict[str, Any]:
    row = _row(incident)
    return {"incident": incident.id, **{new: row[name] for new, name in _NEW_NAMES}}
