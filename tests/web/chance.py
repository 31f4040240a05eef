"""Requests made by chance, each from what an honest one would be: `OPERATIONS` says that of every address of the
gateway, and `requests` spoils it here and there."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st

from gateway.model import Json
from tests.fakes import slack, telegram, twilio
from tests.house import HETRIX_TOKEN, SECRET, SENTRY_SECRET, TOKEN, by_github, by_sentry, by_token

ADMIN = "tkn-admin-0001"
PUBLIC = "https://alerts.example.com/tocsin"
NUMBER = "+821012345678"
SLACK_SECRET, TELEGRAM_SECRET = "8f742231b10e8888abcd99yyyzzz85a5", "our-own_Token"
Known = Mapping[str, Sequence[str]]
"""Names of things that exist, by the kind of thing."""
Door = Literal["administrator", "credential", "anybody"]


@dataclass(frozen=True)
class Operation:
    """`names`: of which kind of thing each path parameter is the name. `query`, `bodies`: good ones; `bodies` by the
    name in the path where that decides, else under ''."""

    door: Door = "administrator"
    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    bodies: Mapping[str, Sequence[Json]] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: str
    headers: tuple[tuple[bytes, bytes], ...]
    pieces: tuple[bytes, ...]
    hangs_up: bool
    knocks: bool
    """Whether it shows what opens this door."""


INCIDENT = "01990000-0000-7000-8000-000000000001"
GENERIC: Sequence[Json] = (
    {
        "title": "Disk full", "body": "1 %", "severity": "critical", "status": "firing", "service": "db",
        "environment": "production", "url": "https://vendor.example/1", "fingerprint": "disk", "kind": "disk",
        "labels": {"team": "db"}, "fields": {"free": "1"}, "occurred_at": "2026-11-20T10:00:00Z",
    },
    [{"title": "a"}, {"title": "b", "status": "resolved"}],
    {"alerts": [{"title": "a"}]},
)  # fmt: skip
GITHUB: Json = {
    "action": "completed",
    "repository": {"full_name": "a/b", "html_url": "https://github.com/a/b", "default_branch": "main"},
    "workflow_run": {
        "id": 1, "name": "ci", "conclusion": "failure", "head_branch": "main", "workflow_id": 2, "run_number": 3,
        "html_url": "https://github.com/a/b/1", "updated_at": "2026-11-20T10:00:00Z",
    },
}  # fmt: skip
SENTRY: Json = {
    "action": "created",
    "data": {"issue": {"id": "1", "title": "boom", "level": "error", "project": {"slug": "p"}, "status": "unresolved"}},
    "installation": {"uuid": "1"},
}
HETRIX: Json = {
    "monitor_id": "m", "monitor_name": "shop", "monitor_target": "https://shop.example", "monitor_type": "website",
    "monitor_status": "offline", "timestamp": 1795176000, "monitor_errors": {"seoul": "timeout"},
}  # fmt: skip
WEBHOOKS = {"generic": GENERIC, "github": [GITHUB], "sentry": [SENTRY], "hetrix": [HETRIX], "open": GENERIC}
PRESSED: Mapping[str, Sequence[Json]] = {
    "slack": [
        json.loads(
            dict(
                urllib.parse.parse_qsl(
                    slack.pressed("acknowledge", INCIDENT, slack.Said("C0OPS", "1795176000.000001", "", {})).decode()
                )
            )["payload"]
        )
    ],
    "telegram": [json.loads(telegram.pressed(f"a:{INCIDENT}", telegram.Said(-1001234, 7, "", {})))],
    "twilio": [
        {"To": NUMBER, "From": "+15005550006", "Digits": "1", "CallSid": "CA9", "CallStatus": "in-progress"},
        {"From": NUMBER, "To": "+15005550006", "Body": "ack 1", "MessageSid": "SM9", "SmsStatus": "received"},
        {"From": NUMBER, "To": "+15005550006", "MessageSid": "SM9", "MessageStatus": "delivered"},
    ],
}
WORDS = {"by": "kim", "note": "on it"}
PAGE = {"limit": ["1", "200"], "cursor": ["MDE5OQ"]}
TIMES = ["now", "+2h", "monday 09:00", "18:00", "2026-12-24T18:00", "2026-11-20T12:00:00Z", "2499-12-31T23:59:59Z"]

OPERATIONS: Mapping[str, Operation] = {
    "/webhooks/{source}": Operation("credential", {"source": "source"}, bodies=WEBHOOKS),
    "/webhooks/{source}/{token}": Operation("credential", {"source": "source", "token": "token"}, bodies=WEBHOOKS),
    "/api/v1/alerts": Operation("credential", bodies={"": GENERIC}),
    "/api/v1/events": Operation(query={"state": ["waiting", "done,unreadable"], "source": ["generic"], **PAGE}),
    "/api/v1/events/{id}": Operation(names={"id": "event"}),
    "/api/v1/events/{id}/replay": Operation(names={"id": "event"}, bodies={"": [{"force": True}, {}]}),
    "/api/v1/incidents": Operation(
        query={
            "state": ["open", "acknowledged,resolved"], "severity": ["critical", "info,warning"],
            "source": ["generic"], "service": ["db"], "q": ["disk", "%_"], "since": ["2026-11-20T12:00:00Z"],
            "limit": ["1", "200"], "cursor": [base64.urlsafe_b64encode(b"1795176000000 0199").decode().rstrip("=")],
        }
    ),
    "/api/v1/incidents/{id}": Operation(names={"id": "incident"}),
    "/api/v1/deliveries": Operation(query={"state": ["waiting", "said,failed"], "channel": ["terminal"], **PAGE}),
    "/api/v1/deliveries/{id}/redeliver": Operation(names={"id": "delivery"}),
    "/api/v1/channels": Operation(),
    "/api/v1/channels/{name}/test": Operation(names={"name": "channel"}),
    "/api/v1/explain": Operation(
        query={"source": ["generic", "github", "sentry", "hetrix"], "at": TIMES},
        bodies={
            "": [
                *GENERIC, GITHUB, SENTRY, HETRIX, {"alert": GENERIC[0], "at": "2026-11-20T12:00:00Z"},
                {"source": "github", "headers": {"x-github-event": "workflow_run"}, "body": GITHUB},
            ]
        },
    ),
    "/api/v1/incidents/{id}/{verb}": Operation(
        names={"id": "incident", "verb": "verb"}, bodies={"": [WORDS], "assign": [{**WORDS, "person": "kim"}]}
    ),
    "/api/v1/oncall": Operation(query={"weeks": ["1", "52"], "at": TIMES}),
    "/api/v1/oncall/{rotation:path}.ics": Operation("credential", {"rotation": "rotation"}, {"token": [ADMIN]}),
    "/api/v1/overrides": Operation(
        bodies={
            "": [
                {"rotation": "primary", "member": "choi", "from": "18:00", "to": "mon 09:00", **WORDS},
                {"rotation": "by-day", "member": "choi", "from": TIMES[5], "to": TIMES[6], "for": "kim"},
            ]
        }
    ),
    "/api/v1/overrides/{id}": Operation(names={"id": "override"}),
    "/api/v1/silences": Operation(
        bodies={
            "": [
                {"match": {"service": "db-1"}, "for": "2h", "by": "kim", "reason": "x"},
                {"match": {"any": [{"label.team": ["a", "~b"]}, {"not": {"severity": ">=error"}}]}, "until": "+1h"},
            ]
        }
    ),
    "/api/v1/silences/{id}": Operation(names={"id": "silence"}),
    "/callbacks/{kind}/{channel}": Operation("credential", {"kind": "kind", "channel": "channel"}, bodies=PRESSED),
    "/links/{token}": Operation("anybody", {"token": "link"}),
    "/healthz": Operation("anybody"),
    "/readyz": Operation("anybody"),
    "/metrics": Operation(),
}  # fmt: skip

HOSTILE = (
    "", " ", "0", "-1", "9" * 30, "9" * 5_000, "1e400", "٣", "²", "\x00", "a\x00b", "%00", "'; DROP TABLE events; --",
    "\\", "../../etc/passwd", "..", "a" * 3_000, "\u202e", "\ufeff", "🏴", "null", "\r\nx: y", "<b>", "{{ 7*7 }}",
    "${PATH}", "%s", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59",
    "1969-12-31T23:59:59Z", "+9999999999d", "-99999999999999 0199", "9999999999999999 x", "#1",
    "1", "01", "(", "~(", "~a{9999}", "a,b,,",
)  # fmt: skip
BYTES = ("%ff", "%ed%a0%80", "%", "%zz", "%c0%af", "%2f", "%00", "%0d%0a", "%f0%9f")
"""Percent signs that stand for no text."""
NUMBERS: Sequence[Json] = (0, -1, 2**31, 2**63, -(2**63) - 1, 10**400, 1.5, -0.0, 1e308, True)
RAW = (
    b"", b" ", b"{", b"null", b"NaN", b"\x00", b"{}{}", b"1" * 5_000, b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00",
    b"[" * 20_000, b"[" * 5_000 + b"]" * 5_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"title": "a", "title": null}', b'{"title": 1e400}', b'{"title": NaN}', b'{"title": "\\ud800"}',
    b'{"title": "\xed\xa0\x80"}',
    b"payload=", b"payload=%7B%7D", b"payload=%ff", b"a=1&a=2",
    gzip.compress(b'{"title": "x"}'), gzip.compress(b" " * 300_000), b" " * (1024 * 1024 + 1),
)  # fmt: skip
TYPES = (
    b"application/json", b"application/json", b"application/json; charset=utf-16", b"application/problem+json",
    b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"", b";",
    b"\xff", b"application/json" * 99,
)  # fmt: skip
HEADERS = st.sampled_from(
    [b"authorization", b"x-api-key", b"content-length", b"content-encoding", b"host", b"x-forwarded-for", b"via",
     b"idempotency-key", b"webhook-id", b"webhook-timestamp", b"webhook-signature", b"x-hub-signature-256",
     b"x-github-event", b"x-github-delivery", b"sentry-hook-signature", b"sentry-hook-resource", b"x-slack-signature",
     b"x-slack-request-timestamp", b"x-twilio-signature", b"x-telegram-bot-api-secret-token", b"accept", b"range",
     b"expect", b"x-http-method-override", b"transfer-encoding"]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(
        [b"", b"Bearer", b"bearer \xff", b"Basic Og==", b"Bearer " + TOKEN.encode(), b"gzip", b"identity", b"gzip, br",
         b"9" * 5_000, b"-1", b"\xb2", b"127.0.0.1", b"::1, 203.0.113.7", b"localhost", b"sha256=", b"v1,", b"v0=",
         b"1795176000", b"chunked", b"a" * 5_000, b"\t\x80", b"push", b"ping", b"installation"]
    ),
    # The server refuses a control character in a header.
    st.binary(max_size=12).map(lambda value: value.translate(None, bytes({*range(32), 127}))),
)  # fmt: skip
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12))
LEAVES: st.SearchStrategy[Json] = st.one_of(
    TEXTS, st.sampled_from(["\ud800", "x\udfff"]), st.sampled_from(NUMBERS), st.none()
)
VALUES_OF_JSON: st.SearchStrategy[Json] = st.one_of(
    LEAVES,
    st.lists(LEAVES, max_size=3),
    st.dictionaries(TEXTS, LEAVES, max_size=3),
    st.integers(20, 400).map(lambda depth: json.loads("[" * depth + "]" * depth)),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "post")


@st.composite
def requests(draw: st.DrawFn, path: str, methods: Sequence[str], known: Known) -> Asked:
    operation = OPERATIONS[path]
    names = {name: draw(_name(known[kind])) for name, kind in operation.names.items()}
    if "kind" in names and not draw(_SELDOM):
        names["channel"] = names["kind"]  # each is named as its kind
    decisive = next((word for word in names.values() if word in operation.bodies), "")
    said = operation.bodies.get(decisive) or next(iter(operation.bodies.values()), [{}])
    for name, word in names.items():
        path = path.replace(f"{{{name}:path}}", f"{{{name}}}").replace(f"{{{name}}}", word)
    method = draw(st.sampled_from([*methods] * 9 + [*METHODS]))
    query = draw(_query(operation.query))
    body = draw(_body(said, decisive in ("slack", "twilio"))) if method not in ("GET", "HEAD") or draw(_SELDOM) else b""
    knocks = not draw(st.sampled_from([False, False, False, True]))
    headers = list(draw(st.lists(st.tuples(HEADERS, VALUES), max_size=2))) if draw(_SELDOM) else []
    headers += [(b"host", b"127.0.0.1:8080"), (b"content-type", draw(st.sampled_from([*TYPES, *TYPES[:1] * 20])))]
    if knocks:
        shown = credentials(operation.door, names, f"{PUBLIC}{path}" + (f"?{query}" if query else ""), body)
        headers += [(name.encode(), value.encode()) for name, value in shown.items() if name != "content-type"]
    cut = draw(st.integers(0, len(body))) if draw(_SELDOM) else 0
    pieces = (body[:cut], body[cut:]) if cut else (body,)
    return Asked(method, path, query, tuple(headers), pieces, cut > 0 and draw(_SELDOM), knocks)


def credentials(door: Door, names: Mapping[str, str], url: str, body: bytes) -> Mapping[str, str]:
    """What opens the door: the administrator's token, a source's own, or a vendor's signature."""
    if door != "credential":
        return by_token(ADMIN)
    match names.get("source") or names.get("kind"):
        case "github":
            return by_github(body, "workflow_run", secret=SECRET)
        case "sentry":
            return by_sentry(body, secret=SENTRY_SECRET)
        case "hetrix":
            return by_token(HETRIX_TOKEN)
        case "slack":
            stamp = str(int(time.time()))
            return {"x-slack-request-timestamp": stamp, "x-slack-signature": _by_slack(stamp, body)}
        case "telegram":
            return {"x-telegram-bot-api-secret-token": TELEGRAM_SECRET}
        case "twilio":
            return {"x-twilio-signature": _by_twilio(url, body)}
    return by_token(ADMIN if "rotation" in names else TOKEN)


