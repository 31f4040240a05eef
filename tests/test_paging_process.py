"""The real process dies between two steps: the next one is told once, at its time, or as soon as it lives again.
A saved file whose own test fails is refused with the sentence that failed."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from tests.fakes.receiver import Receiver
from tests.process import Gateway
from tests.stage import until

ROUTING = """
sources: {{scripts: {{adapter: generic, token: "${{TOKEN}}"}}}}
channels:
  kim-sms: {{kind: webhook, url: "{url}/kim"}}
  lee-sms: {{kind: webhook, url: "{url}/lee"}}
  ops: {{kind: webhook, url: "{url}/ops"}}
people:
  kim: {{channels: [kim-sms]}}
  lee: {{channels: [lee-sms]}}
escalations:
  page: {{steps: [{{to: [kim]}}, {{to: [lee], after: 2s}}, {{to: [ops], after: 5s}}]}}
routes:
  - {{name: page, to: [page]}}
  - {{name: later, match: {{kind: none}}, to: [ops]}}
tests:
  - {{alert: {{severity: critical}}, expect: {{kim: now, lee: at 2s}}}}
"""


def heard(receiver: Receiver) -> list[tuple[str, str]]:
    return [(one.path.removeprefix("/hook"), one.document["message"]["occasion"]) for one in receiver.heard]


async def test_a_gateway_that_is_killed_between_two_steps_pages_on_and_nobody_twice(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening() as url:
        gateway = Gateway(tmp_path, ROUTING.format(url=url))
        async with gateway.running():
            began = time.monotonic()
            assert (await gateway.post({"title": "down", "severity": "critical"})).status_code == 202
            await until(lambda: heard(receiver) == [("/kim", "opened")])
            await until(lambda: gateway.sql("SELECT count(*) FROM attempts") == [(1,)])  # it is written down
            await gateway.end(signal.SIGKILL)
            await asyncio.sleep(max(0.0, began + 2.5 - time.monotonic()))  # the second step's time passes meanwhile
            await gateway.start()
            lives = time.monotonic()
            await until(lambda: ("/lee", "opened") in heard(receiver))
            assert time.monotonic() - lives < 1.5
            await until(lambda: ("/ops", "opened") in heard(receiver), 8)
            assert abs(time.monotonic() - began - 5) < 2.5  # others use the machine as well
            assert heard(receiver) == [("/kim", "opened"), ("/lee", "opened"), ("/ops", "opened")]


async def test_an_acknowledgement_outlives_the_process(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening() as url:
        gateway = Gateway(tmp_path, ROUTING.format(url=url))
        async with gateway.running():
            await gateway.post({"title": "down", "severity": "critical"})
            await until(lambda: heard(receiver) == [("/kim", "opened")])
            async with gateway.client() as client:
                answer = await client.post("/api/v1/incidents/1/acknowledge", json={"by": "kim"})
            assert (answer.status_code, answer.json()["state"]) == (200, "acknowledged")
            await gateway.end(signal.SIGKILL)
            await gateway.start()
            await asyncio.sleep(3)
            assert {path for path, _ in heard(receiver)} == {"/kim"}


async def test_a_saved_file_whose_test_fails_is_refused_with_its_sentence(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, ROUTING.format(url="http://127.0.0.1:9"))
    async with gateway.running():
        before = (await gateway.get("/readyz"))["configuration"]["hash"]
        gateway.config.write_text(gateway.config.read_text().replace("after: 2s", "after: 3s"))

        async def refused() -> object:
            return (await gateway.get("/readyz"))["configuration"]["refused"]

        await until(refused, 8)
        shown = (await gateway.get("/readyz"))["configuration"]
        assert shown["hash"] == before
        (problem,) = shown["refused"]["problems"]
        assert problem.endswith("fails: lee should be told at 2 s, but was told at 3 s")
        assert "routing.yaml:" in problem
