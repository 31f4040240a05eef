"""Telegram: HTML, limits, edits, bells, topics, chats that move, errors."""

from __future__ import annotations

import dataclasses
from typing import Any

import httpx2
import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.channels import _telegram_html as words
from gateway.channels import telegram
from gateway.contracts import Surroundings
from gateway.fields import Rate
from gateway.model import Receipt, Ref, Rejected, Retry, Sent, Severity, Unknown
from tests.channels.suite import ODD_MESSAGES, HttpContract, ListenerContract, a_change, a_message, an_incident
from tests.fakes.telegram import TOKEN, BadRequest, FakeTelegram, read_html

API = "https://telegram.example"


def settings(**changes: Any) -> telegram.Settings:
    return telegram.Settings.model_validate(
        {"kind": "telegram", "bot_token": TOKEN, "chat_id": "-1001234", "api_url": API, **changes}
    )


def connect(fake: FakeTelegram, **changes: Any) -> telegram.Telegram:
    return telegram.connect(settings(**changes), Surroundings(name="oncall", transport=fake.transport))


async def posted(fake: FakeTelegram, **changes: Any) -> Ref:
    receipt = await connect(fake, **changes).send(a_message(), {})
    assert isinstance(receipt, Sent)
    return receipt.ref


class TestContract(HttpContract, ListenerContract):
    secrets = (TOKEN, TOKEN.partition(":")[2], "our-s3cret")
    harmful = ("<script", " @here", " @channel", "<!", "</b></a>", "<a href='")

    def connect(self, transport: httpx2.AsyncBaseTransport) -> telegram.Telegram:
        here = Surroundings("oncall", "https://alerts.example.com", transport=transport)
        return telegram.connect(settings(secret_token="our-s3cret"), here)

    def listening(self, transport: httpx2.AsyncBaseTransport) -> telegram.Telegram:
        return self.connect(transport)

    def vendor(self) -> httpx2.AsyncBaseTransport:
        return FakeTelegram().transport


class TestSettings:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"bot_token": "bot 123/../"}, "is no token of @BotFather's"),
            ({"bot_token": TOKEN + "/x"}, "is no token of @BotFather's"),
            ({"chat_id": "ops team"}, "must be the chat's number"),
            ({"chat_id": ""}, "must be the chat's number"),
            ({"message_thread_id": "0"}, "greater than 0"),
            ({"message_thread_id": "general"}, "valid integer"),
            ({"secret_token": "s3cr3t!"}, "must be 1 to 256 of A-Z, a-z, 0-9, _ and -"),
            ({"secret_token": "s" * 257}, "must be 1 to 256 of A-Z, a-z, 0-9, _ and -"),
        ],
    )
    def test_a_wrong_block_is_refused_without_its_values(self, changes: dict[str, str], sentence: str) -> None:
        with pytest.raises(ValidationError) as refused:
            settings(**changes)
        assert sentence in str(refused.value)
        assert not [
            value for value in (*changes.values(), TOKEN) if value and len(value) > 1 and value in str(refused.value)
        ]

    @pytest.mark.parametrize(
        ("chat", "paces"),
        [
            ("77", (Rate(1, 1_000),)),
            ("-1001234", (Rate(1, 1_000), Rate(20, 60_000))),
            ("@open_ops", (Rate(1, 1_000), Rate(20, 60_000))),
        ],
    )
    def test_groups_have_a_second_pace(self, chat: str, paces: tuple[Rate, ...]) -> None:
        assert connect(FakeTelegram(), chat_id=chat).paces == paces

    def test_the_files_own_pace_holds_alone(self) -> None:
        assert connect(FakeTelegram(), pace="5/s").paces == (Rate(5, 1_000),)


