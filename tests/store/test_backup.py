"""A copy is of one moment, whole or not there, and nobody waits for it."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import TocsinError
from gateway.store.backup import STEP_PAGES, copy_file, refuse_server

PAGE = 4096


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Three steps long, with one row in its log that no checkpoint has moved."""
    path = tmp_path / "tocsin.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE kept (id INTEGER PRIMARY KEY, body BLOB)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO kept (body) VALUES (zeroblob(?))", [(PAGE * 100,)] * (STEP_PAGES // 40))
        connection.execute("COMMIT")
    return path


def count(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM kept").fetchone()[0])


def beside(path: Path) -> set[str]:
    return {other.name for other in path.parent.iterdir() if other.name.startswith(path.name)}


def test_what_is_written_between_two_steps_neither_enters_the_copy_nor_makes_it_begin_anew(
    database: Path, tmp_path: Path
) -> None:
    before, lefts = count(database), []
    with closing(sqlite3.connect(database, isolation_level=None, timeout=0)) as writer:

        def write(left: int, _total: int) -> None:
            lefts.append(left)
            assert len(lefts) < 20, "it began anew"
            writer.execute("INSERT INTO kept (body) VALUES (zeroblob(100))")  # would fail at once if it were kept out

        copy_file(database, tmp_path / "copy.db", write)
    assert len(lefts) >= 3
    assert lefts == sorted(set(lefts), reverse=True)
    assert count(tmp_path / "copy.db") == before
    assert count(database) == before + len(lefts)


def test_the_copy_is_one_file_that_its_owner_alone_can_read(database: Path, tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        copy_file(database, tmp_path / "copy.db")
    finally:
        os.umask(mask)
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert beside(tmp_path / "copy.db") == {"copy.db"}
    with closing(sqlite3.connect(f"file:{tmp_path}/copy.db?immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_nothing_is_checkpointed(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("INSERT INTO kept (body) VALUES ('in the log alone')")
        main, log = database.read_bytes(), database.with_name("tocsin.db-wal").read_bytes()
        copy_file(database, tmp_path / "copy.db")
        assert (database.read_bytes(), database.with_name("tocsin.db-wal").read_bytes()) == (main, log)
    assert count(tmp_path / "copy.db") == STEP_PAGES // 40 + 1


def test_of_a_gateway_that_was_killed_the_log_is_read_too(database: Path, tmp_path: Path) -> None:
    script = (
        "import sqlite3, os, signal; c = sqlite3.connect(%r, isolation_level=None);"
        "c.execute(\"INSERT INTO kept (body) VALUES ('last words')\"); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script % str(database)], check=False).returncode == -signal.SIGKILL
    database.with_name("tocsin.db-shm").unlink()
    copy_file(database, tmp_path / "copy.db")
    assert count(tmp_path / "copy.db") == STEP_PAGES // 40 + 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_ends_early_leaves_nothing(database: Path, tmp_path: Path, stop: BaseException) -> None:
    def fail(_left: int, _total: int) -> None:
        assert beside(tmp_path / "copy.db") >= {"copy.db.partial"}
        raise stop

    with pytest.raises((KeyboardInterrupt, TocsinError)):
        copy_file(database, tmp_path / "copy.db", fail)
    assert beside(tmp_path / "copy.db") == set()


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(database: Path, tmp_path: Path) -> None:
    """No file of that process may grow beyond a megabyte."""
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20));"
    script += "from gateway.cli import main; main()"
    arguments = ["db", "backup", "--database", f"sqlite:///{database}", str(tmp_path / "copy.db")]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {database} could not be copied to {tmp_path}/copy.db: ")
    assert beside(tmp_path / "copy.db") == set()
    assert count(database) == STEP_PAGES // 40


def test_nothing_is_written_over(database: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("there", "dangling"):
        with pytest.raises(TocsinError, match=f"{name}: exists already; name a new file"):
            copy_file(database, tmp_path / name)
    assert (tmp_path / "there").read_text() == "mine"

    def take_the_name(_left: int, _total: int) -> None:
        (tmp_path / "late").write_text("theirs")

    with pytest.raises(TocsinError, match="could not be copied"):
        copy_file(database, tmp_path / "late", take_the_name)
    assert (tmp_path / "late").read_text() == "theirs"


def test_what_a_killed_copy_left_is_cleared_away_and_a_running_one_is_not(database: Path, tmp_path: Path) -> None:
    partial = tmp_path / "copy.db.partial"
    partial.write_bytes(b"half" * PAGE * STEP_PAGES)
    partial.chmod(0o644)
    with partial.open("r+b") as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        with pytest.raises(TocsinError, match=r"copy\.db\.partial: another copy is being written there"):
            copy_file(database, tmp_path / "copy.db")
        assert partial.exists()
    copy_file(database, tmp_path / "copy.db")
    assert count(tmp_path / "copy.db") == STEP_PAGES // 40
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_damaged_database_gives_no_copy(database: Path, tmp_path: Path) -> None:
    with database.open("r+b") as file:
        file.seek(PAGE)  # the root of the table
        file.write(b"\xff" * PAGE)
    with pytest.raises(TocsinError, match="could not be copied"):
        copy_file(database, tmp_path / "copy.db")
    assert beside(tmp_path / "copy.db") == set()


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("postgresql://tocsin:s3cret@db:5432/t?sslmode=require", "'postgresql://tocsin@db:5432/t?sslmode=require'"),
        ("postgresql+psycopg://tocsin:p%40s3cret@db/tocsin", "postgresql://tocsin@db/tocsin"),
        ("postgres:///tocsin?user=t&password=s3cret", "postgresql://t@/tocsin"),
    ],
)
def test_for_postgresql_it_names_the_command_without_the_password(url: str, bare: str) -> None:
    with pytest.raises(TocsinError) as refused:
        refuse_server(url, Path("/backups/t.dump"))
    assert str(refused.value).endswith(f"pg_dump --format=custom --file=/backups/t.dump {bare}")
    assert "s3cret" not in str(refused.value)


def test_for_sqlite_it_names_none() -> None:
    refuse_server("sqlite:///tocsin.db", Path("t.db"))
