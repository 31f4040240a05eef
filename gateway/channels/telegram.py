"""`kind: telegram`: one chat or one topic of it, by the Bot API.

The first message stands for the incident and is edited as it lives; where a bell should ring (it got worse, it
is over, it is back) a short reply to it follows, for an edit rings for nobody. The token stands in every
address, so addresses are never shown. core.telegram.org/bots/api
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import Field, SecretStr, field_validator

from gateway.channels import _telegram_html as words
from gateway.channels._http import LONGEST_WAIT, Answer, Wire, judge
from gateway.contracts import ChannelSettings, Surroundings
from gateway.fields import HttpUrl, Rate
from gateway.model import Json, Message, Millis, Receipt, Ref, Rejected, Retry, Sent, Severity, Unknown

log = structlog.get_logger()

_TOKEN = re.compile(r"[A-Za-z0-9_-]+:[A-Za-z0-9_-]+")
_CHAT = re.compile(r"-?\d{1,18}|@[A-Za-z]\w{3,31}", re.ASCII)
_EDIT_ALONE: Final = frozenset({"eased", "acknowledged"})
_SAME: Final = "message is not modified"
_GONE: Final = ("message to edit not found", "message can't be edited", "message_id_invalid")
_MISSHAPEN: Final = ("can't parse entities", "message is too long", "message_too_long", "entities_too_long")
_ADVICE: Final = {
    "chat not found": "check chat_id, and write to the bot or add it to the chat first",
    "message thread not found": "check message_thread_id: the topic is gone",
    "topic_closed": "the topic is closed",
    "bot was kicked": "add the bot to the chat again",
    "bot was blocked": "unblock the bot in Telegram",
    "group chat was deleted": "name another chat_id",
    "not enough rights": "let the bot write in the chat",
}


class Settings(ChannelSettings):
    """`chat_id`: a number (negative for groups) or the @name of a public one. `message_thread_id`: a topic of it."""

    bot_token: SecretStr
    chat_id: str
    message_thread_id: int | None = Field(default=None, gt=0)
    api_url: HttpUrl = "https://api.telegram.org"

    @field_validator("bot_token")
    @classmethod
    def _looks_like_one(cls, token: SecretStr) -> SecretStr:
        if not _TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError("is no token of @BotFather's; it looks like 123456:ABC-…")
        return token

    @field_validator("chat_id")
    @classmethod
    def _names_a_chat(cls, chat: str) -> str:
        if not _CHAT.fullmatch(chat):
            raise ValueError("must be the chat's number, such as -1001234567890, or the @name of a public chat")
        return chat


def connect(settings: Settings, surroundings: Surroundings) -> Telegram:
    wire = Wire(timeout=settings.timeout, width=2, transport=surroundings.transport)
    return Telegram(settings, surroundings.name, wire)


class Telegram:
    """The ref: `chat`, `message_id` and `topic` of the message that stands, `permalink` in public groups, and
    `said`, the id of the message that it says already while the reply that rings has not gone out."""

    edits = True
    width = 2
    unknown_again: int | None = None

    def __init__(self, settings: Settings, name: str, wire: Wire) -> None:
        token = settings.bot_token.get_secret_value()
        self.paces = settings.pace if settings.pace is not None else _paces(settings.chat_id)
        self._name = name
        self._wire = wire
        self._secret = token.partition(":")[2]
        self._api = f"{settings.api_url}/bot{token}"
        self._topic = {} if settings.message_thread_id is None else {"message_thread_id": settings.message_thread_id}
        self._chat: int | str = settings.chat_id if settings.chat_id.startswith("@") else int(settings.chat_id)

    def escape(self, text: str) -> str:
        return words.escape(text)

    async def send(self, message: Message, ref: Ref) -> Receipt:
        """Post it; where `ref` names a message, edit that one, and reply to it where a bell should ring.

        A message that is gone, or may not be edited, is posted anew."""
        standing = _standing(ref)
        if standing is None:
            return await self._post(message)
        if ref.get("said") != message.id:
            edited = await self._say("editMessageText", {**standing, "text": words.whole(message)})
            if isinstance(edited, _No) and edited.gone:
                return await self._post(message)
            if isinstance(edited, _No) and _SAME not in edited.words:
                return edited.receipt
        kept = {key: value for key, value in ref.items() if key != "said"}
        return Sent(kept) if message.quiet or message.occasion in _EDIT_ALONE else await self._ring(message, kept)

    async def close(self) -> None:
        await self._wire.close()

    async def _post(self, message: Message) -> Receipt:
        body = {"text": words.whole(message), **self._topic, **_silence(message)}
        posted = await self._say("sendMessage", {**body, "chat_id": self._chat})
        if isinstance(posted, _No) and posted.moved_to is not None:
            # A group that grows becomes another chat, without our topic.
            self._chat, self._topic = posted.moved_to, {}
            log.warning("chat moved: put the new chat_id into routing.yaml", channel=self._name, chat_id=self._chat)
            body = {key: value for key, value in body.items() if key != "message_thread_id"}
            posted = await self._say("sendMessage", {**body, "chat_id": self._chat})
        if isinstance(posted, _No):
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
        if not isinstance(rung, _No):
            return Sent(kept)
        if rung.gone:
            return await self._post(message)
        # The message says it already: the next attempt has only the bell to ring.
        return dataclasses.replace(rung.receipt, ref={**kept, "said": message.id})

    async def _say(self, method: str, body: Mapping[str, Json]) -> Mapping[str, Json] | _No:
        """One call; markup that Telegram cannot read gives way to plain words: no page is lost to its own looks."""
        said = await self._call(method, {**body, "parse_mode": "HTML"})
        if isinstance(said, _No) and any(fault in said.words for fault in _MISSHAPEN):
            return await self._call(method, {**body, "text": words.plain(body["text"])})
        return said

    async def _call(self, method: str, body: Mapping[str, Json]) -> Mapping[str, Json] | _No:
        shown = {**body, "link_preview_options": {"is_disabled": True}}
        answer = await self._wire.call("POST", f"{self._api}/{method}", json=shown)
        return _read(answer, self._secret) if isinstance(answer, Answer) else _No(answer)


@dataclass(frozen=True, slots=True)
class _No:
    """A call that did not succeed: what it means, Telegram's words in lower case, where the chat has moved to."""

    receipt: Retry | Rejected | Unknown
    words: str = ""
    moved_to: int | None = None

    @property
    def gone(self) -> bool:
        return self.moved_to is not None or any(fault in self.words for fault in _GONE)


