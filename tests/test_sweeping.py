"""Old things go by themselves, bite by bite, while the gateway works; what went is counted, and said in one line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import CapturingLogger

from gateway import sweeping
from gateway.errors import StoreUnavailable
from gateway.rules.retention import DAY, Bounds
from gateway.store import retention
from gateway.store.safe import Safe
from gateway.sweeping import Sweeper
from gateway.telemetry import REGISTRY
from tests.house import Clock, Running, running
from tests.stage import NOON, running_store, until
from tests.store.test_retention import BOUNDS, LATELY, LONG_AGO, NOW, an_old_event, keep, past, rows
from tests.store.things import a_change, an_event


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Safe]:
    async with running_store(tmp_path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "SHORTEST_REST_SECONDS", 0.0)
    monkeypatch.setattr(sweeping, "REST", 0.0)
    monkeypatch.setattr(sweeping, "FIRST_REST_SECONDS", 0.01)


def sweeper(store: Safe, beats: list[int] | None = None, bounds: Bounds = BOUNDS) -> Sweeper:
    counted = [] if beats is None else beats
    return Sweeper(store, lambda: bounds, lambda: NOW, lambda: counted.append(1), asyncio.Event())


def deleted(kind: str) -> float:
    return REGISTRY.get_sample_value("tocsin_retention_deleted_total", {"kind": kind}) or 0.0


async def test_a_sweep_takes_everything_that_is_old_and_counts_it(store: Safe) -> None:
    many = [an_old_event(LONG_AGO + number) for number in range(200)]
    await store.write(lambda ledger: ledger.inbox.accept([(event, None, 0) for event in many]))
    await store.accept(an_event(), "id:1", NOON)
    await keep(store, *[past(opened_at=LONG_AGO + number) for number in range(60)], past(resolved_at=LATELY))
    before, beats = deleted("event"), list[int]()
    gone = await sweeper(store, beats).sweep()
    assert gone == {"event": 200, "incident": 60, "key": 1}
    assert deleted("event") == before + 200
    assert await rows(store, "incidents") == await rows(store, "events") == 1
    assert len(beats) > 200 / retention.EVENTS_OF_A_BITE
    assert await sweeper(store).sweep() == {}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    """What is logged, however the tests before have set the log up."""
    heard = CapturingLogger()
    whole = structlog.make_filtering_bound_logger(0)
    monkeypatch.setattr(sweeping, "log", structlog.wrap_logger(heard, processors=[], wrapper_class=whole))
    return heard


async def test_one_line_says_what_went_and_none_that_nothing_did(store: Safe, lines: CapturingLogger) -> None:
    await sweeper(store).sweep()
    assert not lines.calls
    await keep(store, past())
    await sweeper(store).sweep()
    assert [(line.kwargs["event"], line.kwargs["incidents"]) for line in lines.calls] == [("old things deleted", 1)]


async def test_an_incident_with_very_many_changes_goes_in_several_bites(store: Safe) -> None:
    old = past()
    await keep(store, old)
    many = [a_change(old, revision=revision) for revision in range(2, 402)]
    await store.write(lambda ledger: ledger.changes.record(many, []))
    assert await sweeper(store).sweep() == {"incident": 1}
    assert await rows(store, "changes") == 0


async def test_a_store_that_cannot_be_written_is_tried_again_later(
    store: Safe, monkeypatch: pytest.MonkeyPatch, lines: CapturingLogger
) -> None:
    monkeypatch.setattr(sweeping, "BETWEEN_SWEEPS_SECONDS", 0.05)
    await keep(store, past())

    class Failing(Sweeper):
        tries = 0

        async def sweep(self):  # type: ignore[no-untyped-def]
            Failing.tries += 1
            if Failing.tries == 1:
                raise StoreUnavailable("the disk is full")
            return await super().sweep()

    serving = asyncio.create_task(Failing(store, lambda: BOUNDS, lambda: NOW, lambda: None, asyncio.Event()).serve())
    try:
        await until(lambda: Failing.tries >= 3)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert "sweep postponed" in [line.kwargs["event"] for line in lines.calls]
    assert await rows(store, "incidents") == 0


async def test_a_saved_span_counts_at_once(store: Safe) -> None:
    await keep(store, past(resolved_at=LATELY))
    bounds, changed = [Bounds(NOW - 30 * DAY, NOW - 400 * DAY)], asyncio.Event()
    serving = asyncio.create_task(Sweeper(store, lambda: bounds[0], lambda: NOW, lambda: None, changed).serve())
    try:
        await asyncio.sleep(0.2)
        assert await rows(store, "incidents") == 1
        bounds[0] = Bounds(NOW, NOW)
        changed.set()
        await until(lambda: _none_left(store), 2)
        await keep(store, past(resolved_at=LATELY))  # a short span is looked at often, and not more often than that
        await until(lambda: _none_left(store), 2)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def _none_left(store: Safe) -> bool:
    return await rows(store, "incidents") == 0


async def test_a_clock_that_leaps_makes_nothing_old_for_an_hour(
    store: Safe, monkeypatch: pytest.MonkeyPatch, lines: CapturingLogger
) -> None:
    monkeypatch.setattr(sweeping, "BETWEEN_SWEEPS_SECONDS", 0.02)
    await keep(store, past(resolved_at=LATELY))
    clock = Clock()

    def bounds() -> Bounds:
        return Bounds(clock() - 30 * DAY, clock() - 400 * DAY)

    serving = asyncio.create_task(Sweeper(store, bounds, clock, lambda: None, asyncio.Event()).serve())
    try:
        await asyncio.sleep(0.1)
        clock.ahead += 500 * DAY
        await until(lambda: "sweep postponed" in [line.kwargs["event"] for line in lines.calls])
        assert await rows(store, "incidents") == 1
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


ROUTING = """
sources: {generic: {adapter: generic, token: tkn-generic-0001}}
channels: {terminal: {kind: screen}}
routes: [{name: all, to: [terminal]}]
retention: {events: 2d, incidents: 3d}
"""


async def post(house: Running, title: str, status: str = "firing") -> None:
    alert = {"title": title, "status": status, "fingerprint": title}
    headers = {"authorization": "Bearer tkn-generic-0001"}
    assert (await house.client.post("/api/v1/alerts", json=alert, headers=headers)).status_code == 202


async def incidents(house: Running) -> list[str]:
    return [item["title"] for item in (await house.get("incidents"))["items"]]


async def test_a_gateway_forgets_what_its_file_says_and_answers_as_if_it_had_never_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "BETWEEN_SWEEPS_SECONDS", 0.05)
    monkeypatch.setattr(sweeping, "LEAP", 100 * DAY)
    clock = Clock()
    async with running(tmp_path, ROUTING, clock=clock) as house:
        for title in ("over", "lasting"):
            await post(house, title)
        await post(house, "over", "resolved")
        await _until_incident(house, "over", "resolved")
        over = next(item for item in (await house.get("incidents"))["items"] if item["title"] == "over")
        clock.ahead += 4 * DAY
        await _until_gone(house, over["id"])
        assert await incidents(house) == ["lasting"]
        for call in ("acknowledge", "resolve", "reopen", "note"):
            answer = await house.client.post(f"/api/v1/incidents/{over['id']}/{call}", json={})
            assert answer.status_code == 404
        assert (await house.client.get(f"/api/v1/incidents/{over['number']}")).status_code == 404
        await post(house, "over")
        await _until_incident(house, "over", "open")
        again = next(item for item in (await house.get("incidents"))["items"] if item["title"] == "over")
        assert again["previous"] in {None, ""}
        assert again["number"] > over["number"]


async def _until_incident(house: Running, title: str, state: str) -> None:
    for _ in range(500):
        found = (await house.get("incidents"))["items"]
        if any(item["title"] == title and item["state"] == state for item in found):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{title} was never {state}")


async def _until_gone(house: Running, id_: str) -> None:
    for _ in range(500):
        if (await house.client.get(f"/api/v1/incidents/{id_}")).status_code == 404:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never went")
