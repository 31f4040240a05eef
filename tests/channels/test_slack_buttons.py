"""Slack's buttons: within its limits, gone when there is nothing left to do, and heard only if Slack signed."""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import Clock, SignatureVerifier

from gateway.channels import _slack_hearing as hearing
from gateway.channels import slack
from gateway.channels._http import Wire
from gateway.contracts import Call, Ignored, Listener, Pressed, Reply, Surroundings
from gateway.errors import BadCredential
from gateway.model import Action, Ref, Sent
from tests.channels.suite import NOON, a_change, a_message, an_incident
from tests.channels.test_slack import API, WEBHOOK
from tests.fakes.slack import HOOK, TEAM, TOKEN, FakeSlack, Said, pressed, signed, wrong_blocks

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
ACTIONS = (
    Action("acknowledge", "Acknowledge"),
    Action("resolve", "Resolve"),
    Action("silence", "Silence 1 h"),
)
INCIDENT = an_incident().id
ROOT = Said("C0OPS", "1795176000.000001", "", {})


def bot(fake: FakeSlack, patience: float = slack.PATIENCE_S, **changes: Any) -> slack.Bot:
    written = {"kind": "slack", "bot_token": TOKEN, "channel": "#ops", "api_url": API, "signing_secret": SECRET}
    settings = slack.Settings.model_validate({k: v for k, v in {**written, **changes}.items() if v is not None})
    headers = {"authorization": f"Bearer {TOKEN}"}
    return slack.Bot(settings, Wire(timeout=5_000, width=1, transport=fake.transport, headers=headers), (), patience)


def call(body: bytes, headers: dict[str, str], now: int = NOON) -> Call:
    return Call(headers, body, "https://alerts.example.com/callbacks/slack/ops", {}, now)


