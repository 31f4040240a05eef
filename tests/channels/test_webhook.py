"""Any address hears {change, incident, message}, signed so that the reference library agrees."""

from __future__ import annotations

import base64
import time
from typing import ClassVar

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from standardwebhooks import Webhook as Oracle

from gateway.channels.webhook import Settings, Webhook, connect
from gateway.contracts import Channel, Surroundings
from gateway.fields import Rate
from gateway.model import Rejected, Retry, Sent
from gateway.rules.shapes import incident_json
from tests.channels.suite import NOON, HttpContract, a_change, a_message
from tests.fakes.receiver import Receiver

SECRET = "whsec_" + base64.b64encode(b"twenty-four bytes of key").decode()
URL = "https://hooks.example/T0KEN/"


def webhook(receiver: Receiver, name: str = "elsewhere", **keys: object) -> Webhook:
    settings = Settings.model_validate({"kind": "webhook", "url": URL, **keys})
    return connect(settings, Surroundings(name, now=lambda: NOON, transport=receiver.transport))


class TestWebhook(HttpContract):
    secrets: ClassVar[tuple[str, ...]] = (SECRET, "T0KEN")

    def connect(self, transport: httpx2.AsyncBaseTransport) -> Channel:
        settings = Settings.model_validate({"kind": "webhook", "url": URL, "secret": SECRET})
        return connect(settings, Surroundings("elsewhere", now=lambda: NOON, transport=transport))

    def vendor(self) -> httpx2.AsyncBaseTransport:
        return Receiver(secret=SECRET).transport


async def test_the_body_says_what_changed_of_which_incident_and_in_which_words() -> None:
    receiver = Receiver()
    message = a_change(body="two\nlines — 한국어")
    assert await webhook(receiver).send(message, {}) == Sent()
    (heard,) = receiver.heard
    assert heard.path == "/T0KEN/"
    assert heard.headers["content-type"] == "application/json"
    assert heard.document == {
        "change": {
            "what": "worsened",
            "revision": 2,
            "at": "2026-11-20T12:00:00.000Z",
            "severity": "emergency",
            "state": "open",
        },
        "incident": incident_json(message.incident),
        "message": {
            "id": message.id,
            "occasion": "worsened",
            "title": "[EMERGENCY] shop is down",
            "text": message.text,
            "url": "https://status.example/shop",
        },
    }


async def test_what_was_over_before_it_was_told_is_a_resolve() -> None:
    receiver = Receiver()
    await webhook(receiver).send(a_message(occasion="over", state="resolved"), {})
    document = receiver.heard[0].document
    assert (document["change"]["what"], document["message"]["occasion"]) == ("resolved", "over")


async def test_the_channels_own_title_is_the_title() -> None:
    receiver = Receiver()
    await webhook(receiver).send(a_message(custom_title="Ours"), {})
    assert receiver.heard[0].document["message"]["title"] == "Ours"


@pytest.mark.parametrize("pad", ["", "="])
async def test_the_reference_library_accepts_the_signature_now(pad: str) -> None:
    receiver = Receiver()
    key = "whsec_" + base64.b64encode(b"any number of bytes").decode().rstrip("=") + pad
    settings = Settings.model_validate({"kind": "webhook", "url": URL, "secret": key})
    surroundings = Surroundings("e", now=lambda: round(time.time() * 1000), transport=receiver.transport)
    assert await connect(settings, surroundings).send(a_message(), {}) == Sent()
    (heard,) = receiver.heard
    Oracle(key).verify(heard.body, dict(heard.headers))


async def test_a_secret_without_prefix_signs_with_its_own_bytes() -> None:
    raw = "no base64, 그냥"
    receiver = Receiver(secret="whsec_" + base64.b64encode(raw.encode()).decode())
    assert await webhook(receiver, secret=raw).send(a_message(), {}) == Sent()


@pytest.mark.parametrize("known", ["old secret", "new secret"])
async def test_while_a_secret_is_rotated_either_fits(known: str) -> None:
    receiver = Receiver(secret="whsec_" + base64.b64encode(known.encode()).decode())
    assert await webhook(receiver, secret=["new secret", "old secret"]).send(a_message(), {}) == Sent()


