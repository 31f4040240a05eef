"""A press of one of our buttons in Slack, verified and read. Pure; the channel `slack` answers it.

docs.slack.dev/authentication/verifying-requests-from-slack, docs.slack.dev/reference/interaction-payloads
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final, Literal

from gateway.channels._callbacks import document, form, same, text_of, within
from gateway.contracts import Call, Heard, Ignored, Pressed
from gateway.errors import BadCredential
from gateway.model import Action, Json

LATEST_S: Final = 300
MOST_IN_LABEL: Final = 75
MOST_IN_VALUE: Final = 2_000
_PREFIX: Final = "tocsin:"
_STYLES: Final = {"acknowledge": "primary", "resolve": "danger"}
_VERBS: Final[Mapping[str, Literal["acknowledge", "resolve", "silence"]]] = {
    "tocsin:acknowledge": "acknowledge",
    "tocsin:resolve": "resolve",
    "tocsin:silence": "silence",
}


def buttons(actions: tuple[Action, ...], subject: str) -> list[Json]:
    """One block with a button for each action; [] where there is none, or nothing to name it by."""
    if not actions or not 0 < len(subject) <= MOST_IN_VALUE:
        return []
    return [{"type": "actions", "elements": [_button(action, subject) for action in actions]}]


def _button(action: Action, subject: str) -> Json:
    label = action.label if len(action.label) <= MOST_IN_LABEL else action.label[: MOST_IN_LABEL - 1] + "…"
    style = {"style": _STYLES[action.verb]} if action.verb in _STYLES else {}
    text = {"type": "plain_text", "text": label or action.verb, "emoji": False}
    return {"type": "button", "action_id": _PREFIX + action.verb, "text": text, "value": subject, **style}


def hear(call: Call, signing_secret: str) -> Heard:
    """Raises BadCredential where Slack did not sign it within the last five minutes."""
    stamp = call.headers.get("x-slack-request-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", stamp) or abs(call.now - int(stamp) * 1_000) > LATEST_S * 1_000:
        raise BadCredential("Slack's time is missing, or more than five minutes away from ours.")
    if not same(call.headers.get("x-slack-signature", ""), signature(signing_secret, stamp, call.body)):
        raise BadCredential("Slack's signature is missing or wrong.")
    return _read(document(dict(form(call.body)).get("payload", "")))


def signature(signing_secret: str, stamp: str, body: bytes) -> str:
    """`v0=` and the hex HMAC-SHA256 over `v0:time:body`, the body as it came."""
    signed = b"v0:" + stamp.encode() + b":" + body
    return "v0=" + hmac.new(signing_secret.encode(), signed, hashlib.sha256).hexdigest()


def _read(payload: Mapping[str, Json]) -> Heard:
    actions = payload.get("actions")
    action = actions[0] if isinstance(actions, list) and actions and isinstance(actions[0], dict) else {}
    verb = _VERBS.get(text_of(action.get("action_id")))
    if payload.get("type") != "block_actions" or verb is None:
        return Ignored("no button of ours was pressed")
    user, container = within(payload, "user"), within(payload, "container")
    channel = text_of(container.get("channel_id")) or text_of(within(payload, "channel").get("id"))
    ts = text_of(container.get("message_ts")) or text_of(within(payload, "message").get("ts"))
    who, subject = text_of(user.get("id")), text_of(action.get("value"), MOST_IN_VALUE)
    if not (channel and ts and who and subject):
        return Ignored("the press does not say where, by whom, or of what")
    at = text_of(action.get("action_ts")) or text_of(payload.get("trigger_id"))
    return Pressed(
        key=f"{at}.{who}.{verb}.{ts}",
        verb=verb,
        by=text_of(user.get("name"), 80) or text_of(user.get("username"), 80) or who,
        subject=subject,
        where={"channel": channel, "ts": ts, **_home(payload, user)},
        about={"channel": channel, "user": who},
    )


def _home(payload: Mapping[str, Json], user: Mapping[str, Json]) -> dict[str, str]:
    """The workspace; in a channel that two share, also that of a guest: he presses from another one."""
    team, own = text_of(within(payload, "team").get("id")), text_of(user.get("team_id"))
    return {"team": team or own, **({"guest_of": own} if own and team and own != team else {})}
