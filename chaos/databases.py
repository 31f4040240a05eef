"""Databases as wholes: a schema whose upgrade is killed, several gateways that start at once, a copy under load."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from chaos.load import sending
from chaos.registry import BOTH, SQLITE, NotRun, Outcome, fault, held
from chaos.run import House, Run, Store, took
from tests.postgres import find_binaries


def old_database(path: Path, rows: int) -> None:
    """As the first schema left it, with events and incidents in it."""
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config

    from gateway.store import migrate

    settings = Config()
    settings.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        many = [(f"e{number:06}", "s", "generic", 1, "done", "", "{}", b'{"title": "x"}') for number in range(rows)]
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", many)


@fault(
    "T22",
    "the first schema is upgraded, killed at 20 moments, started again",
    "whole, all rows there, the newest schema",
    engines=SQLITE,
    seconds=120,
)
async def upgraded(run: Run) -> Outcome:
    rows, points = 20_000, run.many(20, 3)
    run.folder.mkdir(exist_ok=True)
    old = run.folder / "old.db"
    await asyncio.to_thread(old_database, old, rows)
    good = cut = 0
    async with run.house(start=False) as house:
        path = house.store.path
        shutil.copy(old, path)
        began = time.monotonic()
        await house.gateway.start()
        whole = time.monotonic() - began
        await house.gateway.end(signal.SIGKILL)
        for point in range(points):
            for left in path.parent.glob("tocsin.db*"):
                left.unlink()
            shutil.copy(old, path)
            await house.gateway.start(wait=False)
            await asyncio.sleep(whole * (0.25 + 0.75 * point / points))
            await house.gateway.end(signal.SIGKILL)
            cut += revision(path) == "0001"
            await house.gateway.start()
            good += house.store.whole() and len(house.store.events()) == rows and revision(path) != "0001"
            await house.gateway.end(signal.SIGKILL)
    return held(
        good == points,
        f"{good} of {points} well, {cut} of them killed before the upgrade was committed;"
        f" {rows:,} events, a start with the upgrade takes {whole:.1f} s",
    )


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@fault(
    "T22",
    "four gateways start at once on one database",
    "SQLite: one runs, three say why not; PostgreSQL: all run",
    engines=BOTH,
    seconds=20,
    ci=True,
)
async def four_at_once(run: Run) -> Outcome:
    async with run.house(replicas=4, start=False) as house:
        if run.engine == "sqlite":
            await asyncio.to_thread(old_database, house.store.path, 1_000)
        await asyncio.gather(*(gateway.start(wait=False) for gateway in house.gateways))

        async def settled() -> bool:
            states = [not one.alive or await one.status("/healthz") == 200 for one in house.gateways]
            return all(states)

        await took(settled, 30, 0.1)
        alive = [gateway for gateway in house.gateways if gateway.alive]
        said = [gateway.log.strip().splitlines()[-1] for gateway in house.gateways if not gateway.alive]
        good = len(alive) == (1 if run.engine == "sqlite" else 4) and all(one.startswith("Error: ") for one in said)
        answers = [(await gateway.post({"title": gateway.name}))[0] for gateway in alive]
    return held(
        good and set(answers) == {202},
        f"{len(alive)} run and take alerts {answers}; the others:"
        f" {sorted({one.partition(': ')[2].rpartition(': ')[2][:60] for one in said}) or 'none'}",
    )


@fault(
    "T30",
    "a copy is made under load (`tocsin db backup`; `pg_dump` of PostgreSQL)",
    "all that had its 202 before the copy began is in it; a gateway runs on it",
    engines=BOTH,
    seconds=40,
    ci=True,
)
async def backed_up(run: Run) -> Outcome:
    copies = run.many(5, 2)
    missing = 0
    tooks: list[float] = []
    copy = run.folder / "copy.db"
    restored = f"sqlite:///{copy}"
    async with run.house() as house:
        async with sending(house.ports, connections=8, pause=0.05) as load:
            for _ in range(copies):
                await asyncio.sleep(1.5)
                copy.unlink(missing_ok=True)
                before = set(load.accepted.values())
                began = time.monotonic()
                await copied(run, house, copy)
                tooks.append(time.monotonic() - began)
                if run.engine == "postgresql":
                    restored = run.database()
                    await program("pg_restore", "--no-owner", f"--dbname={restored}", str(copy))
                missing += len(before - Store(restored).events())
        verdict = await house.judge(load)
    async with Run(run.engine, run.folder / "restored", run.ci).house(database=restored) as house:
        runs = (await house.gateway.post({"title": "on the copy"}))[0] == 202
        runs = runs and await took(lambda: house.store.unfinished() == 0, 60) < 60 and house.store.whole()
    return held(
        missing == 0 and runs and verdict.nothing_lost,
        f"{copies} copies in at most {max(tooks):.1f} s, {missing} missing, a gateway runs on the last: {runs};"
        f" {verdict}",
    )


async def copied(run: Run, house: House, copy: Path) -> None:
    """As docs/running.md says for this engine."""
    if run.engine == "postgresql":
        await program("pg_dump", "--format=custom", f"--file={copy}", house.store.url)
        return
    arguments = ("-m", "gateway", "db", "backup", "--database", house.store.url, str(copy))
    await finished(sys.executable, *arguments, cwd=house.folder, env=house.gateway.environ)


async def program(name: str, *arguments: str) -> None:
    """One of PostgreSQL's own."""
    place = find_binaries()
    if place is None or not (place / name).exists():
        raise NotRun(f"{name} is not installed")
    await finished(str(place / name), *arguments)


async def finished(*command: str, **more: Any) -> None:
    """Raises AssertionError with the last line that it said, where it does not end well."""
    pipe = asyncio.subprocess.PIPE
    asked = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT, **more)
    said = (await asked.communicate())[0].decode().strip()
    assert asked.returncode == 0, said.rpartition("\n")[2]
