"""Databases as wholes: a schema whose upgrade is killed, several gateways that start at once, a copy under load."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

from chaos.load import sending
from chaos.registry import BOTH, NotRun, Outcome, fault, held
from chaos.run import House, Run, Store, took
from tests.postgres import find_binaries


def old_database(url: str, rows: int, at: str = "0001") -> None:
    """An empty database as the schema of this revision left it, with events in it."""
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config

    from gateway.store import migrate

    settings = Config()
    settings.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, at)
        many = sa.text(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows) INSERT INTO events"
            " SELECT 'e' || CAST(i AS TEXT), 's', 'generic', 1, 'done', '', :empty, CAST(:body AS BLOB) FROM n"
        )
        if connection.dialect.name == "postgresql":
            many = sa.text(many.text.replace("AS BLOB", "AS BYTEA"))
        connection.execute(many, {"rows": rows, "empty": "{}", "body": b'{"title": "x"}'})
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    engine.dispose()


@fault(
    "T22",
    "each older schema in turn is upgraded, killed at 20 moments, started again",
    "whole, all rows there, the newest schema",
    engines=BOTH,
    seconds=140,
    least=30,
)
async def upgraded(run: Run) -> Outcome:
    from gateway.store.schema import HEAD

    older = revisions()[:-1]
    assert revisions()[-1] == HEAD
    rows, points = 20_000, run.many(20, len(older))
    good = cut = 0
    async with run.house(start=False) as house:

        async def old(number: int) -> str:
            """The gateway is to be started on such a database next; its revision."""
            url, at = run.database(f"old-{number}"), older[number % len(older)]
            await asyncio.to_thread(old_database, url, rows, at)
            house.store, house.gateway.database = Store(url), url
            return at

        await old(0)
        began = time.monotonic()
        await house.gateway.start()
        whole = time.monotonic() - began
        await house.gateway.end(signal.SIGKILL)
        for point in range(points):
            at = await old(point + 1)
            await house.gateway.start(wait=False)
            await asyncio.sleep(whole * (0.25 + 0.75 * point / points))
            await house.gateway.end(signal.SIGKILL)
            cut += revision(house.store) == at
            await house.gateway.start()
            good += house.store.whole() and len(house.store.events()) == rows and revision(house.store) == HEAD
            await house.gateway.end(signal.SIGKILL)
    return held(
        good == points,
        f"{good} of {points} well (from {', '.join(older)} in turn, to {HEAD}), {cut} of them killed before the upgrade"
        f" was committed; {rows:,} events, a start with the upgrade takes {whole:.1f} s",
    )


def revisions() -> list[str]:
    """Every one there has been, the newest last."""
    from alembic.script import ScriptDirectory

    from gateway.store import migrate

    scripts = ScriptDirectory(str(Path(migrate.__file__).parent / "migrations"))
    return [script.revision for script in scripts.walk_revisions()][::-1]


def revision(store: Store) -> str:
    return str(store.sql("SELECT version_num FROM alembic_version")[0][0])


@fault(
    "T22",
    "four gateways start at once on one database of the first schema",
    "SQLite: one runs, three say why not; PostgreSQL: all run; the newest schema, all rows there",
    engines=BOTH,
    seconds=20,
    least=20,
    ci=True,
)
async def four_at_once(run: Run) -> Outcome:
    from gateway.store.schema import HEAD

    rows = 1_000
    async with run.house(replicas=4, start=False) as house:
        await asyncio.to_thread(old_database, house.store.url, rows)
        await asyncio.gather(*(gateway.start(wait=False) for gateway in house.gateways))

        async def settled() -> bool:
            states = [not one.alive or await one.status("/healthz") == 200 for one in house.gateways]
            return all(states)

        await took(settled, 30, 0.1)
        alive = [gateway for gateway in house.gateways if gateway.alive]
        said = [gateway.log.strip().splitlines()[-1] for gateway in house.gateways if not gateway.alive]
        good = len(alive) == (1 if run.engine == "sqlite" else 4) and all(one.startswith("Error: ") for one in said)
        answers = [(await gateway.post({"title": gateway.name}))[0] for gateway in alive]
        at, kept = revision(house.store), house.store.count("events WHERE source = 's'")
    return held(
        good and set(answers) == {202} and at == HEAD and kept == rows,
        f"{len(alive)} run and take alerts {answers}; the others:"
        f" {sorted({one.partition(': ')[2].rpartition(': ')[2][:60] for one in said}) or 'none'}; schema {at}, {kept:,}"
        f" of {rows:,} rows",
    )


@fault(
    "T30",
    "a copy is made under load (`tocsin db backup`; `pg_dump` of PostgreSQL)",
    "all that had its 202 before the copy began is in it; a gateway runs on it",
    engines=BOTH,
    seconds=40,
    least=25,
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
