"""PostgreSQL goes away, hangs, or turns read-only: the gateway lives, says 503, and is back by itself."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psycopg
import pytest

from gateway.contracts import Accepted, Ledger
from gateway.errors import StoreUnavailable
from gateway.store.driver import Connection
from gateway.store.engines import postgresql
from gateway.store.engines.postgresql import Session
from gateway.store.safe import Safe
from tests import postgres
from tests.fakes.receiver import Receiver
from tests.process import Gateway
from tests.stage import running_store, until
from tests.store.things import an_event
from tests.test_crash import Line, Senders, extra_messages, lost_events
from tests.test_replicas import ROUTING


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    """A server of our own, that waits for its disk."""
    if postgres.find_binaries() is None:
        pytest.skip(f"PostgreSQL: {postgres.why_none()}")
    with postgres.Cluster(durable=True) as cluster:
        yield cluster


HANG_UP: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND datname = current_database()"
)


async def accepted_again(gateway: Gateway, names: Iterator[int]) -> float:
    """Seconds until an alert is accepted."""
    started = time.monotonic()
    line = Line(gateway.port)
    while True:
        name = f"probe {next(names)}"
        if await line.post({"title": name, "fingerprint": name}, key=name):
            line.close()
            return time.monotonic() - started
        await asyncio.sleep(0.02)


async def test_restarted_under_load_it_loses_nothing_and_is_back_within_seconds(
    tmp_path: Path, cluster: postgres.Cluster
) -> None:
    receiver, backs, names = Receiver(), [], itertools.count()
    async with receiver.listening() as url:
        gateway = Gateway(tmp_path, ROUTING.format(url=url, pace="none"), cluster.fresh())
        async with gateway.running():
            senders = Senders(gateway)
            sending = asyncio.create_task(senders.send())
            for mode in ("immediate", "fast", "immediate"):
                told = len(receiver.heard)
                await until(lambda told=told: len(receiver.heard) >= told + 50, 20)
                await asyncio.to_thread(cluster.restart, mode)
                backs.append(await accepted_again(gateway, names))
            senders.stopped.set()
            await sending
            await until(lambda: not gateway.sql("SELECT 1 FROM events WHERE state = 'waiting'"), 40)
            await until(lambda: not gateway.sql("SELECT 1 FROM deliveries WHERE state != 'said'"), 60)
            lost = lost_events(gateway, senders)
            assert (await gateway.get("/readyz"))["ready"]
    print(  # noqa: T201
        f"\n{len(backs)} restarts: {len(senders.accepted)} accepted, {len(lost)} lost, {len(receiver.heard)} messages, "
        f"{extra_messages(receiver)} extra, accepted again after at most {max(backs):.2f} s"
    )
    assert lost == set()
    assert set(senders.accepted) <= {heard.document["incident"]["fingerprint"] for heard in receiver.heard}
    assert max(backs) <= 5
    assert extra_messages(receiver) <= 0.01 * len(receiver.heard)


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A way to a port that swallows everything while the event is set; gives its own port."""
    swallow = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                if not swallow.is_set():
                    writer.write(data)
        finally:
            writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        for one in (pump(reader, back), pump(there, writer)):
            task = asyncio.create_task(one)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], swallow
    finally:
        server.close()
        at_work = list(tasks)
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)


