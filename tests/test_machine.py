"""Whatever happens in whatever order, nobody's page is lost and nobody is paged twice for the same.

Hypothesis draws what happens: alerts, people, silences, time, vendors in trouble, lanes that die with a message in
their hands, and the whole gateway. The model is what each channel must have heard when everything has come to rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.clock import new_id
from gateway.errors import Conflict, NotFound
from gateway.model import Act, Incident, Rejected, Retry, Severity, Silence, Unknown
from gateway.pipeline import Pipeline
from tests.stage import HOUR, MINUTE, House, Team, reconsider_all, routing, running_store

RUNS = int(os.environ.get("TOCSIN_TEST_RUNS", "500"))
SHARED_MEMORY = Path("/dev/shm")
SECOND = 1_000
PEOPLE = {"kim": {"channels": ["kim_sms", "kim_tg"]}, "lee": {"channels": ["lee_sms"]}}
PAGE = {"page": {"steps": [{"to": "kim"}, {"to": "lee", "after": "5m"}, {"to": "ops", "after": "10m"}], "repeat": "1"}}
ROUTES = (
    {"name": "page", "match": {"service": "page"}, "to": ["page"]},
    {"name": "later", "match": {"service": "later"}, "to": ["ops"], "only_after": "2m", "cooldown": "5m"},
    {"name": "again", "match": {"service": "again"}, "to": ["ops"], "repeat_every": "30m"},
    {"name": "group", "match": {"service": "group"}, "to": ["board"], "group_by": "service", "group_wait": "30s"},
    {"name": "all", "to": ["board"]},
)
NAMES = ["page 1", "page 1", "page 2", "later 1", "again 1", "group 1", "group 2"]

names = st.sampled_from(NAMES)
acts = st.one_of(
    st.tuples(st.just("alert"), names, st.sampled_from([1, 2, 3]), st.sampled_from([True, True, False])),
    st.tuples(st.just("alert"), names, st.sampled_from([1, 3]), st.just(True)),
    st.tuples(st.just("act"), names, st.sampled_from(["acknowledge", "resolve", "reopen", "note"])),
    st.tuples(st.just("silence"), names, st.sampled_from([5, 40])),
    st.tuples(st.just("time"), st.sampled_from([1, 40, 130, 310, 900, 2_400])),
    st.tuples(st.just("trouble"), st.sampled_from(["kim_sms", "lee_sms", "ops", "board"]), st.sampled_from("RUX")),
    st.tuples(st.just("die"), st.sampled_from(["kim_sms", "lee_sms", "ops", "board"])),
    st.tuples(st.just("crash")),
)
TROUBLES = {"R": Retry("busy"), "U": Unknown("no answer"), "X": Rejected("never")}


class Machine:
    """One gateway and what it goes through."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.died = 0

    async def do(self, act: tuple[Any, ...]) -> None:
        kind, *rest = act
        await getattr(self, kind)(*rest)
        await self.check_timers()

    async def alert(self, name: str, severity: int, firing: bool) -> None:
        status = "firing" if firing else "resolved"
        await self.house.alert(name, service=name.split(maxsplit=1)[0], severity=Severity(severity), status=status)

    async def act(self, name: str, verb: Any) -> None:
        incident = await self._newest(name)
        if incident is not None:
            with contextlib.suppress(Conflict):
                await self.house.pipeline.act(incident.id, Act(verb, "kim", note="x"))

    async def silence(self, name: str, minutes: int) -> None:
        now = self.house.clock()
        wish = Silence(new_id(), {}, now + minutes * MINUTE, now, source="scripts", fingerprint=name)
        await self.house.pipeline.silence(wish)

    async def time(self, seconds: int) -> None:
        await self.house.passes(seconds * SECOND)

    async def trouble(self, channel: str, which: str) -> None:
        self.house.teams[channel].answers.append(TROUBLES[which])

    async def die(self, channel: str) -> None:
        """A lane sends, and dies before it can write that down: its lease has to end before anybody goes on."""
        claims = await self.house.claim(channel, 1)
        for claim in claims:
            await self.house.pipeline.say(self.house.outlets[channel], claim)
            self.died += 1

    async def crash(self) -> None:
        """The process is gone and comes back: everything that it knew is what the store knows."""
        before = self.house.pipeline
        self.house.pipeline = Pipeline(
            self.house.store, before.adapters, before.rules, self.house.clock, new_id, lambda: 0.5
        )
        await self.house.store.write(lambda ledger: ledger.outbox.release_all(self.house.clock()))
        await reconsider_all(self.house.pipeline)

    async def rest(self) -> None:
        """Vendors are well again, and time passes until nothing is due that changes anything."""
        for team in self.house.teams.values():
            team.answers.clear()
        await self.crash()
        await self.house.passes(3 * HOUR)

    # --- what must be so --------------------------------------------------------------------------------

    async def check_timers(self) -> None:
        """Nothing is armed for what is over but the look whether it stands still; nobody is called once it is his."""
        for incident in await self.house.incidents():
            timers = await self.house.store.read(lambda ledger, id_=incident.id: ledger.timers.of([id_]))
            kinds = {timer.kind for timer in timers.get(incident.id, [])}
            if incident.state == "resolved":
                assert kinds <= {"steady"}, (incident.title, kinds)
            if incident.state == "acknowledged":
                assert not kinds & {"escalate", "repeat", "tell"}, (incident.title, kinds)

    async def check(self) -> None:
        for incident in await self.house.incidents():
            if incident.source == "scripts":
                await self._check_told(incident)
        self._check_twice()

    async def _check_told(self, incident: Incident) -> None:
        found = await self.house.store.read(lambda ledger: ledger.outbox.of([incident.id]))
        deliveries = found.get(incident.id, [])
        for delivery in deliveries:
            assert delivery.state != "waiting", (incident.title, delivery)
            heard = [m for m in self.house.teams[delivery.channel].heard if m.incident.id == incident.id]
            if delivery.state == "said" and heard:
                assert heard[-1].incident.state == incident.state, (incident.title, delivery.channel)
        story = await self.house.store.read(lambda ledger: ledger.changes.story(incident.id))
        whats = [change.what for change, _ in story]
        if incident.state == "open" and incident.service == "page" and not incident.muted_by:
            assert "unanswered" in whats, (incident.title, whats)
            # What a vendor refuses for good each time is a dead letter, and the gateway says so.
            told = {delivery.channel for delivery in deliveries if delivery.said or delivery.state == "failed"}
            assert {"lee_sms", "ops"} <= told, (incident.title, told)
            assert told & {"kim_sms", "kim_tg"}, (incident.title, told)
        if incident.state == "open" and incident.service in ("later", "again") and not incident.muted_by:
            assert [d.channel for d in deliveries if d.said or d.state == "failed"], (incident.title, whats)

    def _check_twice(self) -> None:
        """The same message twice only where a lane died with it, or a vendor did not answer."""
        again = 0
        for team in self.house.teams.values():
            again += sum(count - 1 for count in Counter(message.id for message in team.heard).values())
            revisions: dict[str, int] = {}
            for message in team.heard:
                assert message.revision >= revisions.get(message.incident.id, 0), message
                revisions[message.incident.id] = message.revision
        assert again <= self.died

    async def _newest(self, name: str) -> Incident | None:
        try:
            return await self.house.incident(name)
        except (KeyError, NotFound):
            return None


