from collections.abc import Iterator

import pytest

from tests import postgres

pytest.register_assert_rewrite("tests.channels.suite")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """PostgreSQL for the tests of this run; a test that asks for it is skipped by name where there is none."""
    server = postgres.find_server()
    if server is None:
        pytest.skip(f"PostgreSQL: {postgres.why_none()}")
    yield server
    if isinstance(server, postgres.Cluster):
        server.close()


@pytest.fixture
def postgres_url(postgres_server: postgres.Server) -> Iterator[str]:
    """postgresql://… of a database that is new and empty."""
    url = postgres_server.fresh()
    yield url
    postgres_server.drop(url)
