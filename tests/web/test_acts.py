"""`POST /api/v1/incidents/{id}/…`: what people do to an incident."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.house import Running, running
from tests.web.test_oncall import ordered, wrong


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Running]:
    """With one open incident, #1."""
    async with running(tmp_path) as house:
        await house.alert("Disk full", fingerprint="disk")
        await house.decided()
        yield house


async def do(house: Running, verb: str, name: str = "1", **body: Any) -> httpx2.Response:
    return await house.client.post(f"/api/v1/incidents/{name}/{verb}", json=body)


async def test_an_incident_is_acknowledged_once(house: Running) -> None:
    answer = await do(house, "acknowledge", by="kim", note="on it")
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["number"], shown["state"], shown["acknowledged_by"]) == (1, "acknowledged", "kim")
    assert (await do(house, "acknowledge", name=shown["id"], by="kim")).status_code == 200, "it is so already"
    late = await do(house, "acknowledge", by="lee")
    assert late.status_code == 409
    assert "acknowledged by kim first" in late.json()["detail"]
    story = await house.get("incidents/1")
    (change,) = (change for change in story["changes"] if change["what"] == "acknowledged")
    assert (change["by"], change["note"]) == ("kim", "on it")


async def test_it_is_resolved_and_reopened(house: Running) -> None:
    assert (await do(house, "resolve")).json()["state"] == "resolved"
    assert (await do(house, "resolve", by="lee")).status_code == 200
    over = await do(house, "acknowledge", by="kim")
    assert (over.status_code, "resolved already" in over.json()["detail"]) == (409, True)
    assert (await do(house, "reopen", by="kim")).json()["state"] == "open"


async def test_without_a_name_it_was_the_api(house: Running) -> None:
    answer = await house.client.post("/api/v1/incidents/1/acknowledge")
    assert answer.json()["acknowledged_by"] == "api"


async def test_a_note_and_an_assignment(house: Running) -> None:
    assert (await do(house, "note", note="seen this before", by="kim")).status_code == 200
    assert (await do(house, "assign", person="choi", by="kim")).json()["assigned_to"] == "choi"
    notes = [(change["what"], change["note"]) for change in (await house.get("incidents/1"))["changes"]]
    assert ("noted", "seen this before") in notes


@pytest.mark.parametrize(
    ("verb", "body", "path", "sentence"),
    [
        ("assign", {}, "person", "is needed"),
        ("assign", {"person": "nobody"}, "person", "is nobody of routing.yaml"),
        ("acknowledge", {"by": "x" * 101}, "by", "at most 100 characters"),
        ("acknowledge", {"note": "x" * 2_001}, "note", "at most 2,000 characters"),
        ("acknowledge", {"by": ["kim"]}, "by", "must be text"),
        ("acknowledge", {"person": "kim"}, "person", "is unknown"),
    ],
)
async def test_a_wrong_act_is_named(house: Running, verb: str, body: dict[str, Any], path: str, sentence: str) -> None:
    ordered(house, {})
    problems = wrong(await do(house, verb, **body))
    assert set(problems) == {path}
    assert sentence in problems[path]


async def test_what_is_not_there_is_said_so(house: Running) -> None:
    assert (await do(house, "acknowledge", name="99")).status_code == 404
    assert (await do(house, "silence")).status_code == 404
    assert (await house.client.get("/api/v1/incidents/1/acknowledge")).status_code == 405


async def test_only_an_administrator_may_act(house: Running) -> None:
    answer = await house.client_at("203.0.113.9").post("/api/v1/incidents/1/acknowledge")
    assert answer.status_code == 401
    assert (await house.get("incidents/1"))["state"] == "open"
