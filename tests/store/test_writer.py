"""One task writes, in groups: nobody pays for a neighbour, nobody waits for ever, nothing stays open."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gateway.contracts import Accepted, Ledger
from gateway.errors import StoreUnavailable
from gateway.model import Event
from gateway.store import inbox, writer
from gateway.store.driver import SQLITE, Connection, Rows
from gateway.store.engines.sqlite_file import Answer, File, Said
from gateway.store.safe import Safe
from tests.stage import NOON, running_store, until
from tests.store.things import an_event


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Safe]:
    async with running_store(tmp_path) as opened:
        yield opened


def count(store: Safe, table: str = "events") -> int:
    with closing(sqlite3.connect(store.engine.path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


async def add(ledger: Ledger) -> str:
    event = an_event()
    await ledger.inbox.add(event)
    return event.id


async def fail(ledger: Ledger) -> str:
    await add(ledger)
    raise KeyError("mine")


class TestGroups:
    async def test_what_was_accepted_is_on_disk(self, store: Safe) -> None:
        answers = await asyncio.gather(*(store.accept(an_event(), None, 0) for _ in range(700)))
        assert len({answer.event for answer in answers}) == 700
        assert count(store) == 700

    async def test_many_are_committed_together(self, store: Safe) -> None:
        """The half of them each time, so that while one half is on its way to the disk the next can be read."""
        commits: list[int] = []
        accepting = store.writer._accepting

        async def counted(connection: Connection, entries: Sequence[writer.Entry]) -> list[Accepted]:
            commits.append(len(entries))
            return await accepting(connection, entries)

        store.writer._accepting = counted
        await asyncio.gather(*(store.accept(an_event(), None, 0) for _ in range(100)))
        assert commits == [50, 32, 18]

    async def test_who_fails_in_a_group_does_not_harm_his_neighbours(self, store: Safe) -> None:
        works = [add, fail, add, fail, add]
        outcomes = await asyncio.gather(*(store.write(work) for work in works), return_exceptions=True)
        assert [isinstance(outcome, KeyError) for outcome in outcomes] == [False, True, False, True, False]
        assert count(store) == 3

    async def test_who_fails_alone_leaves_nothing(self, store: Safe) -> None:
        with pytest.raises(KeyError, match="mine"):
            await store.write(fail)
        assert count(store) == 0
        assert await store.write(add)

    @pytest.mark.parametrize("alone", [True, False])
    async def test_a_statement_that_is_wrong_is_the_askers_fault_and_not_the_disks(
        self, store: Safe, alone: bool
    ) -> None:
        event = an_event()

        async def twice(ledger: Ledger) -> None:
            await ledger.inbox.add(event)
            await ledger.inbox.add(event)

        works = [twice] if alone else [twice, add]
        outcomes = await asyncio.gather(*(store.write(work) for work in works), return_exceptions=True)
        assert isinstance(outcomes[0], sqlite3.IntegrityError)
        assert count(store) == len(works) - 1

    async def test_a_value_that_no_column_takes_is_the_askers_fault_as_late_as_it_shows(self, store: Safe) -> None:
        """What is put goes to the database with the end of the transaction; the writer must outlive that."""

        async def odd(ledger: Ledger) -> None:
            await ledger.inbox.add(an_event(received_at=2**63))

        with pytest.raises(OverflowError):
            await store.write(odd)
        assert await store.write(add)
        assert count(store) == 1

    async def test_an_event_that_cannot_be_stored_does_not_cost_its_neighbours(self, store: Safe) -> None:
        bad = an_event(source="half a character: \ud800")
        events = [an_event(), bad, an_event()]
        outcomes = await asyncio.gather(*(store.accept(event, None, 0) for event in events), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Accepted, UnicodeEncodeError, Accepted]
        assert count(store) == 2

    async def test_accepting_goes_before_other_work(self, store: Safe) -> None:
        order: list[str] = []

        async def work(_ledger: Ledger) -> None:
            order.append("work")

        async def accept() -> None:
            await store.accept(an_event(), None, 0)
            order.append("accepted")

        await asyncio.gather(store.write(work), accept())
        assert order == ["accepted", "work"]


class TestCancelling:
    async def test_what_somebody_who_has_left_asked_for_is_under_way_until_it_is_over(self, store: Safe) -> None:
        """Whoever moves the database relies on it that nothing is written any more."""
        entered, go = asyncio.Event(), asyncio.Event()

        async def slow(ledger: Ledger) -> None:
            await add(ledger)
            entered.set()
            await go.wait()

        asker = asyncio.ensure_future(store.write(slow))
        await entered.wait()
        asker.cancel()
        await asyncio.gather(asker, return_exceptions=True)
        assert not store.writer.idle
        go.set()
        await until(lambda: store.writer.idle)
        assert count(store) == 1

    async def test_work_that_is_cancelled_from_within_ends_itself_alone(self, store: Safe) -> None:
        async def odd(_ledger: Ledger) -> None:
            raise asyncio.CancelledError

        for works in ([odd], [odd, add]):
            outcomes = await asyncio.gather(*map(store.write, works), return_exceptions=True)
            assert isinstance(outcomes[0], asyncio.CancelledError)
        assert count(store) == 1

    async def test_a_thousand_who_leave_in_the_midst_leave_nothing_open(self, store: Safe) -> None:
        async def slow(ledger: Ledger) -> None:
            await add(ledger)
            await asyncio.sleep(0)

        for number in range(100):
            waiters = [asyncio.ensure_future(store.accept(an_event(), None, 0)) for _ in range(5)]
            waiters += [asyncio.ensure_future(store.write(slow)) for _ in range(5)]
            await asyncio.sleep(0.0005 * (number % 4))
            for waiter in waiters:
                waiter.cancel()
            outcomes = await asyncio.gather(*waiters, return_exceptions=True)
            assert not [one for one in outcomes if isinstance(one, StoreUnavailable)]
        assert await store.accept(an_event(), None, 0)
        with closing(sqlite3.connect(store.engine.path, timeout=0)) as other, other:
            other.execute("BEGIN IMMEDIATE")  # locked, if a transaction had stayed open

    async def test_who_leaves_before_his_turn_is_not_served(self, store: Safe) -> None:
        started = asyncio.Event()
        hold = asyncio.Event()

        async def holding(_ledger: Ledger) -> None:
            started.set()
            await hold.wait()

        first = asyncio.ensure_future(store.write(holding))
        await started.wait()
        gone = asyncio.ensure_future(store.write(add))
        await asyncio.sleep(0)
        gone.cancel()
        hold.set()
        await first
        await store.write(add)
        assert count(store) == 1


class TestTrouble:
    async def test_a_locked_file_is_a_503_and_passes(self, store: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
        with closing(sqlite3.connect(store.engine.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            outcomes = await asyncio.gather(store.accept(an_event(), None, 0), store.write(add), return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, StoreUnavailable]
            assert "locked" in str(outcomes[0])
            other.execute("ROLLBACK")
        await store.accept(an_event(), None, 0)
        await store.write(add)
        assert count(store) == 2

    async def test_a_file_that_is_read_meanwhile_can_be_written(self, store: Safe) -> None:
        with closing(sqlite3.connect(store.engine.path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM events").fetchone()
            assert await store.accept(an_event(), None, 0)

    async def test_too_many_waiting_are_turned_away(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(writer, "MOST_WAITING", 3)
        store = Safe(f"sqlite:///{tmp_path}/tocsin.db")
        waiting = [asyncio.ensure_future(store.accept(an_event(), None, 0)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="too many"):
            await store.accept(an_event(), None, 0)
        for one in waiting:
            one.cancel()

    async def test_a_commit_that_does_not_return_is_answered_after_a_while(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those under way and those behind them hear of it; when the disk answers again, all goes on."""
        monkeypatch.setattr(writer, "STUCK_SECONDS", 0.3)
        stuck = asyncio.Event()

        async def accepting(connection: Connection, entries: Sequence[writer.Entry]) -> list[Accepted]:
            if any(event.body == b"stuck" for event, _, _ in entries):
                await stuck.wait()
            return await inbox.accept(connection, entries)

        async with running_store(tmp_path) as store:
            store.writer._accepting = accepting
            under_way = asyncio.ensure_future(store.accept(an_event(body=b"stuck"), None, 0))
            await until(lambda: store.writer._lines[0].since is not None)
            behind = [asyncio.ensure_future(store.accept(an_event(), None, 0)), asyncio.ensure_future(store.write(add))]
            async with asyncio.timeout(3):
                outcomes = await asyncio.gather(under_way, *behind, return_exceptions=True)
            assert [str(outcome) for outcome in outcomes] == [
                "what was to be stored may not be: the database does not answer"
            ] * 3
            stuck.set()
            assert await store.write(add)
            assert count(store) == 2  # what was under way, and this; what was refused behind it was not stored

    async def test_a_work_that_does_not_return_is_answered_as_well(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "STUCK_SECONDS", 0.2)
        go = asyncio.Event()

        async def slow(ledger: Ledger) -> str:
            await go.wait()
            return await add(ledger)

        async with running_store(tmp_path) as store:
            works = [asyncio.ensure_future(store.write(slow)) for _ in range(2)]
            async with asyncio.timeout(3):
                outcomes = await asyncio.gather(*works, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
            go.set()
            assert await store.write(add)
            assert count(store) >= 2  # one was under way and is there: the answer said that it might be

    async def test_what_we_do_by_ourselves_is_told_what_came_of_it_however_long_that_took(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Told that it failed, a lane would not know of what it claimed."""
        monkeypatch.setattr(writer, "STUCK_SECONDS", 0.2)
        go = asyncio.Event()

        async def slow(ledger: Ledger) -> str:
            await go.wait()
            return await add(ledger)

        async with running_store(tmp_path) as store:
            ours = [asyncio.ensure_future(store.write(work, lasting=False)) for work in (slow, add, add)]
            await until(lambda: store.writer._lines[0].since is not None)
            with pytest.raises(StoreUnavailable):
                await store.write(add)
            assert not any(one.done() for one in ours)
            go.set()
            assert len(set(await asyncio.gather(*ours))) == count(store) == 3

    async def test_what_nobody_waits_for_any_more_is_not_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A database that is away for long must not fill the memory with what was refused."""

        async def refused() -> Connection:
            raise sqlite3.OperationalError("unable to open database file")

        async with running_store(tmp_path) as store:
            (line,) = store.writer._lines
            monkeypatch.setattr(line, "connect", refused)
            await line.close()
            asked = [store.accept(an_event(body=b"x" * 100_000), None, 0) for _ in range(100)]
            outcomes = await asyncio.gather(*asked, store.write(add), return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
            assert not any(line.queues)
            monkeypatch.undo()
            assert await store.accept(an_event(), None, 0)

    @pytest.mark.parametrize("fault", [LookupError("a bug"), sqlite3.OperationalError("locked"), ValueError("unfit")])
    async def test_who_left_while_it_failed_is_not_answered(self, tmp_path: Path, fault: Exception) -> None:
        started, go = asyncio.Event(), asyncio.Event()

        async def failing(_connection: Connection, _entries: Sequence[writer.Entry]) -> list[Accepted]:
            started.set()
            await go.wait()
            raise fault

        async with running_store(tmp_path) as store:
            good, store.writer._accepting = store.writer._accepting, failing
            gone = asyncio.ensure_future(store.accept(an_event(), None, 0))
            await started.wait()
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            go.set()
            store.writer._accepting = good
            if not isinstance(fault, LookupError):  # that one stops the writer, and its crew starts it anew
                assert await store.accept(an_event(), None, 0)

    async def test_a_fault_of_ours_answers_all_who_wait_and_the_next_start_goes_on(self, tmp_path: Path) -> None:
        store = Safe(f"sqlite:///{tmp_path}/tocsin.db")
        store.open()

        async def broken(_connection: Connection, _entries: Sequence[tuple[Event, str | None, int]]) -> list[Accepted]:
            raise LookupError("a bug")

        store.writer._accepting, good = broken, store.writer._accepting
        accepting = [asyncio.ensure_future(store.accept(an_event(), None, 0)) for _ in range(2)]
        working = asyncio.ensure_future(store.write(add))
        with pytest.raises(LookupError):
            await asyncio.wait_for(store.writer.serve(), 5)
        outcomes = await asyncio.gather(*accepting, working, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
        store.writer._accepting = good
        serving = asyncio.ensure_future(store.writer.serve())
        assert await store.accept(an_event(), None, 0)
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await store.close()

    async def test_a_work_whose_transaction_the_disk_ended_is_told_so(self, store: Safe) -> None:
        """SQLite rolls back by itself when the disk is full: the savepoint is gone."""

        async def full(ledger: Ledger) -> None:
            await ledger.inbox._connection.control("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")

        outcomes = await asyncio.gather(store.write(full), store.write(add), return_exceptions=True)
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        assert await store.write(add)
        with pytest.raises(StoreUnavailable, match="full"):
            await store.write(full)

    async def test_reading_never_waits_for_the_writer(self, store: Safe) -> None:
        with closing(sqlite3.connect(store.engine.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            many = [store.read(lambda ledger: ledger.inbox.depth()) for _ in range(20)]
            async with asyncio.timeout(0.9):
                assert await asyncio.gather(*many) == [(0, None)] * 20

    async def test_what_cannot_be_read_is_unavailable(self, store: Safe) -> None:
        with closing(sqlite3.connect(store.engine.path)) as other, other:
            other.execute("DROP TABLE events")
        with pytest.raises(StoreUnavailable, match="no such table"):
            await store.read(lambda ledger: ledger.inbox.depth())

    async def test_a_reader_can_write_nothing(self, store: Safe) -> None:
        with pytest.raises(StoreUnavailable, match="readonly"):
            await store.read(add)

    async def test_the_probe_writes(self, store: Safe) -> None:
        await store.write(lambda ledger: ledger.beat())
        await store.write(lambda ledger: ledger.beat())
        assert count(store, "beats") == 1
        await store.probe()
        assert count(store, "beats") == 1


class TestWhatLasts:
    """What a power cut may take is what we did by ourselves, for a moment. Seen in what SQLite is told."""

    @pytest.fixture
    async def told(self, store: Safe) -> list[str]:
        told: list[str] = []
        await store.write(lambda ledger: ledger.beat())
        connection = store.writer._lines[0].connection
        assert isinstance(connection, File)
        await connection._raw.set_trace_callback(told.append)
        return told

    async def test_what_is_accepted_and_asked_for_waits_for_the_disk(self, store: Safe, told: list[str]) -> None:
        await store.accept(an_event(), None, 0)
        await store.write(add)
        assert synced(told) == ["FULL", "FULL"]

    async def test_what_need_not_does_not_and_lasts_a_moment_later(self, store: Safe, told: list[str]) -> None:
        await store.write(add, lasting=False)
        assert synced(told) == ["NORMAL"]
        assert not store.writer.idle
        await until(lambda: store.writer.idle)
        assert synced(told) == ["NORMAL", "FULL"]
        await asyncio.sleep(2 * writer.LASTS_SECONDS)
        assert synced(told) == ["NORMAL", "FULL"]

    async def test_what_is_accepted_meanwhile_makes_it_last(self, store: Safe, told: list[str]) -> None:
        await store.write(add, lasting=False)
        await store.accept(an_event(), None, 0)
        assert store.writer.idle
        await asyncio.sleep(2 * writer.LASTS_SECONDS)
        assert synced(told) == ["NORMAL", "FULL"]

    async def test_what_came_later_has_its_own_time(self, store: Safe, told: list[str]) -> None:
        await store.write(add, lasting=False)
        await asyncio.sleep(0.6 * writer.LASTS_SECONDS)
        await store.accept(an_event(), None, 0)
        await store.write(add, lasting=False)
        await asyncio.sleep(0.6 * writer.LASTS_SECONDS)
        assert synced(told) == ["NORMAL", "FULL", "NORMAL"]
        await until(lambda: store.writer.idle)
        assert synced(told) == ["NORMAL", "FULL", "NORMAL", "FULL"]

    async def test_one_of_a_group_that_must_last_makes_all_of_it_last(self, store: Safe, told: list[str]) -> None:
        await asyncio.gather(store.write(add, lasting=False), store.write(add), store.write(add, lasting=False))
        assert synced(told) == ["FULL"]
        assert store.writer.idle

    async def test_a_disk_that_fails_is_not_asked_again_and_again(
        self, store: Safe, told: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "FAILED_SECONDS", 0.2)
        await store.write(add, lasting=False)
        with closing(sqlite3.connect(store.engine.path)) as other, other:
            other.execute("ALTER TABLE beats RENAME TO gone")
        await asyncio.sleep(10 * writer.LASTS_SECONDS)
        assert 1 <= synced(told).count("FULL") <= 2
        with closing(sqlite3.connect(store.engine.path)) as other, other:
            other.execute("ALTER TABLE gone RENAME TO beats")
        await until(lambda: store.writer.idle)

    async def test_a_webhook_is_one_hop(self, store: Safe) -> None:
        """And one that its sender had already delivered is found out in four."""
        await store.write(lambda ledger: ledger.beat())
        connection = store.writer._lines[0].connection
        assert isinstance(connection, File)
        hops = 0
        say = connection._raw.say

        async def counted(owed: Sequence[Said], asked: Sequence[Said]) -> Answer:
            nonlocal hops
            hops += 1
            return await say(owed, asked)

        connection._raw.say = counted  # type: ignore[method-assign]
        first = await store.accept(an_event(), "key", NOON + 9)
        assert hops == 1
        assert await store.accept(an_event(), "key", NOON + 9) == Accepted(first.event, duplicate=True)
        assert hops == 5


def synced(told: Sequence[str]) -> list[str]:
    return [said.split()[-1] for said in told if said.startswith("PRAGMA synchronous")]


@pytest.mark.parametrize("statement", [inbox._ADD, inbox._BURN])
def test_the_values_of_many_rows_stand_where_their_question_marks_are(statement: Rows) -> None:
    columns = statement._columns
    rows = [{name: f"{name} {number}" for name in columns} for number in range(83)]
    more = {"now": "now"}
    laid = list(statement.laid_out(rows, more, SQLITE))
    split = [(one.on(SQLITE), runs) for one, runs in statement.split(rows, more)]
    assert [len(runs) for _, runs, _ in laid] == [2, 2, 3]
    assert [(sql, runs) for sql, runs, _ in laid] == [
        (one.sql, [list(one.listed(run)) for run in runs]) for one, runs in split
    ]
    assert [count for _, _, count in laid] == [64, 16, 3]
