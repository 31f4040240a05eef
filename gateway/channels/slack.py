"""`kind: slack`: an incoming webhook, or an app's bot token with edits and threads.

By webhook each change is a message of its own, for a webhook's answer names no message. With a bot token
the first message stands for the incident: it is kept true by `chat.update`, and a reply in its thread says
what changed. Slack answers most refusals with HTTP 200 and `{"ok": false, "error": word}`.
docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, docs.slack.dev/reference/methods

With a `signing_secret` the root carries buttons, and what is pressed is heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import urllib.parse
from collections.abc import Mapping
from typing import ClassVar, Final

from pydantic import SecretStr, field_validator, model_validator

from gateway.channels import _slack_blocks as blocks
from gateway.channels import _slack_hearing as hearing
from gateway.channels._callbacks import agree, text_of
from gateway.channels._http import Answer, Wire
from gateway.channels._slack_answers import GONE, MISSHAPEN, MOVED, No, of_api, of_webhook, root_of, team_of, word_of
from gateway.contracts import Call, ChannelSettings, Heard, Ignored, Pressed, Reply, Surroundings
from gateway.errors import BadCredential
from gateway.fields import HttpUrl, Rate, SecretUrl
from gateway.model import Json, Message, Receipt, Ref, Sent

PATIENCE_S: Final = 2.0
"""For what a message does not depend on: its address, and a word to whoever pressed, whom Slack wants answered
within three seconds."""

_QUIET: Final[Mapping[str, Json]] = {"unfurl_links": False, "unfurl_media": False, "link_names": False}


class Settings(ChannelSettings):
    """Either `webhook_url`, or `bot_token` (scope chat:write) with `channel`, an id such as C0123 or a #name.

    `signing_secret`, of the same app, for buttons."""

    short_forms: ClassVar[bool] = False

    webhook_url: SecretUrl | None = None
    bot_token: SecretStr | None = None
    channel: str = ""
    signing_secret: SecretStr | None = None
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
        if self.webhook_url is not None and self.signing_secret is not None:
            raise ValueError(
                "signing_secret goes with bot_token; what a webhook said cannot be changed, nor its buttons"
            )
        return self


def connect(settings: Settings, surroundings: Surroundings) -> Webhook | Bot:
    token = settings.bot_token.get_secret_value() if settings.bot_token else ""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    # One connection more than there are sends, so that whoever presses need not wait for them.
    wire = Wire(timeout=settings.timeout, width=3, transport=surroundings.transport, headers=headers)
    paces = settings.pace if settings.pace is not None else (Rate(1, 1_000),)
    if settings.webhook_url is not None:
        return Webhook(settings.webhook_url.get_secret_value(), wire, paces)
    return Bot(settings, wire, paces)


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
        if isinstance(answer, Answer) and answer.status == 400 and word_of(answer.text) in MISSHAPEN:
            answer = await self._wire.call("POST", self._url, json={"text": said["text"], **_QUIET})
        return of_webhook(answer) if isinstance(answer, Answer) else answer

    async def close(self) -> None:
        await self._wire.close()


class Bot:
    """An app with a bot token. The ref: `channel` and `ts` of the message at the root, its workspace `team` and its
    `permalink` where Slack told them, and `said`, the id of the message that the root says already while its thread
    does not."""

    edits = True
    width = 2
    unknown_again: int | None = None

    def __init__(self, settings: Settings, wire: Wire, paces: tuple[Rate, ...], patience: float = PATIENCE_S) -> None:
        self.paces = paces
        self._patience = patience
        self._channel = settings.channel
        # A name tells nothing of its id. Ids begin with C, D or G. docs.slack.dev/reference/objects/conversation-object
        self._id = settings.channel if re.fullmatch(r"[CDG][A-Z0-9]{5,}", settings.channel) else ""
        self._api = settings.api_url
        self._secret = settings.signing_secret.get_secret_value() if settings.signing_secret else ""
        self._wire = wire
        self._team = ""

    @property
    def listens(self) -> bool:
        return bool(self._secret)

    def escape(self, text: str) -> str:
        return blocks.escape(text)

    async def send(self, message: Message, ref: Ref) -> Receipt:
        """Post it; where `ref` names a message, change that one and say in its thread what changed.

        A quiet message changes the root alone. A root that is gone, or may not be changed, is posted anew."""
        root = root_of(ref)
        if root is None:
            return await self._post(message)
        if ref.get("said") != message.id:
            updated = await self._say("chat.update", {**root, **self._whole(message)})
            if isinstance(updated, No):
                return await self._post(message) if updated.word in GONE | MOVED else updated.receipt
        standing = {key: value for key, value in ref.items() if key != "said"}
        return Sent(standing) if message.quiet else await self._reply(message, root, standing)

    def hear(self, call: Call) -> Heard:
        """A press of one of our buttons. Ignored where it was pressed in a channel that certainly is another."""
        if not self._secret:
            raise BadCredential("There is no signing_secret to verify it by.")
        heard = hearing.hear(call, self._secret)
        if isinstance(heard, Pressed) and self._id and heard.where["channel"] != self._id:
            return Ignored("pressed in another channel")
        return heard

    async def agrees(self, where: Mapping[str, Json], ref: Ref) -> bool:
        """Root for root, within one workspace: the bot's own where the ref does not tell. Where Slack does not tell it
        either, the signature, the channel and the message must do: a page that nobody can answer helps nobody."""
        if "guest_of" in where or not agree(where, ref, "channel", "ts"):
            return False
        known = ref.get("team") or await self._own_team()
        return not known or where.get("team") == known

    async def reply(self, heard: Heard, text: str) -> Reply:
        """An empty answer; the words are a message of their own, which only whoever pressed can see."""
        if isinstance(heard, Pressed) and text:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await self._call("chat.postEphemeral", {**heard.about, "text": blocks.escape(text)})
        return Reply()

    async def close(self) -> None:
        await self._wire.close()

    async def _own_team(self) -> str:
        """The bot's own workspace, asked for once; '' where Slack does not tell it at once."""
        if not self._team:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    told = await self._call("auth.test", {})
                    self._team = "" if isinstance(told, No) else text_of(told.get("team_id"))
        return self._team

    def _whole(self, message: Message) -> Mapping[str, Json]:
        """The message at the root stays: it shows how things stand, and its thread what only passes."""
        root = dataclasses.replace(message, title=message.standing or message.title)
        return blocks.whole(root, answered=self.listens)

    async def _post(self, message: Message) -> Receipt:
        posted = await self._say("chat.postMessage", {"channel": self._channel, **self._whole(message), **_QUIET})
        if isinstance(posted, No):
            return posted.receipt
        root = root_of(posted)
        if root is None:
            return Sent({}, "Slack named no message, so it cannot be changed")
        self._id = root["channel"]
        more = {"team": team_of(posted), "permalink": await self._permalink(root)}
        return Sent({**root, **{key: value for key, value in more.items() if value}})

    async def _reply(self, message: Message, root: Mapping[str, str], standing: Ref) -> Receipt:
        thread = {"channel": root["channel"], "thread_ts": root["ts"]}
        replied = await self._say("chat.postMessage", {**thread, **blocks.in_thread(message), **_QUIET})
        if not isinstance(replied, No):
            return Sent(standing)
        if replied.word in GONE:
            return await self._post(message)
        # The root is true already: the next attempt has only the thread to tell.
        return dataclasses.replace(replied.receipt, ref={**standing, "said": message.id})

    async def _say(self, method: str, body: Mapping[str, Json]) -> Mapping[str, Json] | No:
        """One call; blocks that Slack refuses give way to words alone: no page is lost to its own looks."""
        said = await self._call(method, body)
        if isinstance(said, No) and said.word in MISSHAPEN:
            return await self._call(method, {**body, "blocks": [], "attachments": []})
        return said

    async def _call(self, method: str, body: Mapping[str, Json]) -> Mapping[str, Json] | No:
        answer = await self._wire.call("POST", f"{self._api}/{method}", json=dict(body))
        return of_api(answer) if isinstance(answer, Answer) else No(answer)

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
