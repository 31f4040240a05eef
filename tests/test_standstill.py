"""A gateway stands still when it is asked, and goes on by itself when whoever asked is gone."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.errors import TocsinError
from gateway.standstill import REMOVED
from gateway.store.moving_note import Mover, Note, acknowledge, look, place, refuse_moved
from tests.fakes.receiver import Receiver
from tests.house import running
from tests.stage import until
from tests.test_service import Hanging, titles, told


def on_disk(database: Path) -> str:
    """Of the file and its log."""
    parts = [path.read_bytes() for path in (database, database.with_name("tocsin.db-wal"))]
    return hashlib.sha256(b"".join(parts)).hexdigest()


async def post(house: Any, title: str) -> httpx2.Response:
    headers = {"authorization": "Bearer tkn-generic-0001"}
    return await house.client.post("/api/v1/alerts", json={"title": title}, headers=headers)  # type: ignore[no-any-return]


async def test_it_stands_still_once_what_it_sends_has_ended_and_goes_on_when_the_mover_is_gone(tmp_path: Path) -> None:
    receiver = Hanging()
    async with receiver.listening() as url, running(tmp_path, told(url)) as house:
        await post(house, "in flight")
        await until(lambda: house.service._lanes._lanes["team"]._sending)
        with Mover(house.database, "one") as mover:
            await asyncio.sleep(0.6)
            assert (await post(house, "copying")).status_code == 202
            mover.ask()
            await asyncio.sleep(1)
            assert not mover.held  # something is being sent still
            assert (await post(house, "draining")).status_code == 202
            receiver.go.set()
            await until(lambda: mover.held)
            heard = list(titles(receiver))
            assert heard[0] == "in flight"
            assert "draining" not in heard
            before = on_disk(house.database)
            answer = await post(house, "too late")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json()["detail"] == "the database is being moved; send it again"
            assert (await house.client.post("/api/v1/incidents/1/acknowledge", json={})).status_code == 503
            assert (await house.client.get("/healthz")).status_code == 200
            ready = await house.client.get("/readyz")
            assert (ready.status_code, ready.json()["store"]) == (503, "the database is being moved; send it again")
            assert (await house.client.get("/api/v1/incidents")).status_code == 200
            await asyncio.sleep(0.6)
            assert (mover.held, on_disk(house.database), list(titles(receiver))) == (True, before, heard)

        async def taken() -> bool:
            return (await post(house, "after")).status_code == 202

        await until(taken, 1.5)
        await until(lambda: sorted(titles(receiver)) == ["after", "copying", "draining", "in flight"])
        assert (await house.client.get("/readyz")).status_code == 200


async def test_it_takes_webhooks_until_what_was_said_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the new gateway would say it again."""
    async with Receiver().listening() as url, running(tmp_path, told(url)) as house:

        async def unsettled() -> bool:
            return False

        with monkeypatch.context() as patch, Mover(house.database, "one") as mover:
            patch.setattr(house.service._lanes, "drain", unsettled)
            mover.ask()
            await asyncio.sleep(1)
            assert not mover.held
            assert (await post(house, "meanwhile")).status_code == 202
            patch.undo()
            await until(lambda: mover.held)


async def test_a_database_that_was_moved_is_let_be(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, running(tmp_path, told(url)) as house:
        with Mover(house.database, "one") as mover:
            mover.ask()
            await until(lambda: mover.held)
            mover.done("postgresql://tocsin@db/tocsin")
        before = on_disk(house.database)
        await asyncio.sleep(1.2)
        assert (await post(house, "too late")).status_code == 503
        assert on_disk(house.database) == before
    with pytest.raises(TocsinError, match=r"was moved to postgresql://tocsin@db/tocsin; start with --database"):
        refuse_moved(house.database)
    with pytest.raises(TocsinError, match="was moved to"), Mover(house.database, "two"):
        pass
    place(house.database).unlink()
    async with running(tmp_path, told(url)) as house:  # they went back
        assert (await post(house, "again")).status_code == 202


def without_the_note(database: Path) -> None:
    place(database).unlink()


def without_the_database(database: Path) -> None:
    for path in database.parent.glob("tocsin.db*"):
        path.unlink()


@pytest.mark.parametrize("tidy", [without_the_note, without_the_database])
async def test_what_is_removed_after_the_move_wakes_nobody(tmp_path: Path, tidy: Callable[[Path], None]) -> None:
    """Else two gateways would tell, and what is accepted would go into a file without a name."""
    receiver = Receiver()
    async with receiver.listening() as url, running(tmp_path, told(url)) as house:
        with Mover(house.database, "one") as mover:
            mover.ask()
            await until(lambda: mover.held)
            mover.done("postgresql://tocsin@db/tocsin")
        await asyncio.sleep(0.7)
        tidy(house.database)
        await asyncio.sleep(1.2)
        assert (await post(house, "too late")).status_code == 503
    assert titles(receiver) == []


def restore(database: Path) -> None:
    """As docs/running.md says, but under a gateway that runs."""
    copy = database.read_bytes()
    without_the_database(database)
    database.write_bytes(copy)


@pytest.mark.parametrize("remove", [Path.unlink, restore])
async def test_a_file_that_is_removed_or_replaced_takes_nothing_more(
    tmp_path: Path, remove: Callable[[Path], None]
) -> None:
    async with Receiver().listening() as url, running(tmp_path, told(url)) as house:
        assert (await post(house, "before")).status_code == 202
        remove(house.database)

        async def refused() -> bool:
            return (await post(house, "after")).status_code == 503

        await until(refused, 3)
        await asyncio.sleep(1.2)
        answer = await post(house, "after")
        assert (answer.status_code, answer.json()["detail"]) == (503, REMOVED)
        ready = await house.client.get("/readyz")
        assert (ready.status_code, ready.json()["store"]) == (503, REMOVED)


def test_nobody_starts_while_the_rest_is_copied_and_two_do_not_move_at_once(tmp_path: Path) -> None:
    database = tmp_path / "tocsin.db"
    database.touch()
    with Mover(database, "one") as mover:
        refuse_moved(database)  # the first part disturbs nobody
        mover.ask()
        with pytest.raises(TocsinError, match="is being moved to PostgreSQL at this moment"):
            refuse_moved(database)
        with pytest.raises(TocsinError, match="another copy is under way"), Mover(database, "two"):
            pass
    refuse_moved(database)
    assert not place(database).exists()


def test_an_answer_to_one_mover_is_none_to_the_next(tmp_path: Path) -> None:
    database = tmp_path / "tocsin.db"
    database.touch()
    with Mover(database, "one") as mover:
        mover.ask()
        asked = look(database)
        assert asked == Note("asked", "one")
    with Mover(database, "two") as mover:
        acknowledge(database, Note("asked", "one"))
        mover.ask()
        assert not mover.held


@pytest.mark.parametrize("said", [b"", b"{", b'{"word": 1, "more": 2}', b"[]"])
def test_a_note_that_nobody_wrote_asks_for_nothing(tmp_path: Path, said: bytes) -> None:
    database = tmp_path / "tocsin.db"
    database.touch()
    place(database).write_bytes(said)
    assert look(database) == Note()
    refuse_moved(database)
    with Mover(database, "one"):
        assert look(database) == Note("copying", "one")


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    database = tmp_path / "tocsin.db"
    database.touch()
    place(database).mkdir()
    with pytest.raises(TocsinError, match="run it as the gateway's user"), Mover(database, "one"):
        pass
