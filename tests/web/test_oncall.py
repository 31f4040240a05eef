"""`/api/v1/oncall` and `/api/v1/overrides`: who is on call, and who instead."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.model import Millis
from gateway.rules.calendars import CalendarSettings
from gateway.rules.people import PersonSettings
from gateway.rules.rotations import RotationSettings
from gateway.rules.routing import Routing
from tests.house import Clock, Running, running

ROTATIONS: dict[str, Any] = {
    "primary": {"members": ["kim", "lee"], "time_zone": "Asia/Seoul", "start": "2026-01-05"},
    "by day": {
        "time_zone": "Asia/Seoul",
        "layers": [{"members": ["park"], "during": "office"}],
    },
}
OFFICE = {"time_zone": "Asia/Seoul", "weekly": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}]}


def at(text: str) -> Millis:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


def ordered(house: Running, rotations: dict[str, Any]) -> None:
    """Put rotations into force, as a reload would."""
    routing: Routing = replace(
        house.service.house.configuration.routing,
        rotations={
            name: tree if isinstance(tree, RotationSettings) else RotationSettings.model_validate(tree)
            for name, tree in rotations.items()
        },
        people={"choi": PersonSettings.model_validate({"channels": ["terminal"]})},
        calendars={"office": CalendarSettings.model_validate(OFFICE)},
    )
    house.service.house.configuration = replace(house.service.house.configuration, routing=routing)
    house.service.pipeline.rules = replace(house.service.pipeline.rules, routing=routing)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Running]:
    """On Wednesday, 2026-01-07 at noon in Seoul."""
    clock = Clock()
    clock.ahead = at("2026-01-07T12:00+09:00") - clock()
    async with running(tmp_path, clock=clock) as house:
        ordered(house, ROTATIONS)
        yield house


async def override(house: Running, **body: Any) -> httpx2.Response:
    wanted = {"rotation": "primary", "member": "lee", "from": "18:00", "to": "mon 09:00", **body}
    return await house.client.post("/api/v1/overrides", json={k: v for k, v in wanted.items() if v is not None})


def wrong(answer: httpx2.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return {error["path"]: error["message"] for error in answer.json()["errors"]}


# --- who is on call -----------------------------------------------------------------------------------


async def test_each_rotation_says_who_is_on_call_and_who_will_be(house: Running) -> None:
    shown = await house.get("oncall", at="2026-01-07T12:00:00+09:00", weeks=1)
    assert shown["at"] == "2026-01-07T03:00:00.000Z"
    assert shown["next_cursor"] is None
    primary, by_day = shown["items"]
    assert set(primary) == {"rotation", "time_zone", "now", "shifts", "ics"}
    assert (primary["rotation"], primary["time_zone"]) == ("primary", "Asia/Seoul")
    assert primary["now"] == {
        "member": "kim",
        "since": "2026-01-05T00:00:00.000Z",
        "until": "2026-01-12T00:00:00.000Z",
        "because": "rotation",
    }
    assert primary["shifts"] == [
        {"member": "kim", "from": shown["at"], "to": "2026-01-12T00:00:00.000Z", "because": "rotation"},
        {"member": "lee", "from": "2026-01-12T00:00:00.000Z", "to": "2026-01-14T03:00:00.000Z", "because": "rotation"},
    ]
    assert [one["member"] for one in by_day["shifts"]] == ["park", None, "park", None, "park", None, "park", None,
                                                            "park", None, "park"]  # fmt: skip


async def test_without_at_it_is_now_and_a_time_without_a_zone_is_the_rotations(house: Running) -> None:
    assert (await house.get("oncall"))["at"].startswith("2026-01-07T03:0")
    assert (await house.get("oncall", at="monday 09:00"))["at"] == "2026-01-12T00:00:00.000Z"
    ordered(house, {**ROTATIONS, "berlin": {"members": ["x"], "time_zone": "Europe/Berlin"}})
    assert (await house.get("oncall", at="monday 09:00"))["at"] == "2026-01-12T09:00:00.000Z", "in UTC then"


async def test_at_night_nobody_is_on_call_by_day(house: Running) -> None:
    shown = await house.get("oncall", at="22:00")
    assert shown["items"][1]["now"] is None


@pytest.mark.parametrize(
    ("query", "path"),
    [({"weeks": "0"}, "weeks"), ({"weeks": "53"}, "weeks"), ({"weeks": "x"}, "weeks"), ({"at": "soon"}, "at")],
)
async def test_a_wrong_question_is_named(house: Running, query: dict[str, str], path: str) -> None:
    assert set(wrong(await house.client.get("/api/v1/oncall", params=query))) == {path}


async def test_only_an_administrator_may_ask_or_change(house: Running) -> None:
    stranger = house.client_at("203.0.113.9")
    for method, path in (("GET", "oncall"), ("GET", "overrides"), ("POST", "overrides"), ("DELETE", "overrides/1")):
        assert (await stranger.request(method, f"/api/v1/{path}")).status_code == 401


# --- the calendar -------------------------------------------------------------------------------------


async def test_the_calendars_address_needs_nothing_but_itself(house: Running) -> None:
    primary, by_day = (await house.get("oncall"))["items"]
    stranger = house.client_at("203.0.113.9")
    answer = await stranger.get(primary["ics"])
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/calendar")
    assert "SUMMARY:kim on call: primary\r\n" in answer.text
    assert "DTSTART:20260105T000000Z" in answer.text, "the shift that runs stands whole"
    assert "park on call: by day" in (await stranger.get(by_day["ics"])).text


async def test_a_later_fetch_has_the_same_events(house: Running) -> None:
    (address, _) = (one["ics"] for one in (await house.get("oncall"))["items"])
    before = (await house.client.get(address)).text.split("UID:")[1:4]
    house.clock.ahead += 3_600_000
    after = (await house.client.get(address)).text.split("UID:")[1:4]
    assert [event[:32] for event in before] == [event[:32] for event in after]


def uids(calendar: str) -> list[str]:
    return [event[:32] for event in calendar.split("UID:")[1:]]


async def test_who_is_always_on_call_has_no_handoff_and_the_same_weeks_in_the_calendar(house: Running) -> None:
    ordered(house, {"primary": {**ROTATIONS["primary"], "members": ["kim"]}})
    (item,) = (await house.get("oncall"))["items"]
    assert item["now"] == {"member": "kim", "since": None, "until": None, "because": "rotation"}
    before = (await house.client.get(item["ics"])).text
    house.clock.ahead += 10 * 86_400_000
    after = (await house.client.get(item["ics"])).text
    assert "DTSTART:20260105T000000Z\r\nDTEND:20260112T000000Z" in before
    assert len(uids(before)) == len(uids(after)) == 5 + 1 + 26
    assert uids(before)[1:] == uids(after)[:-1], "one week later, one week is gone and one is new"


async def test_a_wrong_token_opens_nothing_and_tells_nothing(house: Running) -> None:
    primary, by_day = (one["ics"] for one in (await house.get("oncall"))["items"])
    good = primary.partition("=")[2]
    elsewhere = house.client_at("192.0.2.7")
    assert (await house.client.get("/api/v1/oncall/primary.ics")).status_code == 200, "an administrator needs none"
    for address in (
        "/api/v1/oncall/primary.ics",
        "/api/v1/oncall/primary.ics?token=x",
        "/api/v1/oncall/primary.ics?token=%ff",
        f"/api/v1/oncall/nobody.ics?token={good}",
        f"/api/v1/oncall/primary.ics?token={by_day.partition('=')[2]}",
    ):
        answer = await elsewhere.get(address)
        assert answer.status_code == 401, address
        assert answer.headers["content-type"] == "application/problem+json"
        assert good not in answer.text
    ordered(house, {})
    assert (await house.client.get(primary)).status_code == 404


async def test_a_rotation_that_has_nobody_has_an_empty_calendar(house: Running) -> None:
    nobody = RotationSettings.model_validate(ROTATIONS["primary"]).model_copy(update={"members": ()})
    ordered(house, {"primary": nobody})
    (item,) = (await house.get("oncall"))["items"]
    assert item["now"] is None
    assert "VEVENT" not in (await house.client.get(item["ics"])).text


# --- overrides ----------------------------------------------------------------------------------------


async def test_an_override_is_made_listed_followed_and_ended(house: Running) -> None:
    answer = await override(house, by="choi", reason=" moving house ", **{"for": "kim"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made == {
        "id": made["id"],
        "rotation": "primary",
        "member": "lee",
        "from": "2026-01-07T09:00:00.000Z",
        "to": "2026-01-12T00:00:00.000Z",
        "for": "kim",
        "by": "choi",
        "reason": "moving house",
    }
    assert (await house.get("overrides"))["items"] == [made]
    now = (await house.get("oncall", at="thu 12:00"))["items"][0]["now"]
    assert (now["member"], now["because"]) == ("lee", "override by choi")
    ended = await house.client.delete(f"/api/v1/overrides/{made['id']}")
    assert (ended.status_code, ended.json()) == (200, made)
    assert (await house.get("overrides"))["items"] == []
    assert (await house.get("oncall", at="thu 12:00"))["items"][0]["now"]["member"] == "kim"
    again = await house.client.delete(f"/api/v1/overrides/{made['id']}")
    assert (again.status_code, again.json()["status"]) == (404, 404)


async def test_anybody_of_people_may_stand_in_and_who_made_it_may_be_left_out(house: Running) -> None:
    made = (await override(house, member="choi")).json()
    assert (made["member"], made["for"], made["by"], made["reason"]) == ("choi", None, "api", "")
    assert (await override(house, member="kim", **{"for": "choi"})).json()["for"] == "choi"


@pytest.mark.parametrize(
    ("begin", "end", "instants"),
    [
        ("monday 09:00", "18:00", ("2026-01-12T09:00+09:00", "2026-01-12T18:00+09:00")),
        ("monday 09:00", "+8h", ("2026-01-12T09:00+09:00", "2026-01-12T17:00+09:00")),
        ("fri 18:00", "mon 09:00", ("2026-01-09T18:00+09:00", "2026-01-12T09:00+09:00")),
    ],
)
async def test_the_end_is_read_as_of_the_beginning(
    house: Running, begin: str, end: str, instants: tuple[str, str]
) -> None:
    made = (await override(house, **{"from": begin, "to": end})).json()
    assert (at(made["from"]), at(made["to"])) == tuple(map(at, instants))


@pytest.mark.parametrize("path", ["overrides", "silences"])
async def test_another_method_is_refused_with_all_that_are_allowed(house: Running, path: str) -> None:
    answer = await house.client.put(f"/api/v1/{path}", json={})
    assert (answer.status_code, answer.json()["status"]) == (405, 405)
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


async def test_an_override_that_is_over_is_why_a_turn_began_then(house: Running) -> None:
    made = (await override(house, **{"from": "now", "to": "+2h"})).json()
    primary = (await house.get("oncall", at="+2h"))["items"][0]
    before = uids((await house.client.get(primary["ics"])).text)
    house.clock.ahead += 3 * 3_600_000
    primary = (await house.get("oncall"))["items"][0]
    assert primary["now"]["member"] == "kim"
    assert primary["now"]["since"] == made["to"]
    after = uids((await house.client.get(primary["ics"])).text)
    assert after[0] in before


async def test_an_override_that_is_over_is_listed_no_more(house: Running) -> None:
    await override(house, **{"from": "now", "to": "+7h"})
    house.clock.ahead += 8 * 3_600_000
    assert (await house.get("overrides"))["items"] == []


@pytest.mark.parametrize(
    ("body", "path", "sentence"),
    [
        ({"rotation": None}, "rotation", "is needed"),
        ({"rotation": "primry"}, "rotation", "did you mean 'primary'?"),
        ({"member": "kym"}, "member", "did you mean 'kim'?"),
        ({"member": 5}, "member", "must be text"),
        ({"for": "chi"}, "for", "did you mean 'choi'?"),
        ({"for": "lee"}, "for", "is the member; name whose turn"),
        ({"from": None}, "from", "is needed"),
        ({"to": "whenever"}, "to", "is no time"),
        ({"to": "now"}, "to", "is not after `from`"),
        ({"from": "2026-01-01T00:00", "to": "2026-01-02T00:00"}, "to", "is in the past"),
        ({"by": "x" * 101}, "by", "at most 100 characters"),
        ({"reason": "x" * 2_001}, "reason", "at most 2,000 characters"),
        ({"until": "18:00"}, "until", "is unknown; there are by, for, from, member, reason, rotation, to"),
        ({"membr": "lee"}, "membr", "is unknown; did you mean 'member'?"),
    ],
)
async def test_a_wrong_override_is_named(house: Running, body: dict[str, Any], path: str, sentence: str) -> None:
    problems = wrong(await override(house, **body))
    assert set(problems) == {path}
    assert sentence in problems[path]


async def test_all_that_is_wrong_is_named_at_once(house: Running) -> None:
    assert set(wrong(await house.client.post("/api/v1/overrides", json={}))) == {"rotation", "member", "from", "to"}
