"""A database's URL that is mistyped is one sentence, wherever it comes in, and its password is nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.store.engines.sqlite import prepare
from tests.store.test_server_url import REFUSED

ROUTING = """
sources: {scripts: {adapter: generic, token: t0ken-of-scripts}}
channels: {terminal: {kind: screen}}
routes: [{name: all, to: [terminal]}]
"""
MISTYPED = [
    *REFUSED,
    "postgresql://u:s3cret@127.0.0.1:9/db",  # nobody is there
    "Postgresql://u:s3cret@h/db",
    "postgresq://u:s3cret@h/db",
    "host=h user=u password=s3cret",
    "mysql://u:s3cret@h/db",
]


def run(folder: Path, *arguments: str) -> Result:
    (folder / "routing.yaml").write_text(ROUTING)
    return CliRunner().invoke(main, arguments, prog_name="tocsin", catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a database in it."""
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path / "tocsin.db")
    return tmp_path


@pytest.mark.parametrize("url", MISTYPED)
@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--port", "1", "--database", "{}"),
        ("db", "copy", "sqlite:///tocsin.db", "{}"),
        ("db", "copy", "{}", "sqlite:///other.db"),
        ("db", "copy", "{}", "postgresql://u:s3cret@h/db"),
        ("db", "backup", "--database", "{}", "backup.db"),
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_it_is_one_sentence_without_the_password(folder: Path, url: str, arguments: tuple[str, ...]) -> None:
    before = {path.name for path in folder.iterdir()} | {"routing.yaml"}
    done = run(folder, *(argument.format(url) for argument in arguments))
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "cret" not in done.output
    assert {path.name for path in folder.iterdir()} <= before | {"tocsin.db-shm", "tocsin.db-wal"}


@pytest.mark.parametrize("url", [url for url in MISTYPED if not url.startswith("host=")])
def test_a_backup_is_a_file_and_no_url(folder: Path, url: str) -> None:
    done = run(folder, "db", "backup", url)
    said = "Error: FILE is the name of a new file; name the database by --database\n"
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", said)


def test_the_wrong_order_of_a_move_is_said_so(folder: Path) -> None:
    """And no command is named that would write over the file."""
    done = run(folder, "db", "copy", "postgresql://u:s3cret@h/db", "sqlite:///tocsin.db")
    said = "Error: the order is FROM TO, and a move goes from sqlite:///… to postgresql://…, not back\n"
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", said)


def test_a_backup_that_is_there_already_is_named_before_pg_dump_is(folder: Path) -> None:
    arguments = ("db", "backup", "--database", "postgresql://u:s3cret@h/db")
    done = run(folder, *arguments, "tocsin.db")
    assert (done.exit_code, done.stderr) == (1, "Error: tocsin.db: exists already; name a new file\n")
    assert "pg_dump --format=custom --file=new.dump postgresql://u@h/db" in run(folder, *arguments, "new.dump").stderr
