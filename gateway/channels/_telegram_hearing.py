"""A press of one of our buttons in Telegram, verified and read. Pure; the channel `telegram` answers it.

core.telegram.org/bots/api#setwebhook, core.telegram.org/bots/api#callbackquery
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from gateway.channels._callbacks import document, same, text_of, within
from gateway.contracts import Call, Heard, Ignored, Pressed
from gateway.errors import BadCredential
from gateway.model import Action, Json

MOST_BYTES: Final = 64
_LETTERS: Final = {"acknowledge": "a", "resolve": "r", "silence": "s"}
_VERBS: Final[Mapping[str, Literal["acknowledge", "resolve", "silence"]]] = {
    "a": "acknowledge",
    "r": "resolve",
    "s": "silence",
}
_IN_A_ROW: Final = 2


def keyboard(actions: tuple[Action, ...], subject: str) -> dict[str, Json]:
    """`reply_markup` with a button for each action, two in a row; {} where there is none, or the subject's name is
    too long: the data of a button has at most 64 bytes. Without `reply_markup` an edit takes the buttons away."""
    buttons = [
        {"text": action.label or action.verb, "callback_data": f"{_LETTERS[action.verb]}:{subject}"}
        for action in actions
    ]
    if not subject or not buttons or any(len(b["callback_data"].encode()) > MOST_BYTES for b in buttons):
        return {}
    rows = [buttons[at : at + _IN_A_ROW] for at in range(0, len(buttons), _IN_A_ROW)]
    return {"reply_markup": {"inline_keyboard": rows}}


def hear(call: Call, secret_token: str) -> Heard:
    """Raises BadCredential where the request does not carry our secret token. Telegram signs no time: a repeat
    is known by the query's id."""
    if not same(call.headers.get("x-telegram-bot-api-secret-token", ""), secret_token):
        raise BadCredential("Telegram's secret token is missing or wrong.")
    query = within(document(call.body), "callback_query")
    message = within(query, "message")
    chat, number = within(message, "chat").get("id"), message.get("message_id")
    letter, _, subject = text_of(query.get("data")).partition(":")
    key = text_of(query.get("id"))
    if not key:
        return Ignored("no button was pressed")
    if letter not in _VERBS or not subject or type(chat) is not int or type(number) is not int:
        return Ignored("no button of ours was pressed")
    return Pressed(
        key=key,
        verb=_VERBS[letter],
        by=_name(within(query, "from")),
        subject=subject,
        where={"chat": chat, "message_id": number},
        about={"callback_query_id": key},
    )


def _name(user: Mapping[str, Json]) -> str:
    """The person's name; where they have none, what Telegram calls them."""
    names = (text_of(user.get("first_name"), 64), text_of(user.get("last_name"), 64))
    number = user.get("id")
    return " ".join(filter(None, names)) or text_of(user.get("username"), 64) or (str(number) if number else "somebody")
