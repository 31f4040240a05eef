"""What every channel must do, whoever is at its other end: one suite, run against each of them.

    class TestSlackByWebhook(HttpContract):
        secrets = ("T000/B000/XXXX",)
        harmful = ("<!channel>", "<@U1>")

        def connect(self, transport):
            return slack.connect(SETTINGS, Surroundings(name="ops", transport=transport))

        def vendor(self):
            return FakeSlack().transport

`ChannelContract` is for a channel without HTTP: give it `open()`. `HttpContract` adds what networks and
vendors do, each at a first message and at a change of it, and wants `connect` and `vendor`. `ListenerContract` is
for a channel that can be answered as well, and wants `listening`.
`a_message()` and `an_incident()` are for the other tests of a channel as well.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import httpx2
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.contracts import Announcer, Call, Channel, Ignored, Listener, Pressed, Reported
from gateway.errors import BadCredential
from gateway.fields import Rate
from gateway.model import Action, Incident, Message, Receipt, Ref, Rejected, Retry, Sent, Severity, Unknown

NOON = 1_795_176_000_000
"""2026-11-20T12:00:00Z in milliseconds."""

# What rules/reading removes (controls, surrogates, bidi) is not here: it never reaches a channel.
HOSTILE = (
    "<!channel> <!here> <@U1> <#C1> <!subteam^S1> @here @channel @everyone &lt;!channel&gt; "
    "<https://evil.example|click> [click](https://evil.example) <b>bold</b> </b></a> "
    "<a href='https://evil.example'>x</a> *a* _b_ ~c~ `d` ```e``` || ** {{ 7*7 }} {% x %} &amp; & \" '"
)


def an_incident(**changes: Any) -> Incident:
    plain = Incident(
        id="01990000-0000-7000-8000-000000000001",
        source="hetrixtools",
        adapter="hetrixtools",
        fingerprint="uptime:shop",
        title="shop is down",
        severity=Severity.CRITICAL,
        opened_at=NOON,
        updated_at=NOON,
        number=42,
        worst=Severity.CRITICAL,
        kind="uptime",
        service="shop",
        environment="production",
        url="https://status.example/shop",
    )
    return dataclasses.replace(plain, **changes)


def a_message(**changes: Any) -> Message:
    """A first message of an open, critical incident. `state` and `severity` change the incident."""
    inside = {key: changes.pop(key) for key in ("state", "severity", "source", "number") if key in changes}
    plain = Message(
        id="01990000-0000-7000-8000-000000000001:ops:1",
        occasion="opened",
        incident=an_incident(**inside),
        revision=1,
        title="[CRITICAL] shop is down",
        facts=(("Severity", "critical"), ("Service", "shop"), ("Since", "2026-11-20 12:00 UTC")),
        body="HTTP 503 from 3 of 4 places",
        url="https://status.example/shop",
        brief="CRITICAL shop is down",
        speech="Critical. shop is down.",
    )
    return dataclasses.replace(plain, **changes)


def a_change(**changes: Any) -> Message:
    """What is said when the incident of `a_message` gets worse."""
    worse = {"id": "01990000-0000-7000-8000-000000000001:ops:2", "occasion": "worsened", "revision": 2}
    return a_message(**{**worse, "severity": Severity.EMERGENCY, "title": "[EMERGENCY] shop is down", **changes})


VERBS: tuple[Literal["acknowledge", "resolve", "silence"], ...] = ("acknowledge", "resolve", "silence")
ACTIONS = tuple(Action(verb, verb.capitalize(), f"https://alerts.example.com/links/{verb}") for verb in VERBS)

ODD_MESSAGES: dict[str, Message] = {
    "nothing but a title": a_message(facts=(), body="", url="", brief="", speech=""),
    "an empty title": a_message(title=""),
    "a huge body": a_message(body="line & <line>\n" * 20_000),
    "a huge title": a_message(title="𝟙é한<&>" * 500),
    "a hundred facts": a_message(facts=tuple((f"label {n}", "value & " * 400) for n in range(100))),
    "Korean": a_message(language="ko", title="[심각] 쇼핑몰 장애", body="응답 없음 " * 300),
    "hostile text everywhere": a_message(title=HOSTILE, body=HOSTILE, facts=((HOSTILE, HOSTILE),), footer=HOSTILE),
    "a template's words": a_message(
        custom_title="custom title", custom_body="custom body", footer="the template failed"
    ),
    "an empty template": a_message(custom_title="", custom_body=""),
    "resolved": a_message(occasion="resolved", state="resolved"),
    "over before it was told": a_message(occasion="over", state="resolved", language="ko"),
    "a test": a_message(occasion="test", number=0),
    "with actions": a_message(actions=ACTIONS, delivery="01990000-0000-7000-8000-0000000000ff"),
    "with actions of endless names": a_message(
        actions=tuple(Action(verb, "로 " * 400, "https://a.example/links/" + "x" * 300) for verb in VERBS),
        incident=an_incident(id="x" * 300),
    ),
    "no bell": a_message(occasion="eased", quiet=True, severity=Severity.INFO),
}


class ChannelContract:
    """For any channel. Override `open`, and `harmful` with `said` where the words sent can be seen."""

    secrets: ClassVar[tuple[str, ...]] = ()
    """Everything in the settings that must be in no reason and no log line."""

    async def open(self) -> Channel:
        """A channel whose vendor takes everything. Called once a test."""
        raise NotImplementedError

    async def test_it_says_how_it_wants_to_be_used(self) -> None:
        channel = await self.open()
        assert isinstance(channel.edits, bool)
        assert channel.width >= 1
        assert all(isinstance(rate, Rate) for rate in channel.paces)
        assert channel.unknown_again is None or channel.unknown_again >= 0
        await channel.close()

    async def test_it_can_be_closed_unused_and_twice(self) -> None:
        channel = await self.open()
        await channel.close()
        await channel.close()

    async def test_it_can_be_closed_twice_after_a_send(self) -> None:
        channel = await self.open()
        assert isinstance(await channel.send(a_message(), {}), Sent)
        await channel.close()
        await channel.close()

    async def test_the_same_message_can_be_said_again(self) -> None:
        channel = await self.open()
        assert isinstance(await channel.send(a_message(), {}), Sent)
        assert isinstance(await channel.send(a_message(), {}), Sent)
        await channel.close()

    async def test_a_change_and_the_end_are_said_with_the_ref_of_the_first(self) -> None:
        channel = await self.open()
        ref: Ref = {}
        for message in (
            a_message(),
            a_change(),
            a_change(id="x:3", revision=3, occasion="eased", quiet=True, severity=Severity.WARNING),
            a_change(id="x:4", revision=4, occasion="resolved", state="resolved"),
            a_change(id="x:5", revision=5, occasion="reopened"),
        ):
            receipt = await channel.send(message, ref)
            assert isinstance(receipt, Sent), (message.occasion, receipt)
            ref = receipt.ref
        await channel.close()

    @pytest.mark.parametrize("message", ODD_MESSAGES.values(), ids=ODD_MESSAGES.keys())
    async def test_odd_messages_get_through(self, message: Message) -> None:
        channel = await self.open()
        receipt = await channel.send(message, {})
        assert isinstance(receipt, Sent), receipt
        await channel.close()

    @pytest.mark.parametrize(
        "ref", [{"channel": 7}, {"ts": None}, {"message_id": "x"}, {"of": "another version"}], ids=str
    )
    async def test_a_ref_of_another_time_does_no_harm(self, ref: Ref) -> None:
        channel = await self.open()
        assert isinstance(await channel.send(a_change(), ref), Sent)
        await channel.close()

    async def test_hostile_text_can_be_escaped(self) -> None:
        channel = await self.open()
        assert isinstance(channel.escape(HOSTILE), str)
        assert channel.escape("plain words") == "plain words"
        await channel.close()


class ListenerContract:
    """For any channel that can be answered. Override `listening`."""

    def listening(self, transport: httpx2.AsyncBaseTransport) -> Listener:
        """A channel that has all it needs to verify a callback."""
        raise NotImplementedError

    def deaf(self) -> Listener:
        async def gone(request: httpx2.Request) -> httpx2.Response:
            raise httpx2.ConnectError("nobody there")

        return self.listening(httpx2.MockTransport(gone))

    def test_it_is_one_and_says_that_it_listens(self) -> None:
        assert isinstance(self.deaf(), Listener)
        assert self.deaf().listens is True

    @hypothesis_settings(suppress_health_check=[HealthCheck.differing_executors])  # each channel runs it anew
    @given(
        st.binary(max_size=300),
        st.dictionaries(
            st.sampled_from(
                [
                    *("x-slack-signature", "x-slack-request-timestamp", "x-telegram-bot-api-secret-token"),
                    *("x-twilio-signature", "content-type"),
                ]
            ),
            st.text(st.characters(max_codepoint=255), max_size=80) | st.just(str(NOON // 1000)),
        ),
        st.sampled_from(
            ["https://alerts.example.com/callbacks/x/y?delivery=1", "http://[", "", "/callbacks", "https://"]
        ),
    )
    def test_what_is_not_signed_is_refused_and_nothing_else_is_raised(
        self, body: bytes, headers: dict[str, str], url: str
    ) -> None:
        with pytest.raises(BadCredential):
            self.deaf().hear(Call(headers, body, url, {}, NOON))

    async def test_a_press_from_nowhere_agrees_with_nothing(self) -> None:
        for ref in (
            {},
            {"channel": "C", "ts": "1"},
            {"chat": 1, "message_id": 2},
            {"sid": {"+1": "SM"}},
            {"sid": None},
        ):
            assert not await self.deaf().agrees({}, ref)

    @pytest.mark.parametrize("text", ["", "words <b> & 😀 " * 300], ids=["nothing", "a lot"])
    async def test_every_call_gets_an_answer_though_the_vendor_is_gone(self, text: str) -> None:
        for kind in ("sms", "voice"):
            pressed = Pressed("k", "resolve", "kim", about={"channel": "C", "user": "U", "kind": kind})
            for heard in (pressed, Reported("k", "d", "delivered"), Ignored("x")):
                reply = await self.deaf().reply(heard, text)
                assert reply.status in (200, 204)
                reply.body.encode()

    async def test_what_is_announced_is_a_receipt_though_the_vendor_is_gone(self) -> None:
        channel = self.deaf()
        if isinstance(channel, Announcer):
            assert isinstance(await channel.announce(), Sent | Retry)


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that a network or a vendor does, and the receipts that are true of it."""

    answer: Callable[[httpx2.Request], httpx2.Response]
    means: tuple[type, ...]
    after: int | None = None


