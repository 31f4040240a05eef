"""SQLite told how to be safe: one process, the right pragmas, and a sentence for every file that cannot be."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.errors import StoreUnavailable, TocsinError
from gateway.store.driver import Prepared
from gateway.store.engines import engine_of, unavailable
from gateway.store.engines import sqlite as engine
from gateway.store.engines.sqlite import Lock, database_path, prepare
from gateway.store.schema import HEAD


@pytest.mark.parametrize(
    ("url", "path"), [("sqlite:///tocsin.db", "tocsin.db"), ("sqlite:////data/tocsin.db", "/data/tocsin.db")]
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    assert database_path(url) == Path(path)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "tocsin.db", "mysql://x", ""])
def test_another_url_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(TocsinError, match=r"sqlite:///tocsin\.db"):
        database_path(url)


@pytest.mark.parametrize("more", ["?mode=ro", "?timeout=30", "#now", "?"])
def test_what_follows_the_name_makes_no_other_database(tmp_path: Path, more: str) -> None:
    with pytest.raises(TocsinError, match=r"^a sqlite:/// URL names a file and nothing more; leave out what begins"):
        engine_of(f"sqlite:///{tmp_path}/tocsin.db{more}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "/", "/folder", "/folder/", "/pipe", "/new/"])
def test_what_is_no_file_is_said_so_and_nothing_is_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TocsinError, match=r"is no file; name one, like sqlite:////data/tocsin\.db$"):
        engine_of(f"sqlite:///{tmp_path if name else '/'}{name}")
    assert sorted(tmp_path.rglob("*")) == before


class TestLock:
    def test_one_holds_it_at_a_time(self, tmp_path: Path) -> None:
        first, second = Lock(tmp_path / "t.db"), Lock(tmp_path / "t.db")
        first.take()
        with pytest.raises(TocsinError, match="another gateway is running on this database"):
            second.take()
        first.release()
        second.take()
        second.release()
        second.release()

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TocsinError, match="check the folder"):
            Lock(tmp_path / "missing" / "t.db").take()


class TestPreparing:
    def test_a_new_file_gets_the_whole_schema_and_is_the_owners_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "t.db"
        prepare(path)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert path.stat().st_mode & 0o777 == 0o600

    def test_an_empty_file_is_a_new_one(self, tmp_path: Path) -> None:
        path = tmp_path / "t.db"
        path.touch()
        prepare(path)
        prepare(path)

    def test_a_file_at_the_newest_schema_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "t.db"
        prepare(path)
        before = path.read_bytes()
        prepare(path)
        assert path.read_bytes() == before

    def test_a_name_with_strange_characters_is_only_a_name(self, tmp_path: Path) -> None:
        path = tmp_path / "t ?#%25 가.db"
        prepare(path)
        prepare(path)
        assert path.exists()

    @pytest.mark.parametrize(
        ("content", "sentence"), [(b"no database" * 99, "cannot be used as a database: file is not a database")]
    )
    def test_a_file_that_is_no_database_is_refused(self, tmp_path: Path, content: bytes, sentence: str) -> None:
        path = tmp_path / "t.db"
        path.write_bytes(content)
        with pytest.raises(TocsinError, match=sentence):
            prepare(path)

    def test_a_database_of_something_else_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "t.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE mine (x)")
        with pytest.raises(TocsinError, match="is a database of something else; name another file"):
            prepare(path)

    def test_a_database_without_tables_is_taken(self, tmp_path: Path) -> None:
        path = tmp_path / "t.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 1")
            connection.commit()
        prepare(path)

    def test_a_folder_that_is_not_there_is_said_so(self, tmp_path: Path) -> None:
        with pytest.raises(TocsinError, match="the folder does not exist or cannot be written"):
            prepare(tmp_path / "missing" / "t.db")

    def test_a_schema_that_is_half_there_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "t.db"
        prepare(path)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM alembic_version")
        with pytest.raises(TocsinError, match="already exists"):
            prepare(path)


class TestConnections:
    async def test_the_writer_waits_for_the_disk_at_every_commit(self, tmp_path: Path) -> None:
        prepare(tmp_path / "t.db")
        connection = await engine.SQLite(tmp_path / "t.db").writing()
        found = {}
        for pragma in ("journal_mode", "synchronous", "wal_autocheckpoint"):
            (row,) = await connection._raw.execute_fetchall(f"PRAGMA {pragma}")
            found[pragma] = row[0]
        await connection.close()
        assert found == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 4000}

    async def test_a_reader_can_change_nothing(self, tmp_path: Path) -> None:
        prepare(tmp_path / "t.db")
        connection = await engine.SQLite(tmp_path / "t.db").reading()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await connection.run(Prepared(sa.text("DELETE FROM events")))
        await connection.close()

    async def test_a_file_that_cannot_be_set_up_leaves_no_thread(self, tmp_path: Path) -> None:
        (tmp_path / "t.db").write_bytes(b"no database" * 99)
        with pytest.raises(sqlite3.DatabaseError):
            await engine.SQLite(tmp_path / "t.db").writing()

    def test_what_the_driver_said_is_one_line(self) -> None:
        error = unavailable(sqlite3.OperationalError("database is locked"))
        assert isinstance(error, StoreUnavailable)
        assert (str(error), error.retry_after) == ("the database cannot be written now: database is locked", 5)
