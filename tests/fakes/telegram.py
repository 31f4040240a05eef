"""A small Bot API: one bot, its chats and their messages, with the real server's words for what is wrong.

    telegram = FakeTelegram()
    telegram.transport                         for Surroundings.transport
    telegram.app                               the same for a port: uvicorn.run(telegram.app)
    telegram.messages, telegram.calls          what stands in the chats; what was asked, in order
    telegram.refuse("sendMessage", 429, "Too Many Requests: retry after 12", retry_after=12)
    telegram.move(-100, -1001234)              the group has become a supergroup

Each refusal holds for one call. HTML is read as Telegram reads it: unknown or unclosed tags are an error,
and the 4,096 characters are counted after the tags and entities.
"""

from __future__ import annotations

import html
import json
import re
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "123456:AAfakefakefakefakefakefakefakefake0"

_TAGS = {"b", "strong", "i", "em", "u", "s", "code", "pre", "a", "blockquote", "tg-spoiler"}
_TAG = re.compile(r"<(/?)([a-z-]+)((?:\s+[a-z-]+(?:=\"[^\"<>]*\")?)*)\s*>")
_KEYS = {
    "sendMessage": {
        *("chat_id", "message_thread_id", "text", "parse_mode", "link_preview_options"),
        *("disable_notification", "reply_parameters", "reply_markup"),
    },
    "editMessageText": {"chat_id", "message_id", "text", "parse_mode", "link_preview_options", "reply_markup"},
    "answerCallbackQuery": {"callback_query_id", "text", "show_alert", "url", "cache_time"},
    "setWebhook": {"url", "secret_token", "allowed_updates", "max_connections", "drop_pending_updates"},
}


@dataclass
class Said:
    """One message as it stands; `text` is what people read, `texts` all it has ever been, as it was written."""

    chat: int
    number: int
    text: str
    body: dict[str, Any]
    texts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    method: str
    body: dict[str, Any]


class BadRequest(Exception):
    pass


