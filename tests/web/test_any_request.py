"""Whatever is asked at whatever address, by an administrator or by nobody: an answer in our own form, and none of them
a fault of ours.

TOCSIN_TEST_EXAMPLES says how many requests each address gets; `make chaos` asks for 50.
"""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.rules.links import Link, sign
from gateway.web.app import Face
from tests import postgres
from tests.fakes import twilio
from tests.house import SOURCES, Running, by_token, running
from tests.web.chance import ADMIN, NUMBER, OPERATIONS, PUBLIC, SLACK_SECRET, TELEGRAM_SECRET, Asked, Known, requests

# The house remembers what it was asked before: an example that fails cannot be made smaller by itself.
PHASES = (Phase.explicit, Phase.generate)
EXAMPLES = int(os.environ.get("TOCSIN_TEST_EXAMPLES", "15"))
NOWHERE = "http://127.0.0.1:9/"
ROUTING = f"""
public_url: {PUBLIC}
sources:
{SOURCES}
  open: {{adapter: generic, unauthenticated: true, gzip: true}}
calendars:
  office: {{time_zone: Asia/Seoul, weekly: [{{days: mon-fri, from: "09:00", to: "18:00"}}]}}
people:
  choi: {{channels: [terminal]}}
  kim: {{channels: [terminal]}}
rotations:
  primary: {{members: [kim, choi], time_zone: Asia/Seoul, start: 2026-01-05}}
  by-day: {{time_zone: Europe/Berlin, layers: [{{members: [choi]}}, {{members: [kim], during: office}}]}}
escalations:
  ladder: {{steps: [{{to: primary}}, {{after: 5m, to: terminal}}]}}
channels:
  terminal: {{kind: screen}}
  hook: {{kind: webhook, url: "{NOWHERE}"}}
  slack: {{kind: slack, bot_token: xoxb-1, channel: C0OPS, signing_secret: {SLACK_SECRET}, api_url: "{NOWHERE}"}}
  telegram:
    {{kind: telegram, bot_token: "123:ab", chat_id: "-1001234", secret_token: {TELEGRAM_SECRET}, api_url: "{NOWHERE}"}}
  twilio:
    kind: twilio
    account_sid: AC1
    auth_token: {twilio.AUTH_TOKEN}
    from: "+15005550006"
    to: "{NUMBER}"
    api_url: "{NOWHERE}"
  asleep: {{kind: webhook, optional: true, url: "${{UNSET}}"}}
mutes:
  - {{name: nights, match: {{severity: info}}, during: office}}
routes:
  - {{name: pages, match: {{severity: ">=error"}}, to: [ladder, hook]}}
  - {{name: all, to: [terminal]}}
"""
ROUTES = {route.path: route for route in Face(None).rest.routes}  # type: ignore[arg-type]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class House:
    running: Running
    known: Known

    async def ask(self, asked: Asked) -> Answer:
        """As our server hands a request over. What the application raises is raised."""
        pieces = [
            {"type": "http.request", "body": piece, "more_body": asked.hangs_up or number < len(asked.pieces)}
            for number, piece in enumerate(asked.pieces, 1)
        ]
        said: list[Any] = []

        async def receive() -> Any:
            return pieces.pop(0) if pieces else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            said.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
            "method": asked.method, "path": urllib.parse.unquote(asked.path), "raw_path": asked.path.encode(),
            "query_string": asked.query.encode(), "headers": list(asked.headers), "state": {},
            "client": ("203.0.113.7", 50_000), "server": ("127.0.0.1", 8080),
        }  # fmt: skip
        await self.running.app(scope, receive, send)
        start, *rest = said
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, b"".join(piece.get("body", b"") for piece in rest))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    server: postgres.Server | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
    url = server.fresh() if server is not None else ""
    environ = {"TOCSIN_ADMIN_TOKEN": ADMIN}
    async with running(tmp_path_factory.mktemp("house"), ROUTING, environ, url=url) as house:
        house.client.headers.update(by_token(ADMIN))
        yield House(house, await furnished(house))
        await sound(house)
    if server is not None:
        server.drop(url)


