"""One HTTP call to a vendor, and what its answer means: once for all channels.

No redirect is followed, no cookie kept, no proxy taken from the environment, at most 64 KiB of an answer are read,
and the whole call, a dripping answer included, has one deadline.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json as jsonlib
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

import httpx2

from gateway.channels._network import (
    Answer,
    BrokenError,
    Internet,
    Network,
    NothingSentError,
    Place,
    Request,
    Substitute,
    UnusableError,
    place,
)
from gateway.model import Json, Millis, Receipt, Rejected, Retry, Sent, Unknown

__all__ = ["LONGEST_WAIT", "MOST_OF_AN_ANSWER", "Answer", "Wire", "judge", "retry_after"]

MOST_OF_AN_ANSWER = 64 * 1024
LONGEST_WAIT: Millis = 3_600_000


class Wire:
    """A small pool of connections to one vendor, opened at the first call. An answer is cut at `most` bytes.

    `transport`: what stands in the place of the network."""

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
        self._network: Network = Internet(self._seconds, width) if transport is None else Substitute(transport)
        self._headers = {"user-agent": "Tocsin", "accept-encoding": "identity", **(headers or {})}
        self._auth = auth
        self._most = most

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
            request = self._request(method, place(url), _body(json, form, content), headers)
            async with asyncio.timeout(self._seconds):
                return await self._network.exchange(request, self._most)
        except NothingSentError as error:
            return Retry(f"could not connect ({error})")
        except UnusableError as error:
            return Rejected(f"the address or a header is not usable ({error})")
        except UnicodeEncodeError as error:
            return Rejected(f"the address or a header is not usable ({type(error).__name__})")
        except TimeoutError:
            return Unknown(f"no whole answer within {self._seconds:g} s")
        except BrokenError as error:
            return Unknown(f"the connection broke before the answer ({error})")

    async def close(self) -> None:
        await self._network.close()

    def _request(
        self,
        method: str,
        where: Place,
        body: tuple[bytes | None, Mapping[str, str]],
        headers: Mapping[str, str] | None,
    ) -> Request:
        content, kind = body
        every = {**self._headers, **kind, **(headers or {})}
        login = self._auth or where.login
        if login is not None:
            every["authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        values = "".join(every.values()).replace("\t", " ")
        if not (values.isascii() and values.isprintable()):
            raise UnusableError("LocalProtocolError")
        return Request(method, where.url, every, content)


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


def _body(json: Json, form: Mapping[str, Any] | None, content: bytes | None) -> tuple[bytes | None, dict[str, str]]:
    """The bytes to send, and the header that says what they are. Raises UnicodeEncodeError for half a character."""
    if json is not None:
        text = jsonlib.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode(), {"content-type": "application/json"}
    if form is not None:
        text = urllib.parse.urlencode(form, doseq=True)
        return text.encode(), {"content-type": "application/x-www-form-urlencoded"}
    return content, {}
