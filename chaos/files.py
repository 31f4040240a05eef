"""What lies in files: a routing.yaml saved wrong 300 times, a schema whose upgrade is killed, a copy under load."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from chaos.load import sending
from chaos.registry import BOTH, SQLITE, NotRun, Outcome, fault, held
from chaos.run import ROUTING, House, Run, Store, took
from tests.postgres import find_binaries

BROKEN_LINES = (
    "surces: {}", "channels: []", "routes: 3", "routes: [{name: x, to: [nobody]}]", "routes: [{to: []}]",
    "default: [nobody]", "reopen_within: soon", "reopen_within: -5m", "trusted_proxies: [300.1.1.1/8]",
    "public_url: ftp://x", "tests: [{}]", "calendars: {office: {weekly: []}}", "people: {kim: {channels: [nobody]}}",
    "rotations: {r: {members: []}}", "escalations: {e: {steps: []}}", "mutes: [{match: {}}]", "inhibit: [{when: {}}]",
    "expire: [{after: 1h}]", "retention: {events: ever}", "channels: {x: {kind: pigeon}}",
    "channels: {x: {kind: webhook}}", "a: &a [*a]", "sources: {x: {adapter: nothing, token: t}}",
    "sources: {x: {adapter: generic}}", "\tx: y", "x: [", "x: {", "- a\nb: c",
    "routes: [{name: a, match: {severity: loud}, to: [team]}]",
    "routes: [{name: a, match: {title: /(/}, to: [team]}]", "routes: [{name: a, match: {during: never}, to: [team]}]",
    "routes: [{name: a, to: [team], cooldown: long}]", "routes: [{name: a, to: [team], colldown: 5m}]",
    "routes: [{name: a, to: [team], repeat_every: 0s}]", "!!python/object:os.x {}",
    'channels: {team: {kind: webhook, url: "${UNSET_NAME}"}}', "channels: {team: {kind: webhook, url: nowhere}}",
    "channels: {team: {kind: slack}}", "channels: {team: {kind: email, to: []}}",
    "channels: {team: {kind: twilio, to: [x]}}", "sources: {scripts: {adapter: generic, token: a, limit: many}}",
    "sources: {scripts: {adapter: generic, token: a, limit: 0/s}}",
    "sources: {scripts: {adapter: generic, token: a, allow_from: []}}",
    "sources: {s: {adapter: generic, token: a, max_body: huge}}", "\x00", "\ufeff\ufeff%", "%YAML 9.9\n---",
    "? [complex]: key", "routes: !!binary zzz", "sources: {scripts: null}",
)  # fmt: skip
"""By hand; each is put behind a good file, whose own line of that name it doubles or whose keys it adds to."""


def malformed(many: int) -> Iterator[str]:
    """Files that are wrong: by hand, then by chance from the good one."""
    from gateway import config
    from gateway.errors import BadConfiguration

    dice = random.Random(11)
    environ = {"TOKEN": "t", "RECEIVER": "http://127.0.0.1:9"}

    def wrong(text: str, place: Path) -> bool:
        place.write_text(text, encoding="utf-8")
        try:
            config.load(place, environ)
        except BadConfiguration:
            return True
        return False

    found = 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "routing.yaml"
        candidates = [f"{ROUTING}\n{line}\n" for line in BROKEN_LINES] + [f"{line}\n" for line in BROKEN_LINES]
        while found < many:
            text = candidates.pop(0) if candidates else spoiled(ROUTING, dice)
            if wrong(text, scratch):
                found += 1
                yield text


def spoiled(text: str, dice: random.Random) -> str:
    """The file after an accident at the keyboard."""
    at = dice.randrange(len(text))
    lines = text.splitlines(keepends=True)
    place = dice.randrange(len(lines))
    return dice.choice(
        (
            text[:at] + dice.choice("{}[]:\"'&*!%@`,|>\t#-?x") * dice.randint(1, 3) + text[at:],
            text[:at] + text[at + dice.randint(1, 9) :],
            text[:at],
            "".join(lines[:place] + lines[place + 1 :]),
            "".join([*lines[: place + 1], lines[place], *lines[place + 1 :]]),
            "".join([*lines[:place], "  " * dice.randint(1, 3) + lines[place], *lines[place + 1 :]]),
        )
    )


@fault(
    "T18",
    "routing.yaml is saved wrong 300 times",
    "each refused with its line, the last good one in force, nothing dropped",
    seconds=200,
)
async def saved_wrong(run: Run) -> Outcome:
    many, gateways = run.many(300, 20), 3
    texts = await asyncio.to_thread(lambda: list(malformed(many)))
    results = await asyncio.gather(*(save_all(run, number, texts[number::gateways]) for number in range(gateways)))
    refused, with_line, kept, dropped, accepted, dead = (sum(one[place] for one in results) for place in range(6))
    good = refused == many and kept == many and dropped == 0 and dead == 0 and with_line >= 0.9 * many
    return held(
        good,
        f"{refused} of {many} refused, {with_line} with file and line, last good one in force {kept} of {many};"
        f" {accepted} alerts meanwhile, {dropped} lost or untold; {gateways - dead} of {gateways} gateways alive",
        "the others are files of which no line is to blame (empty, cut off before the first key, no text).",
    )


async def save_all(run: Run, number: int, texts: list[str]) -> tuple[int, int, int, int, int, int]:
    """Save each over a gateway's file: (refused, with a line, last good one kept, lost or untold, accepted, dead)."""
    refused = with_line = kept = 0
    place = Run(run.engine, run.folder / str(number), run.ci, run.share, run.cluster)
    async with place.house() as house:
        file = place.folder / "routing.yaml"
        before = (await house.gateway.get("/readyz"))["configuration"]["hash"]
        async with sending(house.ports, connections=1, pause=0.5) as load:
            seen = None
            for text in texts:
                fresh = file.with_name("fresh")
                fresh.write_text(text, encoding="utf-8")
                fresh.rename(file)
                ends = time.monotonic() + 12
                while time.monotonic() < ends:
                    now = (await house.gateway.get("/readyz"))["configuration"]
                    if now["refused"] is not None and now["refused"]["at"] != seen:
                        break
                    await asyncio.sleep(0.1)
                refused += now["refused"] is not None and now["refused"]["at"] != seen
                seen = (now["refused"] or {}).get("at")
                problems = (now["refused"] or {}).get("problems", [])
                with_line += bool(problems) and all(re.match(r".*routing\.yaml:\d+:", str(one)) for one in problems)
                kept += now["hash"] == before
            (file).write_text(ROUTING)
        verdict = await house.judge(load)
        dead = int(not house.gateway.alive)
    return refused, with_line, kept, verdict.lost + verdict.untold, verdict.accepted, dead


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
        f"{copies} copies in at most {max(tooks):.1f} s, {missing} missing, a gateway runs on the last: {runs}; {verdict}",
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