class TestWords:
    async def test_a_message_reads_well_on_a_phone(self) -> None:
        fake = FakeTelegram()
        await connect(fake).send(a_message(footer="the template failed"), {})
        assert fake.messages[0].text == (
            "🔴 [CRITICAL] shop is down\nSeverity: critical\nService: shop\nSince: 2026-11-20 12:00 UTC\n\n"
            "HTTP 503 from 3 of 4 places\n\nOpen\n\nthe template failed"
        )
        assert '<a href="https://status.example/shop">Open</a>' in fake.messages[0].texts[0]

    async def test_it_is_html_without_previews(self) -> None:
        fake = FakeTelegram()
        await connect(fake).send(a_message(), {})
        (body,) = fake.asked("sendMessage")
        assert body["parse_mode"] == "HTML"
        assert body["link_preview_options"] == {"is_disabled": True}
        assert body["chat_id"] == -1001234
        assert "message_thread_id" not in body

    @pytest.mark.parametrize("message", ODD_MESSAGES.values(), ids=ODD_MESSAGES.keys())
    def test_odd_messages_are_good_html_within_the_limit(self, message: Any) -> None:
        for said in (words.whole(message), words.in_reply(message)):
            assert 0 < len(read_html(said).encode("utf-16-le")) // 2 <= 4_096

    @given(
        st.text(max_size=700),
        st.text(max_size=6_000),
        st.lists(st.tuples(st.text(), st.text(max_size=500)), max_size=25),
        st.sampled_from(["", "https://a.example/?a=1&b=\"'<>"]),
    )
    def test_no_text_breaks_the_limit_or_the_html(
        self, title: str, body: str, facts: list[tuple[str, str]], url: str
    ) -> None:
        message = a_message(title=title, body=body, facts=tuple(facts), footer=title, url=url)
        for said in (
            words.whole(message),
            words.in_reply(message),
            words.whole(a_message(custom_body=words.escape(body))),
        ):
            assert 0 < len(read_html(said).encode("utf-16-le")) // 2 <= 4_096

    def test_a_long_body_is_cut_and_the_link_stays(self) -> None:
        said = words.whole(a_message(body="&<😀" * 3_000))
        assert said.endswith('…\n\n<a href="https://status.example/shop">Open</a>')
        assert 4_090 <= len(read_html(said).encode("utf-16-le")) // 2 <= 4_096

    def test_facts_beyond_what_fits_are_left_out(self) -> None:
        said = read_html(words.whole(a_message(facts=tuple((f"f{n}", "x" * 290) for n in range(19)), body="the body")))
        assert "f5:" in said
        assert "f7:" not in said
        assert "the body" in said

    @pytest.mark.parametrize(
        ("incident", "mark"),
        [
            (an_incident(severity=Severity.EMERGENCY), "🚨"),
            (an_incident(severity=Severity.CRITICAL), "🔴"),
            (an_incident(severity=Severity.ERROR), "🟠"),
            (an_incident(severity=Severity.WARNING), "🟡"),
            (an_incident(severity=Severity.INFO), "🔵"),
            (an_incident(state="resolved"), "🟢"),
            (an_incident(severity=Severity.INFO, state="resolved", momentary=True), "🔵"),
        ],
    )
    def test_the_mark_tells_how_bad_it_is(self, incident: Any, mark: str) -> None:
        assert words.whole(a_message(incident=incident)).startswith(mark)

    @pytest.mark.parametrize(
        ("text", "escaped"),
        [
            ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
            ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
            ("ask @kim or @here", "ask @\u2060kim or @\u2060here"),
            ("kim@example.com", "kim@example.com"),
            ("\"quoted\" 'text'", "\"quoted\" 'text'"),
        ],
    )
    def test_foreign_text_is_only_text(self, text: str, escaped: str) -> None:
        assert words.escape(text) == escaped

    def test_a_template_is_used_as_it_is_in_the_place_of_everything(self) -> None:
        message = a_message(custom_title="<u>T</u>", custom_body="<code>b &amp; c</code>", footer="<failed>")
        assert words.whole(message) == "<u>T</u>\n<code>b &amp; c</code>\n\n<i>&lt;failed&gt;</i>"
        assert words.in_reply(message) == "<b>CRITICAL</b> <u>T</u>"

    def test_a_template_that_is_too_long_loses_its_markup_not_the_page(self) -> None:
        said = words.whole(a_message(custom_title="T", custom_body="<b>" + "&lt;x&gt; " * 2_000 + "</b>"))
        assert "<b>" not in said
        assert read_html(said).startswith("T\n<x> <x>")
        assert read_html(said).endswith("…")

    async def test_a_templates_broken_html_gives_way_to_plain_words(self) -> None:
        fake = FakeTelegram()
        receipt = await connect(fake).send(a_message(custom_title="<b>T", custom_body="<blink>5 &lt; 6</blink>"), {})
        assert isinstance(receipt, Sent)
        assert fake.messages[0].text == "T\n5 < 6"
        assert "parse_mode" not in fake.asked("sendMessage")[1]

    def test_an_endless_link_is_left_out(self) -> None:
        assert "a.example" not in words.whole(a_message(url="https://a.example/" + "x" * 3_000))

    @pytest.mark.parametrize("language", ["en", "ko"])
    @pytest.mark.parametrize(
        "occasion", ["opened", "worsened", "eased", "acknowledged", "resolved", "reopened", "over", "linked", "test"]
    )
    def test_every_occasion_has_words_for_a_reply(self, occasion: Any, language: Any) -> None:
        message = a_message(occasion=occasion, language=language, custom_title="")
        assert read_html(words.in_reply(message)).strip()

    def test_korean_has_korean_words(self) -> None:
        assert ">열기</a>" in words.whole(a_message(language="ko"))


