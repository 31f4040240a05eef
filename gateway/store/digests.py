"""`digests` and `members`: conversations about many incidents at once; a silence has members too, the critical
ones that it hid. `spent`: what a storm budget has said."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from gateway.model import Digest, Gathered, Incident, Millis, Severity, State
from gateway.store.driver import Connection, Prepared, Row, among, insert, listed
from gateway.store.incidents import incident_of
from gateway.store.schema import OPEN, digests, incidents, members, spent

_COLUMNS = [field.name for field in fields(Digest)]
_NEW = insert(digests)
_SAVE = Prepared(
    _NEW.on_conflict_do_update(
        index_elements=[digests.c.id],
        set_={
            name: _NEW.excluded[name]
            for name in ("title", "updated_at", "revision", "worst", "members", "open", "closed")
        },
    )
)
_OPEN = Prepared(sa.select(digests).where(among(digests.c.key, "keys"), OPEN).order_by(digests.c.id))
_BY_ID = Prepared(sa.select(digests).where(among(digests.c.id, "ids")))
_OF = Prepared(
    sa.select(members.c.incident_id, *digests.c)
    .join_from(members, digests, digests.c.id == members.c.digest_id)
    .where(among(members.c.incident_id, "ids"), digests.c.closed == sa.false())
)
_EVER = Prepared(
    sa.select(*digests.c)
    .join_from(members, digests, digests.c.id == members.c.digest_id)
    .where(members.c.incident_id == sa.bindparam("incident"))
)
_JOIN = Prepared(insert(members).on_conflict_do_nothing())
_IN = members.c.digest_id == sa.bindparam("digest")
_HERE = sa.select(incidents).join_from(members, incidents, incidents.c.id == members.c.incident_id).where(_IN)
_COUNTS = Prepared(
    sa.select(incidents.c.state, incidents.c.severity, sa.func.count().label("many"))
    .join_from(members, incidents, incidents.c.id == members.c.incident_id)
    .where(_IN)
    .group_by(incidents.c.state, incidents.c.severity)
)
_RESOLVED_LAST = sa.case((incidents.c.state == "resolved", 1), else_=0)
_NAMED = Prepared(
    _HERE.order_by(_RESOLVED_LAST, incidents.c.severity.desc(), incidents.c.number.desc()).limit(sa.bindparam("most"))
)
_LIVING = Prepared(
    _HERE.where(incidents.c.state != "resolved")
    .order_by(incidents.c.severity.desc(), incidents.c.number.desc())
    .limit(sa.bindparam("most"))
)
# Those that nobody has muted come first: one of them is enough.
_AWAITING = Prepared(
    _HERE.where(incidents.c.state == "open")
    .order_by(incidents.c.muted_by != "", incidents.c.severity.desc(), incidents.c.number.desc())
    .limit(sa.bindparam("most"))
)
_SPEND = Prepared(insert(spent).on_conflict_do_nothing())
_FORGET = Prepared(
    sa.delete(spent).where(spent.c.channel == sa.bindparam("lane"), spent.c.at <= sa.bindparam("before"))
)
_SPENT = Prepared(
    sa.select(spent.c.at, spent.c.extra)
    .where(spent.c.channel == sa.bindparam("lane"), spent.c.at > sa.bindparam("after"))
    .order_by(spent.c.at)
)


class Digests:
    """The digests of one transaction. See `contracts.Digests`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def open_by_key(self, keys: Collection[str]) -> dict[str, Digest]:
        rows = await self._connection.all(_OPEN, {"keys": listed(keys)}) if keys else []
        return {row["key"]: _digest(row) for row in rows}

    async def by_id(self, ids: Collection[str]) -> dict[str, Digest]:
        rows = await self._connection.all(_BY_ID, {"ids": listed(ids)}) if ids else []
        return {row["id"]: _digest(row) for row in rows}

    async def of(self, ids: Collection[str]) -> dict[str, list[Digest]]:
        found: dict[str, list[Digest]] = {}
        for row in await self._connection.all(_OF, {"ids": listed(ids)}) if ids else []:
            found.setdefault(row["incident_id"], []).append(_digest(row))
        return found

    async def ever(self, incident: str) -> list[Digest]:
        """The digests that an incident is or was a member of, closed ones too."""
        return [_digest(row) for row in await self._connection.all(_EVER, {"incident": incident})]

    async def save(self, moved: Sequence[Digest], joined: Collection[tuple[str, str]]) -> None:
        if moved:
            await self._connection.put(_SAVE, [{**asdict(one), "worst": int(one.worst)} for one in moved])
        if joined:
            await self._connection.put(_JOIN, [{"digest_id": d, "incident_id": i} for d, i in joined])

    async def gathered(self, ids: Collection[str], most: int) -> dict[str, Gathered]:
        found = {}
        for id_, digest in (await self.by_id(ids)).items():
            counts: dict[tuple[State, Severity], int] = {
                (row["state"], Severity(row["severity"])): int(row["many"])
                for row in await self._connection.all(_COUNTS, {"digest": id_})
            }
            named = await self._connection.all(_NAMED, {"digest": id_, "most": most})
            found[id_] = Gathered(digest, counts, tuple(incident_of(row) for row in named))
        return found

    async def members(self, id_: str, most: int) -> list[Incident]:
        return [incident_of(row) for row in await self._connection.all(_LIVING, {"digest": id_, "most": most})]

    async def awaiting(self, id_: str, most: int) -> list[Incident]:
        """Its members that are open and that nobody has acknowledged, those first that are not muted."""
        return [incident_of(row) for row in await self._connection.all(_AWAITING, {"digest": id_, "most": most})]

    async def everyone(self, id_: str, most: int) -> list[Incident]:
        """Its members, resolved ones too: those first that are not."""
        return [incident_of(row) for row in await self._connection.all(_NAMED, {"digest": id_, "most": most})]

    async def spend(self, channel: str, at: Millis, id_: str, *, extra: bool, forget: Millis) -> None:
        """A message that rang counts against its channel's budget; what lies before `forget` counts no more."""
        await self._connection.put(_FORGET, [{"lane": channel, "before": forget}])
        await self._connection.put(_SPEND, [{"channel": channel, "at": at, "id": id_, "extra": extra}])

    async def spent(self, channel: str, after: Millis) -> list[tuple[Millis, bool]]:
        """When the messages after an instant rang, oldest first, and whether each was over the plain budget."""
        rows = await self._connection.all(_SPENT, {"lane": channel, "after": after})
        return [(row["at"], bool(row["extra"])) for row in rows]


def _digest(row: Row) -> Digest:
    values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    return Digest(**{**values, "worst": Severity(values["worst"]), "closed": bool(values["closed"])})
