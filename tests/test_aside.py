"""What a fault of ours keeps from being done is set aside and told of; all else goes on as if it were not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from gateway.aside import LATER
from gateway.errors import StoreUnavailable
from gateway.model import GATEWAY, Millis, Severity, Timer
from gateway.store.driver import Prepared
from gateway.store.schema import timers
from gateway.telemetry import REGISTRY
from tests.stage import MINUTE, YEAR, House, Team, routing, running_store


@pytest.fixture(params=["sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    place = tmp_path if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with running_store(place) as store:
        yield House(store, routing({"name": "page", "to": ["page"]}), team=Team(), other=Team())


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def faults(lines: list[Any]) -> list[str]:
    """What was logged for a person to act upon."""
    return [line["event"] for line in lines if line["log_level"] == "error"]


async def rewrite(house: House, statement: sa.Update) -> None:
    """Do to the database what no gateway of this version does."""
    await house.store.write(lambda ledger: ledger._connection.run(Prepared(statement)))


async def waiting(house: House, armed: Collection[Timer]) -> dict[str, Millis]:
    """When those of these timers that are armed still are due, by kind."""
    subjects = {timer.subject for timer in armed}
    standing = await house.store.read(lambda ledger: ledger.timers.look(house.clock() + YEAR, 99))
    return {timer.kind: timer.due_at for timer in standing if timer.subject in subjects}


class TestTimers:
    async def test_those_that_cannot_be_acted_upon_are_put_off_and_all_others_ring(self, house: House) -> None:
        house.order(escalations={"page": {"steps": [{"to": "team"}, {"to": "other", "after": "5m"}]}})
        await house.alert("good")
        due = house.clock() + MINUTE
        wrong = {
            "lacks": Timer("escalate", "", due, "page", about={}),
            "is newer": Timer("sing", "", due, "page"),  # type: ignore[arg-type]
        }
        for title, timer in wrong.items():
            await house.alert(title)
            wrong[title] = replace(timer, subject=(await house.incident(title)).id)
        wrong["is no JSON"] = Timer("silence", "of before", due)
        await house.store.write(lambda ledger: ledger.timers.set(list(wrong.values())))
        about = sa.update(timers).where(timers.c.kind == "silence")
        await rewrite(house, about.values(about="{"))
        before = figure("tocsin_timers_put_off_total", kind="escalate")

        with structlog.testing.capture_logs() as lines:
            await house.passes(6 * MINUTE)
        assert ("opened", "good") in house.said("other")
        assert faults(lines) == ["timer put off"] * 3
        assert figure("tocsin_timers_put_off_total", kind="escalate") == before + 1
        told = await house.incident("timers", GATEWAY)
        assert told.title == "3 timers could not be acted upon and will be tried again in 10 min"
        assert f"escalate page for {wrong['lacks'].subject}" in told.body
        assert told.severity == Severity.ERROR

        assert await waiting(house, wrong.values()) == dict.fromkeys(("escalate", "sing", "silence"), due + LATER)
        await rewrite(house, about.values(about="{}"))
        await house.passes(LATER)
        assert await waiting(house, wrong.values()) == dict.fromkeys(("escalate", "sing"), due + 2 * LATER)

    async def test_a_store_that_is_away_while_they_ring_alone_puts_none_off(self, house: House) -> None:
        await house.alert()
        wrong = Timer("escalate", (await house.incident()).id, house.clock(), "page", about={})
        await house.store.write(lambda ledger: ledger.timers.set([wrong]))
        write, store = house.store.write, house.pipeline.store

        class Away:
            read = store.read
            calls = 0

            async def write(self, work: Any, *, lasting: bool = True) -> Any:
                self.calls += 1
                if self.calls == 2:
                    raise StoreUnavailable("the disk is full")
                return await write(work, lasting=lasting)

        house.pipeline.store = Away()  # type: ignore[assignment]
        with pytest.raises(StoreUnavailable):
            await house.pipeline.ring(100)
        assert await house.store.read(lambda ledger: ledger.timers.next_due()) == wrong.due_at
