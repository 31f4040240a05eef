"""A delivery that no lane can take up, or write down, is given up with a reason; the lane goes on with all else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import workers
from gateway.aside import LATER
from gateway.fields import Rate
from gateway.lane import Lane
from gateway.model import GATEWAY, Delivery, Message, Receipt, Ref, Sent, Severity
from gateway.rules.people import PersonSettings
from gateway.store.driver import Prepared
from gateway.store.schema import deliveries, incidents
from gateway.telemetry import REGISTRY
from gateway.turning import Turning
from gateway.workers import Crew
from tests.stage import HOUR, House, Team, routing, running_store, until

STRANGE = {
    "a reference that is no JSON": {"ref": "{"},
    "a severity of another version": {"said_severity": 99},
    "an incident that is gone": {"incident_id": "gone"},
    "a summary that is gone": {"is_digest": True},
}


@pytest.fixture(params=["sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    place = tmp_path if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with running_store(place) as store:
        route = {"name": "all", "match": {"source": "scripts"}, "to": ["team", "other"]}
        yield House(store, routing(route), team=Team(), other=Team())


@pytest.fixture(autouse=True)
def soon_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "RESTART_SECONDS", 0.01)


@asynccontextmanager
async def serving(house: House) -> AsyncIterator[Lane]:
    """The lane of `team` at work."""
    crew, lane = Crew(), Lane(house.pipeline, house.outlets["team"])
    crew.start("lane", lambda: lane.serve(lambda: None))
    try:
        yield lane
    finally:
        await crew.stop("lane")
        await lane.drain(2)


async def rewrite(house: House, statement: sa.Update | sa.Delete) -> None:
    """Do to the database what no gateway of this version does."""
    await house.store.write(lambda ledger: ledger._connection.run(Prepared(statement)))


async def failed(house: House, id_: str) -> str:
    """Why this delivery was given up; '' where it was not."""
    asked = Prepared(sa.select(deliveries.c.reason).where(deliveries.c.id == id_, deliveries.c.state == "failed"))
    row = await house.store.read(lambda ledger: ledger._connection.one(asked))
    return row["reason"] if row is not None else ""


@pytest.mark.parametrize("strange", STRANGE)
async def test_what_cannot_be_taken_up_is_given_up_and_all_else_is_said(house: House, strange: str) -> None:
    for title in ("bad", "good", "better"):
        await house.alert(title)
    bad = (await house.deliveries("bad"))["team"].id
    await rewrite(house, sa.update(deliveries).where(deliveries.c.id == bad).values(STRANGE[strange]))
    before = REGISTRY.get_sample_value("tocsin_deliveries_failed_total", {"channel": "team"}) or 0
    async with serving(house):
        await until(lambda: failed(house, bad))
        await until(lambda: len(house.said("team")) == 2)
    assert {title for _, title in house.said("team")} == {"good", "better"}
    assert (await failed(house, bad)).startswith("a fault of the gateway while taking this up: ")
    assert REGISTRY.get_sample_value("tocsin_deliveries_failed_total", {"channel": "team"}) == before + 1
    await house.decide()
    told = await house.incident("channel:team", GATEWAY)
    # What is of no incident any more may have been critical.
    severity = Severity.CRITICAL if strange == "an incident that is gone" else Severity.ERROR
    assert (told.title, told.severity) == ("Channel team fails: a message was given up", severity)


async def test_what_became_of_one_cannot_be_written_down_and_of_all_others_is(house: House) -> None:
    """It names a page that others show, and its incident is gone."""
    house.pipeline.rules = house.rules(house.pipeline.rules.routing, wants_links=frozenset({"other"}))
    go = asyncio.Event()

    async def later(message: Message, _ref: Ref) -> Receipt:
        await go.wait()
        return Sent({"permalink": "https://notion.example/1"} if message.incident.title == "bad" else {})

    house.teams["team"].answers.extend([later] * 3)
    for title in ("bad", "good", "better"):
        await house.alert(title)
    bad = (await house.deliveries("bad"))["team"].id
    async with serving(house) as lane:
        await until(lambda: len(house.teams["team"].asked) == 3)
        await rewrite(house, sa.delete(incidents).where(incidents.c.title == "bad"))
        go.set()
        await until(lambda: failed(house, bad))
        await house.alert("after")
        lane.wake()
        await until(lambda: ("opened", "after") in house.said("team"))
    assert await failed(house, bad) == "a fault of the gateway while writing down what became of this: KeyError"
    for title in ("good", "better", "after"):
        delivery = (await house.deliveries(title))["team"]
        logged = await house.store.read(lambda ledger, id_=delivery.id: ledger.outbox.attempts_of([id_]))  # type: ignore[misc]
        assert (delivery.state, len(logged[delivery.id])) == ("said", 1)
    assert len(house.teams["team"].asked) == 4


async def test_a_fault_that_no_delivery_is_to_blame_for_costs_none(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, faults = house.pipeline.turn, iter([True, True])

    async def fails(*arguments: Any) -> Any:
        if next(faults, False):
            raise KeyError("a fault of ours")
        return await turn(*arguments)

    monkeypatch.setattr(house.pipeline, "turn", fails)
    for title in ("one", "two"):
        await house.alert(title)
    async with serving(house):
        await until(lambda: len(house.said("team")) == 2)
    assert [await house.state(title) for title in ("one", "two")] == ["said", "said"]


async def test_a_severity_that_nobody_knows_stops_no_lane(house: House) -> None:
    for title in ("bad", "good"):
        await house.alert(title)
    bad = (await house.deliveries("bad"))["team"].id
    await rewrite(house, sa.update(incidents).where(incidents.c.title == "bad").values(severity=7))
    async with serving(house):
        await until(lambda: failed(house, bad))
        await until(lambda: house.said("team"))


async def test_what_another_gateway_holds_by_now_is_not_given_up(house: House) -> None:
    await house.alert("ours")
    (owed,) = await house.store.read(lambda ledger: ledger.outbox.look("team", house.clock(), 9))
    (claim,) = await house.claim("team")
    assert await house.store.write(lambda ledger: ledger.outbox.fail({(owed.id, owed.token): "a fault"})) == []
    held = {(owed.id, claim.delivery.token): "a fault"}
    assert await house.store.write(lambda ledger: ledger.outbox.fail(held)) == [owed.id]


async def test_what_no_mend_comes_for_is_given_up_when_its_time_is_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pages, and nothing beside them that can be taken up: their people hear of them at once all the same."""
    kim = PersonSettings.model_validate({"channels": ["team", "other"]})
    rules = routing({"name": "all", "match": {"source": "scripts"}, "to": ["kim"]})
    house.pipeline.rules = house.rules(replace(rules, people={"kim": kim}))
    for title in ("one", "two"):
        await house.alert(title)
    ids = [(await house.deliveries(title))["team"].id for title in ("one", "two")]

    async def fails(*_: Any) -> Any:
        raise KeyError("a bug")

    async def told_over_the_other() -> bool:
        return all([(await house.deliveries(title)).get("other") for title in ("one", "two")])

    async def all_failed() -> bool:
        lane.wake()
        return all([await failed(house, id_) for id_ in ids])

    monkeypatch.setattr(Turning, "claims", fails)
    async with serving(house) as lane:
        await until(told_over_the_other)
        assert [await failed(house, id_) for id_ in ids] == ["", ""]
        changes = await house.changes("one")
        house.clock.push(LATER)
        lane.wake()
        await asyncio.sleep(0.2)
        assert await house.changes("one") == changes  # once is enough
        house.clock.push(25 * HOUR)
        await until(all_failed)