async def furnished(house: Running) -> Known:
    """Something of everything; what it is called."""
    await house.alert("Disk full", severity="critical", service="db")
    await house.alert("Slow", severity="info")
    await house.post("generic", {"nothing": "of ours"})
    await house.decided()
    made: dict[str, list[str]] = {}
    for kind, body in (
        ("silence", {"match": {"service": "none"}, "for": "2h"}),
        ("override", {"rotation": "primary", "member": "choi", "from": "18:00", "to": "monday 09:00"}),
    ):
        answers = [await house.client.post(f"/api/v1/{kind}s", json=body) for _ in range(5)]
        made[kind] = [answer.json()["id"] for answer in answers]
    incidents = (await house.get("incidents"))["items"]
    deliveries = (await house.get("deliveries"))["items"]
    links = [
        Link(incidents[0]["id"], "acknowledge", "terminal", deliveries[0]["id"], house.clock() + 3_600_000),
        Link(incidents[-1]["id"], "silence", "terminal", "nobody's", house.clock() + 3_600_000),
        Link("none", "resolve", "none", "none", house.clock() + 3_600_000),
        Link(incidents[0]["id"], "resolve", "terminal", deliveries[0]["id"], 1),
    ]
    return {
        **made,
        "event": [event["id"] for event in await house.events()],
        "incident": [*(one["id"] for one in incidents), *(str(one["number"]) for one in incidents)],
        "delivery": [one["id"] for one in deliveries],
        "channel": ["terminal", "hook", "slack", "telegram", "twilio", "asleep"],
        "rotation": ["primary", "by-day"],
        "source": ["generic", "github", "sentry", "hetrix", "open"],
        "token": [by_token()["authorization"].partition(" ")[2]],
        "verb": ["acknowledge", "resolve", "reopen", "note", "assign", "silence"],
        "kind": ["slack", "telegram", "twilio"],
        "link": [sign(link, house.service.house.link_key) for link in links],
    }


async def sound(house: Running) -> None:
    """After all of it: everything is decided, every task lives, and no adapter has failed."""
    await house.decided()
    assert set(house.service.house.lanes().values()) == {"alive"}
    assert not [e["reason"] for e in await house.events(state="unreadable") if "failed" in e["reason"]]


def test_every_address_of_the_gateway_is_in_the_table() -> None:
    assert set(OPERATIONS) == set(ROUTES)
    for path, route in ROUTES.items():
        assert set(OPERATIONS[path].names) == set(route.param_convertors), path  # type: ignore[attr-defined]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", sorted(ROUTES))
@settings(max_examples=EXAMPLES, phases=PHASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_any_request_has_an_answer_and_none_is_a_fault(house: House, path: str, data: st.DataObject) -> None:
    methods = sorted(ROUTES[path].methods or {"POST"})  # type: ignore[attr-defined]
    asked = data.draw(requests(path, methods, house.known))
    answer = await house.ask(asked)
    form_is_ours(path, answer)
    if OPERATIONS[path].door == "administrator" and not asked.knocks:
        reached = asked.method in methods and _leads_to(path, asked.path)
        assert answer.status == 401 if reached else answer.status in (401, 404, 405), answer


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", "/api/v1/events/%00", "", 404),
        ("GET", "/api/v1/incidents/a%00", "", 404),
        ("POST", "/api/v1/events/%00/replay", "", 404),
        ("POST", "/api/v1/deliveries/%00/redeliver", "", 404),
        ("POST", "/api/v1/incidents/%00/acknowledge", "", 404),
        ("DELETE", "/api/v1/silences/%00", "", 404),
        ("DELETE", "/api/v1/overrides/%00", "", 404),
        ("GET", "/api/v1/events", "source=%00", 422),
        ("GET", "/api/v1/events", "cursor=AA", 422),
        ("GET", "/api/v1/deliveries", "channel=a%00", 422),
        ("GET", "/api/v1/incidents", "q=%00", 422),
    ],
)
async def test_a_nul_names_nothing(house: House, method: str, path: str, query: str, status: int) -> None:
    headers = tuple((name.encode(), value.encode()) for name, value in by_token(ADMIN).items())
    answer = await house.ask(Asked(method, path, query, headers, (b"",), hangs_up=False, knocks=True))
    form_is_ours(path, answer)
    assert answer.status == status


def _leads_to(path: str, asked: str) -> bool:
    """Whether it is this route that the address leads to."""
    decoded = urllib.parse.unquote(asked)
    return next((name for name, route in ROUTES.items() if route.path_regex.match(decoded)), "") == path  # type: ignore[attr-defined]


def form_is_ours(path: str, answer: Answer) -> None:
    """No fault; JSON is JSON; what is no success is a problem (for a person, a page), and says when to come again."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert answer.status < 500 or (path, answer.status) == ("/readyz", 503), answer
    assert answer.status not in (429, 503) or answer.headers["retry-after"].isdecimal(), answer
    assert answer.status != 405 or answer.headers["allow"], answer
    assert int(answer.headers.get("content-length", "0")) == len(answer.body), answer
    text = answer.body.decode()
    document = json.loads(text, parse_constant=_no_constant) if kind.endswith("json") else None
    if answer.status < 300 or (path, answer.status) == ("/readyz", 503):
        return
    if path == "/links/{token}" and kind == "text/html":
        return
    assert kind == "application/problem+json", answer
    assert document["type"].startswith("urn:tocsin:problem:")
    assert document["status"] == answer.status
    assert document["title"]
    assert document["detail"]


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
