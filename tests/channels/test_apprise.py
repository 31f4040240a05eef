"""Apprise's services: one target, our threads, and a receipt that says what really came of it."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import requests
from aiosmtpd.controller import Controller
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.channels import _apprise_crew
from gateway.channels._apprise_crew import Crew, Fate
from gateway.channels._apprise_listening import ANSWERED, hush, overheard
from gateway.channels._apprise_verdict import verdict
from gateway.channels.apprise import Apprise, Settings, connect, neutral, plain_address
from gateway.contracts import Channel, Surroundings
from gateway.model import Message, Receipt, Rejected, Retry, Sent, Severity, Unknown
from tests.channels.suite import HOSTILE, NOON, ChannelContract, a_change, a_message

BROKE = "the connection broke before the answer"
SECRET = "s3cretpathtokenabcdefghij"


@dataclass
class Service:
    """Somebody's endpoint on a real port: answers every POST with `status` and `body`, keeps what came.

    `hold` makes it wait before the answer; `drop` ends the connection without one."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hold: threading.Event | None = None
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def words(self) -> str:
        return "\n".join(body.decode() for _, body in self.heard)

    def wait_for(self, count: int) -> None:
        """Until so many requests have come."""
        deadline = time.monotonic() + 5
        while len(self.heard) < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        self.heard.append((request.path, request.rfile.read(int(request.headers.get("content-length") or 0))))
        if self.hold is not None:
            self.hold.wait(10)
        if self.drop:
            request.connection.close()
            return
        request.send_response(self.status)
        for name, value in {**self.headers, "Content-Length": str(len(self.body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(self.body)


@pytest.fixture
def service() -> Iterator[Service]:
    known = Service()

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            known.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hung up is what some of these tests are about."""

    server = Server(("127.0.0.1", 0), Answers)
    known.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield known
    if known.hold is not None:
        known.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def logged() -> Iterator[Callable[[], str]]:
    """All that reaches the root logger, where the house's own log is set up. (caplog listens elsewhere, too.)"""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, root = Keep(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lambda: "\n".join(lines)
    root.removeHandler(handler)
    root.setLevel(level)


def apprise_at(url: str, **keys: object) -> Apprise:
    settings = Settings.model_validate({"kind": "apprise", "url": url, **keys})
    return connect(settings, Surroundings("team", now=lambda: NOON))


def urls(port: int) -> dict[str, str]:
    return {
        "json": f"json://127.0.0.1:{port}/{SECRET}",
        "mattermost": f"mmost://127.0.0.1:{port}/{SECRET}",
        "ntfy": f"ntfy://user:{SECRET}@127.0.0.1:{port}/topic",
        "gotify": f"gotify://127.0.0.1:{port}/{SECRET}",
        "form": f"form://127.0.0.1:{port}/{SECRET}",
    }


def no_threads() -> None:
    """Until no thread of a crew is left."""
    for thread in threading.enumerate():
        if thread.name == "tocsin-apprise":
            thread.join(5)
            assert not thread.is_alive()


KINDS = tuple(urls(0))


class TestApprise(ChannelContract):
    secrets: ClassVar[tuple[str, ...]] = (SECRET,)

    @pytest.fixture(autouse=True)
    def _at(self, service: Service) -> None:
        self.service = service

    async def open(self) -> Channel:
        return apprise_at(urls(self.service.port)["json"])


# --- the receipt --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "receipt"),
    [
        (200, Sent),
        (302, Rejected),
        (400, Rejected),
        (401, Rejected),
        (404, Rejected),
        (408, Retry),
        (425, Retry),
        (429, Retry),
        (500, Retry),
        (503, Retry),
    ],
)
async def test_the_status_decides(
    service: Service, kind: str, status: int, receipt: type, logged: Callable[[], str], capfd: Any
) -> None:
    service.status = status
    service.headers = {"Location": f"http://127.0.0.1:{service.port}/elsewhere", "Retry-After": "7"}
    got = await apprise_at(urls(service.port)[kind]).send(a_message(), {})
    assert isinstance(got, receipt)
    if not isinstance(got, Sent):
        assert str(status) in got.reason
    assert len(service.heard) == 1, "a redirect was followed, or it tried by itself"
    assert SECRET not in "\n".join([repr(got), logged(), *capfd.readouterr()])


async def test_what_an_address_asks_of_apprise_itself_has_no_effect(service: Service) -> None:
    service.status = 500
    url = f"{urls(service.port)['json']}?optional=yes&retry=3&redirect=yes&overflow=split&rto=1&cto=1"
    assert await apprise_at(url).send(a_message(body="x" * 90_000), {}) == Retry("HTTP 500")
    assert len(service.heard) == 1


async def test_a_refused_connection_was_not_sent(service: Service) -> None:
    assert await apprise_at("json://127.0.0.1:1/").send(a_message(), {}) == Retry("could not connect")


async def test_a_dropped_connection_is_an_unknown_end(service: Service) -> None:
    service.drop = True
    receipt = await apprise_at(urls(service.port)["json"]).send(a_message(), {})
    assert receipt == Unknown("the connection broke before the answer")


async def test_a_hanging_service_is_an_unknown_end_in_time(service: Service) -> None:
    service.hold = threading.Event()
    begun = time.monotonic()
    receipt = await apprise_at(urls(service.port)["json"], timeout="300ms").send(a_message(), {})
    assert isinstance(receipt, Unknown)
    assert time.monotonic() - begun < 2


async def test_a_hanging_service_takes_its_own_threads_and_nobody_elses(service: Service) -> None:
    service.hold = threading.Event()
    # `rto` of the address has no effect, so only a dripping answer holds a thread longer than the time-out.
    hanging = apprise_at(urls(service.port)["json"], timeout="10s")
    sends = [asyncio.create_task(hanging.send(a_message(), {})) for _ in range(Apprise.width)]
    await asyncio.to_thread(service.wait_for, Apprise.width)
    busy = await hanging.send(a_message(), {})
    assert busy == Retry("all threads for this channel are busy with earlier messages")
    hold, service.hold = service.hold, None
    assert isinstance(await apprise_at(urls(service.port)["gotify"]).send(a_message(), {}), Sent)
    hold.set()
    assert all(isinstance(receipt, Sent) for receipt in await asyncio.gather(*sends))
    assert isinstance(await hanging.send(a_message(), {}), Sent)


async def test_a_send_can_be_cancelled(service: Service) -> None:
    service.hold = threading.Event()
    sending = asyncio.create_task(apprise_at(urls(service.port)["json"]).send(a_message(), {}))
    await asyncio.to_thread(service.wait_for, 1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_parallel_sends_never_mix_their_statuses(service: Service) -> None:
    class ByPath(Service):
        def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
            Service(status=int(request.path.strip("/"))).answer(request)

    service.answer = ByPath().answer  # type: ignore[method-assign]
    wanted = [200, 404, 500, 429] * 6
    channels = [apprise_at(f"json://127.0.0.1:{service.port}/{status}") for status in wanted]
    receipts = await asyncio.gather(*(channel.send(a_message(), {}) for channel in channels))
    got = [200 if isinstance(r, Sent) else int(r.reason.split()[1].rstrip(":")) for r in receipts]
    assert got == wanted


# --- mail, which speaks no HTTP -----------------------------------------------------------------------


class Postman:
    def __init__(self, rcpt: str = "250 OK", data: str = "250 OK") -> None:
        self.rcpt, self.data = rcpt, data

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        return self.data


@asynccontextmanager
async def post_office(postman: Postman) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(postman, hostname="127.0.0.1", port=port)
    await asyncio.to_thread(controller.start)
    try:
        yield f"mailto://127.0.0.1:{port}?from=a@example.com&to=b@example.com"
    finally:
        await asyncio.to_thread(controller.stop)


@pytest.mark.parametrize(
    ("postman", "receipt"),
    [
        (Postman(), Sent()),
        (Postman(rcpt="550 5.1.1 no such person"), Rejected("SMTP 550")),
        (Postman(rcpt="450 4.2.1 later"), Retry("SMTP 450")),
        (Postman(data="552 5.3.4 too big"), Rejected("SMTP 552")),
        (Postman(data="451 4.3.0 later"), Retry("SMTP 451")),
    ],
)
async def test_a_mail_servers_first_digit_decides(postman: Postman, receipt: Receipt) -> None:
    async with post_office(postman) as url:
        assert await apprise_at(url).send(a_message(), {}) == receipt


async def test_a_mail_server_that_is_not_there_is_tried_again() -> None:
    receipt = await apprise_at("mailto://127.0.0.1:1?from=a@example.com&to=b@example.com").send(a_message(), {})
    assert receipt == Retry("could not connect")


# --- the verdict --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "lines", "receipt"),
    [
        ([200], ['Response Details:\r\nb\'{"ok":false,"error":"no_text"}\''], Rejected("HTTP 200: no_text")),
        ([200], ['Response Details:\r\nb\'{"ok":false,"error":"ratelimited"}\''], Retry("HTTP 200: ratelimited")),
        ([200], ["Response Details:\r\nb'{\"errcode\": 40014}'"], Rejected("HTTP 200: 40014")),
        ([200], ["Response Details:\r\nb'{\"code\": 503}'"], Retry("HTTP 200: 503")),
        ([200], ["Response Details:\r\nb'no'"], Retry("HTTP 200, but the service did not take it")),
        ([200], ["JSON Payload: {'error': 'channel_not_found'}"], Retry("HTTP 200, but the service did not take it")),
        ([403, 200], [], Rejected("HTTP 403")),
        ([], [], Retry("it failed without saying why")),
        ([], ["SMTP recipient b@example.com was refused: 550 b'no'"], Rejected("SMTP 550")),
        ([], ["Socket Exception: (421, b'4.3.2 closing')"], Retry("SMTP 421")),
        ([], ["Mattermost Payload: Socket Exception: (550, b'x')"], Retry("it failed without saying why")),
        ([200], ["Socket Exception: HTTPConnectionPool(): Read timed out."], Unknown(BROKE)),
        ([], ["Socket Exception: (Caused by SSLError(CertificateError))"], Retry("could not connect")),
        ([], ["Socket Exception: timed out"], Unknown(BROKE)),
    ],
)
def test_a_failure_is_judged_by_what_it_left_behind(statuses: list[int], lines: list[str], receipt: Receipt) -> None:
    assert verdict(delivered=False, statuses=statuses, lines=lines) == receipt


@pytest.mark.parametrize(
    ("statuses", "receipt"),
    [
        ([], Sent()),
        ([200], Sent()),
        ([200, 404], Sent()),
        ([302], Rejected("HTTP 302: redirects are not followed")),
    ],
)
def test_a_success_is_believed_but_for_a_redirect(statuses: list[int], receipt: Receipt) -> None:
    lines = ["Socket Exception: Read timed out", "Socket Exception: Connection refused"]
    assert verdict(delivered=True, statuses=statuses, lines=lines) == receipt


# --- listening ----------------------------------------------------------------------------------------


def test_urllib3_still_logs_the_status_where_we_listen(service: Service) -> None:
    """Fails when urllib3 changes that line: then `_apprise_listening` must learn the new one."""
    hush()
    with overheard() as statuses:
        for service.status in (200, 404, 503):
            requests.post(f"http://127.0.0.1:{service.port}/", timeout=5)
    assert statuses == [200, 404, 503], f"urllib3 no longer logs {ANSWERED!r}"


def test_nothing_is_heard_outside_and_nothing_printed(service: Service, logged: Callable[[], str], capfd: Any) -> None:
    hush()
    pool = logging.getLogger("urllib3.connectionpool")
    with overheard() as statuses:
        pool.debug("another line with %s", SECRET)
        pool.warning(ANSWERED, "http", "host", 80, "POST", SECRET, "HTTP/1.1", "no number", 2)
        logging.getLogger("apprise").error("it has %s", SECRET)
    pool.debug(ANSWERED, "http", "host", 80, "POST", SECRET, "HTTP/1.1", 200, 2)
    assert statuses == []
    assert SECRET not in logged() + "".join(capfd.readouterr())


def test_hushing_twice_is_hushing_once() -> None:
    hush()
    before = len(logging.getLogger("urllib3.connectionpool").filters)
    hush()
    assert len(logging.getLogger("urllib3.connectionpool").filters) == before


def test_apprise_is_not_loaded_until_a_channel_needs_it() -> None:
    code = "import gateway.channels.apprise, sys; assert not {'apprise', 'requests', 'urllib3'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- threads ------------------------------------------------------------------------------------------


async def test_work_that_breaks_breaks_the_one_who_waits() -> None:
    def breaks() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await Crew[None](1).run(breaks, 5)


async def test_late_work_holds_its_thread_until_it_ends() -> None:
    go, crew = threading.Event(), Crew[bool](1)
    assert await crew.run(lambda: go.wait(5), 0.02) is Fate.LATE
    assert await crew.run(lambda: True, 5) is Fate.BUSY
    go.set()
    await asyncio.to_thread(no_threads)
    assert await crew.run(lambda: True, 5) is True


async def test_all_channels_together_have_so_many_threads() -> None:
    go = threading.Event()
    crews = [Crew[bool](1) for _ in range(_apprise_crew.MOST_THREADS)]
    works = [asyncio.create_task(crew.run(lambda: go.wait(10), 10)) for crew in crews]
    await asyncio.sleep(0)
    assert await Crew[bool](1).run(lambda: True, 5) is Fate.BUSY
    go.set()
    assert all(await asyncio.gather(*works))


def test_work_that_outlives_its_loop_ends_quietly() -> None:
    go, crew = threading.Event(), Crew[None](1)

    def work() -> None:
        go.wait(5)

    assert asyncio.run(crew.run(work, 0.02)) is Fate.LATE
    go.set()
    no_threads()


# --- words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "tone"),
    [
        (a_message(), "failure"),
        (a_message(severity=Severity.WARNING), "warning"),
        (a_message(severity=Severity.INFO), "info"),
        (a_change(state="resolved"), "success"),
    ],
)
async def test_title_body_and_tone_are_told(service: Service, message: Message, tone: str) -> None:
    await apprise_at(urls(service.port)["json"]).send(message, {})
    document = json.loads(service.heard[0][1])
    assert document["title"] == message.title
    assert document["message"].splitlines() == [
        *(f"{label}: {value}" for label, value in message.facts),
        message.body,
        message.url,
    ]
    assert document["type"] == tone


async def test_a_message_of_one_line_is_its_own_body(service: Service) -> None:
    await apprise_at(urls(service.port)["json"]).send(a_message(facts=(), body="", url=""), {})
    assert json.loads(service.heard[0][1])["message"] == "[CRITICAL] shop is down"


async def test_the_channels_own_template_is_used_as_it_is(service: Service) -> None:
    message = a_message(custom_title="*@here*", custom_body="<b>[x](https://x.example)</b>", footer="@all")
    await apprise_at(urls(service.port)["json"]).send(message, {})
    document = json.loads(service.heard[0][1])
    assert document["title"] == "*@here*"
    assert document["message"] == "<b>[x](https://x.example)</b>\n@\u200ball"


async def test_what_is_too_long_is_cut_into_one_message(service: Service) -> None:
    await apprise_at(urls(service.port)["mattermost"]).send(a_message(body="x" * 50_000), {})
    assert len(service.heard) == 1
    assert len(json.loads(service.heard[0][1])["text"]) <= 4_000


async def test_the_message_names_us_and_links_no_picture(service: Service) -> None:
    await apprise_at(urls(service.port)["mattermost"]).send(a_message(), {})
    assert "Tocsin" in service.words
    assert "apprise" not in service.words.lower()
    assert "github" not in service.words


@pytest.mark.parametrize("kind", KINDS)
async def test_a_strangers_text_mentions_nobody(service: Service, kind: str) -> None:
    url = "https://x.example/@here?[Your-bank](https://evil.example)<!channel><https://evil.example|bank>"
    message = a_message(title=HOSTILE, body=HOSTILE, facts=((HOSTILE, HOSTILE),), footer=HOSTILE, url=url)
    await apprise_at(urls(service.port)[kind]).send(message, {})
    harmful = (
        "<!channel>",
        "<@U1>",
        "<#C1>",
        "@here",
        "@channel",
        "@everyone",
        "<https://evil.example|",
        "](https://evil",
    )
    assert [word for word in harmful if word in service.words] == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mail ops@example.com", "mail ops@example.com"),
        ("x@everyone", "x@\u200beveryone"),
        ("@kim", "@\u200bkim"),
        ("<@&42>", "<\u200b@&42>"),
        ("a < b | c > d", "a < b | c > d"),
        ("<mailto:a@b.c>", "<\u200bmailto:a@b.c>"),
        ("@HERE", "@\u200bHERE"),
    ],
)
def test_only_what_calls_somebody_is_broken(text: str, wanted: str) -> None:
    assert neutral(text) == wanted


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://status.example/a?b=1&c=%40#d", "https://status.example/a?b=1&c=%40#d"),
        ("https://x.example/@here?[a](b)<c|d>", "https://x.example/%40here?%5Ba%5D%28b%29%3Cc%7Cd%3E"),
        ("https://x@here/", "https://x%40here/"),
        ("http://[2001:db8::1]:8080/[a]", "http://[2001:db8::1]:8080/%5Ba%5D"),
        ("https://[Your-bank](https://evil.example)", "https://%5BYour-bank%5D%28https://evil.example%29"),
        ("http://[::1](https://evil.example)", "http://[::1]%28https://evil.example%29"),
        ("", ""),
    ],
)
def test_an_address_calls_nobody_and_still_leads_there(url: str, wanted: str) -> None:
    assert plain_address(url) == wanted


