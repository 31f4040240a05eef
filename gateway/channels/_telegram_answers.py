"""What the Bot API's answers mean: a result, or a refusal in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.channels._http import LONGEST_WAIT, Answer, judge
from gateway.model import Json, Millis, Rejected, Retry, Sent, Unknown
from gateway.values import frozen

SAME: Final = "message is not modified"
_GONE: Final = ("message to edit not found", "message can't be edited", "message_id_invalid")
MISSHAPEN: Final = ("can't parse entities", "message is too long", "message_too_long", "entities_too_long")
BAD_BUTTONS: Final = ("button_", "keyboard", "reply_markup", "expected as reply markup")
_ADVICE: Final = {
    "chat not found": "check chat_id, and write to the bot or add it to the chat first",
    "message thread not found": "check message_thread_id: the topic is gone",
    "topic_closed": "the topic is closed",
    "bot was kicked": "add the bot to the chat again",
    "bot was blocked": "unblock the bot in Telegram",
    "group chat was deleted": "name another chat_id",
    "not enough rights": "let the bot write in the chat",
}


@frozen
class No:
    """A call that did not succeed: what it means, Telegram's words in lower case, where the chat has moved to."""

    receipt: Retry | Rejected | Unknown
    words: str = ""
    moved_to: int | None = None

    @property
    def gone(self) -> bool:
        return self.moved_to is not None or any(fault in self.words for fault in _GONE)


def read(answer: Answer, secret: str) -> Mapping[str, Json] | No:
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
    return No(receipt, told.lower(), moved if type(moved) is int else None)


def _wait(parameters: Mapping[str, Json]) -> Millis | None:
    # Telegram puts the wait, in seconds, inside the JSON. core.telegram.org/bots/api#responseparameters
    wait = parameters.get("retry_after")
    return min(wait * 1_000, LONGEST_WAIT) if type(wait) is int and wait > 0 else None


def _advice(status: int, told: str) -> str:
    if status in (401, 404):
        return ": check bot_token"
    return next((f": {advice}" for fault, advice in _ADVICE.items() if fault in told.lower()), "")
