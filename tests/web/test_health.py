"""`/healthz`, `/readyz`, `/metrics`: alive, able, and in figures."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import resource
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from gateway.web.app import Face
from tests.house import GENERIC, ROUTING, TOKEN, Program, Running, by_token, client_of, program, running, until

METRIC = re.compile(r'[a-z_]+(\{([a-z_]+="[^"]*",?)*\})? [-+0-9.e]+(Inf|NaN)?')


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as house:
        yield house


async def ready(client: httpx2.AsyncClient) -> int:
    return (await client.get("/readyz")).status_code


async def test_alive_is_said_to_anybody(house: Running) -> None:
    for client in (house.client, house.client_at("203.0.113.1", headers={"x-forwarded-for": "1.1.1.1"})):
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.text) == (200, "ok\n")
    assert (await house.client.head("/healthz")).status_code == 200


async def test_ready_tells_an_administrator_why_and_strangers_only_whether(house: Running) -> None:
    answer = await house.client.get("/readyz")
    assert answer.status_code == 200
    shape = answer.json()
    assert shape["ready"] is True
    assert shape["configuration"] == {"hash": house.service.house.configuration.hash, "refused": None}
    assert set(shape["lanes"]) >= {"lane terminal", "process"}
    assert set(shape["lanes"].values()) == {"alive"}
    for stranger in (
        house.client_at("203.0.113.1"),
        house.client_at("127.0.0.1", headers={"via": "1.1 proxy"}),
        house.client_at("127.0.0.1", "https://alerts.example.com"),
    ):
        assert (await stranger.get("/readyz")).json() == {"ready": True}


async def test_with_a_token_set_only_the_token_sees_more(tmp_path: Path) -> None:
    async with running(tmp_path, environ={"TOCSIN_ADMIN_TOKEN": "adm"}) as house:
        assert (await house.client.get("/readyz")).json() == {"ready": True}
        assert "lanes" in (await house.client.get("/readyz", headers=by_token("adm"))).json()


@pytest.mark.parametrize("state", ["silent", "dead"])
async def test_a_lane_that_has_stopped_makes_it_unready(house: Running, state: str) -> None:
    own = dataclasses.replace(house.service.house, lanes=lambda: {"lane terminal": state, "process": "alive"})
    async with client_of(Face(own)) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["ready"] is False
        assert answer.json()["lanes"]["lane terminal"] == state
        assert answer.headers["retry-after"]
    async with client_of(Face(own), "203.0.113.1") as stranger:
        answer = await stranger.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False})


async def test_a_gateway_that_is_stopping_is_not_ready(house: Running) -> None:
    house.service.house.stopping = True
    assert await ready(house.client) == 503
    assert (await house.client.get("/healthz")).status_code == 200


async def test_while_nothing_can_be_written_it_is_unready_and_alive(house: Running) -> None:
    assert await ready(house.client) == 200
    async with house.nobody_writes("EXCLUSIVE"):
        await asyncio.sleep(1.1)  # the last answer is kept for a second

        async def asked() -> tuple[int, int]:
            return await ready(house.client), (await house.post("generic", {"title": "x"})).status_code

        asking = [asyncio.create_task(asked()) for _ in range(5)]
        slowest = 0.0
        for _ in range(40):
            started = time.perf_counter()
            assert (await house.client.get("/healthz")).status_code == 200
            slowest = max(slowest, time.perf_counter() - started)
            await asyncio.sleep(0.02)
        assert slowest < 0.1
        assert set(await asyncio.gather(*asking)) == {(503, 503)}
        assert (await house.client.get("/readyz")).json()["store"] == "not writable"

    async def well() -> bool:
        return await ready(house.client) == 200

    await until(well, 3)
    assert (await house.post("generic", {"title": "x"})).status_code == 202


async def test_a_refused_file_does_not_make_it_unready_and_shows_no_secret(house: Running) -> None:
    before = house.service.house.configuration.hash
    house.routing.write_text(ROUTING.replace(TOKEN, "canary-in-a-bad-file").replace("screen", "scren"))

    async def refused() -> bool:
        return (await house.client.get("/readyz")).json()["configuration"]["refused"] is not None

    await until(refused)
    answer = await house.client.get("/readyz")
    assert answer.status_code == 200
    shape = answer.json()["configuration"]
    assert shape["hash"] == before
    assert re.fullmatch(r"\d{4}-.*Z", shape["refused"]["at"])
    assert any("scren" in problem for problem in shape["refused"]["problems"])
    assert "canary" not in answer.text
    assert (await house.post("generic", {"title": "x"})).status_code == 202
    house.routing.write_text(ROUTING + "# taken\n")

    async def taken() -> bool:
        now = (await house.client.get("/readyz")).json()["configuration"]
        return now["refused"] is None and now["hash"] != before

    await until(taken)


async def test_metrics_are_prometheus_text_without_labels_of_strangers(house: Running) -> None:
    await house.alert("Disk full", labels={"metric_canary": "metric_canary"}, service="metric_canary")
    await house.post("metric_canary", {"title": "x"})
    await house.post("generic/metric_canary", {"title": "x"}, {})
    await house.client.get("/metric_canary")
    await house.told()
    answer = await house.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = answer.text.splitlines()
    assert all(METRIC.fullmatch(line) for line in lines if line and not line.startswith("#"))
    assert 'tocsin_events_received_total{source="generic"}' in answer.text
    assert 'tocsin_messages_delivered_total{channel="terminal"}' in answer.text
    for name in (
        "tocsin_inbox_waiting",
        "tocsin_inbox_oldest_seconds",
        "tocsin_task_beat_seconds",
        "tocsin_lag_seconds",
    ):
        assert name in answer.text
    assert "metric_canary" not in answer.text


# --- the real program -------------------------------------------------------------------------------


async def some_alerts(gateway: Program, count: int, length: int) -> list[int]:
    body = '{"title": "x", "body": "' + "y" * length + '"}'
    post = gateway.client.post
    return [
        (await post("/webhooks/generic", content=body, headers=GENERIC, timeout=10)).status_code for _ in range(count)
    ]


async def test_on_a_full_disk_it_lives_says_503_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A file may not grow beyond 3 MiB: as on a disk that is full."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * 1024**2, hard))

    async with program(tmp_path, before=little_room) as gateway:
        taken = 0
        async with asyncio.timeout(30):
            for length in (20_000, 2_000, 0):  # the smallest finds room for longest
                statuses = [202]
                while 503 not in statuses:
                    statuses = await some_alerts(gateway, 20, length)
                    assert set(statuses) <= {202, 503}
                    taken += statuses.count(202)

        async def unready() -> bool:  # what it tries takes less room than an alert: it may find some for a moment
            answer = await gateway.client.get("/readyz", timeout=10)
            return (answer.status_code, answer.json()["ready"]) == (503, False)

        await until(unready, 15)
        started = time.perf_counter()
        assert (await gateway.client.get("/healthz")).status_code == 200
        assert time.perf_counter() - started < 0.1
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

        async def room() -> bool:
            return await some_alerts(gateway, 1, 20_000) == [202]

        await until(room, 10)

        async def well() -> bool:
            return await ready(gateway.client) == 200

        await until(well, 10)
        found, cursor = 0, ""
        while cursor is not None:
            query = {"limit": 200, "source": "generic", **({"cursor": cursor} if cursor else {})}
            page = (await gateway.client.get("/api/v1/events", params=query)).json()
            found, cursor = found + len(page["items"]), page["next_cursor"]
        # An answer of 503 may hide a commit; an answer of 202 never hides a loss.
        assert found >= taken + 1
    assert gateway.process.returncode in (0, -15)
    assert "Traceback" not in gateway.log
