"""What Twilio brings back: reports, texts and keys; heard only if it signed them over our own address, and only from
whoever was told."""

from __future__ import annotations

import urllib.parse
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels import _twilio_hearing as hearing
from gateway.channels import _twilio_words as words
from gateway.channels.twilio import Twilio, connect
from gateway.contracts import Call, Heard, Ignored, Listener, Pressed, Reply, Reported, Surroundings
from gateway.errors import BadCredential
from gateway.model import Action, Sent, Unknown
from gateway.rules.fitting import fits_one_sms
from tests.channels.suite import NOON, a_change, a_message, an_incident
from tests.channels.test_twilio import KIM, LEE, PARK, settings
from tests.fakes.twilio import AUTH_TOKEN, FakeTwilio, signed

PUBLIC = "https://alerts.example.com/tocsin"
PATH = f"{PUBLIC}/callbacks/twilio/oncall-sms"
INCIDENT = an_incident().id
DELIVERY = "01990000-0000-7000-8000-0000000000ff"
STRANGER = "+821099998888"
ACTIONS = (Action("acknowledge", "Acknowledge"), Action("resolve", "Resolve"), Action("silence", "Silence 1 h"))


def twilio(fake: FakeTwilio | None = None, public_url: str = PUBLIC, **keys: Any) -> Twilio:
    transport = (fake or FakeTwilio()).transport
    return connect(settings(**keys), Surroundings("oncall-sms", public_url, transport=transport))


def message(**changes: Any) -> Any:
    return a_message(**{"actions": ACTIONS, "delivery": DELIVERY, **changes})


def call(form: dict[str, str], query: str = "", auth_token: str = AUTH_TOKEN, base: str = PATH) -> Call:
    """Signed over `base` and the query, called at PATH and the query."""
    tail = f"?{query}" if query else ""
    body, headers = signed(base + tail, form, auth_token)
    return Call(headers, body, PATH + tail, dict(urllib.parse.parse_qsl(query)), NOON)


def heard(form: dict[str, str], query: str = "", **keys: Any) -> Heard:
    return twilio(**{"to": [KIM, LEE], **keys}).hear(call(form, query))


def a_text(body: str, sender: str = KIM) -> Heard:
    return heard({"From": sender, "To": "+15005550006", "Body": body, "MessageSid": "SM9", "SmsStatus": "received"})


def a_key(digits: str, called: str = KIM, query: str = "", **more: str) -> Heard:
    form = {"To": called, "From": "+15005550006", "Digits": digits, "CallSid": "CA9", "CallStatus": "in-progress"}
    return heard({**form, **more}, query)


# --- what Twilio is asked for -------------------------------------------------------------------------


async def test_a_text_names_where_to_tell_what_became_of_it() -> None:
    fake = FakeTwilio()
    await twilio(fake).send(message(), {})
    assert fake.sent[0]["StatusCallback"] == f"{PATH}?delivery={DELIVERY}"
    assert "StatusCallbackEvent" not in fake.sent[0]


async def test_a_call_names_which_events_it_wants_to_hear_of() -> None:
    fake = FakeTwilio()
    await twilio(fake, via="voice").send(message(), {})
    assert fake.sent[0]["StatusCallback"] == f"{PATH}?delivery={DELIVERY}"
    assert fake.sent[0]["StatusCallbackEvent"] == "answered completed"


@pytest.mark.parametrize("via", ["sms", "voice"])
@pytest.mark.parametrize(
    ("public_url", "delivery", "keys"),
    [
        ("", DELIVERY, {}),
        (PUBLIC, "", {}),
        (PUBLIC, DELIVERY, {"auth_token": None, "api_key": "SK1", "api_secret": "s"}),
    ],
)
async def test_nothing_is_asked_for_that_could_not_be_heard(
    via: str, public_url: str, delivery: str, keys: dict[str, Any]
) -> None:
    fake = FakeTwilio(login=("SK1", "s")) if keys else FakeTwilio()
    channel = twilio(fake, public_url, via=via, **keys)
    assert isinstance(await channel.send(message(delivery=delivery), {}), Sent)
    assert not [key for key in fake.sent[0] if key.startswith("StatusCallback")]
    assert "Gather" not in fake.sent[0].get("Twiml", "")
    assert "Reply" not in fake.sent[0].get("Body", "")


async def test_an_address_that_twilio_cannot_call_costs_no_page() -> None:
    for via in ("sms", "voice"):
        fake = FakeTwilio()
        receipt = await twilio(fake, fake.unreachable, via=via).send(message(), {})
        assert isinstance(receipt, Sent)
        assert fake.told == [KIM]


