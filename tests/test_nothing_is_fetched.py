"""Addresses in an alert, and in what a vendor answers, are only words: nobody here ever goes there."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.house import HETRIX_TOKEN, ROUTING, Running, by_github, by_sentry, by_token, running

SOURCES = ROUTING[: ROUTING.index("channels:")]
CHANNELS = """
channels:
  slack-hook: {{kind: slack, webhook_url: "{vendor}/services/x", {all}}}
  slack-bot: {{kind: slack, bot_token: xoxb-x, channel: C0123, api_url: "{vendor}", {all}}}
  telegram: {{kind: telegram, bot_token: "1:x", chat_id: "-1001", api_url: "{vendor}", {all}}}
  sms: {{kind: twilio, account_sid: AC1, auth_token: x, from: "+15005550006", to: ["+15005550001"],
        api_url: "{vendor}", {all}}}
  call: {{kind: twilio, via: voice, account_sid: AC1, auth_token: x, from: "+15005550006", to: ["+15005550001"],
         api_url: "{vendor}", {all}}}
  page: {{kind: notion, token: x, database_id: "{zeros}", api_url: "{vendor}", {all}}}
  chat: {{kind: apprise, url: "{apprise}", {all}}}
  hook: {{kind: webhook, url: "{vendor}/hook", {all}}}
  terminal: {{kind: screen}}
routes:
  - {{name: all, match: {{}}, to: [slack-hook, slack-bot, telegram, sms, call, page, chat, hook, terminal]}}
"""


class Trap:
    """A server in whose place an attacker would put the metadata service, or a printer: nobody may come."""

    visits = 0

    async def answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.close()


class Vendor:
    """Says yes to everything, or sends everybody on, and names the trap wherever an address may stand."""

    def __init__(self, trap: str) -> None:
        self.trap, self.status, self.heard = trap, 200, b""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                self.heard += head + await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                body = json.dumps(self._yes()).encode()
                writer.write(
                    f"HTTP/1.1 {self.status} Well\r\nlocation: {self.trap}\r\nlink: <{self.trap}>; rel=next\r\n"
                    f"refresh: 0; url={self.trap}\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        writer.close()

    def _yes(self) -> dict[str, Any]:
        place = {"message_id": 1, "chat": {"id": -1001, "username": self.trap}}
        named = dict.fromkeys(
            ("url", "permalink", "public_url", "uri", "next_page_uri", "response_url", "href"), self.trap
        )
        sources = [{"id": "1" * 32, "name": self.trap}]
        return {"ok": True, "result": place, "ts": "1.1", "channel": "C0123", "sid": "SM1", "id": "2" * 32} | {
            "object": "page", "data_sources": sources, "properties": {"Name": {"type": "title", "id": "t"}}, **named
        }  # fmt: skip


@asynccontextmanager
async def listening(answer: Any) -> AsyncIterator[int]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def tell(house: Running, trap: str) -> None:
    """An alert by each adapter, full of addresses."""
    words = (
        f"{trap} <{trap}|x> <img src='{trap}'> ![x]({trap}) [x]: {trap} file:///etc/hostname {{% include '{trap}' %}}"
    )
    every = (
        "url",
        "image",
        "image_url",
        "icon_url",
        "thumb_url",
        "attach",
        "attachment",
        "link",
        "callback",
        "webhook_url",
    )
    addresses = dict.fromkeys(every, trap)
    await house.alert(
        words, body=words, url=trap, service=trap, labels=addresses, fields={**addresses, "deep": [addresses]}
    )
    issue = {"id": "7", "title": words, **addresses, "web_url": trap, "permalink": trap, "culprit": trap}
    error = json.dumps({"action": "created", "data": {"issue": issue}, "installation": {"uuid": trap}}).encode()
    about = {"full_name": "a/b", "name": "b", "html_url": trap, "default_branch": "main"}
    opened = {"action": "opened", "issue": {"number": 1, "title": words, "html_url": trap, "url": trap, "body": words}}
    news = json.dumps({**opened, "repository": about, "sender": {"login": "x", "avatar_url": trap}}).encode()
    uptime = {"monitor_id": "m", "monitor_name": trap, "monitor_target": trap, "monitor_type": "website"}
    down = json.dumps({**uptime, "monitor_status": "offline", "timestamp": 1_795_176_000}).encode()
    for answer in (
        await house.post("sentry", error, by_sentry(error)),
        await house.post("github", news, by_github(news, "issues")),
        await house.post("hetrix", down, by_token(HETRIX_TOKEN)),
    ):
        assert answer.status_code == 202


@pytest.mark.parametrize("status", [200, 307])
async def test_nobody_goes_to_an_address_that_an_alert_or_a_vendor_names(tmp_path: Path, status: int) -> None:
    trap = Trap()
    async with listening(trap.answer) as hole:
        vendor = Vendor(f"http://127.0.0.1:{hole}/latest/meta-data/")
        vendor.status = status
        async with listening(vendor.answer) as port:
            routing = SOURCES + CHANNELS.format(
                vendor=f"http://127.0.0.1:{port}",
                apprise=f"json://127.0.0.1:{port}/chat",
                zeros="0" * 32,
                all="timeout: 2s, pace: none, give_up_after: 1s",
            )
            async with running(tmp_path, routing) as house:
                await tell(house, vendor.trap)
                await house.told()
                attempts = {
                    one["channel"]: one["attempts"] for one in (await house.get("deliveries", limit=200))["items"]
                }
    assert len(attempts) == 9
    assert all(attempts.values())
    assert f"127.0.0.1:{hole}".encode() in vendor.heard
    assert trap.visits == 0
