"""What the gateway has to say of itself is said, also where nothing could be stored at that moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import service
from gateway.model import GATEWAY
from tests.house import ROUTING, Running, running, until

WRONG = "channels: {terminal: {kind: scream}}\n"


@pytest.fixture(autouse=True)
def sweeps_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "TIDY_SECONDS", 0.1)


async def configuration(house: Running) -> dict[str, Any]:
    """The incident that a refused configuration is; {} where there is none."""
    items = (await house.get("incidents", source=GATEWAY))["items"]
    return next((item for item in items if item["fingerprint"] == "configuration"), {})


async def refused(house: Running) -> bool:
    return (await house.client.get("/readyz")).json()["configuration"]["refused"] is not None


async def is_(house: Running, state: str) -> bool:
    return (await configuration(house)).get("state") == state


async def test_a_refusal_while_nothing_can_be_written_is_told_later(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        async with house.nobody_writes():
            house.routing.write_text(WRONG)
            await until(lambda: refused(house))
            await until(lambda: tried(house, 1))
        await until(lambda: is_(house, "open"))
        await until(lambda: tried(house, 0))


async def test_the_end_of_a_refusal_while_nothing_can_be_written_is_told_later(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        house.routing.write_text(WRONG)
        await until(lambda: is_(house, "open"))
        async with house.nobody_writes():
            house.routing.write_text(ROUTING)
            await until(lambda: tried(house, 1))
        await until(lambda: is_(house, "resolved"))


async def test_both_are_told_in_their_order(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        async with house.nobody_writes():
            house.routing.write_text(WRONG)
            await until(lambda: refused(house))
            house.routing.write_text(ROUTING)
            await until(lambda: tried(house, 2), 15)
        await until(lambda: is_(house, "resolved"))


async def test_a_start_with_a_good_configuration_ends_the_refusal_that_an_earlier_run_told(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        house.routing.write_text(WRONG)
        await until(lambda: is_(house, "open"))
    async with running(tmp_path) as house:
        await until(lambda: is_(house, "resolved"))


async def tried(house: Running, waiting: int) -> bool:
    return len(house.service._untold.events) == waiting
