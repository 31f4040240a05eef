"""`/api/v1`: events, incidents, deliveries and channels to look at; a second try for what needs one."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.model import Act
from tests.house import Running, by_github, running, until

EVENT = {"id", "source", "received_at", "state", "reason", "alerts"}
INCIDENT = {
    *("id", "number", "title", "severity", "state", "source", "kind", "service", "environment", "labels"),
    *("fingerprint", "url", "opened_at", "updated_at", "acknowledged_at", "acknowledged_by", "resolved_at", "count"),
    *("unrouted", "muted_by", "body", "fields", "value", "occurred_at", "assigned_to", "worst", "previous"),
}
DELIVERY = {
    *("id", "incident", "channel", "state", "wanted", "said", "attempts", "reason", "due_at", "reached", "person"),
}
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
PUSH = {
    "ref": "refs/heads/main",
    "before": "a",
    "after": "b",
    "commits": [{"id": "b", "message": "m"}],
    "pusher": {"name": "kim"},
    "repository": {"full_name": "o/r", "name": "r"},
    "sender": {"login": "kim"},
}
ROUTES = """
sources:
  generic: {adapter: generic, token: tkn-generic-0001}
  github: {adapter: github, secret: sec-github-0001}
channels:
  terminal: {kind: screen}
  other: {kind: screen}
  gone: {kind: webhook, url: "http://127.0.0.1:1/x", give_up_after: 1ms, pace: none}
  asleep: {kind: webhook, url: "${NOT_SET}", optional: true}
routes:
  - {name: failing, match: {service: failing}, to: [gone]}
  - {name: quiet, match: {service: quiet}, to: [asleep]}
  - {name: all, match: {kind: told}, to: [terminal, other]}
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, ROUTES) as house:
        yield house


def bad(answer: httpx2.Response, path: str) -> None:
    """A 422 that names this field."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["path"] for error in answer.json()["errors"]] == [path]


def is_time(text: str) -> bool:
    moment = datetime.fromisoformat(text)
    return UTC_TIME.fullmatch(text) is not None and abs((datetime.now(UTC) - moment).total_seconds()) < 120


async def walk(house: Running, path: str, **query: Any) -> list[dict[str, Any]]:
    """Every item, page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await house.get(path, **query, **({"cursor": cursor} if cursor else {}))
        assert set(page) == {"items", "next_cursor"}
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


# --- lists --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["events", "incidents", "deliveries"])
async def test_pages_give_everything_once_even_while_more_arrives(house: Running, path: str) -> None:
    body = json.dumps([{"title": f"old {n}", "kind": "told"} for n in range(23)]).encode()
    assert (
        await house.client.post("/api/v1/alerts", content=body, headers={"x-api-key": "tkn-generic-0001"})
    ).is_success
    await house.told()
    before = [item["id"] for item in await walk(house, path, limit=200)]
    assert len(before) == len(set(before)) == (46 if path == "deliveries" else 23)
    seen: list[str] = []
    cursor: str | None = None
    for number in range(100):
        page = await house.get(path, limit=5, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= 5
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await house.alert(f"new {number}", kind="told")
        await house.told()
    assert seen == before
    assert len(await walk(house, path, limit=7)) > len(before)


async def test_incidents_of_one_moment_are_still_given_once(house: Running) -> None:
    await asyncio.gather(*(house.alert(f"a{n}") for n in range(60)))
    await house.decided()
    found = await walk(house, "incidents", limit=1)
    assert len({incident["id"] for incident in found}) == len(found) == 60
    assert [i["opened_at"] for i in found] == sorted((i["opened_at"] for i in found), reverse=True)


async def test_a_list_has_fifty_items_unless_asked_and_never_more_than_two_hundred(house: Running) -> None:
    body = json.dumps([{"title": f"a{n}"} for n in range(230)]).encode()
    await house.client.post("/api/v1/alerts", content=body, headers={"x-api-key": "tkn-generic-0001"})
    await house.decided()
    for path in ("events", "incidents"):
        assert len((await house.get(path))["items"]) == 50
        for limit, count in {"1": 1, "200": 200, "201": 200, "99999": 200, "9" * 5_000: 200, "007": 7}.items():
            assert len((await house.get(path, limit=limit))["items"]) == count


@pytest.mark.parametrize("path", ["events", "incidents", "deliveries"])
@pytest.mark.parametrize("limit", ["0", "-1", "", "x", "1.5", "²", "٣", "00", "1 ", "+1", "0x1"])
async def test_a_limit_that_is_none_is_422(house: Running, path: str, limit: str) -> None:
    bad(await house.client.get(f"/api/v1/{path}", params={"limit": limit}), "limit")


def cursor_of(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


@pytest.mark.parametrize("path", ["events", "incidents", "deliveries"])
@pytest.mark.parametrize("cursor", ["", "!", "é", "AA=", "A", "_____", "AAA\x00", "gICA"])
async def test_a_cursor_that_is_none_is_422(house: Running, path: str, cursor: str) -> None:
    bad(await house.client.get(f"/api/v1/{path}", params={"cursor": cursor}), "cursor")


@pytest.mark.parametrize(
    "key", ["x", "5", "5 ", " x", "--5 x", "² x", "5" * 30 + " x", "1.5 x", "9223372036854775808 x", "5  x", "5\nx"]
)
async def test_a_made_up_cursor_of_incidents_is_422(house: Running, key: str) -> None:
    bad(await house.client.get("/api/v1/incidents", params={"cursor": cursor_of(key)}), "cursor")


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("events", "state", "open"),
        ("events", "state", "done,open"),
        ("incidents", "state", "waiting"),
        ("deliveries", "state", "dead"),
        ("incidents", "severity", "loud"),
        ("incidents", "severity", "error,"),
        ("incidents", "since", "yesterday"),
        ("incidents", "since", "2026-01-01"),
        ("incidents", "since", "2026-01-01T00:00:00"),
        ("incidents", "q", "x" * 201),
    ],
)
async def test_a_filter_that_is_none_is_422(house: Running, path: str, name: str, value: str) -> None:
    bad(await house.client.get(f"/api/v1/{path}", params={name: value}), name)


