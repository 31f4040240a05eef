"""`POST /api/v1/alerts`: to the letter, all or nothing, one id for each alert in order."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.house import GENERIC, Running, by_token, counted, running

PATH = "/api/v1/alerts"
KEY = b"a key of twenty-four byt"
WHSEC = "whsec_" + base64.b64encode(KEY).decode()
MANY = f"""
sources:
  first: {{adapter: generic, token: tkn-first, max_body: 256KiB}}
  second: {{adapter: generic, token: [tkn-second, tkn-second-new], labels: {{team: data}}}}
  signed: {{adapter: generic, secret: {WHSEC}, token: tkn-signed}}
  github: {{adapter: github, secret: s, token: tkn-github}}
  walled: {{adapter: generic, token: tkn-walled, allow_from: [10.0.0.0/8]}}
  limited: {{adapter: generic, token: tkn-limited, limit: 1/h}}
  zipped: {{adapter: generic, token: tkn-zipped, gzip: true}}
  open: {{adapter: generic, unauthenticated: true}}
channels:
  terminal: {{kind: screen}}
routes:
  - {{name: all, match: {{}}, to: [terminal]}}
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as house:
        yield house


@pytest.fixture
async def many(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, MANY) as house:
        yield house


async def post(house: Running, document: Any, headers: dict[str, str] | None = None) -> httpx2.Response:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return await house.client.post(PATH, content=body, headers=GENERIC if headers is None else headers)