async def test_another_secret_is_refused() -> None:
    receiver = Receiver(secret=SECRET)
    assert await webhook(receiver, secret="another").send(a_message(), {}) == Rejected("HTTP 401")


async def test_without_a_secret_only_the_signature_is_missing() -> None:
    receiver = Receiver()
    await webhook(receiver).send(a_message(), {})
    headers = receiver.heard[0].headers
    assert headers["webhook-id"] == a_message().id
    assert headers["webhook-timestamp"] == str(NOON // 1000)
    assert "webhook-signature" not in headers


async def test_every_attempt_of_a_revision_has_one_id_and_the_next_another() -> None:
    receiver = Receiver(secret=SECRET, answers=[httpx2.Response(500)])
    channel = webhook(receiver, secret=SECRET)
    assert await channel.send(a_message(), {}) == Retry("HTTP 500")
    assert await channel.send(a_message(), {}) == Sent()
    assert await channel.send(a_change(), {}) == Sent()
    first, second, third = (heard.headers["webhook-id"] for heard in receiver.heard)
    assert first == second != third
    assert [heard.document["change"]["revision"] for heard in receiver.once] == [1, 2]


@given(st.text(min_size=1, max_size=40, alphabet=st.characters(exclude_categories=("Cs",))))
async def test_any_name_of_a_channel_fits_into_the_id(name: str) -> None:
    receiver = Receiver(secret=SECRET)
    message = a_message(id=f"01990000:{name}:1")
    assert await webhook(receiver, name=name, secret=SECRET).send(message, {}) == Sent()
    assert receiver.heard[0].document["message"]["id"] == message.id


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_sent(status: int) -> None:
    assert await webhook(Receiver(answers=[httpx2.Response(status)])).send(a_message(), {}) == Sent()


@pytest.mark.parametrize("status", [301, 307, 400, 404, 410, 422])
async def test_what_trying_again_cannot_change_is_rejected(status: int) -> None:
    receipt = await webhook(Receiver(answers=[httpx2.Response(status)])).send(a_message(), {})
    assert isinstance(receipt, Rejected)
    assert f"HTTP {status}" in receipt.reason


async def test_a_receiver_who_wants_a_pause_gets_it() -> None:
    busy = httpx2.Response(503, headers={"retry-after": "30"})
    assert await webhook(Receiver(answers=[busy])).send(a_message(), {}) == Retry("HTTP 503", 30_000)


async def test_a_receiver_on_this_machine_is_served_over_one_connection() -> None:
    receiver = Receiver(secret=SECRET)
    async with receiver.listening() as url:
        settings = Settings.model_validate({"kind": "webhook", "url": url, "secret": SECRET})
        channel = connect(settings, Surroundings("local", now=lambda: NOON))
        assert await channel.send(a_message(), {}) == Sent()
        assert await channel.send(a_change(), {}) == Sent()
        await channel.close()
    assert [heard.path for heard in receiver.heard] == ["/hook", "/hook"]


async def test_nobody_at_the_address_is_tried_again() -> None:
    async with Receiver().listening() as url:
        pass
    channel = connect(Settings.model_validate({"kind": "webhook", "url": url}), Surroundings("local"))
    assert await channel.send(a_message(), {}) == Retry("could not connect (ConnectError)")
    await channel.close()


def test_the_pace_is_twenty_a_second_unless_written_otherwise() -> None:
    assert webhook(Receiver()).paces == (Rate(20, 1_000),)
    assert webhook(Receiver(), pace="none").paces == ()
    assert webhook(Receiver(), pace="1/m").paces == (Rate(1, 60_000),)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"url": "ftp://S3CRET"}, "is no address"),
        ({"url": "https://S3CRET .example"}, "is no address"),
        ({"url": "https:///S3CRET"}, "is no address"),
        ({}, "Field required"),
        ({"url": URL, "secret": "whsec_S3CRET!"}, "no base64"),
        ({"url": URL, "secret": "whsec_a"}, "no base64"),
        ({"url": URL, "secret": ""}, "is empty"),
        ({"url": URL, "secret": "whsec_"}, "is empty"),
        ({"url": URL, "api_url": "https://S3CRET"}, "Extra inputs"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(keys: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence) as refused:
        Settings.model_validate({"kind": "webhook", **keys})
    assert "S3CRET" not in str(refused.value)