async def test_incidents_are_found_by_every_filter(house: Running) -> None:
    await house.alert("Disk full", severity="critical", service="db-1")
    await house.alert("100% CPU", severity="warning", service="web")
    await house.alert("Gone", severity="info", service="web")
    await house.alert("Gone", severity="info", service="web", status="resolved")
    body = json.dumps(PUSH).encode()
    await house.post("github", body, by_github(body, "push"))
    await house.decided()

    async def titles(**query: str) -> set[str]:
        return {incident["title"] for incident in (await house.get("incidents", **query))["items"]}

    everything = await titles()
    assert await titles(state="open") == {"Disk full", "100% CPU"}
    assert await titles(state="open,acknowledged") == {"Disk full", "100% CPU"}
    assert await titles(state="open, resolved") == everything
    assert await titles(state="") == everything
    assert await titles(severity="critical") == {"Disk full"}
    assert await titles(severity="crit,WARN") == {"Disk full", "100% CPU"}
    assert await titles(source="generic") == {"Disk full", "100% CPU", "Gone"}
    assert await titles(source="nobody") == set()
    assert await titles(service="web") == {"100% CPU", "Gone"}
    assert await titles(service="web", state="open") == {"100% CPU"}
    assert await titles(q="disk") == {"Disk full"}
    assert await titles(q="DISK") == {"Disk full"}
    assert await titles(q="%") == {"100% CPU"}
    assert await titles(q="_") == set()
    assert await titles(q="'; DROP TABLE incidents; --") == set()
    assert await titles(q="%" * 200) == set()
    assert await titles(since="2000-01-01T00:00:00Z") == everything
    assert await titles(since="2999-01-01T00:00:00+09:00") == set()
    first = (await house.get("incidents", q="disk"))["items"][0]
    assert "Disk full" in await titles(since=first["updated_at"])


async def test_events_and_deliveries_are_found_by_state_source_and_channel(house: Running) -> None:
    await house.alert("x", kind="told")
    body = b'{"no": "shape"}'
    await house.post("github", body, by_github(body, "unheard_of"))
    await house.told()
    assert [e["source"] for e in (await house.get("events", state="unreadable"))["items"]] == ["github"]
    assert [e["source"] for e in (await house.get("events", source="generic"))["items"]] == ["generic"]
    assert len((await house.get("events", source=""))["items"]) == 3  # the gateway's own warning among them
    assert [d["channel"] for d in (await house.get("deliveries", channel="other"))["items"]] == ["other"]
    assert len((await house.get("deliveries", state="said", channel=""))["items"]) == 2
    assert (await house.get("deliveries", state="failed"))["items"] == []


# --- shapes -------------------------------------------------------------------------------------------


