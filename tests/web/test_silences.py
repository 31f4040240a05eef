"""`/api/v1/silences`: made, listed, ended; and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.model import Act
from gateway.rules.calendars import CalendarSettings
from gateway.rules.shapes import parse_rfc3339
from tests.house import Running, running
from tests.web.test_oncall import wrong

HOUR = 3_600_000


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as house:
        yield house


async def silence(house: Running, **body: Any) -> httpx2.Response:
    wanted = {"match": {"service": "db-1"}, "for": "2h", "reason": "moving", "by": "kim", **body}
    return await house.client.post("/api/v1/silences", json={k: v for k, v in wanted.items() if v is not None})


async def test_a_silence_is_made_listed_and_ended(house: Running) -> None:
    answer = await silence(house, match={"severity": ">=error", "labels.team": ["a", "b"]})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert set(made) == {"id", "match", "until", "reason", "by", "made_at"}
    assert made["match"] == {"severity": ">=error", "labels.team": ["a", "b"]}
    assert (made["reason"], made["by"]) == ("moving", "kim")
    assert (parse_rfc3339(made["until"]) or 0) - (parse_rfc3339(made["made_at"]) or 0) == 2 * HOUR
    assert (await house.get("silences"))["items"] == [made]
    ended = await house.client.delete(f"/api/v1/silences/{made['id']}")
    assert (ended.status_code, ended.json()) == (200, made)
    assert await house.get("silences") == {"items": [], "next_cursor": None}
    assert (await house.client.delete(f"/api/v1/silences/{made['id']}")).status_code == 404


async def test_a_silence_lies_on_the_face_of_what_it_covers(house: Running) -> None:
    await house.alert("Disk full", service="db-1")
    await house.decided()
    await silence(house)
    (incident,) = (await house.get("incidents"))["items"]
    assert incident["muted_by"] is not None
    made = (await house.get("silences"))["items"][0]
    assert incident["muted_by"] == f"silenced until {made['until']} by kim: moving"


async def test_an_end_may_be_a_time_and_reason_and_name_left_out(house: Running) -> None:
    until = "2999-01-01T00:00:00Z"
    assert "too far away" in wrong(await silence(house, until=until, **{"for": None}))["until"]
    made = (await silence(house, until="+3h", reason=None, by=None, **{"for": None})).json()
    assert (made["reason"], made["by"]) == ("", "api")
    assert (parse_rfc3339(made["until"]) or 0) - (parse_rfc3339(made["made_at"]) or 0) == 3 * HOUR


async def test_a_buttons_silence_names_its_one_problem(house: Running) -> None:
    await house.alert("Disk full", fingerprint="disk")
    await house.decided()
    (incident,) = (await house.get("incidents"))["items"]
    await house.service.pipeline.act(incident["id"], Act("silence", "kim"))
    (made,) = (await house.get("silences"))["items"]
    assert made["match"] == {"source": "generic", "fingerprint": "disk"}


@pytest.mark.parametrize(
    ("body", "path", "sentence"),
    [
        ({"for": None}, "until", "give either"),
        ({"until": "+2h"}, "until", "give either"),
        ({"for": "soon"}, "for", "is no duration"),
        ({"for": "0s"}, "for", "in the past"),
        ({"for": "367d"}, "for", "366 days"),
        ({"for": "9" * 99 + "d"}, "for", "too long"),
        ({"for": 60}, "for", "must be text"),
        ({"for": None, "until": "2020-01-01T00:00:00Z"}, "until", "in the past"),
        ({"for": None, "until": "later"}, "until", "is no time"),
        ({"match": None}, "match", "would silence everything"),
        ({"match": {}}, "match", "would silence everything"),
        ({"match": "db"}, "match", "must be a mapping"),
        ({"match": {"severiti": "error"}}, "match.severiti", "did you mean 'severity'?"),
        ({"match": {"severity": "loud"}}, "match.severity", "is no severity"),
        ({"match": {"labels": {"team": ["a", ""]}}}, "match.labels.team.1", "is empty"),
        ({"match": {"service": 5}}, "match.service", "must be text"),
        ({"match": {"title": "x" * 10_000}}, "match", "at most 10,000 characters"),
        ({"match": {"during": "ofice"}}, "match.during", "is no calendar; there is no calendar here"),
        ({"reason": "x" * 2_001}, "reason", "at most 2,000 characters"),
        ({"by": "x" * 101}, "by", "at most 100 characters"),
        ({"why": "x"}, "why", "is unknown"),
    ],
)
async def test_a_wrong_silence_is_named(house: Running, body: dict[str, Any], path: str, sentence: str) -> None:
    problems = wrong(await silence(house, **body))
    assert set(problems) == {path}
    assert sentence in problems[path]
    assert (await house.get("silences"))["items"] == []


async def test_a_silence_may_hold_during_a_calendar(house: Running) -> None:
    tree = {"time_zone": "UTC", "weekly": [{"days": "daily", "from": "00:00", "to": "24:00"}]}
    configuration = house.service.house.configuration
    routing = replace(configuration.routing, calendars={"office": CalendarSettings.model_validate(tree)})
    house.service.house.configuration = replace(configuration, routing=routing)
    assert (await silence(house, match={"during": "office"})).status_code == 201


async def test_signs_that_no_store_takes_are_left_out(house: Running) -> None:
    raw = b'{"match": {"service": "db\\ud800"}, "for": "1h", "reason": "a\\u0000b\\ud800"}'
    answer = await house.client.post("/api/v1/silences", content=raw)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["match"], answer.json()["reason"]) == ({"service": "db"}, "ab")


async def test_only_an_administrator_may_look_or_change(house: Running) -> None:
    stranger = house.client_at("203.0.113.9")
    for method, path in (("GET", "silences"), ("POST", "silences"), ("DELETE", "silences/1")):
        assert (await stranger.request(method, f"/api/v1/{path}")).status_code == 401