def test_it_listens_where_it_can_be_called_and_can_verify_who_calls() -> None:
    assert twilio().listens
    assert isinstance(twilio(), Listener)
    assert not twilio(public_url="").listens
    deaf = twilio(auth_token=None, api_key="SK1", api_secret="s")
    assert not deaf.listens
    with pytest.raises(BadCredential):
        deaf.hear(call({"From": KIM, "Body": "ACK", "MessageSid": "SM1"}))


# --- how to answer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "brief", "body"),
    [
        ("en", "CRITICAL shop is down", "CRITICAL shop is down Reply ACK 42"),
        ("ko", "심각 쇼핑몰 장애", "심각 쇼핑몰 장애 확인 42 회신"),
        ("en", "x" * 147, "x" * 147 + " Reply ACK 42"),
        ("en", "x" * 148, "x" * 148),
        ("ko", "가" * 61, "가" * 61 + " 확인 42 회신"),
        ("ko", "가" * 62, "가" * 62),
    ],
)
async def test_a_text_says_how_to_answer_where_there_is_room(language: Any, brief: str, body: str) -> None:
    fake = FakeTwilio()
    await twilio(fake).send(message(language=language, brief=brief), {})
    assert fake.sent[0]["Body"] == body
    assert fits_one_sms(body)


@pytest.mark.parametrize("changes", [{"actions": ()}, {"actions": ACTIONS[1:]}, {"number": 0}], ids=str)
async def test_a_text_that_cannot_be_acknowledged_does_not_say_how(changes: dict[str, Any]) -> None:
    fake = FakeTwilio()
    await twilio(fake).send(message(**changes), {})
    assert fake.sent[0]["Body"] == "CRITICAL shop is down"


@pytest.mark.parametrize(
    ("sender", "hinted"), [("+15005550006", True), ("12345", True), ("Tocsin", False), ("ACME 24", False)]
)
async def test_a_name_takes_no_replies(sender: str, hinted: bool) -> None:
    fake = FakeTwilio()
    await twilio(fake, **{"from": sender}).send(message(), {})
    assert ("Reply" in fake.sent[0]["Body"]) is hinted


@pytest.mark.parametrize(
    ("language", "actions", "prompt"),
    [
        ("en", ACTIONS, "Press 1 to acknowledge, 2 to resolve."),
        ("en", ACTIONS[1:], "Press 2 to resolve."),
        ("ko", ACTIONS, "확인은 1번, 해결은 2번을 눌러 주세요."),
    ],
)
async def test_a_call_says_which_keys_there_are_and_waits_for_one(language: Any, actions: Any, prompt: str) -> None:
    fake = FakeTwilio()
    await twilio(fake, via="voice").send(message(language=language, actions=actions, speech="Shop & co"), {})
    (gather,) = ET.fromstring(fake.sent[0]["Twiml"])  # noqa: S314 - ours
    assert gather.tag == "Gather"
    assert (gather.get("numDigits"), gather.get("method"), gather.get("timeout")) == ("1", "POST", "10")
    assert gather.get("action") == f"{PATH}?delivery={DELIVERY}&incident={INCIDENT}"
    assert [part.text for part in gather if part.tag == "Say"] == [f"Shop & co {prompt}"] * 2


@pytest.mark.parametrize("actions", [(), ACTIONS[2:]], ids=["none", "no key for it"])
async def test_a_call_without_keys_waits_for_none(actions: Any) -> None:
    fake = FakeTwilio()
    await twilio(fake, via="voice").send(message(actions=actions), {})
    assert "Gather" not in fake.sent[0]["Twiml"]
    assert "Press" not in fake.sent[0]["Twiml"]


@given(st.text(max_size=300), st.integers(1, 60), st.sampled_from(["", "&", "x" * 1_700, "&" * 500]))
def test_a_call_is_never_too_long(speech: str, times: int, more: str) -> None:
    said = words.call(message(speech=speech * times), f"https://alerts.example.com/{more}")
    assert len(said.encode("utf-16-le")) // 2 <= 4_000
    ET.fromstring(said)  # noqa: S314 - ours


def test_an_endless_address_leaves_the_words() -> None:
    said = words.call(message(speech="Shop is down"), "https://alerts.example.com/" + "x" * 2_000)
    assert "Gather" not in said
    assert said.count(">Shop is down</Say>") == 2


# --- the signature ------------------------------------------------------------------------------------


