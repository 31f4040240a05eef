"""How fast `tocsin db copy` moves a database to PostgreSQL, and for how long the gateway on it answers 503.

    TOCSIN_BENCH_POSTGRES=postgresql://… python -m bench.move --incidents 50000

Makes a file with so many resolved incidents, each with its event, its sender's id, an alert, three changes, a delivery
and an attempt; starts a gateway on it; moves it; prints what the command prints. The database named must be empty.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from gateway.clock import new_id
from gateway.store.engines.sqlite import prepare
from gateway.store.schema import metadata
from tests.process import ROOT, Gateway

BODY = b'{"title": "disk", "description": "' + b"x" * 1_200 + b'"}'
ROUTING = """
sources: {scripts: {adapter: generic, token: "${TOKEN}"}}
channels: {team: {kind: screen}}
routes: [{name: all, to: [team]}]
"""
CHANGES = 3


def fill(path: Path, incidents: int) -> None:
    """So many incidents that are over, as the gateway would have left them."""
    prepare(path)
    tables = ("events", "incidents", "alerts", "deliveries", "attempts")
    ids = [{table: new_id() for table in tables} for _ in range(incidents)]
    links = [
        {"event_id": one["events"], "incident_id": one["incidents"], "delivery_id": one["deliveries"]} for one in ids
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in tables:
            add(connection, table, [{"id": one[table], **link} for one, link in zip(ids, links, strict=True)])
        for revision in range(CHANGES):
            add(connection, "changes", [{"id": new_id(), "revision": revision, **link} for link in links])
        add(connection, "seen", [{"key": f"id:{number}", **link} for number, link in enumerate(links)])


def add(connection: sqlite3.Connection, table: str, rows: list[dict[str, object]]) -> None:
    """The rows, with what they do not say filled in."""
    columns = [c for c in metadata.tables[table].columns if not c.nullable and c.name != "number"]
    rest = {c.name: FILLING.get(c.name, "text" if isinstance(c.type, sa.Text) else 1) for c in columns}
    if table == "events":
        rest["body"] = BODY
    names = ", ".join(f'"{name}"' for name in rest)
    marks = ", ".join(f":{name}" for name in rest)
    connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", [{**rest, **row} for row in rows])  # noqa: S608  # our own names


FILLING: dict[str, object] = {
    "state": "resolved",
    "body": "x" * 600,
    "labels": "{}",
    "fields": "{}",
    "headers": '{"content-type": "application/json", "user-agent": "bench"}',
    "alert": '{"title": "disk", "body": "' + "x" * 600 + '"}',
    "until": 9_000_000_000_000,
    "ref": "",
    "moves": "[]",
    "previous": "",
}


async def move(incidents: int, url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(Path(folder), ROUTING)
        fill(gateway.database, incidents)
        print(f"{incidents:,} incidents, {gateway.database.stat().st_size / 2**20:,.0f} MiB")
        async with gateway.running():
            began = time.monotonic()
            arguments = ["-m", "gateway", "db", "copy", gateway.database_url, url]
            environ = {**os.environ, "PYTHONPATH": str(ROOT)}
            command = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environ)
            assert await command.wait() == 0
            print(f"{time.monotonic() - began:.1f} s in all, with the start of the command and the copy of the file")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incidents", type=int, default=50_000)
    asyncio.run(move(parser.parse_args().incidents, os.environ["TOCSIN_BENCH_POSTGRES"]))
