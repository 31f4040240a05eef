"""What Slack's answers mean. It answers most refusals with HTTP 200 and `{"ok": false, "error": word}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.channels._callbacks import text_of, within
from gateway.channels._http import Answer, judge, retry_after
from gateway.model import Json, Receipt, Rejected, Retry, Sent, Unknown
from gateway.values import frozen

_WORD = re.compile(r"[a-z][a-z0-9_:,]{0,79}")
_LATER: Final = frozenset(
    {"ratelimited", "rate_limited", "service_unavailable", "request_timeout", "team_added_to_org"}
)
_UNSURE: Final = frozenset({"internal_error", "fatal_error"})  # "some aspect of the operation may have succeeded"
GONE: Final = frozenset(
    {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found", "cannot_reply_to_message"}
)
MOVED: Final = frozenset({"channel_not_found", "is_archived"})  # routing.yaml may name another channel by now
MISSHAPEN: Final = frozenset(
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


@frozen
class No:
    """A call that did not succeed, and Slack's own word for it, '' where there is none."""

    receipt: Retry | Rejected | Unknown
    word: str = ""


def of_api(answer: Answer) -> Mapping[str, Json] | No:
    """Slack's answer where it is `ok`, else what its refusal means."""
    given = answer.json if isinstance(answer.json, dict) else {}
    if given.get("ok") is True and 200 <= answer.status < 300:
        return given
    word = word_of(given.get("error"))
    receipt = judge(answer, word + _advice(word, given))
    if not isinstance(receipt, Sent):
        return No(receipt, word)
    if word in _LATER:
        return No(Retry(word, retry_after(answer.headers)), word)
    if word in _UNSURE:
        return No(Unknown(f"{word}: it may have been posted"), word)
    if word:
        return No(Rejected(word + _advice(word, given)), word)
    return No(Unknown("HTTP 200, but the answer cannot be read"))


def of_webhook(answer: Answer) -> Receipt:
    # A workflow's webhook and some of Slack's likenesses say it in JSON.
    given = answer.json
    if answer.status == 200 and (answer.text.strip() == "ok" or (isinstance(given, dict) and given.get("ok") is True)):
        return Sent()
    word = word_of(answer.text)
    receipt = judge(answer, word + _advice(word, {}))
    return Unknown("HTTP 200, but the answer is not ok") if isinstance(receipt, Sent) else receipt


def root_of(ref: Mapping[str, Json]) -> dict[str, str] | None:
    """Where a message stands: `channel` and `ts`; None where none is named."""
    channel, ts = ref.get("channel"), ref.get("ts")
    return (
        {"channel": channel, "ts": ts} if isinstance(channel, str) and isinstance(ts, str) and channel and ts else None
    )


def team_of(posted: Mapping[str, Json]) -> str:
    """The workspace in which it was posted; '' where Slack does not say."""
    return text_of(within(posted, "message").get("team")) or text_of(posted.get("team"))


def word_of(given: Json) -> str:
    """Slack's errors are single words; whatever else stands there may repeat our request, credential and all."""
    return given if isinstance(given, str) and _WORD.fullmatch(given) else ""


def _advice(word: str, given: Mapping[str, Json]) -> str:
    needed = word_of(given.get("needed"))
    scope = f" ({needed})" if word == "missing_scope" and needed else ""
    return f": {_ADVICE[word]}{scope}" if word in _ADVICE else ""