def _by_slack(stamp: str, body: bytes) -> str:
    return "v0=" + hmac.new(SLACK_SECRET.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()


def _by_twilio(url: str, body: bytes) -> str:
    pairs = sorted(set(urllib.parse.parse_qsl(body.decode("latin-1"), keep_blank_values=True)))
    signed = (url + "".join(name + value for name, value in pairs)).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.new(twilio.AUTH_TOKEN.encode(), signed, hashlib.sha1).digest()).decode()


_SELDOM = st.sampled_from([False] * 5 + [True])


def _name(known: Sequence[str]) -> st.SearchStrategy[str]:
    """One that exists, most of the time, as it stands in an address."""
    good = st.sampled_from([_quoted(name) for name in known])
    return st.one_of(good, good, good, TEXTS.map(_quoted), st.sampled_from(BYTES))


def _quoted(text: str) -> str:
    return urllib.parse.quote(text.encode("utf-8", "surrogatepass"), safe="")


@st.composite
def _query(draw: st.DrawFn, good: Mapping[str, Sequence[str]]) -> str:
    pairs: list[str] = []
    for name in draw(st.lists(st.sampled_from([*good, "unknown"]), max_size=4)):
        values = st.sampled_from([_quoted(value) for value in good.get(name, ["1"])])
        pairs.append(f"{name}={draw(st.one_of(values, values, TEXTS.map(_quoted), st.sampled_from(BYTES)))}")
    return "&".join([*pairs, *([draw(st.sampled_from(BYTES))] if draw(_SELDOM) else [])])