@given(st.text("@<>!#|[]()ehrlnvyo U1:/x ", max_size=60))
def test_breaking_twice_is_breaking_once(text: str) -> None:
    once = neutral(text)
    assert neutral(once) == once
    assert once.replace("\u200b", "") == text
    assert not any(word in once.lower() for word in ("<!", "<@", "<#", "@here", "@everyone", "]("))


# --- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "no address of a service"),
        (f"nosuch://{SECRET}", "nosuch:// is no service of Apprise's"),
        (f"slack://{SECRET}", "slack:// does not accept it"),
        ("json://", "json:// does not accept it"),
        ("syslog://", "syslog:// speaks to this machine only"),
        ("dbus://", "dbus:// needs a package or a system that this machine does not have"),
        (f"json://a.example/{SECRET}, json://b.example/", "names several targets"),
        (f"json://a.example/{SECRET} ntfy://b", "names several targets"),
        (f"twilio://AC{'a' * 32}:{'b' * 32}@12025550100/12025550101/12025550102", "names several targets"),
        (f"JSON://u:{SECRET}@", "json:// does not accept it"),
    ],
)
def test_a_wrong_address_is_told_by_its_scheme_alone(
    url: str, words: str, logged: Callable[[], str], capfd: Any
) -> None:
    with pytest.raises(ValidationError) as caught:
        apprise_at(url)
    assert words in str(caught.value)
    assert SECRET not in "\n".join(
        [str(caught.value), repr(caught.value.errors(include_input=False)), logged(), *capfd.readouterr()]
    )


def test_a_vendors_own_address_serves_as_well() -> None:
    apprise_at(f"https://discord.com/api/webhooks/{'4' * 18}/{'t' * 68}")


def test_unknown_keys_are_errors() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        apprise_at("json://127.0.0.1", nonsense="1")


def test_the_gentle_facts() -> None:
    channel = apprise_at("json://127.0.0.1")
    assert (channel.edits, channel.width, channel.unknown_again) == (False, 4, None)
    assert [str(rate) for rate in channel.paces] == ["1/s"]
    assert channel.escape("@here") == "@\u200bhere"
    assert SECRET not in repr(Settings.model_validate({"kind": "apprise", "url": f"json://127.0.0.1/{SECRET}"}))