class FakeTelegram:
    def __init__(self) -> None:
        self.chats: dict[int, dict[str, Any]] = {
            77: {"id": 77, "type": "private", "username": "kim"},
            -100: {"id": -100, "type": "group", "title": "ops"},
            -1001234: {"id": -1001234, "type": "supergroup", "title": "ops"},
            -1005678: {"id": -1005678, "type": "supergroup", "title": "open", "username": "open_ops"},
        }
        self.topics = {(-1001234, 5)}
        self.messages: list[Said] = []
        self.calls: list[Call] = []
        self.answers: list[dict[str, Any]] = []
        self.webhook: dict[str, Any] = {}
        self._moved: dict[int, int] = {}
        self._troubles: dict[str, deque[Response]] = defaultdict(deque)
        self.app = Starlette(routes=[Route("/bot{token}/{method}", self._call, methods=["POST"])])
        self.transport = httpx2.ASGITransport(self.app)

    def refuse(self, method: str, status: int, description: str, **parameters: Any) -> None:
        """The next call of this method is refused so."""
        self._troubles[method].append(_no(status, description, **parameters))

    def trouble(self, method: str, status: int, body: str) -> None:
        self._troubles[method].append(Response(body, status))

    def move(self, old: int, new: int) -> None:
        self._moved[old] = new

    def asked(self, method: str) -> list[dict[str, Any]]:
        return [call.body for call in self.calls if call.method == method]

    async def _call(self, request: Request) -> Response:
        method = request.path_params["method"]
        body = json.loads(await request.body())
        self.calls.append(Call(method, body))
        if self._troubles[method]:
            return self._troubles[method].popleft()
        if request.path_params["token"] != TOKEN:
            return _no(401, "Unauthorized")
        if unknown := set(body) - _KEYS.get(method, set()):
            return _no(404, f"Not Found: {method} {unknown}")
        if method in ("answerCallbackQuery", "setWebhook"):
            return self._yes(method, body)
        try:
            chat = self._chat(body.get("chat_id"))
            if chat["id"] in self._moved:
                moved = self._moved[chat["id"]]
                said = "Bad Request: group chat was upgraded to a supergroup chat"
                return _no(400, said, migrate_to_chat_id=moved)
            result = self._send(chat, body) if method == "sendMessage" else self._edit(chat, body)
        except BadRequest as error:
            return _no(400, f"Bad Request: {error}")
        return JSONResponse({"ok": True, "result": result})

    def _yes(self, method: str, body: dict[str, Any]) -> Response:
        if method == "setWebhook":
            if not body["url"].startswith("https://"):
                return _no(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", body.get("secret_token", "x")):
                return _no(400, "Bad Request: secret token contains unallowed characters")
            self.webhook = body
        else:
            if len(body.get("text", "")) > 200:
                return _no(400, "Bad Request: MESSAGE_TOO_LONG")
            self.answers.append(body)
        return JSONResponse({"ok": True, "result": True})

    def _chat(self, wanted: Any) -> dict[str, Any]:
        for number, chat in self.chats.items():
            if wanted in (number, str(number)) or wanted == f"@{chat.get('username')}":
                return chat
        raise BadRequest("chat not found")

    def _send(self, chat: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        topic = body.get("message_thread_id")
        if topic is not None and (chat["id"], topic) not in self.topics:
            raise BadRequest("message thread not found")
        reply = body.get("reply_parameters")
        if reply and not reply.get("allow_sending_without_reply") and not self._find(chat["id"], reply["message_id"]):
            raise BadRequest("message to be replied not found")
        _check_buttons(body)
        said = Said(chat["id"], len(self.messages) + 1, _read(body), body, [body["text"]])
        self.messages.append(said)
        return {"message_id": said.number, "date": 1_795_176_000, "chat": chat, "text": said.text}

    def _edit(self, chat: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        said = self._find(chat["id"], body.get("message_id"))
        if said is None:
            raise BadRequest("message to edit not found")
        _check_buttons(body)
        if said.texts[-1] == body["text"] and said.body.get("reply_markup") == body.get("reply_markup"):
            raise BadRequest(
                "message is not modified: specified new message content and reply markup are exactly the same"
            )
        said.text = _read(body)
        said.body = {**body}  # what an edit does not name is gone: its buttons too
        said.texts.append(body["text"])
        return {"message_id": said.number, "date": 1_795_176_000, "chat": chat, "text": said.text}

    def _find(self, chat: int, number: Any) -> Said | None:
        return next((said for said in self.messages if (said.chat, said.number) == (chat, number)), None)


def _no(status: int, description: str, **parameters: Any) -> Response:
    more = {"parameters": parameters} if parameters else {}
    return JSONResponse({"ok": False, "error_code": status, "description": description, **more}, status)


def _check_buttons(body: dict[str, Any]) -> None:
    for row in body.get("reply_markup", {}).get("inline_keyboard", []):
        for button in row:
            if not 1 <= len(button["callback_data"].encode()) <= 64:
                raise BadRequest("BUTTON_DATA_INVALID")
            if not button["text"]:
                raise BadRequest("can't parse inline keyboard button: Text must be non-empty")


def pressed(data: str, said: Said, **changes: Any) -> bytes:
    """The update that the Bot API posts when a button is pressed. `changes` replace keys of the query."""
    query: dict[str, Any] = {
        "id": "4382bfdwdsb323b2d9",
        "from": {"id": 77, "is_bot": False, "first_name": "Kim", "last_name": "Min-ji", "username": "kim"},
        "message": {"message_id": said.number, "date": 1_795_176_000, "chat": {"id": said.chat, "type": "group"}},
        "chat_instance": "-3",
        "data": data,
        **changes,
    }
    kept = {key: value for key, value in query.items() if value is not None}
    return json.dumps({"update_id": 1, "callback_query": kept}).encode()


def _read(body: dict[str, Any]) -> str:
    text = body.get("text", "")
    read = read_html(text) if body.get("parse_mode") == "HTML" else text
    if not read.strip():
        raise BadRequest("message text is empty")
    if len(read.encode("utf-16-le")) // 2 > 4_096:
        raise BadRequest("message is too long")
    return read


def read_html(text: str) -> str:
    """What people see of Telegram's HTML. Raises BadRequest in Telegram's words where it cannot be read."""
    seen, open_tags, at = [], [], 0
    while (start := text.find("<", at)) >= 0:
        seen.append(text[at:start])
        tag = _TAG.match(text, start)
        if tag is None or tag[2] not in _TAGS:
            raise BadRequest(f"can't parse entities: Unsupported start tag at byte offset {start}")
        if not tag[1]:
            open_tags.append(tag[2])
        elif not open_tags or open_tags.pop() != tag[2]:
            raise BadRequest(f"can't parse entities: Unexpected end tag at byte offset {start}")
        at = tag.end()
    if open_tags:
        raise BadRequest(f"can't parse entities: Can't find end tag corresponding to start tag {open_tags[-1]}")
    return html.unescape("".join([*seen, text[at:]]))
