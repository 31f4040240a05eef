"""Disks that are full, locked or slow: a 503, a gateway that lives, and nothing of what was accepted lost."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx2

from tests.fakes.receiver import Receiver
from tests.process import Gateway
from tests.stage import until

ROUTING = """
sources:
  scripts: {{adapter: generic, token: "${{TOKEN}}"}}
channels:
  team: {{kind: webhook, url: "{url}", pace: none}}
routes:
  - {{name: all, to: [team]}}
"""
BULKY = "x" * 50_000


def problem(answer: httpx2.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.headers.get("content-type", ""), answer.headers.get("retry-after", "")


async def test_a_full_disk_is_a_503_and_the_gateway_lives_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, Gateway(tmp_path, ROUTING.format(url=url)).running() as gateway:
        accepted = [(await gateway.post({"title": "before"})).json()["event"]]
        await until(lambda: len(receiver.heard) == 1)
        gateway.starve(largest_file(tmp_path) + 65_536)
        for body in (BULKY, ""):  # the little room that is left takes small ones for a while
            refused = 0
            for number in range(300):
                answer = await gateway.post({"title": f"full {number}", "body": body})
                if answer.status_code == 202:
                    accepted.append(answer.json()["event"])
                    continue
                assert problem(answer) == (503, "application/problem+json", "5"), answer.text
                refused += 1
                if refused == 5:
                    break
            assert refused == 5
        async with gateway.client() as client:
            assert (await client.get("/healthz")).status_code == 200

            async def red() -> bool:
                return (await client.get("/readyz")).status_code == 503

            await until(red, 10)  # the probe itself is small: it takes the last of the room, once a second
        gateway.starve(None)
        freed = time.monotonic()
        await until(lambda: is_accepted(gateway), 5)
        assert time.monotonic() - freed < 2
        await until(lambda: not gateway.sql("SELECT 1 FROM events WHERE state = 'waiting'"), 15)
        await until(lambda: not gateway.sql("SELECT 1 FROM deliveries WHERE state != 'said'"), 15)
        assert set(accepted) <= {id_ for (id_,) in gateway.sql("SELECT id FROM events")}
        assert gateway.sql("PRAGMA integrity_check") == [("ok",)]
        assert await gateway.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert "Traceback" not in gateway.log


def largest_file(folder: Path) -> int:
    return max(path.stat().st_size for path in folder.glob("tocsin.db*"))


async def is_accepted(gateway: Gateway) -> bool:
    return (await gateway.post({"title": "after"})).status_code == 202


async def test_a_database_that_another_process_locks_is_a_503_within_two_seconds_and_passes(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, Gateway(tmp_path, ROUTING.format(url=url)).running() as gateway:
        with closing(sqlite3.connect(gateway.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            started = time.monotonic()
            answers = await asyncio.gather(*(gateway.post({"title": f"{number}"}) for number in range(5)))
            assert time.monotonic() - started < 4
            assert {problem(answer) for answer in answers} == {(503, "application/problem+json", "5")}
            started = time.monotonic()
            async with gateway.client() as client:
                assert (await client.get("/healthz")).status_code == 200
                assert time.monotonic() - started < 0.5
                assert (await client.get("/api/v1/events")).status_code == 200
            other.execute("ROLLBACK")
        released = time.monotonic()
        await until(lambda: is_accepted(gateway))
        assert time.monotonic() - released < 1
        await until(lambda: len(receiver.heard) == 1)


async def test_a_start_on_a_full_disk_says_why_and_exits(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, ROUTING.format(url="http://127.0.0.1:9/x"))
    gateway.database_url = "sqlite:////dev/full/tocsin.db"
    await gateway.start(wait=False)
    assert await gateway.ended() == 1
    assert gateway.last_words.startswith("Error: /dev/full/tocsin.db.lock: cannot be written")


async def test_a_start_while_another_process_locks_the_database_says_why_and_exits(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, ROUTING.format(url="http://127.0.0.1:9/x"))
    async with gateway.running():
        await gateway.end(signal.SIGTERM)
    with closing(sqlite3.connect(gateway.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await gateway.start(wait=False)
        assert await gateway.ended() == 1
    assert gateway.last_words == ("Error: the database cannot be written now: database is locked")


async def test_clients_that_vanish_while_they_wait_leave_nothing_open(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, Gateway(tmp_path, ROUTING.format(url=url)).running() as gateway:
        body = b'{"title": "gone", "fingerprint": "gone"}'
        head = (
            f"POST /webhooks/scripts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.environ['TOKEN']}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode()

        async def vanish() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(head + body)
            await writer.drain()
            writer.transport.abort()

        for _ in range(20):
            await asyncio.gather(*(vanish() for _ in range(20)))
        assert await is_accepted(gateway)
        await until(lambda: not gateway.sql("SELECT 1 FROM events WHERE state = 'waiting'"))
        with closing(sqlite3.connect(gateway.database, timeout=1)) as other, other:
            other.execute("BEGIN IMMEDIATE")
        assert await gateway.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert "Traceback" not in gateway.log
