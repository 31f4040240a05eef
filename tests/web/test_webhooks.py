"""`POST /webhooks/{source}`: who may, what is kept, what is refused and in which order, and what is a duplicate."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.house import (
    GENERIC,
    HETRIX_TOKEN,
    ROUTING,
    SECRET,
    SENTRY_SECRET,
    TOKEN,
    Clock,
    Running,
    by_github,
    by_sentry,
    by_token,
    counted,
    running,
    until,
)

DAY = 86_400_000
MANY = """
sources:
  both: {adapter: github, secret: both-secret, token: both-token}
  rotating: {adapter: github, secret: [old-secret, new-secret]}
  tokens: {adapter: generic, token: [tkn-old, tkn-new], gzip: true, max_body: 64KiB}
  open: {adapter: generic, unauthenticated: true}
  limited: {adapter: generic, token: tkn-limited, limit: 2/h}
  walled: {adapter: generic, token: tkn-walled, allow_from: [10.1.0.0/16, "2001:db8::/32"]}
  github: {adapter: github, secret: sec-github-0001}
  asleep: {adapter: github, secret: "${NOT_SET}", optional: true}
  small: {adapter: generic, token: tkn-small, max_body: 1KiB, limit: 1/h}
channels:
  terminal: {kind: screen}
routes:
  - {name: all, match: {}, to: [terminal]}
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as house:
        yield house


@pytest.fixture
async def many(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, MANY) as house:
        yield house


