"""An answer in one piece: byte for byte what uvicorn's own cycle says, whatever an application sends."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.web.cycle import Cycle

JSON = (b"content-type", b"application/json")


class Transport:
    """Writes down what it is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


class Answered:
    """One cycle of a kind, and what came of it."""

    def __init__(self, kind: type[RequestResponseCycle], method: str = "POST", keep_alive: bool = True) -> None:
        self.transport = Transport()
        self.flow = FlowControl(self.transport)  # type: ignore[arg-type]
        self.completed = 0
        self.cycle = kind(
            scope={"type": "http", "method": method},  # type: ignore[arg-type, typeddict-item]
            transport=self.transport,  # type: ignore[arg-type]
            flow=self.flow,
            logger=logging.getLogger("uvicorn.error"),
            access_logger=logging.getLogger("uvicorn.access"),
            access_log=False,
            default_headers=[(b"date", b"Fri, 20 Nov 2026 10:00:00 GMT")],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=self._complete,
        )

    def _complete(self) -> None:
        self.completed += 1

    async def run(self, messages: list[dict[str, Any]]) -> tuple[Any, ...]:
        """All that can be seen of it from outside, once an application has sent these."""

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            for message in messages:
                await send(message)

        await self.cycle.run_asgi(app)  # type: ignore[arg-type]
        cycle = self.cycle
        said = b"".join(self.transport.pieces)
        return said, self.transport.closed, self.completed, cycle.response_complete, cycle.message_event.is_set()


def start(*headers: tuple[bytes, bytes], status: int = 202) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*headers]}


def body(text: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text, "more_body": more}


def length(many: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % many)


WHOLE = [start(JSON, length(2)), body(b"{}")]
OTHERS = {
    "empty": [start(length(0), status=200), {"type": "http.response.body"}],
    "no headers": [{"type": "http.response.start", "status": 200}, body(b"x")],
    "no content": [start(status=204), body(b"")],
    "in pieces": [start(length(4)), body(b"ab", more=True), body(b"cd")],
    "in chunks": [start(JSON), body(b"ab", more=True), body(b"cd")],
    "chunks that are told": [start((b"transfer-encoding", b"chunked")), body(b"ab")],
    "of no told length": [start(JSON), body(b"ab")],
    "the last": [start(JSON, length(2), (b"connection", b"close")), body(b"ab")],
    "the last, in capitals": [start((b"Connection", b"Close"), length(2)), body(b"ab")],
    "a length in capitals": [start((b"Content-Length", b"2")), body(b"ab")],
    "too long": [start(length(1)), body(b"ab")],
    "too short": [start(length(3)), body(b"ab")],
    "a name in capitals": [start((b"X-Name", b"a"), length(2)), body(b"ab")],
}


@pytest.mark.parametrize("messages", [WHOLE, *OTHERS.values()], ids=["whole", *OTHERS])
@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("keep_alive", [True, False])
async def test_it_says_what_uvicorn_would(messages: list[dict[str, Any]], method: str, keep_alive: bool) -> None:
    ours = await Answered(Cycle, method, keep_alive).run(messages)
    theirs = await Answered(RequestResponseCycle, method, keep_alive).run(messages)
    assert ours == theirs


@pytest.mark.parametrize("header", [(b"x", b"a\r\nevil: b"), (b"x y", b"a"), (b"x:", b"a"), (b"x", b"a\0")])
async def test_a_line_that_could_be_read_as_two_is_never_said(header: tuple[bytes, bytes]) -> None:
    for keep_alive in (True, False):
        said, closed, *_ = await Answered(Cycle, keep_alive=keep_alive).run([start(header, length(2)), body(b"ab")])
        assert closed
        assert b"x" not in said.partition(b"content-type: text")[0]
        assert b"evil" not in said


async def test_what_is_whole_is_one_piece() -> None:
    answered = Answered(Cycle)
    await answered.run(WHOLE)
    (piece,) = answered.transport.pieces
    head = (b"HTTP/1.1 202 Accepted", b"date: Fri, 20 Nov 2026 10:00:00 GMT", b": ".join(JSON), b"content-length: 2")
    assert piece == b"\r\n".join(head) + b"\r\n\r\n{}"


async def test_nothing_is_said_to_who_is_gone() -> None:
    answered = Answered(Cycle)
    answered.cycle.disconnected = True
    assert (await answered.run(WHOLE))[0] == b""


async def test_who_does_not_read_is_waited_for() -> None:
    answered = Answered(Cycle)
    answered.flow.pause_writing()
    saying = asyncio.create_task(answered.run(WHOLE))
    await asyncio.sleep(0)
    assert answered.transport.pieces == []
    answered.flow.resume_writing()
    assert (await saying)[0].endswith(b"\r\n\r\n{}")


async def test_a_fault_behind_the_head_is_a_500() -> None:
    answered = Answered(Cycle)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start(length(2)))
        raise RuntimeError("a fault")

    await answered.cycle.run_asgi(app)  # type: ignore[arg-type]
    assert b"".join(answered.transport.pieces).startswith(b"HTTP/1.1 500 ")
