"""The wires themselves: one request out, one answer back. What breaks on the way is told by whether anything was sent.

aiohttp carries what the gateway sends. A transport of httpx2 may stand in its place, as it does in tests.
"""

from __future__ import annotations

import json as jsonlib
import ssl
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from functools import cache, lru_cache
from typing import Protocol

import aiohttp
import httpx2
from yarl import URL

from gateway.model import Json
from gateway.values import frozen

CONNECT_SECONDS = 5.0
KEPT_SECONDS = 30.0
LONGEST_HEADER = 32 * 1024
_NO_TYPE = ("Content-Type",)


class NothingSentError(Exception):
    """There was no connection: whatever was to be said was not heard."""


class UnusableError(Exception):
    """No such request can be made: the address or a header is not one."""


class BrokenError(Exception):
    """It went out, or may have, and there is no whole answer."""


@frozen
class Place:
    """Where to, and the user and password that stood in the address."""

    url: URL
    login: tuple[str, str] | None = None


@frozen
class Request:
    """What is to be sent, to the last byte."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None


@frozen
class Answer:
    """What the vendor said. Header names are lower case; what stands twice is joined by a comma."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Json:
        """The decoded body; None where it is no JSON. Half a surrogate pair is a question mark: it fits into no
        address and no request, and what a vendor names is put into both."""
        try:
            found = jsonlib.loads(self.body)
            return jsonlib.loads(jsonlib.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None


class Network(Protocol):
    async def exchange(self, request: Request, most: int) -> Answer:
        """The answer, at most `most` bytes of its body. Raises NothingSentError or BrokenError. The deadline of
        the whole is the caller's."""

    async def close(self) -> None: ...


@lru_cache(maxsize=256)
def place(address: str) -> Place:
    """An address as it is asked for: kept to the letter, where it is made of letters. Raises UnusableError."""
    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL as error:
        raise UnusableError(type(error).__name__) from None
    if url.scheme not in ("http", "https") or not url.host:
        raise UnusableError("UnsupportedProtocol")
    login = (url.username, url.password) if url.userinfo else None
    return Place(URL(str(url.copy_with(userinfo=b"", fragment=None)), encoded=True), login)


class Internet:
    """`width` connections at most, kept open for a while. Nothing is taken from the environment."""

    def __init__(self, seconds: float, width: int) -> None:
        self._seconds = seconds
        self._width = width
        self._session: aiohttp.ClientSession | None = None

    async def exchange(self, request: Request, most: int) -> Answer:
        try:
            response = await self._connected().request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                # Else aiohttp names a type where we name none.
                skip_auto_headers=None if "content-type" in request.headers else _NO_TYPE,
                allow_redirects=False,
            )
            try:
                content, body = response.content, b""
                while len(body) < most and not content.at_eof():
                    body += await content.read(most - len(body))
                return Answer(response.status, _lower(response.headers.items()), body)
            finally:
                if not response.closed:  # a whole answer has given its connection back; any other's is of no more use
                    response.close()
        except aiohttp.ConnectionTimeoutError:
            raise NothingSentError("ConnectTimeout") from None
        except aiohttp.ClientConnectorError:
            raise NothingSentError("ConnectError") from None
        except (aiohttp.ClientError, OSError) as error:
            raise BrokenError(type(error).__name__) from None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._width, keepalive_timeout=KEPT_SECONDS, ssl=_tls()),
                # A place in the pool is waited for less long than the whole: then nothing was sent, and it shows.
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=self._seconds * 0.9, sock_connect=min(self._seconds, CONNECT_SECONDS)
                ),
                # Calls have nothing to do with one another, and cookies would add up in every one of them.
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                max_line_size=LONGEST_HEADER,
                max_field_size=LONGEST_HEADER,
            )
        return self._session


class Substitute:
    """A transport of httpx2 in the place of the network."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    async def exchange(self, request: Request, most: int) -> Answer:
        asked = httpx2.Request(request.method, str(request.url), headers=dict(request.headers), content=request.body)
        try:
            response = await self._transport.handle_async_request(asked)
            async with aclosing(response):
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) >= most:
                        break
                return Answer(response.status_code, _lower(response.headers.multi_items()), bytes(body[:most]))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise NothingSentError(type(error).__name__) from None
        except httpx2.HTTPError as error:
            raise BrokenError(type(error).__name__) from None

    async def close(self) -> None:
        await self._transport.aclose()


def _lower(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in items:
        lower = name.lower()
        found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found


@cache
def _tls() -> ssl.SSLContext:
    # Making one takes about 20 ms: shared by every channel.
    context = httpx2.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context
