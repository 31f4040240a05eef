"""A small Slack: one workspace with its channels, an app with a bot token, and one incoming webhook.

    slack = FakeSlack()
    slack.transport                            for Surroundings.transport
    slack.app                                  the same for a port: uvicorn.run(slack.app)
    slack.messages, slack.calls                what stands in the channels; what was asked, in order
    slack.refuse("chat.update", "message_not_found")
    slack.trouble("webhook", 429, "", {"retry-after": "7"})
    slack.whispers                             what was told to one person alone
    pressed("acknowledge", "id", message)      the form that Slack posts when a button of a message is pressed
    signed(body, "secret", at)                 its headers, by the official signer

Each refusal holds for one call. Blocks are judged by slack_sdk's own models, and by the limits they miss.
"""

from __future__ import annotations

import json
import urllib.parse
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.signature import SignatureVerifier
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

TOKEN = "xoxb-0123456789-fakefakefake"
TEAM = "T0OURS"
HOOK = "/services/T000/B000/hOokSeCrEt"


@dataclass
class Said:
    """One message as it stands. `thread` is the root's ts in a reply; `texts` are all it has ever said."""

    channel: str
    ts: str
    thread: str
    body: dict[str, Any]
    texts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    method: str
    body: dict[str, Any]
    headers: Mapping[str, str]


class FakeSlack:
    def __init__(self) -> None:
        self.channels = {"#ops": "C0OPS", "#old": "C0OLD"}
        self.archived: set[str] = {"C0OLD"}
        self.messages: list[Said] = []
        self.calls: list[Call] = []
        self.whispers: list[dict[str, Any]] = []
        self._troubles: dict[str, deque[Response]] = defaultdict(deque)
        self.app = Starlette(
            routes=[
                Route("/api/{method}", self._api, methods=["GET", "POST"]),
                Route("/services/{rest:path}", self._webhook, methods=["POST"]),
            ]
        )
        self.transport = httpx2.ASGITransport(self.app)

    def trouble(self, method: str, status: int, body: str, headers: Mapping[str, str] | None = None) -> None:
        """The next call of this method (`webhook` for the webhook) gets this answer instead."""
        self._troubles[method].append(Response(body, status, dict(headers or {})))

    def refuse(self, method: str, word: str, **more: Any) -> None:
        self.trouble(method, 200, json.dumps({"ok": False, "error": word, **more}))

    def asked(self, method: str) -> list[dict[str, Any]]:
        return [call.body for call in self.calls if call.method == method]

    async def _webhook(self, request: Request) -> Response:
        body = await _json(request)
        self.calls.append(Call("webhook", body or {}, dict(request.headers)))
        if self._troubles["webhook"]:
            return self._troubles["webhook"].popleft()
        if request.url.path != HOOK:
            return PlainTextResponse("no_service", 404)
        if body is None:
            return PlainTextResponse("invalid_payload", 400)
        if wrong := _wrong(body):
            return PlainTextResponse(wrong, 400)
        self._keep("C0OPS", "", body)
        return PlainTextResponse("ok")

    async def _api(self, request: Request) -> Response:
        method = request.path_params["method"]
        body = dict(request.query_params) if request.method == "GET" else await _json(request)
        self.calls.append(Call(method, body or {}, dict(request.headers)))
        if self._troubles[method]:
            return self._troubles[method].popleft()
        sent = request.headers.get("authorization", "")
        if sent != f"Bearer {TOKEN}":
            return _no("invalid_auth" if sent else "not_authed")
        does = {
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.getPermalink": self._permalink,
            "chat.postEphemeral": self._whisper,
            "auth.test": self._who,
        }.get(method)
        if does is None:
            return _no("unknown_method")
        return does(body) if body is not None else _no("invalid_json")

    def _post(self, body: dict[str, Any]) -> Response:
        channel = self.channels.get(body.get("channel", ""), body.get("channel"))
        if channel not in self.channels.values():
            return _no("channel_not_found")
        if channel in self.archived:
            return _no("is_archived")
        thread = body.get("thread_ts", "")
        if thread and not self._find(channel, thread):
            return _no("thread_not_found")
        if wrong := _wrong(body):
            return _no(wrong)
        said = self._keep(channel, thread, body)
        return JSONResponse(
            {"ok": True, "channel": channel, "ts": said.ts, "message": {"text": body.get("text", ""), "team": TEAM}}
        )

    def _update(self, body: dict[str, Any]) -> Response:
        if body.get("channel") not in self.channels.values():  # a name is not enough here
            return _no("channel_not_found")
        said = self._find(body["channel"], body.get("ts", ""))
        if said is None:
            return _no("message_not_found")
        if wrong := _wrong(body):
            return _no(wrong)
        said.body = {**said.body, **body}  # what is not named stays: old blocks too
        said.texts.append(body.get("text", ""))
        return JSONResponse({"ok": True, "channel": said.channel, "ts": said.ts, "text": body.get("text", "")})

    def _whisper(self, body: dict[str, Any]) -> Response:
        if body.get("channel") not in self.channels.values():
            return _no("channel_not_found")
        if not body.get("user"):
            return _no("user_not_in_channel")
        if wrong := _wrong(body):
            return _no(wrong)
        self.whispers.append(body)
        return JSONResponse({"ok": True, "message_ts": f"1795176000.9{len(self.whispers):05}"})

    def _who(self, body: dict[str, Any]) -> Response:
        return JSONResponse({"ok": True, "team": "Ours", "team_id": TEAM, "user": "tocsin", "user_id": "U0BOT"})

    def _permalink(self, body: dict[str, Any]) -> Response:
        said = self._find(body.get("channel", ""), body.get("message_ts", ""))
        if said is None:
            return _no("message_not_found")
        link = f"https://tocsin-test.slack.com/archives/{said.channel}/p{said.ts.replace('.', '')}"
        return JSONResponse({"ok": True, "channel": said.channel, "permalink": link})

    def _keep(self, channel: str, thread: str, body: dict[str, Any]) -> Said:
        said = Said(channel, f"1795176000.{len(self.messages) + 1:06}", thread, body, [body.get("text", "")])
        self.messages.append(said)
        return said

    def _find(self, channel: str, ts: str) -> Said | None:
        return next((said for said in self.messages if (said.channel, said.ts) == (channel, ts)), None)


