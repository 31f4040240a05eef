"""`tocsin db copy` to PostgreSQL under a gateway that is paging: nothing lost, nothing said twice, timers go on.

Figures are printed: pytest -s tests/test_move.py
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx2
import psycopg
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.errors import TocsinError
from gateway.store import transfer as moving
from gateway.store.moving_note import Mover, place
from gateway.store.transfer import TABLES, source
from gateway.store.transfer.target import opened
from tests.fakes.receiver import Receiver
from tests.process import ROOT, Gateway
from tests.stage import until
from tests.store.test_migrate_postgresql import as_left_by, query

ROUTING = """
sources: {{scripts: {{adapter: generic, token: "${{TOKEN}}"}}}}
channels:
  team: {{kind: webhook, url: "{url}", pace: none}}
  boss: {{kind: webhook, url: "{url}/boss", pace: none}}
escalations: {{up: {{steps: [{{to: [team]}}, {{to: [boss], after: 6s}}]}}}}
routes: [{{name: slow, match: {{title: "slow*"}}, to: [up]}}, {{name: all, match: {{title: "disk*"}}, to: [team]}}]
"""


class Command:
    """`tocsin db copy` in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ended(self) -> tuple[int, str, str]:
        async with asyncio.timeout(30):
            out, err = await self.process.communicate()
        return self.process.returncode or 0, out.decode(), err.decode()


async def copy(gateway: Gateway, to: str, script: str = "") -> Command:
    """`script` is run before it, in its process."""
    run = f"{script}\nfrom gateway.cli import main; main()"
    arguments = ["-c", run, "db", "copy", f"sqlite:///{gateway.database}", to]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return Command(await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environ, stdout=-1, stderr=-1))


class Senders:
    """They post without a pause to where `gateway` is; what is not answered 202 is posted again under the same key."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.accepted: dict[str, str] = {}
        self.refused: list[httpx2.Response] = []
        self.stopped = False
        self.at_work: list[asyncio.Task[None]] = []

    async def end(self) -> None:
        """What was posted is answered before this returns."""
        self.stopped = True
        await asyncio.wait(self.at_work)

    async def send(self, number: int) -> None:
        count = 0
        async with httpx2.AsyncClient(trust_env=False, headers={"authorization": "Bearer t0ken-of-scripts"}) as client:
            while not self.stopped:
                name = f"disk {number}/{count}"
                body = {"title": name, "fingerprint": name, "severity": "critical"}
                await asyncio.sleep(0.06)
                try:
                    answer = await client.post(
                        f"{self.gateway.url}/webhooks/scripts",
                        content=json.dumps(body),
                        headers={"idempotency-key": name},
                    )
                except httpx2.TransportError:
                    continue
                if answer.status_code == 202:
                    self.accepted[name] = answer.json()["event"]
                    count += 1
                else:
                    self.refused.append(answer)


@asynccontextmanager
async def under_load(gateway: Gateway) -> AsyncIterator[Senders]:
    senders = Senders(gateway)
    async with asyncio.TaskGroup() as group:
        senders.at_work = [group.create_task(senders.send(number)) for number in range(4)]
        await until(lambda: len(senders.accepted) > 20, 10)
        yield senders
        senders.stopped = True


def told(receiver: Receiver) -> Counter[str]:
    return Counter(heard.document["incident"]["title"] for heard in receiver.heard if heard.path == "/hook")


async def test_a_team_moves_while_it_is_paged(tmp_path: Path, postgres_url: str) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, Gateway(tmp_path / "old", ROUTING.format(url=url)).running() as old:
        new = Gateway(tmp_path / "new", ROUTING.format(url=url), postgres_url)
        async with under_load(old) as senders:
            await old.post({"title": "slow burn", "severity": "critical"})
            code, out, err = await (await copy(old, postgres_url)).ended()
            assert code == 0, err
            before = dict(senders.accepted)
            await until(lambda: len(senders.refused) > 5)
            refused = senders.refused[-1]
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert "the database is being moved" in refused.json()["detail"]
            async with old.client() as client:
                assert (await client.get("/healthz")).status_code == 200
                ready = await client.get("/readyz")
                assert (ready.status_code, ready.json()["store"]) == (503, "the database is being moved; send it again")
                assert (await client.post("/api/v1/incidents/1/acknowledge", json={"by": "kim"})).status_code == 503
            assert await old.end(signal.SIGTERM) == 0
            assert not any(heard.path == "/hook/boss" for heard in receiver.heard)
            async with new.running():
                senders.gateway = new
                await until(lambda: len(senders.accepted) > len(before) + 20, 15)
                await senders.end()
                await until(lambda: any(heard.path == "/hook/boss" for heard in receiver.heard), 15)
                await until(lambda: set(told(receiver)) == {*senders.accepted, "slow burn"}, 10)
                assert set(senders.accepted.values()) <= {row[0] for row in new.sql("SELECT id FROM events")}
                numbers = [row[0] for row in new.sql("SELECT number FROM incidents ORDER BY number")]
                assert numbers == list(range(1, len(senders.accepted) + 2))
                unsaid = "SELECT count(*) FROM deliveries WHERE state != 'said' OR unsettled != 0"
                await until(lambda: new.sql(unsaid) == [(0,)])
        assert [name for name, times in told(receiver).items() if times > 1] == []
        assert [h.document["incident"]["title"] for h in receiver.heard if h.path == "/hook/boss"] == ["slow burn"]
        assert "s3cret" not in out
        print("\n" + out)  # noqa: T201

        # Nobody starts on the file by mistake.
        await old.start(wait=False)
        assert await old.ended() == 1
        assert "was moved to postgresql://" in old.last_words
        code, _, err = await (await copy(old, postgres_url)).ended()
        assert (code, "was moved to postgresql://" in err) == (1, True)


KILLED = """
import os, signal
import gateway.store.transfer as t
t.{function} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_a_copy_that_is_killed_leaves_all_as_it_was(tmp_path: Path, postgres_url: str) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, Gateway(tmp_path, ROUTING.format(url=url)).running() as gateway:
        async with under_load(gateway) as senders:
            for function in ("_load", "_compare"):
                killed = await copy(gateway, postgres_url, KILLED.format(function=function))
                assert (await killed.ended())[0] == -signal.SIGKILL
                assert bool(senders.refused) == (function == "_compare")
                count = len(senders.accepted)
                await until(lambda count=count: len(senders.accepted) > count + 10)
                with psycopg.connect(postgres_url, autocommit=True) as session:
                    assert session.execute("SELECT count(*) FROM events").fetchone() == (0,)
            assert "going on" in gateway.log
            await until(lambda: len(told(receiver)) > count)
            code, _, err = await (await copy(gateway, postgres_url)).ended()  # the same target once more
            assert code == 0, err
        with psycopg.connect(postgres_url, autocommit=True) as session:
            assert session.execute("SELECT count(*) FROM events").fetchone() == (len(senders.accepted),)
        assert [name for name in names_in(tmp_path) if "moving-copy" in name] == []


