"""HTTP over real sockets: slow senders, endless headers, too many connections, requests in one packet, and those
that could be read in two ways."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvicorn

from gateway.telemetry import REGISTRY
from gateway.web.protocol import GatewayProtocol
from tests.house import TOKEN, Running, program, running, until

PATIENCE = 0.4


def hurried(**figures: Any) -> type[GatewayProtocol]:
    """The protocol with less patience, and connections counted by themselves."""

    class Hurried(GatewayProtocol):
        # Whatever a gateway served by another test has set: these figures are this test's own.
        most: ClassVar[int] = 512
        most_an_address: ClassVar[int] = 64
        exempt: ClassVar[Callable[[str], bool]] = staticmethod(lambda _address: False)
        receipt_seconds: ClassVar[float] = PATIENCE
        _living: ClassVar[set[GatewayProtocol]] = set()
        _by_address: ClassVar[Counter[str]] = Counter()

    for name, value in figures.items():
        setattr(Hurried, name, value)
    return Hurried


@asynccontextmanager
async def listening(house: Running, protocol: type[GatewayProtocol], **more: Any) -> AsyncIterator[int]:
    """The gateway on a free port of 127.0.0.1, as `serve` sets it up."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        listener.setblocking(False)
        config = uvicorn.Config(
            house.app,
            http=protocol,
            ws="none",
            lifespan="off",
            access_log=False,
            server_header=False,
            log_config=None,
            **more,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


class Wire:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of the next answer."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
            return int(head[0].split()[1]), headers, body

    async def closed(self, within: float = 5.0) -> bool:
        """Whether the other side hangs up in that time."""
        try:
            async with asyncio.timeout(within):
                while await self.reader.read(65_536):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def request(body: bytes = b'{"title": "x"}', *headers: bytes, path: bytes = b"/webhooks/generic") -> bytes:
    lines = [
        b"POST " + path + b" HTTP/1.1",
        b"host: gateway.example.com",
        b"authorization: Bearer " + TOKEN.encode(),
        b"content-type: application/json",
        *headers,
        b"content-length: %d" % len(body),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
MakePort = Callable[..., Any]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as house:
        yield house


@pytest.fixture
async def port(house: Running) -> AsyncIterator[int]:
    async with listening(house, hurried()) as port:
        yield port


def counted(reason: str) -> float:
    return REGISTRY.get_sample_value("tocsin_requests_refused_total", {"reason": reason}) or 0.0


# --- the slow -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"P",
        b"\r\n",
        b"POST /webhooks/generic HTTP/1.1\r\n",
        b"POST /webhooks/generic HTTP/1.1\r\nhost: x\r\nauthorization: Bea",
        request()[:-1],
        request(b"x" * 200_000)[:100_000],
        request().replace(b"content-length: 14", b"transfer-encoding: chunked")[:-14] + b"5\r\n{",
    ],
)
async def test_who_begins_and_says_no_more_is_hung_up_on(house: Running, port: int, begun: bytes) -> None:
    before = counted("too_slow")
    async with connected(port) as wire:
        started = time.monotonic()
        await wire.say(begun)
        assert await wire.closed()
        assert PATIENCE * 0.9 < time.monotonic() - started < PATIENCE + 1
    assert counted("too_slow") == before + 1
    assert await house.events() == []


@pytest.mark.parametrize("whole", [request(), request(b"x" * 60), b"\r\n" * 200, HEALTH])
async def test_who_drips_is_hung_up_on_however_diligently(port: int, whole: bytes) -> None:
    async with connected(port) as wire:
        started = time.monotonic()
        for byte in whole:
            if time.monotonic() - started > PATIENCE + 1 or wire.reader.at_eof():
                break
            try:
                await wire.say(bytes([byte]))
            except ConnectionError:
                break
            await asyncio.sleep(0.03)
        assert await wire.closed(1)
        assert time.monotonic() - started < PATIENCE + 1.5


async def test_half_a_request_behind_a_whole_one_in_one_packet_has_a_deadline_too(port: int) -> None:
    async with connected(port) as wire:
        await wire.say(HEALTH + b"POST /webhooks/generic HTTP/1.1\r\nhost: x\r\n")
        assert (await wire.answer())[0] == 200
        assert await wire.closed(PATIENCE + 1)


async def test_the_second_request_of_a_connection_has_its_own_deadline(port: int) -> None:
    async with connected(port) as wire:
        for _ in range(4):
            await wire.say(request())
            assert (await wire.answer())[0] == 202
            await asyncio.sleep(PATIENCE / 2)
        await wire.say(request()[:-5])
        assert await wire.closed(PATIENCE + 1)