class TestSending:
    async def test_the_first_message_is_posted_and_its_place_kept(self) -> None:
        assert await posted(FakeTelegram()) == {"chat": -1001234, "message_id": 1}

    async def test_a_public_group_has_addresses(self) -> None:
        ref = await posted(FakeTelegram(), chat_id="@open_ops")
        assert ref == {"chat": -1005678, "message_id": 1, "permalink": "https://t.me/open_ops/1"}

    async def test_a_private_chat_has_none_though_it_has_a_name(self) -> None:
        assert await posted(FakeTelegram(), chat_id="77") == {"chat": 77, "message_id": 1}

    async def test_it_speaks_in_its_topic_and_rings_there(self) -> None:
        fake = FakeTelegram()
        ref = await posted(fake, message_thread_id="5")
        assert ref == {"chat": -1001234, "message_id": 1, "topic": 5}
        await connect(fake, message_thread_id="5").send(a_change(), ref)
        assert [body["message_thread_id"] for body in fake.asked("sendMessage")] == [5, 5]
        assert "message_thread_id" not in fake.asked("editMessageText")[0]

    @pytest.mark.parametrize(
        ("message", "silent"),
        [
            (a_message(), False),
            (a_message(quiet=True), True),
            (a_message(severity=Severity.INFO), True),
            (a_message(severity=Severity.WARNING), False),
        ],
    )
    async def test_what_is_quiet_or_mere_information_rings_for_nobody(self, message: Any, silent: bool) -> None:
        fake = FakeTelegram()
        await connect(fake).send(message, {})
        assert fake.asked("sendMessage")[0]["disable_notification"] is silent


class TestChanges:
    @pytest.mark.parametrize("occasion", ["worsened", "reopened", "resolved", "opened"])
    async def test_a_change_that_matters_edits_and_rings(self, occasion: Any) -> None:
        fake = FakeTelegram()
        ref = await posted(fake)
        assert await connect(fake).send(a_change(occasion=occasion), ref) == Sent(ref)
        standing, reply = fake.messages
        assert "[EMERGENCY]" in standing.text
        assert reply.body["reply_parameters"] == {"message_id": 1, "allow_sending_without_reply": True}
        assert reply.text.startswith("🚨 [EMERGENCY] shop is down")

    @pytest.mark.parametrize("occasion", ["acknowledged", "noted", "assigned"])
    async def test_who_acted_is_shown_at_the_end_of_the_chat_and_rings_for_nobody(self, occasion: Any) -> None:
        fake = FakeTelegram()
        ref = await posted(fake)
        assert await connect(fake).send(a_change(occasion=occasion), ref) == Sent(ref)
        assert fake.messages[0].texts[1:]
        assert fake.messages[1].body["disable_notification"] is True
        assert fake.messages[1].body["reply_parameters"]["message_id"] == 1

    async def test_a_note_is_told_by_the_reply_and_what_stands_keeps_its_title(self) -> None:
        fake = FakeTelegram()
        ref = await posted(fake)
        note = a_change(occasion="noted", title="NOTE: shop is down", standing="[CRITICAL] shop is down")
        assert await connect(fake).send(note, ref) == Sent(ref)
        standing, reply = fake.messages
        assert standing.text.startswith("🚨 [CRITICAL] shop is down")
        assert "NOTE" not in standing.text
        assert reply.text.startswith("🚨 NOTE: shop is down")

    @pytest.mark.parametrize("message", [a_change(quiet=True), a_change(occasion="eased"), a_change(occasion="linked")])
    async def test_a_change_that_calms_only_edits(self, message: Any) -> None:
        fake = FakeTelegram()
        ref = await posted(fake)
        assert await connect(fake).send(message, ref) == Sent(ref)
        assert len(fake.messages) == 1
        assert len(fake.messages[0].texts) == 2

    async def test_the_same_words_again_are_delivered(self) -> None:
        fake = FakeTelegram()
        ref = await posted(fake)
        assert await connect(fake).send(a_message(quiet=True), ref) == Sent(ref)

    @pytest.mark.parametrize(
        "words_of_it",
        [
            "Bad Request: message to edit not found",
            "Bad Request: message can't be edited",
            "Bad Request: MESSAGE_ID_INVALID",
        ],
    )
    async def test_a_message_that_cannot_be_edited_is_posted_anew(self, words_of_it: str) -> None:
        fake = FakeTelegram()
        ref = await posted(fake)
        fake.refuse("editMessageText", 400, words_of_it)
        assert await connect(fake).send(a_change(), ref) == Sent({"chat": -1001234, "message_id": 2})
        assert "reply_parameters" not in fake.asked("sendMessage")[1]

    async def test_a_failed_bell_is_rung_alone_the_next_time(self) -> None:
        fake = FakeTelegram()
        ref = await posted(fake)
        fake.refuse("sendMessage", 429, "Too Many Requests: retry after 12", retry_after=12)
        receipt = await connect(fake).send(a_change(), ref)
        half = {**ref, "said": a_change().id}
        assert receipt == Retry("HTTP 429: Too Many Requests: retry after 12", after=12_000, ref=half)
        assert await connect(fake).send(a_change(), half) == Sent(ref)
        assert len(fake.asked("editMessageText")) == 1
        assert len(fake.messages) == 2

    async def test_a_newer_message_after_a_failed_bell_edits_again(self) -> None:
        fake = FakeTelegram()
        ref = await posted(fake)
        receipt = await connect(fake).send(a_change(id="newer"), {**ref, "said": a_change().id})
        assert receipt == Sent(ref)
        assert len(fake.asked("editMessageText")) == 1

    async def test_a_failed_edit_rings_no_bell(self) -> None:
        fake = FakeTelegram()
        ref = await posted(fake)
        fake.trouble("editMessageText", 502, "<html>Bad Gateway</html>")
        assert await connect(fake).send(a_change(), ref) == Retry("HTTP 502")
        assert len(fake.messages) == 1


