"""A PostgreSQL's URL is read as libpq reads it, shown without its secrets, or refused without being repeated."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from gateway.errors import TocsinError
from gateway.store.server_url import names_server, server_url

SHOWN = {
    "postgresql://tocsin:s3cret@db/tocsin": "postgresql://tocsin@db/tocsin",
    "postgres://tocsin:s3cret@db:5433/tocsin": "postgresql://tocsin@db:5433/tocsin",
    "postgresql+psycopg://tocsin:p%40s3cret@db/tocsin": "postgresql://tocsin@db/tocsin",
    "postgresql:///tocsin?user=t&password=s3cret": "postgresql://t@/tocsin",
    "postgresql://t:s3#cret@db/tocsin": "postgresql://t@db/tocsin",
    "postgresql://t:s3?cret@db/tocsin": "postgresql://t@db/tocsin",
    "postgresql://t:s3[cret@db/tocsin": "postgresql://t@db/tocsin",
    "postgresql://t:s3]cret@db/tocsin": "postgresql://t@db/tocsin",
    "postgresql://t@db/tocsin?sslmode=verify-full&sslpassword=s3cret": "postgresql://t@db/tocsin?sslmode=verify-full",
    "postgresql://t:s3cret@one:1,two:2/tocsin": "postgresql://t@/tocsin?host=one,two&port=1,2",
    "postgresql://t:s3cret@%2Frun%2Fpg/tocsin": "postgresql://t@/tocsin?host=/run/pg",
    "postgresql://t:s3cret@[fe80::1%25eth0]:5432/tocsin": "postgresql://t@[fe80::1%25eth0]:5432/tocsin",
    "postgresql://t%40x:s3cret@db/a%20name?options=-c%20a%3Db": "postgresql://t%40x@db/a%20name?options=-c%20a%3Db",
    "postgresql://": "postgresql:///",
}
TAKEN = [
    "postgresql://t@/tocsin?host=@abstract",
    "postgresql://h?host=/run/pg&user=me@corp",
    "postgresql://t@h?sslrootcert=/a&application_name=x@y",
]
REFUSED = [
    "postgresql:/u:s3cret@h/db",
    "postgresql:u:s3cret@h/db",
    "postgres:/u:s3cret@h/db?sslmode=require",
    "postgresql+asyncpg://u:s3cret@h/db",
    "postgresql://u:s3cret%zz@h/db",
    "postgresql://u:s3cret%00@h/db",
    "postgresql://u:s3cret%ff@h/db",
    "postgresql://u:s3cret x@h/db",
    "postgresql://u:\udcffs3cret@h/db",
    "postgresql://u:a@s3cret@h/db",
    "postgresql://u:s3cret/a@h/db",
    "postgresql://u:5432/s3cret@h/db",
    "postgresql://u:a@h:s3cret/db",
    "postgresql://u:a@h/db?pasword=s3cret",
]


@pytest.mark.parametrize(("url", "shown"), SHOWN.items())
def test_the_same_database_is_shown_without_its_secrets(url: str, shown: str) -> None:
    read = server_url(url)
    assert read.shown == shown
    assert "cret" not in shown
    meant = conninfo_to_dict(read.url)
    assert conninfo_to_dict(shown) == {k: v for k, v in meant.items() if k not in ("password", "sslpassword")}


@pytest.mark.parametrize("url", TAKEN)
def test_what_is_special_outside_of_a_password_is_no_part_of_one(url: str) -> None:
    assert conninfo_to_dict(server_url(url).shown) == conninfo_to_dict(url)


@pytest.mark.parametrize("url", REFUSED)
def test_what_cannot_be_read_is_one_fixed_sentence(url: str) -> None:
    assert names_server(url)
    with pytest.raises(TocsinError) as refused:
        server_url(url)
    assert str(refused.value) == (
        "the database's URL cannot be read; write it like postgresql://user@host/name, with %-escapes for what is "
        "special in the password"
    )


@pytest.mark.parametrize("url", ["sqlite:///tocsin.db", "tocsin.db", "mysql://x", ""])
def test_what_names_no_postgresql_is_none(url: str) -> None:
    assert not names_server(url)
