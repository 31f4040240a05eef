"""Several gateways on one PostgreSQL: one incident for a race, one message for an incident, and any may die."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import psycopg
import pytest

from tests.fakes.receiver import Receiver
from tests.process import Gateway
from tests.stage import until

ROUTING = """
sources: {{scripts: {{adapter: generic, token: "${{TOKEN}}"}}}}
channels: {{team: {{kind: webhook, url: "{url}", pace: {pace}}}}}
routes: [{{name: all, to: [team]}}]
"""


@asynccontextmanager
async def replicas(
    folder: Path, database: str, url: str, many: int = 2, pace: str = "none"
) -> AsyncIterator[list[Gateway]]:
    """So many gateways, started at once."""
    routing = ROUTING.format(url=url, pace=pace)
    made = [Gateway(folder / str(number), routing, database) for number in range(many)]
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(one.running()) for one in made))
        yield made


async def post(client: httpx2.AsyncClient, name: str, **headers: str) -> httpx2.Response:
    alert = {"title": name, "fingerprint": name, "severity": "error"}
    return await client.post("/webhooks/scripts", content=json.dumps(alert), headers=headers)


async def test_four_that_start_at_once_make_one_schema_and_agree(tmp_path: Path, postgres_url: str) -> None:
    async with replicas(tmp_path, postgres_url, "http://127.0.0.1:9/", 4) as gateways:

        async def seen() -> bool:
            ready = await gateways[0].get("/readyz")
            return len(ready["replicas"]) == 4 and ready["agreed"]

        await until(seen, 15)
        routing = gateways[3].config.read_text()
        gateways[3].config.write_text(routing.replace("name: all", "name: every"))

        async def disagree() -> bool:
            return not (await gateways[0].get("/readyz"))["agreed"]

        await until(disagree, 15)
        async with gateways[0].client() as client:
            assert "tocsin_replica_configurations 2.0" in (await client.get("/metrics")).text


async def test_a_race_of_four_posts_is_one_event_one_incident_one_message(tmp_path: Path, postgres_url: str) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, replicas(tmp_path, postgres_url, url) as (one, other):
        async with one.client() as first, other.client() as second:
            for number in range(60):
                name = f"disk {number}"
                answers = await asyncio.gather(
                    *(post(client, name, **{"idempotency-key": name}) for client in (first, second, first, second))
                )
                assert [answer.status_code for answer in answers] == [202] * 4
                assert len({answer.json()["event"] for answer in answers}) == 1
                await asyncio.gather(*(post(client, f"again {number}") for client in (first, second, first, second)))
        await until(lambda: one.sql("SELECT count(*) FROM events WHERE state = 'done'") == [(60 + 240,)], 20)
        await until(lambda: one.sql("SELECT count(*) FROM deliveries WHERE state = 'said'") == [(120,)], 20)
        assert one.sql("SELECT count(*), sum(count) FROM incidents") == [(120, 60 + 240)]
    said = [(heard.document["incident"]["id"], heard.document["change"]["revision"]) for heard in receiver.heard]
    assert len(said) == len(set(said))
    assert {heard.document["incident"]["title"] for heard in receiver.heard} == {
        f"{word} {number}" for word in ("disk", "again") for number in range(60)
    }


async def test_what_a_killed_one_was_sending_is_taken_over_when_its_lease_ends(
    tmp_path: Path, postgres_url: str
) -> None:
    receiver, hung, go = Receiver(), asyncio.Event(), asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hung.set()
        await go.wait()
        writer.close()

    silent = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with receiver.listening() as url, AsyncExitStack() as stack:
        routing = ROUTING.format(url=f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/", pace="none")
        dying = await stack.enter_async_context(Gateway(tmp_path / "dying", routing, postgres_url).running())
        async with dying.client() as client:
            await post(client, "disk")
        await hung.wait()
        await dying.end(signal.SIGKILL)
        with psycopg.connect(postgres_url, autocommit=True) as session:  # 30 s are a long time for a test
            session.execute("UPDATE deliveries SET lease_until = lease_until - 26000")
        ((lease,),) = dying.sql("SELECT lease_until FROM deliveries")
        heir = Gateway(tmp_path / "heir", ROUTING.format(url=url, pace="none"), postgres_url)
        await stack.enter_async_context(heir.running())
        await until(lambda: receiver.heard, 12)
        await until(lambda: heir.sql("SELECT count(*) FROM attempts") == [(1,)])
        ((told,),) = heir.sql("SELECT at FROM attempts")
        assert lease <= told <= lease + 5_000
        assert heir.sql("SELECT attempts, unsettled, token FROM deliveries") == [(1, 0, 2)]
    go.set()
    silent.close()


async def test_two_keep_one_pace_together(tmp_path: Path, postgres_url: str) -> None:
    receiver = Receiver()
    async with (
        receiver.listening() as url,
        replicas(tmp_path, postgres_url, url, pace="4/s") as (one, other),
        one.client() as first,
        other.client() as second,
    ):
        await asyncio.gather(*(post((first, second)[number % 2], f"disk {number}") for number in range(16)))
        await until(lambda: len(receiver.heard) == 16, 20)
        starts = sorted(at for (at,) in one.sql("SELECT at FROM attempts"))
    assert all(later - earlier >= 900 for earlier, later in zip(starts, starts[4:], strict=False)), starts


async def test_what_a_stopped_one_knows_no_more_is_refused(tmp_path: Path, postgres_url: str) -> None:
    """SIGSTOP past the lease, in the midst of sending: another says it, and what the zombie settles is fenced."""
    receiver, go = Receiver(), asyncio.Event()
    reached = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reached.set()
        await go.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    async with receiver.listening() as url, AsyncExitStack() as stack:
        routing = ROUTING.format(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", pace="none")
        zombie = await stack.enter_async_context(Gateway(tmp_path / "zombie", routing, postgres_url).running())
        heir = Gateway(tmp_path / "heir", ROUTING.format(url=url, pace="none"), postgres_url)
        async with zombie.client() as client:
            await post(client, "disk")
        await reached.wait()
        assert zombie.process is not None
        zombie.process.send_signal(signal.SIGSTOP)
        # Its lease is made to end now: nobody waits half a minute for what the test before has shown.
        with psycopg.connect(postgres_url, autocommit=True) as session:
            session.execute("UPDATE deliveries SET lease_until = 1")
        await stack.enter_async_context(heir.running())
        await until(lambda: receiver.heard, 15)
        await until(lambda: heir.sql("SELECT state FROM deliveries") == [("said",)])
        zombie.process.send_signal(signal.SIGCONT)
        go.set()

        async def fenced() -> bool:
            async with zombie.client() as client:
                return 'tocsin_settlements_fenced_total{channel="team"} 1.0' in (await client.get("/metrics")).text

        await until(fenced, 20)
        assert heir.sql("SELECT state, token FROM deliveries") == [("said", 2)]
    server.close()


async def test_one_that_stops_in_the_midst_of_its_turn_holds_up_the_others_for_seconds(
    tmp_path: Path, postgres_url: str
) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, replicas(tmp_path, postgres_url, url) as (one, _other):
        # As a gateway would that is stopped with the turn in its hand.
        holder = psycopg.connect(postgres_url)
        holder.execute("SET LOCAL idle_in_transaction_session_timeout = '5s'")
        holder.execute("SELECT pg_advisory_xact_lock(7220170951)")
        async with one.client() as client:
            assert (await post(client, "disk")).status_code == 202
        await until(lambda: receiver.heard, 15)
        holder.close()


@pytest.mark.parametrize("url", ["postgresql://nobody:s3cret@127.0.0.1:9/none", "postgresql://127.0.0.1:9"])
async def test_a_database_that_is_not_there_is_one_sentence_without_its_password(tmp_path: Path, url: str) -> None:
    gateway = Gateway(tmp_path, ROUTING.format(url="http://127.0.0.1:9/", pace="none"), url)
    await gateway.start(wait=False)
    assert await gateway.ended() == 1
    assert "the database cannot be reached" in gateway.last_words
    assert "s3cret" not in gateway.log
