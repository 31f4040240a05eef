"""A start that fails is one sentence, a stop is bounded whatever hangs, and no clock ends a lease before its time."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from gateway import lane, lanes
from gateway.clock import now_ms
from gateway.lane import Lane
from gateway.lanes import CLOSE_SECONDS, DRAIN_SECONDS
from gateway.pipeline import LEASE
from tests.fakes.receiver import Receiver
from tests.house import Running, running
from tests.process import Gateway
from tests.stage import MINUTE, Team, stage, until

ROUTING = """
sources: {generic: {adapter: generic, token: tkn-generic-0001}}
channels: {team: {kind: webhook, url: "http://127.0.0.1:9/x", timeout: TIMEOUT}}
routes: [{name: all, to: [team]}]
"""


async def test_a_locked_database_at_start_is_a_sentence_without_a_traceback(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, ROUTING.replace("TIMEOUT", "10s"))
    async with gateway.running():
        assert await gateway.end(signal.SIGTERM) == 0
    with closing(sqlite3.connect(gateway.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await gateway.start(wait=False)
        assert await gateway.ended() == 1
    assert gateway.log.endswith("Error: the database cannot be written now: database is locked\n")
    assert "Traceback" not in gateway.log


class Clinging(Team):
    """A channel that does not finish closing: its vendor never answers the goodbye."""

    async def close(self) -> None:
        await asyncio.Event().wait()


async def test_a_channel_that_does_not_close_is_left_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "CLOSE_SECONDS", 0.1)
    async with stage(tmp_path) as house:
        async with asyncio.timeout(2):
            await lanes.end(Lane(house.pipeline, house.outlets["team"]), Clinging())


def test_what_hangs_at_a_stop_leaves_room_in_the_ten_seconds() -> None:
    clients = 2.0  # serve's timeout_graceful_shutdown
    assert clients + DRAIN_SECONDS + CLOSE_SECONDS < 9


async def test_a_hanging_send_holds_up_the_stop_for_the_drain_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "DRAIN_SECONDS", 0.2)
    reached, go = asyncio.Event(), asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await go.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    async with running(tmp_path, ROUTING.replace("TIMEOUT", "30s").replace("http://127.0.0.1:9/x", url)) as house:
        await house.alert("stuck")
        await reached.wait()
        started = time.monotonic()
    assert time.monotonic() - started < 2
    go.set()
    server.close()
    await server.wait_closed()


async def leased(house: Running, until: int) -> bool:
    """Whether a sweep leaves a lease that lasts until then."""

    def lease() -> None:
        with closing(sqlite3.connect(house.database, timeout=5)) as other, other:
            other.execute("UPDATE deliveries SET state = 'waiting', due_at = ?, lease_until = ?", (until, until))

    await asyncio.to_thread(lease)
    if await house.service.store.read(house.service._strays):
        await house.service.store.write(house.service._sweep)
    (delivery,) = (await house.get("deliveries"))["items"]
    rows = await asyncio.to_thread(_leases, house.database)
    assert delivery["state"] == "waiting"
    return rows == [(until,)]


def _leases(database: Path) -> list[tuple[int]]:
    with closing(sqlite3.connect(database, timeout=5)) as other:
        return other.execute("SELECT lease_until FROM deliveries").fetchall()


async def test_no_sweep_ends_a_lease_but_one_that_a_clock_put_back_has_stretched(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening() as url:
        patient = ROUTING.replace("http://127.0.0.1:9/x", url)
        async with running(tmp_path, patient.replace("TIMEOUT", "2m")) as house:
            await house.alert("once")
            await house.told()
            assert await leased(house, now_ms() + LEASE)
            assert not await leased(house, now_ms() + LEASE + 2 * MINUTE)


async def test_what_takes_longer_than_a_lease_is_held_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another gateway on the same database would send it as well."""
    monkeypatch.setattr(lane, "RENEW_SECONDS", 0.1)
    reached, go = asyncio.Event(), asyncio.Event()

    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await go.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    async with running(tmp_path, ROUTING.replace("TIMEOUT", "30s").replace("http://127.0.0.1:9/x", url)) as house:
        house.service.store.tick = 0.05
        await house.alert("slow")
        await reached.wait()
        ((before,),) = await asyncio.to_thread(_leases, house.database)
        await until(lambda: _leases(house.database) > [(before + 500,)])
        go.set()
        await house.told()
    server.close()
    await server.wait_closed()


async def test_asked_twice_it_ends_all_the_same(tmp_path: Path) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await go.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    scripts = ROUTING.replace("generic: {adapter", "scripts: {adapter").replace("tkn-generic-0001", '"${TOKEN}"')
    gateway = Gateway(tmp_path, scripts.replace("TIMEOUT", "30s").replace("http://127.0.0.1:9/x", url))
    async with gateway.running():
        await gateway.post({"title": "stuck"})
        await reached.wait()
        assert gateway.process is not None
        started = time.monotonic()
        gateway.process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
        assert await gateway.end(signal.SIGINT) == 130  # its connections' threads do not keep it
        assert time.monotonic() - started < 8
    go.set()
    server.close()
    await server.wait_closed()
