"""What the rooms of the web share: the pipeline, the store, and the configuration of the moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.config import Configuration
from gateway.contracts import Listener
from gateway.model import Millis, Receipt, Replica
from gateway.pipeline import Pipeline
from gateway.store.safe import Safe
from gateway.values import frozen


@frozen
class RefusedFile:
    """A saved configuration that was not taken. `problems` never print a credential, URL or address."""

    at: Millis
    problems: Sequence[str]


def _nobody(_channel: str) -> tuple[str, Listener] | None:
    return None


async def _unused(_key: str) -> bool:
    return False


@dataclass(slots=True)
class House:
    """`configuration` is swapped whole by a reload. `test` sends a real test message over a channel by name and
    gives its receipt; None where there is no such channel. `lanes` gives each background task's state.

    `listener` gives the kind and the channel of an awake channel that can be answered. `link_key` signs the links in
    letters; b"" while there are none. `replicas`: the gateways on this
    database, this one among them. `link_used`: whether one was followed already, by its mark."""

    pipeline: Pipeline
    store: Safe
    configuration: Configuration
    admin_token: str
    metrics_token: str
    lanes: Callable[[], Mapping[str, str]]
    test: Callable[[str], Awaitable[Receipt | None]]
    wake: Callable[[frozenset[str]], None]
    refused: RefusedFile | None = None
    started_at: Millis = 0
    stopping: bool = field(default=False)
    listener: Callable[[str], tuple[str, Listener] | None] = _nobody
    replicas: Sequence[Replica] = ()
    link_key: bytes = b""
    link_used: Callable[[str], Awaitable[bool]] = _unused
