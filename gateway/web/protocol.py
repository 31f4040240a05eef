"""uvicorn's HTTP protocol with the patience of a gateway that faces strangers.

uvicorn has no option for any of this: a client that sends half a header, drips, or says nothing keeps its
connection for ever (its issue 157). A request must be whole within ten seconds of its first byte, a new
connection must speak within ten; a header may have 32 KiB; connections are capped, in all and by address.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.web.problems import REFUSALS, Refused, problem


class GatewayProtocol(HttpToolsProtocol):
    """One connection. The figures are the class's: the service sets the caps once, tests lower them."""

    most: ClassVar[int] = 512
    most_an_address: ClassVar[int] = 64
    exempt: ClassVar[Callable[[str], bool]] = staticmethod(lambda _address: False)
    receipt_seconds: ClassVar[float] = 10.0
    most_header_bytes: ClassVar[int] = 32 * 1024
    most_headers: ClassVar[int] = 500
    _living: ClassVar[set[GatewayProtocol]] = set()
    _by_address: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._packet = 0
        self._behind = False
        self._in_header = False
        self._whole = True
        self._refused = False
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self._address()
        crowded = self._by_address[address] >= self.most_an_address and not type(self).exempt(address)
        if len(self._living) >= self.most or crowded:
            later = {"retry-after": "5"}
            self._refuse(Refused(503, "There are too many connections.", "too_many_connections", headers=later))
            return
        self._living.add(self)
        self._by_address[address] += 1
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._unread is not None:
            self._unread.cancel()
        if self in self._living:
            self._living.discard(self)
            address = self._address()
            self._by_address[address] -= 1
            if self._by_address[address] <= 0:
                del self._by_address[address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._deadline is None and self._whole:
            self._arm()
        self._packet, self._behind = len(data), False
        super().data_received(data)
        if self._in_header and not self._behind:
            self._header_bytes += len(data)
            if self._header_bytes > self.most_header_bytes:
                self._refuse_header()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP: httptools refuses a length beside chunks, and all that could be read in two ways."""
        self._refuse(Refused(400, msg, "not_http"))

    def on_message_begin(self) -> None:
        self._whole = False
        self._in_header = True
        self._header_bytes = 0
        if self._deadline is None:
            self._arm()  # it began behind another in the same packet
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_header = False
        if len(self.headers) > self.most_headers:
            self._refuse_header()
        elif self._header_bytes + self._packet > self.most_header_bytes:
            # Some of that may be body: now it can be told apart.
            named = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if len(self.url) + named > self.most_header_bytes:
                self._refuse_header()
        if not self._refused:
            super().on_headers_complete()
        # What comes as a header from now on is a trailer: no credential and no address may come in one, and none
        # is kept. RFC 9110 §6.5.1
        self.headers = _Trailers(self._trailer)

    def _trailer(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self.most_header_bytes:
            self._refuse_header()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._whole = self._behind = True  # what else this packet holds belongs to another request
        self._disarm()
        if not self._refused:
            super().on_message_complete()

    def _refuse_header(self) -> None:
        """Refuse while reading: httptools would take two megabytes of header."""
        if not self._refused:
            self._refuse(Refused(431, "The header is too large.", "long_header"))

    def _refuse(self, refused: Refused) -> None:
        """Answer without asking the application, and hang up. Whatever else came with it is not looked at."""
        self._refused = True
        REFUSALS.note(refused, "", self._address())
        if self.transport.is_closing():
            return
        answer = problem(refused)
        lines = [f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}".encode(), b"connection: close"]
        lines += [name + b": " + value for name, value in answer.raw_headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self._hang_up()

    def pause_writing(self) -> None:
        """Our answers pile up: whoever does not read them must not keep his place for ever."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.receipt_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.is_closing():
            self._hang_up()

    def _hang_up(self) -> None:
        """Close when what was written is read, and at the latest in a while: closing waits for the reader."""
        self.transport.close()
        self.loop.call_later(self.receipt_seconds, self.transport.abort)

    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.receipt_seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            late = Refused(408, "The request was not whole in time.", "too_slow")
            REFUSALS.note(late, "", self._address())
            self._hang_up()


class _Trailers(list[tuple[bytes, bytes]]):
    """Takes the place of the headers once they are complete: counts what is put into it, and keeps nothing."""

    def __init__(self, count: Callable[[int], None]) -> None:
        super().__init__()
        self._count = count

    def append(self, field: tuple[bytes, bytes]) -> None:
        self._count(len(field[0]) + len(field[1]) + 4)
