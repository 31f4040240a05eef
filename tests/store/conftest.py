"""The store under test: the suite is the same for both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.contracts import Store
from tests.stage import running_store


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    place = tmp_path if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with running_store(place) as opened:
        yield opened
