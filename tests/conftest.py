import sys
from collections.abc import Iterator

import hypothesis
import pytest
import structlog
from structlog._config import BoundLoggerLazyProxy

from tests import postgres

pytest.register_assert_rewrite("tests.channels.suite")
# How long one example takes says more of who else is on the machine than of the example.
hypothesis.settings.register_profile("tocsin", deadline=None)
hypothesis.settings.load_profile("tocsin")


@pytest.fixture(autouse=True)
def the_log_as_it_was() -> Iterator[None]:
    """A test that sets the log up leaves it as it found it: loggers that have spoken meanwhile keep what they were
    bound to, and the next test would wait for lines that go elsewhere."""
    before = structlog.get_config()
    yield
    if structlog.get_config() == before:
        return
    structlog.configure(**before)
    for name, module in list(sys.modules.items()):
        if name.startswith(("gateway", "adapters")):
            _own(module).pop("bind", None)  # put there by caching


def _own(module: object) -> dict[str, object]:
    log = getattr(module, "log", None)
    return vars(log) if isinstance(log, BoundLoggerLazyProxy) else {}


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
