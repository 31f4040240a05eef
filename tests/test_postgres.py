"""The PostgreSQL of the tests itself: stopped, killed and started again, it forgets nothing that was committed."""

from __future__ import annotations

import importlib
import subprocess
from typing import Any

import pytest

from tests import postgres
from tests.postgres import Cluster, find_binaries


def ask(cluster: Cluster, url: str, statement: str) -> str:
    psql = find_binaries() / "psql"  # type: ignore[operator]
    done = subprocess.run([psql, "-XAtqc", statement, url], capture_output=True, text=True, check=False, timeout=10)
    return done.stdout.strip()


@pytest.mark.skipif(find_binaries() is None, reason="PostgreSQL is not installed (initdb)")
def test_a_cluster_keeps_what_was_committed_through_stops_and_kills() -> None:
    with Cluster(durable=True) as cluster:
        one, other = cluster.fresh(), cluster.fresh()
        assert one != other
        ask(cluster, one, "CREATE TABLE kept (n int)")
        for number, end in enumerate((cluster.stop, lambda: cluster.stop("immediate"), cluster.kill)):
            ask(cluster, one, "INSERT INTO kept VALUES (1)")
            first = cluster.pid
            end()
            assert cluster.pid is None
            cluster.start()
            assert cluster.pid not in (None, first)
            assert ask(cluster, one, "SELECT count(*) FROM kept") == str(number + 1)
        cluster.drop(other)
        assert ask(cluster, other, "SELECT 1") == ""
        assert ask(cluster, one, "SHOW fsync") == "on"
    assert not cluster.folder.exists()


def test_each_test_has_a_database_of_its_own(postgres_url: str) -> None:
    psycopg: Any = importlib.import_module("psycopg")
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_where_there_is_none_it_is_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(postgres.VARIABLE, raising=False)
    monkeypatch.setattr(postgres, "find_binaries", lambda: None)
    assert postgres.find_server() is None
    assert "not installed" in (postgres.why_none() or "")
