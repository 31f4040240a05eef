"""A house whose channels are answered, with a pipeline that only writes down what it is asked: for the rooms that
take what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2

from gateway import config
from gateway.contracts import Listener, Pressed, Reported, Surroundings
from gateway.errors import TocsinError
from gateway.model import Digest, Incident, Millis
from gateway.rules.links import Link
from gateway.web.app import Face
from gateway.web.house import House
from tests.channels.suite import NOON
from tests.house import client_of

PUBLIC = "https://alerts.example.com/tocsin"
KEY = bytes(range(32))


@dataclass
class FakePipeline:
    """Says `answer` to whoever acts, or raises `trouble`."""

    answer: str = "Acknowledged #42 shop is down"
    trouble: TocsinError | None = None
    acts: list[tuple[str, Pressed]] = field(default_factory=list)
    reports: list[tuple[str, Reported]] = field(default_factory=list)
    followed: list[tuple[Link, str]] = field(default_factory=list)
    clock: Millis = NOON

    def now(self) -> Millis:
        return self.clock

    async def pressed(self, channel: str, pressed: Pressed) -> str:
        self.acts.append((channel, pressed))
        return self._said()

    async def reported(self, channel: str, reported: Reported) -> None:
        self.reports.append((channel, reported))
        self._said()

    async def follow_link(self, link: Link, key: str) -> str:
        self.followed.append((link, key))
        return self._said()

    def _said(self) -> str:
        if self.trouble is not None:
            raise self.trouble
        return self.answer


@dataclass
class FakeStore:
    """Incidents and digests by id, as a ledger gives them. `trouble` is raised by any look."""

    incidents: dict[str, Incident] = field(default_factory=dict)
    digests: dict[str, Digest] = field(default_factory=dict)
    trouble: TocsinError | None = None

    async def read(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        if self.trouble is not None:
            raise self.trouble

        def table(rows: Mapping[str, Any]) -> Any:
            async def by_id(ids: list[str]) -> dict[str, Any]:
                return {id_: rows[id_] for id_ in ids if id_ in rows}

            return SimpleNamespace(by_id=by_id)

        return await work(SimpleNamespace(incidents=table(self.incidents), digests=table(self.digests)))


@dataclass
class Answered:
    pipeline: FakePipeline
    store: FakeStore
    house: House
    client: httpx2.AsyncClient
    used: set[str]


def answered(
    folder: Path, routing: str, transports: Mapping[str, httpx2.AsyncBaseTransport], public_url: str = PUBLIC
) -> Answered:
    """`transports`: the vendor of each channel, by its kind."""
    file = folder / "routing.yaml"
    file.write_text((f"public_url: {public_url}\n" if public_url else "") + routing)
    loaded = config.load(file, {})
    channels = {
        name: entry.kind.connect(
            entry.settings, Surroundings(name, public_url, lambda: NOON, transports.get(entry.kind.name))
        )
        for name, entry in loaded.channels.items()
    }

    def listener(name: str) -> tuple[str, Listener] | None:
        channel = channels.get(name)
        return (loaded.channels[name].kind.name, channel) if isinstance(channel, Listener) else None

    used: set[str] = set()

    async def link_used(mark: str) -> bool:
        return mark in used

    async def test(_name: str) -> None: ...

    pipeline, store = FakePipeline(), FakeStore()
    house = House(
        pipeline=cast("Any", pipeline),
        store=cast("Any", store),
        configuration=loaded,
        admin_token="",
        metrics_token="",
        lanes=dict,
        test=test,
        wake=lambda _names: None,
        listener=listener,
        link_key=KEY,
        link_used=link_used,
    )
    return Answered(pipeline, store, house, client_of(Face(house), "203.0.113.7"), used)
