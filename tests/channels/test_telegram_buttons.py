"""Telegram's buttons: 64 bytes each, gone when there is nothing left to do, heard only with our secret token."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels import _telegram_hearing as hearing
from gateway.channels import telegram
from gateway.contracts import Announcer, Call, Ignored, Listener, Pressed, Reply, Surroundings
from gateway.errors import BadCredential
from gateway.model import Action, Ref, Rejected, Retry, Sent
from tests.channels.suite import NOON, a_change, a_message, an_incident
from tests.channels.test_telegram import settings
from tests.fakes.telegram import FakeTelegram, Said, pressed

SECRET = "our-own_Token"
PUBLIC = "https://alerts.example.com/tocsin"
ACTIONS = (Action("acknowledge", "확인"), Action("resolve", "해결"), Action("silence", "1시간 알림 중지"))
INCIDENT = an_incident().id
STANDING = Said(-1001234, 7, "", {})


def bot(fake: FakeTelegram, public_url: str = PUBLIC, name: str = "oncall", **changes: Any) -> telegram.Telegram:
    written = {"secret_token": SECRET, **changes}
    known = settings(**{key: value for key, value in written.items() if value is not None})
    return telegram.connect(known, Surroundings(name, public_url, transport=fake.transport))


def call(body: bytes, token: str = SECRET) -> Call:
    headers = {"content-type": "application/json", "x-telegram-bot-api-secret-token": token}
    return Call(headers, body, f"{PUBLIC}/callbacks/telegram/oncall", {}, NOON)


def heard(data: str = f"a:{INCIDENT}", **changes: Any) -> Pressed:
    found = bot(FakeTelegram()).hear(call(pressed(data, STANDING, **changes)))
    assert isinstance(found, Pressed), found
    return found


def buttons(body: dict[str, Any]) -> list[list[tuple[str, str]]]:
    rows = body.get("reply_markup", {}).get("inline_keyboard", [])
    return [[(button["text"], button["callback_data"]) for button in row] for row in rows]


# --- what is shown ------------------------------------------------------------------------------------


async def test_the_message_carries_a_button_for_each_action() -> None:
    fake = FakeTelegram()
    await bot(fake).send(a_message(actions=ACTIONS), {})
    assert buttons(fake.messages[0].body) == [
        [("확인", f"a:{INCIDENT}"), ("해결", f"r:{INCIDENT}")],
        [("1시간 알림 중지", f"s:{INCIDENT}")],
    ]


async def test_only_the_message_that_stands_has_buttons_and_they_go_when_it_is_over() -> None:
    fake = FakeTelegram()
    ref: Ref = {}
    seen = []
    for message in (
        a_message(actions=ACTIONS),
        a_change(actions=ACTIONS[1:]),
        a_change(id="x:3", occasion="resolved", state="resolved"),
    ):
        receipt = await bot(fake).send(message, ref)
        assert isinstance(receipt, Sent)
        ref = receipt.ref
        seen.append(sum(map(len, buttons(fake.messages[0].body))))
    assert seen == [3, 2, 0]
    assert all(buttons(reply.body) == [] for reply in fake.messages[1:])


async def test_buttons_alone_are_a_change_too() -> None:
    fake = FakeTelegram()
    first = await bot(fake).send(a_message(actions=ACTIONS), {})
    assert isinstance(first, Sent)
    await bot(fake).send(a_message(quiet=True), first.ref)
    assert buttons(fake.messages[0].body) == []


async def test_without_a_secret_token_there_are_no_buttons() -> None:
    fake = FakeTelegram()
    deaf = bot(fake, secret_token=None)
    await deaf.send(a_message(actions=ACTIONS), {})
    assert "reply_markup" not in fake.messages[0].body
    assert not deaf.listens
    with pytest.raises(BadCredential):
        deaf.hear(call(pressed("a:x", STANDING), ""))
    assert await deaf.announce() == Sent({}, "no secret_token or no public_url: nothing to announce")
    assert isinstance(deaf, Listener)
    assert isinstance(deaf, Announcer)


@given(st.text(max_size=80), st.text(max_size=70))
def test_no_button_has_more_than_64_bytes(label: str, subject: str) -> None:
    shown = hearing.keyboard((Action("silence", label), Action("resolve", label)), subject)
    data = [button for row in buttons(shown) for button in row]
    assert bool(data) is (0 < len(subject.encode()) <= 62)
    assert all(text and 1 <= len(key.encode()) <= 64 for text, key in data)


@pytest.mark.parametrize(
    "words",
    [
        "Bad Request: BUTTON_DATA_INVALID",
        "Bad Request: can't parse inline keyboard button: Text must be non-empty",
        "Bad Request: REPLY_MARKUP_TOO_LONG",
        "Bad Request: object expected as reply markup",
    ],
)
async def test_buttons_that_telegram_refuses_cost_no_message(words: str) -> None:
    fake = FakeTelegram()
    fake.refuse("sendMessage", 400, words)
    assert isinstance(await bot(fake).send(a_message(actions=ACTIONS), {}), Sent)
    assert "reply_markup" not in fake.messages[0].body
    assert fake.messages[0].body["parse_mode"] == "HTML"


async def test_markup_that_telegram_refuses_costs_no_buttons() -> None:
    fake = FakeTelegram()
    await bot(fake).send(a_message(actions=ACTIONS, custom_body="<blink>"), {})
    assert len(buttons(fake.messages[0].body)) == 2


async def test_no_buttons_are_refused_twice() -> None:
    fake = FakeTelegram()
    fake.refuse("sendMessage", 400, "Bad Request: BUTTON_DATA_INVALID")
    assert isinstance(await bot(fake).send(a_message(), {}), Rejected)


# --- what is heard ------------------------------------------------------------------------------------


def test_a_press_says_who_wants_what_and_where() -> None:
    assert heard() == Pressed(
        key="4382bfdwdsb323b2d9",
        verb="acknowledge",
        by="Kim Min-ji",
        subject=INCIDENT,
        where={"chat": -1001234, "message_id": 7},
        about={"callback_query_id": "4382bfdwdsb323b2d9"},
    )


@pytest.mark.parametrize(("letter", "verb"), [("a", "acknowledge"), ("r", "resolve"), ("s", "silence")])
def test_each_button_has_its_verb(letter: str, verb: str) -> None:
    assert heard(f"{letter}:x").verb == verb


@pytest.mark.parametrize(
    ("user", "by"),
    [
        ({"id": 7, "first_name": "Kim", "username": "k"}, "Kim"),
        ({"id": 7, "first_name": "김\n민지"}, "김 민지"),
        ({"id": 7, "first_name": "", "username": "kim"}, "kim"),
        ({"id": 7}, "7"),
        ({}, "somebody"),
        ([], "somebody"),
    ],
)
def test_whoever_has_no_name_has_at_least_a_number(user: Any, by: str) -> None:
    assert heard(**{"from": user}).by == by


@pytest.mark.parametrize(
    "changes",
    [
        {"data": None},
        {"data": ""},
        {"data": "x:1"},
        {"data": "a"},
        {"data": "a:"},
        {"data": 7},
        {"message": None},
        {"message": {"message_id": 7}},
        {"message": {"message_id": "7", "chat": {"id": -1001234}}},
        {"message": {"message_id": True, "chat": {"id": -1001234}}},
        {"message": {"message_id": 7, "chat": {"id": "-1001234"}}},
        {"id": None},
        {"id": 7},
    ],
    ids=str,
)
def test_whatever_is_no_press_of_ours_is_ignored(changes: dict[str, Any]) -> None:
    data = changes.pop("data", f"a:{INCIDENT}")
    body = pressed(data, STANDING, **changes)
    assert isinstance(bot(FakeTelegram()).hear(call(body)), Ignored)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b"\xff", b'{"message": {"text": "hi"}}', b'{"callback_query": []}', b"[" * 9_000],
)
def test_a_body_of_any_shape_is_ignored(body: bytes) -> None:
    assert isinstance(bot(FakeTelegram()).hear(call(body)), Ignored)


@pytest.mark.parametrize("token", ["", "guessed", SECRET + "x", SECRET[:-1], SECRET.upper(), "한글", "\xff\udc80"])
def test_another_token_is_refused(token: str) -> None:
    body = pressed(f"a:{INCIDENT}", STANDING)
    with pytest.raises(BadCredential):
        bot(FakeTelegram()).hear(call(body, token))
    with pytest.raises(BadCredential):
        bot(FakeTelegram()).hear(Call({}, body, "", {}, NOON))


def test_a_chat_that_is_certainly_another_is_ignored() -> None:
    body = pressed(f"a:{INCIDENT}", Said(-55, 7, "", {}))
    assert isinstance(bot(FakeTelegram()).hear(call(body)), Ignored)
    assert isinstance(bot(FakeTelegram(), chat_id="@open_ops").hear(call(body)), Pressed)  # a name tells no number


# --- whether it was our message -----------------------------------------------------------------------


async def test_a_press_agrees_with_the_message_it_stands_under_alone() -> None:
    fake = FakeTelegram()
    sent = await bot(fake).send(a_message(actions=ACTIONS), {})
    assert isinstance(sent, Sent)
    channel = bot(fake)
    assert await channel.agrees(heard(message={"message_id": 1, "chat": {"id": -1001234}}).where, sent.ref)
    assert not await channel.agrees(heard().where, sent.ref)
    for ref in ({}, {"chat": -1001234}, {"message_id": 7}, {"chat": 77, "message_id": 7}, {"chat": "-1001234"}):
        assert not await channel.agrees(heard().where, ref)
    assert not await channel.agrees({}, sent.ref)


# --- the answer ---------------------------------------------------------------------------------------


async def test_whoever_pressed_is_told_and_the_button_stops_turning() -> None:
    fake = FakeTelegram()
    assert await bot(fake).reply(heard(), "Acknowledged #42") == Reply()
    assert await bot(fake).reply(heard(), "") == Reply()
    query = {"callback_query_id": "4382bfdwdsb323b2d9"}
    assert fake.answers == [{**query, "text": "Acknowledged #42"}, query]


async def test_an_answer_fits_into_200() -> None:
    fake = FakeTelegram()
    await bot(fake).reply(heard(), "𝟙" * 300)
    assert len(fake.answers[0]["text"].encode("utf-16-le")) // 2 <= 200


async def test_what_was_no_press_is_not_answered() -> None:
    fake = FakeTelegram()
    assert await bot(fake).reply(Ignored("x"), "words") == Reply()
    assert fake.calls == []


async def test_telegram_is_answered_whatever_becomes_of_the_word() -> None:
    fake = FakeTelegram()
    fake.refuse("answerCallbackQuery", 400, "Bad Request: query is too old and response timeout expired")
    fake.trouble("answerCallbackQuery", 502, "<html>")
    for _ in range(2):
        assert await bot(fake).reply(heard(), "words") == Reply()


# --- where Telegram calls -----------------------------------------------------------------------------


async def test_telegram_is_told_where_to_call_and_for_what() -> None:
    fake = FakeTelegram()
    assert await bot(fake).announce() == Sent()
    assert fake.webhook == {
        "url": f"{PUBLIC}/callbacks/telegram/oncall",
        "secret_token": SECRET,
        "allowed_updates": ["callback_query"],
    }


async def test_without_a_public_address_nothing_is_announced() -> None:
    fake = FakeTelegram()
    assert isinstance(await bot(fake, public_url="").announce(), Sent)
    assert fake.calls == []
    assert bot(fake, public_url="").listens  # whoever told Telegram another way is heard


async def test_what_telegram_says_of_the_address_is_a_receipt() -> None:
    fake = FakeTelegram()
    refused = await bot(fake, public_url="http://127.0.0.1:8080").announce()
    assert isinstance(refused, Rejected)
    assert "An HTTPS URL must be provided" in refused.reason
    assert SECRET not in json.dumps(refused.reason)
    fake.refuse("setWebhook", 429, "Too Many Requests: retry after 1", retry_after=1)
    assert await bot(fake).announce() == Retry("HTTP 429: Too Many Requests: retry after 1", 1_000)
