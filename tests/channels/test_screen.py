"""The screen prints each message once, in one piece, and never stops the gateway."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TextIO

import pytest

from gateway.channels.screen import Screen, Settings, connect
from gateway.contracts import Surroundings
from gateway.fields import Rate
from gateway.model import Incident, Message, Retry, Sent, Severity, Unknown
from tests.channels.suite import ChannelContract

INCIDENT = Incident("i-1", "s", "generic", "f", "Disk full", Severity.CRITICAL, 0, 0)
MESSAGE = Message("m-1", "opened", INCIDENT, 1, "Disk full", (("Severity", "critical"),), "94 %\nof 1 TB")
BLOCK = "Disk full\nSeverity: critical\n94 %\nof 1 TB\n\n"


def screen(stream: TextIO | None, **keys: str) -> Screen:
    return Screen(Settings(kind="screen", **keys), lambda: stream)


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """(the end that reads, standard output)"""
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w", encoding="utf-8")
    yield reader, stream
    with suppress(OSError):
        os.close(reader)
    with suppress(OSError):
        stream.close()


class TestScreen(ChannelContract):
    async def open(self) -> Screen:
        return screen(io.StringIO())


async def test_a_message_is_printed_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    channel = connect(Settings(kind="screen"), Surroundings("terminal"))
    assert await channel.send(MESSAGE, {}) == Sent()
    assert capfd.readouterr().out == BLOCK
    await channel.close()


async def test_a_stream_in_memory_serves_as_well() -> None:
    stream = io.StringIO()
    assert await screen(stream).send(MESSAGE, {}) == Sent()
    assert stream.getvalue() == BLOCK


async def test_what_the_alphabet_cannot_say_is_replaced() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="replace")
    assert await screen(stream).send(replace(MESSAGE, title="디스크"), {}) == Sent()
    assert raw.getvalue().startswith(b"???\n")


async def test_escapes_of_a_stranger_move_no_cursor() -> None:
    stream = io.StringIO()
    channel = screen(stream)
    await channel.send(replace(MESSAGE, custom_title="\x1b[2Jgone\x9b0m", body="\x1b]0;x\x07"), {})
    assert "\x1b" not in stream.getvalue()
    assert "\x9b" not in stream.getvalue()
    assert channel.escape("a\x1b[31mb\rc") == "a[31mbc"


@pytest.mark.parametrize(
    ("occasion", "severity", "code"),
    [
        ("opened", Severity.CRITICAL, "\x1b[1;97;41m"),
        ("opened", Severity.INFO, "\x1b[1;36m"),
        ("resolved", Severity.CRITICAL, "\x1b[1;32m"),
        ("over", Severity.WARNING, "\x1b[1;32m"),
    ],
)
async def test_a_terminal_shows_the_first_line_in_colour(
    occasion: str, severity: Severity, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    message = replace(MESSAGE, occasion=occasion, incident=replace(INCIDENT, severity=severity))
    assert await _on_a_terminal(message) == f"{code}Disk full\x1b[0m\r\nSeverity: critical\r\n94 %\r\nof 1 TB\r\n\r\n"


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
async def test_who_wants_no_colour_gets_none(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(variable, value)
    assert (await _on_a_terminal(MESSAGE)).startswith("Disk full\r\n")


async def _on_a_terminal(message: Message) -> str:
    person, terminal = pty.openpty()
    with os.fdopen(terminal, "w", encoding="utf-8") as stream:
        assert await screen(stream).send(message, {}) == Sent()
        seen = os.read(person, 4096).decode()
    os.close(person)
    return seen


async def test_a_reader_who_left_is_tried_again_later(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    os.close(reader)
    receipt = await screen(stream).send(MESSAGE, {})
    assert receipt == Retry("standard output cannot be written (BrokenPipeError)")


async def test_a_closed_standard_output_is_tried_again_later() -> None:
    stream = io.StringIO()
    stream.close()
    assert await screen(stream).send(MESSAGE, {}) == Retry("standard output is closed")
    assert await screen(None).send(MESSAGE, {}) == Retry("standard output is closed")


async def test_a_full_pipe_stops_nobody_and_nothing_is_printed_twice(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    channel = screen(stream, timeout="50ms")
    long = replace(MESSAGE, body="x" * 200_000)

    assert await channel.send(long, {}) == Unknown("standard output took nothing for 0.05 s")
    assert await channel.send(long, {}) == Retry("standard output is full: nobody reads it")
    assert await channel.send(replace(MESSAGE, id="m-2"), {}) == Retry("standard output is full: nobody reads it")

    read = _read_in_the_background(reader)
    receipt: object = None
    for _ in range(200):
        receipt = await channel.send(long, {})
        if isinstance(receipt, Sent):
            break
        await asyncio.sleep(0.01)
    assert receipt == Sent(detail="printed late")
    assert await channel.send(replace(MESSAGE, id="m-2"), {}) == Sent()
    stream.close()
    assert (await asyncio.to_thread(read)).decode().count("Disk full\n") == 2


async def test_after_a_full_pipe_another_message_is_printed_too(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    channel = screen(stream, timeout="50ms")
    assert isinstance(await channel.send(replace(MESSAGE, body="x" * 200_000), {}), Unknown)
    read = _read_in_the_background(reader)
    for _ in range(200):
        if await channel.send(replace(MESSAGE, id="m-2", title="second"), {}) == Sent():
            break
        await asyncio.sleep(0.01)
    stream.close()
    text = (await asyncio.to_thread(read)).decode()
    assert text.startswith("Disk full\n")
    assert text.count("second\n") == 1


async def test_a_pipe_that_does_not_block_is_written_whole(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    os.set_blocking(stream.fileno(), False)
    read = _read_in_the_background(reader)
    assert await screen(stream).send(replace(MESSAGE, body="@" * 500_000), {}) == Sent()
    stream.close()
    assert (await asyncio.to_thread(read)).count(b"@") == 500_000


def _read_in_the_background(reader: int):  # type: ignore[no-untyped-def]
    pieces: list[bytes] = []

    def read() -> None:
        while piece := os.read(reader, 65_536):
            pieces.append(piece)

    thread = threading.Thread(target=read)
    thread.start()

    def result() -> bytes:
        thread.join(5)
        return b"".join(pieces)

    return result


def test_a_pace_is_obeyed_where_one_is_written() -> None:
    assert screen(None).paces == ()
    assert screen(None, pace="1/s").paces == (Rate(1, 1_000),)
