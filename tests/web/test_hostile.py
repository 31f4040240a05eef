"""What no honest sender sends, over real sockets to the real program: none of it is a fault of ours, and whatever
was answered 202 is in the inbox and decided, or kept as unreadable."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import SECRET, TOKEN, Program, program, until

ROUTING = f"""
sources:
  generic: {{adapter: generic, token: {TOKEN}}}
  zipped: {{adapter: generic, token: {TOKEN}-zipped, gzip: true}}
  open: {{adapter: generic, unauthenticated: true}}
  signed: {{adapter: generic, secret: whsec_YSBrZXkgb2YgdHdlbnR5LWZvdXIgYnl0}}
  github: {{adapter: github, secret: {SECRET}}}
  sentry: {{adapter: sentry, secret: sentry-secret}}
  hetrix: {{adapter: hetrixtools, token: {TOKEN}-hetrix}}
channels:
  terminal: {{kind: screen}}
routes:
  - {{name: all, match: {{}}, to: [terminal]}}
"""
Case = tuple[str, bytes]
GOOD = b"authorization: Bearer " + TOKEN.encode()
JSON = b"content-type: application/json"
PATH = b"/webhooks/generic"
ALERTS = b"/api/v1/alerts"


def post(body: bytes, *headers: bytes, path: bytes = PATH) -> bytes:
    named = headers or (GOOD, JSON)
    length = (
        () if any(h.lower().startswith(b"transfer-encoding") for h in named) else (b"content-length: %d" % len(body),)
    )
    return b"\r\n".join([b"POST " + path + b" HTTP/1.1", b"host: x", *named, *length, b"", body])


def line(start: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([start, b"host: x", *headers, b"", b""])


def github(body: bytes, *headers: bytes, event: bytes = b"push") -> bytes:
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest().encode()
    signed = (b"x-hub-signature-256: sha256=" + digest, b"x-github-event: " + event, JSON, *headers)
    return post(body, *signed, path=b"/webhooks/github")


def bodies() -> Iterator[Case]:
    """JSON, and what looks like it."""
    deep = 100_000
    yield from {
        "lists without end": b"[" * deep,
        "lists closed": b"[" * deep + b"]" * deep,
        "objects without end": b'{"a":' * deep,
        "objects closed": b'{"a":' * deep + b"1" + b"}" * deep,
        "a title in the deep": b'{"title": ' + b"[" * 200 + b"]" * 200 + b"}",
        "alerts within alerts": b'{"alerts": [' * 30 + b"]}" * 30,
        "not a number": b'{"title": NaN}',
        "infinity": b'{"title": "x", "value": Infinity}',
        "minus infinity": b"-Infinity",
        "beyond any float": b'{"title": "x", "value": 1e400}',
        "below any float": b'{"title": "x", "value": -1e400}',
        "nearly nothing": b'{"title": "x", "value": 1e-400}',
        "400 digits": b'{"title": "x", "value": ' + b"9" * 400 + b"}",
        "5,000 digits": b'{"title": "x", "value": ' + b"9" * 5_000 + b"}",
        "500,000 digits": b"9" * 500_000,
        "beyond 64 bits": b'{"title": "x", "value": 9223372036854775808}',
        "below 64 bits": b'{"title": "x", "value": -9223372036854775809}',
        "a time beyond years": b'{"title": "x", "occurred_at": 1e300}',
        "a time of 4,000 digits": b'{"title": "x", "occurred_at": ' + b"9" * 4_000 + b"}",
        "year zero": b'{"title": "x", "occurred_at": "0000-00-00T00:00:00Z"}',
        "the same key twice": b'{"title": "a", "title": "b", "title": null}',
        "empty keys": b'{"": {"": {"": ""}}}',
        "NUL escaped": b'{"title": "a\\u0000b", "labels": {"\\u0000": "\\u0000"}}',
        "NUL raw": b'{"title": "a\x00b"}',
        "control characters raw": b'{"title": "a\x01\x1b[2Jb"}',
        "a lone surrogate": b'{"title": "\\ud800"}',
        "a lone low surrogate": b'{"title": "\\udfff tail", "labels": {"\\udc00": "x"}}',
        "surrogates the wrong way round": b'{"title": "\\udc00\\ud800"}',
        "a surrogate and depth": b'["\\ud800"' + b",[" * 5_000 + b"]" * 5_001,
        "surrogates in UTF-8": b'{"title": "\xed\xa0\x80"}',
        "bidi overrides": '{"title": "pay \u202eevil\u202c \u2066x\u2069 \u2028 \u2029 \ufeff"}'.encode(),
        "a BOM": b'\xef\xbb\xbf{"title": "x"}',
        "two BOMs": b'\xef\xbb\xbf\xef\xbb\xbf{"title": "x"}',
        "a BOM alone": b"\xef\xbb\xbf",
        "UTF-16": '{"title": "x"}'.encode("utf-16"),
        "UTF-16 without its mark": '{"title": "x"}'.encode("utf-16-le"),
        "UTF-32": '{"title": "x"}'.encode("utf-32"),
        "Latin-1": '{"title": "é"}'.encode("latin-1"),
        "overlong UTF-8": b'{"title": "\xc0\xaf"}',
        "beyond Unicode": b'{"title": "\xf4\x90\x80\x80"}',
        "half a character": b'{"title": "\xe2\x82"}',
        "nothing": b"",
        "blanks": b" \t\r\n" * 1_000,
        "a word": b"true",
        "null": b"null",
        "a number": b"-0",
        "a text of quotes": b'"' * 10_001,
        "backslashes": b'"' + b"\\" * 100_000,
        "a bad escape": b'{"title": "\\x41"}',
        "half an escape": b'{"title": "\\u00"}',
        "comments": b'{/* */"title": "x"}',
        "a comma too many": b'[{"title": "x"},]',
        "single quotes": b"{'title': 'x'}",
        "two documents": b'{"title": "a"}{"title": "b"}',
        "JSON lines": b'{"title": "a"}\n{"title": "b"}\n',
        "XML with entities": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "YAML with a tag": b"!!python/object/apply:os.system ['true']",
        "a pickle": b"\x80\x04\x95\x00",
        "prototype": b'{"title": "x", "labels": {"__proto__": "y", "__class__": "z", "constructor": "w"}}',
        "100,000 labels": b'{"title":"x","labels":{' + b",".join(b'"l%d":1' % n for n in range(80_000)) + b"}}",
        "100,000 items": b"[" + b",".join(b"{}" for _ in range(100_000)) + b"]",
        "a title of a megabyte": b'{"title": "' + b"x" * 1_000_000 + b'"}',
        "a key of a megabyte": b'{"' + b"x" * 1_000_000 + b'": 1}',
        "a body of newlines": b'{"title": "x", "body": "' + b"\\n" * 30_000 + b'"}',
        "markup": b'{"title": "<script>alert(1)</script> @everyone <!channel> [x](http://y) *b*"}',
        "a template": b'{"title": "{{ 7 * 7 }} {% for a in range(9**9) %}{% endfor %} ${TOCSIN_TOKEN}"}',
        "header injection": b'{"title": "a\\r\\nBcc: everybody@example.com\\r\\n\\r\\nx"}',
        "SQL": b'{"title": "\'); DROP TABLE events; --", "fingerprint": "\' OR 1=1"}',
        "an address of ours": b'{"title": "x", "url": "http://169.254.169.254/latest/meta-data/"}',
        "an address that is none": b'{"title": "x", "url": "javascript:alert(1)"}',
        "zero-width": '{"title": "\u200b\u200d\u2060", "service": "\u0000"}'.encode(),
        "emoji and joiners": '{"title": "👩\u200d👩\u200d👧 🇰🇷 한글 🀄"}'.encode(),
        "combining without end": ('{"title": "x' + "\u0301" * 5_000 + '"}').encode(),
        "expression food": b'{"title": "' + b"a" * 30_000 + b'!"}',
    }.items()


def everywhere() -> Iterator[Case]:
    """Every body at every door, with a good credential."""
    for name, body in bodies():
        yield name, post(body)
        yield f"{name}, strictly", post(body, path=ALERTS)
        if len(body) < 300_000:
            yield f"{name}, from GitHub", github(body)
            yield (
                f"{name}, in a form",
                post(b"payload=" + body, GOOD, b"content-type: application/x-www-form-urlencoded"),
            )


def packed() -> Iterator[Case]:
    """Bodies behind an encoding, where it is allowed and where it is not."""
    bomb = gzip.compress(b"0" * 200_000_000, 9)
    whole = gzip.compress(b'{"title": "x"}')
    good = b"authorization: Bearer " + TOKEN.encode() + b"-zipped"
    for name, body in {
        "a bomb": bomb,
        "a bomb in a bomb": gzip.compress(bomb),
        "half": whole[: len(whole) // 2],
        "only the header": whole[:10],
        "a broken sum": whole[:-5] + b"\x00\x00\x00\x00\x00",
        "not packed": b'{"title": "x"}',
        "nothing": b"",
        "two members": whole + whole,
        "rubbish behind": whole + b"rubbish",
        "zlib": zlib.compress(b'{"title": "x"}'),
        "reserved flags": b"\x1f\x8b\x08\xe0" + whole[4:],
    }.items():
        for encoding in (b"gzip", b"x-gzip", b"deflate"):
            header = b"content-encoding: " + encoding
            yield f"{name} as {encoding!r}, allowed", post(body, good, JSON, header, path=b"/webhooks/zipped")
        yield f"{name}, not allowed", post(body, GOOD, JSON, b"content-encoding: gzip")


def credentials() -> Iterator[Case]:
    """Headers that prove nothing."""
    body = b'{"title": "x"}'
    for value in (
        *(
            b"",
            b"sha256=",
            b"sha256=\xff",
            b"sha256=" + b"0" * 64,
            b"SHA256=" + b"0" * 64,
            b"sha1=00",
            b"=",
            b"\xc3\xa9",
        ),
        *(
            b"sha256=" + b"0" * 20_000,
            b"v1," + b"A" * 9_000,
            b"v1,",
            b"v1",
            b"v1a,x v1,y",
            b" ".join([b"v1,x"] * 3_000),
        ),
    ):
        for name, path in (
            (b"x-hub-signature-256", b"/webhooks/github"),
            (b"sentry-hook-signature", b"/webhooks/sentry"),
            (b"webhook-signature", b"/webhooks/signed"),
            (b"webhook-signature", ALERTS),
        ):
            moment = b"webhook-timestamp: %d" % time.time()
            yield f"{name!r} {value[:12]!r}", post(body, name + b": " + value, b"webhook-id: \xe9", moment, path=path)
    for moment in (b"", b"-1", b"0", b"1e9", b"\xb2", b"9" * 400, b"now"):
        signature = b"webhook-signature: v1," + base64.b64encode(b"x" * 32)
        named = (signature, b"webhook-id: m", b"webhook-timestamp: " + moment)
        yield f"signed at {moment[:5]!r}", post(body, *named, path=b"/webhooks/signed")
    for value in (b"Bearer", b"Bearer \xff", b"Basic Og==", b"Bearer  a  b", b"Bearer\t" + TOKEN.encode(), b"\x7f"):
        yield f"authorization {value!r}", post(body, b"authorization: " + value)


def targets() -> Iterator[Case]:
    """Addresses and methods."""
    for target in (
        *(
            b"/webhooks/../../etc/passwd",
            b"/webhooks/..%2f..%2fetc%2fpasswd",
            b"/webhooks/%2e%2e/generic",
            b"//webhooks/generic",
        ),
        *(
            b"/webhooks/generic%00",
            b"/webhooks/%ff%fe",
            b"/webhooks/%",
            b"/webhooks/%zz",
            b"/webhooks/gen%65ric",
            b"/webhooks//",
        ),
        *(
            b"/webhooks/generic/" + b"a" * 20_000,
            b"/webhooks/generic/%2e",
            b"/webhooks/generic/a%2fb",
            b"/webhooks/generic#x",
        ),
        *(
            b"/webhooks/\xed\x95\x9c",
            b"/webhooks/generic?token=" + TOKEN.encode(),
            b"/webhooks/generic;x",
            b"/webhooks/GENERIC",
        ),
        *(
            b"http://127.0.0.1/webhooks/generic",
            b"http://evil.example.com/webhooks/generic",
            b"https://x/api/v1/alerts",
        ),
        *(
            b"*",
            b"x",
            b"http:",
            b"http://[::1",
            b"/api/v1/events/..%2f..",
            b"/api/v1/incidents/%00",
            b"/" + b"a/" * 5_000,
        ),
    ):
        yield f"to {target[:30]!r}", post(b'{"title": "x"}', path=target)
    for method in (
        b"GET",
        b"HEAD",
        b"PUT",
        b"DELETE",
        b"OPTIONS",
        b"TRACE",
        b"PATCH",
        b"PROPFIND",
        b"CONNECT",
        b"get",
        b"FROB",
    ):
        for path in (PATH, ALERTS, b"/healthz", b"*", b"example.com:443"):
            yield f"{method!r} {path!r}", line(method + b" " + path + b" HTTP/1.1")
    for query in (
        b"limit=\xb2",
        b"limit=%C2%B2",
        b"cursor=%ff",
        b"cursor=" + b"A" * 9_000,
        b"since=%00",
        b"q=" + b"%25" * 60,
    ):
        for list_ in (b"events", b"incidents", b"deliveries"):
            yield f"{list_!r}?{query[:20]!r}", line(b"GET /api/v1/" + list_ + b"?" + query + b" HTTP/1.1")


def forms() -> Iterator[Case]:
    """HTTP that could be read in two ways, or in none."""
    body = b'{"title": "x"}'
    chunks = b"e\r\n" + body + b"\r\n0\r\n\r\n"
    for name, headers in {
        "length and chunks": (b"transfer-encoding: chunked", b"content-length: 4"),
        "chunks twice": (b"transfer-encoding: chunked", b"transfer-encoding: chunked"),
        "chunks and identity": (b"transfer-encoding: chunked, identity",),
        "identity": (b"transfer-encoding: identity",),
        "chunks with a blank": (b"transfer-encoding : chunked",),
        "chunks with a tab": (b"transfer-encoding:\tchunked",),
        "chunks in capitals": (b"Transfer-Encoding: CHUNKED",),
        "gzip, chunks": (b"transfer-encoding: gzip, chunked",),
        "xchunked": (b"transfer-encoding: xchunked",),
        "an obsolete fold": (b"x: a\r\n b", b"transfer-encoding: chunked"),
        "a bare CR": (b"x: a\rb", b"transfer-encoding: chunked"),
        "no name": (b": x", b"transfer-encoding: chunked"),
        "no colon": (b"words", b"transfer-encoding: chunked"),
    }.items():
        yield name, post(chunks, GOOD, JSON, *headers)
    for size in (b"-1", b"0x5", b"5 ", b"FFFFFFFFFFFFFFFFF", b"e;" + b"x" * 5_000, b"", b"\xb2"):
        yield (
            f"a chunk of {size[:8]!r}",
            post(size + b"\r\n" + body + b"\r\n0\r\n\r\n", GOOD, JSON, b"transfer-encoding: chunked"),
        )
    for length in (b"+14", b"14, 14", b"0x0e", b"1e1", b"", b" ", b"14\x00", b"9" * 30):
        yield (
            f"a length of {length!r}",
            b"\r\n".join([b"POST " + PATH + b" HTTP/1.1", b"host: x", GOOD, b"content-length: " + length, b"", body]),
        )
    yield "two lengths", post(body, GOOD, JSON, b"content-length: 13")
    yield "HTTP/0.9", b"GET /healthz\r\n\r\n"
    yield "HTTP/1.0", b"POST " + PATH + b" HTTP/1.0\r\n" + GOOD + b"\r\ncontent-length: 14\r\n\r\n" + body
    yield "HTTP/9.9", b"GET /healthz HTTP/9.9\r\nhost: x\r\n\r\n"
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"x" * 160
    yield "two hosts", post(body, GOOD, JSON, b"host: y")
    yield "no host", b"POST " + PATH + b" HTTP/1.1\r\n" + GOOD + b"\r\ncontent-length: 14\r\n\r\n" + body
    upgrade = (b"connection: upgrade", b"sec-websocket-version: 13", b"sec-websocket-key: eA==")
    for path in (PATH, ALERTS, b"/healthz", b"/nothing"):
        yield f"a web socket at {path!r}", line(b"GET " + path + b" HTTP/1.1", *upgrade, b"upgrade: websocket")
        yield f"h2c at {path!r}", line(b"GET " + path + b" HTTP/1.1", *upgrade, b"upgrade: h2c")
    for kind in (
        b"\xff",
        b"a" * 9_000,
        b"application/json;charset=utf-16",
        b"multipart/form-data; boundary=x",
        b";",
        b"/",
        b"+json",
    ):
        yield f"the type {kind[:10]!r}", post(body, GOOD, b"content-type: " + kind)
    many = tuple(b"x-%d: y" % n for n in range(450))
    yield "450 headers", post(body, GOOD, JSON, *many)
    yield "the same header 400 times", post(body, *[GOOD] * 100, JSON)
    for key in (b"k" * 9_000, b"\xff\xfe", b"\x7f", b"' OR 1=1", b"../../x"):
        yield f"the key {key[:8]!r}", post(body, GOOD, JSON, b"idempotency-key: " + key)
        yield f"the delivery {key[:8]!r}", github(body, b"x-github-delivery: " + key)
    for event in (b"\xff", b"e" * 9_000, b"", b"../push", b"push\t", b"__class__"):
        yield f"the event {event[:8]!r}", github(body, event=event)


def large() -> Iterator[Case]:
    """As much as GitHub may send."""
    labels = b",".join(b'"l%d":{"a":[%d]}' % (n, n) for n in range(100_000))
    yield "10^5 objects", github(b'{"sender": {' + labels + b"}}")
    yield "25 MiB", github(b'{"a": "' + b"x" * (25 * 1024**2 - 9) + b'"}')
    yield "a megabyte of brackets", github(b"[" * 1_000_000)
    yield "a byte more", github(b'{"a": "' + b"x" * (25 * 1024**2 - 8) + b'"}')
    yield "a megabyte more than the rest may", post(b" " * (2 * 1024**2))


async def status_of(gateway: Program, raw: bytes) -> tuple[int | None, bytes]:
    """(status, body) of the answer; (None, b"") where the connection was closed without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        async with asyncio.timeout(30):
            sending = asyncio.create_task(_send(writer, raw))
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [h for h in head.lower().split(b"\r\n") if h.startswith(b"content-length: ")]
                size = int(length[0].split()[1]) if length and not raw.startswith(b"HEAD") else 0
                body = await reader.readexactly(size)
                return int(head.split()[1]), body
            except (asyncio.IncompleteReadError, ConnectionError):
                return None, b""
            finally:
                sending.cancel()
    finally:
        writer.close()