async def test_an_event_has_its_shape(house: Running) -> None:
    id_ = await house.alert("Disk full", severity="critical", fingerprint="disk:db-1", kind="told")
    await house.decided()
    (listed,) = await house.events()
    assert set(listed) == EVENT
    assert UUID7.fullmatch(listed["id"])
    assert listed["id"] == id_
    assert is_time(listed["received_at"])
    assert (listed["state"], listed["reason"], listed["source"]) == ("done", "", "generic")
    (said,) = listed["alerts"]
    assert set(said) == {"fingerprint", "severity", "status", "title", "incident"}
    assert said["incident"] == (await house.get("incidents"))["items"][0]["id"]
    alone = await house.get(f"events/{id_}")
    assert set(alone) == EVENT | {"headers", "body"}
    assert json.loads(alone["body"])["title"] == "Disk full"
    assert alone["headers"]["content-type"] == "application/json"
    assert "authorization" not in alone["headers"]


async def test_an_event_that_resolves_nothing_is_done_and_names_no_incident(house: Running) -> None:
    id_ = await house.alert("never opened", status="resolved")
    await house.decided()
    event = await house.get(f"events/{id_}")
    assert event["state"] == "done"
    assert [one["incident"] for one in event["alerts"]] == [None]
    assert (await house.get("incidents"))["items"] == []


async def test_what_the_adapter_drops_is_done_without_alerts(house: Running) -> None:
    body = b'{"action": "created", "starred_at": "2026-01-01T00:00:00Z", "sender": {}, "repository": {}}'
    id_ = (await house.post("github", body, by_github(body, "star"))).json()["event"]
    await house.decided()
    event = await house.get(f"events/{id_}")
    assert (event["state"], event["alerts"]) == ("done", [])


async def test_an_incident_has_its_shape_by_id_and_by_number(house: Running) -> None:
    await house.alert(
        *("Disk full",),
        severity="warning",
        service="db-1",
        environment="production",
        kind="told",
        body="b",
        url="https://x.example.com/1",
        labels={"team": "data"},
        fields={"used": "94 %"},
        value=94.5,
        fingerprint="disk:db-1",
        occurred_at="2026-11-20T10:00:00Z",
    )
    await house.told()
    await house.alert("Disk full", severity="critical", fingerprint="disk:db-1", kind="told")
    await house.told()
    (listed,) = (await house.get("incidents"))["items"]
    assert set(listed) == INCIDENT
    assert UUID7.fullmatch(listed["id"])
    assert isinstance(listed["number"], int)
    assert is_time(listed["opened_at"])
    assert is_time(listed["updated_at"])
    assert (listed["severity"], listed["worst"], listed["state"], listed["count"]) == (
        "critical",
        "critical",
        "open",
        2,
    )
    for absent in ("acknowledged_at", "acknowledged_by", "resolved_at", "muted_by", "assigned_to", "previous"):
        assert listed[absent] is None
    assert listed["unrouted"] is False
    alone = await house.get(f"incidents/{listed['id']}")
    assert alone == await house.get(f"incidents/{listed['number']}")
    assert set(alone) == INCIDENT | {"alerts", "changes", "pending", "deliveries"}
    assert [change["what"] for change in alone["changes"]] == ["opened", "worsened"]
    for change in alone["changes"]:
        assert set(change["decision"]) >= {"routes", "targets", "configuration"}
        assert [route["name"] for route in change["decision"]["routes"]] == ["failing", "quiet", "all"]
        assert is_time(change["at"])
    assert [one["severity"] for one in alone["alerts"]] == ["warning", "critical"]
    assert alone["alerts"][0]["labels"] == {"team": "data"}
    assert alone["alerts"][0]["occurred_at"] == "2026-11-20T10:00:00.000Z"
    assert {delivery["channel"] for delivery in alone["deliveries"]} == {"terminal", "other"}
    for delivery in alone["deliveries"]:
        assert set(delivery) >= DELIVERY | {"attempts"}
        assert all(
            set(attempt) >= {"at", "revision", "receipt", "reason"} and attempt["receipt"] == "sent"
            for attempt in delivery["attempts"]
        )


async def test_a_delivery_has_its_shape(house: Running) -> None:
    await house.alert("x", kind="told")
    await house.told()
    for delivery in (await house.get("deliveries"))["items"]:
        assert set(delivery) >= DELIVERY
        assert UUID7.fullmatch(delivery["id"])
        assert (delivery["state"], delivery["wanted"], delivery["said"], delivery["attempts"]) == ("said", 1, 1, 1)
        assert (delivery["reached"], delivery["person"], delivery["due_at"]) == ("unknown", None, None)