SLOW = """
import gateway.store.transfer as t
from gateway.store.transfer import bound, target
bound.MOST_SECONDS, bound.TOLD_SECONDS = 2, 0.5
for_ever = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
def sleep(self, table): self._connection.execute("SELECT pg_sleep(60)")
def search(connection, table): return connection.execute(for_ever).fetchall()
{}
"""


@pytest.mark.parametrize("where", ["target.Target.total = sleep", "t.source.total = search", "t.source.new = search"])
async def test_a_gateway_does_not_stand_still_for_ever(tmp_path: Path, postgres_url: str, where: str) -> None:
    """Whichever side is slow: what is under way there is cancelled."""
    async with Receiver().listening() as url, Gateway(tmp_path, ROUTING.format(url=url)).running() as gateway:
        code, out, err = await (await copy(gateway, postgres_url, SLOW.format(where))).ended()
        assert (code, out) == (1, "")
        assert err.count("the gateway has stood still for ") >= 2
        assert err.splitlines()[-1].startswith(
            "Error: the gateway stood still for 2 s and the rest was not copied; not"
        )
        await until(lambda: "going on" in gateway.log)
        assert (await gateway.post({"title": "disk"})).status_code == 202
    with psycopg.connect(postgres_url, autocommit=True) as session:
        assert session.execute("SELECT count(*) FROM keys").fetchone() == (0,)


def test_a_password_with_special_letters_is_nowhere_and_hinders_nothing(tmp_path: Path, postgres_url: str) -> None:
    """It was read when the rows were there already, and then told in part, or a traceback."""
    url = postgres_url.replace("postgresql://tocsin@", "postgresql+psycopg://tocsin:s3[c#r?et@")
    moved = run(made(tmp_path), url)
    assert moved.exit_code == 0, moved.stderr
    assert moved.stdout.splitlines()[-1] == f"1. Start with --database {postgres_url} (and its password)."
    assert json.loads(place(tmp_path / "tocsin.db").read_text())["to"] == postgres_url