async def _send(writer: asyncio.StreamWriter, raw: bytes) -> None:
    try:
        writer.write(raw)
        await writer.drain()
    except ConnectionError:
        pass


async def healthy_within(gateway: Program) -> float:
    """Seconds until /healthz has answered."""
    started = time.perf_counter()
    assert (await gateway.client.get("/healthz")).status_code == 200
    return time.perf_counter() - started


@pytest.mark.slow
async def test_no_request_is_a_fault_of_ours_and_what_was_taken_is_kept(tmp_path: Path) -> None:
    cases = [*everywhere(), *packed(), *credentials(), *targets(), *forms(), *large()]
    assert len(cases) >= 400
    taken: set[str] = set()
    seen: dict[int | None, int] = {}
    slow: list[tuple[float, str]] = []
    async with program(tmp_path, ROUTING, {"TOCSIN_LOG_LEVEL": "info"}) as gateway:
        for name, raw in cases:
            status, body = await status_of(gateway, raw)
            assert status is None or status < 500, (name, status, body)
            assert status is None or status < 400 or not body or json.loads(body)["status"] == status, (name, body)
            seen[status] = seen.get(status, 0) + 1
            if status == 202:
                answer = json.loads(body)
                taken |= set(answer.get("events", [answer.get("event")]))
            waited = min(await healthy_within(gateway), await healthy_within(gateway))
            slow += [(waited, name)] if waited > 0.2 else []
        assert gateway.process.returncode is None
        assert {202, 400, 401, 404, 405, 413, 415, 422} <= set(seen)
        assert seen.get(None, 0) < len(cases) / 20, "too many got no answer at all"
        assert not slow

        async def decided() -> bool:
            answer = await gateway.client.get("/api/v1/events", params={"state": "waiting", "limit": 1})
            return not answer.json()["items"]

        await until(decided, 30)
        kept: dict[str, str] = {}
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": 200, **({"cursor": cursor} if cursor else {})}
            page = (await gateway.client.get("/api/v1/events", params=query)).json()
            kept |= {event["id"]: event["state"] for event in page["items"] if event["source"] != "gateway"}
            cursor = page["next_cursor"]
        assert set(kept) == taken
        assert set(kept.values()) == {"done", "unreadable"}
        for id_ in kept:
            assert (await gateway.client.get(f"/api/v1/events/{id_}")).status_code == 200
    assert "Traceback" not in gateway.log
    assert '"level": "error"' not in gateway.log
    assert "\x1b" not in gateway.log
    assert all(json.loads(line)["event"] for line in gateway.log.rstrip("\n").split("\n")), "a line was broken in two"


async def test_a_flood_of_refusals_is_a_few_lines_and_a_count(tmp_path: Path) -> None:
    async with program(tmp_path, ROUTING) as gateway:
        raw = post(b"{}", b"authorization: Bearer wrong")
        for _ in range(20):
            await asyncio.gather(*(status_of(gateway, raw) for _ in range(30)))
        for _ in range(100):
            await status_of(gateway, b"rubbish\r\n\r\n")
        metrics = (await gateway.client.get("/metrics")).text
        await asyncio.sleep(1.1)
        await status_of(gateway, raw)
    refused = {
        reason: float(value)
        for reason, value in (
            (row.split('"')[1], row.split()[-1])
            for row in metrics.splitlines()
            if row.startswith("tocsin_requests_refused_total{")
        )
    }
    assert refused["bad_credential"] + refused["guessing"] == 600
    assert refused["guessing"] > 0
    assert refused["not_http"] == 100
    lines = [json.loads(row) for row in gateway.log.splitlines()]
    written = [row for row in lines if row["event"] == "request refused"]
    left_out = sum(row["count"] for row in lines if row["event"] == "refusals not written")
    assert len(written) + left_out == 701
    assert len(written) < 120