async def _json(request: Request) -> dict[str, Any] | None:
    if "form" in request.headers.get("content-type", ""):  # as slack_sdk reads
        return dict(urllib.parse.parse_qsl((await request.body()).decode()))
    try:
        body = json.loads(await request.body())
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _no(word: str) -> Response:
    return JSONResponse({"ok": False, "error": word})


def _wrong(body: dict[str, Any]) -> str:
    """Slack's word for what is wrong with a message, '' where nothing is."""
    blocks, attachments = body.get("blocks") or [], body.get("attachments") or []
    if not (body.get("text") or blocks or attachments):
        return "no_text"
    if len(body.get("text", "")) > 40_000:
        return "msg_too_long"
    if any(set(attachment) - {"color", "blocks", "fallback"} for attachment in attachments if "blocks" in attachment):
        return "invalid_attachments"
    inside = [block for attachment in attachments for block in attachment.get("blocks", [])]
    if len(inside) > 20 or wrong_blocks(inside):
        return "invalid_attachments"
    if len(blocks) > 50 or wrong_blocks(blocks):
        return "invalid_blocks"
    return "msg_blocks_too_long" if len(json.dumps([blocks, inside], ensure_ascii=False)) > 13_200 else ""


def wrong_blocks(blocks: list[dict[str, Any]]) -> str:
    """What Slack's own models say of these blocks, and what those miss; '' where nothing is wrong."""
    try:
        if [block.to_dict() for block in Block.parse_all(blocks)] != blocks:
            return "the models understand something else"
    except SlackObjectFormationError as error:
        return str(error)
    for block in blocks:
        if block["type"] == "header" and block["text"]["type"] != "plain_text":
            return "a header is plain_text"
        if block["type"] == "actions":
            if len(block["elements"]) > 25 or not block["elements"]:
                return "1 to 25 elements"
            if len({button["action_id"] for button in block["elements"]}) < len(block["elements"]):
                return "action_id must be unique"
            texts = [button["text"] for button in block["elements"]]
        else:
            texts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
        if not all(text["text"] for text in texts if text):
            return "an empty text"
        if any(len(text["text"]) > 2_000 for text in block.get("fields", [])):
            return "a field over 2,000"
    return ""


def pressed(verb: str, subject: str, said: Said, **changes: Any) -> bytes:
    """The body of a press, as Slack posts it. `changes` replace keys of the payload; None takes one away."""
    payload: dict[str, Any] = {
        "type": "block_actions",
        "user": {"id": "U0KIM", "username": "kim", "name": "kim", "team_id": TEAM},
        "api_app_id": "A0",
        "container": {"type": "message", "message_ts": said.ts, "channel_id": said.channel, "is_ephemeral": False},
        "trigger_id": "1.2.3",
        "team": {"id": TEAM, "domain": "ours"},
        "channel": {"id": said.channel, "name": "ops"},
        "message": {"ts": said.ts, "text": "…"},
        "response_url": "https://hooks.slack.example/actions/T/1/x",
        "actions": [
            {
                "type": "button",
                "action_id": f"tocsin:{verb}",
                "block_id": "b",
                "value": subject,
                "action_ts": "1795176010.123456",
            }
        ],
        **changes,
    }
    kept = {key: value for key, value in payload.items() if value is not None}
    return urllib.parse.urlencode({"payload": json.dumps(kept)}).encode()


def signed(body: bytes, secret: str, at: int) -> dict[str, str]:
    """`at` in seconds. Header names as our server gives them."""
    made = SignatureVerifier(secret).generate_signature(timestamp=str(at), body=body)
    assert made is not None
    return {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": str(at),
        "x-slack-signature": made,
    }
