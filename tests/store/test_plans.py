"""Every statement on the way of a webhook finds its rows by an index: a table that grows slows none of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.store import changes, digests, inbox, incidents, outbox, quiet, timers
from gateway.store.driver import SQLITE, Prepared
from gateway.store.engines import sqlite as engine

STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": statement
    for module in (inbox, incidents, changes, outbox, timers, quiet, digests)
    for name, statement in vars(module).items()
    if isinstance(statement, Prepared)
}
# Run seldom, over an index that holds only what is waiting, living or failed.
GAUGES = {"inbox._DEPTH", "incidents._COUNT", "outbox._DEPTHS", "outbox._UNSTRAND"}
AT_START_OR_RELOAD = {
    "outbox._RELEASE_ALL",
    "outbox._ABANDON",
    "outbox._ORPHANS",
    "outbox._SHIFT",
    "timers._SHIFT",
    "quiet._UNMARK_ALL",
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
    assert all("_waiting" in step for step in scans), scans


@pytest.mark.parametrize("name", sorted(GAUGES | AT_START_OR_RELOAD))
def test_what_counts_reads_a_small_index_and_no_table(database: Path, name: str) -> None:
    for step in plan(database, STATEMENTS[name]):
        # timers are a table of nothing but their key
        assert not step.startswith("SCAN") or "INDEX" in step or step == "SCAN timers", step
