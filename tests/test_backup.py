"""A backup under load, put in the place of the database: what was accepted before the copy is there, and is told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from tests.fakes.receiver import Receiver
from tests.process import ROOT, Gateway
from tests.stage import until
from tests.test_crash import ROUTING, Senders

COPIES = 5


async def test_what_was_accepted_before_the_copy_is_in_it_and_is_told_after_a_restore(tmp_path: Path) -> None:
    receiver, befores, tooks = Receiver(), [], []
    async with receiver.listening() as url:
        async with Gateway(tmp_path, ROUTING.format(url=url)).running() as gateway:
            senders = Senders(gateway)
            sending = asyncio.create_task(senders.send())
            await until(lambda: len(senders.accepted) >= 50, 15)
            for number in range(COPIES):
                befores.append(dict(senders.accepted))
                began = time.monotonic()
                await back_up(gateway, tmp_path / f"{number}.db")
                tooks.append(time.monotonic() - began)
                after = len(senders.accepted)
                await until(lambda after=after: len(senders.accepted) > after, 15)
            senders.stopped.set()
            await sending
            await gateway.end(signal.SIGTERM)
        receiver.heard.clear()
        assert len(befores[-1]) > len(befores[0])
        for number, before in enumerate(befores):
            folder = tmp_path / str(number)
            folder.mkdir()
            (tmp_path / f"{number}.db").rename(folder / "tocsin.db")
            await restored(folder, before, url)
    print(f"\n{COPIES} copies under load, {min(tooks):.2f} to {max(tooks):.2f} s each with the start of the command")  # noqa: T201


async def back_up(gateway: Gateway, to: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_DATABASE": f"sqlite:///{gateway.database}"}
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "db", "backup", str(to), env=environ, stdout=-3
    )
    assert await command.wait() == 0


async def restored(folder: Path, before: dict[str, str], url: str) -> None:
    """A gateway on the copy has every event acknowledged before it, decides it, and owes nobody a word."""
    async with Gateway(folder, ROUTING.format(url=url)).running() as gateway:
        ids = {row[0] for row in gateway.sql("SELECT id FROM events")}
        assert set(before.values()) <= ids
        await until(lambda: not gateway.sql("SELECT 1 FROM events WHERE state != 'done'"), 15)
        await until(lambda: not gateway.sql("SELECT 1 FROM deliveries WHERE state != 'said'"), 15)
        told = {row[0] for row in gateway.sql("SELECT fingerprint FROM incidents")}
        assert set(before) <= told
        assert gateway.sql("PRAGMA integrity_check") == [("ok",)]
