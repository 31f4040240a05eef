"""`kind: telegram`: one chat or one topic of it, by the Bot API.

The first message stands for the incident and is edited as it lives; where a bell should ring (it got worse, it
is over, it is back) a short reply to it follows, for an edit rings for nobody; who acted is a reply without a bell.
The token stands in every address, so addresses are never shown. core.telegram.org/bots/api

With a `secret_token` the message carries buttons, and what is pressed is heard: Telegram is told where to call.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import urllib.parse
from collections.abc import Mapping
from typing import ClassVar, Final

import structlog
from pydantic import Field, SecretStr, field_validator

from gateway.channels import _telegram_hearing as hearing
from gateway.channels import _telegram_html as words
from gateway.channels._callbacks import agree
from gateway.channels._http import Answer, Wire
from gateway.channels._telegram_answers import BAD_BUTTONS, MISSHAPEN, SAME, No, read
from gateway.contracts import Call, ChannelSettings, Heard, Ignored, Pressed, Reply, Surroundings
from gateway.errors import BadCredential
from gateway.fields import HttpUrl, Rate
from gateway.model import Json, Message, Receipt, Ref, Sent, Severity

log = structlog.get_logger()

_TOKEN = re.compile(r"[A-Za-z0-9_-]+:[A-Za-z0-9_-]+")
_CHAT = re.compile(r"-?\d{1,18}|@[A-Za-z]\w{3,31}", re.ASCII)
_EDIT_ALONE: Final = frozenset({"eased", "muted", "linked"})
_NO_BELL: Final = frozenset({"acknowledged", "noted", "assigned"})
_MOST_IN_ANSWER: Final = 200  # core.telegram.org/bots/api#answercallbackquery
_PATIENCE_S: Final = 2.0


class Settings(ChannelSettings):
    """`chat_id`: a number (negative for groups) or the @name of a public one. `message_thread_id`: a topic of it.
    `secret_token`: of our own making, for buttons: by it we know Telegram again."""

    short_forms: ClassVar[bool] = False

    bot_token: SecretStr
    chat_id: str
    message_thread_id: int | None = Field(default=None, gt=0)
    secret_token: SecretStr | None = None
    api_url: HttpUrl = "https://api.telegram.org"

    @field_validator("bot_token")
    @classmethod
    def _looks_like_one(cls, token: SecretStr) -> SecretStr:
        if not _TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError("is no token of @BotFather's; it looks like 123456:ABC-…")
        return token

    @field_validator("secret_token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[A-Za-z0-9_-]{0,256}", token.get_secret_value()):
            raise ValueError("must be 1 to 256 of A-Z, a-z, 0-9, _ and -")
        return token

    @field_validator("chat_id")
    @classmethod
    def _names_a_chat(cls, chat: str) -> str:
        if not _CHAT.fullmatch(chat):
            raise ValueError("must be the chat's number, such as -1001234567890, or the @name of a public chat")
        return chat


def connect(settings: Settings, surroundings: Surroundings) -> Telegram:
    # One connection more than there are sends, so that whoever presses need not wait for them.
    wire = Wire(timeout=settings.timeout, width=3, transport=surroundings.transport)
    return Telegram(settings, surroundings, wire)


class Telegram:
    """The ref: `chat`, `message_id` and `topic` of the message that stands, `permalink` in public groups, and
    `said`, the id of the message that it says already while the reply that rings has not gone out."""

    edits = True
    width = 2
    unknown_again: int | None = None

    def __init__(self, settings: Settings, surroundings: Surroundings, wire: Wire) -> None:
        token = settings.bot_token.get_secret_value()
        self.paces = settings.pace if settings.pace is not None else _paces(settings.chat_id)
        self._name = surroundings.name
        self._public_url = surroundings.public_url
        self._wire = wire
        self._password = settings.secret_token.get_secret_value() if settings.secret_token else ""
        self._secret = token.partition(":")[2]
        self._api = f"{settings.api_url}/bot{token}"
        self._topic = {} if settings.message_thread_id is None else {"message_thread_id": settings.message_thread_id}
        self._chat: int | str = settings.chat_id if settings.chat_id.startswith("@") else int(settings.chat_id)

    @property
    def listens(self) -> bool:
        return bool(self._password)

    def escape(self, text: str) -> str:
        return words.escape(text)

    async def send(self, message: Message, ref: Ref) -> Receipt:
        """Post it; where `ref` names a message, edit that one, and reply to it where a bell should ring.

        A message that is gone, or may not be edited, is posted anew."""
        standing = _standing(ref)
        if standing is None:
            return await self._post(message)
        if ref.get("said") != message.id:
            edited = await self._say("editMessageText", {**standing, **self._whole(message)})
            if isinstance(edited, No) and edited.gone:
                return await self._post(message)
            if isinstance(edited, No) and SAME not in edited.words:
                return edited.receipt
        kept = {key: value for key, value in ref.items() if key != "said"}
        return Sent(kept) if message.quiet or message.occasion in _EDIT_ALONE else await self._ring(message, kept)

    def hear(self, call: Call) -> Heard:
        """A press of one of our buttons. Ignored where it was pressed in a chat that certainly is another."""
        if not self._password:
            raise BadCredential("There is no secret_token to verify it by.")
        heard = hearing.hear(call, self._password)
        if isinstance(heard, Pressed) and isinstance(self._chat, int) and heard.where["chat"] != self._chat:
            return Ignored("pressed in another chat")
        return heard

    async def agrees(self, where: Mapping[str, Json], ref: Ref) -> bool:
        return agree(where, ref, "chat", "message_id")

    async def reply(self, heard: Heard, text: str) -> Reply:
        """An empty answer; the words go by a call of their own, which also stops the button from turning."""
        if isinstance(heard, Pressed):
            said = {**heard.about, **({"text": words.cut(text, _MOST_IN_ANSWER)} if text else {})}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await self._call("answerCallbackQuery", said)
        return Reply()

    async def announce(self) -> Receipt:
        """Tell Telegram where to call, and what for: one address for each bot, the newest one."""
        if not (self._password and self._public_url):
            return Sent({}, "no secret_token or no public_url: nothing to announce")
        address = f"{self._public_url}/callbacks/telegram/{urllib.parse.quote(self._name)}"
        wanted = {"url": address, "secret_token": self._password, "allowed_updates": ["callback_query"]}
        set_ = await self._call("setWebhook", wanted)
        return set_.receipt if isinstance(set_, No) else Sent()

    async def close(self) -> None:
        await self._wire.close()

    def _whole(self, message: Message) -> dict[str, Json]:
        """The text, and its buttons where they can be answered; none on an edit takes away those that stand. What only
        passes is said by the reply."""
        buttons = hearing.keyboard(message.actions, message.incident.id) if self._password else {}
        root = dataclasses.replace(message, title=message.standing or message.title)
        return {"text": words.whole(root), **buttons}

    async def _post(self, message: Message) -> Receipt:
        body = {**self._whole(message), **self._topic, **_silence(message)}
        posted = await self._say("sendMessage", {**body, "chat_id": self._chat})
        if isinstance(posted, No) and posted.moved_to is not None:
            # A group that grows becomes another chat, without our topic.
            self._chat, self._topic = posted.moved_to, {}
            log.warning("chat moved: put the new chat_id into routing.yaml", channel=self._name, chat_id=self._chat)
            body = {key: value for key, value in body.items() if key != "message_thread_id"}
            posted = await self._say("sendMessage", {**body, "chat_id": self._chat})
        if isinstance(posted, No):
            return posted.receipt
        ref = _ref(posted)
        if not ref:
            return Sent({}, "Telegram named no message, so it cannot be edited")
        return Sent({**ref, **({"topic": self._topic["message_thread_id"]} if self._topic else {})})

    async def _ring(self, message: Message, kept: Ref) -> Receipt:
        reply = {"message_id": kept["message_id"], "allow_sending_without_reply": True}
        said = {"chat_id": kept["chat"], "text": words.in_reply(message), "reply_parameters": reply}
        topic = {"message_thread_id": kept["topic"]} if type(kept.get("topic")) is int else {}
        rung = await self._say("sendMessage", {**said, **topic, **_silence(message)})
        if not isinstance(rung, No):
            return Sent(kept)
        if rung.gone:
            return await self._post(message)
        # The message says it already: the next attempt has only the bell to ring.
        return dataclasses.replace(rung.receipt, ref={**kept, "said": message.id})

    async def _say(self, method: str, body: Mapping[str, Json]) -> Mapping[str, Json] | No:
        """One call; markup that Telegram cannot read gives way to plain words, buttons that it refuses to none: no
        page is lost to its own looks."""
        shown = {**body, "link_preview_options": {"is_disabled": True}}
        said = await self._call(method, {**shown, "parse_mode": "HTML"})
        if isinstance(said, No) and any(fault in said.words for fault in MISSHAPEN):
            return await self._call(method, {**shown, "text": words.plain(body["text"])})
        if isinstance(said, No) and "reply_markup" in body and any(fault in said.words for fault in BAD_BUTTONS):
            return await self._say(method, {key: value for key, value in body.items() if key != "reply_markup"})
        return said

    async def _call(self, method: str, body: Mapping[str, Json]) -> Mapping[str, Json] | No:
        answer = await self._wire.call("POST", f"{self._api}/{method}", json=dict(body))
        return read(answer, self._secret) if isinstance(answer, Answer) else No(answer)


def _ref(result: Mapping[str, Json]) -> dict[str, Json]:
    """What names the message that was sent. Its address is certain only where the group has a public name."""
    number, chat = result.get("message_id"), result.get("chat")
    chat = chat if isinstance(chat, dict) else {}
    if _standing({"chat": chat.get("id"), "message_id": number}) is None:
        return {}
    ref = {"chat": chat["id"], "message_id": number}
    name = chat.get("username")
    if chat.get("type") in ("supergroup", "channel") and isinstance(name, str) and re.fullmatch(r"\w+", name, re.ASCII):
        ref["permalink"] = f"https://t.me/{name}/{number}"
    return ref


def _standing(ref: Ref) -> dict[str, int] | None:
    chat, number = ref.get("chat"), ref.get("message_id")
    return {"chat_id": chat, "message_id": number} if type(chat) is int and type(number) is int else None


def _silence(message: Message) -> dict[str, bool]:
    rings = not message.quiet and message.occasion not in _NO_BELL and message.incident.severity is not Severity.INFO
    return {"disable_notification": not rings}


def _paces(chat: str) -> tuple[Rate, ...]:
    # core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
    a_second = Rate(1, 1_000)
    return (a_second, Rate(20, 60_000)) if chat.startswith(("-", "@")) else (a_second,)