def _fails(error: type[httpx2.TransportError]) -> Callable[[httpx2.Request], httpx2.Response]:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise error(f"failed at {request.url}", request=request)

    return answer


def _says(status: int, content: str | bytes = "", **headers: str) -> Callable[[httpx2.Request], httpx2.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx2.Response(status, content=content, headers=named)


def _echoes(status: int) -> Callable[[httpx2.Request], httpx2.Response]:
    """What careless servers and proxies do: they repeat the address and the headers in their complaint."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        words = f"cannot {request.method} {request.url} {dict(request.headers)}"
        keys = ("error", "description", "message", "detail", "code")
        return httpx2.Response(status, json={"ok": False, **dict.fromkeys(keys, words)})

    return answer


FAULTS: dict[str, Fault] = {
    "connection refused": Fault(_fails(httpx2.ConnectError), (Retry,)),
    "no connection in time": Fault(_fails(httpx2.ConnectTimeout), (Retry,)),
    "no answer in time": Fault(_fails(httpx2.ReadTimeout), (Unknown, Retry)),
    "connection reset": Fault(_fails(httpx2.ReadError), (Unknown, Retry)),
    "broken protocol": Fault(_fails(httpx2.RemoteProtocolError), (Unknown, Retry)),
    "500": Fault(_says(500, "oops"), (Retry, Unknown)),
    "503 with an HTML page": Fault(_says(503, "<html>Service Unavailable</html>"), (Retry, Unknown)),
    "429 with Retry-After": Fault(_says(429, "", Retry_After="7"), (Retry,), after=7_000),
    "429 without": Fault(_says(429, ""), (Retry,)),
    "429 with rubbish in Retry-After": Fault(_says(429, "{}", Retry_After="soon"), (Retry,)),
    "302": Fault(_says(302, "", Location="http://169.254.169.254/latest"), (Rejected,)),
    "401": Fault(_says(401, "{}"), (Rejected,)),
    "403": Fault(_says(403, "nothing to see"), (Rejected,)),
    "400 that repeats the request": Fault(_echoes(400), (Rejected,)),
    "500 that repeats the request": Fault(_echoes(500), (Retry, Unknown)),
    "200 that repeats the request": Fault(_echoes(200), (Sent, Retry, Rejected, Unknown)),
    "200 with nothing": Fault(_says(200, ""), (Sent, Retry, Rejected, Unknown)),
    "200 with garbage": Fault(_says(200, b"\xff\xfe\x00{]"), (Sent, Retry, Rejected, Unknown)),
    "200 with another JSON": Fault(_says(200, '[1, null, "x"]'), (Sent, Retry, Rejected, Unknown)),
    "200 with deep JSON": Fault(_says(200, "[" * 500 + "]" * 500), (Sent, Retry, Rejected, Unknown)),
    "200 with a huge page": Fault(_says(200, "x" * 300_000), (Sent, Retry, Rejected, Unknown)),
}


VENDORS_KEYS = (
    *("ok", "channel", "ts", "permalink", "error", "needed", "result", "message_id", "chat", "id", "type", "username"),
    *("description", "parameters", "retry_after", "migrate_to_chat_id", "code", "message", "sid", "properties", "url"),
    *("data_sources", "results", "in_trash", "select", "options", "name"),
)
"""What some channel reads in some answer."""
ODD_VALUES: tuple[Any, ...] = (
    5,
    -1,
    True,
    False,
    None,
    1.5,
    10**30,
    "",
    "\ud800",
    [],
    [5],
    {},
    {"type": "select", "select": 5},
)


class Line(httpx2.AsyncBaseTransport):
    """The line to a vendor: healthy until `fault` is set. Keeps every request."""

    def __init__(self, vendor: httpx2.AsyncBaseTransport) -> None:
        self.vendor = vendor
        self.fault: Fault | None = None
        self.requests: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        self.requests.append(request)
        return self.fault.answer(request) if self.fault else await self.vendor.handle_async_request(request)


class HttpContract(ChannelContract):
    """For a channel that speaks HTTP through `Surroundings.transport`."""

    harmful: ClassVar[tuple[str, ...]] = ()
    """What must be in no request, whatever a payload says: mentions and markup in the vendor's own writing."""

    def connect(self, transport: httpx2.AsyncBaseTransport) -> Channel:
        raise NotImplementedError

    def vendor(self) -> httpx2.AsyncBaseTransport:
        """A fresh vendor who takes everything that his manual allows."""
        raise NotImplementedError

    async def open(self) -> Channel:
        return self.connect(self.vendor())

    @pytest.mark.parametrize("moment", ["first", "change"])
    @pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
    async def test_trouble_is_a_receipt_and_passes(
        self, fault: Fault, moment: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        line = Line(self.vendor())
        channel = self.connect(line)
        ref: Ref = {}
        if moment == "change":
            first = await channel.send(a_message(), {})
            assert isinstance(first, Sent)
            ref = first.ref
        line.fault = fault
        message = a_message() if moment == "first" else a_change()
        receipt = await channel.send(message, ref)
        self._is_true_of(receipt, fault)
        assert all(request.url.host != "169.254.169.254" for request in line.requests), "a redirect was followed"
        self._keeps_secrets(receipt, caplog, capfd)
        line.fault = None
        known = ref if isinstance(receipt, Sent) or receipt.ref is None else receipt.ref
        again = await channel.send(message, known)
        assert isinstance(again, Sent), f"it does not recover: {again}"
        await channel.close()

    @pytest.mark.parametrize("status", [200, 400, 429])
    @pytest.mark.parametrize("odd", ODD_VALUES, ids=repr)
    async def test_a_value_of_another_type_is_a_receipt(self, odd: Any, status: int) -> None:
        line = Line(self.vendor())
        channel = self.connect(line)
        first = await channel.send(a_message(), {})
        assert isinstance(first, Sent)
        flat = dict.fromkeys(VENDORS_KEYS, odd)
        for document in (flat, {**flat, "ok": True}, dict.fromkeys(VENDORS_KEYS, flat) | {"ok": True}):
            line.fault = Fault(_says(status, json.dumps(document)), (Sent, Retry, Rejected, Unknown))
            for fresh, ref in ((channel, {}), (channel, first.ref), (self.connect(line), {})):
                receipt = await fresh.send(a_change(), ref)
                self._is_true_of(receipt, line.fault)
                json.dumps(dataclasses.asdict(receipt), ensure_ascii=False).encode()
                if fresh is not channel:
                    await fresh.close()
        await channel.close()

    async def test_a_send_can_be_cancelled(self) -> None:
        asked = asyncio.Event()

        async def never(request: httpx2.Request) -> httpx2.Response:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

        channel = self.connect(httpx2.MockTransport(never))
        sending = asyncio.create_task(channel.send(a_message(), {}))
        await asyncio.wait_for(asked.wait(), 5)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await channel.close()

    async def test_hostile_text_is_harmless_at_the_vendor(self) -> None:
        line = Line(self.vendor())
        channel = self.connect(line)
        message = a_message(title=HOSTILE, body=HOSTILE, facts=((HOSTILE, HOSTILE),), footer=HOSTILE)
        assert isinstance(await channel.send(message, {}), Sent)
        sent = "\n".join(request.content.decode() for request in line.requests)
        found = [word for word in self.harmful if word in sent]
        assert not found, f"sent as it came: {found}"
        await channel.close()

    def _is_true_of(self, receipt: Receipt, fault: Fault) -> None:
        assert isinstance(receipt, fault.means), receipt
        if fault.after is not None:
            assert isinstance(receipt, Retry)
            assert receipt.after == fault.after
        if not isinstance(receipt, Sent):
            assert 0 < len(receipt.reason) <= 500

    def _keeps_secrets(
        self, receipt: Receipt, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        # The HTTP client writes addresses at INFO: the house silences it where logs are set up, not here.
        logged = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpx2", "httpcore2"))]
        written = "\n".join([repr(receipt), *logged, *capfd.readouterr()])
        leaked = [number for number, secret in enumerate(self.secrets) if secret in written]
        assert not leaked, f"secrets {leaked} stand in {receipt!r} or in a log line"