async def test_a_line_that_swallows_everything_is_503_and_another_replica_goes_on(
    tmp_path: Path, postgres_url: str
) -> None:
    receiver, names = Receiver(), itertools.count()
    port = int(postgres_url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
    async with receiver.listening() as url, wire(port) as (through, swallow):
        cut = Gateway(
            tmp_path / "cut", ROUTING.format(url=url, pace="none"), postgres_url.replace(str(port), str(through))
        )
        whole = Gateway(tmp_path / "whole", ROUTING.format(url=url, pace="none"), postgres_url)
        async with cut.running(), whole.running():
            assert (await cut.post({"title": "before"})).status_code == 202
            await until(lambda: len(receiver.heard) == 1, 10)
            swallow.set()
            started = time.monotonic()
            answer = await cut.post({"title": "cut off"})
            took = time.monotonic() - started
            assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
            assert took <= 5
            assert (await whole.post({"title": "other"})).status_code == 202
            await until(lambda: len(receiver.heard) == 2, 15)
            swallow.clear()
            assert await accepted_again(cut, names) <= 15
    assert len({heard.document["incident"]["title"] for heard in receiver.heard}) >= 2


async def test_a_database_that_turns_read_only_is_503_and_back_by_itself(tmp_path: Path, postgres_url: str) -> None:
    gateway = Gateway(tmp_path, ROUTING.format(url="http://127.0.0.1:9/", pace="none"), postgres_url)
    setting = f'ALTER DATABASE "{postgres_url.rsplit("/", 1)[1]}" SET default_transaction_read_only'
    async with gateway.running():
        gateway.do(f"{setting} = on", HANG_UP)
        await until(lambda: _code(gateway, 503), 15)
        assert (await gateway.get("/readyz"))["ready"] is False
        gateway.do("SET default_transaction_read_only = off", f"{setting} = off", HANG_UP)
        await until(lambda: _code(gateway, 202), 15)
    again = Gateway(tmp_path, ROUTING.format(url="http://127.0.0.1:9/", pace="none"), postgres_url)
    gateway.do(f"{setting} = on")
    await again.start(wait=False)
    assert await again.ended() == 1
    assert "the database is read-only" in again.last_words


@pytest.mark.parametrize("in_its_midst", [False, True])
async def test_a_connection_that_is_stuck_within_many_rows_is_left_for_another(
    postgres_url: str, in_its_midst: bool
) -> None:
    """As psycopg leaves one where the server says goodbye in the midst of them: not closed, and good for nothing."""

    async def stick(connection: Connection) -> None:
        assert isinstance(connection, Session)
        connection._raw.pgconn.enter_pipeline_mode()
        connection._raw.pgconn.send_query_params(b"SELECT 1", None)
        assert not connection._raw.closed
        if in_its_midst:
            await connection.control("SAVEPOINT one")

    async with running_store(postgres_url) as store:
        if in_its_midst:
            with pytest.raises(StoreUnavailable) as refused:
                await store.write(lambda ledger: stick(ledger.outbox._connection))  # type: ignore[attr-defined]
            assert len(str(refused.value)) < 500
        else:
            await store.accept(an_event(), None, 0)
            for line in store.writer._lines:
                assert line.connection is not None
                await stick(line.connection)
        assert await store.accept(an_event(), None, 0)
        await store.write(lambda ledger: ledger.beat())


async def test_hung_up_on_while_nobody_spoke_nobody_is_refused(postgres_url: str) -> None:
    """A server that was restarted: what was open is found out by the first who asks, and he does not pay for it."""
    async with running_store(postgres_url) as store:
        await store.accept(an_event(), None, 0)
        readers = [store.read(_slowly) for _ in range(3)]
        await asyncio.gather(*readers)
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute(HANG_UP)
        assert await store.accept(an_event(), None, 0)
        await store.probe()
        await store.write(lambda ledger: ledger.beat())
        assert len(await store.read(lambda ledger: ledger.inbox.waiting(9))) == 2
        assert len(await store.read(lambda ledger: ledger.inbox.waiting(9))) == 2


async def _slowly(ledger: Ledger) -> None:
    await ledger.inbox.waiting(1)
    await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (
            "ALTER DATABASE {name} SET default_transaction_read_only = on",
            "ALTER DATABASE {name} SET default_transaction_read_only = off",
        ),
        ("ALTER TABLE events RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO events"),
    ],
    ids=["a standby", "another database"],
)
async def test_a_server_that_is_another_one_meanwhile_is_left_for_the_one_that_the_address_leads_to(
    postgres_url: str, spoil: str, mend: str
) -> None:
    """After a failover: the connection to what is a standby now is well, and would be for ever."""
    async with (
        running_store(postgres_url) as store,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other,
    ):
        name = f'"{other.info.dbname}"'
        await other.execute(spoil.format(name=name))  # type: ignore[call-overload]
        await other.execute(HANG_UP)
        for asked in (store.accept(an_event(), None, 0), store.write(_add)):
            with pytest.raises(StoreUnavailable):
                await asked
        # The new server is there; nobody hangs up on the old one.
        await other.execute(mend.format(name=name))  # type: ignore[call-overload]
        await other.execute("SET default_transaction_read_only = off")
        await store.accept(an_event(), None, 0)
        await store.write(_add)
        assert len(await store.read(lambda ledger: ledger.inbox.waiting(9))) == 2


