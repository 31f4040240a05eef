"""What comes back over a channel reaches the pipeline, once it is proved; and whoever pressed is answered."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog.testing

from gateway.errors import Conflict, NotFound, StoreUnavailable
from gateway.telemetry import REFUSED
from gateway.web.callbacks import MOST_OF_A_CALL
from gateway.web.intake import FAILURES_A_MINUTE
from tests.channels.suite import NOON
from tests.fakes import slack, telegram, twilio
from tests.fakes.slack import FakeSlack
from tests.fakes.telegram import FakeTelegram
from tests.web.answered import PUBLIC, Answered, answered

INCIDENT = "01990000-0000-7000-8000-000000000001"
DELIVERY = "01990000-0000-7000-8000-0000000000ff"
SIGNING, SECRET = "5igning", "s3cret_token"
KIM, LEE, STRANGER = "+821011112222", "+821033334444", "+821099998888"
SEOUL = "확인 12"

ROUTING = f"""
channels:
  ops-slack: {{kind: slack, bot_token: {slack.TOKEN}, channel: C0OPSOPS, signing_secret: {SIGNING}}}
  dev-slack: {{kind: slack, bot_token: {slack.TOKEN}, channel: C0DEVDEV, signing_secret: {SIGNING}}}
  deaf-slack: {{kind: slack, bot_token: {slack.TOKEN}, channel: C0DEAFDEAF}}
  hook-slack: {{kind: slack, webhook_url: "https://hooks.slack.example/services/x"}}
  oncall-tg: {{kind: telegram, bot_token: "{telegram.TOKEN}", chat_id: "-1001234", secret_token: {SECRET}}}
  kim-tg: {{kind: telegram, bot_token: "{telegram.TOKEN}", chat_id: "77", secret_token: {SECRET}}}
  other-tg: {{kind: telegram, bot_token: "{telegram.TOKEN}", chat_id: "78", secret_token: another}}
  kim-sms: {{kind: twilio, account_sid: AC0, auth_token: t0ken, from: "+15005550006", to: ["{KIM}"]}}
  lee-sms: {{kind: twilio, account_sid: AC0, auth_token: t0ken, from: "+15005550006", to: ["{LEE}"]}}
  kim-call: {{kind: twilio, account_sid: AC0, auth_token: t0ken, from: "+15005550006", to: ["{KIM}"], via: voice}}
  terminal: {{kind: screen}}
routes:
  - {{name: all, match: {{}}, to: [terminal]}}
