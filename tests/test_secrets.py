"""Twenty-odd credentials go in at every door, meet vendors that repeat all they are told, and come out nowhere:
not in the log, an answer, a metric, a refused configuration, or a byte of the database."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import gzip
import hashlib
import hmac
import json
import time
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.house import Program, program, until

# Each is unlike any other text that a test or a vendor might write.
CANARIES = {
    "admin": "adm1n-c4nary-a6f0c1",
    "metrics": "m3trics-c4nary-b7e1d2",
    "generic token": "g3neric-c4nary-c8d2e3",
    "generic token of before": "g3neric-old-c4nary-d9c3f4",
    "token in the path": "p4th-c4nary-e0b4a5",
    "hetrixtools token": "h3trix-c4nary-f1a5b6",
    "github secret": "g1thub-c4nary-029bc7",
    "github secret of before": "g1thub-old-c4nary-138cd8",
    "sentry secret": "s3ntry-c4nary-247de9",
    "signing key": "st4ndard-c4nary-356efa",
    "slack address": "T0000/B0000/sl4ckurl-c4nary-465f0b",
    "slack token": "xoxb-sl4cktoken-c4nary-574a1c",
    "telegram token": "AAt3legram-c4nary-683b2d",
    "mail password": "m4ilpass-c4nary-792c3e",
    "twilio token": "tw1lio-c4nary-8a1d4f",
    "twilio secret of a key": "tw1liokey-c4nary-9b0e50",
    "notion token": "ntn_not1on-c4nary-acff61",
    "apprise token": "4pprise-c4nary-bdee72",
    "webhook address": "w3bhookurl-c4nary-ceddbb",
    "webhook password": "w3bhookpass-c4nary-dfcc83",
    "webhook secret": "w3bhooksecret-c4nary-e0bb94",
    "cookie": "c00kie-c4nary-f1aaa5",
    "query": "qu3ry-c4nary-02bbb6",
    "guess": "gu3ss-c4nary-13ccc7",
}
WHSEC = "whsec_" + base64.b64encode(CANARIES["signing key"].encode()).decode()
ENVIRON = {
    "TOCSIN_ADMIN_TOKEN": CANARIES["admin"],
    "TOCSIN_METRICS_TOKEN": CANARIES["metrics"],
    "GENERIC_TOKEN": CANARIES["generic token"],
    "GITHUB_SECRET": CANARIES["github secret"],
    "TELEGRAM": "123456:" + CANARIES["telegram token"],
    "TOCSIN_LOG_LEVEL": "debug",
}
ADMIN = {"authorization": f"Bearer {CANARIES['admin']}"}
ROUTING = """
sources:
  generic: {{adapter: generic, token: ["${{GENERIC_TOKEN}}", "{c[generic token of before]}", "{c[token in the path]}"]}}
  hetrix: {{adapter: hetrixtools, token: "{c[hetrixtools token]}"}}
  github: {{adapter: github, secret: ["${{GITHUB_SECRET}}", "{c[github secret of before]}"]}}
  sentry: {{adapter: sentry, secret: "{c[sentry secret]}"}}
  signed: {{adapter: generic, secret: "{whsec}"}}
channels:
  slack-hook: {{kind: slack, webhook_url: "{http}/services/{c[slack address]}", {all}}}
  slack-bot: {{kind: slack, bot_token: "{c[slack token]}", channel: C0123, api_url: "{http}/slack", {all}}}
  telegram: {{kind: telegram, bot_token: "${{TELEGRAM}}", chat_id: "-1001", api_url: "{http}", {all}}}
  mail: {{kind: email, host: 127.0.0.1, port: {smtp}, tls: none, username: u, password: "{c[mail password]}",
         from: a@example.com, to: [b@example.com], {all}}}
  sms: {{kind: twilio, account_sid: AC1, auth_token: "{c[twilio token]}", from: "+15005550006", to: ["+15005550001"],
         api_url: "{http}/twilio", {all}}}
  call: {{kind: twilio, via: voice, account_sid: AC1, api_key: SK1, api_secret: "{c[twilio secret of a key]}",
         from: "+15005550006", to: ["+15005550001"], api_url: "{http}/twilio", {all}}}
  page: {{kind: notion, token: "{c[notion token]}", database_id: "{database}", api_url: "{http}/notion", {all}}}
  chat: {{kind: apprise, url: "json://user:{c[apprise token]}@127.0.0.1:{port}/{c[apprise token]}", {all}}}
  hook: {{kind: webhook, url: "http://u:{c[webhook password]}@127.0.0.1:{port}/{c[webhook address]}?k=v",
         secret: "{c[webhook secret]}", {all}}}
  nowhere: {{kind: webhook, url: "http://127.0.0.1:1/{c[webhook address]}", {all}}}
  terminal: {{kind: screen}}
