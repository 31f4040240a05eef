"""One HTTP call to a vendor, and what its answer means: once for all channels.

No redirect is followed, no cookie kept, no proxy taken from the environment, at most 64 KiB of an answer are read,
and the whole call, a dripping answer included, has one deadline.
"""

from __future__ import annotations

import asyncio
import email.utils
import http.cookiejar
import json as jsonlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx2

from gateway.model import Json, Millis, Receipt, Rejected, Retry, Sent, Unknown

MOST_OF_AN_ANSWER = 64 * 1024
LONGEST_WAIT: Millis = 3_600_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What the vendor said. Header names are lower case."""

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


class Wire:
    """A small pool of connections to one vendor, opened at the first call. An answer is cut at `most` bytes."""

    def __init__(
        self,
        *,
        timeout: Millis,
        width: int,
        transport: httpx2.AsyncBaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        most: int = MOST_OF_AN_ANSWER,
    ) -> None:
        self._seconds = timeout / 1000
        self._width = width
        self._transport = transport
        self._headers = {"user-agent": "Tocsin", "accept-encoding": "identity", **(headers or {})}
        self._auth = auth
        self._most = most
        self._client: httpx2.AsyncClient | None = None

    async def call(
        self,
        method: str,
        url: str,
        *,
        json: Json = None,
        form: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer | Retry | Rejected | Unknown:
        """The vendor's answer, whatever its status; else why there is none.

        Retry: nothing was sent. Unknown: it went out, or may have."""
        try:
            async with asyncio.timeout(self._seconds):
                async with self._connected().stream(
                    method, url, json=json, data=form, content=content, headers=headers
                ) as response:
                    body = bytearray()
                    async for piece in response.aiter_bytes():
                        body += piece
                        if len(body) >= self._most:
                            break
                    return Answer(
                        response.status_code,
                        {name.lower(): value for name, value in response.headers.items()},
                        bytes(body[: self._most]),
                    )
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            return Retry(f"could not connect ({type(error).__name__})")
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, UnicodeEncodeError) as error:
            return Rejected(f"the address or a header is not usable ({type(error).__name__})")
        except TimeoutError:
            return Unknown(f"no whole answer within {self._seconds:g} s")
        except httpx2.HTTPError as error:
            return Unknown(f"the connection broke before the answer ({type(error).__name__})")

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _connected(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                verify=_tls(),
                transport=self._transport,
                # A place in the pool is waited for less long than the whole: then nothing was sent, and it shows.
                timeout=httpx2.Timeout(self._seconds, connect=min(self._seconds, 5.0), pool=self._seconds * 0.9),
                limits=httpx2.Limits(
                    max_connections=self._width, max_keepalive_connections=self._width, keepalive_expiry=30.0
                ),
                follow_redirects=False,
                trust_env=False,
                headers=self._headers,
                auth=self._auth,
                # Calls have nothing to do with one another, and cookies would add up in every one of them.
                cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
            )
        return self._client


def judge(answer: Answer, reason: str = "") -> Receipt:
    """What a status means where the vendor has no manners of its own. `reason`: its own error word."""
    said = f"HTTP {answer.status}" + (f": {reason[:200]}" if reason else "")
    if 200 <= answer.status < 300:
        return Sent()
    if answer.status in (408, 425, 429) or answer.status >= 500:
        return Retry(said, retry_after(answer.headers))
    if 300 <= answer.status < 400:
        return Rejected(f"{said}: redirects are not followed")
    return Rejected(said)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> Millis | None:
    """The wait a Retry-After header asks for (seconds, or an HTTP date by RFC 9110 §10.2.3), at most an
    hour; None where there is none or it is rubbish. `now` in seconds; by default taken from `Date`."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if re.fullmatch(r"\d{1,15}(\.\d{1,9})?", text, re.ASCII):
        wait = float(text)
    else:
        try:
            until = email.utils.parsedate_to_datetime(text).timestamp()
            asked = email.utils.parsedate_to_datetime(headers["date"]).timestamp() if now is None else now
        except (ValueError, KeyError, OverflowError):
            return None
        wait = until - asked
    if wait < 0:
        return None
    return min(round(wait * 1000), LONGEST_WAIT)


@cache
def _tls() -> ssl.SSLContext:
    # Making one takes about 20 ms: shared by every channel.
    return httpx2.create_ssl_context(trust_env=False)
