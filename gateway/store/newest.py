"""Lists of events and deliveries by their ids, newest first, as quick for a state that few are in as for any other."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa

from gateway.store.driver import Connection, Prepared, among, listed
from gateway.store.schema import apart, word
from gateway.values import frozen


@frozen
class Listing:
    """A table with an `id` and a `state`, and the columns to show. States that few rows are in (`seldom`) have an index
    of their own, which is not in the order of ids: what it holds is sorted. `of`: a column that may be asked for as
    well; where a state is one of `fewer`, its index holds less than there is of any one value of that."""

    table: sa.Table
    shown: Iterable[sa.ColumnElement[Any]]
    of: sa.ColumnElement[str]
    seldom: frozenset[str]
    fewer: frozenset[str] = frozenset()

    def conditions(self, state: str, whose: str | None) -> list[sa.ColumnElement[bool]]:
        """Rows in this state (any, where it is empty), and of this value of `of` where one is asked for."""
        asked = [self.table.c.state == word(state)] if state else []
        if whose is not None:
            asked.append((apart(self.of) if state in self.fewer else self.of) == whose)
        return asked


async def newest(
    connection: Connection,
    listing: Listing,
    states: Collection[str],
    whose: str | None,
    before: str | None,
    most: int,
) -> list[Any]:
    """The newest rows in any of these states (none: in all), of those whose id is below `before`, and whose `of` is
    `whose` where that is asked for."""
    table = listing.table
    found: list[Any] = []
    for state in sorted(states) or [""]:
        order = apart(table.c.id) if state in listing.seldom else table.c.id
        conditions = listing.conditions(state, whose)
        if before is not None:
            conditions.append(order < before)
        ids = sa.select(table.c.id).where(*conditions).order_by(order.desc()).limit(most)
        found += await connection.all(Prepared(ids))
    first = sorted((row["id"] for row in found), reverse=True)[:most]
    query = sa.select(*listing.shown).where(among(table.c.id, "ids")).order_by(table.c.id.desc())
    return await connection.all(Prepared(query), {"ids": listed(first)})