async def test_a_flood_of_slow_clients_leaves_room_for_the_others(house: Running) -> None:
    async with asyncio.timeout(20), listening(house, hurried(most_an_address=512)) as port:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(150)]
        for _, writer in slow:
            writer.write(b"POST /webhooks/generic HTTP/1.1\r\nhost: x\r\n")
        async with connected(port) as wire:
            started = time.monotonic()
            await wire.say(HEALTH)
            assert (await wire.answer())[0] == 200
            assert time.monotonic() - started < 0.1
        for reader, writer in slow:
            await reader.read()
            writer.close()


# --- the long -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"x-long: " + b"a" * 33_000,
        b"\r\n".join(b"x-header-number-%d: value" % n for n in range(5_000)),
        b"\r\n".join(b"a: b" for _ in range(5_000)),
        b"\r\n".join(b"a: " + b"b" * 1_000 for _ in range(40)),
    ],
)
async def test_a_header_over_32_kib_or_of_thousands_of_lines_is_431(house: Running, port: int, head: bytes) -> None:
    before = counted("long_header")
    async with connected(port) as wire:
        await wire.say(request(b'{"title": "x"}', head))
        status, headers, body = await wire.answer()
        assert status == 431
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["type"] == "urn:tocsin:problem:long_header"
        assert await wire.closed()
    assert counted("long_header") == before + 1
    assert await house.events() == []


@pytest.mark.parametrize("start", [b"GET /", b"POST /webhooks/generic HTTP/1.1\r\nx-long: "])
async def test_a_header_that_never_ends_is_refused_while_it_comes(port: int, start: bytes) -> None:
    async with connected(port) as wire:
        await wire.say(start)
        sent = 0
        try:
            while sent < 8_000_000:
                await wire.say(b"a" * 8_192)
                sent += 8_192
                await asyncio.sleep(0)
                if wire.reader.at_eof():
                    break
        except ConnectionError:
            pass
        assert sent < 8_000_000
        assert await wire.closed()


async def test_a_header_of_31_kib_is_read(port: int) -> None:
    async with connected(port) as wire:
        await wire.say(request(b'{"title": "x"}', b"x-long: " + b"a" * 31 * 1_024))
        assert (await wire.answer())[0] == 202
        await wire.say(request(b'{"title": "' + b"x" * 500_000 + b'"}', b"x-long: " + b"a" * 31 * 1_024))
        assert (await wire.answer())[0] == 202


async def test_a_refused_header_behind_a_good_request_runs_nothing(house: Running, port: int) -> None:
    async with connected(port) as wire:
        await wire.say(HEALTH)
        assert (await wire.answer())[0] == 200
        await wire.say(request(b'{"title": "no"}', b"x: " + b"a" * 40_000) + request(b'{"title": "neither"}'))
        assert (await wire.answer())[0] == 431
        assert await wire.closed()
    await asyncio.sleep(0.1)
    assert await house.events() == []


async def test_a_413_is_read_even_by_who_writes_first_and_reads_later(port: int) -> None:
    """Hanging up with bytes unread would reset the connection, and the sender would never learn why."""
    for body in (b"x" * 3_000_000, b"x" * 1_100_000):
        async with connected(port) as wire:
            await wire.say(request(body))
            status, headers, text = await wire.answer()
            assert status == 413
            assert headers["content-type"] == "application/problem+json"
            assert json.loads(text)["status"] == 413
            await wire.say(request())
            assert (await wire.answer())[0] == 202


async def test_a_413_is_told_while_chunks_still_come(port: int) -> None:
    async with connected(port) as wire:
        await wire.say(request().replace(b"content-length: 14", b"transfer-encoding: chunked")[:-14])
        for _ in range(40):
            await wire.say(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        assert (await wire.answer())[0] == 413
        await wire.say(b"0\r\n\r\n")
        await wire.say(request())
        assert (await wire.answer())[0] == 202


# --- the many -----------------------------------------------------------------------------------------


def test_the_figures_are_those_that_are_promised() -> None:
    figures = (GatewayProtocol.most, GatewayProtocol.most_an_address, GatewayProtocol.receipt_seconds)
    assert figures == (512, 64, 10.0)
    assert (GatewayProtocol.most_header_bytes, GatewayProtocol.most_headers) == (32 * 1024, 500)


async def full(port: int) -> bool:
    """Whether the next connection is turned away, with a reason."""
    async with connected(port) as wire:
        await wire.say(HEALTH)
        try:
            status, headers, body = await wire.answer()
        except (ConnectionError, asyncio.IncompleteReadError):
            return True
        if status == 200:
            return False
        assert status == 503
        assert int(headers["retry-after"]) >= 1
        assert json.loads(body)["type"] == "urn:tocsin:problem:too_many_connections"
        assert await wire.closed()
        return True


@pytest.mark.parametrize(
    ("figures", "many"),
    [
        ({"most": 5, "most_an_address": 99}, 5),
        ({"most": 99, "most_an_address": 3}, 3),
        ({"most": 5, "most_an_address": 3, "exempt": staticmethod(lambda address: address == "127.0.0.1")}, 5),
    ],
)
async def test_connections_are_capped_in_all_and_by_address(house: Running, figures: dict[str, Any], many: int) -> None:
    protocol = hurried(receipt_seconds=60.0, **figures)
    async with listening(house, protocol) as port:

        def living(count: int) -> Callable[[], Awaitable[bool]]:
            async def seen() -> bool:
                return len(protocol._living) == count

            return seen

        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(many - 1)]
        await until(living(many - 1))
        assert not await full(port)
        await until(living(many - 1))
        held.append(await asyncio.open_connection("127.0.0.1", port))
        await until(living(many))
        assert await full(port)
        assert await full(port)
        for _, writer in held:
            writer.close()

        async def room() -> bool:
            return not await full(port)

        await until(room)
        await until(living(0))


