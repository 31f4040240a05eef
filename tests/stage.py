"""A small house for tests: the real store and the real story, a clock that tests push, channels that say what
they are told to, and an adapter that takes alerts as they are.

    async with stage(tmp_path, routes=[{"to": ["team"]}]) as house:
        await house.alert("disk", severity=Severity.CRITICAL)
        await house.deliver("team")
        assert house.said("team") == [("opened", "disk")]
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from gateway.clock import new_id
from gateway.contracts import Accepted, Admission, Keep
from gateway.fields import Rate
from gateway.model import (
    Act,
    Alert,
    Delivery,
    Event,
    Incident,
    Json,
    Key,
    Message,
    Millis,
    Receipt,
    Ref,
    Sent,
    Severity,
    Verb,
)
from gateway.pipeline import BEFORE_ALL, Condition, Pipeline, Processed
from gateway.plugins import adapters
from gateway.rules.calendars import CalendarSettings
from gateway.rules.deciding import Rules
from gateway.rules.escalation import EscalationSettings
from gateway.rules.people import PersonSettings
from gateway.rules.retry import RetryPolicy
from gateway.rules.rotations import RotationSettings
from gateway.rules.routing import RouteSettings, Routing
from gateway.rules.silencing import ExpireSettings, InhibitSettings, MuteSettings
from gateway.rules.wording import Voice
from gateway.settling import Claim, Outlet, Said
from gateway.store.safe import Ledger, Safe
from gateway.store.searching import Wanted

# The default one draws every frame's variables of a traceback, which takes a second each.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

NOON: Millis = 1_795_176_000_000
"""2026-11-20T12:00:00Z"""
MINUTE: Millis = 60_000
HOUR: Millis = 3_600_000
YEAR: Millis = 365 * 86_400_000

Answer = Receipt | Exception | Callable[[Message, Ref], Awaitable[Receipt]]


@dataclass
class Clock:
    at: Millis = NOON

    def __call__(self) -> Millis:
        return self.at

    def push(self, by: Millis) -> None:
        self.at += by


class Plain:
    """An adapter whose bodies are lists of alerts, field for field. `{"boom": …}` is a bug in it, and where a
    body says SURROGATE it gives half a character, which no store can take."""

    keeps: frozenset[str] = frozenset()
    max_body = 1024 * 1024

    def signed(self, headers: Mapping[str, str]) -> bool:
        return False

    def verify(self, headers: Mapping[str, str], body: bytes, secret: str, now: Millis) -> bool:
        return False

    def admit(self, headers: Mapping[str, str], document: Json) -> Admission:
        return Keep()

    def parse(self, event: Event, document: Json) -> list[Alert]:
        if "boom" in document:
            raise ZeroDivisionError(document["boom"])
        alerts = [Alert(**{**one, "severity": Severity(one["severity"])}) for one in document]
        return [replace(alert, body=alert.body.replace("SURROGATE", "\ud800")) for alert in alerts]


@dataclass
class Team:
    """A channel that answers as it is told, in order, and then Sent for ever."""

    edits: bool = False
    width: int = 4
    paces: tuple[Rate, ...] = ()
    unknown_again: int | None = None
    budget: Rate | None = None
    answers: deque[Answer] = field(default_factory=deque)
    asked: list[tuple[Message, Ref]] = field(default_factory=list)
    heard: list[Message] = field(default_factory=list)

    def escape(self, text: str) -> str:
        return text

    async def send(self, message: Message, ref: Ref) -> Receipt:
        self.asked.append((message, ref))
        answer = self.answers.popleft() if self.answers else Sent()
        if isinstance(answer, Exception):
            raise answer
        receipt = await answer(message, ref) if callable(answer) else answer
        if isinstance(receipt, Sent):
            self.heard.append(message)
        return receipt

    async def close(self) -> None:
        pass


class House:
    """The pipeline over a real store, driven step by step."""

    def __init__(self, store: Safe, rules: Routing, **teams: Team) -> None:
        self.store = store
        self.clock = Clock()
        self.teams = teams
        self.outlets = {name: self.outlet(name, team) for name, team in teams.items()}
        every = {**adapters(), "plain": Plain()}
        self.pipeline = Pipeline(store, every, self.rules(rules), self.clock, new_id, lambda: 0.5)

    def outlet(self, name: str, team: Team, *, give_up_after: Millis = 24 * HOUR, links: bool = False) -> Outlet:
        policy = RetryPolicy(give_up_after, team.unknown_again)
        voice = Voice(name, "en", None, team.escape)
        return Outlet(
            name, team, voice, policy, patience=MINUTE, wants_links=links, budget=team.budget, paces=team.paces
        )

    def rules(self, read: Routing, **changes: Any) -> Rules:
        edits = frozenset(name for name, team in self.teams.items() if team.edits)
        return replace(Rules(read, edits=edits, kinds=dict.fromkeys(self.teams, "slack")), **changes)

    def route(self, *routes: Mapping[str, Any], default: Sequence[str] = (), **changes: Any) -> None:
        """Swap the rules, as a reload does."""
        self.pipeline.rules = self.rules(routing(*routes, default=default), **changes)

    async def receive(self, body: bytes, *, source: str = "scripts", adapter: str = "plain", **keep: Any) -> Accepted:
        event = Event(new_id(), source, adapter, self.clock(), {"content-type": "application/json"}, body)
        return await self.pipeline.receive(event, Keep(**keep))

    def order(self, **blocks: Any) -> None:
        """Add blocks of routing.yaml to the rules in force: people, rotations, escalations, mutes, inhibit …"""
        many = {"mutes": MuteSettings, "inhibit": InhibitSettings, "expire": ExpireSettings}
        named = {
            "people": PersonSettings,
            "rotations": RotationSettings,
            "escalations": EscalationSettings,
            "calendars": CalendarSettings,
        }
        read: dict[str, Any] = {}
        for name, block in blocks.items():
            if name in many:
                read[name] = tuple(many[name].model_validate(entry) for entry in block)
            elif name in named:
                read[name] = {key: named[name].model_validate(entry) for key, entry in block.items()}
            else:
                read[name] = block
        rules = self.pipeline.rules
        self.pipeline.rules = replace(rules, routing=replace(rules.routing, **read))

    async def ring(self) -> None:
        """Act on all timers that are due by now, and decide what follows."""
        while (await self.pipeline.ring(100)).fired:
            pass
        await self.decide()

    async def passes(self, span: Millis, *channels: str, step: Millis = 0) -> None:
        """Time passes: timers ring and channels speak at every moment at which something is due."""
        end = self.clock() + span
        names = channels or tuple(self.teams)
        while True:
            await self.ring()
            for name in names:
                while await self.deliver(name):
                    pass
            due = [await self.store.read(lambda ledger: ledger.timers.next_due())]
            due += [
                await self.store.read(lambda ledger, name=name: ledger.outbox.next_due(name))  # type: ignore[misc]
                for name in names
            ]
            ahead = [at for at in due if at is not None and at > self.clock()]
            following = min([*ahead, end] + ([self.clock() + step] if step else []))
            if self.clock() >= end:
                return
            self.clock.at = min(following, end)

    async def act(self, verb: Verb, by: str = "kim", title: str = "disk", **wish: Any) -> Incident:
        incident = await self.incident(title)
        return await self.pipeline.act(incident.id, Act(verb, by, **wish))

    async def post(self, *alerts: Alert, source: str = "scripts") -> Accepted:
        return await self.receive(json.dumps([asdict(one) for one in alerts]).encode(), source=source)

    async def alert(self, title: str = "disk", *, source: str = "scripts", **fields: Any) -> Processed:
        """Post one alert whose fingerprint is its title unless given, and decide all that waits."""
        await self.post(Alert(**{"fingerprint": title, "title": title, **fields}), source=source)
        return await self.decide()

    async def decide(self) -> Processed:
        """Decide until nothing waits: what is decided may raise an alert of the gateway's own."""
        first = done = await self.pipeline.process(64)
        while done.events:
            done = await self.pipeline.process(64)
        return first

    async def claim(self, name: str, most: int = 16) -> tuple[Claim, ...]:
        return (await self.pipeline.turn(self.outlets[name], [], most)).claims

    async def deliver(self, name: str, *, recovered: bool = False, struggling: str = "") -> list[Said]:
        """Say all that is due over one channel, settle it, and decide what follows from that."""
        outlet = self.outlets[name]
        said = [await self.pipeline.say(outlet, claim) for claim in await self.claim(name)]
        await self.pipeline.turn(outlet, said, 0, Condition(recovered=recovered, struggling=struggling))
        await self.decide()
        return said

    def said(self, name: str) -> list[tuple[str, str]]:
        """(occasion, incident's title) of all that a team has heard."""
        return [(message.occasion, message.incident.title) for message in self.teams[name].heard]

    async def incident(self, title: str = "disk", source: str = "scripts") -> Incident:
        """The newest incident of this source with this fingerprint."""
        key = (source, title)

        async def look(ledger: Ledger) -> Incident:
            living = await ledger.incidents.living([key])
            return living[key] if living else (await ledger.incidents.last_resolved([key]))[key]

        return await self.store.read(look)

    async def incidents(self) -> list[Incident]:
        found, _ = await self.store.read(lambda ledger: ledger.incidents.page(Wanted(), None, 1000))
        return found

    async def deliveries(self, title: str = "disk", source: str = "scripts") -> dict[str, Delivery]:
        incident = await self.incident(title, source)
        found = await self.store.read(lambda ledger: ledger.outbox.of([incident.id]))
        return {delivery.channel: delivery for delivery in found.get(incident.id, [])}

    async def state(self, title: str = "disk", channel: str = "team") -> str:
        """Of the delivery of the newest such incident to a channel."""
        return (await self.deliveries(title))[channel].state

    async def event(self, id_: str) -> Event:
        found = await self.store.read(lambda ledger: ledger.inbox.get(id_))
        assert found is not None
        return found

    async def changes(self, title: str = "disk", source: str = "scripts") -> list[str]:
        incident = await self.incident(title, source)
        return [
            change.what
            for change in (await self.store.read(lambda ledger: ledger.changes.of({incident.id: 0})))[incident.id]
        ]

    async def decisions(self, title: str = "disk", source: str = "scripts") -> list[Json]:
        incident = await self.incident(title, source)
        return [decision for _, decision in await self.store.read(lambda ledger: ledger.changes.story(incident.id))]

    async def sql(self, statement: str, *values: Any) -> None:
        """Do by hand what no command does yet."""

        def act() -> None:
            with closing(sqlite3.connect(self.store.engine.path, timeout=5)) as connection, connection:
                connection.execute(statement, values)

        await asyncio.to_thread(act)