def of(body: bytes, secret: str = SECRET, at: int = NOON // 1000, now: int = NOON) -> Call:
    return call(body, signed(body, secret, at), now)


def heard(**changes: Any) -> Pressed:
    found = bot(FakeSlack()).hear(of(pressed("acknowledge", INCIDENT, ROOT, **changes)))
    assert isinstance(found, Pressed), found
    return found


def buttons(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [button for block in body["blocks"] if block["type"] == "actions" for button in block["elements"]]


# --- what is shown ------------------------------------------------------------------------------------


async def test_the_root_carries_a_button_for_each_action() -> None:
    fake = FakeSlack()
    await bot(fake).send(a_message(actions=ACTIONS), {})
    (body,) = fake.asked("chat.postMessage")
    assert [block["type"] for block in body["blocks"]] == ["header", "actions"]
    assert [(b["action_id"], b["text"]["text"], b["value"], b.get("style")) for b in buttons(body)] == [
        ("tocsin:acknowledge", "Acknowledge", INCIDENT, "primary"),
        ("tocsin:resolve", "Resolve", INCIDENT, "danger"),
        ("tocsin:silence", "Silence 1 h", INCIDENT, None),
    ]
    assert len(fake.messages) == 1


async def test_only_the_root_carries_buttons_and_they_go_when_it_is_over() -> None:
    fake = FakeSlack()
    ref: Ref = {}
    for message in (
        a_message(actions=ACTIONS),
        a_change(actions=ACTIONS[1:]),
        a_change(id="x:3", occasion="resolved", state="resolved"),
    ):
        receipt = await bot(fake).send(message, ref)
        assert isinstance(receipt, Sent)
        ref = receipt.ref
    root, *replies = fake.messages
    assert buttons(root.body) == []
    assert all(buttons(reply.body) == [] for reply in replies)
    assert [len(buttons(body)) for body in fake.asked("chat.update")] == [2, 0]


async def test_without_a_signing_secret_there_are_no_buttons() -> None:
    fake = FakeSlack()
    deaf = bot(fake, signing_secret=None)
    await deaf.send(a_message(actions=ACTIONS), {})
    assert buttons(fake.messages[0].body) == []
    assert not deaf.listens
    body, stamp = pressed("acknowledge", INCIDENT, ROOT), str(NOON // 1000)
    made = hearing.signature("", stamp, body)
    with pytest.raises(BadCredential):
        deaf.hear(call(body, {"x-slack-request-timestamp": stamp, "x-slack-signature": made}))


async def test_a_webhook_has_no_buttons_and_hears_nothing() -> None:
    fake = FakeSlack()
    settings = slack.Settings.model_validate({"kind": "slack", "webhook_url": WEBHOOK})
    hook = slack.connect(settings, Surroundings("ops", transport=fake.transport))
    assert isinstance(await hook.send(a_message(actions=ACTIONS), {}), Sent)
    assert buttons(fake.messages[0].body) == []
    assert not isinstance(hook, Listener)
    assert isinstance(bot(fake), Listener)
    assert HOOK in WEBHOOK


@given(st.text(min_size=0, max_size=200), st.text(min_size=1, max_size=2_100))
def test_any_label_and_name_is_within_the_limits(label: str, subject: str) -> None:
    shown = hearing.buttons((Action("resolve", label), Action("acknowledge", label)), subject)
    assert wrong_blocks(shown) == ""
    assert bool(shown) is (len(subject) <= 2_000)


# --- what is heard ------------------------------------------------------------------------------------


def test_slacks_own_example_is_signed_as_its_manual_says() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
        b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
        b"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
        b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    golden = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    assert hearing.signature(SECRET, "1531420618", body) == golden
    headers = {"x-slack-request-timestamp": "1531420618", "x-slack-signature": golden}
    assert isinstance(hearing.hear(call(body, headers, 1_531_420_618_000), SECRET), Ignored)  # a command: no button


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.integers(0, 2**31))
def test_the_official_verifier_agrees(text: str, at: int) -> None:
    body = text.encode()
    ours = hearing.signature(SECRET, str(at), body)

    class Then(Clock):
        def now(self) -> float:
            return float(at)

    assert SignatureVerifier(SECRET, Then()).is_valid(body, str(at), ours)


def test_a_press_says_who_wants_what_and_where() -> None:
    assert heard() == Pressed(
        key=f"1795176010.123456.U0KIM.acknowledge.{ROOT.ts}",
        verb="acknowledge",
        by="kim",
        subject=INCIDENT,
        where={"channel": "C0OPS", "ts": ROOT.ts, "team": TEAM},
        about={"channel": "C0OPS", "user": "U0KIM"},
    )


@pytest.mark.parametrize("verb", ["acknowledge", "resolve", "silence"])
def test_each_button_has_its_verb(verb: str) -> None:
    found = bot(FakeSlack()).hear(of(pressed(verb, INCIDENT, ROOT)))
    assert isinstance(found, Pressed)
    assert found.verb == verb


@pytest.mark.parametrize(
    ("user", "by"),
    [
        ({"id": "U1", "name": "kim", "username": "k"}, "kim"),
        ({"id": "U1", "username": "k\n i m"}, "k i m"),
        ({"id": "U1"}, "U1"),
        ({"id": "U1", "name": 7}, "U1"),
    ],
)
def test_whoever_has_no_name_has_an_id(user: dict[str, Any], by: str) -> None:
    assert heard(user=user).by == by


def test_a_button_in_an_attachment_is_found_where_it_stands() -> None:
    container = {"type": "message_attachment", "message_ts": "1.2", "channel_id": "C0OPS", "attachment_id": 1}
    assert heard(container=container).where["ts"] == "1.2"
    assert heard(container=None).where == {"channel": "C0OPS", "ts": ROOT.ts, "team": TEAM}


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "view_submission"},
        {"actions": []},
        {"actions": None},
        {"actions": [7]},
        {"actions": [{"action_id": "tocsin:reboot", "value": INCIDENT}]},
        {"actions": [{"action_id": "other:acknowledge", "value": INCIDENT}]},
        {"actions": [{"action_id": "tocsin:resolve", "value": ""}]},
        {"user": None},
        {"user": []},
        {"container": None, "message": None},
        {"container": None, "channel": None},
    ],
    ids=str,
)
def test_whatever_is_no_press_of_ours_is_ignored(changes: dict[str, Any]) -> None:
    assert isinstance(bot(FakeSlack()).hear(of(pressed("acknowledge", INCIDENT, ROOT, **changes))), Ignored)


