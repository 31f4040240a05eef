"""The store under test. Another engine joins by adding its way to open to `ENGINES`: the suite is the same for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from gateway.contracts import Store
from tests.stage import running_store

ENGINES: dict[str, Callable[[Path], AbstractAsyncContextManager[Store]]] = {"sqlite": running_store}


@pytest.fixture(params=sorted(ENGINES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with ENGINES[request.param](tmp_path) as opened:
        yield opened
