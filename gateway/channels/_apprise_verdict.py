"""What a send through Apprise came to: from the statuses overheard and the lines it wrote on the way.

Lines are only searched for a number or a word; none is repeated, since they hold addresses and tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gateway.channels._http import Answer, judge
from gateway.model import Receipt, Rejected, Retry, Sent, Unknown

# How Apprise begins the lines that tell a cause. Others hold the message itself: a stranger could write causes into it.
_CAUSE: Final = re.compile(r"[\w./ -]{0,40}(?:Exception|Response Details)\b|SMTP recipient ")
# requests' and smtplib's words for a connection that never was; and for one that broke when all may have been said.
_NEVER: Final = re.compile(
    r"NewConnectionError|ConnectTimeoutError|NameResolutionError|SSLError|refused\b(?!:)|Name or service not known"
)
_BROKE: Final = re.compile(
    r"timed out|Connection aborted|Connection reset|IncompleteRead|Broken pipe|unexpectedly closed"
)
# The reply of an SMTP server as Apprise and smtplib print it: (550, b'5.1.1 …'), was refused: 550.
_SMTP: Final = re.compile(r"\(([45]\d\d), b?['\"]|was refused: ([45]\d\d)\b")
_DETAIL: Final = re.compile(
    r"[\"'](?:error|err|errcode|err_code|error_code|errorCode|code|reason)[\"']\s*:\s*[\"']?([A-Za-z0-9_.-]{1,40})"
)
_LATER: Final = frozenset(
    {
        "ratelimited",
        "rate_limited",
        "rate_limit_exceeded",
        "too_many_requests",
        "internal_error",
        "internal_server_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "timeout",
    }
)


def verdict(*, delivered: bool, statuses: Sequence[int], lines: Sequence[str]) -> Receipt:
    """The receipt. `delivered`: what Apprise thinks; `statuses`: of all HTTP answers, in their order."""
    refused = next((status for status in reversed(statuses) if not 200 <= status < 300), None)
    if delivered and (refused is None or refused >= 400):
        # A service that takes a refusal of a lesser call in its stride has still delivered.
        return Sent()
    causes = "\n".join(line for line in lines if _CAUSE.match(line))
    if not delivered and _NEVER.search(causes):
        return Retry("could not connect")
    if not delivered and _BROKE.search(causes):
        return Unknown("the connection broke before the answer")
    if refused is not None:
        return judge(Answer(refused, {}, b""))
    return _said_no(causes, statuses[-1]) if statuses else _without_http(causes)


def _said_no(causes: str, status: int) -> Receipt:
    """A success by its status, a failure by its body: Slack's ok:false and its like."""
    found = _DETAIL.search(causes)
    if found is None:
        return Retry(f"HTTP {status}, but the service did not take it")
    word = found[1].lower()
    number = int(word) if word.isdecimal() else 0
    said = f"HTTP {status}: {word}"
    return Retry(said) if word in _LATER or number == 429 or 500 <= number < 600 else Rejected(said)


def _without_http(causes: str) -> Receipt:
    reply = _SMTP.search(causes)
    if reply is None:
        return Retry("it failed without saying why")
    code = reply[1] or reply[2]
    # The first digit decides: RFC 5321 §4.2.1.
    return Rejected(f"SMTP {code}") if code.startswith("5") else Retry(f"SMTP {code}")