async def reconsider_all(pipeline: Pipeline) -> None:
    """Hold all that lives against the rules there are now."""
    after: Key | None = BEFORE_ALL
    while after is not None:
        after = await pipeline.reconsider(after)


def routing(*routes: Mapping[str, Any], default: Sequence[str] = ()) -> Routing:
    return Routing(tuple(RouteSettings.model_validate(route) for route in routes), tuple(default), configuration="abc")


@asynccontextmanager
async def running_store(place: Path | str) -> AsyncIterator[Safe]:
    """A store with its writer at work: SQLite's in a folder, or the one that a URL names."""
    store = Safe(place if isinstance(place, str) else f"sqlite:///{place}/tocsin.db")
    store.open()
    tasks = [asyncio.create_task(store.writer.serve()), asyncio.create_task(store.writer.watch())]
    try:
        await store.write(lambda ledger: ledger.beat())  # it is connected
        yield store
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()


@asynccontextmanager
async def stage(
    folder: Path, *routes: Mapping[str, Any], default: Sequence[str] = (), **teams: Team
) -> AsyncIterator[House]:
    """A house with these routes; without teams named, with one called `team`."""
    async with running_store(folder) as store:
        yield House(store, routing(*routes, default=default), **(teams or {"team": Team()}))


async def until(done: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something is true, or until what it awaits is; fail where that does not come."""
    async with asyncio.timeout(seconds):
        while True:
            answer = done()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.005)