@st.composite
def _body(draw: st.DrawFn, said: Sequence[Json], form: bool) -> bytes:
    """A good one, or one whose one place is spoiled, or what is none at all."""
    if draw(_SELDOM):
        return draw(st.one_of(st.sampled_from(RAW), st.binary(max_size=40)))
    document = draw(st.sampled_from(said))
    if draw(st.sampled_from([True, True, False])):
        document = _spoiled(document, draw)
    text = json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if not form:
        return text
    flat = isinstance(document, dict) and "actions" not in document
    pairs: Any = {key: str(value) for key, value in document.items()} if flat else {"payload": text}
    return urllib.parse.urlencode(pairs, errors="surrogatepass").encode()


def _spoiled(document: Json, draw: st.DrawFn) -> Json:
    """The same with one place changed: another value, a key more, or one less."""
    if isinstance(document, dict) and document:
        key = draw(st.sampled_from(sorted(document)))
        match draw(st.sampled_from(["deeper", "deeper", "value", "more", "less"])):
            case "deeper":
                return {**document, key: _spoiled(document[key], draw)}
            case "value":
                return {**document, key: draw(VALUES_OF_JSON)}
            case "more":
                return {**document, draw(TEXTS): draw(VALUES_OF_JSON)}
        return {name: value for name, value in document.items() if name != key}
    if isinstance(document, list) and document and draw(st.booleans()):
        place = draw(st.integers(0, len(document) - 1))
        return [*document[:place], _spoiled(document[place], draw), *document[place + 1 :]]
    return draw(VALUES_OF_JSON)
