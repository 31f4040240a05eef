"""uvicorn's HTTP protocol with the patience of a gateway that faces strangers.

uvicorn has no option for any of this: a client that sends half a header, drips, or says nothing keeps its
connection for ever (its issue 157). A request must be whole within ten seconds of its first byte, a new
connection must speak within ten; a header may have 32 KiB; connections are capped, in all and by address.
"""

from __future__ import annotations

import asyncio
import math
import urllib.parse
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.web.cycle import Cycle
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
        self._deadline = self._idle_until = self._looks_at = math.inf
        self._watch: asyncio.Handle | None = None
        self._trailers = _Trailers(self._trailer)
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
        if self._watch is not None:
            self._watch.cancel()
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
        self._idle_until = math.inf
        if self._whole and self._deadline == math.inf:
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
        if self._deadline == math.inf:
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
            self._begin()
        # What comes as a header from now on is a trailer: no credential and no address may come in one, and none
        # is kept. RFC 9110 §6.5.1
        self.headers = self._trailers

    def _begin(self) -> None:
        """Let the application see the request, after those before it. As uvicorn does, for one that upgrades to
        nothing, with no cap on concurrency and no root path, none of which there is here."""
        parser, scope = self.parser, self.scope
        version = scope["http_version"] = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        busy = bool(self.cycle) and not self.cycle.response_complete
        self.cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if busy:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._start_asgi_task(self.cycle, self.app)

    def _trailer(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self.most_header_bytes:
            self._refuse_header()

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if self._refused or cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._whole = self._behind = True  # what else this packet holds belongs to another request
        self._deadline = math.inf
        if not self._refused and not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_until = self.loop.time() + self.timeout_keep_alive
            self._look_at(self._idle_until)

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

    def _hang_up(self) -> None:
        """Close when what was written is read, and at the latest in a while: closing waits for the reader."""
        self.transport.close()
        self.loop.call_later(self.receipt_seconds, self.transport.abort)

    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _arm(self) -> None:
        self._deadline = self.loop.time() + self.receipt_seconds
        self._look_at(self._deadline)

    def _look_at(self, moment: float) -> None:
        """See to it that somebody looks at the clock then, or before. One timer serves a connection for seconds: two
        for each request, made and nearly always given up, would be a tenth of its work."""
        if moment < self._looks_at:
            if self._watch is not None:
                self._watch.cancel()
            self._looks_at = moment
            self._watch = self.loop.call_later(moment - self.loop.time(), self._look)

    def _look(self) -> None:
        self._looks_at, now = math.inf, self.loop.time()
        if self.transport.is_closing():
            return
        if now >= self._deadline:
            REFUSALS.note(Refused(408, "The request was not whole in time.", "too_slow"), "", self._address())
            self._hang_up()
        elif now >= self._idle_until:
            self._hang_up()
        else:
            self._look_at(min(self._deadline, self._idle_until))


class _Trailers(list[tuple[bytes, bytes]]):
    """Takes the place of the headers once they are complete: counts what is put into it, and keeps nothing."""

    def __init__(self, count: Callable[[int], None]) -> None:
        super().__init__()
        self._count = count

    def append(self, field: tuple[bytes, bytes]) -> None:
        self._count(len(field[0]) + len(field[1]) + 4)
