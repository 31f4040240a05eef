"""`deliveries` and `attempts`: the standing promises, and the log of every try to keep them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa
from pydantic_core import from_json

from gateway.contracts import Attempt, Owed, Settled
from gateway.model import GATEWAY, Delivery, Millis, Reached, Severity
from gateway.store.driver import Connection, Prepared, Row, among, insert, listed, written
from gateway.store.newest import Listing, newest
from gateway.store.schema import attempts, deliveries, incidents, word

_TAKEN_BACK = -1
MOST_UNSETTLED = 5
"""Claims in a row that nobody lived to settle: then the message itself is what kills us."""
SUSPECT_WAITS: Final[Millis] = 2_000
"""After a start, for what was under way when the gateway died, twice."""

_NEW = insert(deliveries)
_PROMISE = Prepared(
    _NEW.on_conflict_do_update(
        index_elements=[deliveries.c.incident_id, deliveries.c.channel],
        set_={
            "wanted": sa.case(
                (_NEW.excluded.wanted > deliveries.c.wanted, _NEW.excluded.wanted), else_=deliveries.c.wanted
            ),
            "promised_at": _NEW.excluded.promised_at,
            "due_at": _NEW.excluded.due_at,
            "urgent": _NEW.excluded.urgent,
            "state": "waiting",
            "tries": 0,
            "unknowns": 0,
            "reason": "",
            "digest": _NEW.excluded.digest,
            "person": _NEW.excluded.person,
            "remind": sa.case(
                (_NEW.excluded.remind > deliveries.c.remind, _NEW.excluded.remind), else_=deliveries.c.remind
            ),
        },
    )
)
_CLAIMABLE = (
    sa.select(deliveries.c.id)
    .where(
        deliveries.c.channel == sa.bindparam("lane"),
        deliveries.c.state == word("waiting"),
        deliveries.c.due_at <= sa.bindparam("now"),
        deliveries.c.lease_until <= sa.bindparam("ended"),
    )
    .order_by(deliveries.c.urgent.desc(), deliveries.c.due_at, deliveries.c.id)
    .limit(sa.bindparam("most"))
)
_ITS = incidents.c.id == deliveries.c.incident_id
_LOOK = Prepared(
    _CLAIMABLE.add_columns(
        deliveries.c.token,
        deliveries.c.incident_id,
        deliveries.c.route,
        deliveries.c.person,
        deliveries.c.is_digest,
        deliveries.c.promised_at,
        deliveries.c.reason,
        sa.select(incidents.c.source).where(_ITS).scalar_subquery().label("source"),
        sa.select(incidents.c.severity).where(_ITS).scalar_subquery().label("severity"),
    )
)
# Without MATERIALIZED, PostgreSQL may run the inner query again for each row and lock more than LIMIT.
_DUE = _CLAIMABLE.with_for_update(skip_locked=True).cte("due").prefix_with("MATERIALIZED", dialect="postgresql")
_CLAIM = Prepared(
    sa.update(deliveries)
    .where(deliveries.c.id == _DUE.c.id)
    .values(
        token=deliveries.c.token + 1,
        unsettled=deliveries.c.unsettled + 1,
        lease_until=sa.bindparam("until"),
    )
    .returning(*deliveries.c)
)
_NEWER = deliveries.c.wanted > sa.bindparam("claimed")
_SETTLE = Prepared(
    sa.update(deliveries)
    .where(deliveries.c.id == sa.bindparam("delivery"), deliveries.c.token == sa.bindparam("held"))
    .values(
        # A reason that arose while we spoke keeps the promise waiting, unless we said it already.
        state=sa.case(
            (sa.and_(sa.bindparam("outcome") == "said", deliveries.c.wanted <= sa.bindparam("spoken")), "said"),
            (sa.or_(_NEWER, sa.bindparam("outcome") == "said"), "waiting"),
            else_=sa.bindparam("outcome"),
        ),
        due_at=sa.case((_NEWER, deliveries.c.due_at), else_=sa.bindparam("due")),
        said=sa.bindparam("spoken"),
        attempts=sa.bindparam("all_attempts"),
        tries=sa.bindparam("all_tries"),
        unknowns=sa.bindparam("all_unknowns"),
        reason=sa.bindparam("why"),
        ref=sa.bindparam("new_ref"),
        said_at=sa.bindparam("rang_at"),
        said_severity=sa.bindparam("how_bad"),
        spoken=sa.bindparam("times"),
        reached=sa.bindparam("arrived"),
        unsettled=0,
        lease_until=0,
    )
)


_WAITS = deliveries.c.state == word("waiting")
_THIS = deliveries.c.id == sa.bindparam("delivery")
_THESE = among(deliveries.c.id, "ids")
_LANE = deliveries.c.channel == sa.bindparam("lane")
_LOG = Prepared(sa.insert(attempts))
_OF = Prepared(sa.select(deliveries).where(among(deliveries.c.incident_id, "ids")).order_by(deliveries.c.id))
_TOKENS = Prepared(sa.select(deliveries.c.id, deliveries.c.token).where(_THESE))
_RENEW = Prepared(
    sa.update(deliveries)
    .where(_THIS, deliveries.c.token == sa.bindparam("held"))
    .values(lease_until=sa.bindparam("until"))
)
_RELEASE = Prepared(
    sa.update(deliveries).where(_THIS, deliveries.c.token == sa.bindparam("held")).values(lease_until=0, unsettled=0)
)
_FAIL = Prepared(
    sa.update(deliveries)
    .where(_THIS, _WAITS, deliveries.c.token == sa.bindparam("held"))
    .values(state="failed", lease_until=0, unsettled=0, reason=sa.bindparam("why"))
    .returning(deliveries.c.id)
)
# What was under way at two deaths may be their cause: all others go first.
_SUSPECT = sa.and_(deliveries.c.unsettled > 1, deliveries.c.due_at < sa.bindparam("later"))
_PUT_OFF = Prepared(
    sa.update(deliveries)
    .where(_THIS, _WAITS, deliveries.c.token == sa.bindparam("held"))
    .values(due_at=sa.bindparam("until"), reason=sa.bindparam("why"))
)
_RELEASE_ALL = Prepared(
    sa.update(deliveries)
    .where(_WAITS, deliveries.c.lease_until > 0)
    .values(lease_until=0, due_at=sa.case((_SUSPECT, sa.bindparam("later")), else_=deliveries.c.due_at))
)
_NEXT = Prepared(
    sa.select(sa.func.min(deliveries.c.due_at).label("due")).where(_LANE, _WAITS, deliveries.c.lease_until == 0)
)
_WAKE = Prepared(sa.update(deliveries).where(_LANE, _WAITS, deliveries.c.due_at > 0).values(due_at=0))
_STRANDED = sa.or_(
    deliveries.c.due_at > sa.bindparam("latest_due"), deliveries.c.lease_until > sa.bindparam("latest_lease")
)
# What is being said is none of them: it may be heard yet.
_ORPHANED = sa.and_(sa.not_(among(deliveries.c.channel, "kept")), deliveries.c.lease_until <= sa.bindparam("now"))
_UNSTRAND = Prepared(sa.update(deliveries).where(_WAITS, _STRANDED).values(due_at=0, lease_until=0))
_ANY_STRANDED = Prepared(sa.select(deliveries.c.id).where(_WAITS, _STRANDED).limit(1))
_STRAYS = Prepared(sa.select(deliveries.c.id).where(_WAITS, sa.or_(_STRANDED, _ORPHANED)).limit(1))
_ABANDON = Prepared(sa.update(deliveries).where(_WAITS, _ORPHANED).values(state="failed", reason=sa.bindparam("why")))
# The gateway's own alerts count for nothing here: to tell of one that was not told would go round in circles.
_OTHERS = sa.case((incidents.c.source != word(GATEWAY), 1), else_=0)
_ORPHANS = Prepared(
    sa.select(deliveries.c.channel, sa.func.sum(_OTHERS).label("many"))
    .join(incidents, incidents.c.id == deliveries.c.incident_id)
    .where(_WAITS, _ORPHANED)
    .group_by(deliveries.c.channel)
)
_TAKE_BACK = Prepared(
    sa.update(deliveries)
    .where(
        deliveries.c.state == word("failed"),
        among(deliveries.c.channel, "kept"),
        deliveries.c.reason == sa.bindparam("why"),
    )
    .values(state="waiting", due_at=0, promised_at=sa.bindparam("now"), tries=0, unknowns=0, unsettled=0, reason="")
    .returning(deliveries.c.channel)
)
_AGAIN = Prepared(
    sa.update(deliveries)
    .where(_THIS)
    .values(
        state="waiting",
        urgent=sa.case((deliveries.c.urgent == _TAKEN_BACK, 0), else_=deliveries.c.urgent),
        due_at=0,
        promised_at=sa.bindparam("now"),
        tries=0,
        unknowns=0,
        unsettled=0,
        reason="",
    )
)
_LISTING = Listing(deliveries, deliveries.c, deliveries.c.channel, frozenset(("waiting", "failed")))
_GET = Prepared(sa.select(deliveries).where(_THIS))
_ATTEMPTS = Prepared(sa.select(attempts).where(among(attempts.c.delivery_id, "ids")).order_by(attempts.c.id))
_DEPTHS = Prepared(
    sa.union_all(
        *(
            sa.select(
                deliveries.c.channel,
                word(state).label("state"),
                sa.func.count().label("many"),
                # Of dead letters nobody asks since when; to know would be to read each.
                (sa.func.min(deliveries.c.promised_at) if state == "waiting" else sa.literal_column("0")).label(
                    "oldest"
                ),
            )
            .where(deliveries.c.state == word(state))
            .group_by(deliveries.c.channel)
            for state in ("waiting", "failed")
        )
    )
)
# What has been held for so long by a budget: its turn is taken by a digest.
_HELD = Prepared(
    sa.select(deliveries)
    .where(
        _LANE,
        _WAITS,
        deliveries.c.due_at <= sa.bindparam("now"),
        deliveries.c.lease_until <= sa.bindparam("now"),
        deliveries.c.is_digest == sa.false(),
        deliveries.c.urgent.between(0, sa.bindparam("most_urgent")),
        sa.or_(deliveries.c.said == 0, sa.bindparam("heard_too") == 1),
    )
    .order_by(deliveries.c.urgent.desc(), deliveries.c.due_at, deliveries.c.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_ABSORB = Prepared(
    sa.update(deliveries)
    .where(_THESE)
    .values(state="said", digest=sa.bindparam("new_digest"), reason="", lease_until=0)
)
_WITHDRAW = Prepared(sa.delete(deliveries).where(_THESE, deliveries.c.said == 0, deliveries.c.lease_until == 0))
# What is being said at this moment may be heard: it goes only if that fails.
_DOUBT = Prepared(sa.update(deliveries).where(_THESE, deliveries.c.said == 0).values(urgent=_TAKEN_BACK))
_FORGET = Prepared(sa.delete(deliveries).where(_THESE))
_REACHED = Prepared(
    sa.update(deliveries)
    .where(_THIS, deliveries.c.reached != sa.bindparam("arrived"))
    .values(reached=sa.bindparam("arrived"), reason=sa.bindparam("why"))
)
_SHIFT = Prepared(
    sa.update(deliveries)
    .where(_WAITS, sa.or_(deliveries.c.due_at > 0, deliveries.c.lease_until > 0))
    .values(
        due_at=sa.case((deliveries.c.due_at > 0, deliveries.c.due_at + sa.bindparam("by")), else_=0),
        lease_until=sa.case((deliveries.c.lease_until > 0, deliveries.c.lease_until + sa.bindparam("by")), else_=0),
    )
)
_NEWEST_TOLD = Prepared(
    sa.select(deliveries)
    .where(_LANE, deliveries.c.said_at > sa.literal_column("0"))
    .order_by(deliveries.c.said_at.desc())
    .limit(sa.bindparam("most"))
)
_BURY = Prepared(
    sa.update(deliveries).where(_THESE).values(state="failed", lease_until=0, unsettled=0, reason=sa.bindparam("why"))
)


class Outbox:
    """The deliveries of one transaction. See `contracts.Outbox`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def of(self, incidents: Collection[str]) -> dict[str, list[Delivery]]:
        found: dict[str, list[Delivery]] = {}
        for row in await self._connection.all(_OF, {"ids": listed(incidents)}) if incidents else []:
            found.setdefault(row["incident_id"], []).append(delivery_of(row))
        return found

    async def promise(self, promised: Sequence[Delivery], urgent: Collection[str]) -> None:
        if promised:
            rows = [_row(delivery, urgent=delivery.incident in urgent) for delivery in promised]
            await self._connection.put(_PROMISE, rows)

    async def claim(
        self, channel: str, now: Millis, lease: Millis, most: int, ended: Millis | None = None
    ) -> list[Delivery]:
        """Those that killed us again and again come back as `failed`: dead letters, not to be sent."""
        asked = {"lane": channel, "now": now, "until": now + lease, "most": most}
        claimed = await self._connection.all(_CLAIM, {**asked, "ended": now if ended is None else ended})
        gone = [row["id"] for row in claimed if row["urgent"] == _TAKEN_BACK and row["said"] == 0]
        if gone:
            await self._connection.put(_FORGET, [{"ids": listed(gone)}])
        taken = [row for row in claimed if row["id"] not in gone]
        rows = sorted(taken, key=lambda row: (-row["urgent"], row["due_at"], row["id"]))
        deadly = [row["id"] for row in rows if row["unsettled"] > MOST_UNSETTLED]
        why = f"the gateway died {MOST_UNSETTLED} times while sending this"
        if deadly:
            await self._connection.put(_BURY, [{"ids": listed(deadly), "why": why}])
        return [
            replace(delivery_of(row), state="failed", reason=why) if row["id"] in deadly else delivery_of(row)
            for row in rows
        ]

    async def settle(self, settled: Sequence[Settled]) -> list[str]:
        if not settled:
            return []
        written = await self._connection.many(_SETTLE, [_settlement(one.delivery) for one in settled])
        tried = [_attempt_row(one.attempt) for one in settled if one.attempt is not None]
        if tried:
            await self._connection.put(_LOG, tried)
        if written == len(settled):
            return []
        tokens = await self._connection.all(_TOKENS, {"ids": listed([one.delivery.id for one in settled])})
        held = {row["id"]: row["token"] for row in tokens}
        return [one.delivery.id for one in settled if held.get(one.delivery.id) != one.delivery.token]

    async def renew(self, held: Collection[tuple[str, int]], until: Millis) -> None:
        await self._connection.put(_RENEW, [{"delivery": id_, "held": token, "until": until} for id_, token in held])

    async def release(self, held: Collection[tuple[str, int]]) -> None:
        await self._connection.put(_RELEASE, [{"delivery": id_, "held": token} for id_, token in held])

    async def release_all(self, now: Millis) -> int:
        """At the start of the only process: no lease can have a living owner."""
        return await self._connection.run(_RELEASE_ALL, {"later": now + SUSPECT_WAITS})

    async def look(self, channel: str, now: Millis, most: int) -> list[Owed]:
        rows = await self._connection.all(_LOOK, {"lane": channel, "now": now, "ended": now, "most": most})
        return [_owed(row) for row in rows]

    async def put_off(self, held: Collection[tuple[str, int]], reason: str, until: Millis) -> None:
        rows = [{"delivery": id_, "held": token, "why": reason, "until": until} for id_, token in held]
        await self._connection.put(_PUT_OFF, rows)

    async def fail(self, held: Mapping[tuple[str, int], str]) -> list[str]:
        rows = [{"delivery": id_, "held": token, "why": why} for (id_, token), why in held.items()]
        return [found["id"] for row in rows for found in await self._connection.all(_FAIL, row)]

    async def next_due(self, channel: str) -> Millis | None:
        row = await self._connection.one(_NEXT, {"lane": channel})
        return None if row is None else row["due"]

    async def wake(self, channel: str) -> int:
        return await self._connection.run(_WAKE, {"lane": channel})

    async def strays(
        self, channels: Collection[str] | None, now: Millis, latest_due: Millis, latest_lease: Millis
    ) -> bool:
        """Whether there is anything for `unstrand`, or for `abandon` (not where `channels` is None): every waiting
        one is looked at for that."""
        asked = {"latest_due": latest_due, "latest_lease": latest_lease}
        if channels is None:
            return await self._connection.one(_ANY_STRANDED, asked) is not None
        return await self._connection.one(_STRAYS, {**asked, "kept": listed(channels), "now": now}) is not None

    async def unstrand(self, latest_due: Millis, latest_lease: Millis) -> int:
        """After the wall clock jumped back: what is due or leased beyond any wait we ever set is due now."""
        return await self._connection.run(_UNSTRAND, {"latest_due": latest_due, "latest_lease": latest_lease})

    async def abandon(self, channels: Collection[str], reason: str, now: Millis) -> int:
        return await self._connection.run(_ABANDON, {"kept": listed(channels), "why": reason, "now": now})

    async def orphans(self, channels: Collection[str], now: Millis) -> dict[str, int]:
        """What `abandon` would fail, by channel: how many, those about the gateway itself not counted."""
        rows = await self._connection.all(_ORPHANS, {"kept": listed(channels), "now": now})
        return {row["channel"]: int(row["many"]) for row in rows}

    async def take_back(self, channels: Collection[str], reason: str, now: Millis) -> dict[str, int]:
        """Promise anew what was abandoned for this reason and is for these channels. How many, by channel."""
        rows = await self._connection.all(_TAKE_BACK, {"kept": listed(channels), "why": reason, "now": now})
        return Counter(row["channel"] for row in rows)

    async def held(self, channel: str, now: Millis, most: int, *, urgent: bool, heard_too: bool) -> list[Delivery]:
        """What is due for incidents alone and would ring now; urgent ones too, and those that have heard before too,
        where it is said so. Not claimed."""
        asked = {"lane": channel, "now": now, "most": most, "most_urgent": int(urgent), "heard_too": int(heard_too)}
        return [delivery_of(row) for row in await self._connection.all(_HELD, asked)]

    async def absorb(self, held: Sequence[Delivery], digest: str, attempts_made: Sequence[Attempt]) -> None:
        """Let a digest speak for these, and write down why."""
        await self._connection.put(_ABSORB, [{"ids": listed([one.id for one in held]), "new_digest": digest}])
        await self._connection.put(_LOG, [_attempt_row(one) for one in attempts_made])

    async def withdraw(self, ids: Collection[str]) -> None:
        """Take promises back of which nothing was said. One that is being said stands if that succeeds."""
        if ids:
            await self._connection.put(_WITHDRAW, [{"ids": listed(ids)}])
            await self._connection.put(_DOUBT, [{"ids": listed(ids)}])

    async def reach(self, id_: str, reached: Reached, reason: str) -> bool:
        """Note what the vendor tells of a message; False where that is known."""
        return await self._connection.run(_REACHED, {"delivery": id_, "arrived": reached, "why": reason}) == 1

    async def shift(self, by: Millis) -> None:
        """The wall clock was put forward by so much: what is due and leased moves with it."""
        await self._connection.run(_SHIFT, {"by": by})

    async def newest_told(self, channel: str, most: int) -> list[Delivery]:
        """What this channel was told last, newest first."""
        return [delivery_of(row) for row in await self._connection.all(_NEWEST_TOLD, {"lane": channel, "most": most})]

    async def again(self, id_: str, now: Millis) -> bool:
        """Send once more what failed or was said; False where there is no such delivery."""
        return await self._connection.run(_AGAIN, {"delivery": id_, "now": now}) == 1

    async def get(self, id_: str) -> Delivery | None:
        row = await self._connection.one(_GET, {"delivery": id_})
        return None if row is None else delivery_of(row)

    async def page(self, state: Collection[str], channel: str | None, before: str | None, most: int) -> list[Delivery]:
        """Deliveries, newest first; those older than the id `before`."""
        rows = await newest(self._connection, _LISTING, state, channel, before, most)
        return [delivery_of(row) for row in rows]

    async def attempts_of(self, ids: Collection[str]) -> dict[str, list[Attempt]]:
        found: dict[str, list[Attempt]] = {id_: [] for id_ in ids}
        for row in await self._connection.all(_ATTEMPTS, {"ids": listed(ids)}):
            found[row["delivery_id"]].append(
                Attempt(
                    id=row["id"],
                    delivery=row["delivery_id"],
                    at=row["at"],
                    revision=row["revision"],
                    receipt=row["receipt"],
                    reason=row["reason"],
                    took=row["took"],
                )
            )
        return found

    async def depths(self) -> list[tuple[str, str, int, Millis]]:
        """(channel, state, how many, oldest promise: 0 for what failed) of what waits and of what failed."""
        rows = await self._connection.all(_DEPTHS)
        return [(row["channel"], row["state"], int(row["many"]), row["oldest"]) for row in rows]