# --- trailers, and answers that nobody reads -----------------------------------------------------------


CHUNKED = (
    b"POST /webhooks/generic HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    b'transfer-encoding: chunked\r\n\r\ne\r\n{"title": "x"}\r\n0\r\n'
)


async def test_a_credential_in_a_trailer_is_none(port: int) -> None:
    async with connected(port) as wire:
        await wire.say(CHUNKED, b"authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n")
        assert (await wire.answer())[0] == 401


async def test_trailers_without_end_are_refused_and_none_is_kept(port: int) -> None:
    async with connected(port) as wire:
        await wire.say(CHUNKED, b"a: b\r\n" * 8_000)
        assert (await wire.answer())[0] == 431
        assert await wire.closed()


async def test_who_never_reads_our_answers_does_not_keep_his_place(house: Running) -> None:
    protocol = hurried()
    async with listening(house, protocol) as port:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, ("127.0.0.1", port))
            asking = asyncio.create_task(loop.sock_sendall(deaf, HEALTH * 60_000))

            async def gone() -> bool:
                return not protocol._living

            await asyncio.sleep(PATIENCE)
            await until(gone, 30)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


# --- those who say no more ------------------------------------------------------------------------------


async def test_who_asks_no_more_is_hung_up_on_and_that_is_no_refusal(house: Running) -> None:
    before = counted("too_slow")
    async with listening(house, hurried(receipt_seconds=9.0), timeout_keep_alive=0.4) as port, connected(port) as wire:
        for _ in range(4):
            await wire.say(HEALTH)
            assert (await wire.answer())[0] == 200
            await asyncio.sleep(0.25)
        await wire.say(HEALTH[:-9])
        assert not await wire.closed(0.6)  # it has begun: that is another patience
        await wire.say(HEALTH[-9:])
        started = time.monotonic()
        assert await wire.closed(2)
        assert 0.3 < time.monotonic() - started < 1.4
    assert counted("too_slow") == before


async def test_the_shorter_patience_counts_where_both_run(house: Running) -> None:
    """An answer has gone out, and half of the next request came in the packet of the one before."""
    async with listening(house, hurried(receipt_seconds=9.0), timeout_keep_alive=0.3) as port, connected(port) as wire:
        started = time.monotonic()
        await wire.say(HEALTH + HEALTH[:-9])
        assert (await wire.answer())[0] == 200
        assert await wire.closed(2)
        assert time.monotonic() - started < 1.4


# --- the usual ----------------------------------------------------------------------------------------


async def test_a_connection_serves_many_requests_one_after_the_other(house: Running, port: int) -> None:
    async with connected(port) as wire:
        ids = set()
        for number in range(30):
            await wire.say(request(b'{"title": "a%d"}' % number))
            status, _, body = await wire.answer()
            assert status == 202
            ids.add(json.loads(body)["event"])
    assert {event["id"] for event in await house.events()} == ids


async def test_requests_in_one_packet_are_answered_in_order(house: Running, port: int) -> None:
    async with connected(port) as wire:
        await wire.say(*(request(b'{"title": "a%d"}' % n) + HEALTH for n in range(40)))
        answers = [await wire.answer() for _ in range(80)]
    assert [status for status, _, _ in answers] == [202, 200] * 40
    ids = [json.loads(body)["event"] for status, _, body in answers if status == 202]
    await house.decided()
    titles = {event["id"]: event["alerts"][0]["title"] for event in await house.events()}
    assert [titles[id_] for id_ in ids] == [f"a{n}" for n in range(40)]


async def test_large_bodies_in_one_packet_with_the_next_request_are_no_long_header(house: Running, port: int) -> None:
    whole = b"".join(request(b'{"title": "' + b"x" * 50_000 + b'%d"}' % n) for n in range(20))
    async with connected(port) as wire:
        sending = asyncio.create_task(wire.say(whole))
        assert [(await wire.answer())[0] for _ in range(20)] == [202] * 20
        await sending


