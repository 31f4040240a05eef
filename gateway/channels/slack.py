"""`kind: slack`: an incoming webhook, or an app's bot token with edits and threads.

By webhook each change is a message of its own, for a webhook's answer names no message. With a bot token
the first message stands for the incident: it is kept true by `chat.update`, and a reply in its thread says
what changed. Slack answers most refusals with HTTP 200 and `{"ok": false, "error": word}`.
docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, docs.slack.dev/reference/methods
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr, field_validator, model_validator

from gateway.channels import _slack_blocks as blocks
from gateway.channels._http import Answer, Wire, judge, retry_after
from gateway.contracts import ChannelSettings, Surroundings
from gateway.fields import HttpUrl, Rate, SecretUrl
from gateway.model import Json, Message, Receipt, Ref, Rejected, Retry, Sent, Unknown

PERMALINK_SECONDS: Final = 2.0

_WORD = re.compile(r"[a-z][a-z0-9_:,]{0,79}")
_LATER: Final = frozenset(
    {"ratelimited", "rate_limited", "service_unavailable", "request_timeout", "team_added_to_org"}
)
_UNSURE: Final = frozenset({"internal_error", "fatal_error"})  # "some aspect of the operation may have succeeded"
_GONE: Final = frozenset(
    {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found", "cannot_reply_to_message"}
)
_MOVED: Final = frozenset({"channel_not_found", "is_archived"})  # routing.yaml may name another channel by now
_MISSHAPEN: Final = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "invalid_attachments", "msg_blocks_too_long", "msg_too_long"}
)
_ADVICE: Final = {
    "not_in_channel": "invite the app to the channel",
    "channel_not_found": "check the channel, and invite the app where it is private",
    "is_archived": "the channel is archived; name another",
    "channel_is_archived": "the channel is archived; name another",
    "missing_scope": "give the app the scope and install it again",
    **dict.fromkeys(
        ("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"), "check bot_token"
    ),
    **dict.fromkeys(("no_service", "no_team", "invalid_token"), "the webhook is gone; make a new one"),
}

_QUIET: Final[Mapping[str, Json]] = {"unfurl_links": False, "unfurl_media": False, "link_names": False}


class Settings(ChannelSettings):
    """Either `webhook_url`, or `bot_token` (scope chat:write) with `channel`, an id such as C0123 or a #name."""

    webhook_url: SecretUrl | None = None
    bot_token: SecretStr | None = None
    channel: str = ""
    api_url: HttpUrl = "https://slack.com/api"

    @field_validator("bot_token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[!-~]+", token.get_secret_value()):
            raise ValueError("is no token of Slack's; it looks like xoxb-…")
        return token

    @field_validator("channel")
    @classmethod
    def _is_one_word(cls, channel: str) -> str:
        if re.search(r"\s", channel):
            raise ValueError("must be the channel's id, such as C0123ABC, or its #name")
        return channel

    @model_validator(mode="after")
    def _one_way(self) -> Settings:
        if self.webhook_url is not None and self.bot_token is not None:
            raise ValueError("has both webhook_url and bot_token; keep one")
        if self.webhook_url is None and self.bot_token is None:
            raise ValueError("needs webhook_url, or bot_token and channel")
        if self.bot_token is not None and not self.channel:
            raise ValueError("bot_token needs channel: the channel's id, such as C0123ABC, or its #name")
        if self.webhook_url is not None and self.channel:
            raise ValueError("channel goes with bot_token; a webhook has its own channel")
        return self


def connect(settings: Settings, surroundings: Surroundings) -> Webhook | Bot:
    token = settings.bot_token.get_secret_value() if settings.bot_token else ""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    wire = Wire(timeout=settings.timeout, width=2, transport=surroundings.transport, headers=headers)
    paces = settings.pace if settings.pace is not None else (Rate(1, 1_000),)
    if settings.webhook_url is not None:
        return Webhook(settings.webhook_url.get_secret_value(), wire, paces)
    return Bot(settings.channel, settings.api_url, wire, paces)


class Webhook:
    """An incoming webhook: it only ever adds."""

    edits = False
    width = 2
    unknown_again: int | None = None

    def __init__(self, url: str, wire: Wire, paces: tuple[Rate, ...]) -> None:
        self.paces = paces
        self._url = url
        self._wire = wire

    def escape(self, text: str) -> str:
        return blocks.escape(text)

    async def send(self, message: Message, ref: Ref) -> Receipt:  # noqa: ARG002
        """Sent with an empty ref. Refused blocks are sent once more as words alone."""
        said = blocks.whole(message)
        answer = await self._wire.call("POST", self._url, json={**said, **_QUIET})
        if isinstance(answer, Answer) and answer.status == 400 and _word(answer.text) in _MISSHAPEN:
            answer = await self._wire.call("POST", self._url, json={"text": said["text"], **_QUIET})
        return _of_webhook(answer) if isinstance(answer, Answer) else answer

    async def close(self) -> None:
        await self._wire.close()


