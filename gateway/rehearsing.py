"""`tests:` of routing.yaml, run: the real pipeline over a store of its own, a clock that is pushed, and channels that
only write down when they rang. Sends nothing.

Every channel counts as awake here, so that a file is judged the same with and without its secrets.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, assert_never

from gateway.clock import new_id
from gateway.config import Configuration
from gateway.contracts import Admission, Keep
from gateway.errors import Conflict, Problem
from gateway.explaining import surroundings_of
from gateway.fields import Rate
from gateway.model import Act, Alert, Event, Incident, Json, Message, Millis, Receipt, Ref, Sent, Severity
from gateway.pipeline import Pipeline
from gateway.rules.deciding import Rules
from gateway.rules.documents import Place, read
from gateway.rules.expectations import At, ExpectationSettings, Expected, Never, Newest, Now, StepSettings
from gateway.rules.phrases import duration
from gateway.rules.retry import RetryPolicy
from gateway.rules.wording import Voice
from gateway.settling import Outlet
from gateway.store.safe import Ledger, Safe
from gateway.telemetry import rehearsing
from gateway.values import frozen

_ALERTS: Final = "rehearsed"
"""The adapter whose bodies are alerts, field for field."""
_DAY: Final[Millis] = 86_400_000
_MOST_MOMENTS: Final = 2_000
_NEAR: Final[Millis] = 1_000


@frozen
class Failure:
    """A test that did not come true: which, at which of its lines, and in what way."""

    place: Place
    what: str


def problems(configuration: Configuration, path: Path) -> list[Problem]:
    """Every expectation of the file that does not come true, with its line. Blocks: call it in a thread."""
    if not configuration.tests:
        return []
    with rehearsing():
        failures = asyncio.run(_rehearse(configuration))
    if not failures:
        return []
    tree = read(path.read_bytes(), str(path))
    return [Problem(str(path), tree.line(one.place), ".".join(map(str, one.place)), one.what) for one in failures]


async def _rehearse(configuration: Configuration) -> list[Failure]:
    failures: list[Failure] = []
    for number, test in enumerate(configuration.tests):
        async with _stage(configuration, test) as stage:
            await stage.play()
            if stage.judge(number):
                await stage.wait()  # so that the sentence says when they were told indeed
            failures += stage.judge(number)
    return failures


@asynccontextmanager
async def _stage(configuration: Configuration, test: ExpectationSettings) -> AsyncIterator[_Stage]:
    with tempfile.TemporaryDirectory(prefix="tocsin-tests-") as folder:
        store = Safe(f"sqlite:///{folder}/tests.db")
        store.open()
        writing = asyncio.create_task(store.writer.serve())
        try:
            yield _Stage(configuration, test, store)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await store.close()


class _Read:
    """An adapter whose bodies are alerts, field for field."""

    signs = False
    keeps: frozenset[str] = frozenset()
    max_body = 1_048_576

    def signed(self, _headers: Mapping[str, str]) -> bool:
        return False

    def verify(self, _headers: Mapping[str, str], _body: bytes, _secret: str, _now: Millis) -> bool:
        return False

    def admit(self, _headers: Mapping[str, str], _document: Json) -> Admission:
        return Keep()

    def parse(self, event: Event, _document: Json) -> list[Alert]:
        told = json.loads(event.body)
        return [Alert(**{**told, "severity": Severity(told["severity"])})]


@dataclass(slots=True)
class _Ear:
    """A channel that only hears."""

    edits: bool
    width: int = 16
    paces: tuple[Rate, ...] = ()
    unknown_again: int | None = None
    heard: list[Message] = field(default_factory=list)

    def escape(self, text: str) -> str:
        return text

    async def send(self, message: Message, _ref: Ref) -> Receipt:
        if not message.quiet:
            self.heard.append(message)
        return Sent()

    async def close(self) -> None:
        pass


class _Stage:
    """One test being played. `told`: at which moments each name was told, from the beginning."""

    def __init__(self, configuration: Configuration, test: ExpectationSettings, store: Safe) -> None:
        self._test = test
        self._store = store
        self._sources = {name: source.adapter_name for name, source in configuration.sources.items()}
        self._now = self._begin = test.begins(configuration.routing.calendars)
        self._newest: tuple[str, Alert] | None = None
        self.told: dict[str, list[Millis]] = {}
        self._outlets = _outlets(configuration)
        adapters = {_ALERTS: _Read(), **dict.fromkeys({*self._sources.values(), "generic"}, _Read())}
        self._pipeline = Pipeline(store, adapters, self._rules(configuration), lambda: self._now, new_id, lambda: 0.5)

    def _rules(self, configuration: Configuration) -> Rules:
        return Rules(
            routing=replace(configuration.routing, sleeping=frozenset()),
            labels={name: source.settings.labels for name, source in configuration.sources.items()},
            reopen_within=configuration.reopen_within,
            edits=frozenset(name for name, (_, ear) in self._outlets.items() if ear.edits),
        )

    async def play(self) -> None:
        for step in self._test.steps:
            await self._pass(self._begin + step.at)
            await self._do(step)
        await self._pass(self._end())

    async def wait(self) -> None:
        """A day longer."""
        await self._pass(self._now + _DAY)

    def judge(self, number: int) -> list[Failure]:
        name = f" ('{self._test.name}')" if self._test.name else ""
        return [
            Failure(_place(self._test, number, who), f"the test{name} fails: {wrong}")
            for who, expected in self._test.expect.items()
            if (wrong := _wrong(who, expected, self.told.get(who, [])))
        ]

    def _end(self) -> Millis:
        """Until all that is expected could have come; a day longer where somebody must never hear."""
        times = [expected.after for expected in self._test.expect.values() if isinstance(expected, At)]
        last = max([*times, *(step.at for step in self._test.steps)], default=0)
        patience = _DAY if any(isinstance(expected, Never) for expected in self._test.expect.values()) else _NEAR
        return self._begin + last + patience

    async def _do(self, step: StepSettings) -> None:
        if step.alert is not None:
            source, adapter = step.alert.sender(self._sources)
            await self._post(source, adapter, step.alert.alert)
        elif step.acknowledge is not None:
            await self._acknowledge(step.acknowledge)
        else:
            match step.resolve:
                case Newest() | None:
                    source, alert = self._newest or ("generic", Alert("", ""))
                    await self._post(source, self._sources.get(source, "generic"), replace(alert, status="resolved"))
                case settings:
                    source, adapter = settings.sender(self._sources)
                    await self._post(source, adapter, replace(settings.alert, status="resolved"))
        await self._settle()

    async def _post(self, source: str, adapter: str, alert: Alert) -> None:
        self._newest = source, alert
        body = json.dumps(asdict(alert)).encode()
        headers = {"content-type": "application/json"}
        await self._pipeline.receive(Event(new_id(), source, adapter, self._now, headers, body), Keep())

    async def _acknowledge(self, person: str) -> None:
        incident = await self._newest_incident()
        if incident is not None:
            try:
                await self._pipeline.act(incident.id, Act("acknowledge", person))
            except Conflict:
                return  # somebody was first, or it is over: nothing that a test could not say by what it expects

    async def _newest_incident(self) -> Incident | None:
        if self._newest is None:
            return None
        key = (self._newest[0], self._newest[1].fingerprint)

        async def look(ledger: Ledger) -> Incident | None:
            return (await ledger.incidents.living([key])).get(key)

        return await self._store.read(look)

    async def _pass(self, until: Millis) -> None:
        """Push the clock from one moment at which something is due to the next."""
        for _ in range(_MOST_MOMENTS):
            await self._settle()
            due = await self._store.read(self._next_due)
            if due is None or due > until:
                break
            self._now = max(due, self._now)
        self._now = max(self._now, until)

    async def _next_due(self, ledger: Ledger) -> Millis | None:
        due = [await ledger.timers.next_due()]
        due += [await ledger.outbox.next_due(name) for name in self._outlets]
        return min((at for at in due if at is not None and at > self._now), default=None)

    async def _settle(self) -> None:
        """Do all that is due at this moment."""
        for _ in range(_MOST_MOMENTS):
            busy = (await self._pipeline.process(64)).events + (await self._pipeline.ring(64)).fired
            for name, (outlet, ear) in self._outlets.items():
                busy += await self._speak(name, outlet, ear)
            if not busy:
                return

    async def _speak(self, name: str, outlet: Outlet, ear: _Ear) -> int:
        claims = (await self._pipeline.turn(outlet, [], 16)).claims
        for claim in claims:
            before = len(ear.heard)
            said = await self._pipeline.say(outlet, claim)
            await self._pipeline.turn(outlet, [said], 0)
            if len(ear.heard) > before:
                for who in {name, claim.delivery.person, *await self._asked(claim.delivery.incident, name)} - {""}:
                    self.told.setdefault(who, []).append(self._now - self._begin)
        return len(claims)

    async def _asked(self, incident: str, channel: str) -> set[str]:
        """The names that led to this channel: a rotation, a person."""
        story = await self._store.read(lambda ledger: ledger.changes.story(incident))
        decisions = [decision for _, decision in story if decision is not None]
        return {
            str(target.get("asked", ""))
            for decision in decisions
            for target in decision["targets"]
            if target["channel"] == channel
        }


def _outlets(configuration: Configuration) -> dict[str, tuple[Outlet, _Ear]]:
    made = {}
    for name, entry in configuration.channels.items():
        edits = entry.kind.connect(entry.settings, surroundings_of(entry, "", lambda: 0)).edits
        made[name] = _outlet(name, _Ear(edits), entry.settings.max_messages)
    for name in configuration.sleeping_channels:
        made[name] = _outlet(name, _Ear(edits=False), None)
    return made


def _outlet(name: str, ear: _Ear, budget: Rate | None) -> tuple[Outlet, _Ear]:
    voice = Voice(name, "en", None, ear.escape)
    return Outlet(name, ear, voice, RetryPolicy(), patience=60_000, budget=budget), ear


def _place(test: ExpectationSettings, number: int, who: str) -> Place:
    place: Place = ("tests", number, "expect", who)
    return place if not isinstance(test.expect[who], Never) else ("tests", number, "expect")


def _wrong(who: str, expected: Expected, told: Sequence[Millis]) -> str:
    """In what way it did not come true; '' where it did."""
    was = f"was told {_times(told)}" if told else "was never told"
    match expected:
        case Now():
            return "" if any(at < _NEAR for at in told) else f"{who} should be told now, but {was}"
        case At(after=after):
            near = any(after <= at < after + _NEAR for at in told)
            return "" if near else f"{who} should be told at {duration(after)}, but {was}"
        case Never():
            return f"{who} should never be told, but {was}" if told else ""
        case _:
            assert_never(expected)


def _times(told: Sequence[Millis]) -> str:
    words = list(dict.fromkeys("now" if at < _NEAR else f"at {duration(at)}" for at in told))
    return " and ".join(filter(None, (", ".join(words[:3]), "later" if len(words) > 3 else "")))
