"""uvicorn's HTTP protocol with the patience of a gateway that faces strangers.

uvicorn has no option for any of this: a client that sends half a header, drips, or says nothing keeps its
connection for ever (its issue 157). A request must be whole within ten seconds of its first byte, a new
connection must speak within ten; a header may have 32 KiB; connections are capped, in all and by address.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.telemetry import REFUSED, logger

log = logger()

RECEIPT_SECONDS = 10.0
MOST_HEADER_BYTES = 32 * 1024
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 5\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)
_LONG_HEADER = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class GatewayProtocol(HttpToolsProtocol):
    """One connection. `most`, `most_an_address` and `exempt` are set once by the service."""

    most: ClassVar[int] = 512
    most_an_address: ClassVar[int] = 64
    exempt: ClassVar[Callable[[str], bool]] = staticmethod(lambda _address: False)
    _living: ClassVar[set[GatewayProtocol]] = set()
    _by_address: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._whole = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        crowded = self._by_address[address] >= self.most_an_address and not type(self).exempt(address)
        if len(self._living) >= self.most or crowded:
            REFUSED.labels("too_many_connections").inc()
            transport.write(_FULL)
            transport.close()
            return
        self._living.add(self)
        self._by_address[address] += 1
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self in self._living:
            self._living.discard(self)
            address = self.client[0] if self.client else ""
            self._by_address[address] -= 1
            if self._by_address[address] <= 0:
                del self._by_address[address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self._whole:
            self._arm()
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._whole = False
        self._header_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._measure(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._measure(len(name) + len(value) + 4)

    def on_message_complete(self) -> None:
        self._whole = True
        self._disarm()
        super().on_message_complete()

    def _measure(self, more: int) -> None:
        """Refuse while reading: httptools would take two megabytes of header."""
        self._header_bytes += more
        if self._header_bytes > MOST_HEADER_BYTES and not self.transport.is_closing():
            REFUSED.labels("long_header").inc()
            self.transport.write(_LONG_HEADER)
            self.transport.close()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(RECEIPT_SECONDS, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            REFUSED.labels("too_slow").inc()
            log.warning("slow client closed", client=self.client[0] if self.client else "")
            self.transport.close()
