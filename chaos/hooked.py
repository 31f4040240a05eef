"""The gateway with one fault built in, named by `CHAOS_HOOK`: `python -m chaos.hooked serve …`. What is hooked is the
running program's; the shipped files are as they are."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from gateway import workers
from gateway.channels import webhook
from gateway.cli import main
from gateway.store.engines import sqlite_file

Work = Callable[[], Awaitable[None]]


def poison() -> None:
    """The process is gone in the midst of sending whatever is called poison: after so many seconds of it."""
    midst = float(os.environ.get("CHAOS_MIDST", "0.2"))
    send = webhook.Webhook.send

    async def deadly(self: webhook.Webhook, message: Any, ref: Any) -> Any:
        if message.incident.title == "poison":
            await asyncio.sleep(midst)
            os._exit(70)
        return await send(self, message, ref)

    webhook.Webhook.send = deadly  # type: ignore[method-assign]


def tasks() -> None:
    """At SIGUSR1 every background task is ended by an exception, wherever it is."""
    start = workers.Crew.start
    doomed: set[asyncio.Event] = set()

    def begin(self: workers.Crew, name: str, work: Work) -> None:
        async def mortal() -> None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: [one.set() for one in doomed])
            event = asyncio.Event()
            doomed.add(event)
            waiting = asyncio.ensure_future(event.wait())
            working = asyncio.ensure_future(work())
            try:
                await asyncio.wait({waiting, working}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                doomed.discard(event)
                waiting.cancel()
                working.cancel()
                await asyncio.gather(waiting, working, return_exceptions=True)
            raise RuntimeError("injected")

        start(self, name, mortal)

    workers.Crew.start = begin  # type: ignore[method-assign]


def silent() -> None:
    """At SIGUSR1 the task that decides goes on living and does nothing more."""
    process = workers.process

    async def hushed(*arguments: Any) -> None:
        event = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, event.set)
        working = asyncio.ensure_future(process(*arguments))
        await asyncio.wait({working, asyncio.ensure_future(event.wait())}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        await asyncio.Event().wait()

    workers.process = hushed


def hasty() -> None:
    """SQLite as it is often run: commits that do not wait for the disk."""
    sqlite_file.FULL = sqlite_file.NORMAL  # type: ignore[misc]


HOOKS = {"poison": poison, "tasks": tasks, "silent": silent, "hasty": hasty}

if __name__ == "__main__":
    HOOKS[os.environ["CHAOS_HOOK"]]()
    main()
