"""`changes` and `alerts`: how incidents moved, with the decision taken each time, and what was said to move them.

Append-only: nothing here is ever rewritten."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gateway.contracts import Statement
from gateway.model import Alert, Change, Json, Severity
from gateway.rules.shapes import because_json, outcome_json, plan_json
from gateway.rules.verdicts import PACKED_FROM, Table, Verdicts, table, unpacked
from gateway.store.driver import Connection, Prepared, Row, among, each, greatest, item, listed, written
from gateway.store.schema import alerts, changes, routings

_ADD = Prepared(sa.insert(changes))
_ADD_STATEMENT = Prepared(sa.insert(alerts))
MOST_OF_ONE = 200
"""Changes of one incident that a message is made from, beside the one said last."""

# Each incident asked for, with the revision that was said last: [["id", 3], …].
_ASKED = each("asked").table_valued("value", name="asked")
_ID = item(_ASKED.c.value, 0, sa.Text())
_SAID = item(_ASKED.c.value, 1, sa.Integer())
_LATE = sa.select(sa.func.max(changes.c.revision) - (MOST_OF_ONE - 1)).where(changes.c.incident_id == _ID)
_CHANGE = sa.select(*[column for column in changes.c if column.name != "decision"])
_THE_SAID = sa.and_(changes.c.incident_id == _ID, changes.c.revision == _SAID)
_THE_NEWEST = sa.and_(
    changes.c.incident_id == _ID,
    # One bound, so that it is sought in the index: of two, one would be asked of every row.
    changes.c.revision >= greatest(_SAID + 1, _LATE.correlate(_ASKED).scalar_subquery()),
)
_OF = Prepared(
    sa.union_all(
        _CHANGE.join_from(_ASKED, changes, _THE_SAID), _CHANGE.join_from(_ASKED, changes, _THE_NEWEST)
    ).order_by("incident_id", "revision")
)
_STORY = Prepared(
    sa.select(changes).where(changes.c.incident_id == sa.bindparam("incident")).order_by(changes.c.revision)
)
_NEWEST = sa.select(alerts).order_by(alerts.c.id.desc()).limit(sa.bindparam("most"))
_OF_EVENT = Prepared(_NEWEST.where(alerts.c.event_id == sa.bindparam("name")))
_OF_INCIDENT = Prepared(_NEWEST.where(alerts.c.incident_id == sa.bindparam("name")))
_OF_EVENTS = Prepared(sa.select(alerts).where(among(alerts.c.event_id, "ids")).order_by(alerts.c.id))
_TABLE = Prepared(sa.select(routings.c.routes).where(routings.c.id == sa.bindparam("table")))
_ADD_TABLE = Prepared(sa.insert(routings))
_FORGET = Prepared(sa.delete(alerts).where(alerts.c.event_id == sa.bindparam("event")))


class Changes:
    """The history of one transaction. See `contracts.Changes`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def record(self, moved: Sequence[Change], statements: Sequence[Statement]) -> None:
        tables: dict[str, Table] = {}
        if moved:
            await self._connection.put(_ADD, [_row(change, tables) for change in moved])
        for one in tables.values():
            if await self._connection.one(_TABLE, {"table": one.id}) is None:
                await self._connection.put(_ADD_TABLE, [{"id": one.id, "routes": one.text}])
        if statements:
            await self._connection.put(_ADD_STATEMENT, [_statement_row(one) for one in statements])

    async def of(self, said: Mapping[str, int]) -> dict[str, list[Change]]:
        found: dict[str, list[Change]] = {id_: [] for id_ in said}
        asked = [(id_, max(revision, 1)) for id_, revision in said.items()]
        for row in await self._connection.all(_OF, {"asked": listed(asked)}):
            found[row["incident_id"]].append(_change(row))
        return found

    async def story(self, incident: str) -> list[tuple[Change, Json]]:
        """Every change of one incident, oldest first, each with its decision in the public shape, or None."""
        tables: dict[str, Json] = {}
        return [
            (_change(row), None if row["decision"] is None else await self._decision(row["decision"], tables))
            for row in await self._connection.all(_STORY, {"incident": incident})
        ]

    async def _decision(self, text: str, tables: dict[str, Json]) -> Json:
        """A decision in its public shape; one that was packed is unpacked beside its table."""
        decision = json.loads(text)
        if "packed" not in decision:
            return decision
        packed, id_ = decision.pop("packed"), decision.pop("table")
        if id_ not in tables:
            row = await self._connection.one(_TABLE, {"table": id_})
            tables[id_] = json.loads(row["routes"]) if row is not None else []
        return {"routes": unpacked(packed, tables[id_]), **decision}

    async def statements(
        self, *, event: str | None = None, incident: str | None = None, most: int = 200
    ) -> list[Statement]:
        """What an event said, or the newest things said of an incident; oldest first."""
        statement, name = (_OF_EVENT, event) if event is not None else (_OF_INCIDENT, incident)
        rows = await self._connection.all(statement, {"name": name, "most": most})
        return [_statement(row) for row in reversed(rows)]

    async def statements_of(self, events: Collection[str]) -> dict[str, list[Statement]]:
        found: dict[str, list[Statement]] = {id_: [] for id_ in events}
        for row in await self._connection.all(_OF_EVENTS, {"ids": listed(events)}):
            found[row["event_id"]].append(_statement(row))
        return found

    async def forget_statements(self, event: str) -> None:
        """Before an event is read again by force: its old statements would count twice on its face."""
        await self._connection.run(_FORGET, {"event": event})


def _change(row: Row) -> Change:
    return Change(
        id=row["id"],
        incident=row["incident_id"],
        revision=row["revision"],
        at=row["at"],
        what=row["what"],
        state=row["state"],
        severity=Severity(row["severity"]),
        by=row["by"],
        note=row["note"],
        via=row["via"],
    )


def _row(change: Change, tables: dict[str, Table]) -> dict[str, Any]:
    """The row; the table that its decision refers to is added to `tables`."""
    decision = None
    plan = change.decision
    if plan is not None and isinstance(plan.because, Verdicts) and len(plan.because) > PACKED_FROM:
        routes = plan.because
        kept = table(routes.matches, routes.named)
        tables[kept.id] = kept
        packed = {"packed": routes.packed(because_json), "table": kept.id, **outcome_json(plan, change.at)}
        decision = written(packed)
    elif plan is not None:
        decision = written(plan_json(plan, change.at))
    return {
        "id": change.id,
        "incident_id": change.incident,
        "revision": change.revision,
        "at": change.at,
        "what": change.what,
        "state": change.state,
        "severity": int(change.severity),
        "by": change.by,
        "note": change.note,
        "decision": decision,
        "via": change.via,
    }


def _statement_row(one: Statement) -> dict[str, Any]:
    alert = one.alert
    return {
        "id": one.id,
        "event_id": one.event,
        "incident_id": one.incident,
        "at": one.at,
        "alert": written(
            {
                "fingerprint": alert.fingerprint,
                "title": alert.title,
                "severity": alert.severity.word,
                "status": alert.status,
                "kind": alert.kind,
                "service": alert.service,
                "environment": alert.environment,
                "body": alert.body,
                "url": alert.url,
                "labels": dict(alert.labels),
                "fields": dict(alert.fields),
                "value": alert.value,
                "occurred_at": alert.occurred_at,
                "momentary": alert.momentary,
            }
        ),
    }


def _statement(row: Row) -> Statement:
    values = json.loads(row["alert"])
    values["severity"] = Severity[values["severity"].upper()]
    return Statement(row["id"], row["event_id"], row["incident_id"], row["at"], Alert(**values))