def refused(answer: httpx2.Response, status: int, reason: str) -> dict[str, Any]:
    """The problem, which must be one in every respect."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"urn:tocsin:problem:{reason}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return problem


# --- what is taken ------------------------------------------------------------------------------------


async def test_a_webhook_is_answered_with_the_id_it_is_stored_under(house: Running) -> None:
    answer = await house.post("generic", {"title": "Disk full"})
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"event": answer.json()["event"], "duplicate": False}
    with closing(sqlite3.connect(house.database)) as database:
        (body,) = database.execute("SELECT body FROM events WHERE id = ?", [answer.json()["event"]]).fetchone()
    assert body == b'{"title": "Disk full"}'


async def test_the_body_is_kept_byte_for_byte(house: Running) -> None:
    body = b'\n{ "title" :"Disk \\u00e9" , "n": 1.10}\r\n'
    event = (await house.post("generic", body)).json()["event"]
    with closing(sqlite3.connect(house.database)) as database:
        (kept,) = database.execute("SELECT body FROM events WHERE id = ?", [event]).fetchone()
    assert kept == body


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"title": "x"}'),
        ("application/json; charset=utf-8", b'{"title": "x"}'),
        ("APPLICATION/JSON", b'{"title": "x"}'),
        ("application/vnd.acme.alert+json", b'{"title": "x"}'),
        ("text/plain", b'{"title": "x"}'),
        ("", b'{"title": "x"}'),
        ("application/x-www-form-urlencoded", b'{"title": "x"}'),
        ("application/x-www-form-urlencoded", b"payload=%7B%22title%22%3A%22x%22%7D&more=1"),
        ("application/json", b'\xef\xbb\xbf{"title": "x"}'),
        ("application/json", b'"words alone"'),
        ("application/json", b"null"),
        ("application/json", b"[]"),
        ("application/json", b'{"unknown": {"shape": 1}}'),
    ],
)
async def test_whatever_is_json_in_a_type_we_read_is_kept(house: Running, kind: str, body: bytes) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", **({"content-type": kind} if kind else {})}
    answer = await house.post("generic", body, headers)
    assert answer.status_code == 202
    await house.decided()
    (event,) = await house.events()
    assert event["state"] in ("done", "unreadable")


async def test_an_unknown_shape_with_a_good_credential_is_kept_as_unreadable(house: Running) -> None:
    body = b'{"nothing": "that GitHub sends"}'
    answer = await house.post("github", body, by_github(body, "unheard_of"))
    assert answer.status_code == 202
    await house.decided()
    (event,) = await house.events(state="unreadable")
    assert event["id"] == answer.json()["event"]
    assert "unheard_of" in event["reason"]


# --- handshakes ---------------------------------------------------------------------------------------


async def test_a_ping_of_github_is_verified_answered_and_never_stored(house: Running) -> None:
    body = b'{"zen": "Mind your words, ping-canary-7731.", "hook_id": 1}'
    answer = await house.post("github", body, by_github(body, "ping", "delivery-canary-7731"))
    assert (answer.status_code, answer.json()) == (200, {"event": None, "handshake": True})
    refused(await house.post("github", body, by_github(body, "ping", secret="wrong")), 401, "bad_credential")
    assert await house.events() == []
    assert b"canary-7731" not in house.on_disk()


async def test_an_installation_of_sentry_is_verified_answered_and_never_stored(house: Running) -> None:
    body = b'{"action": "created", "data": {"installation": {"uuid": "u", "code": "grant-canary-8842"}}}'
    for resource in ("installation", "issue"):
        answer = await house.post("sentry", body, by_sentry(body, resource))
        assert (answer.status_code, answer.json()) == (200, {"event": None, "handshake": True})
    refused(await house.post("sentry", body, by_sentry(body, "installation", "wrong")), 401, "bad_credential")
    assert await house.events() == []
    assert b"grant-canary-8842" not in house.on_disk()


# --- the error table ----------------------------------------------------------------------------------


async def test_a_missing_or_wrong_credential_is_401(house: Running) -> None:
    for headers in (
        {},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        by_token("wrong"),
        by_token(TOKEN + "0"),
        by_token(TOKEN[:-1]),
        {"x-api-key": "wrong"},
    ):
        answer = await house.post("generic", {"title": "x"}, {"content-type": "application/json", **headers})
        refused(answer, 401, "bad_credential")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["nobody", "asleep", "nobody/token", "github/a/b", "", "GitHub", "..%2fx", "%00"])
async def test_an_unknown_or_sleeping_source_is_404_whatever_the_credential(many: Running, path: str) -> None:
    answer = await many.post(path, {"title": "x"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_another_method_is_405_and_names_the_one_that_is_allowed(house: Running, method: str) -> None:
    answer = await house.client.request(method, "/webhooks/generic", headers=GENERIC)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        refused(answer, 405, "wrong_method")


async def test_a_body_over_the_cap_is_413_however_it_is_announced(house: Running) -> None:
    big = b'{"title": "' + b"x" * 1024**2 + b'"}'
    refused(await house.post("generic", big), 413, "too_large")

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 65_536):
            yield big[start : start + 65_536]

    refused(await house.client.post("/webhooks/generic", content=in_pieces(), headers=GENERIC), 413, "too_large")
    declared = {**GENERIC, "content-length": "99999999999999999999999"}
    refused(await house.client.post("/webhooks/generic", content=b"{}", headers=declared), 413, "too_large")
    exactly = b'{"title": "' + b"x" * (1024**2 - 13) + b'"}'
    assert len(exactly) == 1024**2
    assert (await house.post("generic", exactly)).status_code == 202


async def test_github_may_send_25_mib_and_a_source_may_set_its_own_cap(many: Running) -> None:
    fits = b'{"a": "' + b"x" * (25 * 1024**2 - 9) + b'"}'
    assert (await many.post("github", fits, by_github(fits))).status_code == 202
    larger = fits + b" "
    refused(await many.post("github", larger, by_github(larger)), 413, "too_large")
    refused(await many.post("tokens", b'"' + b"x" * 65_536 + b'"', by_token("tkn-new")), 413, "too_large")


@pytest.mark.parametrize(
    "kind", ["application/xml", "text/html", "multipart/form-data", "application/yaml", "image/png", "é/ü", "json"]
)
async def test_a_type_we_do_not_read_is_415(house: Running, kind: str) -> None:
    headers = [("authorization", f"Bearer {TOKEN}".encode()), ("content-type", kind.encode())]
    answer = await house.client.post("/webhooks/generic", content=b'{"title": "x"}', headers=headers)
    refused(answer, 415, "wrong_type")


async def test_a_form_without_json_is_415(house: Running) -> None:
    form = by_token(**{"content-type": "application/x-www-form-urlencoded"})
    refused(await house.post("generic", b"a=1&b=2", form), 415, "wrong_type")
    refused(await house.post("generic", b"a=\xff", form), 400, "not_json")
    refused(await house.post("generic", b"payload=no+json", form), 400, "not_json")


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate", "zstd", "gzip, gzip", "é"])
async def test_a_content_encoding_that_the_source_does_not_allow_is_415(house: Running, encoding: str) -> None:
    body = gzip.compress(b'{"title": "x"}')
    headers = [("authorization", f"Bearer {TOKEN}".encode()), ("content-encoding", encoding.encode())]
    refused(await house.client.post("/webhooks/generic", content=body, headers=headers), 415, "wrong_type")


async def test_gzip_is_read_where_the_source_allows_it_and_stored_unpacked(many: Running) -> None:
    packed = by_token("tkn-new", **{"content-encoding": "gzip"})
    event = (await many.post("tokens", gzip.compress(b'{"title": "zipped"}'), packed)).json()["event"]
    assert (await many.get(f"events/{event}"))["body"] == '{"title": "zipped"}'
    identity = by_token("tkn-new", **{"content-encoding": "identity"})
    assert (await many.post("tokens", {"title": "x"}, identity)).status_code == 202


async def test_gzip_that_would_grow_without_bounds_or_is_broken_is_refused(many: Running) -> None:
    packed = by_token("tkn-new", **{"content-encoding": "gzip"})
    bomb = gzip.compress(b'"' + b"0" * 20_000_000 + b'"')
    assert len(bomb) < 65_536
    refused(await many.post("tokens", bomb, packed), 413, "too_large")
    whole = gzip.compress(b'{"title": "x"}')
    for body in (whole[:-4], whole[:8], whole + b"more", whole + whole, b"", b"{}", b"\x1f\x8b\x08\x00"):
        refused(await many.post("tokens", body, packed), 400, "not_gzip")


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{", b"{'a': 1}", b"[1,]", b"NaN", b'{"a": Infinity}', b'\xff"', b"<a/>", b"[" * 100_000]
)
async def test_what_is_no_json_is_400(house: Running, body: bytes) -> None:
    refused(await house.post("generic", body), 400, "not_json")


async def test_over_the_limit_of_the_source_is_429_and_says_when_to_come_again(many: Running) -> None:
    good = by_token("tkn-limited")
    for _ in range(5):
        refused(await many.post("limited", {"title": "x"}, by_token("wrong")), 401, "bad_credential")
    refused(await many.post("limited", b"{", good), 400, "not_json")
    assert [(await many.post("limited", {"title": "x"}, good)).status_code for _ in range(3)] == [202, 202, 429]
    answer = await many.post("limited", {"title": "x"}, good)
    refused(answer, 429, "over_limit")
    assert 1 <= int(answer.headers["retry-after"]) <= 3600
    assert (await many.post("open", {"title": "x"})).status_code == 202


async def test_only_the_addresses_of_allow_from_may_send(many: Running) -> None:
    good = by_token("tkn-walled")
    refused(await many.post("walled", {"title": "x"}, good), 403, "address_not_allowed")
    for address, status in {
        "10.1.2.3": 202,
        "::ffff:10.1.2.3": 202,
        "2001:db8::7": 202,
        "10.2.0.1": 403,
        "2001:db9::1": 403,
        "unix": 403,
    }.items():
        answer = await many.client_at(address).post("/webhooks/walled", json={"title": "x"}, headers=good)
        assert answer.status_code == status, address
    inside = many.client_at("10.1.2.3")
    refused(await inside.post("/webhooks/walled", json={}, headers=by_token("wrong")), 401, "bad_credential")


async def test_an_address_that_guesses_hundreds_of_times_is_told_to_wait(house: Running) -> None:
    guesser = house.client_at("203.0.113.9")
    seen = [
        (await guesser.post("/webhooks/generic", json={}, headers=by_token(f"g{n}"))).status_code for n in range(310)
    ]
    assert seen[:300] == [401] * 300
    assert seen[-1] == 429
    answer = await guesser.post("/webhooks/generic", json={}, headers=by_token("again"))
    refused(answer, 429, "guessing")
    assert int(answer.headers["retry-after"]) >= 1
    other = house.client_at("203.0.113.10")
    refused(await other.post("/webhooks/generic", json={}, headers=by_token("wrong")), 401, "bad_credential")
    assert (await guesser.post("/webhooks/generic", json={"title": "x"}, headers=GENERIC)).status_code == 202


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
async def test_what_cannot_be_stored_is_503_and_can_be_sent_again(house: Running, how: str) -> None:
    body = b'{"title": "once more"}'
    signed = by_github(body, "push", "delivery-1")
    async with house.nobody_writes(how):
        answers = await asyncio.gather(house.post("github", body, signed), house.post("generic", {"title": "x"}))
        for answer in answers:
            refused(answer, 503, "store")
            assert int(answer.headers["retry-after"]) >= 1
    assert await house.events() == []
    again = await house.post("github", body, signed)
    assert (again.status_code, again.json()["duplicate"]) == (202, False)
    third = await house.post("github", body, signed)
    assert (third.status_code, third.json()) == (202, {"event": again.json()["event"], "duplicate": True})


# --- the order of refusal -----------------------------------------------------------------------------

_BIG = b'"' + b"x" * 2_000 + b'"'
_FAULTS: dict[str, dict[str, Any]] = {
    "404": {"source": "nobody"},
    "413": {"body": _BIG},
    "401": {"token": "wrong"},
    "415": {"content-type": "image/png"},
    "400": {"body": b"{"},
}
_ORDER = ["404", "413", "401", "415", "400"]


@pytest.mark.parametrize(
    ("first", "second"),
    [(a, b) for n, a in enumerate(_ORDER) for b in _ORDER[n + 1 :] if {a, b} != {"413", "400"}],
)
async def test_of_two_faults_the_earlier_in_the_order_is_answered(many: Running, first: str, second: str) -> None:
    case = {"source": "small", "body": b"{}", "token": "tkn-small", "content-type": "application/json"}
    case |= _FAULTS[second] | _FAULTS[first]
    headers = by_token(case["token"], **{"content-type": case["content-type"]})
    answer = await many.post(case["source"], case["body"], headers)
    assert answer.status_code == int(first)


@pytest.mark.parametrize("fault", _ORDER)
async def test_over_the_limit_is_the_last_thing_to_be_refused(many: Running, fault: str) -> None:
    assert (await many.post("small", b"{}", by_token("tkn-small"))).status_code == 202
    case = {"source": "small", "body": b"{}", "token": "tkn-small", "content-type": "application/json"}
    case |= _FAULTS[fault]
    headers = by_token(case["token"], **{"content-type": case["content-type"]})
    assert (await many.post(case["source"], case["body"], headers)).status_code == int(fault)
    assert (await many.post("small", b"{}", by_token("tkn-small"))).status_code == 429


@pytest.mark.parametrize(
    ("source", "body", "credential"), [("walled", b"{}", "tkn-walled"), ("walled", b" " * 2_000_000, "wrong")]
)
async def test_an_address_that_may_not_send_is_told_that_alone(
    many: Running, source: str, body: bytes, credential: str
) -> None:
    refused(await many.post(source, body, by_token(credential)), 403, "address_not_allowed")
    assert (await many.client.request("PUT", f"/webhooks/{source}")).status_code == 405


async def test_the_wrong_type_is_told_before_broken_gzip(many: Running) -> None:
    headers = by_token("tkn-new", **{"content-encoding": "gzip", "content-type": "image/png"})
    assert (await many.post("tokens", b"no gzip", headers)).status_code == 415


# --- credentials --------------------------------------------------------------------------------------


async def test_with_secret_and_token_either_suffices(many: Running) -> None:
    body = b'{"a": 1}'
    assert (await many.post("both", body, by_github(body, secret="both-secret"))).status_code == 202
    assert (await many.post("both", body, by_token("both-token"))).status_code == 202
    assert (await many.post("both/both-token", body, {})).status_code == 202


async def test_a_request_with_a_signature_is_judged_by_that_alone(many: Running) -> None:
    body = b'{"a": 1}'
    bad = by_github(body, secret="wrong", authorization="Bearer both-token")
    refused(await many.post("both", body, bad), 401, "bad_credential")
    refused(await many.post("both/both-token", body, by_github(body, secret="wrong")), 401, "bad_credential")
    weak = {"authorization": "Bearer both-token", "x-hub-signature": "sha1=00"}
    refused(await many.post("both", body, weak), 401, "bad_credential")
    good = by_github(body, secret="both-secret", authorization="Bearer wrong")
    assert (await many.post("both", body, good)).status_code == 202


async def test_while_a_credential_rotates_old_and_new_both_fit(many: Running) -> None:
    body = b'{"a": 1}'
    for secret, status in {"old-secret": 202, "new-secret": 202, "older-secret": 401}.items():
        assert (await many.post("rotating", body, by_github(body, secret=secret))).status_code == status
    for token, status in {"tkn-old": 202, "tkn-new": 202, "tkn-older": 401}.items():
        assert (await many.post("tokens", body, by_token(token))).status_code == status


async def test_it_is_counted_which_credential_of_a_list_is_still_in_use(many: Running) -> None:
    body = b'{"a": 1}'

    def used(source: str, *places: str) -> list[float]:
        return [counted("tocsin_credentials_used_total", source=source, place=place) for place in places]

    before = used("rotating", "secret.0", "secret.1") + used("tokens", "token.0", "token.1") + used("open", "none")
    for secret, times in {"old-secret": 1, "new-secret": 2, "older-secret": 3}.items():
        for _ in range(times):
            await many.post("rotating", body, by_github(body, secret=secret))
    for token, times in {"tkn-old": 2, "tkn-new": 1, "tkn-older": 3}.items():
        for _ in range(times):
            await many.post("tokens", body, by_token(token))
    await many.post("open", body)
    after = used("rotating", "secret.0", "secret.1") + used("tokens", "token.0", "token.1") + used("open", "none")
    assert [now - was for was, now in zip(before, after, strict=True)] == [1, 2, 2, 1, 1]
    assert used("rotating", "", "none") + used("tokens", "", "none") == [0, 0, 0, 0]


async def test_a_token_may_stand_in_either_header_or_in_the_path(house: Running) -> None:
    for path, headers in (
        ("hetrix", {"authorization": f"Bearer {HETRIX_TOKEN}"}),
        ("hetrix", {"authorization": f"bearer   {HETRIX_TOKEN}"}),
        ("hetrix", {"x-api-key": HETRIX_TOKEN}),
        ("hetrix", {"authorization": "Bearer wrong", "x-api-key": HETRIX_TOKEN}),
        (f"hetrix/{HETRIX_TOKEN}", {"authorization": "Bearer wrong"}),
    ):
        assert (await house.post(path, {"a": 1}, headers)).status_code == 202
    refused(await house.post("hetrix/wrong", {"a": 1}), 401, "bad_credential")


async def test_a_token_outside_ascii_fits_as_the_utf8_it_was_written_in(tmp_path: Path) -> None:
    routing = ROUTING.replace(TOKEN, "비밀번호-é")
    async with running(tmp_path, routing) as house:
        raw = [("authorization", "Bearer 비밀번호-é".encode()), ("content-type", b"application/json")]
        assert (await house.client.post("/webhooks/generic", json={"title": "x"}, headers=raw)).status_code == 202
        assert (await house.client.post("/webhooks/generic/비밀번호-é", json={"title": "x"})).status_code == 202
        assert (await house.post("generic", {"title": "x"}, by_token("tkn"))).status_code == 401


@pytest.mark.parametrize("source", ["generic", "github", "sentry", "hetrix"])
async def test_no_header_a_stranger_writes_is_a_fault_of_ours(house: Running, source: str) -> None:
    names = ["authorization", "x-api-key", "x-hub-signature-256", "sentry-hook-signature", "webhook-signature"]
    for name in names:
        for value in (
            b"\xff\xfe",
            "Bearer ü".encode(),
            b"Bearer \xe9",
            b"sha256=\xe9",
            b"v1,\xe9 v1",
            b"",
            b"\x01",
            b"=" * 9_000,
        ):
            headers = [(name, value), ("webhook-id", b"\xe9"), ("webhook-timestamp", b"\xb2")]
            answer = await house.client.post(f"/webhooks/{source}", content=b"{}", headers=headers)
            refused(answer, 401, "bad_credential")
    assert await house.events() == []


async def test_an_unauthenticated_source_takes_anyone(many: Running) -> None:
    assert (await many.post("open", {"title": "x"}, {"content-type": "application/json"})).status_code == 202
    assert (await many.post("open", {"title": "x"}, by_token("whatever"))).status_code == 202


# --- duplicates ---------------------------------------------------------------------------------------


async def twice(house: Running, source: str, body: bytes, headers: dict[str, str]) -> tuple[Any, Any]:
    answers = [await house.post(source, body, headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    return answers[0].json(), answers[1].json()


async def test_the_same_delivery_of_github_is_one_event(house: Running) -> None:
    body = b'{"a": 1}'
    first, second = await twice(house, "github", body, by_github(body, "push", "d-1"))
    assert second == {"event": first["event"], "duplicate": True}
    assert first["duplicate"] is False
    other = b'{"a": 2}'
    redelivered = await house.post("github", other, by_github(other, "push", "d-1"))
    assert redelivered.json() == {"event": first["event"], "duplicate": True}
    assert len(await house.events()) == 1
    third, fourth = await twice(house, "github", body, by_github(body, "push"))
    assert third["event"] != fourth["event"]


@pytest.mark.parametrize("name", ["idempotency-key", "webhook-id"])
async def test_the_same_idempotency_key_or_webhook_id_is_one_event(house: Running, name: str) -> None:
    first, second = await twice(house, "generic", b'{"title": "x"}', by_token(**{name: "k-1"}))
    assert second == {"event": first["event"], "duplicate": True}
    third = await house.post("generic", {"title": "x"}, by_token(**{name: "k-2"}))
    assert third.json()["duplicate"] is False


async def test_long_keys_that_begin_alike_are_two_keys(house: Running) -> None:
    body = b'{"a": 1}'
    for source, headers in (("generic", by_token()), ("hetrix", by_token(HETRIX_TOKEN)), ("github", by_github(body))):
        one = await house.post(source, body, {**headers, "idempotency-key": "k" * 600 + "1"})
        two = await house.post(source, body, {**headers, "idempotency-key": "k" * 600 + "2"})
        again = await house.post(source, body, {**headers, "idempotency-key": "k" * 600 + "1"})
        assert (one.json()["duplicate"], two.json()["duplicate"], again.json()["duplicate"]) == (False, False, True)


async def test_the_same_id_at_two_sources_is_two_events(many: Running) -> None:
    body = b'{"a": 1}'
    for source, secret in (("github", SECRET), ("rotating", "old-secret"), ("both", "both-secret")):
        answer = await many.post(source, body, by_github(body, "push", "shared-id", secret))
        assert answer.json()["duplicate"] is False


async def test_the_same_body_of_sentry_within_a_day_is_one_event(house: Running) -> None:
    body = b'{"action": "created", "data": {"issue": {"id": "7", "title": "boom"}}}'
    first, second = await twice(house, "sentry", body, by_sentry(body))
    assert second == {"event": first["event"], "duplicate": True}
    other = body.replace(b"boom", b"bang")
    assert (await house.post("sentry", other, by_sentry(other))).json()["duplicate"] is False


UPTIME = {
    "monitor_id": "m1",
    "monitor_name": "shop",
    "monitor_target": "https://shop.example.com",
    "monitor_type": "website",
    "monitor_status": "offline",
    "timestamp": 1_795_176_000,
}
RESOURCE = {
    "monitor_id": "m1",
    "monitor_name": "db",
    "timestamp": 1_795_176_000,
    "resource_usage": {"resource_type": "cpu", "current_usage": "97"},
}
BLACKLIST = [{"monitor": "203.0.113.7", "blacklisted_now": "2", "blacklisted_on": []}]


@pytest.mark.parametrize(("document", "once"), [(UPTIME, True), (RESOURCE, True), (BLACKLIST, False)])
async def test_the_same_body_of_hetrixtools_is_one_event_where_it_carries_its_time(
    house: Running, document: Any, once: bool
) -> None:
    first, second = await twice(house, "hetrix", json.dumps(document).encode(), by_token(HETRIX_TOKEN))
    assert second["duplicate"] is once
    assert (second["event"] == first["event"]) is once


async def test_a_generic_alert_is_never_a_duplicate_by_its_body(house: Running) -> None:
    first, second = await twice(house, "generic", b'{"title": "x"}', by_token())
    assert second["duplicate"] is False
    assert first["event"] != second["event"]
    await house.decided()
    (incident,) = (await house.get("incidents"))["items"]
    assert incident["count"] == 2


@pytest.mark.parametrize(
    ("source", "headers", "kept"),
    [
        ("github", lambda body: by_github(body, "push", "d-9"), 7 * DAY),
        ("generic", lambda _body: by_token(**{"idempotency-key": "k-9"}), 7 * DAY),
        ("sentry", by_sentry, DAY),
    ],
)
async def test_an_id_is_kept_seven_days_and_a_body_one_through_restarts(
    tmp_path: Path, source: str, headers: Any, kept: int
) -> None:
    body, clock = b'{"title": "x", "action": "created", "data": {"issue": {"id": "1"}}}', Clock()
    async with running(tmp_path, clock=clock) as house:
        first = (await house.post(source, body, headers(body))).json()
        await house.told()
    clock.ahead = kept - 60_000
    async with running(tmp_path, clock=clock) as house:
        assert (await house.post(source, body, headers(body))).json() == {"event": first["event"], "duplicate": True}
        clock.ahead = kept + 60_000
        later = (await house.post(source, body, headers(body))).json()
        assert later["duplicate"] is False
        assert (await house.post(source, body, headers(body))).json() == {"event": later["event"], "duplicate": True}
        await house.told()


async def test_fifty_equal_posts_at_the_very_same_moment_are_one_event(house: Running) -> None:
    body = b'{"a": 1}'
    signed = by_github(body, "push", "d-50")
    answers = [
        answer.json() for answer in await asyncio.gather(*(house.post("github", body, signed) for _ in range(50)))
    ]
    assert len({answer["event"] for answer in answers}) == 1
    assert sorted(answer["duplicate"] for answer in answers) == [False] + [True] * 49
    assert len(await house.events()) == 1


async def test_many_different_posts_at_the_same_moment_are_all_kept(house: Running) -> None:
    answers = await asyncio.gather(*(house.post("generic", {"title": f"a{n}"}) for n in range(200)))
    ids = {answer.json()["event"] for answer in answers}
    assert len(ids) == 200
    await house.decided()
    assert {event["id"] for event in await house.events()} == ids


async def test_what_was_refused_is_nowhere_in_the_database(many: Running) -> None:
    body = b'{"title": "refused-canary-5512"}'
    for path, headers in (
        ("nobody", by_token("tkn-new")),
        ("tokens", by_token("wrong", **{"idempotency-key": "refused-canary-5512"})),
        ("walled", by_token("tkn-walled")),
        ("tokens", by_token("tkn-new", **{"content-type": "image/png"})),
        ("tokens", by_token("tkn-new", **{"content-encoding": "br"})),
        ("github", by_github(body, "push", "refused-canary-5512", "wrong")),
        ("tokens/refused-canary-5512", {}),
    ):
        assert (await many.post(path, body, headers)).status_code >= 400
    refused(await many.post("tokens", body + b"{", by_token("tkn-new")), 400, "not_json")
    refused(await many.post("tokens", body + b" " * 70_000, by_token("tkn-new")), 413, "too_large")
    for faulty, headers, status in (
        (b'{"title": "x", "no-such-field": "refused-canary-5512"}', by_token("tkn-new"), 422),
        (body + b"{", by_token("tkn-new"), 400),
    ):
        assert (await many.client.post("/api/v1/alerts", content=faulty, headers=headers)).status_code == status
    assert await many.events() == []
    while (answer := await many.post("limited", {"title": "x"}, by_token("tkn-limited"))).status_code != 429:
        assert answer.status_code == 202
    late = by_token("tkn-limited", **{"idempotency-key": "refused-canary-5512"})
    refused(await many.post("limited", body, late), 429, "over_limit")
    assert b"canary-5512" not in many.on_disk()


async def test_no_name_that_a_stranger_gives_becomes_a_file(house: Running, tmp_path: Path) -> None:
    for name in ("../canary-4471", "/tmp/canary-4471", "..\\canary-4471", "%2e%2e%2fcanary-4471", "canary-4471\0.txt"):
        files = [{"filename": name, "path": name, "url": f"file://{name}", "content": "eA=="}]
        await house.alert(
            name, fingerprint=name, fields={"attachments": files, "filename": name}, labels={"file": name}
        )
        body = json.dumps({"title": name, "attachments": files, "filename": name}).encode()
        disposition = f'attachment; filename="{name[:9]}"'
        assert (await house.post("generic", body, {**GENERIC, "content-disposition": disposition})).status_code == 202
    await house.told()
    own = {house.routing.name, *(f"{house.database.name}{tail}" for tail in ("", "-wal", "-shm", ".lock"))}
    assert {name for _, folders, files in os.walk(tmp_path) for name in (*folders, *files)} <= own


async def test_credentials_are_neither_stored_nor_shown(house: Running) -> None:
    body = b'{"a": 1}'
    await house.post(f"hetrix/{HETRIX_TOKEN}", body, {})
    await house.post("generic", body, by_token(cookie="session=cookie-canary-91"))
    await house.post("github", body, by_github(body, "push", "d-1"))
    await house.post("sentry", body, by_sentry(body))
    await house.told()
    shown = "".join([(await house.client.get(f"/api/v1/events/{e['id']}")).text for e in await house.events()])
    for secret in (
        TOKEN,
        HETRIX_TOKEN,
        SECRET,
        SENTRY_SECRET,
        "cookie-canary-91",
        by_sentry(body)["sentry-hook-signature"],
    ):
        assert secret not in shown
        assert secret.encode() not in house.on_disk()


async def test_a_source_that_a_reload_removes_is_gone_and_its_events_are_still_decided(house: Running) -> None:
    await house.alert("before")
    house.routing.write_text(ROUTING.replace("  generic:", "  other:"))

    async def gone() -> bool:
        return (await house.post("generic", {"title": "x"})).status_code == 404

    await until(gone)
    await house.decided()
    assert {event["state"] for event in await house.events()} == {"done"}


async def test_a_slash_at_the_end_of_the_address_changes_nothing(house: Running) -> None:
    assert (await house.post("generic/", {"title": "x"})).status_code == 202
    refused(await house.post("generic/", {"title": "x"}, {}), 401, "bad_credential")