async def test_channels_say_whether_they_sleep_and_for_what(house: Running) -> None:
    shown = {channel["name"]: channel for channel in (await house.get("channels"))["items"]}
    assert list(shown) == ["asleep", "gone", "other", "terminal"]
    assert shown["asleep"]["state"] == "asleep"
    assert shown["asleep"]["waits_for"] == ["NOT_SET"]
    assert shown["terminal"]["kind"] == "screen"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "events/nothing"),
        ("GET", "incidents/nothing"),
        ("GET", "incidents/99999"),
        ("GET", "incidents/" + "9" * 60),
        ("GET", "incidents/²"),
        ("GET", "incidents/-1"),
        ("GET", "events/%00"),
        ("POST", "events/nothing/replay"),
        ("POST", "deliveries/nothing/redeliver"),
        ("POST", "channels/nothing/test"),
    ],
)
async def test_what_is_not_there_is_404(house: Running, method: str, path: str) -> None:
    answer = await house.client.request(method, f"/api/v1/{path}")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:tocsin:problem:no_such_thing"


# --- a second try -------------------------------------------------------------------------------------


async def test_replaying_what_is_done_is_409_unless_forced(house: Running) -> None:
    id_ = await house.alert("x", kind="told")
    await house.told()
    for body in (b"", b"{}", b'{"force": false}', b'{"force": "true"}', b'{"force": 1}', b'{"force": null}'):
        answer = await house.client.post(f"/api/v1/events/{id_}/replay", content=body)
        assert answer.status_code == 409
        assert "force" in answer.json()["detail"]
    answer = await house.client.post(f"/api/v1/events/{id_}/replay", content=b'{"force": true}')
    assert answer.status_code == 202
    assert answer.json()["id"] == id_
    await house.decided()
    event = await house.get(f"events/{id_}")
    assert (event["state"], len(event["alerts"])) == ("done", 1)
    (incident,) = (await house.get("incidents"))["items"]
    assert incident["count"] == 2


