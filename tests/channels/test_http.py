"""One HTTP call: what its answer means, and that nothing an answer does can hurt or hang."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest

from gateway.channels._http import LONGEST_WAIT, MOST_OF_AN_ANSWER, Answer, Wire, judge, retry_after
from gateway.model import Receipt, Rejected, Retry, Sent, Unknown
from tests.fakes.smtp import CERTIFICATE

NOON = "Fri, 20 Nov 2026 12:00:00 GMT"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def vendor(talk: Talk) -> AsyncIterator[str]:
    """A server that reads one request and then talks as it is told."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            talking = asyncio.ensure_future(talk(reader, writer))
            # Whoever hangs up ends the talk, so that no test leaves one behind.
            hung_up = asyncio.ensure_future(_hung_up(reader))
            await asyncio.wait((talking, hung_up), return_when=asyncio.FIRST_COMPLETED)
            talking.cancel()
            hung_up.cancel()
            await asyncio.gather(talking, hung_up, return_exceptions=True)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.ensure_future(answer(reader, writer)))

    talks: list[asyncio.Future[None]] = []
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*talks)


async def _hung_up(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65_536):
            pass


def says(raw: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return talk


async def ask(talk: Talk, *, within: int = 5_000) -> Answer | Receipt:
    async with vendor(talk) as address:
        wire = Wire(timeout=within, width=1)
        try:
            return await wire.call("POST", address, json={"a": 1})
        finally:
            await wire.close()


class TestWire:
    async def test_an_answer_is_whole(self) -> None:
        answer = await ask(says(b'HTTP/1.1 201 Created\r\nX-Word: Yes\r\nContent-Length: 12\r\n\r\n{"ok": true}'))
        assert isinstance(answer, Answer)
        assert (answer.status, answer.headers["x-word"], answer.json) == (201, "Yes", {"ok": True})

    async def test_nobody_there_means_that_nothing_was_sent(self) -> None:
        async with vendor(says(b"")) as address:
            pass
        wire = Wire(timeout=5_000, width=1)
        receipt = await wire.call("POST", address, json={})
        await wire.close()
        assert receipt == Retry("could not connect (ConnectError)")

    async def test_silence_means_that_it_may_have_been_said(self) -> None:
        async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(5)

        receipt = await ask(silence, within=100)
        assert isinstance(receipt, Unknown)

    async def test_a_connection_closed_without_a_word_means_the_same(self) -> None:
        assert isinstance(await ask(says(b"")), Unknown)

    async def test_an_answer_that_breaks_off_means_the_same(self) -> None:
        assert isinstance(await ask(says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")), Unknown)

    async def test_an_answer_that_is_no_http_means_the_same(self) -> None:
        assert isinstance(await ask(says(b"SSH-2.0-OpenSSH_9.6\r\n")), Unknown)

    async def test_an_answer_that_cannot_be_unpacked_means_the_same(self) -> None:
        raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nrats"
        assert isinstance(await ask(says(raw)), Unknown)

    async def test_a_dripping_answer_has_one_deadline(self) -> None:
        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(1_000):
                writer.write(b".")
                await writer.drain()
                await asyncio.sleep(0.05)

        started = time.monotonic()
        assert await ask(drip, within=300) == Unknown("no whole answer within 0.3 s")
        assert time.monotonic() - started < 3

    async def test_no_more_than_64_kib_are_read(self) -> None:
        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            while True:  # endless: only who stops reading gets an answer
                writer.write(b"x" * 65_536)
                await writer.drain()

        answer = await ask(flood)
        assert isinstance(answer, Answer)
        assert len(answer.body) == MOST_OF_AN_ANSWER

    async def test_a_packed_flood_is_cut_as_well(self) -> None:
        packed = gzip.compress(b"x" * 1_000_000)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
        answer = await ask(says(head + packed))
        assert isinstance(answer, Answer)
        assert len(answer.body) == MOST_OF_AN_ANSWER

    async def test_a_redirect_is_shown_not_followed(self) -> None:
        asked = []

        async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append("elsewhere")

        async with vendor(elsewhere) as other:
            answer = await ask(says(f"HTTP/1.1 302 Found\r\nLocation: {other}\r\nContent-Length: 0\r\n\r\n".encode()))
        assert isinstance(answer, Answer)
        assert answer.status == 302
        assert asked == []

    async def test_no_cookie_is_kept(self) -> None:
        asked: list[httpx2.Request] = []

        def answer(request: httpx2.Request) -> httpx2.Response:
            asked.append(request)
            return httpx2.Response(200, headers={"set-cookie": f"c{len(asked)}=1; Path=/"})

        wire = Wire(timeout=1_000, width=1, transport=httpx2.MockTransport(answer))
        for _ in range(2):
            assert isinstance(await wire.call("POST", "https://vendor.example/"), Answer)
        await wire.close()
        assert "cookie" not in asked[-1].headers

    async def test_a_certificate_that_nobody_vouches_for_ends_the_call_before_a_word_is_said(self) -> None:
        heard: list[bytes] = []

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read(1))
            writer.close()

        unknown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        unknown.load_cert_chain(CERTIFICATE)
        async with await asyncio.start_server(listen, "127.0.0.1", 0, ssl=unknown) as server:
            wire = Wire(timeout=5_000, width=1, headers={"authorization": "Bearer secret"})
            receipt = await wire.call("POST", f"https://localhost:{server.sockets[0].getsockname()[1]}/", json={})
            await wire.close()
        assert receipt == Retry("could not connect (ConnectError)")
        assert b"".join(heard) == b""

    async def test_no_proxy_is_taken_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        answer = await ask(says(b"HTTP/1.1 204 No Content\r\n\r\n"))
        assert isinstance(answer, Answer)

    @pytest.mark.parametrize("address", ["http://", "ftp://a.example/x", "http://[::1"])
    async def test_an_unusable_address_is_rejected_and_not_shown(self, address: str) -> None:
        wire = Wire(timeout=1_000, width=1)
        receipt = await wire.call("POST", address + "?s3cr3t")
        await wire.close()
        assert isinstance(receipt, Rejected)
        assert "s3cr3t" not in receipt.reason

    async def test_half_a_character_in_what_we_send_is_rejected(self) -> None:
        wire = Wire(timeout=1_000, width=1, transport=httpx2.MockTransport(lambda request: httpx2.Response(200)))
        receipt = await wire.call("POST", "https://vendor.example/", json={"channel": "\ud800"})
        assert isinstance(receipt, Rejected)
        await wire.close()

    async def test_a_full_pool_means_that_nothing_was_sent(self) -> None:
        async def full(request: httpx2.Request) -> httpx2.Response:
            raise httpx2.PoolTimeout("full", request=request)

        wire = Wire(timeout=1_000, width=1, transport=httpx2.MockTransport(full))
        assert await wire.call("GET", "http://a.example") == Retry("could not connect (PoolTimeout)")
        await wire.close()

    async def test_it_names_itself_and_carries_its_own_headers_and_credential(self) -> None:
        seen: list[httpx2.Request] = []

        async def look(request: httpx2.Request) -> httpx2.Response:
            seen.append(request)
            return httpx2.Response(200)

        wire = Wire(
            timeout=1_000, width=1, transport=httpx2.MockTransport(look), headers={"x-a": "1"}, auth=("user", "word")
        )
        await wire.call("POST", "http://a.example", form={"to": ["1", "2"]}, headers={"x-b": "2"})
        await wire.call("POST", "http://a.example", content=b"raw")
        await wire.close()
        first, second = seen
        assert (first.headers["user-agent"], first.headers["x-a"], first.headers["x-b"]) == ("Tocsin", "1", "2")
        assert first.headers["authorization"] == "Basic dXNlcjp3b3Jk"
        assert (first.content, second.content) == (b"to=1&to=2", b"raw")

    async def test_it_can_be_closed_unused_twice_and_used_again(self) -> None:
        wire = Wire(timeout=1_000, width=1, transport=httpx2.MockTransport(lambda request: httpx2.Response(200)))
        await wire.close()
        assert isinstance(await wire.call("GET", "http://a.example"), Answer)
        await wire.close()
        await wire.close()
        assert isinstance(await wire.call("GET", "http://a.example"), Answer)
        await wire.close()

    async def test_a_cancelled_call_is_cancelled(self) -> None:
        async def never(request: httpx2.Request) -> httpx2.Response:
            await asyncio.Event().wait()
            raise AssertionError

        wire = Wire(timeout=60_000, width=1, transport=httpx2.MockTransport(never))
        calling = asyncio.create_task(wire.call("GET", "http://a.example"))
        await asyncio.sleep(0.05)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await wire.close()


class TestAnswer:
    @pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe\x00{]", b"{", b"1" * 5_000])
    def test_what_is_no_json_is_none(self, body: bytes) -> None:
        assert Answer(200, {}, body).json is None

    @pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' * 10_000])
    def test_what_is_nested_too_deep_is_none(self, body: bytes) -> None:
        assert Answer(200, {}, body).json is None

    @pytest.mark.parametrize("body", [b'{"\\ud800a": ["\\udc00"]}', b'{"\xed\xa0\x80a": ["\xed\xb0\x80"]}'])
    def test_half_a_surrogate_pair_is_replaced(self, body: bytes) -> None:
        assert Answer(200, {}, body).json == {"?a": ["?"]}

    def test_a_whole_pair_stays(self) -> None:
        assert Answer(200, {}, b'"\\ud83d\\udd34"').json == "\U0001f534"

    def test_its_text_is_readable_whatever_the_bytes(self) -> None:
        assert Answer(200, {}, b"caf\xe9").text == "caf\ufffd"


class TestJudge:
    @pytest.mark.parametrize(
        ("status", "receipt"),
        [
            (200, Sent()),
            (204, Sent()),
            (302, Rejected("HTTP 302: word: redirects are not followed")),
            (400, Rejected("HTTP 400: word")),
            (401, Rejected("HTTP 401: word")),
            (404, Rejected("HTTP 404: word")),
            (408, Retry("HTTP 408: word", 7_000)),
            (410, Rejected("HTTP 410: word")),
            (425, Retry("HTTP 425: word", 7_000)),
            (429, Retry("HTTP 429: word", 7_000)),
            (500, Retry("HTTP 500: word", 7_000)),
            (503, Retry("HTTP 503: word", 7_000)),
            (529, Retry("HTTP 529: word", 7_000)),
        ],
    )
    def test_a_status_is_a_receipt(self, status: int, receipt: Receipt) -> None:
        assert judge(Answer(status, {"retry-after": "7"}, b""), "word") == receipt

    def test_a_long_reason_is_cut(self) -> None:
        receipt = judge(Answer(400, {}, b""), "x" * 10_000)
        assert isinstance(receipt, Rejected)
        assert len(receipt.reason) < 250

    def test_without_a_reason_the_status_stands_alone(self) -> None:
        assert judge(Answer(503, {}, b"")) == Retry("HTTP 503")


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("header", "wait"),
        [
            ("7", 7_000),
            (" 7 ", 7_000),
            ("0", 0),
            ("1.5", 1_500),
            ("3600", LONGEST_WAIT),
            ("86400", LONGEST_WAIT),
            ("Fri, 20 Nov 2026 12:00:07 GMT", 7_000),
            ("Friday, 20-Nov-26 12:00:07 GMT", 7_000),
            ("Fri Nov 20 12:00:07 2026", 7_000),
            ("Sat, 20 Nov 2027 12:00:00 GMT", LONGEST_WAIT),
            (NOON, 0),
            ("Fri, 20 Nov 2026 11:59:59 GMT", None),
            ("", None),
            ("soon", None),
            ("-1", None),
            ("nan", None),
            ("inf", None),
            ("1e400", None),
            ("7, 8", None),
            ("Fri, 99 Nov 2026 12:00:07 GMT", None),
            ("Fri, 20 Nov 2026 25:61:07 +99999", None),
        ],
    )
    def test_the_vendors_wish_is_read(self, header: str, wait: int | None) -> None:
        assert retry_after({"retry-after": header, "date": NOON}) == wait

    def test_a_vendor_that_says_nothing_wishes_nothing(self) -> None:
        assert retry_after({}) is None

    @pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}, {"date": ""}])
    def test_a_date_that_cannot_be_compared_is_no_wish(self, headers: dict[str, str]) -> None:
        assert retry_after({"retry-after": NOON, **headers}) is None

    def test_a_date_is_compared_with_our_clock_where_one_is_given(self) -> None:
        assert retry_after({"retry-after": NOON}, now=1_795_176_000 - 30) == 30_000