def delivery_of(row: Row) -> Delivery:
    return Delivery(
        id=row["id"],
        incident=row["incident_id"],
        channel=row["channel"],
        route=row["route"],
        state=row["state"],
        wanted=row["wanted"],
        said=row["said"],
        promised_at=row["promised_at"],
        due_at=row["due_at"],
        attempts=row["attempts"],
        tries=row["tries"],
        unknowns=row["unknowns"],
        reason=row["reason"],
        ref=from_json(row["ref"]),
        token=row["token"],
        is_digest=bool(row["is_digest"]),
        digest=row["digest"],
        person=row["person"],
        said_at=row["said_at"],
        said_severity=None if row["said_severity"] is None else Severity(row["said_severity"]),
        spoken=row["spoken"],
        reached=row["reached"],
        remind=row["remind"],
    )


def _row(delivery: Delivery, *, urgent: bool) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "incident_id": delivery.incident,
        "channel": delivery.channel,
        "route": delivery.route,
        "state": delivery.state,
        "urgent": int(urgent),
        "wanted": delivery.wanted,
        "said": delivery.said,
        "promised_at": delivery.promised_at,
        "due_at": delivery.due_at,
        "lease_until": 0,
        "token": 0,
        "unsettled": 0,
        "attempts": delivery.attempts,
        "tries": delivery.tries,
        "unknowns": delivery.unknowns,
        "reason": delivery.reason,
        "ref": written(dict(delivery.ref)),
        "is_digest": delivery.is_digest,
        "digest": delivery.digest,
        "person": delivery.person,
        "said_at": delivery.said_at,
        "said_severity": delivery.said_severity,
        "spoken": delivery.spoken,
        "reached": delivery.reached,
        "remind": delivery.remind,
    }


