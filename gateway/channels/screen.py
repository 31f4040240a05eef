"""`kind: screen`: prints each message on standard output, in one piece, in colour where a person looks on."""

from __future__ import annotations

import asyncio
import os
import select
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ClassVar, Final, TextIO

from gateway.contracts import ChannelSettings, Surroundings
from gateway.fields import Rate
from gateway.model import Message, Millis, Receipt, Ref, Retry, Sent, Severity, Unknown
from gateway.rules.reading import clean

_GREEN: Final = "\x1b[1;32m"
_PLAIN: Final = "\x1b[0m"
_COLOURS: Final = {
    Severity.INFO: "\x1b[1;36m",
    Severity.WARNING: "\x1b[1;33m",
    Severity.ERROR: "\x1b[1;31m",
    Severity.CRITICAL: "\x1b[1;97;41m",
    Severity.EMERGENCY: "\x1b[1;97;45m",
}


class Settings(ChannelSettings):
    """Nothing of its own: `kind: screen` is all."""

    short_forms: ClassVar[bool] = False


def connect(settings: Settings, surroundings: Surroundings) -> Screen:  # noqa: ARG001
    return Screen(settings, lambda: sys.stdout)


class Screen:
    """Standard output as a channel. Writing happens in a thread: a pipe that nobody reads stops no one else."""

    edits = False
    width = 1
    unknown_again: int | None = None

    def __init__(self, settings: Settings, stream: Callable[[], TextIO | None]) -> None:
        self.paces: tuple[Rate, ...] = settings.pace or ()
        self._timeout: Millis = settings.timeout
        self._stream = stream
        self._late: tuple[str, Future[Receipt]] | None = None  # what was still being written when we gave up

    def escape(self, text: str) -> str:
        return clean(text)

    async def send(self, message: Message, ref: Ref) -> Receipt:  # noqa: ARG002
        """Sent with an empty ref; Retry where standard output is closed, broken or still full."""
        if self._late is not None:
            late, writing = self._late
            if not writing.done():
                return Retry("standard output is full: nobody reads it")
            self._late = None
            if late == message.id and isinstance(writing.result(), Sent):
                return Sent(detail="printed late")
        stream = self._stream()
        if stream is None or stream.closed:
            return Retry("standard output is closed")
        return await self._write(message.id, stream, _block(message, _in_colour(stream)))

    async def close(self) -> None:
        """Nothing to let go of: a thread that is still stuck in a full pipe dies with the process."""

    async def _write(self, message_id: str, stream: TextIO, block: str) -> Receipt:
        writing: Future[Receipt] = Future()
        writing.set_running_or_notify_cancel()
        # A daemon of its own, not the loop's thread pool: that would be waited for at exit.
        threading.Thread(target=_print, args=(stream, block, writing), name="screen", daemon=True).start()
        try:
            async with asyncio.timeout(self._timeout / 1000):
                return await asyncio.wrap_future(writing)
        except TimeoutError:
            self._late = (message_id, writing)
            return Unknown(f"standard output took nothing for {self._timeout / 1000:g} s")


def _in_colour(stream: TextIO) -> bool:
    # no-color.org: NO_COLOR counts when it is there and not empty.
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _block(message: Message, in_colour: bool) -> str:
    """The message with a blank line behind it. What a stranger wrote moves no cursor: `clean` took his escapes."""
    first, newline, rest = clean(message.text).partition("\n")
    if in_colour:
        over = message.occasion in ("resolved", "over")
        first = f"{_GREEN if over else _COLOURS[message.incident.severity]}{first}{_PLAIN}"
    return f"{first}{newline}{rest}\n\n"


def _print(stream: TextIO, block: str, writing: Future[Receipt]) -> None:
    try:
        _put(stream, block)
    except (OSError, ValueError) as error:  # ValueError: closed meanwhile
        writing.set_result(Retry(f"standard output cannot be written ({type(error).__name__})"))
    else:
        writing.set_result(Sent())


def _put(stream: TextIO, block: str) -> None:
    """Past the stream's own buffer: a thread stuck while it holds that buffer's lock would break the exit."""
    try:
        fd = stream.fileno()
    except OSError:  # io.UnsupportedOperation: a stream in memory
        stream.write(block)
        stream.flush()
        return
    left = memoryview(block.encode(stream.encoding or "utf-8", "replace"))
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # someone who shares the terminal made it non-blocking
            select.select([], [fd], [], 1.0)