"""


@dataclass
class Town:
    """The house with its vendors."""

    house: Answered
    slack: FakeSlack
    telegram: FakeTelegram

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        return await self.house.client.post(path, content=body, headers=headers)

    async def by_slack(
        self, body: bytes, secret: str = SIGNING, at: int = NOON // 1000, name: str = "ops-slack"
    ) -> Any:
        return await self.post(f"/callbacks/slack/{name}", body, slack.signed(body, secret, at))

    async def by_telegram(self, body: bytes, token: str = SECRET, name: str = "oncall-tg") -> Any:
        headers = {"content-type": "application/json", "x-telegram-bot-api-secret-token": token}
        return await self.post(f"/callbacks/telegram/{name}", body, headers)

    async def by_twilio(self, path: str, base: str = PUBLIC, auth_token: str = twilio.AUTH_TOKEN, **form: str) -> Any:
        body, headers = twilio.signed(f"{base}{path}", form, auth_token)
        return await self.post(path, body, headers)


def town(folder: Path, public_url: str = PUBLIC) -> Town:
    workspace, bots = FakeSlack(), FakeTelegram()
    workspace.channels |= {"#a": "C0OPSOPS", "#b": "C0DEVDEV"}
    transports = {"slack": workspace.transport, "telegram": bots.transport}
    return Town(answered(folder, ROUTING, transports, public_url), workspace, bots)


@pytest.fixture
def here(tmp_path: Path) -> Town:
    return town(tmp_path)


def button(channel: str = "C0OPSOPS", **changes: Any) -> bytes:
    return slack.pressed("acknowledge", INCIDENT, slack.Said(channel, "1795176000.000001", "", {}), **changes)


def key(chat: int = -1001234, letter: str = "a", **changes: Any) -> bytes:
    return telegram.pressed(f"{letter}:{INCIDENT}", telegram.Said(chat, 7, "", {}), **changes)


def is_problem(answer: httpx2.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


# --- Slack --------------------------------------------------------------------------------------------


async def test_a_button_in_slack_acts_and_whoever_pressed_is_told(here: Town) -> None:
    answer = await here.by_slack(button())
    assert (answer.status_code, answer.text) == (200, "")
    ((channel, pressed),) = here.house.pipeline.acts
    assert (channel, pressed.verb, pressed.by, pressed.subject) == ("ops-slack", "acknowledge", "kim", INCIDENT)
    assert pressed.where == {"channel": "C0OPSOPS", "ts": "1795176000.000001", "team": slack.TEAM}
    assert here.slack.whispers == [{"channel": "C0OPSOPS", "user": "U0KIM", "text": "Acknowledged #42 shop is down"}]


async def test_what_the_pipeline_refuses_is_said_to_whoever_pressed(here: Town) -> None:
    for trouble in (Conflict("lee was first, at 10:02 UTC"), NotFound("There is no such incident.")):
        here.house.pipeline.trouble = trouble
        assert (await here.by_slack(button())).status_code == 200
        assert here.slack.whispers[-1]["text"] == str(trouble)


async def test_one_app_has_one_address_and_may_serve_several_channels(here: Town) -> None:
    assert (await here.by_slack(button("C0DEVDEV"))).status_code == 200
    assert [channel for channel, _ in here.house.pipeline.acts] == ["dev-slack"]
    assert here.slack.whispers[0]["channel"] == "C0DEVDEV"


async def test_a_channel_that_nobody_speaks_in_is_ignored(here: Town) -> None:
    with structlog.testing.capture_logs() as lines:
        answer = await here.by_slack(button("C0ANOTHER"))
    assert (answer.status_code, answer.text) == (200, "")
    assert here.house.pipeline.acts == []
    assert [(line["event"], line["channel"], line["reason"]) for line in lines] == [
        ("callback ignored", "ops-slack", "pressed in another channel")
    ]


# --- Telegram -----------------------------------------------------------------------------------------


async def test_a_button_in_telegram_acts_and_stops_turning(here: Town) -> None:
    answer = await here.by_telegram(key(letter="r"))
    assert (answer.status_code, answer.text) == (200, "")
    ((channel, pressed),) = here.house.pipeline.acts
    assert (channel, pressed.verb, pressed.by, pressed.subject) == ("oncall-tg", "resolve", "Kim Min-ji", INCIDENT)
    assert pressed.where == {"chat": -1001234, "message_id": 7}
    said = {"callback_query_id": "4382bfdwdsb323b2d9", "text": "Acknowledged #42 shop is down"}
    assert here.telegram.answers == [said]


async def test_one_bot_has_one_address_and_may_serve_several_chats(here: Town) -> None:
    for chat in (77, 78, 79):
        assert (await here.by_telegram(key(chat))).status_code == 200
    assert [channel for channel, _ in here.house.pipeline.acts] == ["kim-tg"]  # 78 has a secret of its own


async def test_slack_and_telegram_need_no_public_address(tmp_path: Path) -> None:
    here = town(tmp_path, "")
    assert (await here.by_slack(button())).status_code == 200
    assert (await here.by_telegram(key())).status_code == 200
    assert len(here.house.pipeline.acts) == 2
    is_problem(await here.by_twilio("/callbacks/twilio/kim-sms", base="", From=KIM, Body="ACK", MessageSid="SM1"), 404)


# --- Twilio -------------------------------------------------------------------------------------------


async def test_a_reply_by_text_acts_and_is_answered_by_text(here: Town) -> None:
    answer = await here.by_twilio(
        "/callbacks/twilio/kim-sms", From=KIM, To="+15005550006", Body=SEOUL, MessageSid="SM9"
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    assert answer.text == "<Response><Message>Acknowledged #42 shop is down</Message></Response>"
    ((channel, pressed),) = here.house.pipeline.acts
    assert (channel, pressed.verb, pressed.number, pressed.address) == ("kim-sms", "acknowledge", 12, KIM)


async def test_one_number_has_one_address_and_may_speak_to_several_people(here: Town) -> None:
    await here.by_twilio("/callbacks/twilio/kim-sms", From=LEE, Body="2", MessageSid="SM9")
    ((channel, pressed),) = here.house.pipeline.acts
    assert (channel, pressed.verb, pressed.address) == ("lee-sms", "resolve", LEE)


async def test_a_strangers_text_changes_nothing_though_twilio_signs_it(here: Town) -> None:
    with structlog.testing.capture_logs() as lines:
        answer = await here.by_twilio("/callbacks/twilio/kim-sms", From=STRANGER, Body="ACK", MessageSid="SM9")
    assert (answer.status_code, answer.text) == (200, "<Response></Response>")
    assert here.house.pipeline.acts == []
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("callback ignored", "from a number that is not in `to`")
    ]
    assert STRANGER not in str(lines)


async def test_a_key_in_a_call_acts_and_is_answered_aloud(here: Town) -> None:
    query = urllib.parse.urlencode({"delivery": DELIVERY, "incident": INCIDENT})
    path = f"/callbacks/twilio/kim-call?{query}"
    answer = await here.by_twilio(
        path, To=KIM, From="+15005550006", Digits="1", CallSid="CA1", CallStatus="in-progress"
    )
    assert answer.text == '<Response><Say language="en-US">Acknowledged #42 shop is down</Say></Response>'
    ((channel, pressed),) = here.house.pipeline.acts
    assert (channel, pressed.verb, pressed.subject, pressed.address) == ("kim-call", "acknowledge", INCIDENT, KIM)


async def test_what_became_of_a_message_is_written_down(here: Town) -> None:
    path = f"/callbacks/twilio/kim-sms?delivery={DELIVERY}"
    answer = await here.by_twilio(path, To=KIM, MessageSid="SM1", MessageStatus="undelivered", ErrorCode="30003")
    assert (answer.status_code, answer.content) == (204, b"")
    ((channel, reported),) = here.house.pipeline.reports
    assert (channel, reported.delivery, reported.reached, reported.sid, reported.reason) == (
        "kim-sms",
        DELIVERY,
        "undelivered",
        "SM1",
        "Twilio 30003",
    )


async def test_the_address_that_is_verified_is_ours_whatever_host_is_named(here: Town) -> None:
    form = {"To": KIM, "MessageSid": "SM1", "MessageStatus": "delivered"}
    path = f"/callbacks/twilio/kim-sms?delivery={DELIVERY}"
    body, headers = twilio.signed(f"https://evil.example{path}", form)
    named = {**headers, "host": "evil.example", "x-forwarded-host": "evil.example"}
    is_problem(await here.post(path, body, named), 401)
    body, headers = twilio.signed(f"{PUBLIC}{path}", form)
    assert (await here.post(path, body, {**headers, "host": "evil.example"})).status_code == 204


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/callbacks/slack/nowhere",
        "/callbacks/telegram/ops-slack",
        "/callbacks/slack/deaf-slack",
        "/callbacks/slack/hook-slack",
        "/callbacks/screen/terminal",
        "/callbacks/nothing/ops-slack",
        "/callbacks/slack",
        "/callbacks/slack/ops-slack/more",
    ],
)
async def test_what_does_not_listen_is_not_there(here: Town, path: str) -> None:
    body = button()
    is_problem(await here.post(path, body, slack.signed(body, SIGNING, NOON // 1000)), 404)


async def test_a_forged_callback_is_one_401_and_one_line(here: Town) -> None:
    before = REFUSED.labels("bad_credential")._value.get()
    await asyncio.sleep(1.01)  # of what was refused before, in the same second, some lines were left out
    with structlog.testing.capture_logs() as lines:
        is_problem(await here.by_slack(button(), secret="guessed"), 401)
        is_problem(await here.by_telegram(key(), token="guessed"), 401)
        is_problem(
            await here.by_twilio("/callbacks/twilio/kim-sms", auth_token="guessed", From=KIM, Body="1", MessageSid="S"),
            401,
        )
    told = [(line["status"], line["source"], line["client"]) for line in lines if line["event"] == "request refused"]
    assert told == [(401, name, "203.0.113.7") for name in ("ops-slack", "oncall-tg", "kim-sms")]
    assert REFUSED.labels("bad_credential")._value.get() == before + 3
    assert here.house.pipeline.acts == []


@pytest.mark.parametrize("late", [-301, 301])
async def test_a_callback_of_another_hour_is_a_401(here: Town, late: int) -> None:
    is_problem(await here.by_slack(button(), at=NOON // 1000 + late), 401)
    assert (await here.by_slack(button(), at=NOON // 1000 + late - (1 if late > 0 else -1))).status_code == 200


async def test_whoever_guesses_often_must_wait(here: Town) -> None:
    for _ in range(2 * FAILURES_A_MINUTE):
        answer = await here.by_telegram(key(), token="guessed")
        if answer.status_code != 401:
            break
    is_problem(answer, 429)
    assert int(answer.headers["retry-after"]) >= 1
    assert (await here.by_telegram(key())).status_code == 200


async def test_a_body_beyond_measure_is_not_read(here: Town) -> None:
    is_problem(await here.by_telegram(b"x" * (MOST_OF_A_CALL + 1)), 413)
    assert (await here.by_telegram(b"x" * MOST_OF_A_CALL)).status_code == 200


async def test_callbacks_are_posted(here: Town) -> None:
    is_problem(await here.house.client.get("/callbacks/slack/ops-slack"), 405)


async def test_what_cannot_be_written_down_is_to_be_sent_again(here: Town) -> None:
    here.house.pipeline.trouble = StoreUnavailable("The disk is full.", 7)
    answers = [
        await here.by_slack(button()),
        await here.by_telegram(key()),
        await here.by_twilio(
            f"/callbacks/twilio/kim-sms?delivery={DELIVERY}", To=KIM, MessageSid="S", MessageStatus="delivered"
        ),
    ]
    for answer in answers:
        is_problem(answer, 503)
        assert answer.headers["retry-after"] == "7"
    assert here.slack.whispers == here.telegram.answers == []


async def test_what_is_no_press_is_taken_and_does_nothing(here: Town) -> None:
    for body in (b"", b"payload=", b"payload=%5B%5D", b"payload=%7B%7D", button(type="view_submission")):
        assert (await here.by_slack(body)).status_code == 200
    for body in (b"", b"[]", b'{"message": {"text": "hi"}}', b"\xff", b"[" * 5_000):
        assert (await here.by_telegram(body)).status_code == 200
    assert here.house.pipeline.acts == []
