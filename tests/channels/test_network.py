"""The wires themselves: what goes over them, whose connection is used again, and which breakage means what."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from gateway.channels._http import Answer, Wire
from gateway.channels._network import LONGEST_HEADER, UnusableError, place
from gateway.model import Rejected, Retry, Unknown
from tests.fakes.smtp import CERTIFICATE

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Wiretap:
    """A server that keeps what it was told, byte by byte, and says `answer` to each request."""

    answer: bytes = OK
    answers: int = 1_000
    """Requests that a connection answers before it is closed without a word."""
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        async with listening(self._serve, tls) as address:
            yield address

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for _ in range(self.answers):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lengths = [int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")]
            self.heads.append(head)
            self.bodies.append(await reader.readexactly(sum(lengths)))
            writer.write(self.answer)
            await writer.drain()
        await reader.readuntil(b"\r\n\r\n")


@asynccontextmanager
async def wire(**settings: object) -> AsyncIterator[Wire]:
    made = Wire(**{"timeout": 5_000, "width": 1, **settings})  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


def names(head: str) -> list[str]:
    return sorted(line.partition(":")[0].lower() for line in head.strip().split("\r\n")[1:])


class TestWhatGoesOut:
    async def test_a_request_is_what_was_asked_for_and_no_more(self) -> None:
        tap = Wiretap()
        async with tap.listening() as address, wire(headers={"authorization": "Bearer s"}) as ours:
            answer = await ours.call("POST", f"{address}/a%7Eb/한?q=%2d", json={"제목": "é"}, headers={"x-b": "2"})
        assert answer == Answer(200, {"content-length": "2"}, b"ok")
        (head,) = tap.heads
        assert head.startswith("POST /a%7Eb/%ED%95%9C?q=%2d HTTP/1.1\r\n")
        assert "user-agent: Tocsin\r\n" in head.lower().replace("tocsin", "Tocsin")
        assert names(head) == [
            *("accept", "accept-encoding", "authorization", "content-length", "content-type", "host"),
            *("user-agent", "x-b"),
        ]
        assert tap.bodies == ['{"제목":"é"}'.encode()]

    async def test_a_form_names_a_key_once_for_each_of_its_values(self) -> None:
        tap = Wiretap()
        async with tap.listening() as address, wire() as ours:
            await ours.call("POST", address, form={"to": ["+1", "2"], "text": "a b"})
        assert tap.bodies == [b"to=%2B1&to=2&text=a+b"]
        assert "content-type: application/x-www-form-urlencoded" in tap.heads[0].lower()

    async def test_bytes_have_no_type_that_nobody_gave_them(self) -> None:
        tap = Wiretap()
        async with tap.listening() as address, wire() as ours:
            await ours.call("PUT", address, content=b"raw")
            await ours.call("POST", address)
        assert tap.bodies == [b"raw", b""]
        assert "content-type" not in names(tap.heads[0])

    @pytest.mark.parametrize("auth", [None, ("own", "word")])
    async def test_who_logs_in_by_the_address_does_not_show_it_there(self, auth: tuple[str, str] | None) -> None:
        tap = Wiretap()
        async with tap.listening() as address, wire(auth=auth) as ours:
            await ours.call("GET", address.replace("http://", "http://k%40im:p%3Aw@"))
        known = base64.b64encode(b"own:word" if auth else b"k@im:p:w").decode()
        assert f"authorization: basic {known.lower()}" in tap.heads[0].lower()
        assert "p%3Aw" not in tap.heads[0]

    @pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "한글", "\x00", "\x7f", "\ud800"])
    async def test_a_header_that_is_none_is_rejected_before_anybody_is_asked(self, value: str) -> None:
        tap = Wiretap()
        async with tap.listening() as address, wire() as ours:
            receipt = await ours.call("POST", address, headers={"x-a": value})
        assert isinstance(receipt, Rejected)
        assert value not in receipt.reason
        assert tap.connections == 0


class TestConnections:
    async def test_a_connection_is_used_again(self) -> None:
        tap = Wiretap()
        async with tap.listening() as address, wire() as ours:
            for _ in range(5):
                assert isinstance(await ours.call("POST", address, json={}), Answer)
        assert (tap.connections, len(tap.heads)) == (1, 5)

    async def test_there_are_no_more_than_the_channel_is_wide(self) -> None:
        tap = Wiretap()
        async with tap.listening() as address, wire(width=3) as ours:
            await asyncio.gather(*(ours.call("POST", address, json={}) for _ in range(30)))
        assert (tap.connections, len(tap.heads)) == (3, 30)

    async def test_an_answer_that_was_cut_takes_its_connection_with_it(self) -> None:
        tap = Wiretap(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 100_000)
        async with tap.listening() as address, wire(most=10) as ours:
            first = await ours.call("POST", address, json={})
            second = await ours.call("POST", address, json={})
        assert first == second == Answer(200, {"content-length": "9000000"}, b"x" * 10)
        assert tap.connections == 2

    async def test_a_connection_that_ends_under_a_request_leaves_it_unknown_and_it_is_not_sent_again(self) -> None:
        tap = Wiretap(answers=1)
        async with tap.listening() as address, wire() as ours:
            assert isinstance(await ours.call("POST", address, json={}), Answer)
            assert isinstance(await ours.call("POST", address, json={}), Unknown)
            assert isinstance(await ours.call("POST", address, json={}), Answer)
        assert (tap.connections, len(tap.heads)) == (2, 2)

    async def test_a_full_pool_means_that_nothing_was_sent(self) -> None:
        async with listening(silent) as address, wire(timeout=2_000) as ours:
            receipts = await asyncio.gather(*(ours.call("POST", address, json={}) for _ in range(2)))
        assert receipts == [Unknown("no whole answer within 2 s"), Retry("could not connect (ConnectTimeout)")]

    async def test_a_closed_wire_leaves_nothing_open(self) -> None:
        ended = asyncio.Event()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await reader.read()
            ended.set()

        async with listening(wait) as address:
            async with wire() as ours:
                assert isinstance(await ours.call("GET", address), Answer)
                assert not ended.is_set()
            await asyncio.wait_for(ended.wait(), 5)


class TestBreakage:
    async def test_a_name_that_nobody_has_means_that_nothing_was_sent(self) -> None:
        async with wire() as ours:
            assert await ours.call("POST", "http://nobody.invalid/") == Retry("could not connect (ConnectError)")

    async def test_a_handshake_that_does_not_end_means_that_nothing_was_sent(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.channels._network.CONNECT_SECONDS", 0.2)
        async with listening(silent) as address, wire() as ours:
            receipt = await ours.call("POST", address.replace("http:", "https:"), json={})
        assert receipt == Retry("could not connect (ConnectTimeout)")

    async def test_no_tls_where_tls_was_asked_for_means_that_nothing_was_sent(self) -> None:
        async with listening(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address, wire() as ours:
            receipt = await ours.call("POST", address.replace("http:", "https:"), json={})
        assert receipt == Retry("could not connect (ConnectError)")

    async def test_a_certificate_of_another_name_is_none(self) -> None:
        theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        theirs.load_cert_chain(CERTIFICATE)
        tap = Wiretap()
        async with tap.listening(theirs) as address, wire() as ours:
            assert await ours.call("POST", address, json={}) == Retry("could not connect (ConnectError)")
        assert tap.heads == []

    async def test_a_reset_after_the_request_means_that_it_may_have_been_heard(self) -> None:
        async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()

        async with listening(reset) as address, wire() as ours:
            assert isinstance(await ours.call("POST", address, json={}), Unknown)

    @pytest.mark.parametrize(
        "raw",
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * (LONGEST_HEADER * 2) + b"\r\n\r\n",
            b"\x00\x01\x02\x03\r\n\r\n",
        ],
        ids=["no chunk", "two lengths", "less than nothing", "an endless header", "no text"],
    )
    async def test_an_answer_that_is_none_means_the_same(self, raw: bytes) -> None:
        async with listening(says(raw)) as address, wire() as ours:
            assert isinstance(await ours.call("POST", address, json={}), Unknown)

    async def test_a_header_that_stands_twice_is_joined(self) -> None:
        raw = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"
        async with listening(says(raw)) as address, wire() as ours:
            answer = await ours.call("GET", address)
        assert isinstance(answer, Answer)
        assert answer.headers == {"x-a": "1, 2", "content-length": "0"}


class TestPlace:
    @pytest.mark.parametrize(
        ("address", "asked"),
        [
            ("http://a.example", "http://a.example"),
            ("http://a.example/hook/", "http://a.example/hook/"),
            ("https://한글.example:8443/x", "https://xn--bj0bj06e.example:8443/x"),
            ("http://[::1]:81/x#part", "http://[::1]:81/x"),
            ("http://a.example/%2F%2f?a=b&a=c%20d", "http://a.example/%2F%2f?a=b&a=c%20d"),
        ],
    )
    def test_an_address_is_asked_for_as_it_was_written(self, address: str, asked: str) -> None:
        found = place(address)
        assert (str(found.url), found.login) == (asked, None)

    @pytest.mark.parametrize("address", ["", "a.example", "ftp://a.example/", "http://", "http:///x", "http://[::1"])
    def test_what_is_none_is_refused_without_being_shown(self, address: str) -> None:
        with pytest.raises(UnusableError, match=r"^\w+$"):
            place(address)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that talks to each connection as it is told, and ends when all of them have."""
    talks: list[asyncio.Future[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.ensure_future(whole(reader, writer)))

    async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls) as server:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.wait_for(asyncio.gather(*talks), 5)


def says(raw: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(raw)
        await writer.drain()

    return talk


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65_536):
        pass