def _settlement(delivery: Delivery) -> dict[str, Any]:
    return {
        "delivery": delivery.id,
        "held": delivery.token,
        "claimed": delivery.wanted,
        "outcome": delivery.state,
        "spoken": delivery.said,
        "due": delivery.due_at,
        "all_attempts": delivery.attempts,
        "all_tries": delivery.tries,
        "all_unknowns": delivery.unknowns,
        "why": delivery.reason,
        "new_ref": written(dict(delivery.ref)),
        "rang_at": delivery.said_at,
        "how_bad": delivery.said_severity,
        "times": delivery.spoken,
        "arrived": delivery.reached,
    }


def _attempt_row(attempt: Attempt) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "delivery_id": attempt.delivery,
        "at": attempt.at,
        "revision": attempt.revision,
        "receipt": attempt.receipt,
        "reason": attempt.reason,
        "took": attempt.took,
    }


def _owed(row: Row) -> Owed:
    known = row["severity"] in set(Severity)  # one of a newer version, and of no incident, may be critical
    return Owed(
        id=row["id"],
        token=row["token"],
        incident=row["incident_id"],
        route=row["route"],
        person=row["person"],
        is_digest=bool(row["is_digest"]),
        promised_at=row["promised_at"],
        reason=row["reason"],
        source=row["source"] or "",
        severity=Severity(row["severity"]) if known else Severity.CRITICAL,
    )