def _read(answer: Answer, secret: str) -> Mapping[str, Json] | _No:
    """The `result` where it is `ok`, else what the refusal means."""
    given = answer.json if isinstance(answer.json, dict) else {}
    if given.get("ok") is True and 200 <= answer.status < 300:
        result = given.get("result")
        return result if isinstance(result, dict) else {}
    description = given.get("description")
    # A proxy's complaint may repeat the address, and the token stands in it.
    told = description if isinstance(description, str) and secret not in description else ""
    parameters = given.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    receipt = judge(answer, told + _advice(answer.status, told))
    if isinstance(receipt, Sent):
        receipt = Unknown(f"HTTP {answer.status}, but the answer cannot be read")
    elif isinstance(receipt, Retry):
        receipt = Retry(receipt.reason, _wait(parameters) or receipt.after)
    moved = parameters.get("migrate_to_chat_id")
    return _No(receipt, told.lower(), moved if type(moved) is int else None)


def _wait(parameters: Mapping[str, Json]) -> Millis | None:
    # Telegram puts the wait, in seconds, inside the JSON. core.telegram.org/bots/api#responseparameters
    wait = parameters.get("retry_after")
    return min(wait * 1_000, LONGEST_WAIT) if type(wait) is int and wait > 0 else None


def _advice(status: int, told: str) -> str:
    if status in (401, 404):
        return ": check bot_token"
    return next((f": {advice}" for fault, advice in _ADVICE.items() if fault in told.lower()), "")


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
    return {"disable_notification": message.quiet or message.incident.severity is Severity.INFO}


def _paces(chat: str) -> tuple[Rate, ...]:
    # core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
    a_second = Rate(1, 1_000)
    return (a_second, Rate(20, 60_000)) if chat.startswith(("-", "@")) else (a_second,)