def test_twilios_own_example_is_signed_as_its_manual_says() -> None:
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    made = hearing.signature("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", list(form.items()))
    assert made == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize(
    ("called", "by_twilio"),
    [
        ("https://a.example/x?y=1", "https://a.example/x?y=1"),
        ("https://a.example/x", "https://a.example:443/x"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("https://a.example:8443/x", "https://a.example:8443/x"),
        ("https://a.example:8443/x", "https://a.example/x"),
        ("http://a.example/x", "http://a.example:80/x"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]/x"),
    ],
)
def test_the_port_may_be_named_or_not(called: str, by_twilio: str) -> None:
    form = {"From": KIM, "Body": "ACK", "MessageSid": "SM1"}
    body, headers = signed(by_twilio, form)
    assert isinstance(hearing.hear(Call(headers, body, called, {}, NOON), AUTH_TOKEN, [KIM]), Pressed)


def test_blank_and_repeated_values_are_signed_as_well() -> None:
    pairs = [("b", "2"), ("a", ""), ("b", "1"), ("b", "2"), ("c", " x ")]
    assert hearing.signature("t", "u", pairs) == hearing.signature("t", "uab1b2c x ", [])


@pytest.mark.parametrize(
    "changes",
    [
        {"auth_token": "guessed"},
        {"base": "https://evil.example/callbacks/twilio/oncall-sms"},
        {"base": PATH + "/more"},
        {"base": PATH.replace("https", "http")},
    ],
    ids=str,
)
def test_what_twilio_did_not_sign_so_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(BadCredential):
        twilio().hear(call({"From": KIM, "Body": "ACK", "MessageSid": "SM1"}, **changes))


@pytest.mark.parametrize("shown", ["", "AAAA", "한글", "\xff\udc80", None])
def test_a_signature_of_any_shape_is_refused(shown: str | None) -> None:
    good = call({"From": KIM, "Body": "ACK", "MessageSid": "SM1"})
    headers = {} if shown is None else {**good.headers, "x-twilio-signature": shown}
    with pytest.raises(BadCredential):
        twilio().hear(Call(headers, good.body, good.url, good.query, NOON))


def test_neither_words_nor_address_may_be_changed_on_the_way() -> None:
    good = call({"From": KIM, "Body": "ACK", "MessageSid": "SM1"}, f"delivery={DELIVERY}")
    for body, url in ((good.body.replace(b"ACK", b"2"), good.url), (good.body, good.url + "0"), (b"", good.url)):
        with pytest.raises(BadCredential):
            twilio().hear(Call(good.headers, body, url, good.query, NOON))


@pytest.mark.parametrize("body", [b"", b"\xff", b"&".join(b"a%d=1" % n for n in range(300))], ids=["0", "1", "2"])
def test_a_body_that_is_no_form_asks_for_nothing(body: bytes) -> None:
    made = hearing.signature(AUTH_TOKEN, PATH, [])
    assert isinstance(twilio().hear(Call({"x-twilio-signature": made}, body, PATH, {}, NOON)), Ignored)


# --- reports ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "reached", "reason"),
    [
        ({"MessageStatus": "delivered"}, "delivered", ""),
        ({"MessageStatus": "read"}, "delivered", ""),
        ({"MessageStatus": "undelivered", "ErrorCode": "30003"}, "undelivered", "Twilio 30003"),
        ({"MessageStatus": "failed", "ErrorCode": "<b>30003</b>"}, "undelivered", "failed"),
        ({"MessageStatus": "failed"}, "undelivered", "failed"),
    ],
)
def test_a_report_tells_what_became_of_a_text(form: dict[str, str], reached: Any, reason: str) -> None:
    found = heard({"MessageSid": "SM1", "To": KIM, **form}, f"delivery={DELIVERY}")
    key = f"SM1.{form['MessageStatus']}"
    assert found == Reported(key, DELIVERY, reached, sid="SM1", address=KIM, reason=reason)


@pytest.mark.parametrize(
    ("status", "reached"),
    [
        ("in-progress", "answered"),
        ("answered", "answered"),
        ("completed", "answered"),
        ("busy", "undelivered"),
        ("no-answer", "undelivered"),
        ("failed", "undelivered"),
        ("canceled", "undelivered"),
    ],
)
def test_a_report_tells_what_became_of_a_call(status: str, reached: Any) -> None:
    found = heard({"CallSid": "CA1", "To": KIM, "CallStatus": status}, f"delivery={DELIVERY}")
    reason = status if reached == "undelivered" else ""
    assert found == Reported(f"CA1.{status}", DELIVERY, reached, sid="CA1", address=KIM, reason=reason)