def break_at_the_commit(url: str) -> None:
    with opened(url) as target, psycopg.connect(url, autocommit=True) as session:
        session.execute("SELECT pg_terminate_backend(%s)", (target._connection.info.backend_pid,))
        target.commit()


def test_a_line_that_breaks_at_the_commit_may_have_copied_all(postgres_url: str) -> None:
    with pytest.raises(
        TocsinError, match=r"^the line broke at the commit \(.*\): all is in the database to copy to, or"
    ):
        break_at_the_commit(postgres_url)


def test_what_remains_to_be_tidied_after_a_move_is_no_failure(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, done = made(tmp_path), Mover.done

    def hinder(mover: Mover, to: str) -> None:
        done(mover, to)
        snapshot = tmp_path / "tocsin.db.moving-copy"
        snapshot.unlink()
        snapshot.mkdir()  # which cannot be unlinked

    monkeypatch.setattr(Mover, "done", hinder)
    moved = run(gateway, postgres_url)
    assert (moved.exit_code, "No gateway was running." in moved.stdout) == (0, True), moved.stderr


def test_a_move_that_cannot_be_written_down_is_told_as_it_is(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = made(tmp_path)
    with closing(sqlite3.connect(gateway.database)) as connection, connection:
        connection.execute("INSERT INTO keys VALUES ('links', 'x')")

    def full(_mover: Mover, _to: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Mover, "done", full)
    failed = run(gateway, postgres_url)
    said = f"all is in {postgres_url}, but that cannot be written down beside the file ([Errno 28] No space left"
    assert (failed.exit_code, said in failed.stderr) == (1, True), failed.stderr
    assert query(postgres_url, "SELECT count(*) FROM keys") == [(1,)]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def with_tables(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("CREATE TABLE alembic_version (version_num text)")
        session.execute("INSERT INTO alembic_version VALUES ('9999')")
    return url


def in_use(url: str) -> str:
    from gateway.store.engines.postgresql_schema import prepare

    prepare(url)
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("INSERT INTO marks VALUES ('m', 'i')")
    return url


def older_and_in_use(url: str) -> str:
    as_left_by(url, "0003")
    return url


def served(url: str) -> str:
    """A gateway is there, and has taken nothing yet."""
    from gateway.store.engines.postgresql_schema import prepare

    prepare(url)
    now = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(f"INSERT INTO replicas VALUES ('r', 'host:8080', '1', 'h', false, 0, {now} - 9000)")  # noqa: S608
    return url


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda _url: "postgresql://nobody:s3cret@127.0.0.1:9/none", "the database to copy to cannot be looked at"),
        (in_use, "is not empty (there are marks in it already); name an empty one"),
        (older_and_in_use, "is not empty (there are events in it already); name an empty one"),
        (served, "a gateway runs on the database to copy to, or did within the last 15 s; stop it first"),
        (with_tables, "was written by a newer version of Tocsin (schema 9999)"),
    ],
)
def test_a_wrong_target_is_one_sentence(
    tmp_path: Path, postgres_url: str, spoil: Callable[[str], str], said: str
) -> None:
    gateway = made(tmp_path)
    before = gateway.database.read_bytes()
    done = run(gateway, spoil(postgres_url))
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr.splitlines()[-1]
    assert "s3cret" not in done.stderr
    assert gateway.database.read_bytes() == before
    if spoil is older_and_in_use:
        assert query(postgres_url, "SELECT version_num FROM alembic_version") == [("0003",)]
    assert names_in(tmp_path) <= {"tocsin.db", "routing.yaml", "tocsin.db-shm", "tocsin.db-wal"}


async def test_a_database_that_a_gateway_was_once_started_on_is_empty(tmp_path: Path, postgres_url: str) -> None:
    routing = "{sources: {scripts: {adapter: generic, token: '${TOKEN}'}}}"
    before = Gateway(tmp_path / "before", routing, postgres_url)
    async with before.running():
        await until(lambda: before.sql("SELECT count(*) FROM replicas") == [(1,)], 10)
        assert await before.end(signal.SIGTERM) == 0
    with psycopg.connect(postgres_url, autocommit=True) as session:
        session.execute("INSERT INTO lanes VALUES ('team', '[]', 0)")
        session.execute("INSERT INTO beats VALUES ('probe', 1)")
        # One that was killed has left its name.
        session.execute("INSERT INTO replicas VALUES ('r', 'host:8080', '1', 'h', false, 0, 1)")
    gateway = made(tmp_path / "here")
    with closing(sqlite3.connect(gateway.database)) as connection, connection:
        connection.execute("INSERT INTO keys VALUES ('links', 'ours')")
    done = run(gateway, postgres_url)
    assert done.exit_code == 0, done.stderr
    assert query(postgres_url, "SELECT name, value FROM keys") == [("links", "ours")]
    for name in ("beats", "lanes", "replicas"):
        assert query(postgres_url, f"SELECT * FROM {name}") == []  # noqa: S608