class TestMovedChats:
    async def test_it_follows_at_once_says_so_and_remembers(self) -> None:
        fake = FakeTelegram()
        fake.move(-100, -1001234)
        channel = connect(fake, chat_id="-100")
        with structlog.testing.capture_logs() as lines:
            assert await channel.send(a_message(), {}) == Sent({"chat": -1001234, "message_id": 1})
            await channel.send(a_message(), {})
        assert [(line["log_level"], line["channel"], line["chat_id"]) for line in lines] == [
            ("warning", "oncall", -1001234)
        ]
        assert [body["chat_id"] for body in fake.asked("sendMessage")] == [-100, -1001234, -1001234]

    async def test_a_message_of_before_the_move_is_posted_anew_after_it(self) -> None:
        fake = FakeTelegram()
        channel = connect(fake, chat_id="-100")
        first = await channel.send(a_message(), {})
        assert first == Sent({"chat": -100, "message_id": 1})
        fake.move(-100, -1001234)
        assert await channel.send(a_change(), {"chat": -100, "message_id": 1}) == Sent(
            {"chat": -1001234, "message_id": 2}
        )

    async def test_a_bell_of_before_the_move_is_posted_anew_after_it(self) -> None:
        fake = FakeTelegram()
        ref = {**await posted(fake, chat_id="-100"), "said": a_change().id}
        fake.move(-100, -1001234)
        assert await connect(fake, chat_id="-100").send(a_change(), ref) == Sent({"chat": -1001234, "message_id": 2})

    async def test_a_topic_does_not_move_along(self) -> None:
        fake = FakeTelegram()
        fake.topics.add((-100, 9))
        fake.move(-100, -1001234)
        receipt = await connect(fake, chat_id="-100", message_thread_id="9").send(a_message(), {})
        assert receipt == Sent({"chat": -1001234, "message_id": 1})

    async def test_a_move_to_what_is_no_chat_is_not_followed(self) -> None:
        fake = FakeTelegram()
        fake.refuse("sendMessage", 400, "Bad Request: group chat was upgraded", migrate_to_chat_id=True)
        channel = connect(fake)
        assert isinstance(await channel.send(a_message(), {}), Rejected)
        assert isinstance(await channel.send(a_message(), {}), Sent)
        assert {body["chat_id"] for body in fake.asked("sendMessage")} == {-1001234}

    async def test_a_move_to_nowhere_is_rejected(self) -> None:
        fake = FakeTelegram()
        fake.move(-100, -999)
        receipt = await connect(fake, chat_id="-100").send(a_message(), {})
        assert isinstance(receipt, Rejected)
        assert "chat not found" in receipt.reason


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "description", "receipt"),
        [
            (401, "Unauthorized", Rejected("HTTP 401: Unauthorized: check bot_token")),
            (404, "Not Found", Rejected("HTTP 404: Not Found: check bot_token")),
            (
                403,
                "Forbidden: bot was blocked by the user",
                Rejected("HTTP 403: Forbidden: bot was blocked by the user: unblock the bot in Telegram"),
            ),
            (
                400,
                "Bad Request: message thread not found",
                Rejected("HTTP 400: Bad Request: message thread not found: check message_thread_id: the topic is gone"),
            ),
            (500, "Internal Server Error", Retry("HTTP 500: Internal Server Error")),
            (400, f"cannot POST /bot{TOKEN}/sendMessage", Rejected("HTTP 400")),
        ],
    )
    async def test_a_refusal_is_a_receipt(self, status: int, description: str, receipt: Receipt) -> None:
        fake = FakeTelegram()
        fake.refuse("sendMessage", status, description)
        assert await connect(fake).send(a_message(), {}) == receipt

    @pytest.mark.parametrize(
        ("asked", "after"), [(12, 12_000), (86_400, 3_600_000), (0, None), ("soon", None), (True, None)]
    )
    async def test_the_wait_inside_the_json_is_obeyed(self, asked: Any, after: int | None) -> None:
        fake = FakeTelegram()
        fake.refuse("sendMessage", 429, "Too Many Requests", retry_after=asked)
        assert await connect(fake).send(a_message(), {}) == Retry("HTTP 429: Too Many Requests", after=after)

    @pytest.mark.parametrize("body", ["<html>", "[]", '{"ok": false}', '{"ok": false, "parameters": []}'])
    async def test_a_yes_that_cannot_be_read_may_have_been_one(self, body: str) -> None:
        fake = FakeTelegram()
        fake.trouble("sendMessage", 200, body)
        receipt = await connect(fake).send(a_message(), {})
        assert receipt == Unknown("HTTP 200, but the answer cannot be read")

    @pytest.mark.parametrize("result", ["true", "{}", '{"message_id": "7", "chat": {"id": 1}}', '{"message_id": 7}'])
    async def test_an_answer_that_names_no_message_is_still_a_yes(self, result: str) -> None:
        fake = FakeTelegram()
        fake.trouble("sendMessage", 200, f'{{"ok": true, "result": {result}}}')
        receipt = await connect(fake).send(a_message(), {})
        assert isinstance(receipt, Sent)
        assert receipt.ref == {}

    async def test_another_token_is_rejected(self) -> None:
        receipt = await connect(FakeTelegram(), bot_token="1:another").send(a_message(), {})
        assert receipt == Rejected("HTTP 401: Unauthorized: check bot_token")