@pytest.mark.parametrize("payload", ["", "[]", "7", "null", "{", '{"type": "block_actions"}', "[" * 9_000])
def test_a_signed_body_of_any_shape_is_ignored(payload: str) -> None:
    body = urllib.parse.urlencode({"payload": payload}).encode()
    assert isinstance(bot(FakeSlack()).hear(of(body)), Ignored)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-slack-signature": "v0=" + "0" * 64},
        {"x-slack-signature": ""},
        {"x-slack-signature": "v0=한글\udc80\xff"},
        {"x-slack-request-timestamp": ""},
        {"x-slack-request-timestamp": "-1"},
        {"x-slack-request-timestamp": "9" * 13},
        {"x-slack-request-timestamp": "1_795_176_000"},
        {"x-slack-request-timestamp": "１７９５１７６０００"},
        {"x-slack-request-timestamp": str(NOON // 1000 - 1)},
    ],
    ids=str,
)
def test_what_slack_did_not_sign_so_is_refused(headers: dict[str, str]) -> None:
    body = pressed("acknowledge", INCIDENT, ROOT)
    with pytest.raises(BadCredential):
        bot(FakeSlack()).hear(call(body, {**signed(body, SECRET, NOON // 1000), **headers}))


def test_a_body_that_was_changed_on_its_way_is_refused() -> None:
    body = pressed("acknowledge", INCIDENT, ROOT)
    headers = signed(body, SECRET, NOON // 1000)
    with pytest.raises(BadCredential):
        bot(FakeSlack()).hear(call(body.replace(b"acknowledge", b"resolve"), headers))
    with pytest.raises(BadCredential):
        bot(FakeSlack()).hear(of(body, "another secret"))


@pytest.mark.parametrize(("off", "good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_five_minutes_is_the_limit(off: int, good: bool) -> None:
    body = pressed("acknowledge", INCIDENT, ROOT)
    request = of(body, at=NOON // 1000 + off)
    if good:
        assert isinstance(bot(FakeSlack()).hear(request), Pressed)
    else:
        with pytest.raises(BadCredential):
            bot(FakeSlack()).hear(request)


def test_a_channel_that_is_certainly_another_is_ignored() -> None:
    body = pressed("acknowledge", INCIDENT, Said("C0ANOTHER", "1.2", "", {}))
    assert isinstance(bot(FakeSlack(), channel="C0OPSOPS").hear(of(body)), Ignored)
    assert isinstance(bot(FakeSlack(), channel="C0ANOTHER").hear(of(body)), Pressed)
    assert isinstance(bot(FakeSlack(), channel="#ops").hear(of(body)), Pressed)  # a name tells nothing of its id


async def test_the_id_behind_a_name_is_learned_by_speaking_there() -> None:
    body = pressed("acknowledge", INCIDENT, Said("C0ANOTHER", "1.2", "", {}))
    channel = bot(FakeSlack())
    assert isinstance(channel.hear(of(body)), Pressed)
    await channel.send(a_message(), {})
    assert isinstance(channel.hear(of(body)), Ignored)
    assert isinstance(channel.hear(of(pressed("acknowledge", INCIDENT, ROOT))), Pressed)


# --- whether it was our message -----------------------------------------------------------------------


async def test_a_press_agrees_with_the_message_it_stands_under() -> None:
    fake = FakeSlack()
    posted = await bot(fake).send(a_message(actions=ACTIONS), {})
    assert isinstance(posted, Sent)
    assert posted.ref["team"] == TEAM
    assert await bot(fake).agrees(heard().where, posted.ref)
    assert fake.asked("auth.test") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"team": {"id": "T0OTHER"}, "user": {"id": "U1"}},
        {"team": {"id": "T0OTHER"}},
        {"user": {"id": "U1", "name": "eve", "team_id": "T0OTHER"}},
        {"team": None, "user": {"id": "U1", "team_id": "T0OTHER"}},
        {"team": None, "user": {"id": "U1"}},
        {"container": {"message_ts": "1.9", "channel_id": "C0OPS"}},
        {"container": {"message_ts": ROOT.ts, "channel_id": "C0OLD"}},
    ],
    ids=str,
)
async def test_a_press_from_elsewhere_does_not_agree(changes: dict[str, Any]) -> None:
    fake = FakeSlack()
    ref = {"channel": "C0OPS", "ts": ROOT.ts}
    for known in (ref, {**ref, "team": TEAM}):
        assert await bot(fake).agrees(heard().where, known)
        assert not await bot(fake).agrees(heard(**changes).where, known)


async def test_the_bot_asks_once_which_workspace_is_its_own() -> None:
    fake = FakeSlack()
    channel = bot(fake)
    for _ in range(3):
        assert await channel.agrees(heard().where, {"channel": "C0OPS", "ts": ROOT.ts})
    assert len(fake.asked("auth.test")) == 1


async def test_a_workspace_that_slack_does_not_tell_stops_nobody_and_is_asked_again() -> None:
    fake = FakeSlack()
    channel = bot(fake)
    for body in ('{"ok":false,"error":"internal_error"}', '{"ok":true}', '{"ok":true,"team_id":7}'):
        fake.trouble("auth.test", 200, body)
        assert await channel.agrees(heard().where, {"channel": "C0OPS", "ts": ROOT.ts})
        assert not await channel.agrees(heard().where, {"channel": "C0OPS", "ts": "1.9"})
    assert await channel.agrees(heard().where, {"channel": "C0OPS", "ts": ROOT.ts})


@pytest.mark.parametrize("ref", [{}, {"channel": "C0OPS"}, {"ts": ROOT.ts}, {"team": TEAM}, {"channel": 7, "ts": None}])
async def test_a_ref_that_names_no_message_agrees_with_nothing(ref: Ref) -> None:
    assert not await bot(FakeSlack()).agrees(heard().where, ref)
    assert not await bot(FakeSlack()).agrees({}, ref)


# --- the answer ---------------------------------------------------------------------------------------


async def test_whoever_pressed_is_told_and_nobody_else() -> None:
    fake = FakeSlack()
    assert await bot(fake).reply(heard(), "Acknowledged #42 <!channel>") == Reply(200, "")
    assert fake.whispers == [{"channel": "C0OPS", "user": "U0KIM", "text": "Acknowledged #42 &lt;!channel&gt;"}]
    assert fake.messages == []


async def test_where_there_is_nothing_to_say_nothing_is_said() -> None:
    fake = FakeSlack()
    assert await bot(fake).reply(heard(), "") == Reply()
    assert await bot(fake).reply(Ignored("x"), "words") == Reply()
    assert fake.calls == []


async def test_slack_is_answered_whatever_becomes_of_the_word() -> None:
    fake = FakeSlack()
    for status, body in ((200, '{"ok":false,"error":"user_not_in_channel"}'), (500, ""), (200, "[]")):
        fake.trouble("chat.postEphemeral", status, body)
        assert await bot(fake).reply(heard(), "words") == Reply()


async def test_slack_is_not_kept_waiting() -> None:
    async def never(_request: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    fake = FakeSlack()
    fake.transport = httpx2.MockTransport(never)  # type: ignore[assignment]
    channel = bot(fake, patience=0.05)
    async with asyncio.timeout(2):
        assert await channel.reply(heard(), "words") == Reply()
        assert await channel.agrees(heard().where, {"channel": "C0OPS", "ts": ROOT.ts})
    await channel.close()
    assert slack.PATIENCE_S < 3
