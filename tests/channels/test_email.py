"""Letters arrive whole, once, in a thread, and what the server says of them is told as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.message import EmailMessage
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.channels._letter import subject
from gateway.channels.email import Email, Settings, connect
from gateway.contracts import Channel, Listener, Surroundings
from gateway.fields import Rate
from gateway.model import Action, Message, Occasion, Receipt, Rejected, Retry, Sent, Severity, Unknown
from tests.channels.suite import NOON, ChannelContract, a_change, a_message, an_incident
from tests.fakes.smtp import CERTIFICATE, FakeSmtp

OPS, LEE, KIM = "ops@example.com", "lee@example.com", "kim@example.com"
FACTS: dict[str, Any] = {"kind": "email", "host": "127.0.0.1", "from": "Tocsin <alerts@example.com>", "to": OPS}


def settings(**keys: Any) -> Settings:
    return Settings.model_validate({**FACTS, **keys})


@asynccontextmanager
async def mailing(fake: FakeSmtp, name: str = "ops-mail", **keys: Any) -> AsyncIterator[Email]:
    """A channel to a fake server, closed at the end."""
    async with fake.listening() as port:
        tls = {} if "tls" in keys else {"tls": "none"}
        channel = connect(settings(port=port, **tls, **keys), Surroundings(name, now=lambda: NOON))
        yield channel
        await channel.close()


async def sent(message: Message, **keys: Any) -> EmailMessage:
    """The letter that arrives."""
    fake = FakeSmtp()
    async with mailing(fake, **keys) as channel:
        assert isinstance(await channel.send(message, {}), Sent)
    return fake.mails[0].letter


def halves(letter: EmailMessage) -> tuple[str, str]:
    plain, rich = letter.get_body(("plain",)), letter.get_body(("html",))
    assert plain is not None
    assert rich is not None
    return plain.get_content().replace("\r\n", "\n"), rich.get_content().replace("\r\n", "\n")


class TestEmail(ChannelContract):
    secrets: ClassVar[tuple[str, ...]] = (OPS,)

    @pytest.fixture(autouse=True)
    async def _server(self) -> AsyncIterator[None]:
        async with FakeSmtp().listening() as self.port:
            yield

    async def open(self) -> Channel:
        return connect(settings(port=self.port, tls="none"), Surroundings("ops-mail", now=lambda: NOON))


# --- the letter ---------------------------------------------------------------------------------------


async def test_a_letter_says_it_in_plain_words_and_in_html() -> None:
    message = a_message(body="HTTP 503 <b>from</b>\n3 of 4 places", footer="the template failed")
    letter = await sent(message)
    assert letter["From"] == "Tocsin <alerts@example.com>"
    assert letter["To"] == OPS
    assert letter["Subject"] == "[CRITICAL] shop is down"
    assert letter["Date"] == "Fri, 20 Nov 2026 12:00:00 +0000"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["X-Auto-Response-Suppress"] == "All"
    assert letter.get_content_type() == "multipart/alternative"
    plain, rich = halves(letter)
    assert plain == message.text + "\n"
    assert "HTTP 503 &lt;b&gt;from&lt;/b&gt;\n3 of 4 places" in rich
    assert 'href="https://status.example/shop"' in rich
    assert "#c62828" in rich
    assert "the template failed" in rich
    assert ">Service</td>" in rich


@pytest.mark.parametrize(
    ("keys", "start", "colour"),
    [
        ({"occasion": "resolved", "state": "resolved"}, "[RESOLVED]", "#2e7d32"),
        ({"occasion": "over", "state": "resolved"}, "[RESOLVED]", "#2e7d32"),
        ({"occasion": "acknowledged", "state": "acknowledged"}, "[ACKNOWLEDGED]", "#546e7a"),
        ({"occasion": "test", "severity": Severity.INFO}, "[TEST]", "#1565c0"),
        ({"occasion": "worsened", "severity": Severity.EMERGENCY}, "[EMERGENCY]", "#6a1b9a"),
        ({"occasion": "reopened", "severity": Severity.WARNING}, "[WARNING]", "#f9a825"),
        ({"language": "ko"}, "[심각]", "#c62828"),
        ({"language": "ko", "occasion": "resolved"}, "[해결됨]", "#2e7d32"),
    ],
)
async def test_the_subject_sorts_and_keeps_one_stem(keys: dict[str, Any], start: str, colour: str) -> None:
    letter = await sent(a_message(**keys))
    assert letter["Subject"] == f"{start} shop is down"
    assert colour in halves(letter)[1]


async def test_templates_are_plain_words_in_both_halves() -> None:
    letter = await sent(a_message(custom_title="Ours:\r\nBcc: evil@example.com", custom_body="<i>a</i>\nb"))
    assert letter["Subject"] == "Ours: Bcc: evil@example.com"
    assert letter["Bcc"] is None
    plain, rich = halves(letter)
    assert plain.endswith("<i>a</i>\nb\n")
    assert "&lt;i&gt;a&lt;/i&gt;\nb" in rich
    assert "Severity" not in plain + rich


async def test_what_is_not_there_leaves_no_trace() -> None:
    rich = halves(await sent(a_message(facts=(), body="", url="")))[1]
    assert "href" not in rich
    assert rich.count("<table") == 1


async def test_long_texts_are_cut_where_nobody_reads_on() -> None:
    facts = tuple((f"fact {n}", "v" * 5_000) for n in range(80))
    letter = await sent(a_message(body="x" * 100_000, facts=facts))
    plain, rich = halves(letter)
    assert "fact 49" in plain
    assert "fact 50" not in plain
    assert "x" * 19_000 + "x" * 999 + "…" in plain
    assert "v" * 1_000 not in rich
    custom = await sent(a_message(custom_body="y" * 100_000))
    assert len(halves(custom)[0]) < 21_000


@given(st.text(max_size=400), st.sampled_from(["plain", "한국어 ", "é" * 90, "𝟙" * 40]))
def test_any_title_is_one_short_line(title: str, more: str) -> None:
    line = subject(a_message(custom_title=title + more))
    assert len(line) <= 200
    assert len(line.splitlines()) <= 1


@pytest.mark.parametrize(
    ("occasion", "english", "korean"),
    [
        ("acknowledged", "[ACKNOWLEDGED]", "[확인됨]"),
        ("noted", "[NOTE]", "[메모]"),
        ("assigned", "[ASSIGNED]", "[담당 지정]"),
        ("escalated", "[ESCALATED]", "[상위 호출]"),
        ("reminded", "[STILL OPEN]", "[미해결]"),
        ("unanswered", "[NOBODY ANSWERED]", "[응답 없음]"),
        ("muted", "[MUTED]", "[알림 중지]"),
        ("unmuted", "[STILL OPEN]", "[미해결]"),
        ("flapping", "[FLAPPING]", "[불안정]"),
        ("steadied", "[STEADY]", "[안정됨]"),
    ],
)
def test_a_subject_begins_with_why_it_was_written(occasion: Occasion, english: str, korean: str) -> None:
    assert subject(a_message(occasion=occasion)).startswith(f"{english} ")
    assert subject(a_message(occasion=occasion, language="ko")).startswith(f"{korean} ")


@given(st.text(max_size=300))
def test_an_incident_of_any_title_has_a_subject(title: str) -> None:
    line = subject(replace(a_message(), incident=an_incident(title=title)))
    assert line.startswith("[CRITICAL]")
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    "title", ["é" * 120, "한국어 제목 " * 20, "a" * 300, "=?utf-8?b?eA==?= x", "𝟙é한<&>" * 30, "\ud800x"]
)
async def test_a_subject_arrives_as_it_was_meant(title: str) -> None:
    message = a_message(custom_title=title)
    assert (await sent(message))["Subject"] == subject(message)


async def test_a_letter_is_ascii_in_short_lines() -> None:
    fake = FakeSmtp()
    async with mailing(fake) as channel:
        await channel.send(a_message(body="긴 줄 " * 2_000 + "\n.\n..\nlong " + "z" * 5_000), {})
    raw = fake.mails[0].raw
    assert raw.isascii()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert "\n.\n..\nlong" in halves(fake.mails[0].letter)[0]


# --- the thread ---------------------------------------------------------------------------------------


async def test_later_letters_of_an_incident_answer_its_first() -> None:
    fake = FakeSmtp()
    async with mailing(fake) as channel:
        first = await channel.send(a_message(), {})
        assert isinstance(first, Sent)
        second = await channel.send(a_change(), first.ref)
        assert isinstance(second, Sent)
        await channel.send(a_change(id="x:3", occasion="resolved"), second.ref)
    one, two, three = (mail.letter for mail in fake.mails)
    root = "<01990000-0000-7000-8000-000000000001.ops-mail@example.com>"
    assert one["Message-ID"] == "<01990000-0000-7000-8000-000000000001.ops.1@example.com>"
    assert one["References"] == one["In-Reply-To"] == root
    assert two["In-Reply-To"] == three["In-Reply-To"] == one["Message-ID"]
    assert two["References"] == three["References"] == f"{root} {one['Message-ID']}"
    assert len({one["Message-ID"], two["Message-ID"], three["Message-ID"]}) == 3
    assert first.ref == second.ref


async def test_the_same_message_said_again_is_the_same_letter() -> None:
    assert (await sent(a_message()))["Message-ID"] == (await sent(a_message()))["Message-ID"]


async def test_a_korean_name_makes_an_id_that_mail_allows() -> None:
    letter = await sent(a_message(id="i:운영 팀:1"), name="운영 팀")
    assert letter["Message-ID"] == "<i.%EC%9A%B4%EC%98%81%20%ED%8C%80.1@example.com>"
    assert letter["References"].isascii()


@pytest.mark.parametrize("first", ["", "x", "<a> <b>", "<a>\r\nBcc: <b@c>", 7, None, "<" + "x" * 300 + ">"])
async def test_a_ref_that_is_no_id_is_not_believed(first: object) -> None:
    fake = FakeSmtp()
    async with mailing(fake) as channel:
        await channel.send(a_message(), {"first": first, "told": {"id": a_message().id, "to": "all"}})
    assert "ops-mail@example.com" in fake.mails[0].letter["In-Reply-To"]


# --- who has it ---------------------------------------------------------------------------------------


async def test_several_recipients_share_one_letter() -> None:
    fake = FakeSmtp()
    async with mailing(fake, to=[OPS, f"Lee <{LEE}>", OPS]) as channel:
        assert isinstance(await channel.send(a_message(), {}), Sent)
    (mail,) = fake.mails
    assert (mail.sender, mail.to) == ("alerts@example.com", [OPS, LEE])
    assert mail.letter["To"] == f"{OPS}, Lee <{LEE}>"


async def test_only_those_who_have_not_heard_are_tried_again() -> None:
    fake = FakeSmtp(recipients={LEE: ["450 4.2.1 box busy", "552 box full"], KIM: ["550 gone"] * 3})
    async with mailing(fake, to=[OPS, LEE, KIM]) as channel:
        first = await channel.send(a_message(), {})
        assert isinstance(first, Retry)
        assert first.reason == "2 of 3 recipients refused (SMTP 450/550)"
        assert OPS not in repr(first)
        second = await channel.send(a_message(), first.ref or {})
        assert isinstance(second, Retry)
        third = await channel.send(a_message(), second.ref or {})
        assert third == Sent(
            {"first": "<01990000-0000-7000-8000-000000000001.ops.1@example.com>"},
            missed="1 of 3 recipients refused (SMTP 550)",
        )
    assert [mail.to for mail in fake.mails] == [[OPS], [LEE]]


async def test_who_has_all_been_told_is_not_told_again() -> None:
    fake = FakeSmtp(recipients={LEE: ["450 busy"]})
    async with mailing(fake, to=[OPS, LEE]) as channel:
        first = await channel.send(a_message(), {})
        assert isinstance(first, Retry)
        assert first.ref is not None
    async with mailing(fake, to=[OPS]) as channel:  # lee was taken out of the file meanwhile
        assert isinstance(await channel.send(a_message(), first.ref), Sent)
    assert len(fake.mails) == 1


async def test_the_next_revision_goes_to_everybody_again() -> None:
    fake = FakeSmtp(recipients={LEE: ["450 busy"]})
    async with mailing(fake, to=[OPS, LEE]) as channel:
        first = await channel.send(a_message(), {})
        assert isinstance(first, Retry)
        assert isinstance(await channel.send(a_change(), first.ref or {}), Sent)
    assert [mail.to for mail in fake.mails] == [[OPS], [OPS, LEE]]


async def test_nobody_who_can_ever_hear_is_rejected() -> None:
    fake = FakeSmtp(recipients={OPS: ["550 5.1.1 <ops@example.com>: no such user"]})
    async with mailing(fake) as channel:
        assert await channel.send(a_message(), {}) == Rejected("1 of 1 recipients refused (SMTP 550)")
        assert isinstance(await channel.send(a_message(), {}), Sent), "the connection goes on"
    assert fake.connections == 1


async def test_nobody_who_can_hear_now_is_tried_later() -> None:
    fake = FakeSmtp(recipients={OPS: ["451 4.3.0 greylisted"]})
    async with mailing(fake) as channel:
        assert await channel.send(a_message(), {}) == Retry("1 of 1 recipients refused (SMTP 451)")


async def test_without_a_bell_there_is_no_letter() -> None:
    fake = FakeSmtp()
    async with mailing(fake) as channel:
        assert await channel.send(a_message(quiet=True), {"first": "<a@b>"}) == Sent(
            {"first": "<a@b>"}, "no bell: no letter"
        )
    assert fake.connections == 0


# --- what the server says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fake", "receipt"),
    [
        (FakeSmtp(data=["451 4.3.2 try later"]), Retry("SMTP 451 4.3.2: the server refuses the letter")),
        (FakeSmtp(data=["552 5.3.4 of ops@example.com"]), Rejected("SMTP 552 5.3.4: the server refuses the letter")),
        (FakeSmtp(mail=["550 5.7.1 not you"]), Rejected("SMTP 550 5.7.1: the server refuses the sender")),
        (FakeSmtp(mail=["450 not now"]), Retry("SMTP 450: the server refuses the sender")),
        (FakeSmtp(mail=["421 4.3.2 going down"]), Retry("SMTP 421 4.3.2: the server refuses the sender")),
        (
            FakeSmtp(login=("u", "other")),
            Rejected("SMTP 535 5.7.8: the server refuses the login; check username and password"),
        ),
        (FakeSmtp(trouble="busy"), Retry("SMTP 421 4.3.2: the server refuses us")),
        (FakeSmtp(trouble="babble"), Unknown("no answer after the letter was handed over (SMTPResponseException)")),
        (FakeSmtp(trouble="hang up"), Unknown("no answer after the letter was handed over (SMTPServerDisconnected)")),
    ],
)
async def test_a_reply_is_told_as_it_is(fake: FakeSmtp, receipt: Receipt) -> None:
    login = {"username": "u", "password": "S3CRET"} if fake.login else {}
    async with mailing(fake, **login) as channel:
        assert await channel.send(a_message(), {}) == receipt


async def test_a_server_that_hangs_after_the_letter_may_have_it() -> None:
    fake = FakeSmtp(trouble="hang")
    async with mailing(fake, timeout="200ms") as channel:
        receipt = await channel.send(a_message(), {})
        assert isinstance(receipt, Unknown)
        fake.trouble = ""
        assert isinstance(await channel.send(a_message(), {}), Sent)
    assert len(fake.mails) == 2
    assert fake.mails[0].letter["Message-ID"] == fake.mails[1].letter["Message-ID"]


async def test_a_server_that_never_speaks_is_tried_again() -> None:
    async with mailing(FakeSmtp(trouble="deaf"), timeout="100ms") as channel:
        receipt = await channel.send(a_message(), {})
    assert isinstance(receipt, Retry)


async def test_a_server_that_is_down_is_tried_again() -> None:
    async with FakeSmtp().listening() as port:
        pass
    channel = connect(settings(port=port, tls="none"), Surroundings("ops-mail"))
    assert await channel.send(a_message(), {}) == Retry("no conversation with the mail server (ConnectionRefusedError)")
    await channel.close()


async def test_a_send_can_be_cancelled_and_the_next_one_starts_afresh() -> None:
    fake = FakeSmtp(trouble="hang")
    async with mailing(fake) as channel:
        sending = asyncio.create_task(channel.send(a_message(), {}))
        await asyncio.wait_for(fake.took.wait(), 5)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        fake.trouble = ""
        assert isinstance(await channel.send(a_change(), {}), Sent)
    assert fake.connections == 2


# --- the connection -----------------------------------------------------------------------------------


async def test_a_quick_succession_shares_one_connection() -> None:
    fake = FakeSmtp()
    async with mailing(fake) as channel:
        for number in range(5):
            assert isinstance(await channel.send(a_message(id=f"m:{number}"), {}), Sent)
    assert (fake.connections, len(fake.mails)) == (1, 5)
    assert fake.replies[-1].startswith("221")


async def test_letters_sent_at_once_wait_for_one_another() -> None:
    fake = FakeSmtp()
    async with mailing(fake, to=[OPS, LEE, KIM]) as channel:
        messages = [a_message(id=f"m:{number}") for number in range(4)]
        receipts = await asyncio.gather(*(channel.send(message, {}) for message in messages))
    assert [receipt for receipt in receipts if not isinstance(receipt, Sent)] == []
    assert [sorted(mail.to) for mail in fake.mails] == [sorted([OPS, LEE, KIM])] * 4
    assert fake.connections == 1


@pytest.mark.parametrize("moment", ["mail", "recipients", "data"])
async def test_a_connection_out_of_step_is_dropped_and_the_letter_kept(moment: str) -> None:
    lost = ["503 5.5.1 bad sequence of commands"]
    answers: dict[str, Any] = {moment: {OPS: lost} if moment == "recipients" else lost}
    fake = FakeSmtp(**answers)
    async with mailing(fake, to=[LEE, OPS]) as channel:
        receipt = await channel.send(a_message(), {})
        assert receipt == Retry("SMTP 503 5.5.1: the server lost track of the conversation")
        assert isinstance(await channel.send(a_message(), {}), Sent)
    assert fake.connections == 2
    assert len(fake.mails) == 1


async def test_a_connection_that_the_server_closed_is_made_anew() -> None:
    fake = FakeSmtp()
    async with mailing(fake) as channel:
        assert isinstance(await channel.send(a_message(), {}), Sent)
        fake.hang_up()
        await asyncio.sleep(0.02)
        assert isinstance(await channel.send(a_change(), {}), Sent)
    assert fake.connections == 2


async def test_an_idle_connection_is_given_back() -> None:
    fake = FakeSmtp()
    async with fake.listening() as port:
        channel = connect(settings(port=port, tls="none"), Surroundings("ops-mail"), idle_s=0.05)
        assert isinstance(await channel.send(a_message(), {}), Sent)
        await asyncio.sleep(0.2)
        assert fake.replies[-1].startswith("221")
        assert isinstance(await channel.send(a_change(), {}), Sent)
        assert fake.connections == 2
        await channel.close()


# --- TLS and login ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_trusted_server_is_spoken_to_in_secret(tls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    fake = FakeSmtp(tls=tls, login=("u", "p"))
    async with mailing(fake, tls=tls, host="localhost", username="u", password="p") as channel:
        assert isinstance(await channel.send(a_message(), {}), Sent)
        assert isinstance(await channel.send(a_change(), {}), Sent)
    assert fake.connections == 1


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_certificate_that_nobody_vouches_for_stops_the_conversation(tls: Any) -> None:
    fake = FakeSmtp(tls=tls, login=("u", "S3CRET"))
    async with mailing(fake, tls=tls, host="localhost", username="u", password="S3CRET") as channel:
        receipt = await channel.send(a_message(), {})
    assert receipt == Retry("the server's certificate cannot be trusted")
    assert fake.mails == []


async def test_a_server_without_starttls_gets_no_letter_in_the_clear() -> None:
    fake = FakeSmtp()
    async with mailing(fake, tls="starttls") as channel:
        receipt = await channel.send(a_message(), {})
    assert receipt == Rejected("the server offers no STARTTLS or no login, which the settings demand")
    assert fake.mails == []


async def test_a_server_without_a_login_gets_no_password() -> None:
    async with mailing(FakeSmtp(), username="u", password="S3CRET") as channel:
        assert isinstance(await channel.send(a_message(), {}), Rejected)


# --- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "security"),
    [
        ({}, "starttls"),
        ({"port": "587"}, "starttls"),
        ({"port": "465"}, "implicit"),
        ({"port": "465", "tls": "none"}, "none"),
        ({"tls": "implicit", "port": "2465"}, "implicit"),
    ],
)
def test_the_port_465_means_tls_from_the_start(keys: dict[str, str], security: str) -> None:
    assert settings(**keys).security == security


def test_the_pace_is_the_servers_unless_written() -> None:
    assert connect(settings(), Surroundings("m")).paces == ()
    assert connect(settings(pace="1/s"), Surroundings("m")).paces == (Rate(1, 1_000),)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"to": []}, "names nobody"),
        ({"to": "S3CRET"}, "is no address"),
        ({"to": "a@S3CRET.example, b@example.com"}, "several are written as a list"),
        ({"to": "a@S3CRET.example\nBcc: b@example.com"}, "several are written as a list"),
        ({"to": "운영@S3CRET.example"}, "ASCII"),
        ({"from": "S3CRET"}, "is no address"),
        ({"from_": "alerts@S3CRET.example"}, "Extra inputs"),
        ({"username": "S3CRET"}, "both or not at all"),
        ({"password": "S3CRET"}, "both or not at all"),
        ({"tls": "starttls", "port": "465"}, "port 465"),
        ({"tls": "S3CRET"}, "starttls"),
        ({"port": "0"}, "greater than"),
        ({"host": "smtp://S3CRET"}, "pattern"),
        ({"api_url": "https://S3CRET"}, "Extra inputs"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence) as refused:
        settings(**keys)
    assert "S3CRET" not in str(refused.value)


# --- links that do something --------------------------------------------------------------------------

LINKS = (
    Action("acknowledge", "Acknowledge", "https://alerts.example.com/links/abc-_1"),
    Action("resolve", "Resolve <it>", "https://alerts.example.com/links/def?x=1&y=2"),
    Action("silence", "Silence 1 h"),
)


@pytest.mark.parametrize("custom", [None, "our own words"])
async def test_what_can_be_done_stands_in_both_halves(custom: str | None) -> None:
    message = a_message(actions=LINKS, custom_body=custom, footer="the template failed")
    plain, rich = halves(await sent(message))
    assert plain.endswith(
        "the template failed\nAcknowledge: https://alerts.example.com/links/abc-_1\n"
        "Resolve <it>: https://alerts.example.com/links/def?x=1&y=2\n"
    )
    assert 'href="https://alerts.example.com/links/abc-_1"' in rich
    assert 'href="https://alerts.example.com/links/def?x=1&amp;y=2"' in rich
    assert ">Resolve &lt;it&gt;</a>" in rich
    assert "Silence" not in plain + rich  # there is no link for it


async def test_a_link_without_a_name_is_called_by_what_it_does() -> None:
    plain, rich = halves(await sent(a_message(actions=(Action("resolve", "", "https://a.example/links/x"),))))
    assert plain.endswith("\nresolve: https://a.example/links/x\n")
    assert ">resolve</a>" in rich


async def test_where_nothing_can_be_done_there_are_no_links() -> None:
    plain, rich = halves(await sent(a_message(url="")))
    assert "/links/" not in plain + rich
    assert "<a " not in rich


@pytest.mark.parametrize(
    ("occasion", "tag"),
    [
        ("noted", "NOTE"),
        ("assigned", "ASSIGNED"),
        ("escalated", "ESCALATED"),
        ("reminded", "STILL OPEN"),
        ("unanswered", "NOBODY ANSWERED"),
        ("muted", "MUTED"),
        ("unmuted", "STILL OPEN"),
        ("flapping", "FLAPPING"),
        ("steadied", "STEADY"),
    ],
)
async def test_whatever_the_occasion_the_subject_keeps_its_stem(occasion: Any, tag: str) -> None:
    assert (await sent(a_message(occasion=occasion)))["Subject"] == f"[{tag}] shop is down"


@pytest.mark.parametrize(
    ("occasion", "colour"), [("muted", "#546e7a"), ("acknowledged", "#546e7a"), ("noted", "#c62828")]
)
async def test_the_bar_is_grey_where_nobody_need_come(occasion: Any, colour: str) -> None:
    assert f"border-left:6px solid {colour}" in halves(await sent(a_message(occasion=occasion)))[1]


def test_a_letter_can_be_acted_on_though_nobody_answers_it() -> None:
    channel = connect(settings(), Surroundings("ops-mail"))
    assert (channel.listens, channel.links) == (True, True)
    assert not isinstance(channel, Listener)
