"""A channel that vanishes from routing.yaml keeps nobody waiting in silence, and one that comes back is told all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway import service
from gateway.model import GATEWAY, Event, Severity
from gateway.rules import own
from tests.fakes.receiver import Receiver
from tests.house import Running, running, until
from tests.rules.test_own import read
from tests.stage import NOON

SOURCES = "sources: {generic: {adapter: generic, token: tkn-generic-0001}}\n"
WITHOUT = SOURCES + "channels: {spare: {kind: screen}}\nroutes: [{name: own, match: {source: gateway}, to: [spare]}]\n"


def told(url: str) -> str:
    channels = f"  team: {{kind: webhook, url: '{url}', pace: none}}\n  spare: {{kind: screen}}"
    return f"{SOURCES}channels:\n{channels}\nroutes: [{{name: all, to: [team]}}]\n"


@pytest.fixture(autouse=True)
def sweeps_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "TIDY_SECONDS", 0.2)


async def removal(house: Running) -> dict[str, Any]:
    """The incident that the removed channel is; {} where there is none."""
    items = (await house.get("incidents", source=GATEWAY))["items"]
    return next((item for item in items if item["fingerprint"] == "removed:team"), {})


async def states(house: Running, channel: str = "team") -> list[tuple[str, str]]:
    items = (await house.get("deliveries", channel=channel))["items"]
    return [(item["state"], item["reason"]) for item in items]


async def is_(house: Running, state: str) -> bool:
    return (await removal(house)).get("state") == state


async def given_up(house: Running) -> bool:
    return set(await states(house)) == {("failed", "channel removed")}


async def test_what_a_save_cut_in_half_gave_up_is_told_when_the_whole_file_is_there(tmp_path: Path) -> None:
    receiver = Receiver(answers=[httpx2.Response(503)] * 2)
    async with receiver.listening() as url, running(tmp_path, told(url)) as house:
        await house.alert("first", fingerprint="a")
        await house.alert("second", fingerprint="b")
        await house.decided()
        started = time.monotonic()
        house.routing.write_text(WITHOUT)
        await until(lambda: given_up(house))
        assert time.monotonic() - started < 2
        await until(lambda: is_(house, "open"))
        incident = await removal(house)
        assert incident["title"] == "Channel team was removed with 2 messages waiting for it"
        assert (incident["severity"], incident["labels"]) == ("error", {"channel": "team"})
        house.routing.write_text(told(url))
        await until(lambda: is_(house, "resolved"))
        await house.told()
        assert await states(house) == [("said", ""), ("said", "")]
    titles = [heard.document["incident"]["title"] for heard in receiver.heard[2:]]
    assert sorted(titles) == ["first", "second"]


async def test_a_channel_that_is_back_at_the_next_start_is_told_too(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening() as url:
        async with running(tmp_path, told("http://127.0.0.1:9/x")) as house:
            await house.alert("patient")
            await house.decided()
        async with running(tmp_path, WITHOUT) as house:
            await until(lambda: given_up(house))
            await until(lambda: is_(house, "open"))
        async with running(tmp_path, told(url)) as house:
            await house.told()
            await until(lambda: is_(house, "resolved"))
    assert "patient" in [heard.document["incident"]["title"] for heard in receiver.heard]


async def test_a_return_while_nothing_can_be_written_is_made_good_later(tmp_path: Path) -> None:
    receiver = Receiver(answers=[httpx2.Response(503)])
    async with receiver.listening() as url, running(tmp_path, told(url)) as house:
        await house.alert("patient")
        await house.decided()
        house.routing.write_text(WITHOUT)
        await until(lambda: given_up(house))
        async with house.nobody_writes():
            house.routing.write_text(told(url))
            await until(lambda: has_team(house))
            assert await given_up(house)
        await until(lambda: is_said(house))


async def test_what_failed_for_another_reason_stays_a_dead_letter(tmp_path: Path) -> None:
    receiver = Receiver(answers=[httpx2.Response(404)])
    async with receiver.listening() as url:
        async with running(tmp_path, told(url)) as house:
            await house.alert("dead")
            await until(lambda: has_failed(house))
            before = await states(house)
        async with running(tmp_path, WITHOUT):
            pass
        async with running(tmp_path, told(url)) as house:
            await house.told()
            assert before[0] in await states(house)
            assert await removal(house) == {}


async def test_the_gateways_own_messages_that_are_given_up_raise_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, told("http://127.0.0.1:9/x")) as house:
        await house.service.pipeline.tell(an_own_alert())
        await house.decided()
        house.routing.write_text(WITHOUT)
        await until(lambda: given_up(house))
        await house.told()
        assert await removal(house) == {}


@pytest.mark.parametrize(("many", "words"), [(1, "1 message"), (7, "7 messages")])
def test_the_alert_of_a_removed_channel_names_it_and_how_many_messages_waited(many: int, words: str) -> None:
    alert = read(own.channel_removed("team", many, "id", NOON))
    assert alert.title == f"Channel team was removed with {words} waiting for it"
    assert (alert.fingerprint, alert.severity, alert.status) == ("removed:team", Severity.ERROR, "firing")
    over = read(own.channel_back("team", "id", NOON))
    assert (over.fingerprint, over.status, over.labels) == ("removed:team", "resolved", {"channel": "team"})


def an_own_alert() -> Event:
    return own.unreadable("generic", "id", NOON)


async def has_team(house: Running) -> bool:
    return "team" in house.service.house.configuration.channels


async def is_said(house: Running) -> bool:
    return {state for state, _ in await states(house)} == {"said"}


async def has_failed(house: Running) -> bool:
    return "failed" in {state for state, _ in await states(house)}