@pytest.mark.parametrize("text", ["<b>", "<blink>x</blink>", "<b>x</i>", "a < b"])
def test_the_fake_refuses_html_that_telegram_refuses(text: str) -> None:
    with pytest.raises(BadRequest):
        read_html(text)


def test_plain_words_are_short_and_without_markup() -> None:
    assert words.plain('<b>a</b> &lt;b&gt; <a href="https://a.example">c</a>') == "a <b> c"
    assert len(words.plain("x" * 5_000)) == 2_048


def test_a_reply_to_a_resolve_does_not_repeat_the_body() -> None:
    message = dataclasses.replace(a_change(occasion="resolved", state="resolved"), title="[RESOLVED] shop is down")
    assert read_html(words.in_reply(message)) == "🟢 [RESOLVED] shop is down"


def test_a_reply_says_who_and_when() -> None:
    facts = (("Severity", "critical"), ("Acknowledged", "kim, 2026-11-20 10:01 UTC"))
    said = words.in_reply(a_message(occasion="acknowledged", facts=facts))
    assert said.endswith("\nAcknowledged: kim, 2026-11-20 10:01 UTC")


def test_the_head_beside_a_templates_title_says_how_it_stands_still() -> None:
    assert (
        words.in_reply(a_message(occasion="steadied", custom_title="shop", body=""))
        == "<b>STEADY, open: CRITICAL</b> shop"
    )
