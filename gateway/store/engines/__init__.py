"""The two engines. How each is reached, made safe and locked is a file of its own here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from gateway.errors import StoreUnavailable
from gateway.model import Millis
from gateway.store.driver import Connection
from gateway.store.server_url import names_server, server_url
from gateway.values import frozen

LONGEST_FAULT: Final = 400
"""Characters."""


@frozen
class Faults:
    """What its driver raises. `passing`: the engine's own, which may pass (locked, full, gone, broken). `unfit`, asked
    first: what is wrong with the work itself, so that no waiting mends it."""

    passing: tuple[type[Exception], ...]
    unfit: tuple[type[Exception], ...]


class Engine(Protocol):
    """`shared`: other gateways may use the database at the same time. `defers`: a transaction that need not be a
    lasting one is none. `told_clock`: the database's clock as each
    transaction learns it; None where the machine's own is meant. `file`: the database, where it is one."""

    faults: Faults
    shared: bool
    defers: bool

    @property
    def file(self) -> Path | None: ...

    @property
    def told_clock(self) -> Callable[[], Millis] | None: ...

    def open(self) -> None:
        """Bring the database to the newest schema, for this process. Raises TocsinError in one sentence; then nothing
        was touched."""

    def close(self) -> None:
        """Let others have it."""

    async def accepting(self) -> Connection:
        """A connection that stores what comes in."""

    async def writing(self) -> Connection:
        """A connection for all other work: what it does in a transaction, nobody does beside it."""

    async def reading(self) -> Connection:
        """A connection that only reads; where the engine can be told so, it refuses anything else."""

    def hint(self, topics: Sequence[str]) -> None:
        """Let the other gateways know, soon, that there is something to look at: names of channels, or `events`. They
        find it without the hint as well, a little later."""

    async def listen(self, _heard: Callable[[frozenset[str]], None]) -> None:
        """Say what others hint at, until cancelled; returns where hints cannot be heard. Raises what it likes."""


def engine_of(url: str) -> Engine:
    """The engine that a URL names. Raises TocsinError for one that names none."""
    if names_server(url):
        server = server_url(url)
        from gateway.store.engines.postgresql import PostgreSQL  # its driver costs 60 ms

        return PostgreSQL(server.url)
    from gateway.store.engines.sqlite import SQLite, database_path

    return SQLite(database_path(url))


def unavailable(error: BaseException) -> StoreUnavailable:
    """What the driver said, in one line without the statement or its values."""
    return StoreUnavailable(f"the database cannot be written now: {in_a_line(error)}")


def in_a_line(error: BaseException) -> str:
    """What the driver said. A driver may say the same again and again in one fault: the end of it is left out."""
    said = " ".join(str(error)[: 2 * LONGEST_FAULT].split())
    return said[:LONGEST_FAULT] or type(error).__name__


__all__ = ["Engine", "Faults", "engine_of", "in_a_line", "unavailable"]
