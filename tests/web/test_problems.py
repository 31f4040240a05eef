"""Refusals: one shape, one line in the log, one count; and under a flood few lines stand for all."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from starlette.exceptions import HTTPException
from structlog.testing import capture_logs

from gateway.errors import BadField, Conflict, NotFound, NotJson, StoreUnavailable, TocsinError, WrongType
from gateway.telemetry import REGISTRY
from gateway.web.app import Face
from gateway.web.problems import Refusals, Refused, as_refused, problem
from tests.house import HERE, ROUTING, Running, by_token, running
from tests.web.answered import answered


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as house:
        yield house


STRICT = """
sources:
  walled: {adapter: generic, token: tkn-walled, allow_from: [192.0.2.0/24]}
  limited: {adapter: generic, token: tkn-limited, limit: 1/h}
  zipped: {adapter: generic, token: tkn-zipped, gzip: true}
channels:
  terminal: {kind: screen}
routes:
  - {name: all, match: {}, to: [terminal]}
"""


def counted(reason: str) -> float:
    return REGISTRY.get_sample_value("tocsin_requests_refused_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize("path", ["/webhooks/generic", "/api/v1/alerts"])
async def test_a_fault_of_ours_is_a_problem_too_and_the_server_learns_of_it(tmp_path: Path, path: str) -> None:
    # This pipeline only writes down: to receive something is beyond it.
    town = answered(tmp_path, ROUTING, {})
    before = counted("fault")
    with pytest.raises(AttributeError):
        await town.client.post(path, json={"title": "x"}, headers=by_token())
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=Face(town.house), raise_app_exceptions=False), base_url=HERE
    ) as client:
        answer = await client.post(path, json={"title": "x"}, headers=by_token())
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:tocsin:problem:fault"
    assert counted("fault") == before + 2


def test_a_problem_has_the_shape_of_rfc_9457() -> None:
    wrong = [BadField("labels.team", "must be text"), BadField("é", "is unknown")]
    answer = problem(Refused(422, "labels.team: must be text", "bad_field", headers={"x-a": "b"}, errors=wrong))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-a"] == "b"
    assert json.loads(bytes(answer.body)) == {
        "type": "urn:tocsin:problem:bad_field",
        "title": "Unprocessable Entity" if "Entity" in bytes(answer.body).decode() else "Unprocessable Content",
        "status": 422,
        "detail": "labels.team: must be text",
        "errors": [{"path": "labels.team", "message": "must be text"}, {"path": "é", "message": "is unknown"}],
    }


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Refused(401, "no"), 401, "unauthorized"),
        (StoreUnavailable("later", 7), 503, "store"),
        (NotFound("none"), 404, "no_such_thing"),
        (Conflict("not now"), 409, "conflict"),
        (NotJson("no"), 400, "not_json"),
        (WrongType("no"), 415, "wrong_type"),
        (BadField("a", "b"), 422, "bad_field"),
        (HTTPException(404), 404, "not_found"),
        (HTTPException(405, headers={"allow": "GET"}), 405, "method_not_allowed"),
        (TocsinError("unforeseen"), 500, "fault"),
        (KeyError("unforeseen"), 500, "fault"),
    ],
)
def test_every_refusal_has_its_status_and_its_reason(error: Exception, status: int, reason: str) -> None:
    with capture_logs() as lines:
        refused = as_refused(error)
    assert (refused.status, refused.reason) == (status, reason)
    assert [line["event"] for line in lines] == (["request failed"] if status == 500 else [])
    assert "unforeseen" not in refused.detail
    if status == 503:
        assert refused.headers["retry-after"] == "7"
    if status == 405:
        assert refused.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/api/v1/nothing", 404, None),
        ("POST", "/webhooks", 404, None),
        ("GET", "/healthz/", 404, None),
        ("POST", "/api/v1/events/", 404, None),
        ("POST", "/healthz", 405, "GET"),
        ("DELETE", "/api/v1/events", 405, "GET"),
        ("GET", "/api/v1/alerts", 405, "POST"),
        ("PUT", "/api/v1/explain", 405, "POST"),
        ("GET", "/webhooks/generic", 405, "POST"),
    ],
)
async def test_404_and_405_are_problems_as_well(
    house: Running, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = await house.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    if allow is not None:
        assert allow in answer.headers["allow"].split(", ")


async def test_every_refusal_is_one_line_with_its_reason_and_one_count(house: Running) -> None:
    await asyncio.sleep(1.1)  # the lines of this second may be spent
    for reason, status, call in (
        ("bad_credential", 401, house.post("generic", {"title": "x"}, by_token("wrong"))),
        ("unknown_source", 404, house.post("nobody-canary", {"title": "x"})),
        ("wrong_method", 405, house.client.get("/webhooks/generic")),
        ("not_json", 400, house.post("generic", b"{")),
        ("wrong_type", 415, house.post("generic", b"{}", by_token(**{"content-type": "a/b"}))),
        ("too_large", 413, house.post("generic", b" " * 1_100_000)),
        ("not_found", 404, house.client.get("/nothing-canary")),
        ("no_admin", 401, house.client.get("/api/v1/events", headers={"via": "x"})),
        ("bad_field", 422, house.client.get("/api/v1/events?limit=0")),
    ):
        before = counted(reason)
        with capture_logs() as lines:
            assert (await call).status_code == status
        (line,) = [line for line in lines if line["event"] == "request refused"]
        assert line["log_level"] == "warning"
        assert (line["reason"], line["status"], line["client"]) == (reason, status, "127.0.0.1")
        assert line["source"] in ("", "generic")
        assert counted(reason) == before + 1


async def test_what_has_a_good_credential_and_is_refused_is_one_line_and_one_count_too(tmp_path: Path) -> None:
    async with running(tmp_path, STRICT) as house:
        packed = by_token("tkn-zipped", **{"content-encoding": "gzip"})
        limited = by_token("tkn-limited")
        assert (await house.post("limited", {"title": "x"}, limited)).status_code == 202
        await house.told()
        await asyncio.sleep(1.1)  # the lines of this second may be spent
        for reason, status, source, path, body, headers in (
            ("address_not_allowed", 403, "walled", "/webhooks/walled", b"{}", by_token("tkn-walled")),
            ("over_limit", 429, "limited", "/webhooks/limited", b"{}", limited),
            ("not_gzip", 400, "zipped", "/webhooks/zipped", b"{}", packed),
            ("over_limit", 429, "", "/api/v1/alerts", b'{"title": "x"}', limited),
            ("bad_field", 422, "", "/api/v1/alerts", b'{"severity": "x"}', by_token("tkn-zipped")),
            ("bad_credential", 401, "", "/api/v1/alerts", b"{}", by_token("wrong")),
        ):
            before = counted(reason)
            with capture_logs() as lines:
                assert (await house.client.post(path, content=body, headers=headers)).status_code == status
            (line,) = [line for line in lines if line["log_level"] != "debug"]
            assert (line["event"], line["reason"], line["source"]) == ("request refused", reason, source)
            assert counted(reason) == before + 1
        async with house.nobody_writes():
            before = counted("store")
            with capture_logs() as lines:
                assert (await house.post("zipped", b"{}", by_token("tkn-zipped"))).status_code == 503
        assert [line["reason"] for line in lines if line["event"] == "request refused"] == ["store"]
        assert counted("store") == before + 1
        assert len(await house.events()) == 1


def test_under_a_flood_ten_lines_a_second_are_written_and_the_rest_counted() -> None:
    refusals, before = Refusals(), counted("flooding")
    with capture_logs() as lines:
        while time.monotonic() % 1 > 0.3:  # begin early in a second of that clock
            time.sleep(0.01)
        for _ in range(1_000):
            refusals.note(Refused(401, "no", "flooding"), "generic", "203.0.113.9")
        time.sleep(1.0)
        refusals.note(Refused(401, "no", "flooding"), "generic", "203.0.113.9")
    assert counted("flooding") == before + 1_001
    assert [line["event"] for line in lines] == ["request refused"] * 10 + ["refusals not written", "request refused"]
    assert lines[10]["count"] == 990