routes:
  - name: all
    match: {{}}
    to: [slack-hook, slack-bot, telegram, mail, sms, call, page, chat, hook, nowhere, terminal]
"""
CHANNELS = ("slack-hook", "slack-bot", "telegram", "mail", "sms", "call", "page", "chat", "hook", "nowhere")


class Gossip:
    """A vendor of every kind that repeats in its answer all that it was told: the worst of manners.

    `status` is what it answers next over HTTP; 0 hangs up, and 302 sends the caller on to an address that
    holds everything. Over SMTP it refuses the login and repeats that."""

    def __init__(self) -> None:
        self.status = 403
        self.heard = b""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[tuple[int, int]]:
        """The ports for HTTP and for SMTP."""
        http = await asyncio.start_server(self._http, "127.0.0.1", 0)
        smtp = await asyncio.start_server(self._smtp, "127.0.0.1", 0)
        try:
            yield http.sockets[0].getsockname()[1], smtp.sockets[0].getsockname()[1]
        finally:
            http.close()
            smtp.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [h for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")]
                body = await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                self.heard += head + body
                if not self.status:
                    break
                self._repeat(writer, head)
                await writer.drain()
        writer.close()

    def _repeat(self, writer: asyncio.StreamWriter, head: bytes) -> None:
        told = urllib.parse.unquote(head.decode("latin-1"))
        # The credential first: a reason is cut, and what is cut off would be no proof.
        headers = sorted(told.split("\r\n")[1:], key=lambda header: not header.lower().startswith("authorization"))
        words = " ".join(" ".join([*headers[:1], *told.split("\r\n")]).split())
        body = words.encode() if "/services/" in told else json.dumps(self._in_their_words(told, words)).encode()
        extra = f"location: http://127.0.0.1:1/{urllib.parse.quote(words)}\r\n" if self.status == 302 else ""
        writer.write(
            f"HTTP/1.1 {self.status} {words[:900]}\r\ncontent-type: application/json\r\n{extra}"
            f"x-told: {words}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )

    def _in_their_words(self, told: str, words: str) -> dict[str, Any]:
        """The error in the shape of the vendor who was called, so that its reason is read and shown."""
        if "/slack/" in told:
            return {"ok": False, "error": words, "needed": words, "response_metadata": {"messages": [words]}}
        if "/bot" in told:
            return {"ok": False, "error_code": self.status, "description": words}
        if "/twilio/" in told:
            return {"code": 20003, "message": words, "more_info": words, "status": self.status}
        if "/notion/" in told:
            return {"object": "error", "status": self.status, "code": "validation_error", "message": words}
        return dict.fromkeys(("error", "description", "message", "detail", "reason"), words)

    async def _smtp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 gossip ESMTP\r\n")
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self.heard += line
                word = line.split()[0].upper() if line.split() else b""
                if word == b"EHLO":
                    writer.write(b"250-gossip\r\n250 AUTH PLAIN LOGIN\r\n")
                elif word == b"QUIT":
                    break
                else:
                    writer.write(b"535 5.7.8 you said " + line.strip() + b" meaning " + _plain(line) + b"\r\n")
                await writer.drain()
        writer.close()


def _plain(line: bytes) -> bytes:
    try:
        return base64.b64decode(line.split()[-1]).replace(b"\0", b" ")
    except (binascii.Error, IndexError):
        return b"nothing"


def disguises(secret: str) -> Iterator[tuple[str, bytes]]:
    """A credential as itself, in addresses, in base64 at any offset and turned round."""
    raw = secret.encode()
    yield "as it is", raw
    yield "in capitals", raw.upper()
    yield "in an address", urllib.parse.quote(secret, safe="").encode()
    yield "in hexadecimal", raw.hex().encode()
    for shift in range(3):
        packed = base64.b64encode(b"\0" * shift + raw)
        yield "in base64", packed[4 if shift else 0 : -4]  # the ends depend on the neighbours


def leaks(place: str, text: bytes) -> list[str]:
    """What of the credentials stands in there."""
    return [
        f"{name} {how} in {place}: …{text[max(text.find(form) - 80, 0) : text.find(form) + 20]!r}"
        for name, secret in CANARIES.items()
        for how, form in disguises(secret)
        if form in text
    ]


async def knock(gateway: Program) -> None:
    """Every credential at every door, rightly and wrongly."""
    client, body = gateway.client, b'{"title": "Disk full", "severity": "critical"}'
    c = CANARIES

    async def post(path: str, content: bytes = body, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.post(path, content=content, headers={"content-type": "application/json", **named})

    for token in ("generic token", "generic token of before", "token in the path"):
        assert (await post("/webhooks/generic", authorization=f"Bearer {c[token]}")).status_code == 202
        assert (await post("/api/v1/alerts", x_api_key=c[token])).status_code == 202
    assert (await post(f"/webhooks/generic/{c['token in the path']}")).status_code == 202
    assert (await post(f"/webhooks/hetrix/{c['hetrixtools token']}", b'{"monitor_status": "?"}')).status_code == 202
    for secret in ("github secret", "github secret of before"):
        push = json.dumps({"ref": secret}).encode()
        digest = hmac.new(c[secret].encode(), push, hashlib.sha256).hexdigest()
        signed = {"x_hub_signature_256": f"sha256={digest}", "x_github_event": "push", "x_github_delivery": secret}
        assert (await post("/webhooks/github", push, **signed)).status_code == 202
    digest = hmac.new(c["sentry secret"].encode(), body, hashlib.sha256).hexdigest()
    assert (await post("/webhooks/sentry", sentry_hook_signature=digest)).status_code == 202
    moment = str(int(time.time()))
    content = f"m1.{moment}.".encode() + body
    digest = base64.b64encode(hmac.new(c["signing key"].encode(), content, hashlib.sha256).digest()).decode()
    signed = {"webhook_id": "m1", "webhook_timestamp": moment, "webhook_signature": f"v1,{digest}"}
    assert (await post("/webhooks/signed", **signed)).status_code == 202
    right = f"Bearer {c['generic token']}"
    extra = {"cookie": f"s={c['cookie']}", "proxy_authorization": c["cookie"], "x_hub_signature": c["cookie"]}
    assert (await post(f"/webhooks/generic?key={c['query']}", authorization=right, **extra)).status_code == 202
    for path in ("/webhooks/generic", "/api/v1/alerts", "/webhooks/nobody", "/nothing", "/api/v1/explain"):
        for value in (c["guess"], c["generic token"] + "x", c["admin"] + "x"):
            assert (await post(path, authorization=f"Bearer {value}")).status_code in (401, 404)
            assert (await post(f"{path}/{value}?token={value}", x_api_key=value)).status_code in (401, 404)
    for name in ("x_hub_signature_256", "sentry_hook_signature", "webhook_signature"):
        for source in ("github", "sentry", "signed"):
            assert (await post(f"/webhooks/{source}", **{name: f"sha256={c['guess']}"})).status_code == 401
    for faulty, headers in ((b"{", {}), (body, {"content_type": c["guess"]}), (body, {"content_encoding": c["guess"]})):
        assert (await post("/webhooks/generic", faulty, authorization=right, **headers)).status_code in (400, 415)
    packed = gzip.compress(body)
    assert (await post("/webhooks/generic", packed, authorization=right, content_encoding="gzip")).status_code == 415


async def everything_shown(gateway: Program) -> dict[str, bytes]:
    """All that an administrator can see, by where."""
    seen: dict[str, bytes] = {}

    async def look(method: str, path: str, **more: Any) -> Any:
        answer = await gateway.client.request(method, path, headers=ADMIN, timeout=30, **more)
        head = "".join(f"{name}: {value}\n" for name, value in answer.headers.items())
        seen[f"{method} {path}"] = head.encode() + answer.content
        return answer.json() if "json" in answer.headers.get("content-type", "") else None

    for name in ("events", "incidents", "deliveries"):
        for item in (await look("GET", f"/api/v1/{name}?limit=200"))["items"]:
            if name != "deliveries":
                await look("GET", f"/api/v1/{name}/{item['id']}")
    await look("GET", "/api/v1/channels")
    for channel in CHANNELS:
        await look("POST", f"/api/v1/channels/{channel}/test")
    await look("POST", "/api/v1/explain", json={"alert": {"title": "x"}})
    await look("GET", "/readyz")
    await look("GET", "/metrics")
    seen["GET /metrics by its own token"] = (
        await gateway.client.get("/metrics", headers={"authorization": f"Bearer {CANARIES['metrics']}"})
    ).content
    return seen


async def tried_again(gateway: Program) -> None:
    """Every dead letter once more. Some lanes rest after so many failures: they are not waited for."""
    dead = (await gateway.client.get("/api/v1/deliveries?state=failed&limit=200", headers=ADMIN)).json()["items"]
    for delivery in dead:
        await gateway.client.post(f"/api/v1/deliveries/{delivery['id']}/redeliver", headers=ADMIN)

    async def done() -> bool:
        waiting = await gateway.client.get("/api/v1/deliveries?state=waiting&limit=200", headers=ADMIN)
        return all(one["reason"] for one in waiting.json()["items"])

    with contextlib.suppress(TimeoutError):
        await until(done, 1.5)


@pytest.mark.slow
async def test_no_credential_comes_out_anywhere(tmp_path: Path) -> None:
    gossip = Gossip()
    async with gossip.listening() as (port, smtp):
        routing = ROUTING.format(
            c=CANARIES,
            whsec=WHSEC,
            http=f"http://127.0.0.1:{port}",
            port=port,
            smtp=smtp,
            database="0" * 32,
            all="timeout: 2s, pace: none, give_up_after: 1s",
        )
        found: list[str] = []
        async with program(tmp_path, routing, ENVIRON) as gateway:
            await knock(gateway)
            for status in (403, 302, 200, 429, 500, 0):
                gossip.status = status
                await tried_again(gateway)
                for place, text in (await everything_shown(gateway)).items():
                    found += leaks(f"{place} ({status})", text)
            for wrong in ("channels:", "sources:", "kind: slack", "adapter: github", "pace: none", "secret:", "port:"):
                gateway.routing.write_text(routing.replace(wrong, wrong.replace(wrong[0], "q", 1)))
                await asyncio.sleep(1.2)
                found += leaks("/readyz", (await gateway.client.get("/readyz", headers=ADMIN)).content)
            found += leaks("the database while it runs", gateway.on_disk())
        found += leaks("the database", gateway.on_disk())
        found += leaks("the log", gateway.log.encode())
        found += leaks("standard output", gateway.printed.encode())
    assert found == []
    # The credentials were really used, so that they could have come out; and the log and the database are not empty.
    for name in ("slack address", "slack token", "telegram token", "notion token", "apprise token", "webhook address"):
        assert CANARIES[name].encode() in gossip.heard, name
    for login in (f"AC1:{CANARIES['twilio token']}", f"SK1:{CANARIES['twilio secret of a key']}"):
        assert base64.b64encode(login.encode()) in gossip.heard
    assert any(form in gossip.heard for _, form in disguises(CANARIES["mail password"]))
    assert "configuration refused" in gateway.log
    assert "request refused" in gateway.log
    assert b"Disk full" in gateway.on_disk()


async def test_a_configuration_that_cannot_start_repeats_no_credential(tmp_path: Path) -> None:
    routing = ROUTING.format(
        c=CANARIES,
        whsec=WHSEC,
        http="http://127.0.0.1:1",
        port=1,
        smtp=1,
        database="0" * 32,
        all="colour: red",
    )
    with pytest.raises(AssertionError) as refused:
        async with program(tmp_path, routing, ENVIRON):
            pass
    said = str(refused.value).encode() + (tmp_path / "stderr.log").read_bytes()
    assert b"colour" in said
    assert leaks("what it said", (tmp_path / "stderr.log").read_bytes()) == []


def test_a_leak_would_be_seen_in_any_disguise() -> None:
    secret = CANARIES["twilio token"]
    for text in (
        secret,
        f"https://x/{urllib.parse.quote(secret)}?a",
        "Basic " + base64.b64encode(f"AC1:{secret}".encode()).decode(),
        base64.b64encode(f"\0u\0{secret}".encode()).decode(),
        secret.upper(),
        secret.encode().hex(),
    ):
        assert leaks("a text", text.encode())
    assert leaks("a text", b"nothing of the kind") == []