class Bot:
    """An app with a bot token. The ref: `channel` and `ts` of the message at the root, `permalink` where Slack
    gave one, and `said`, the id of the message that the root says already while its thread does not."""

    edits = True
    width = 2
    unknown_again: int | None = None

    def __init__(
        self, channel: str, api_url: str, wire: Wire, paces: tuple[Rate, ...], patience: float = PERMALINK_SECONDS
    ) -> None:
        self.paces = paces
        self._patience = patience
        self._channel = channel
        self._api = api_url
        self._wire = wire

    def escape(self, text: str) -> str:
        return blocks.escape(text)

    async def send(self, message: Message, ref: Ref) -> Receipt:
        """Post it; where `ref` names a message, change that one and say in its thread what changed.

        A quiet message changes the root alone. A root that is gone, or may not be changed, is posted anew."""
        root = _root(ref)
        if root is None:
            return await self._post(message)
        if ref.get("said") != message.id:
            updated = await self._say("chat.update", {**root, **blocks.whole(message)})
            if isinstance(updated, _No):
                return await self._post(message) if updated.word in _GONE | _MOVED else updated.receipt
        standing = {key: value for key, value in ref.items() if key != "said"}
        return Sent(standing) if message.quiet else await self._reply(message, root, standing)

    async def close(self) -> None:
        await self._wire.close()

    async def _post(self, message: Message) -> Receipt:
        posted = await self._say("chat.postMessage", {"channel": self._channel, **blocks.whole(message), **_QUIET})
        if isinstance(posted, _No):
            return posted.receipt
        root = _root(posted)
        if root is None:
            return Sent({}, "Slack named no message, so it cannot be changed")
        permalink = await self._permalink(root)
        return Sent({**root, "permalink": permalink} if permalink else root)

    async def _reply(self, message: Message, root: Mapping[str, str], standing: Ref) -> Receipt:
        thread = {"channel": root["channel"], "thread_ts": root["ts"]}
        replied = await self._say("chat.postMessage", {**thread, **blocks.in_thread(message), **_QUIET})
        if not isinstance(replied, _No):
            return Sent(standing)
        if replied.word in _GONE:
            return await self._post(message)
        # The root is true already: the next attempt has only the thread to tell.
        return dataclasses.replace(replied.receipt, ref={**standing, "said": message.id})

    async def _say(self, method: str, body: Mapping[str, Json]) -> Mapping[str, Json] | _No:
        """One call; blocks that Slack refuses give way to words alone: no page is lost to its own looks."""
        said = await self._call(method, body)
        if isinstance(said, _No) and said.word in _MISSHAPEN:
            return await self._call(method, {**body, "blocks": [], "attachments": []})
        return said

    async def _call(self, method: str, body: Mapping[str, Json]) -> Mapping[str, Json] | _No:
        answer = await self._wire.call("POST", f"{self._api}/{method}", json=dict(body))
        return _of_api(answer) if isinstance(answer, Answer) else _No(answer)

    async def _permalink(self, root: Mapping[str, str]) -> str:
        """The message's address for people, '' where Slack does not give it at once: nothing depends on it."""
        query = urllib.parse.urlencode({"channel": root["channel"], "message_ts": root["ts"]})
        try:
            async with asyncio.timeout(self._patience):
                answer = await self._wire.call("GET", f"{self._api}/chat.getPermalink?{query}")
        except TimeoutError:
            return ""
        given = answer.json if isinstance(answer, Answer) else None
        link = given.get("permalink") if isinstance(given, dict) else None
        return link if isinstance(link, str) and link.startswith(("https://", "http://")) else ""


@dataclass(frozen=True, slots=True)
class _No:
    """A call that did not succeed, and Slack's own word for it, '' where there is none."""

    receipt: Retry | Rejected | Unknown
    word: str = ""


def _of_api(answer: Answer) -> Mapping[str, Json] | _No:
    """Slack's answer where it is `ok`, else what its refusal means."""
    given = answer.json if isinstance(answer.json, dict) else {}
    if given.get("ok") is True and 200 <= answer.status < 300:
        return given
    word = _word(given.get("error"))
    receipt = judge(answer, word + _advice(word, given))
    if not isinstance(receipt, Sent):
        return _No(receipt, word)
    if word in _LATER:
        return _No(Retry(word, retry_after(answer.headers)), word)
    if word in _UNSURE:
        return _No(Unknown(f"{word}: it may have been posted"), word)
    if word:
        return _No(Rejected(word + _advice(word, given)), word)
    return _No(Unknown("HTTP 200, but the answer cannot be read"))


def _of_webhook(answer: Answer) -> Receipt:
    # A workflow's webhook and some of Slack's likenesses say it in JSON.
    given = answer.json
    if answer.status == 200 and (answer.text.strip() == "ok" or (isinstance(given, dict) and given.get("ok") is True)):
        return Sent()
    word = _word(answer.text)
    receipt = judge(answer, word + _advice(word, {}))
    return Unknown("HTTP 200, but the answer is not ok") if isinstance(receipt, Sent) else receipt


def _root(ref: Mapping[str, Json]) -> dict[str, str] | None:
    channel, ts = ref.get("channel"), ref.get("ts")
    return (
        {"channel": channel, "ts": ts} if isinstance(channel, str) and isinstance(ts, str) and channel and ts else None
    )


def _word(given: Json) -> str:
    """Slack's errors are single words; whatever else stands there may repeat our request, credential and all."""
    return given if isinstance(given, str) and _WORD.fullmatch(given) else ""


def _advice(word: str, given: Mapping[str, Json]) -> str:
    needed = _word(given.get("needed"))
    scope = f" ({needed})" if word == "missing_scope" and needed else ""
    return f": {_ADVICE[word]}{scope}" if word in _ADVICE else ""
