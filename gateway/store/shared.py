"""`lanes` and `replicas`: what several gateways on one database must know of each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Final

import sqlalchemy as sa

from gateway.model import Millis, Replica
from gateway.store.driver import Connection, Prepared, insert
from gateway.store.schema import lanes, replicas

LIVES: Final[Millis] = 60_000
"""A gateway that has said nothing for so long has no say any more: its file counts no longer. It says something every
five seconds; a database that is away for a moment takes the word from nobody."""

_COLUMNS = [field.name for field in fields(Replica)]
_LANE = Prepared(sa.select(lanes.c.starts, lanes.c.rest_until).where(lanes.c.channel == sa.bindparam("of_channel")))
_NEW_LANE = insert(lanes)
_SET_LANE = Prepared(
    _NEW_LANE.on_conflict_do_update(
        index_elements=[lanes.c.channel],
        set_={"starts": _NEW_LANE.excluded.starts, "rest_until": _NEW_LANE.excluded.rest_until},
    )
)
_NEW_REPLICA = insert(replicas)
_SEEN = Prepared(
    _NEW_REPLICA.on_conflict_do_update(
        index_elements=[replicas.c.id],
        set_={name: _NEW_REPLICA.excluded[name] for name in _COLUMNS if name != "id"},
    )
)
_ALL = Prepared(sa.select(replicas).order_by(replicas.c.started_at, replicas.c.id))
_LIVES = replicas.c.seen_at > sa.bindparam("since")
_OTHER_FILE = Prepared(
    sa.select(replicas.c.id).where(_LIVES, replicas.c.configuration != sa.bindparam("hash")).limit(1)
)
_COUNTED = Prepared(
    sa.select(replicas.c.id).where(
        _LIVES, replicas.c.id == sa.bindparam("replica"), replicas.c.configuration == sa.bindparam("hash")
    )
)
_GONE = Prepared(sa.delete(replicas).where(replicas.c.seen_at < sa.bindparam("before")))
_LEFT = Prepared(sa.delete(replicas).where(replicas.c.id == sa.bindparam("replica")))


class Shared:
    """The gateways of one transaction. See `contracts.Shared`."""

    def __init__(self, connection: Connection, *, alone: bool) -> None:
        self._connection = connection
        self._alone = alone

    async def lane(self, channel: str) -> tuple[list[Millis], Millis]:
        row = await self._connection.one(_LANE, {"of_channel": channel})
        return (json.loads(row["starts"]), row["rest_until"]) if row is not None else ([], 0)

    async def set_lane(self, channel: str, starts: Sequence[Millis], rest_until: Millis) -> None:
        values = {"channel": channel, "starts": json.dumps(list(starts)), "rest_until": rest_until}
        await self._connection.run(_SET_LANE, values)

    async def seen(self, replica: Replica) -> None:
        await self._connection.run(_SEEN, asdict(replica))

    async def differ(self, configuration: str, now: Millis) -> bool:
        asked = {"hash": configuration, "since": now - LIVES}
        return not self._alone and await self._connection.one(_OTHER_FILE, asked) is not None

    async def counted(self, replica: Replica) -> bool:
        """Whether the others know that it lives and what its file is. Who is alone has nobody who should."""
        asked = {"replica": replica.id, "hash": replica.configuration, "since": replica.seen_at - LIVES}
        return self._alone or await self._connection.one(_COUNTED, asked) is not None

    async def forget(self, before: Millis) -> int:
        return await self._connection.run(_GONE, {"before": before})

    async def leave(self, id_: str) -> None:
        await self._connection.run(_LEFT, {"replica": id_})

    async def replicas(self) -> list[Replica]:
        return [
            Replica(**{**{name: row[name] for name in _COLUMNS}, "refused": bool(row["refused"])})
            for row in await self._connection.all(_ALL)
        ]