async def test_what_was_unreadable_is_read_after_a_fix(house: Running) -> None:
    """As after an upgrade: the event was stored by an adapter that this version did not have, and now has."""
    pipeline = house.service.pipeline
    adapters = pipeline.adapters
    pipeline.adapters = {name: adapter for name, adapter in adapters.items() if name != "github"}
    body = json.dumps(PUSH).encode()
    id_ = (await house.post("github", body, by_github(body, "push"))).json()["event"]
    await house.decided()
    event = await house.get(f"events/{id_}")
    assert (event["state"], event["alerts"]) == ("unreadable", [])
    assert "adapter" in event["reason"]
    warned = await house.get("incidents", source="gateway", state="open")
    assert len(warned["items"]) == 1
    pipeline.adapters = adapters
    assert (await house.client.post(f"/api/v1/events/{id_}/replay")).status_code == 202
    await house.decided()
    event = await house.get(f"events/{id_}")
    assert (event["state"], event["reason"]) == ("done", "")
    assert [one["title"] for one in event["alerts"]] == ["kim pushed 1 commit to main: o/r"]

    async def calm() -> bool:
        return not (await house.get("incidents", source="gateway", state="open"))["items"]

    await until(calm)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b"NaN", 400),
        (b"\xff", 400),
        (b"[]", 422),
        (b'"force"', 422),
        (b'{"forse": true}', 422),
        (b" " * 1_100_000, 413),
        (b'{"force": true, "\\ud800": 1}', 422),
    ],
)
async def test_an_administrators_body_is_read_with_the_same_care(house: Running, body: bytes, status: int) -> None:
    id_ = await house.alert("x")
    await house.decided()
    answer = await house.client.post(f"/api/v1/events/{id_}/replay", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_dead_letter_is_sent_again_on_demand(house: Running) -> None:
    await house.alert("x", service="failing")
    await house.told()
    (dead,) = (await house.get("deliveries", state="failed"))["items"]
    assert dead["channel"] == "gone"
    assert dead["reason"]
    answer = await house.client.post(f"/api/v1/deliveries/{dead['id']}/redeliver")
    assert answer.status_code == 202
    assert (answer.json()["id"], answer.json()["state"]) == (dead["id"], "waiting")
    assert is_time(answer.json()["due_at"])

    async def tried() -> bool:
        (again,) = (await house.get("deliveries", channel="gone"))["items"]
        return again["state"] == "failed" and again["attempts"] > dead["attempts"]

    await until(tried)


async def test_a_delivery_of_a_channel_that_is_gone_cannot_be_sent_again(house: Running) -> None:
    await house.alert("x", service="failing")
    await house.told()
    (dead,) = (await house.get("deliveries", state="failed"))["items"]
    changed = ROUTES.replace("  gone:", "  new:").replace("to: [gone]", "to: [new]")
    house.routing.write_text(changed)

    async def taken() -> bool:
        return any(channel["name"] == "new" for channel in (await house.get("channels"))["items"])

    await until(taken)
    answer = await house.client.post(f"/api/v1/deliveries/{dead['id']}/redeliver")
    assert answer.status_code == 409
    assert (await house.get("deliveries", channel="gone"))["items"][0]["state"] == "failed"


async def test_a_channel_is_tried_with_a_real_message(house: Running, capsys: pytest.CaptureFixture[str]) -> None:
    answer = await house.client.post("/api/v1/channels/terminal/test")
    assert answer.status_code == 200
    assert (answer.json()["channel"], answer.json()["receipt"]) == ("terminal", "sent")
    assert "terminal" in capsys.readouterr().out
    assert (await house.get("incidents"))["items"] == []
    failed = await house.client.post("/api/v1/channels/gone/test")
    assert failed.json()["receipt"] == "retry"
    assert failed.json()["reason"]
    asleep = await house.client.post("/api/v1/channels/asleep/test")
    assert asleep.status_code == 409
    assert "NOT_SET" in asleep.json()["detail"]


# --- explain ------------------------------------------------------------------------------------------


async def explained(house: Running, asked: Any) -> httpx2.Response:
    return await house.client.post("/api/v1/explain", json=asked)


async def test_explain_says_who_would_hear_and_sends_nothing(house: Running) -> None:
    answer = (await explained(house, {"alert": {"title": "x", "kind": "told"}})).json()
    assert [(route["name"], route["matched"]) for route in answer["routes"]] == [
        ("failing", False),
        ("quiet", False),
        ("all", True),
    ]
    assert answer["routes"][0]["missed"] == {"key": "service", "wanted": "failing", "was": ""}
    assert [target["channel"] for target in answer["targets"]] == ["terminal", "other"]
    assert all("x" in target["text"] for target in answer["targets"])
    assert answer["configuration"] == house.service.house.configuration.hash
    assert await house.events() == []


async def test_explain_reads_a_source_s_body_at_another_hour(house: Running) -> None:
    asked = {"source": "github", "headers": {"X-GitHub-Event": "push"}, "body": json.dumps(PUSH)}
    answer = await explained(house, {**asked, "at": "2026-01-05T03:00:00+09:00"})
    assert answer.status_code == 200
    assert answer.json()["alerts"]
    assert (await explained(house, {**asked, "body": PUSH})).json()["alerts"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 422),
        ({"alert": {"title": "x"}, "body": "{}"}, 422),
        ({"alert": {"title": "x"}, "at": "noon"}, 422),
        ({"alert": {"title": "x"}, "at": 7}, 422),
        ({"alert": {"title": "x"}, "more": 1}, 422),
        ({"body": "{}", "source": "github", "headers": []}, 422),
        ({"body": "{}", "source": "github", "headers": {"X-GitHub-Event": "unheard_of"}}, 422),
        ({"body": "{", "source": "github"}, 400),
        ({"body": "\ud800", "source": "github"}, 400),
        ({"body": "{}", "source": "github", "headers": {"content-type": "image/png"}}, 415),
        ({"body": "{}", "source": "nobody"}, 404),
        ({"body": "{}", "source": ["github"]}, 404),
        ({"alert": []}, 422),
        ([], 422),
    ],
)
async def test_explain_refuses_what_it_cannot_read(house: Running, asked: Any, status: int) -> None:
    answer = await house.client.post("/api/v1/explain", content=json.dumps(asked).encode())
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_what_a_group_will_say_again_is_pending_for_who_awaits_somebody(tmp_path: Path) -> None:
    grouped = ROUTES.replace(
        "{name: all, match: {kind: told}, to: [terminal, other]}",
        "{name: all, match: {kind: told}, to: [terminal], group_by: [service], repeat_every: 4h}",
    )
    async with running(tmp_path, grouped) as house:
        await house.alert("a", kind="told", service="db")
        await house.decided()

        async def pending() -> list[tuple[str, str]]:
            (incident,) = (await house.get("incidents"))["items"]
            found = (await house.get(f"incidents/{incident['id']}"))["pending"]
            return [(timer["kind"], timer["name"]) for timer in found]

        async def armed() -> bool:
            return await pending() == [("repeat", "terminal")]

        await until(armed)
        (incident,) = (await house.get("incidents"))["items"]
        await house.service.pipeline.act(incident["id"], Act("acknowledge", "kim"))
        assert await pending() == []
