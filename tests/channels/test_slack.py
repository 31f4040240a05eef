"""Slack by webhook and by bot token: words, limits, errors, edits, threads."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from slack_sdk import WebClient

from gateway.channels import _slack_blocks as blocks
from gateway.channels import slack
from gateway.channels._http import Wire
from gateway.contracts import Surroundings
from gateway.fields import Rate
from gateway.model import Receipt, Ref, Rejected, Retry, Sent, Severity, Unknown
from tests.channels.suite import ODD_MESSAGES, HttpContract, ListenerContract, a_change, a_message, an_incident
from tests.fakes.slack import HOOK, TOKEN, Call, FakeSlack, wrong_blocks

WEBHOOK = "https://hooks.slack.example" + HOOK
API = "https://slack.example/api"


def webhook(transport: httpx2.AsyncBaseTransport, url: str = WEBHOOK) -> slack.Webhook | slack.Bot:
    settings = slack.Settings.model_validate({"kind": "slack", "webhook_url": url})
    return slack.connect(settings, Surroundings(name="ops", transport=transport))


def bot_settings(**changes: Any) -> slack.Settings:
    written = {"kind": "slack", "bot_token": TOKEN, "channel": "#ops", "api_url": API, **changes}
    return slack.Settings.model_validate(written)


def bot(transport: httpx2.AsyncBaseTransport, **changes: Any) -> slack.Bot:
    channel = slack.connect(bot_settings(**changes), Surroundings(name="ops", transport=transport))
    assert isinstance(channel, slack.Bot)
    return channel


async def posted(fake: FakeSlack) -> Ref:
    receipt = await bot(fake.transport).send(a_message(), {})
    assert isinstance(receipt, Sent)
    return receipt.ref


HARMFUL = ("<!channel>", "<!here>", "<@U1>", "<#C1>", "<!subteam", "@here", "@channel", "@everyone", "<https://evil")


class TestWebhookContract(HttpContract):
    secrets = (HOOK, "hOokSeCrEt")
    harmful = HARMFUL

    def connect(self, transport: httpx2.AsyncBaseTransport) -> slack.Webhook | slack.Bot:
        return webhook(transport)

    def vendor(self) -> httpx2.AsyncBaseTransport:
        return FakeSlack().transport


class TestBotContract(HttpContract, ListenerContract):
    secrets = (TOKEN, "5igning-s3cret")
    harmful = HARMFUL

    def connect(self, transport: httpx2.AsyncBaseTransport) -> slack.Bot:
        return bot(transport, signing_secret="5igning-s3cret")

    def listening(self, transport: httpx2.AsyncBaseTransport) -> slack.Bot:
        return self.connect(transport)

    def vendor(self) -> httpx2.AsyncBaseTransport:
        return FakeSlack().transport


class TestSettings:
    @pytest.mark.parametrize(
        ("written", "sentence"),
        [
            ({}, "needs webhook_url, or bot_token and channel"),
            ({"webhook_url": WEBHOOK, "bot_token": TOKEN, "channel": "C1"}, "has both webhook_url and bot_token"),
            ({"bot_token": TOKEN}, "bot_token needs channel"),
            ({"webhook_url": WEBHOOK, "channel": "C1"}, "a webhook has its own channel"),
            ({"webhook_url": "hooks.slack.example" + HOOK}, "must start with https:// or http://"),
            ({"bot_token": TOKEN + " \n", "channel": "C1"}, "is no token of Slack's"),
            ({"bot_token": TOKEN, "channel": "ops team"}, "the channel's id, such as C0123ABC, or its #name"),
            ({"webhook_url": WEBHOOK, "signing_secret": "s3cr3t"}, "signing_secret goes with bot_token"),
            ({"webhook_url": WEBHOOK, "api_url": "slack.com"}, "must start with https:// or http://"),
        ],
    )
    def test_a_wrong_block_is_refused_without_its_values(self, written: dict[str, str], sentence: str) -> None:
        with pytest.raises(ValidationError) as refused:
            slack.Settings.model_validate({"kind": "slack", **written})
        words = str(refused.value)
        assert sentence in words
        assert not [value for value in (TOKEN, HOOK, "s3cr3t", "ops team") if value in words]

    def test_the_pace_is_one_a_second_unless_the_file_says_otherwise(self) -> None:
        assert bot(FakeSlack().transport).paces == (Rate(1, 1_000),)
        assert bot(FakeSlack().transport, pace="20/m").paces == (Rate(20, 60_000),)
        assert bot(FakeSlack().transport, pace="none").paces == ()

    def test_only_the_bot_can_change_what_it_said(self) -> None:
        assert bot(FakeSlack().transport).edits
        assert not webhook(FakeSlack().transport).edits


class TestWords:
    def test_a_message_has_headline_fields_body_link_and_origin(self) -> None:
        said = blocks.whole(a_message())
        (headline,), (attachment,) = said["blocks"], said["attachments"]
        facts, body, link, origin = attachment["blocks"]
        assert headline["text"] == {"type": "plain_text", "text": "[CRITICAL] shop is down", "emoji": False}
        assert [field["text"] for field in facts["fields"]][:2] == ["*Severity*\ncritical", "*Service*\nshop"]
        assert body["text"]["text"] == "HTTP 503 from 3 of 4 places"
        assert link["text"]["text"] == "<https://status.example/shop|Open>"
        assert origin["elements"][0]["text"] == (
            "#42 · hetrixtools · <!date^1795176000^{date_short_pretty} {time}|2026-11-20 12:00 UTC>"
        )
        assert said["text"].startswith("[CRITICAL] shop is down\nSeverity: critical\n")

    def test_slacks_own_models_take_every_odd_message(self) -> None:
        for name, message in ODD_MESSAGES.items():
            for said in (blocks.whole(message), blocks.in_thread(message)):
                inside = [block for attachment in said["attachments"] for block in attachment["blocks"]]
                assert wrong_blocks(said["blocks"] + inside) == "", name
                assert said["text"], name

    @given(st.text(max_size=400), st.text(max_size=7_000), st.lists(st.tuples(st.text(), st.text()), max_size=14))
    def test_no_text_breaks_a_limit(self, title: str, body: str, facts: list[tuple[str, str]]) -> None:
        message = a_message(title=title, body=body, facts=tuple(facts), footer=title)
        for said in (blocks.whole(message), blocks.in_thread(message)):
            inside = [block for attachment in said["attachments"] for block in attachment["blocks"]]
            assert wrong_blocks(said["blocks"] + inside) == ""
            assert len(json.dumps([said["blocks"], inside], ensure_ascii=False)) < 13_000
            assert 0 < len(said["text"]) <= 2_000

    def test_a_body_that_json_makes_longer_still_fits_the_whole(self) -> None:
        message = a_message(body='"\n' * 3_000, facts=(('"' * 60, '"' * 600),) * 10, title='"' * 200)
        assert len(json.dumps(blocks.whole(message)["attachments"], ensure_ascii=False)) < 13_000

    @pytest.mark.parametrize(
        ("incident", "colour"),
        [
            (an_incident(severity=Severity.EMERGENCY), "#a30d2d"),
            (an_incident(severity=Severity.CRITICAL), "#e01e5a"),
            (an_incident(severity=Severity.ERROR), "#f2761d"),
            (an_incident(severity=Severity.WARNING), "#ecb22e"),
            (an_incident(severity=Severity.INFO), "#36a2eb"),
            (an_incident(state="resolved"), "#2eb67d"),
            (an_incident(severity=Severity.INFO, state="resolved", momentary=True), "#36a2eb"),
        ],
    )
    def test_the_colour_tells_how_bad_it_is(self, incident: Any, colour: str) -> None:
        assert blocks.whole(a_message(incident=incident))["attachments"][0]["color"] == colour

    def test_facts_beyond_ten_stand_above_the_body(self) -> None:
        said = blocks.whole(a_message(facts=tuple((f"f{n}", str(n)) for n in range(12)), body="the body"))
        facts, body = said["attachments"][0]["blocks"][:2]
        assert len(facts["fields"]) == 10
        assert body["text"]["text"] == "f10: 10\nf11: 11\nthe body"

    @pytest.mark.parametrize(
        ("language", "facts"),
        [
            ("en", (("Source", "hetrixtools"), ("Number", "#42"), ("Source", "a field's"), ("Number", "7"))),
            ("ko", (("출처", "hetrixtools"), ("번호", "#42"), ("출처", "a field's"), ("번호", "7"))),
        ],
    )
    def test_what_the_small_line_says_is_not_said_twice(self, language: Any, facts: Any) -> None:
        shown = blocks.whole(a_message(language=language, facts=facts))["attachments"][0]["blocks"]
        assert [field["text"].partition("\n")[2] for field in shown[0]["fields"]] == ["a field's", "7"]
        assert shown[-1]["elements"][0]["text"].startswith("#42 · hetrixtools · ")

    def test_a_template_is_used_as_it_is_in_the_place_of_everything(self) -> None:
        said = blocks.whole(
            a_message(custom_title="*<https://a.example|A>*", custom_body="_b_ &amp;", footer="failed <x>")
        )
        shown = said["attachments"][0]["blocks"]
        assert said["blocks"][0]["text"]["text"] == "*<https://a.example|A>*"
        assert [block["type"] for block in shown] == ["section", "context"]
        assert shown[0]["text"]["text"] == "_b_ &amp;"
        assert shown[1]["elements"][1]["text"] == "failed <x>"
        assert said["text"] == "*<https://a.example|A>*\n_b_ &amp;\nfailed &lt;x&gt;"

    def test_a_link_cannot_leave_its_brackets(self) -> None:
        said = blocks.whole(a_message(url="https://a.example/?a=1&b=<!channel>|x y"))
        text = said["attachments"][0]["blocks"][2]["text"]["text"]
        assert text == "<https://a.example/?a=1&amp;b=%3C!channel%3E%7Cx%20y|Open>"

    def test_an_endless_link_is_left_out(self) -> None:
        shown = blocks.whole(a_message(url="https://a.example/" + "x" * 2_000))["attachments"][0]["blocks"]
        assert not any("a.example" in json.dumps(block) for block in shown)

    @pytest.mark.parametrize("text", ["ab &amp; cd", "ab <https://x.example|words> cd", "abcdefghijklmnop"])
    def test_a_cut_is_never_inside_an_entity_or_a_link(self, text: str) -> None:
        for most in range(1, len(text)):
            short = blocks.cut(text, most)
            assert len(short) <= most
            assert short.endswith("…")
            kept = short[:-1]
            assert text.startswith(kept)
            assert kept.count("<") == kept.count(">")
            assert kept.count("&") == kept.count(";")

    def test_korean_has_korean_words(self) -> None:
        message = a_message(language="ko", occasion="resolved", state="resolved")
        assert "|열기>" in json.dumps(blocks.whole(message), ensure_ascii=False)
        assert blocks.in_thread(dataclasses.replace(message, custom_title="쇼핑몰"))["text"] == "*해결됨* 쇼핑몰"


class TestWebhook:
    async def test_each_change_is_a_message_of_its_own(self) -> None:
        fake = FakeSlack()
        channel = webhook(fake.transport)
        assert await channel.send(a_message(), {}) == Sent()
        assert await channel.send(a_change(), {"channel": "C0OPS", "ts": "1"}) == Sent()
        assert len(fake.messages) == 2

    async def test_it_asks_for_no_previews_and_no_names(self) -> None:
        fake = FakeSlack()
        await webhook(fake.transport).send(a_message(), {})
        (body,) = fake.asked("webhook")
        assert (body["unfurl_links"], body["unfurl_media"], body["link_names"]) == (False, False, False)

    @pytest.mark.parametrize(
        ("status", "body", "receipt"),
        [
            (400, "invalid_payload", Rejected("HTTP 400: invalid_payload")),
            (400, "invalid_token", Rejected("HTTP 400: invalid_token: the webhook is gone; make a new one")),
            (403, "action_prohibited", Rejected("HTTP 403: action_prohibited")),
            (404, "no_service", Rejected("HTTP 404: no_service: the webhook is gone; make a new one")),
            (
                410,
                "channel_is_archived",
                Rejected("HTTP 410: channel_is_archived: the channel is archived; name another"),
            ),
            (500, "rollup_error", Retry("HTTP 500: rollup_error")),
            (503, "<html>", Retry("HTTP 503")),
            (200, "<html>", Unknown("HTTP 200, but the answer is not ok")),
            (200, '{"ok":true}', Sent()),
        ],
    )
    async def test_an_answer_is_a_receipt(self, status: int, body: str, receipt: Receipt) -> None:
        fake = FakeSlack()
        fake.trouble("webhook", status, body)
        assert await webhook(fake.transport).send(a_message(), {}) == receipt

    async def test_a_webhook_that_is_gone_is_rejected(self) -> None:
        receipt = await webhook(FakeSlack().transport, WEBHOOK + "x").send(a_message(), {})
        assert isinstance(receipt, Rejected)

    async def test_refused_blocks_give_way_to_words(self) -> None:
        fake = FakeSlack()
        fake.trouble("webhook", 400, "invalid_blocks")
        assert await webhook(fake.transport).send(a_message(), {}) == Sent()
        assert "blocks" not in fake.asked("webhook")[1]
        assert fake.messages[0].texts[0].startswith("[CRITICAL] shop is down")

    async def test_words_that_are_refused_as_well_are_rejected(self) -> None:
        fake = FakeSlack()
        fake.trouble("webhook", 400, "invalid_blocks")
        fake.trouble("webhook", 400, "invalid_blocks")
        assert await webhook(fake.transport).send(a_message(), {}) == Rejected("HTTP 400: invalid_blocks")


class TestBot:
    async def test_the_first_message_is_posted_and_its_place_kept(self) -> None:
        fake = FakeSlack()
        assert await posted(fake) == {
            "channel": "C0OPS",
            "ts": "1795176000.000001",
            "team": "T0OURS",
            "permalink": "https://tocsin-test.slack.com/archives/C0OPS/p1795176000000001",
        }
        assert fake.calls[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert fake.asked("chat.postMessage")[0]["unfurl_links"] is False

    async def test_a_change_edits_the_root_and_speaks_in_its_thread(self) -> None:
        fake = FakeSlack()
        ref = await posted(fake)
        assert await bot(fake.transport).send(a_change(), ref) == Sent(ref)
        root, reply = fake.messages
        assert root.texts[1].startswith("[EMERGENCY] shop is down")
        assert (reply.thread, reply.body["text"]) == (root.ts, "*[EMERGENCY] shop is down*")
        assert "reply_broadcast" not in reply.body

    async def test_a_note_is_told_in_the_thread_and_the_root_keeps_its_title(self) -> None:
        fake = FakeSlack()
        ref = await posted(fake)
        note = a_change(occasion="noted", title="NOTE: shop is down", standing="[CRITICAL] shop is down")
        assert await bot(fake.transport).send(note, ref) == Sent(ref)
        root, reply = fake.messages
        assert root.texts[-1].startswith("[CRITICAL] shop is down")
        assert "NOTE" not in str(fake.asked("chat.update")[0])
        assert reply.body["text"] == "*NOTE: shop is down*"

    async def test_a_quiet_change_edits_the_root_alone(self) -> None:
        fake = FakeSlack()
        ref = await posted(fake)
        quiet = a_change(occasion="eased", quiet=True, severity=Severity.WARNING)
        assert await bot(fake.transport).send(quiet, ref) == Sent(ref)
        assert len(fake.messages) == 1
        assert len(fake.messages[0].texts) == 2

    async def test_an_edit_names_its_blocks_so_that_no_old_ones_stay(self) -> None:
        fake = FakeSlack()
        ref = await posted(fake)
        await bot(fake.transport).send(a_change(custom_title="", custom_body="words"), ref)
        assert fake.asked("chat.update")[0]["blocks"] == []
        assert fake.messages[0].body["blocks"] == []

    @pytest.mark.parametrize(
        "word", ["message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found", "is_archived"]
    )
    async def test_a_root_that_cannot_be_changed_is_posted_anew(self, word: str) -> None:
        fake = FakeSlack()
        ref = await posted(fake)
        fake.refuse("chat.update", word)
        receipt = await bot(fake.transport).send(a_change(), ref)
        assert isinstance(receipt, Sent)
        assert receipt.ref["ts"] == "1795176000.000002"
        assert [said.thread for said in fake.messages] == ["", ""]

    async def test_a_thread_that_is_gone_makes_a_new_root(self) -> None:
        fake = FakeSlack()
        ref = await posted(fake)
        fake.refuse("chat.postMessage", "thread_not_found")
        receipt = await bot(fake.transport).send(a_change(), ref)
        assert isinstance(receipt, Sent)
        assert receipt.ref["ts"] == fake.messages[1].ts
        assert fake.messages[1].thread == ""

    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (429, '{"ok":false,"error":"ratelimited"}', Retry),
            (200, '{"ok":false,"error":"ratelimited"}', Retry),
            (200, '{"ok":false,"error":"internal_error"}', Unknown),
            (200, '{"ok":false,"error":"restricted_action"}', Rejected),
        ],
    )
    async def test_a_failed_reply_is_told_alone_the_next_time(self, status: int, body: str, kind: type) -> None:
        fake = FakeSlack()
        ref = await posted(fake)
        fake.trouble("chat.postMessage", status, body, {"retry-after": "3"})
        receipt = await bot(fake.transport).send(a_change(), ref)
        assert isinstance(receipt, kind)
        assert not isinstance(receipt, Sent)
        assert receipt.ref == {**ref, "said": a_change().id}
        assert await bot(fake.transport).send(a_change(), receipt.ref) == Sent(ref)
        assert len(fake.asked("chat.update")) == 1
        assert len(fake.messages) == 2

    async def test_a_newer_message_after_a_failed_reply_edits_again(self) -> None:
        fake = FakeSlack()
        ref = {**await posted(fake), "said": a_change().id}
        newer = a_change(id="another", occasion="resolved", state="resolved")
        assert "said" not in (await _sent(fake, newer, ref))
        assert len(fake.asked("chat.update")) == 1

    async def test_a_failed_edit_tells_the_thread_nothing(self) -> None:
        fake = FakeSlack()
        ref = await posted(fake)
        fake.trouble("chat.update", 503, "")
        assert await bot(fake.transport).send(a_change(), ref) == Retry("HTTP 503")
        assert len(fake.messages) == 1

    @pytest.mark.parametrize(
        ("word", "receipt"),
        [
            ("ratelimited", Retry("ratelimited", after=30_000)),
            ("rate_limited", Retry("rate_limited", after=30_000)),
            ("service_unavailable", Retry("service_unavailable", after=30_000)),
            ("request_timeout", Retry("request_timeout", after=30_000)),
            ("internal_error", Unknown("internal_error: it may have been posted")),
            ("fatal_error", Unknown("fatal_error: it may have been posted")),
            ("not_in_channel", Rejected("not_in_channel: invite the app to the channel")),
            ("invalid_auth", Rejected("invalid_auth: check bot_token")),
            ("no_text", Rejected("no_text")),
            ("Not A Word xoxb", Unknown("HTTP 200, but the answer cannot be read")),
        ],
    )
    async def test_ok_false_is_a_receipt(self, word: str, receipt: Receipt) -> None:
        fake = FakeSlack()
        fake.trouble("chat.postMessage", 200, json.dumps({"ok": False, "error": word}), {"retry-after": "30"})
        assert await bot(fake.transport).send(a_message(), {}) == receipt

    async def test_a_missing_scope_is_named(self) -> None:
        fake = FakeSlack()
        fake.refuse("chat.postMessage", "missing_scope", needed="chat:write")
        receipt = await bot(fake.transport).send(a_message(), {})
        assert receipt == Rejected("missing_scope: give the app the scope and install it again (chat:write)")

    async def test_ok_false_under_an_http_error_says_its_word(self) -> None:
        fake = FakeSlack()
        fake.trouble("chat.postMessage", 503, '{"ok":false,"error":"service_unavailable"}', {"retry-after": "5"})
        receipt = await bot(fake.transport).send(a_message(), {})
        assert receipt == Retry("HTTP 503: service_unavailable", after=5_000)

    async def test_an_archived_or_unknown_channel_is_rejected(self) -> None:
        for name in ("#old", "#nowhere"):
            assert isinstance(await bot(FakeSlack().transport, channel=name).send(a_message(), {}), Rejected)

    async def test_another_token_is_rejected(self) -> None:
        receipt = await bot(FakeSlack().transport, bot_token="xoxb-other").send(a_message(), {})
        assert receipt == Rejected("invalid_auth: check bot_token")

    @pytest.mark.parametrize("method", ["chat.postMessage", "chat.update"])
    @pytest.mark.parametrize("word", ["invalid_blocks", "invalid_attachments", "msg_blocks_too_long"])
    async def test_refused_blocks_give_way_to_words(self, method: str, word: str) -> None:
        fake = FakeSlack()
        ref = await posted(fake) if method == "chat.update" else {}
        fake.refuse(method, word)
        assert isinstance(await bot(fake.transport).send(a_change(), ref), Sent)
        again = fake.asked(method)[1]
        assert (again["blocks"], again["attachments"]) == ([], [])
        assert again["text"].startswith("[EMERGENCY] shop is down")

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (200, '{"ok":false,"error":"message_not_found"}'),
            (500, ""),
            (200, '{"ok":true,"permalink":"javascript:alert(1)"}'),
            (200, '{"ok":true,"permalink":7}'),
            (200, "[]"),
        ],
    )
    async def test_a_permalink_that_fails_changes_nothing(self, status: int, body: str) -> None:
        fake = FakeSlack()
        fake.trouble("chat.getPermalink", status, body)
        assert await posted(fake) == {"channel": "C0OPS", "ts": "1795176000.000001", "team": "T0OURS"}

    async def test_a_permalink_that_never_comes_does_not_hold_the_message(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake = FakeSlack()

        async def line(request: httpx2.Request) -> httpx2.Response:
            if "getPermalink" in request.url.path:
                await asyncio.Event().wait()
            return await fake.transport.handle_async_request(request)

        wire = Wire(
            timeout=5_000,
            width=1,
            transport=httpx2.MockTransport(line),
            headers={"authorization": f"Bearer {TOKEN}"},
        )
        receipt = await slack.Bot(bot_settings(), wire, (), patience=0.05).send(a_message(), {})
        assert receipt == Sent({"channel": "C0OPS", "ts": "1795176000.000001", "team": "T0OURS"})

    async def test_a_place_that_no_address_can_hold_is_not_posted_again(self) -> None:
        fake = FakeSlack()
        fake.trouble("chat.postMessage", 200, r'{"ok": true, "channel": "C0OPS", "ts": "1.\ud800"}')
        assert await bot(fake.transport).send(a_message(), {}) == Sent({"channel": "C0OPS", "ts": "1.?"})

    async def test_an_answer_that_names_no_message_is_still_a_yes(self) -> None:
        fake = FakeSlack()
        fake.trouble("chat.postMessage", 200, '{"ok":true}')
        receipt = await bot(fake.transport).send(a_message(), {})
        assert isinstance(receipt, Sent)
        assert receipt.ref == {}

    async def test_the_official_client_asks_the_same(self) -> None:
        """slack_sdk with the same words against the same Slack: same methods, same JSON, same credential."""
        fake = FakeSlack()
        async with _served(fake) as address:
            settings = {"kind": "slack", "bot_token": TOKEN, "channel": "#ops", "api_url": f"{address}/api"}
            channel = slack.connect(slack.Settings.model_validate(settings), Surroundings(name="ops"))
            first = await channel.send(a_message(), {})
            assert isinstance(first, Sent)
            await channel.send(a_change(), first.ref)
            await channel.close()
            ours = list(fake.calls)
            fake.calls.clear()
            await asyncio.to_thread(_ask_officially, f"{address}/api/", ours)
        theirs = fake.calls
        assert [call.method for call in ours] == [call.method for call in theirs]
        assert [call.body for call in ours] == [call.body for call in theirs]
        for our, their in zip(ours, theirs, strict=True):
            assert our.headers["authorization"] == their.headers["authorization"]
            if our.method != "chat.getPermalink":
                assert our.headers["content-type"] == their.headers["content-type"].partition(";")[0]


def _ask_officially(address: str, calls: list[Call]) -> None:
    client = WebClient(TOKEN, base_url=address)
    ask = {
        "chat.postMessage": client.chat_postMessage,
        "chat.update": client.chat_update,
        "chat.getPermalink": client.chat_getPermalink,
    }
    for call in calls:
        assert ask[call.method](**call.body)["ok"]


@contextlib.asynccontextmanager
async def _served(fake: FakeSlack) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(fake.app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await running


async def _sent(fake: FakeSlack, message: Any, ref: Ref) -> Ref:
    receipt = await bot(fake.transport).send(message, ref)
    assert isinstance(receipt, Sent)
    return receipt.ref


@pytest.mark.parametrize("title", [None, "", "the template's"])
@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize(
    "occasion", ["opened", "worsened", "eased", "acknowledged", "resolved", "reopened", "over", "linked", "test"]
)
def test_a_reply_always_says_something(occasion: Any, language: Any, title: str | None) -> None:
    message = a_message(occasion=occasion, language=language, custom_title=title, title="")
    assert blocks.in_thread(message)["blocks"][0]["text"]["text"].strip("* ")


def test_a_reply_in_the_thread_says_who_and_when() -> None:
    facts = (("Severity", "critical"), ("Acknowledged", "kim, 2026-11-20 10:01 UTC"))
    said = blocks.in_thread(a_message(occasion="acknowledged", facts=facts))
    shown = json.dumps(said["attachments"])
    assert "Acknowledged: kim, 2026-11-20 10:01 UTC" in shown
    assert "Severity" not in shown
