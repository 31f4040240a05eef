"""Twilio's two calls that matter, with its manners: 201 with a sid, a login of the account, its error codes
and limits. Error sentences repeat the phone number, as the real ones do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.parse
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Any

import httpx2

AUTH_TOKEN = "t0ken"

_SENTENCES = {
    20003: "Authenticate",
    20404: "The requested resource was not found",
    20429: "Too Many Requests",
    20500: "An internal server error has occurred",
    21211: "The 'To' number {to} is not a valid phone number.",
    21603: "A 'From' phone number is required.",
    21602: "Message body is required.",
    21609: "Invalid 'StatusCallback' URL",
    21610: "Attempt to send to unsubscribed recipient {to}",
    21617: "The concatenated message body exceeds the 1600 character limit.",
    12100: "Document parse failure",
}


@dataclass
class FakeTwilio:
    """`numbers`: what is answered for a number, as (HTTP status, code), one a call, then 201. A field that is sent
    several times stands in `sent` as its values with blanks between. `unreachable`: the beginning of addresses that
    are refused for callbacks."""

    account: str = "AC0123456789abcdef0123456789abcdef"
    login: tuple[str, str] = ("AC0123456789abcdef0123456789abcdef", "t0ken")
    numbers: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    sent: list[dict[str, str]] = field(default_factory=list)
    unreachable: str = "http://unreachable.example"

    @property
    def transport(self) -> httpx2.MockTransport:
        return httpx2.MockTransport(self.answer)

    @property
    def told(self) -> list[str]:
        return [form["To"] for form in self.sent]

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        root = f"/2010-04-01/Accounts/{self.account}"
        if request.headers.get("authorization") != _basic(*self.login):
            return self._error(401, 20003)
        if request.method != "POST" or request.url.path not in (f"{root}/Messages.json", f"{root}/Calls.json"):
            return self._error(404, 20404)
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        form: dict[str, str] = {}
        for key, value in urllib.parse.parse_qsl(request.content.decode(), keep_blank_values=True, strict_parsing=True):
            form[key] = f"{form[key]} {value}" if key in form else value
        wrong = self._wrong(form, calls=request.url.path.endswith("Calls.json"))
        if wrong is not None:
            return self._error(*wrong, to=form.get("To", ""))
        self.sent.append(form)
        kind = "CA" if "Twiml" in form else "SM"
        taken: dict[str, Any] = {
            "sid": f"{kind}{len(self.sent):032x}",
            "account_sid": self.account,
            "to": form["To"],
            "status": "queued",
            "error_code": None,
            "error_message": None,
        }
        return httpx2.Response(201, json=taken)

    def _wrong(self, form: dict[str, str], *, calls: bool) -> tuple[int, int] | None:
        scripted = self.numbers.get(form.get("To", ""))
        if scripted:
            return scripted.pop(0)
        if form.get("StatusCallback", "").startswith(self.unreachable):
            return 400, 21609
        if not form.get("To", "").startswith("+"):
            return 400, 21211
        if "From" not in form and (calls or "MessagingServiceSid" not in form):
            return 400, 21603
        return _bad_twiml(form.get("Twiml", "")) if calls else _bad_body(form.get("Body", ""))

    def _error(self, status: int, code: int, to: str = "") -> httpx2.Response:
        said = {
            "code": code,
            "message": _SENTENCES.get(code, "Permission denied for {to}").format(to=to),
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        }
        return httpx2.Response(status, json=said, headers=self.headers)


def _bad_body(body: str) -> tuple[int, int] | None:
    if not body.strip():
        return 400, 21602
    return (400, 21617) if len(body.encode("utf-16-le")) // 2 > 1_600 else None


def _bad_twiml(document: str) -> tuple[int, int] | None:
    if len(document.encode("utf-16-le")) // 2 > 4_000:
        return 400, 21617
    try:
        root = ET.fromstring(document)  # noqa: S314 - our own document, made a moment ago
    except ET.ParseError:
        return 400, 12100
    verbs = {verb.tag for verb in root.iter()} - {"Response"}
    return None if root.tag == "Response" and verbs <= {"Say", "Pause", "Gather"} else (400, 12100)


def _basic(user: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def signed(url: str, form: dict[str, str], auth_token: str = AUTH_TOKEN) -> tuple[bytes, dict[str, str]]:
    """A callback as Twilio posts it: its body, and headers with the signature that its manual describes."""
    words = url + "".join(name + form[name] for name in sorted(form))
    made = base64.b64encode(hmac.new(auth_token.encode(), words.encode(), hashlib.sha1).digest()).decode()
    headers = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8", "x-twilio-signature": made}
    return urllib.parse.urlencode(form).encode(), headers