@pytest.mark.parametrize(
    ("form", "query"),
    [
        ({"MessageSid": "SM1", "MessageStatus": "queued"}, f"delivery={DELIVERY}"),
        ({"MessageSid": "SM1", "MessageStatus": "sent"}, f"delivery={DELIVERY}"),
        ({"MessageSid": "SM1", "MessageStatus": "partially_delivered"}, f"delivery={DELIVERY}"),
        ({"CallSid": "CA1", "CallStatus": "ringing"}, f"delivery={DELIVERY}"),
        ({"CallSid": "CA1", "CallStatus": "initiated"}, f"delivery={DELIVERY}"),
        ({"MessageSid": "SM1", "MessageStatus": "delivered"}, ""),
        ({"MessageStatus": "delivered"}, f"delivery={DELIVERY}"),
    ],
    ids=str,
)
def test_what_is_on_the_way_or_not_ours_is_ignored(form: dict[str, str], query: str) -> None:
    assert isinstance(heard(form, query), Ignored)


# --- texts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "verb", "number"),
    [
        ("ACK 12", "acknowledge", 12),
        ("ack #12", "acknowledge", 12),
        (" Ack12. ", "acknowledge", 12),
        ("ack", "acknowledge", None),
        ("OK", "acknowledge", None),
        ("Okay!", "acknowledge", None),
        ("1", "acknowledge", None),
        ("１", "acknowledge", None),
        ("1 12", "acknowledge", 12),
        ("1 #12", "acknowledge", 12),
        ("확인", "acknowledge", None),
        ("확인 12", "acknowledge", 12),
        ("확인했습니다.", "acknowledge", None),
        ("\u1112\u116a\u11a8\u110b\u1175\u11ab", "acknowledge", None),  # letter by letter, as some phones write
        ("2", "resolve", None),
        ("2 7", "resolve", 7),
        ("RESOLVE 12", "resolve", 12),
        ("done", "resolve", None),
        ("해결 12", "resolve", 12),
    ],
)
def test_a_text_says_what_to_do_and_perhaps_of_which(body: str, verb: Any, number: int | None) -> None:
    where = {"number": KIM}
    assert a_text(body) == Pressed("SM9", verb, KIM, number=number, where=where, address=KIM, about={"kind": "sms"})


@pytest.mark.parametrize(
    "body",
    [
        *(
            "",
            "STOP",
            "stop",
            "START",
            "HELP",
            "UNSTOP",
            "YES",
            "3",
            "12",
            "112",
            "1st",
            "ack twelve",
            "ACK 1234567890",
        ),
        *(
            "I am driving and will read this later",
            "ok but not now",
            "확인불가",
            "nack",
            "ack 12 13",
            "\0",
            "1" * 2_000,
        ),
    ],
)
def test_any_other_text_is_ignored(body: str) -> None:
    assert isinstance(a_text(body), Ignored)


def test_a_text_without_an_id_could_be_taken_twice_and_is_ignored() -> None:
    assert isinstance(heard({"From": KIM, "Body": "ACK"}), Ignored)


@pytest.mark.parametrize("sender", [STRANGER, "", "+1500555000", KIM[1:], f" {KIM}", f"{KIM} "])
def test_a_stranger_is_ignored_though_twilio_signs_his_text(sender: str) -> None:
    assert a_text("ACK 12", sender) is hearing.STRANGER
    assert a_key("1", sender) is hearing.STRANGER
    assert STRANGER not in hearing.STRANGER.why


# --- keys ---------------------------------------------------------------------------------------------


def test_a_key_is_about_the_call_in_which_it_was_pressed() -> None:
    query = urllib.parse.urlencode({"delivery": DELIVERY, "incident": INCIDENT})
    assert a_key("2", query=query) == Pressed(
        key="CA9.2",
        verb="resolve",
        by=KIM,
        subject=INCIDENT,
        where={"number": KIM, "call": "CA9"},
        address=KIM,
        about={"kind": "voice"},
    )


def test_a_key_in_a_call_that_names_no_incident_is_about_the_newest() -> None:
    found = a_key("1")
    assert isinstance(found, Pressed)
    assert (found.subject, found.where, found.verb) == ("", {"number": KIM}, "acknowledge")


@pytest.mark.parametrize("digits", ["3", "0", "", "12", "*", "#"])
def test_another_key_means_nothing(digits: str) -> None:
    assert a_key(digits) is hearing.NO_SUCH_KEY


def test_a_key_without_a_call_is_ignored() -> None:
    assert a_key("1", CallSid="") is hearing.NO_SUCH_KEY


# --- whether they were told ---------------------------------------------------------------------------