async def _add(ledger: Ledger) -> None:
    await ledger.inbox.add(an_event())


async def test_who_is_to_end_while_the_database_is_silent_ends(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop would wait for ever for a task that takes its end for the database's silence."""
    monkeypatch.setattr(postgresql, "STATEMENT_SECONDS", 1.0)
    port = int(postgres_url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
    async with wire(port) as (through, swallow):
        engine = postgresql.PostgreSQL(postgres_url.replace(str(port), str(through)))
        connection = await engine.accepting()
        swallow.set()
        asking = asyncio.create_task(connection.begin())
        await asyncio.sleep(0.3)
        asking.cancel()
        await asyncio.wait([asking], timeout=12)
        assert asking.cancelled()
        await connection.close()


async def test_who_waits_behind_what_a_lock_keeps_waiting_does_not_wait_twice(postgres_url: str) -> None:
    async with (
        running_store(postgres_url) as store,
        await psycopg.AsyncConnection.connect(postgres_url) as other,
    ):
        await other.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        first = asyncio.create_task(store.accept(an_event(), None, 0))
        await asyncio.sleep(0.5)  # it is under way: the rest comes behind it
        behind = [asyncio.create_task(store.accept(an_event(), None, 0)) for _ in range(9)]
        async with asyncio.timeout(5):
            outcomes = await asyncio.gather(first, *behind, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        await other.rollback()
        assert await store.accept(an_event(), None, 0)


async def test_whether_it_can_accept_is_asked_where_it_accepts(postgres_url: str) -> None:
    """Another gateway that decides for long makes nobody unready."""
    async with (
        running_store(postgres_url) as store,
        running_store(postgres_url) as other,
        await psycopg.AsyncConnection.connect(postgres_url) as held,
    ):
        entered, go = asyncio.Event(), asyncio.Event()

        async def slow(_ledger: Ledger) -> None:
            entered.set()
            await go.wait()

        working = asyncio.create_task(store.write(slow))
        await entered.wait()
        await held.execute("SELECT 1 FROM beats FOR UPDATE")  # as a gateway that is stopped in the midst of asking
        await asyncio.wait_for(asyncio.gather(store.probe(), other.probe()), 1)
        go.set()
        await working


async def test_said_goodbye_in_the_midst_of_many_rows_it_is_asked_anew(postgres_url: str) -> None:
    dice = random.Random(4)
    async with (
        running_store(postgres_url) as store,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other,
    ):
        for _ in range(100):
            accepting = [asyncio.ensure_future(store.accept(an_event(), None, 0)) for _ in range(200)]
            await asyncio.sleep(0.03 * dice.random())
            await other.execute(HANG_UP)
            outcomes = await asyncio.gather(*accepting, return_exceptions=True)
            assert all(isinstance(one, Accepted | StoreUnavailable) for one in outcomes)
            await until(lambda: _accepts(store), 2)


async def _accepts(store: Safe) -> bool:
    (outcome,) = await asyncio.gather(store.accept(an_event(), None, 0), return_exceptions=True)
    return not isinstance(outcome, BaseException)


async def _code(gateway: Gateway, wanted: int) -> bool:
    return (await gateway.post({"title": "disk"})).status_code == wanted


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_whatever_the_database_isolates_by_default_who_waited_sees_what_was_done(
    postgres_url: str, level: str
) -> None:
    """Else each would decide on what there was before it waited for its turn, and break off where it writes."""
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other:
        name = other.info.dbname
        await other.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation TO '{level}'")  # type: ignore[call-overload]
    async with running_store(postgres_url) as one, running_store(postgres_url) as two:

        async def count(store: Safe) -> None:
            async def work(ledger: Ledger) -> None:
                (event,) = await ledger.inbox.waiting(1)
                await asyncio.sleep(0.001)
                await ledger.inbox.finish([], {event.id: f"{event.reason}x"})
                await ledger.inbox.again(event.id)

            await store.write(work)

        await one.accept(an_event(), None, 0)
        await asyncio.gather(*(count(store) for store in [one, two] * 10))
        (event,) = await two.read(lambda ledger: ledger.inbox.waiting(1))
        assert event.reason == "x" * 20