async def test_a_fault_that_hits_all_of_them_puts_them_off_and_costs_none(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no delivery's: once it is mended all of them are said."""
    for title in ("one", "two", "three"):
        await house.alert(title)

    async def fails(*_: Any) -> Any:
        raise KeyError("a bug")

    async def all_put_off() -> bool:
        due = [(await house.deliveries(title))["team"].due_at for title in ("one", "two", "three")]
        return min(due) == house.clock() + LATER

    async with serving(house) as lane:
        with monkeypatch.context() as broken:
            broken.setattr(Turning, "claims", fails)
            lane.wake()
            await until(all_put_off)
        assert [await house.state(title) for title in ("one", "two", "three")] == ["waiting"] * 3
        house.clock.push(LATER)

        def said() -> bool:
            lane.wake()
            return len(house.said("team")) == 3

        await until(said)
    await house.decide()
    assert (await house.incident("channel:team", GATEWAY)).severity == Severity.ERROR


async def test_where_nothing_is_to_blame_the_storm_budget_is_not_kept_to(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better too loud than mute: what reckons with the budget may be what is broken."""

    async def fails(*_: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr(Turning, "_keep_budget", fails)
    outlet = house.outlets["team"]
    object.__setattr__(outlet, "budget", Rate(1, HOUR))
    for title in ("one", "two"):
        await house.alert(title)
    async with serving(house):
        await until(lambda: len(house.said("team")) == 2)


async def test_a_page_that_cannot_be_taken_up_goes_to_the_persons_next_channel(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    kim = PersonSettings.model_validate({"channels": ["team", "other"]})
    rules = routing({"name": "all", "match": {"source": "scripts"}, "to": ["kim"]})
    house.pipeline.rules = house.rules(replace(rules, people={"kim": kim}))
    for title in ("bad", "good"):
        await house.alert(title)
    bad, take_up = (await house.deliveries("bad"))["team"].id, Turning.claims

    async def fails(turning: Turning, ledger: Any, settling: Any, claimed: Sequence[Delivery], left: Any) -> Any:
        if bad in [one.id for one in claimed]:
            raise KeyError("a bug")
        return await take_up(turning, ledger, settling, claimed, left)

    monkeypatch.setattr(Turning, "claims", fails)
    async with serving(house):
        await until(lambda: failed(house, bad))
        await until(lambda: house.said("team"))
    assert (await house.deliveries("bad"))["other"].person == "kim"


async def test_of_the_gateways_own_that_cannot_be_taken_up_there_is_no_alert(house: House) -> None:
    """It would be told over the same channel, and so on for ever."""
    house.route({"name": "all", "to": ["team", "other"]})
    for title in ("bad", "good"):
        await house.alert(title, source=GATEWAY)
    bad = (await house.deliveries("bad", GATEWAY))["team"].id
    await rewrite(house, sa.update(deliveries).where(deliveries.c.id == bad).values(said_severity=99))
    async with serving(house):
        await until(lambda: failed(house, bad))
    assert await house.store.read(lambda ledger: ledger.inbox.waiting(9)) == []
