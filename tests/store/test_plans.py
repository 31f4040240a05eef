"""Every statement on the way of a webhook finds its rows by an index: a table that grows slows none of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.model import Severity
from gateway.store import changes, digests, inbox, incidents, outbox, quiet, retention, searching, timers
from gateway.store.driver import SQLITE, Prepared
from gateway.store.engines import sqlite as engine
from gateway.store.newest import Listing, newest
from gateway.store.searching import Wanted

STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": statement
    for module in (inbox, incidents, changes, outbox, timers, quiet, digests, retention, searching)
    for name, statement in vars(module).items()
    if isinstance(statement, Prepared)
}
# Run seldom, over an index that holds only what is waiting, living or failed.
GAUGES = {
    "inbox._DEPTH",
    "incidents._COUNT",
    "outbox._DEPTHS",
    "outbox._UNSTRAND",
    "outbox._STRAYS",
    "outbox._ANY_STRANDED",
}
AT_START_OR_RELOAD = {
    "outbox._RELEASE_ALL",
    "outbox._ABANDON",
    "outbox._ORPHANS",
    "outbox._SHIFT",
    "timers._SHIFT",
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "tocsin.db"
    engine.prepare(path)
    return path


def plan(database: Path, statement: Prepared) -> list[str]:
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute(
            f"EXPLAIN QUERY PLAN {statement.on(SQLITE).sql}", statement.on(SQLITE).listed({})
        ).fetchall()
    finally:
        connection.close()
    return [row[3] for row in rows]


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - GAUGES - AT_START_OR_RELOAD))
def test_no_statement_reads_a_whole_table(database: Path, name: str) -> None:
    scans = [
        step
        for step in plan(database, STATEMENTS[name])
        if step.startswith("SCAN")
        and "json_each" not in step
        and "VIRTUAL TABLE" not in step
        and not step.startswith(("SCAN due", "SCAN (sub"))
    ]
    # These hold what is waiting, or could not be read, and nothing else.
    assert all("_waiting" in step or "events_unreadable" in step for step in scans), scans


@pytest.mark.parametrize("name", sorted(GAUGES | AT_START_OR_RELOAD))
def test_what_counts_reads_a_small_index_and_no_table(database: Path, name: str) -> None:
    for step in plan(database, STATEMENTS[name]):
        # timers are a table of nothing but their key
        assert not step.startswith("SCAN") or "INDEX" in step or step == "SCAN timers", step


@pytest.mark.parametrize("kind", [retention.EVENT, retention.INCIDENT, retention.DIGEST, retention.SILENCE])
def test_what_is_deleted_is_found_by_an_index(database: Path, kind: retention.Kind) -> None:
    for statement in (kind.take, kind.drop, *kind.parts, *kind.rest):
        scans = [step for step in plan(database, statement) if step.startswith("SCAN") and "json_each" not in step]
        assert scans == [], statement.sql


WAYS = {
    "incidents_opened": Wanted(text="x"),
    "incidents_state": Wanted(states=frozenset(("open", "acknowledged")), source="x", service="y"),
    "incidents_service": Wanted(service="x", source="y", severities=frozenset((Severity.ERROR,))),
    "incidents_source": Wanted(source="x", text="y", severities=frozenset((Severity.ERROR,))),
    "incidents_severity": Wanted(severities=frozenset((Severity.ERROR, Severity.INFO)), text="x", since=1),
}


@pytest.mark.parametrize("index", WAYS)
@pytest.mark.parametrize("behind", [[], [sa.tuple_(*searching._ORDER) < sa.tuple_(1, "x")]])
def test_a_list_of_incidents_is_walked_by_the_index_that_was_meant(
    database: Path, index: str, behind: list[sa.ColumnElement[bool]]
) -> None:
    for way in searching._ways(WAYS[index]):
        (step,) = plan(database, searching._page([*way.walked, *way.sifted, *behind], 50))
        assert f" {index}" in step, step


@pytest.mark.parametrize(
    ("listing", "states", "whose", "index"),
    [
        (outbox._LISTING, "failed", None, "deliveries_failed"),
        (outbox._LISTING, "waiting", None, "deliveries_due"),
        (outbox._LISTING, "said", None, "sqlite_autoindex_deliveries_1"),
        (outbox._LISTING, "", "x", "deliveries_channel"),
        (outbox._LISTING, "failed", "x", "deliveries_failed"),
        (outbox._LISTING, "waiting", "x", "deliveries_due"),
        (inbox._LISTING, "", "x", "events_source"),
        (inbox._LISTING, "done", "x", "events_source"),
        # Of one source there may be a million, of these states a few.
        (inbox._LISTING, "waiting", "x", "events_waiting"),
        (inbox._LISTING, "unreadable", "x", "events_unreadable"),
        (inbox._LISTING, "unreadable", None, "events_unreadable"),
    ],
)
async def test_a_list_of_deliveries_or_events_too(
    database: Path, listing: Listing, states: str, whose: str | None, index: str
) -> None:
    class Noting:
        def __init__(self) -> None:
            self.asked: list[Prepared] = []

        async def all(self, statement: Prepared, _given: object = None) -> list[object]:
            self.asked.append(statement)
            return []

    noting = Noting()
    await newest(noting, listing, states.split(), whose, "before", 50)  # type: ignore[arg-type]
    assert any(f" {index}" in step for step in plan(database, noting.asked[0])), plan(database, noting.asked[0])


def test_what_of_a_source_could_not_be_read_is_counted_by_an_index_that_holds_nothing_else(database: Path) -> None:
    (step,) = plan(database, inbox._UNREADABLE)
    assert "INDEX events_unreadable" in step


OF_LISTS = ("incidents_source ", "incidents_service", "incidents_severity", "incidents_state", "incidents_updated")


@pytest.mark.parametrize("name", sorted(name for name in STATEMENTS if not name.startswith("searching.")))
def test_the_indexes_of_lists_mislead_nothing_else(database: Path, name: str) -> None:
    """Half of all incidents may be of one source: whoever looks for one must not go through them."""
    misled = [step for step in plan(database, STATEMENTS[name]) for index in OF_LISTS if index in step]
    assert misled == []


def test_the_last_of_a_key_is_found_by_the_whole_key(database: Path) -> None:
    steps = plan(database, STATEMENTS["incidents._LAST"])
    assert any("incidents_key (source=? AND fingerprint=?)" in step for step in steps), steps
    assert any("INTEGER PRIMARY KEY" in step for step in steps), steps


def test_what_lives_is_walked_by_an_index_that_holds_nothing_else(database: Path) -> None:
    """Among a million that are over it would be a second and more, within a transaction."""
    (step,) = plan(database, incidents._LIVING_AFTER)
    assert "USING INDEX incidents_living (" in step