def errors(answer: httpx2.Response) -> dict[str, str]:
    """The messages of a 422, by path."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return {error["path"]: error["message"] for error in answer.json()["errors"]}


def signed(body: bytes, sender_id: str, at: float | None = None, key: bytes = KEY) -> dict[str, str]:
    moment = str(int(time.time() if at is None else at))
    digest = hmac.new(key, f"{sender_id}.{moment}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": sender_id,
        "webhook-timestamp": moment,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


async def test_one_alert_is_one_event(house: Running) -> None:
    answer = await post(house, {"title": "Disk 94% full", "severity": "critical", "labels": {"team": "data"}})
    assert answer.status_code == 202
    assert list(answer.json()) == ["events"]
    (event,) = answer.json()["events"]
    await house.decided()
    shown = await house.get(f"events/{event}")
    assert shown["source"] == "generic"
    assert [(one["title"], one["severity"]) for one in shown["alerts"]] == [("Disk 94% full", "critical")]


async def test_a_list_gives_one_id_for_each_alert_in_order(house: Running) -> None:
    answer = await post(house, [{"title": f"alert {n}"} for n in range(1_000)])
    assert answer.status_code == 202
    ids = answer.json()["events"]
    assert len(set(ids)) == 1_000
    assert ids == sorted(ids)
    await house.decided()
    titles = {event["id"]: event["alerts"][0]["title"] for event in await house.events()}
    assert [titles[id_] for id_ in ids] == [f"alert {n}" for n in range(1_000)]


@pytest.mark.parametrize("count", [0, 1_001, 5_000])
async def test_a_list_of_none_or_of_more_than_a_thousand_is_422_and_not_cut(house: Running, count: int) -> None:
    assert "alerts" in errors(await post(house, [{"title": f"a{n}"} for n in range(count)]))
    assert await house.events() == []


async def test_a_list_is_stored_whole_or_not_at_all_and_every_fault_is_named(house: Running) -> None:
    document = [
        {"title": "good"},
        {"title": ""},
        {"title": "x", "severity": "loud", "status": "maybe", "labels": {"a": {}}, "colour": "red"},
        "words",
        {"title": "x", "value": "many", "url": "ftp://x", "occurred_at": "yesterday"},
        {},
    ]
    named = errors(await post(house, document))
    assert set(named) >= {
        *("1.title", "2.severity", "2.status", "2.labels.a", "2.colour", "3.alert"),
        *("4.value", "4.url", "4.occurred_at", "5.title"),
    }
    assert not any(path.startswith("0.") for path in named)
    for level in ("info", "warning", "error", "critical", "emergency"):
        assert level in named["2.severity"]
    assert await house.events() == []


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "title"),
        ({"title": None}, "title"),
        ({"title": 7}, "title"),
        ({"title": "x", "severity": "loud"}, "severity"),
        ({"title": "x", "severity": 5}, "severity"),
        ({"title": "x", "status": "acknowledged"}, "status"),
        ({"title": "x", "labels": []}, "labels"),
        ({"title": "x", "labels": {f"l{n}": "v" for n in range(40_000)}}, "labels"),
        ({"title": "x", "labels": {"k" * 200: "v"}}, "labels." + "k" * 128),
        ({"title": "x", "labels": {"team": ["a"]}}, "labels.team"),
        ({"title": "x", "value": "NaN"}, "value"),
        ({"title": "x", "value": True}, "value"),
        ({"title": "x", "url": "javascript:alert(1)"}, "url"),
        ({"title": "x", "occurred_at": "2026-11-20"}, "occurred_at"),
        ({"title": "x", "titel": "y"}, "titel"),
        ("words", "alert"),
        (7, "alert"),
        (None, "alert"),
        (True, "alert"),
        ([[{"title": "x"}]], "0.alert"),
    ],
)
async def test_a_bad_field_is_named_by_its_path(house: Running, document: Any, path: str) -> None:
    assert path in errors(await post(house, document))
    assert await house.events() == []


async def test_hundreds_of_faults_are_named_up_to_a_hundred(house: Running) -> None:
    assert len(errors(await post(house, [{"severity": "x"}] * 400))) == 100


async def test_the_older_shapes_are_alerts_too(house: Running) -> None:
    older = [
        {
            "target_url": "https://x.example.com",
            "status_code": 500,
            "is_success": False,
            "timestamp": "2026-01-01T00:00:00Z",
        },
        {"name": "cpu", "metric": "cpu", "operator": ">", "threshold": 90, "value": 97, "severity": "high"},
    ]
    answer = await post(house, older)
    assert answer.status_code == 202, answer.text
    await house.decided()
    assert {event["state"] for event in await house.events()} == {"done"}


# --- whose alert it is --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "source"),
    [
        (by_token("tkn-first"), "first"),
        (by_token("tkn-second"), "second"),
        (by_token("tkn-second-new"), "second"),
        ({"x-api-key": "tkn-signed"}, "signed"),
        ({}, "open"),
        (by_token("nobody's"), "open"),
        (by_token("tkn-github"), "open"),  # not a generic source
    ],
)
async def test_it_belongs_to_the_source_whose_credential_fits(
    many: Running, headers: dict[str, str], source: str
) -> None:
    event = (await post(many, {"title": "x"}, headers)).json()["events"][0]
    assert (await many.get(f"events/{event}"))["source"] == source


async def test_it_is_counted_which_credential_was_shown(many: Running) -> None:
    shown = {("second", "token.1"): by_token("tkn-second-new"), ("open", "none"): {}}
    for (source, place), headers in shown.items():
        before = counted("tocsin_credentials_used_total", source=source, place=place)
        await post(many, {"title": "x"}, headers)
        assert counted("tocsin_credentials_used_total", source=source, place=place) == before + 1


async def test_a_standard_webhooks_signature_is_a_credential_and_its_id_a_key(many: Running) -> None:
    body = b'{"title": "x"}'
    first = await post(many, body, signed(body, "msg_1"))
    again = await post(many, body, signed(body, "msg_1"))
    at_the_door = await many.post("signed", body, signed(body, "msg_1"))
    assert (await many.get(f"events/{first.json()['events'][0]}"))["source"] == "signed"
    assert again.json() == first.json()
    assert at_the_door.json() == {"event": first.json()["events"][0], "duplicate": True}
    assert (await post(many, body, signed(body, "msg_2"))).json() != first.json()


async def test_a_bad_or_old_signature_is_no_credential_whatever_else_is_shown(house: Running, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    routing = MANY.replace("  open: {adapter: generic, unauthenticated: true}\n", "")
    async with running(tmp_path / "two", routing) as strict:
        body = b'{"title": "x"}'
        for headers in (
            signed(body, "m", key=b"another key"),
            signed(body, "m", at=time.time() - 400),
            signed(body, "m", at=time.time() + 400),
            {**signed(b"other", "m"), "authorization": "Bearer tkn-signed"},
            by_token("tkn-github"),
            {},
        ):
            assert (await post(strict, body, headers)).status_code == 401
        assert await strict.events() == []


async def test_without_a_generic_source_nobody_may(tmp_path: Path) -> None:
    async with running(tmp_path, "sources:\n  github: {adapter: github, secret: s}\n") as house:
        assert (await post(house, {"title": "x"})).status_code == 401


async def test_the_labels_of_the_source_are_on_the_incident(many: Running) -> None:
    await post(many, {"title": "x", "labels": {"team": "web", "zone": "a"}}, by_token("tkn-second"))
    await many.decided()
    (incident,) = (await many.get("incidents"))["items"]
    assert incident["labels"] == {"team": "data", "zone": "a"}


# --- refusals, in order -------------------------------------------------------------------------------


async def test_each_refusal_has_its_place(many: Running) -> None:
    big = b'{"title": "' + b"x" * 300_000 + b'"}'
    assert (await post(many, b" " * 1_100_000, by_token("wrong"))).status_code == 413
    assert (await post(many, big, by_token("tkn-first"))).status_code == 413
    assert (await post(many, {"title": "x"}, by_token("tkn-walled"))).status_code == 403
    image = {"content-type": "image/png", "content-encoding": "gzip"}
    assert (await post(many, b"{", {**by_token("tkn-zipped"), **image})).status_code == 415
    assert (await post(many, b"{", by_token("tkn-first", **{"content-encoding": "gzip"}))).status_code == 415
    assert (await post(many, b"{", by_token("tkn-zipped", **{"content-encoding": "gzip"}))).status_code == 400
    packed = gzip.compress(b'{"title": "zipped"}')
    assert (await post(many, packed, by_token("tkn-zipped", **{"content-encoding": "gzip"}))).status_code == 202
    assert (await post(many, b"{", by_token("tkn-limited"))).status_code == 400
    assert (await post(many, {"title": "x"}, by_token("tkn-limited"))).status_code == 202
    late = await post(many, {"no": "title"}, by_token("tkn-limited"))
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) > 60


async def test_what_cannot_be_stored_is_503_and_nothing_of_it_is_kept(house: Running) -> None:
    keyed = {**GENERIC, "idempotency-key": "list-1"}
    async with house.nobody_writes():
        answer = await post(house, [{"title": "a"}, {"title": "b"}], keyed)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert await house.events() == []
    again = await post(house, [{"title": "a"}, {"title": "b"}], keyed)
    assert again.status_code == 202
    assert {event["id"] for event in await house.events()} == set(again.json()["events"])


# --- the same key -------------------------------------------------------------------------------------


async def test_the_same_key_on_one_alert_is_one_event_at_either_door(house: Running) -> None:
    keyed = {**GENERIC, "idempotency-key": "k-1"}
    first = (await post(house, {"title": "x"}, keyed)).json()
    assert (await post(house, {"title": "x"}, keyed)).json() == first
    assert (await house.post("generic", {"title": "x"}, keyed)).json() == {
        "event": first["events"][0],
        "duplicate": True,
    }
    assert len(await house.events()) == 1


async def test_the_same_key_on_a_list_gives_the_same_ids(house: Running) -> None:
    keyed = {**GENERIC, "idempotency-key": "k-1"}
    document = [{"title": "a"}, {"title": "b"}, {"title": "a"}]
    first = (await post(house, document, keyed)).json()["events"]
    assert len(set(first)) == 3
    assert (await post(house, document, keyed)).json()["events"] == first
    longer = (await post(house, [*document, {"title": "c"}], keyed)).json()["events"]
    assert longer[:3] == first
    assert len(await house.events()) == 4


async def test_without_a_key_equal_alerts_are_counted_and_not_dropped(house: Running) -> None:
    await post(house, [{"title": "a"}, {"title": "a"}])
    await post(house, {"title": "a"})
    await house.decided()
    (incident,) = (await house.get("incidents"))["items"]
    assert incident["count"] == 3
