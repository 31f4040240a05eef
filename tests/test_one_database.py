"""One database has one gateway, by whatever name it comes to it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import TocsinError
from gateway.store.safe import Safe


def safe(path: Path) -> Safe:
    return Safe(f"sqlite:///{path}")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    store = safe(tmp_path / "tocsin.db")
    store.open()
    store.engine.close()
    return tmp_path / "tocsin.db"


def test_a_symbolic_link_leads_to_the_same_lock(database: Path, tmp_path: Path) -> None:
    link = tmp_path / "other.db"
    link.symlink_to(database)
    first = safe(database)
    first.open()
    with pytest.raises(TocsinError, match="another gateway is running on this database"):
        safe(link).open()
    first.engine.close()
    second = safe(link)
    second.open()
    assert second.engine.path == database
    second.engine.close()


def test_a_folder_that_is_a_symbolic_link_leads_to_the_same_lock(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.symlink_to(database.parent, target_is_directory=True)
    first = safe(folder / database.name)
    first.open()
    with pytest.raises(TocsinError, match="another gateway is running on this database"):
        safe(database).open()
    first.engine.close()


def test_a_link_to_a_file_that_is_not_there_yet_makes_the_file(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "new.db")
    store = safe(link)
    store.open()
    assert (tmp_path / "new.db").is_file()
    store.engine.close()


def test_a_link_that_leads_to_itself_is_refused_in_a_sentence(tmp_path: Path) -> None:
    link = tmp_path / "round.db"
    link.symlink_to(link)
    with pytest.raises(TocsinError, match="cannot be used as a database"):
        safe(link).open()


def test_a_hard_link_is_refused_and_nothing_is_touched(database: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    os.link(database, other)
    before = database.read_bytes()
    for name in (database, other):
        with pytest.raises(TocsinError, match=r"has a second name \(a hard link\).*; remove one"):
            safe(name).open()
    assert database.read_bytes() == before
    other.unlink()
    store = safe(database)
    store.open()  # what was refused holds no lock
    with closing(sqlite3.connect(database)) as look:
        assert look.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.engine.close()
