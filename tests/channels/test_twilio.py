"""Phones ring once for each message, and Twilio's answers are read as Twilio means them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any, ClassVar

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.channels.twilio import Settings, Twilio, connect
from gateway.contracts import Surroundings
from gateway.fields import Rate
from gateway.model import Receipt, Rejected, Retry, Sent, Unknown
from tests.channels.suite import HttpContract, ListenerContract, a_change, a_message
from tests.fakes.twilio import FakeTwilio

KIM, LEE, PARK = "+821011112222", "+821033334444", "+14155550100"
ACCOUNT = FakeTwilio.account
PUBLIC = "https://alerts.example.com"
FACTS: dict[str, Any] = {
    "kind": "twilio",
    "account_sid": ACCOUNT,
    "auth_token": "t0ken",
    "from": "+15005550006",
    "to": KIM,
}


def settings(**keys: Any) -> Settings:
    return Settings.model_validate({key: value for key, value in {**FACTS, **keys}.items() if value is not None})


def twilio(fake: FakeTwilio, **keys: Any) -> Twilio:
    return connect(settings(**keys), Surroundings("oncall-sms", transport=fake.transport))


class TestSms(HttpContract, ListenerContract):
    secrets: ClassVar[tuple[str, ...]] = ("t0ken", KIM, KIM[1:])

    def connect(self, transport: httpx2.AsyncBaseTransport) -> Twilio:
        return connect(settings(), Surroundings("oncall-sms", PUBLIC, transport=transport))

    def listening(self, transport: httpx2.AsyncBaseTransport) -> Twilio:
        return self.connect(transport)

    def vendor(self) -> httpx2.AsyncBaseTransport:
        return FakeTwilio().transport


class TestVoice(HttpContract, ListenerContract):
    secrets: ClassVar[tuple[str, ...]] = ("t0ken", KIM, KIM[1:])

    def connect(self, transport: httpx2.AsyncBaseTransport) -> Twilio:
        return connect(settings(via="voice", when_unknown="let_be"), Surroundings("call", PUBLIC, transport=transport))

    def listening(self, transport: httpx2.AsyncBaseTransport) -> Twilio:
        return self.connect(transport)

    def vendor(self) -> httpx2.AsyncBaseTransport:
        return FakeTwilio().transport


# --- text messages ------------------------------------------------------------------------------------


async def test_a_text_message_is_the_brief_words_to_each_number() -> None:
    fake = FakeTwilio()
    receipt = await twilio(fake, to=[KIM, "+82 (10) 3333-4444", KIM]).send(a_message(), {})
    assert fake.sent == [
        {"To": number, "From": "+15005550006", "Body": "CRITICAL shop is down"} for number in (KIM, LEE)
    ]
    assert receipt == Sent({"sid": {KIM: f"SM{1:032x}", LEE: f"SM{2:032x}"}})


async def test_a_messaging_service_may_be_the_sender() -> None:
    fake = FakeTwilio()
    await twilio(fake, messaging_service_sid="MG1", **{"from": None}).send(a_message(), {})
    assert fake.sent[0]["MessagingServiceSid"] == "MG1"
    assert "From" not in fake.sent[0]


async def test_an_api_key_may_be_the_login() -> None:
    fake = FakeTwilio(login=("SK1", "s3cret"))
    receipt = await twilio(fake, auth_token=None, api_key="SK1", api_secret="s3cret").send(a_message(), {})
    assert isinstance(receipt, Sent)


@pytest.mark.parametrize(
    ("keys", "body"),
    [
        ({"custom_body": "ours", "custom_title": "Title"}, "Title\nours"),
        ({"custom_body": "ours"}, "ours"),
        ({"custom_title": "Title"}, "Title\nhttps://status.example/shop"),
        ({"custom_title": "", "custom_body": ""}, "CRITICAL shop is down"),
        ({"footer": "the template failed"}, "CRITICAL shop is down\nthe template failed"),
        ({"brief": "", "facts": (), "body": "", "url": ""}, "[CRITICAL] shop is down"),
        ({"brief": "", "facts": (), "body": "", "url": "", "title": ""}, "shop is down"),
        ({"brief": "bell\x07 and\x1b[0m"}, "bell and[0m"),
    ],
)
async def test_the_first_words_there_are_are_sent(keys: dict[str, Any], body: str) -> None:
    fake = FakeTwilio()
    await twilio(fake).send(a_message(**keys), {})
    assert fake.sent[0]["Body"] == body


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=("Cs",))), st.integers(1, 900))
async def test_no_text_is_too_long(text: str, times: int) -> None:
    fake = FakeTwilio()
    receipt = await twilio(fake).send(a_message(custom_body="x" + text * times), {})
    assert isinstance(receipt, Sent)


async def test_a_long_text_shows_that_it_was_cut_and_stays_in_its_alphabet() -> None:
    fake = FakeTwilio()
    await twilio(fake).send(a_message(custom_body="x" * 2_000), {})
    assert fake.sent[0]["Body"] == "x" * 1_597 + "..."
    await twilio(fake).send(a_message(custom_body="x" + "𝟙" * 2_000), {})
    assert fake.sent[1]["Body"] == "x" + "𝟙" * 798 + "..."


def test_addresses_stay_and_controls_go() -> None:
    channel = twilio(FakeTwilio())
    assert channel.escape("see https://a.example/b?c=1\x1b[0m") == "see https://a.example/b?c=1[0m"


# --- calls --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "voice"), [("en", "en-US"), ("ko", "ko-KR")])
async def test_a_call_says_it_twice(language: Any, voice: str) -> None:
    fake = FakeTwilio()
    receipt = await twilio(fake, via="voice").send(a_message(language=language, speech="Shop <b>&\nis down"), {})
    assert receipt == Sent({"sid": {KIM: f"CA{1:032x}"}})
    assert (fake.sent[0]["To"], fake.sent[0]["From"]) == (KIM, "+15005550006")
    first, pause, second = ET.fromstring(fake.sent[0]["Twiml"])  # noqa: S314 - ours
    assert (first.tag, first.get("language"), first.text) == ("Say", voice, "Shop <b>&\nis down")
    assert pause.tag == "Pause"
    assert ET.tostring(first) == ET.tostring(second)


@given(st.text(), st.integers(1, 900))
async def test_any_words_can_be_said(text: str, times: int) -> None:
    fake = FakeTwilio()
    assert isinstance(await twilio(fake, via="voice").send(a_message(speech=text * times), {}), Sent)


async def test_as_much_is_said_as_fits() -> None:
    fake = FakeTwilio()
    await twilio(fake, via="voice").send(a_message(speech="&<>" * 5_000), {})
    assert 3_900 <= len(fake.sent[0]["Twiml"]) <= 4_000


async def test_what_is_over_already_wakes_nobody() -> None:
    fake = FakeTwilio()
    over = a_message(occasion="over", state="resolved")
    assert await twilio(fake, via="voice").send(over, {}) == Sent({}, "over before it was told: no call")
    assert fake.sent == []
    assert isinstance(await twilio(fake).send(over, {}), Sent)
    assert fake.told == [KIM]


@pytest.mark.parametrize(
    ("via", "occasions"),
    [
        ("voice", ["resolved", "steadied", "acknowledged", "noted", "assigned", "muted", "linked", "eased"]),
        ("sms", ["noted", "assigned", "muted", "linked", "eased"]),
    ],
)
async def test_no_phone_rings_for_what_wakes_nobody(via: str, occasions: list[Any]) -> None:
    fake = FakeTwilio()
    for occasion in occasions:
        receipt = await twilio(fake, via=via).send(a_change(occasion=occasion), {"sid": {KIM: "CA1"}})
        assert receipt == Sent({"sid": {KIM: "CA1"}}, f"{occasion}: no reason to ring")
    assert fake.sent == []


@pytest.mark.parametrize("via", ["voice", "sms"])
@pytest.mark.parametrize("occasion", ["opened", "worsened", "reopened", "reminded", "escalated", "unanswered"])
async def test_a_phone_rings_for_whoever_must_act(via: str, occasion: Any) -> None:
    fake = FakeTwilio()
    await twilio(fake, via=via).send(a_change(occasion=occasion), {"sid": {KIM: "CA1"}})
    assert fake.told == [KIM]


async def test_a_text_says_that_it_is_over_or_taken_on() -> None:
    fake = FakeTwilio()
    for occasion in ("resolved", "acknowledged", "steadied"):
        await twilio(fake).send(a_change(occasion=occasion), {"sid": {KIM: "SM1"}})
    assert fake.told == [KIM, KIM, KIM]


@pytest.mark.parametrize("via", ["sms", "voice"])
async def test_without_a_bell_nothing_is_sent(via: str) -> None:
    fake = FakeTwilio()
    receipt = await twilio(fake, via=via).send(a_message(quiet=True), {"sid": {KIM: "SM1"}})
    assert receipt == Sent({"sid": {KIM: "SM1"}}, "no bell: nothing sent")
    assert fake.sent == []


# --- what Twilio says ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "receipt"),
    [
        (400, 21211, Rejected("Twilio 21211: a number of `to` does not exist")),
        (400, 21610, Rejected("Twilio 21610: a recipient has answered STOP")),
        (400, 21999, Rejected("Twilio 21999")),
        (403, 20003, Rejected("Twilio 20003: the login is refused; check account_sid and auth_token")),
        (429, 20429, Retry("Twilio 20429: too many requests")),
        (400, 21611, Retry("Twilio 21611: the queue of the sending number is full")),
        (500, 20500, Unknown("HTTP 500: it may have been sent (Twilio 20500)")),
        (503, 0, Unknown("HTTP 503: it may have been sent")),
        (400, 0, Rejected("HTTP 400")),
    ],
)
async def test_an_error_is_read_by_its_code(status: int, code: int, receipt: Receipt) -> None:
    fake = FakeTwilio(numbers={KIM: [(status, code)]})
    assert await twilio(fake).send(a_message(), {}) == receipt


async def test_a_pause_that_twilio_asks_for_is_kept() -> None:
    fake = FakeTwilio(numbers={KIM: [(429, 20429)]}, headers={"retry-after": "9"})
    receipt = await twilio(fake).send(a_message(), {})
    assert isinstance(receipt, Retry)
    assert receipt.after == 9_000


async def test_a_wrong_token_is_rejected() -> None:
    receipt = await twilio(FakeTwilio(), auth_token="other").send(a_message(), {})
    assert receipt == Rejected("Twilio 20003: the login is refused; check account_sid and auth_token")


def test_what_is_not_known_is_sent_again_once_or_let_be() -> None:
    assert twilio(FakeTwilio()).unknown_again == 1
    assert twilio(FakeTwilio(), when_unknown="let_be").unknown_again == 0


# --- several phones -----------------------------------------------------------------------------------


async def test_nobody_is_told_twice_because_anothers_phone_is_busy() -> None:
    fake = FakeTwilio(numbers={LEE: [(429, 20429), (429, 20429)], PARK: [(400, 21610)] * 3})
    channel = twilio(fake, to=[KIM, LEE, PARK])
    first = await channel.send(a_message(), {})
    assert isinstance(first, Retry)
    second = await channel.send(a_message(), first.ref or {})
    assert isinstance(second, Retry)
    third = await channel.send(a_message(), second.ref or {})
    assert fake.told == [KIM, LEE]
    assert third == Sent(
        {"sid": {KIM: f"SM{1:032x}", LEE: f"SM{2:032x}"}},
        missed="1 of 3 refused (Twilio 21610: a recipient has answered STOP)",
    )


async def test_a_lost_answer_is_asked_for_again_only_where_it_was_lost() -> None:
    fake = FakeTwilio(numbers={LEE: [(500, 20500)]})
    channel = twilio(fake, to=[KIM, LEE])
    first = await channel.send(a_message(), {})
    assert isinstance(first, Unknown)
    assert isinstance(await channel.send(a_message(), first.ref or {}), Sent)
    assert fake.told == [KIM, LEE]


async def test_what_shall_be_let_be_is_not_sent_again_for_another_phones_sake() -> None:
    fake = FakeTwilio(numbers={KIM: [(500, 20500)], LEE: [(429, 20429)]})
    channel = twilio(fake, to=[KIM, LEE], when_unknown="let_be")
    first = await channel.send(a_message(), {})
    assert isinstance(first, Retry)
    second = await channel.send(a_message(), first.ref or {})
    assert second == Sent({"sid": {KIM: "", LEE: f"SM{1:032x}"}}, "no answer for 1 of 2")
    assert fake.told == [LEE]


async def test_a_lost_answer_may_be_tried_again_while_another_phone_is_busy() -> None:
    fake = FakeTwilio(numbers={KIM: [(500, 20500)], LEE: [(429, 20429)]})
    channel = twilio(fake, to=[KIM, LEE])
    first = await channel.send(a_message(), {})
    assert isinstance(first, Retry)
    await channel.send(a_message(), first.ref or {})
    assert fake.told == [KIM, LEE]


async def test_the_next_revision_goes_to_every_phone() -> None:
    fake = FakeTwilio(numbers={LEE: [(429, 20429)]})
    channel = twilio(fake, to=[KIM, LEE])
    first = await channel.send(a_message(), {})
    assert isinstance(first, Retry)
    await channel.send(a_change(), first.ref or {})
    assert fake.told == [KIM, KIM, LEE]


async def test_said_again_on_purpose_it_is_sent_again() -> None:
    fake = FakeTwilio()
    channel = twilio(fake)
    first = await channel.send(a_message(), {})
    assert isinstance(first, Sent)
    await channel.send(a_message(), first.ref)
    assert fake.told == [KIM, KIM]


@pytest.mark.parametrize(
    "told", [7, {}, {"id": 1}, {"id": a_message().id, "sid": [KIM]}, {"id": "x", "sid": {KIM: "SM1"}}]
)
async def test_a_ref_of_another_make_is_not_believed(told: object) -> None:
    fake = FakeTwilio()
    await twilio(fake).send(a_message(), {"told": told})
    assert fake.told == [KIM]


async def test_more_phones_than_connections_all_ring() -> None:
    fake = FakeTwilio()
    numbers = [f"+8210{n:08d}" for n in range(40)]
    assert isinstance(await twilio(fake, to=numbers).send(a_message(), {}), Sent)
    assert sorted(fake.told) == numbers


# --- settings -----------------------------------------------------------------------------------------


def test_the_pace_is_one_a_second_unless_written_otherwise() -> None:
    assert twilio(FakeTwilio()).paces == (Rate(1, 1_000),)
    assert twilio(FakeTwilio(), pace="none").paces == ()


@pytest.mark.parametrize("sender", ["+15005550006", "12345", "Tocsin", "ACME 24"])
def test_a_number_a_short_code_or_a_name_can_send_texts(sender: str) -> None:
    assert settings(**{"from": sender}).from_ == sender


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"to": []}, "names nobody"),
        ({"to": "0105555S3CRET"}, "is no phone number"),
        ({"to": "+8210S3CRET"}, "is no phone number"),
        ({"account_sid": "S3CRET"}, "account_sid"),
        ({"account_sid": "AC1/../S3CRET"}, "account_sid"),
        ({"auth_token": None}, "auth_token is missing"),
        ({"api_key": "SK0S3CRET"}, "both or not at all"),
        ({"api_secret": "S3CRET"}, "both or not at all"),
        ({"from": None}, "one of from and messaging_service_sid"),
        ({"messaging_service_sid": "MG0S3CRET"}, "one of from and messaging_service_sid"),
        ({"from": "S3CRET-and-more"}, "is no phone number"),
        ({"via": "voice", "from": "Tocsin"}, "voice needs a phone number"),
        ({"via": "voice", "from": None, "messaging_service_sid": "MG1"}, "voice needs a phone number"),
        ({"via": "S3CRET"}, "'sms' or 'voice'"),
        ({"when_unknown": "S3CRET"}, "let_be"),
        ({"sid": "S3CRET"}, "Extra inputs"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence) as refused:
        settings(**keys)
    assert "S3CRET" not in str(refused.value)