async def test_chunks_and_expectations_are_understood(house: Running, port: int) -> None:
    async with connected(port) as wire:
        await wire.say(
            request().replace(b"content-length: 14", b"transfer-encoding: chunked")[:-14],
            b'5;name=value\r\n{"tit\r\n9\r\nle": "x"}\r\n0\r\ntrailer: y\r\n\r\n',
        )
        assert (await wire.answer())[0] == 202
        await wire.say(request(b'{"title": "x"}', b"expect: 100-continue")[:-14])
        assert b"100 Continue" in await wire.reader.readuntil(b"\r\n\r\n")
        await wire.say(b'{"title": "x"}')
        assert (await wire.answer())[0] == 202


async def test_a_head_request_gets_a_header_alone(port: int) -> None:
    async with connected(port) as wire:
        await wire.say(b"HEAD /webhooks/generic HTTP/1.1\r\nhost: x\r\n\r\n")
        head = (await wire.reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 405")
        assert "allow: POST" in head
        await wire.say(HEALTH)
        assert (await wire.answer())[2] == b"ok\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"hello\r\n\r\n",
        b"POST /webhooks/generic HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /webhooks/generic HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
        b"POST /webhooks/generic HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
        b"POST /webhooks/generic HTTP/1.1\r\nhost: x\r\ncontent-length: -2\r\n\r\n{}",
        b"POST /webhooks/generic HTTP/1.1\r\nhost: x\r\ncontent-length: \xb2\r\n\r\n{}",
        b"POST /webhooks/generic HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n{}",
        b"POST /webhooks/generic HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
        b"POST /webhooks/generic HTTP/1.1\r\nhost : x\r\n\r\n",
        b"POST /webhooks/generic HTTP/1.1\r\nx\x00y: z\r\n\r\n",
        b"POST /webhooks/generic HTTP/1.1\r\nx: a\x00b\r\n\r\n",
        b"POST /webhooks/generic HTTP/1.1\nhost: x\ncontent-length: 2\n\n{}",
        b"POST http:// HTTP/1.1\r\nhost: x\r\n\r\n",
        b"FROB /webhooks/generic HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_or_could_be_read_in_two_ways_is_refused(house: Running, port: int, raw: bytes) -> None:
    before = counted("not_http")
    async with connected(port) as wire:
        await wire.say(raw)
        status, headers, body = await wire.answer()
        assert status == 400
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["type"] == "urn:tocsin:problem:not_http"
        assert await wire.closed()
    assert counted("not_http") == before + 1
    assert await house.events() == []


async def test_a_client_that_vanishes_in_mid_body_leaves_no_traceback(
    house: Running, port: int, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for path in (b"/webhooks/generic", b"/api/v1/alerts", b"/api/v1/explain", b"/webhooks/nobody"):
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(b"x" * 500, path=path)[:-200])
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.transport.abort()
    await asyncio.sleep(0.2)
    printed = "".join(capsys.readouterr()) + caplog.text
    assert "Traceback" not in printed
    assert "[error" not in printed
    assert await house.events() == []
    async with connected(port) as wire:
        await wire.say(HEALTH)
        assert (await wire.answer())[0] == 200


async def test_an_upgrade_is_an_ordinary_request(house: Running, port: int) -> None:
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n"
    async with connected(port) as wire:
        await wire.say(b"GET /api/v1/stream HTTP/1.1\r\nhost: x\r\n" + upgrade + b"\r\n")
        assert (await wire.answer())[0] == 404


@pytest.mark.parametrize("name", ["TOCSIN_MAX_CONNECTIONS", "TOCSIN_MAX_PER_ADDRESS"])
@pytest.mark.parametrize("cap", ["many", "0", "-1", "1.5", "²"])
async def test_a_cap_that_is_no_number_stops_the_start_with_a_sentence(tmp_path: Path, name: str, cap: str) -> None:
    with pytest.raises(AssertionError):
        async with program(tmp_path, environ={name: cap}):
            pass
    said = (tmp_path / "stderr.log").read_text()
    assert f"{name}: is no number of connections" in said
    assert "Traceback" not in said
    assert not (tmp_path / "tocsin.db").exists()


async def test_the_caps_of_the_environment_hold_in_the_real_program(tmp_path: Path) -> None:
    caps = {"TOCSIN_MAX_CONNECTIONS": "4", "TOCSIN_MAX_PER_ADDRESS": "1"}
    async with program(tmp_path, environ=caps) as gateway:
        # One is the client's own; this machine is exempt from the cap by address.
        held = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert await full(gateway.port)
        for _, writer in held:
            writer.close()

        async def room() -> bool:
            return not await full(gateway.port)

        await until(room)