def run(gateway: Gateway, to: str) -> Result:
    """The command, in this process."""
    arguments = ["db", "copy", f"sqlite:///{gateway.database}", to]
    return CliRunner().invoke(main, arguments, prog_name="tocsin", catch_exceptions=False)


def made(folder: Path) -> Gateway:
    from gateway.store.engines.sqlite import prepare

    gateway = Gateway(folder, "{}")
    prepare(gateway.database)
    return gateway


@pytest.mark.parametrize(
    ("revision", "said"), [("0001", "is of an older version (schema 0001); start this"), ("9999", "newer version")]
)
def test_a_file_of_another_version_is_one_sentence(tmp_path: Path, revision: str, said: str) -> None:
    gateway = made(tmp_path)
    with closing(sqlite3.connect(gateway.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    with pytest.raises(TocsinError, match=re.escape(said)):
        source.refuse_other(gateway.database)


def test_a_gateway_that_does_not_answer_is_given_up(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of an older version, or of another user."""
    monkeypatch.setattr(moving, "STAND_SECONDS", 0.5)
    gateway = made(tmp_path)
    with (tmp_path / "tocsin.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(gateway, postgres_url)
    assert (done.exit_code, "does not stand still within" in done.stderr) == (1, True)
    assert names_in(tmp_path).isdisjoint({"tocsin.db.moving", "tocsin.db.moving-copy"})


def test_two_that_differ_are_not_kept(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = made(tmp_path)
    with closing(sqlite3.connect(gateway.database)) as connection, connection:
        connection.execute("INSERT INTO keys VALUES ('one', 'x')")
        connection.execute("INSERT INTO timers VALUES ('a', 'tell', '', 1, 1, ?)", ("with a \0 in it",))
    with monkeypatch.context() as lossy:
        lossy.setattr(source, "converted", lambda _table, _found: iter(()))
        done = run(gateway, postgres_url)
    assert (done.exit_code, "keys: 1 rows in the file, 0 copied" in done.stderr) == (1, True)
    done = run(gateway, postgres_url)
    assert (done.exit_code, "No gateway was running." in done.stdout) == (0, True), done.stderr
    with psycopg.connect(postgres_url, autocommit=True) as session:
        assert session.execute("SELECT wall, about FROM timers").fetchall() == [(True, "with a \ufffd in it")]


def test_a_disk_without_room_is_one_sentence(tmp_path: Path, postgres_url: str) -> None:
    gateway = made(tmp_path / "here")
    with pytest.raises(TocsinError, match="there is no such folder"):
        moving.transfer(gateway.database, postgres_url, print, tmp_path / "nowhere")
    assert not place(gateway.database).exists()


def test_what_changed_since_is_found_in_every_table(tmp_path: Path) -> None:
    """Rows that came, went, changed, and came to the place of one that went."""
    old, path = made(tmp_path / "old").database, made(tmp_path / "now").database
    rows = {"old": [("a", 1), ("b", 2), ("c", 3)], "now": [("a", 1), ("b", 9), ("d", 4), ("e", None)]}
    for database, kept in ((old, rows["old"]), (path, rows["now"])):
        with closing(sqlite3.connect(database)) as connection, connection:
            for name, due in kept:
                connection.execute("INSERT INTO beats VALUES (?, ?)", (name, due or 0))
                connection.execute("INSERT INTO timers VALUES (?, 'k', '', ?, 1, '')", (name, due or 0))
    tables = {table.name: table for table in TABLES}
    with source.beside(path, old) as connection:
        assert sorted(source.gone(connection, tables["beats"])) == [("b",), ("c",)]
        assert sorted(source.new(connection, tables["beats"])) == [("b", 9), ("d", 4), ("e", 0)]
        assert sorted(source.gone(connection, tables["timers"])) == [("b", "k", ""), ("c", "k", "")]
        assert [row[0] for row in sorted(source.new(connection, tables["timers"]))] == ["b", "d", "e"]
        assert [table.name for table in TABLES if list(source.new(connection, table))] == ["beats", "timers"]
