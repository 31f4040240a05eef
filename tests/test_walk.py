"""Read this first: one webhook walks through the whole house, step by step, and then its resolve.

    Event → Alert → Incident + Change → Plan → Delivery → Message → Receipt

Everything is real: the routing file, the HTTP edge, the database, the channel. Only the team's endpoint is a
fake, and the background tasks stand still, so that each step can be looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from gateway import config
from gateway.contracts import Surroundings
from gateway.model import Sent
from gateway.rules.retry import RetryPolicy
from gateway.rules.wording import Voice
from gateway.service import Options, Service
from gateway.settling import Outlet
from tests.fakes.receiver import Receiver

ROUTING = """
sources:
  scripts: {adapter: generic, token: "${TOKEN}"}
channels:
  team: {kind: webhook, url: "https://team.example/alerts"}
  terminal: {kind: screen}
routes:
  - name: databases page the team
    match: {service: "db-*", severity: ">=critical"}
    to: [team]
  - name: what is mild is printed
    match: {severity: "<=warning"}
    to: [terminal]
"""
DISK = {"title": "Disk 94% full", "severity": "critical", "service": "db-1", "fingerprint": "disk:db-1"}


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A gateway whose writer writes and whose other tasks stand still."""
    file = tmp_path / "routing.yaml"
    file.write_text(ROUTING)
    environ = {"TOKEN": "t0ken"}
    options = Options(file, f"sqlite:///{tmp_path}/tocsin.db", "127.0.0.1", 8080, environ)
    service = Service(options, config.load(file, environ))
    service.store.open()
    writing = asyncio.create_task(service.store.writer.serve())
    yield service
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await service.store.close()


@pytest.fixture
async def web(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    here = httpx2.ASGITransport(app=service.app(), client=("127.0.0.1", 50_000))
    async with httpx2.AsyncClient(transport=here, base_url="http://localhost:8080") as client:
        yield client


async def test_one_webhook_walks_through_the_whole_house(service: Service, web: httpx2.AsyncClient) -> None:
    pipeline, receiver = service.pipeline, Receiver()
    entry = service.house.configuration.channels["team"]
    channel = entry.kind.connect(entry.settings, Surroundings("team", now=pipeline.now, transport=receiver.transport))
    outlet = Outlet("team", channel, Voice("team", "en", None, channel.escape), RetryPolicy(), patience=60_000)

    # receive: 202 only once it is safe on disk
    answer = await web.post("/webhooks/scripts", json=DISK, headers={"authorization": "Bearer t0ken"})
    assert answer.status_code == 202
    event = answer.json()
    assert event["duplicate"] is False
    kept = (await web.get(f"/api/v1/events/{event['event']}")).json()
    assert (kept["state"], kept["source"], kept["alerts"]) == ("waiting", "scripts", [])

    # process: read, fold, plan, promise, write down why, all in one transaction
    done = await pipeline.process(64)
    assert (done.events, done.channels, done.left) == (1, {"team"}, False)
    kept = (await web.get(f"/api/v1/events/{event['event']}")).json()
    incident = (await web.get("/api/v1/incidents/1")).json()
    assert kept["state"] == "done"
    assert [(a["title"], a["severity"], a["incident"]) for a in kept["alerts"]] == [
        ("Disk 94% full", "critical", incident["id"])
    ]
    assert (incident["state"], incident["service"], incident["unrouted"]) == ("open", "db-1", False)
    (opened,) = incident["changes"]
    assert (opened["what"], opened["by"]) == ("opened", event["event"])
    matched, passed = opened["decision"]["routes"]
    assert (matched["name"], matched["matched"]) == ("databases page the team", True)
    assert passed["missed"] == {"key": "severity", "wanted": "<=warning", "was": "critical"}
    (delivery,) = incident["deliveries"]
    assert (delivery["channel"], delivery["state"], delivery["attempts"]) == ("team", "waiting", [])

    # deliver: claim, compose, send, settle
    (claim,) = (await pipeline.turn(outlet, [], 16)).claims
    assert pipeline.compose(outlet, claim).title == "CRITICAL Disk 94% full"
    said = await pipeline.say(outlet, claim)
    assert said.receipt == Sent()
    assert (await pipeline.turn(outlet, [said], 0)).claims == ()
    (delivery,) = (await web.get("/api/v1/incidents/1")).json()["deliveries"]
    assert (delivery["state"], delivery["said"]) == ("said", 1)
    assert [attempt["receipt"] for attempt in delivery["attempts"]] == ["sent"]

    # resolve: whoever heard of the problem hears that it is over
    over = {**DISK, "status": "resolved"}
    await web.post("/webhooks/scripts", json=over, headers={"authorization": "Bearer t0ken"})
    done = await pipeline.process(64)
    assert (done.events, done.channels, done.left) == (1, {"team"}, False)
    (claim,) = (await pipeline.turn(outlet, [], 16)).claims
    await pipeline.turn(outlet, [await pipeline.say(outlet, claim)], 0)
    incident = (await web.get("/api/v1/incidents/1")).json()
    assert (incident["state"], incident["deliveries"][0]["said"]) == ("resolved", 2)
    assert [heard.document["change"]["what"] for heard in receiver.heard] == ["opened", "resolved"]
    await channel.close()