async def play(happenings: list[tuple[Any, ...]], folder: Path) -> None:
    async with running_store(folder) as store:
        teams = {name: Team() for name in ("kim_sms", "kim_tg", "lee_sms", "ops")}
        house = House(store, routing(*ROUTES, default=["ops"]), **teams, board=Team(edits=True))
        house.order(people=PEOPLE, escalations=PAGE)
        machine = Machine(house)
        for act in happenings:
            await machine.do(act)
        await machine.rest()
        await machine.check()


def run(work: Callable[[Path], Awaitable[None]]) -> None:
    where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="tocsin-machine-", dir=where) as folder:
        asyncio.run(work(Path(folder)))  # type: ignore[arg-type]


# It opened again, to be told later, before the word that it was over had gone out: that word then told of it.
OPENED_AGAIN = [
    ("alert", "later 1", 1, True),
    ("alert", "page 1", 1, True),
    ("time", 1),
    ("time", 130),
    ("act", "later 1", "resolve"),
    ("alert", "later 1", 1, True),
]


@example(happenings=OPENED_AGAIN)
@settings(max_examples=RUNS, deadline=None, suppress_health_check=list(HealthCheck))
@given(happenings=st.lists(acts, min_size=6, max_size=20))
def test_no_page_is_lost_and_none_comes_twice(happenings: list[tuple[Any, ...]]) -> None:
    run(lambda folder: play(happenings, folder))
