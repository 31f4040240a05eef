"""`incidents`: the living problems and the past ones, keyed by source and fingerprint."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import fields as fields_of
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.model import Incident, Millis, Severity
from gateway.store.schema import incidents

_COLUMNS = [field.name for field in fields_of(Incident)]
_ADD = sa.insert(incidents)
_CHANGING = [
    name
    for name in _COLUMNS
    if name not in ("id", "number", "source", "adapter", "fingerprint", "opened_at", "previous")
]
_MOVE = (
    sa.update(incidents)
    .where(incidents.c.id == sa.bindparam("incident"))
    .values({name: sa.bindparam(f"new_{name}") for name in _CHANGING})
)
_KEY = sa.tuple_(incidents.c.source, incidents.c.fingerprint)
MOST_KEYS = 200
"""Keys asked for in one statement: SQLite takes 32,766 values, but long lists are slow to parse."""


class Incidents:
    """The incidents of one transaction. See `contracts.Incidents`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def living(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Incident]:
        found: dict[tuple[str, str], Incident] = {}
        for some in _bites(sorted(keys)):
            query = sa.select(incidents).where(_KEY.in_(some), incidents.c.state != "resolved")
            for row in await self._connection.execute(query):
                found[row.source, row.fingerprint] = incident_of(row)
        return found

    async def last_resolved(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Incident]:
        found: dict[tuple[str, str], Incident] = {}
        for some in _bites(sorted(keys)):
            newest = (
                sa.select(sa.func.max(incidents.c.number))
                .where(_KEY.in_(some))
                .group_by(incidents.c.source, incidents.c.fingerprint)
            )
            query = sa.select(incidents).where(incidents.c.number.in_(newest), incidents.c.state == "resolved")
            for row in await self._connection.execute(query):
                found[row.source, row.fingerprint] = incident_of(row)
        return found

    async def by_id(self, ids: Collection[str]) -> dict[str, Incident]:
        found: dict[str, Incident] = {}
        for some in _bites(sorted(ids)):
            for row in await self._connection.execute(sa.select(incidents).where(incidents.c.id.in_(some))):
                found[row.id] = incident_of(row)
        return found

    async def save(self, new: Sequence[Incident], moved: Sequence[Incident]) -> None:
        if moved:
            await self._connection.execute(_MOVE, [_changed(incident) for incident in moved])
        if new:
            await self._connection.execute(_ADD, [_row(incident) for incident in new])

    async def find(self, name: str) -> Incident | None:
        """By id, or by number where the name is one."""
        column = incidents.c.number == int(name) if _is_number(name) else incidents.c.id == name
        row = (await self._connection.execute(sa.select(incidents).where(column))).one_or_none()
        return None if row is None else incident_of(row)

    async def page(
        self, where: Sequence[sa.ColumnElement[bool]], before: tuple[Millis, str] | None, most: int
    ) -> list[Incident]:
        """Incidents, newest first by `opened_at`; those before the given (opened_at, id)."""
        query = sa.select(incidents).where(*where)
        if before is not None:
            query = query.where(sa.tuple_(incidents.c.opened_at, incidents.c.id) < sa.tuple_(*before))
        query = query.order_by(incidents.c.opened_at.desc(), incidents.c.id.desc()).limit(most)
        return [incident_of(row) for row in await self._connection.execute(query)]

    async def count_living(self) -> dict[str, int]:
        rows = await self._connection.execute(
            sa.select(incidents.c.source, sa.func.count())
            .where(incidents.c.state != "resolved")
            .group_by(incidents.c.source)
        )
        return {source: int(count) for source, count in rows}


def incident_of(row: Any) -> Incident:
    values = {name: getattr(row, name) for name in _COLUMNS}
    values["severity"] = Severity(values["severity"])
    values["worst"] = Severity(values["worst"])
    values["labels"] = json.loads(values["labels"])
    values["fields"] = json.loads(values["fields"])
    return Incident(**values)


def _row(incident: Incident) -> dict[str, Any]:
    values = {name: getattr(incident, name) for name in _COLUMNS if name != "number"}
    values["severity"] = int(incident.severity)
    values["worst"] = int(incident.worst)
    values["labels"] = json.dumps(dict(incident.labels), ensure_ascii=False)
    values["fields"] = json.dumps(dict(incident.fields), ensure_ascii=False)
    return values


def _changed(incident: Incident) -> dict[str, Any]:
    row = _row(incident)
    return {"incident": incident.id, **{f"new_{name}": row[name] for name in _CHANGING}}


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 19


def _bites(items: list[Any]) -> list[list[Any]]:
    return [items[start : start + MOST_KEYS] for start in range(0, len(items), MOST_KEYS)]
