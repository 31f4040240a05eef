"""Gateways on one PostgreSQL whose files differ for a while, as in a rolling update: what only one of them knows is
neither given up nor ended by the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway import service
from gateway.model import GATEWAY, Replica
from gateway.ringing import PUT_OFF, PUT_OFF_MOST
from gateway.store.shared import LIVES
from tests.fakes.receiver import Receiver
from tests.house import Running, running, until
from tests.stage import HOUR, MINUTE, NOON, House, Team, routing, running_store

SOURCES = "sources: {generic: {adapter: generic, token: tkn-generic-0001}}\n"
OLDER = SOURCES + "channels: {spare: {kind: screen}}\nroutes: [{name: own, match: {source: gateway}, to: [spare]}]\n"
SECOND = 1_000


def newer(url: str, pace: str = "1/s") -> str:
    """It has a channel more than OLDER."""
    channels = f"  team: {{kind: webhook, url: '{url}', pace: {pace}}}\n  spare: {{kind: screen}}"
    return f"{SOURCES}channels:\n{channels}\nroutes: [{{name: all, match: {{not: {{source: gateway}}}}, to: [team]}}]\n"


@pytest.fixture(autouse=True)
def sweeps_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "TIDY_SECONDS", 0.1)


def gateway(folder: Path, text: str, url: str) -> AbstractAsyncContextManager[Running]:
    folder.mkdir(exist_ok=True)
    return running(folder, text, url=url)


def said(url: str, *columns: str) -> list[tuple[Any, ...]]:
    """These columns of all deliveries to `team`."""
    with psycopg.connect(url, autocommit=True) as session:
        statement = f"SELECT {', '.join(columns)} FROM deliveries WHERE channel = 'team'"  # noqa: S608  # names
        return session.execute(statement).fetchall()  # type: ignore[arg-type]


def lives(url: str, seen_at: int) -> None:
    """There is a gateway more, with another file, which was seen then."""
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("INSERT INTO replicas VALUES ('more', 'more:1', '0', 'another', false, 0, %s)", (seen_at,))


async def sweeps(house: Running, many: int = 5) -> None:
    """Until it has swept so often."""
    swept = 0
    measure = house.service._measure

    async def counted(ledger: Any) -> None:
        nonlocal swept
        await measure(ledger)
        swept += 1

    house.service._measure = counted  # type: ignore[method-assign]
    await until(lambda: _is(swept > many))


async def _is(true: bool) -> bool:
    return true


async def removal(house: Running) -> str:
    """The state of the alert that says the channel was removed; '' where there is none."""
    items = (await house.get("incidents", source=GATEWAY))["items"]
    return next((str(item["state"]) for item in items if item["fingerprint"] == "removed:team"), "")


async def test_what_waits_for_a_channel_that_only_the_newer_file_has_is_told(tmp_path: Path, postgres_url: str) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, gateway(tmp_path / "new", newer(url), postgres_url) as new:
        for number in range(5):
            await new.alert(f"disk {number}", fingerprint=str(number))
        await new.decided()

        async def all_said() -> bool:
            states = [state for (state,) in said(postgres_url, "state")]
            assert "failed" not in states
            return states == ["said"] * 5

        async with gateway(tmp_path / "old", OLDER, postgres_url) as old:
            await until(all_said, 15)
            await sweeps(old)
            assert await removal(old) == ""
    assert len(receiver.heard) == 5


async def test_one_that_starts_with_the_older_file_gives_up_nothing(tmp_path: Path, postgres_url: str) -> None:
    async with gateway(tmp_path / "new", newer("http://127.0.0.1:9/"), postgres_url) as new:
        await new.alert("patient")
        await new.decided()
        async with gateway(tmp_path / "old", OLDER, postgres_url) as old:
            assert said(postgres_url, "state") == [("waiting",)]
            await sweeps(old)
            assert said(postgres_url, "state") == [("waiting",)]
            assert await removal(old) == ""


async def test_when_the_newer_has_left_its_channel_is_gone_for_good(tmp_path: Path, postgres_url: str) -> None:
    async with AsyncExitStack() as stack, AsyncExitStack() as leaving:
        text = newer("http://127.0.0.1:9/")
        new = await leaving.enter_async_context(gateway(tmp_path / "new", text, postgres_url))
        await new.alert("patient")
        await new.decided()
        old = await stack.enter_async_context(gateway(tmp_path / "old", OLDER, postgres_url))
        await sweeps(old)
        assert said(postgres_url, "state") == [("waiting",)]
        await leaving.aclose()
        await until(lambda: _failed(postgres_url))
        await until(lambda: _open(old))


async def test_one_that_died_counts_for_a_minute(tmp_path: Path, postgres_url: str) -> None:
    async with gateway(tmp_path / "new", newer("http://127.0.0.1:9/"), postgres_url) as new:
        await new.alert("patient")
        await new.decided()
        seen_at = new.clock()
        lives(postgres_url, seen_at)
    async with gateway(tmp_path / "old", OLDER, postgres_url) as old:
        await sweeps(old)
        assert said(postgres_url, "state") == [("waiting",)]
        old.clock.ahead = LIVES + SECOND
        await until(lambda: _failed(postgres_url))
        await until(lambda: _open(old))


async def test_what_was_given_up_while_we_were_taken_for_dead_is_taken_back(tmp_path: Path, postgres_url: str) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, gateway(tmp_path / "new", newer(url), postgres_url) as new:
        await new.alert("patient")
        await until(lambda: _said(postgres_url))
        with psycopg.connect(postgres_url, autocommit=True) as session:  # as another would that did not see us
            session.execute("UPDATE deliveries SET state = 'failed', said = 0, reason = 'channel removed'")
            session.execute("UPDATE replicas SET seen_at = seen_at - %s", (2 * LIVES,))
        await until(lambda: _said(postgres_url))


async def test_a_saved_file_is_known_to_the_others_before_it_promises_anything(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TIDY_SECONDS", HOUR)  # no report but that of the reload
    async with gateway(tmp_path / "new", OLDER, postgres_url) as new:
        before = new.service.house.configuration.hash
        promised_by: list[str] = []
        apply = new.service._keep_promises

        async def look() -> None:
            with psycopg.connect(postgres_url, autocommit=True) as session:
                promised_by.extend(hash_ for (hash_,) in session.execute("SELECT configuration FROM replicas"))
            await apply()

        new.service._keep_promises = look  # type: ignore[method-assign]
        new.routing.write_text(newer("http://127.0.0.1:9/"))
        await until(lambda: _is(bool(promised_by)))
        assert promised_by == [new.service.house.configuration.hash]
        assert promised_by != [before]


async def test_on_a_database_of_its_own_a_gateway_asks_nobody(tmp_path: Path) -> None:
    async with running_store(tmp_path) as store:
        before = Replica("before", "before", "0", "another", False, NOON, NOON)  # it was killed a moment ago
        await store.write(lambda ledger: ledger.shared.seen(before))
        assert not await store.read(lambda ledger: ledger.shared.differ("ours", NOON))


async def _said(url: str) -> bool:
    return said(url, "state") == [("said",)]


async def _failed(url: str) -> bool:
    return said(url, "state", "reason") == [("failed", "channel removed")]


async def _open(house: Running) -> bool:
    return await removal(house) == "open"


# --- timers: two pipelines over one store, rung one after the other -------------------------------------------------

PAGE = {"page": {"steps": [{"to": ["team"]}, {"to": ["lee"], "after": "5m"}]}}
PAGED = {"name": "page", "to": ["page"]}


class Two:
    """A gateway with the newer file, which has more blocks, and one with the older: both live, both at one time."""

    def __init__(self, store: Any, newer_route: dict[str, Any], older_route: dict[str, Any], **more: Any) -> None:
        teams = {"team": Team(), "lee": Team(), "loud": Team()}
        self.store = store
        self.new = House(store, replace(routing(newer_route, default=("loud",)), configuration="new"), **teams)
        self.old = House(store, replace(routing(older_route, default=("loud",)), configuration="old"), **teams)
        self.old.clock = self.old.pipeline.now = self.new.clock
        self.new.order(**more)

    async def pass_(self, span: int) -> None:
        """Time passes, and both still live."""
        self.new.clock.push(span)
        await self.live()

    async def live(self, *, agreed: bool = False) -> None:
        for name in ("new", "old"):
            replica = Replica(name, name, "0", "old" if agreed else name, False, NOON, self.new.clock())
            await self.store.write(lambda ledger, replica=replica: ledger.shared.seen(replica))  # type: ignore[misc]

    async def older_rings(self) -> None:
        await self.old.pipeline.ring(100)


@asynccontextmanager
async def two(
    url: str, newer_route: dict[str, Any] = PAGED, older_route: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Two]:
    async with running_store(url) as store:
        both = Two(store, newer_route, older_route or {"name": "all", "to": ["team"]}, **more)
        await both.live()
        yield both


async def test_an_escalation_that_the_older_file_has_not_goes_on_with_the_newer(postgres_url: str) -> None:
    async with two(postgres_url, escalations=PAGE) as both:
        await both.new.alert()
        await both.pass_(5 * MINUTE)
        await both.older_rings()
        assert await both.new.changes() == ["opened"]
        await both.pass_(PUT_OFF)
        await both.new.ring()
        await both.new.deliver("lee")
        assert await both.new.changes() == ["opened", "escalated"]
        assert both.new.said("lee") == [("opened", "disk")]
        await both.pass_(5 * MINUTE)
        await both.older_rings()
        await both.pass_(PUT_OFF)
        await both.new.ring()
        assert await both.new.changes() == ["opened", "escalated", "unanswered"]


async def test_an_escalation_of_which_the_older_file_knows_fewer_steps_is_not_at_its_end(postgres_url: str) -> None:
    longer = {
        "page": {"steps": [*PAGE["page"]["steps"], {"to": ["lee"], "after": "6m"}, {"to": ["lee"], "after": "7m"}]}
    }
    async with two(postgres_url, older_route=PAGED, escalations=longer) as both:
        both.old.order(escalations={"page": {"steps": [{"to": ["team"]}]}})
        await both.new.alert()
        for span in (5 * MINUTE, MINUTE):
            await both.pass_(span)
            await both.new.ring()
        await both.pass_(MINUTE)
        await both.older_rings()
        assert await both.new.changes() == ["opened", "escalated", "escalated"]


async def test_once_all_agree_an_escalation_that_no_file_has_is_said_to_be_unanswered(postgres_url: str) -> None:
    async with two(postgres_url, escalations=PAGE) as both:
        await both.new.alert()
        await both.pass_(5 * MINUTE)
        await both.live(agreed=True)
        await both.older_rings()
        assert await both.new.changes() == ["opened", "unanswered"]


async def test_what_nobody_takes_is_put_off_for_ten_minutes_at_most(postgres_url: str) -> None:
    async with two(postgres_url, escalations=PAGE) as both:
        await both.new.alert()
        await both.pass_(5 * MINUTE)
        for span in (0, PUT_OFF, PUT_OFF_MOST - 2 * PUT_OFF):
            await both.pass_(span)
            await both.older_rings()
            assert await both.new.changes() == ["opened"]
        await both.pass_(PUT_OFF)
        await both.older_rings()
        assert await both.new.changes() == ["opened", "unanswered"]


async def test_what_only_the_newer_file_expires_does_not_stay_open(postgres_url: str) -> None:
    async with two(postgres_url, {"name": "all", "to": ["team"]}, expire=[{"after": "1h"}]) as both:
        await both.new.alert()
        await both.pass_(HOUR)
        await both.older_rings()
        await both.pass_(PUT_OFF)
        await both.new.ring()
        assert (await both.new.incident()).state == "resolved"


async def test_what_only_the_newer_file_mutes_is_not_told_by_the_older(postgres_url: str) -> None:
    always = {"always": {"time_zone": "UTC", "weekly": [{"days": "daily", "from": "11:00", "to": "14:00"}]}}
    async with two(
        postgres_url, {"name": "all", "to": ["team"]}, calendars=always, mutes=[{"name": "work", "during": ["always"]}]
    ) as both:
        await both.new.alert()
        await both.store.write(lambda ledger: ledger.timers.hasten("unmute", None, both.new.clock()))
        await both.older_rings()
        assert (await both.new.incident()).muted_by
        await both.pass_(PUT_OFF)
        await both.new.ring()
        assert await both.new.changes() == ["opened"]


@pytest.mark.parametrize("more", [{}, {"group_by": ["source"]}])
async def test_a_repeat_of_a_route_that_only_the_newer_file_has_is_not_lost(
    postgres_url: str, more: dict[str, Any]
) -> None:
    often = {"name": "often", "to": ["team"], "repeat_every": "1h", **more}
    async with two(postgres_url, often) as both:
        await both.new.alert()
        await both.old.deliver("team")  # who does not know how often
        assert len(both.new.teams["team"].heard) == 1
        await both.pass_(PUT_OFF)
        await both.older_rings()
        await both.pass_(PUT_OFF)
        await both.new.ring()
        await both.new.deliver("team")
        assert len(both.new.teams["team"].heard) == 1
        await both.pass_(HOUR - 2 * PUT_OFF)
        await both.older_rings()
        await both.pass_(PUT_OFF)
        await both.new.ring()
        await both.new.deliver("team")
        assert len(both.new.teams["team"].heard) == 2