async def test_only_a_number_that_was_told_agrees() -> None:
    channel = twilio(to=[KIM, LEE])
    where = {"number": KIM}
    assert await channel.agrees(where, {"sid": {KIM: "SM1"}})
    assert await channel.agrees(where, {"told": {"id": "x", "sid": {KIM: "SM1"}}})
    assert await channel.agrees(where, {"sid": {KIM: "SM1"}, "told": {"id": "x", "sid": {LEE: "SM2"}}})
    for ref in ({}, {"sid": {LEE: "SM2"}}, {"sid": [KIM]}, {"sid": KIM}, {"told": KIM}, {"told": {"sid": [KIM]}}):
        assert not await channel.agrees(where, ref)
    assert not await channel.agrees({}, {"sid": {KIM: "SM1"}})


async def test_a_call_may_be_answered_before_we_know_its_name() -> None:
    assert await twilio().agrees({"number": KIM, "call": "CA9"}, {})


async def test_whoever_heard_of_it_once_is_known_while_the_next_is_under_way() -> None:
    fake = FakeTwilio(numbers={LEE: [(500, 20500)]})
    channel = twilio(fake, to=[KIM, LEE])
    under_way = await channel.send(a_change(), {"sid": {LEE: "SM0", PARK: "SM0"}})
    assert isinstance(under_way, Unknown)
    assert under_way.ref is not None
    assert await channel.agrees({"number": LEE}, under_way.ref)
    assert await channel.agrees({"number": KIM}, under_way.ref)
    assert not await channel.agrees({"number": PARK}, under_way.ref)  # `to` does not name him any more
    done = await channel.send(a_change(), under_way.ref)
    assert done == Sent({"sid": {LEE: f"SM{2:032x}", KIM: f"SM{1:032x}"}})


async def test_whoever_the_next_one_did_not_reach_still_counts_as_told() -> None:
    fake = FakeTwilio(numbers={LEE: [(400, 21610)]})
    sent = await twilio(fake, to=[KIM, LEE]).send(a_change(), {"sid": {LEE: "SM0"}})
    assert isinstance(sent, Sent)
    assert sent.ref == {"sid": {LEE: "SM0", KIM: f"SM{1:032x}"}}


# --- the answer ---------------------------------------------------------------------------------------


async def test_a_text_is_answered_by_text() -> None:
    said = "Acknowledged #12 Disk <94 %> & \x07more"
    reply = await twilio().reply(a_text("ACK 12"), said)
    assert (reply.status, reply.media_type) == (200, "text/xml")
    (answer,) = ET.fromstring(reply.body)  # noqa: S314 - ours
    assert (answer.tag, answer.text) == ("Message", "Acknowledged #12 Disk <94 %> & more")
    assert await twilio().reply(a_text("ACK"), "") == Reply(200, "<Response></Response>", "text/xml")


@pytest.mark.parametrize(("language", "voice"), [("en", "en-US"), ("ko", "ko-KR")])
async def test_a_key_is_answered_aloud(language: str, voice: str) -> None:
    reply = await twilio(via="voice", language=language).reply(a_key("1"), "lee was first & only")
    (answer,) = ET.fromstring(reply.body)  # noqa: S314 - ours
    assert (answer.tag, answer.get("language"), answer.text) == ("Say", voice, "lee was first & only")
    assert reply.media_type == "text/xml"


@pytest.mark.parametrize(("language", "voice"), [("en", "en-US"), ("ko", "ko-KR")])
async def test_after_another_key_the_call_goes_on(language: str, voice: str) -> None:
    reply = await twilio(via="voice", language=language).reply(a_key("7"), "")
    (gather,) = ET.fromstring(reply.body)  # noqa: S314 - ours
    assert (gather.tag, gather.get("numDigits"), gather.get("action")) == ("Gather", "1", None)
    assert gather[0].get("language") == voice
    assert "1" in (gather[0].text or "")


async def test_strangers_hear_nothing() -> None:
    for found in (a_text("ACK", STRANGER), a_key("1", STRANGER), a_text("STOP")):
        assert await twilio().reply(found, "") == Reply(200, "<Response></Response>", "text/xml")


async def test_a_report_needs_no_words() -> None:
    report = heard({"MessageSid": "SM1", "MessageStatus": "delivered"}, f"delivery={DELIVERY}")
    assert await twilio().reply(report, "") == Reply(204)


@given(st.text(max_size=3_000))
def test_any_answer_is_a_document(text: str) -> None:
    for said, most in ((words.texted(text), 1_600 * 6 + 100), (words.spoken(text, "en"), 4_000)):
        ET.fromstring(said)  # noqa: S314 - ours
        assert len(said) <= most
