"""Who may: administrators by token, or from this machine alone while none is set; clients behind proxies."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from gateway import config
from gateway.fields import read_network
from gateway.web import auth
from tests.house import ROUTING, Running, by_github, by_sentry, by_token, running

ADMIN = "admin-token-0001"
METRICS = "metrics-token-0001"
_CALLS = [
    ("GET", "/api/v1/events"),
    ("GET", "/api/v1/events/x"),
    ("POST", "/api/v1/events/x/replay"),
    ("GET", "/api/v1/incidents"),
    ("GET", "/api/v1/incidents/1"),
    ("GET", "/api/v1/deliveries"),
    ("POST", "/api/v1/deliveries/x/redeliver"),
    ("GET", "/api/v1/channels"),
    ("POST", "/api/v1/channels/terminal/test"),
    ("POST", "/api/v1/explain"),
    ("GET", "/metrics"),
]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Running]:
    """No admin token is set."""
    async with running(tmp_path) as house:
        yield house


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, environ={"TOCSIN_ADMIN_TOKEN": ADMIN, "TOCSIN_METRICS_TOKEN": METRICS}) as house:
        yield house


async def asked(house: Running, address: str = "127.0.0.1", host: str | None = "127.0.0.1", **headers: str) -> int:
    """The status of an administrator's question from there, with this Host and these headers."""
    client = house.client_at(address)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = client.build_request("GET", "/api/v1/events", headers=named)
    del request.headers["host"]
    if host is not None:
        request.headers["host"] = host
    return (await client.send(request)).status_code


# --- while no token is set ----------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.53", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_may(house: Running, address: str) -> None:
    assert await asked(house, address) == 200


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "192.168.1.2", "203.0.113.1", "::2", "fe80::1", "::ffff:10.0.0.1", "0.0.0.0", "", "localhost"],
)
async def test_no_other_machine_may(house: Running, address: str) -> None:
    assert await asked(house, address) == 401


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost", "localhost:8080", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:65535", "[::1]", "[::1]:8080"],
)
async def test_a_local_host_may(house: Running, host: str) -> None:
    assert await asked(house, host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        *("alerts.example.com", "alerts.example.com:8080", "127.0.0.1.example.com", "localhost.example.com"),
        *("evil.com:127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "[::1", "::1]", "[::2]", "[::ffff:127.0.0.1]"),
        *("localhost.", "localhost:", "localhost:80:80", "localhost:x", "localhost@evil.com", " ", "", "127.1"),
        *("localhost,evil.com", "[::1]evil", "local host", "2130706433"),
    ],
)
async def test_any_other_host_may_not(house: Running, host: str) -> None:
    assert await asked(house, host=host) == 401


async def test_a_request_without_host_or_with_two_may_not(house: Running) -> None:
    assert await asked(house, host=None) == 401
    request = house.client.build_request("GET", "/api/v1/events")
    request.headers = httpx2.Headers([("host", "localhost"), ("host", "evil.example.com")])
    assert (await house.client.send(request)).status_code == 401


@pytest.mark.parametrize(
    "name",
    [
        *("origin", "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
        *("x-forwarded-anything", "X-FORWARDED-FOR", "Origin", "x-forwarded-"),
    ],
)
@pytest.mark.parametrize("value", ["", "null", "127.0.0.1", "http://localhost:8080"])
async def test_a_trace_of_a_proxy_or_of_a_page_may_not(house: Running, name: str, value: str) -> None:
    answer = await house.client.get("/api/v1/events", headers={name: value})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:tocsin:problem:no_admin"


async def test_a_token_that_nobody_set_opens_nothing(house: Running) -> None:
    outside = house.client_at("10.0.0.1")
    for headers in ({"authorization": "Bearer "}, {"x-api-key": ""}, by_token("any"), by_token()):
        assert (await outside.get("/api/v1/events", headers=headers)).status_code == 401


# --- once a token is set ------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), _CALLS)
async def test_every_call_wants_the_token_even_from_this_machine(guarded: Running, method: str, path: str) -> None:
    for headers in ({}, by_token("wrong"), {"x-api-key": "wrong"}, by_token(ADMIN + "x"), {"x-api-key": ADMIN[:-1]}):
        answer = await guarded.client.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
    answer = await guarded.client.request(method, path, headers=by_token(ADMIN))
    assert answer.status_code != 401


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {ADMIN}"}, {"x-api-key": ADMIN}])
async def test_the_token_is_enough_from_anywhere(guarded: Running, headers: dict[str, str]) -> None:
    outside = guarded.client_at("203.0.113.7", "https://alerts.example.com", {"x-forwarded-for": "1.1.1.1"})
    assert (await outside.get("/api/v1/events", headers=headers)).status_code == 200


async def test_the_token_of_a_source_is_none_of_an_administrator_and_the_other_way(guarded: Running) -> None:
    assert (await guarded.client.get("/api/v1/events", headers=by_token())).status_code == 401
    assert (await guarded.post("generic", {"title": "x"}, by_token(ADMIN))).status_code == 401


async def test_metrics_open_to_their_own_token_and_nothing_else_does(guarded: Running) -> None:
    assert (await guarded.client.get("/metrics", headers=by_token(METRICS))).status_code == 200
    assert (await guarded.client.get("/metrics", headers={"x-api-key": METRICS})).status_code == 200
    assert (await guarded.client.get("/metrics", headers=by_token(ADMIN))).status_code == 200
    assert (await guarded.client.get("/metrics")).status_code == 401
    assert (await guarded.client.get("/api/v1/events", headers=by_token(METRICS))).status_code == 401


async def test_a_metrics_token_alone_leaves_this_machine_its_rights(tmp_path: Path) -> None:
    async with running(tmp_path, environ={"TOCSIN_METRICS_TOKEN": METRICS}) as house:
        assert (await house.client.get("/metrics")).status_code == 200
        outside = house.client_at("10.0.0.1")
        assert (await outside.get("/metrics")).status_code == 401
        assert (await outside.get("/metrics", headers=by_token(METRICS))).status_code == 200
        assert (await outside.get("/api/v1/events", headers=by_token(METRICS))).status_code == 401


# --- clients behind proxies ---------------------------------------------------------------------------

ROTATING = """
sources:
  github: {adapter: github, secret: [first-1, second-2]}
  sentry: {adapter: sentry, secret: [first-1, second-2]}
  hetrix: {adapter: hetrixtools, token: [first-1, second-2]}
channels:
  terminal: {kind: screen}
routes:
  - {name: all, match: {}, to: [terminal]}
"""
WALLED = """
trusted_proxies: [10.0.0.0/8, "fd00::/8"]
sources:
  walled: {adapter: generic, token: tkn-walled, allow_from: [198.51.100.0/24]}
channels:
  terminal: {kind: screen}
routes:
  - {name: all, match: {}, to: [terminal]}
"""


@pytest.mark.parametrize(
    ("peer", "forwarded", "status"),
    [
        ("198.51.100.7", [], 202),
        ("198.51.100.7", ["203.0.113.1"], 202),  # no proxy of ours: what it says of others is nothing
        ("203.0.113.1", ["198.51.100.7"], 403),
        ("10.1.1.1", ["198.51.100.7"], 202),
        ("fd00::1", ["198.51.100.7"], 202),
        ("::ffff:10.1.1.1", ["198.51.100.7"], 202),
        ("10.1.1.1", ["198.51.100.7, 203.0.113.1"], 403),  # the sender wrote the first himself
        ("10.1.1.1", ["203.0.113.1, 198.51.100.7"], 202),
        ("10.1.1.1", ["203.0.113.1, 198.51.100.7, 10.2.2.2"], 202),
        ("10.1.1.1", ["198.51.100.7", "203.0.113.1"], 403),
        ("10.1.1.1", ["203.0.113.1", "198.51.100.7"], 202),
        ("10.1.1.1", ["198.51.100.7", "10.3.3.3"], 202),
        ("10.1.1.1", ["198.51.100.7, rubbish"], 403),
        ("10.1.1.1", ["", " , ,"], 403),
        ("10.1.1.1", [], 403),
        ("10.1.1.1", ["10.2.2.2"], 403),
    ],
)
async def test_only_a_trusted_proxy_is_believed_and_only_its_last_word(
    tmp_path: Path, peer: str, forwarded: list[str], status: int
) -> None:
    async with running(tmp_path, WALLED) as house:
        headers = [*by_token("tkn-walled").items(), *(("x-forwarded-for", line) for line in forwarded)]
        answer = await house.client_at(peer).post("/webhooks/walled", json={"title": "x"}, headers=headers)
        assert answer.status_code == status


async def test_a_trusted_proxy_on_this_machine_makes_nobody_an_administrator(tmp_path: Path) -> None:
    async with running(tmp_path, "trusted_proxies: [127.0.0.0/8]\n" + ROUTING) as house:
        assert (await house.client.get("/api/v1/events", headers={"x-forwarded-for": "127.0.0.1"})).status_code == 401
        assert (await house.client.get("/api/v1/events")).status_code == 200


# --- the small parts ----------------------------------------------------------------------------------


def test_a_token_fits_only_as_a_whole() -> None:
    wanted = [SecretStr("one"), SecretStr("two")]
    assert auth.fits(["two"], wanted)
    assert auth.fits(["x", "one"], wanted)
    assert not auth.fits(["on", "onee", "", "ONE"], wanted)
    assert not auth.fits([], wanted)
    assert not auth.fits(["one"], [])


def test_every_credential_of_a_list_is_compared_in_constant_time_whichever_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, body = tmp_path / "routing.yaml", b"{}"
    path.write_text(ROTATING)
    sources = config.load(path, {}).sources
    compared: list[tuple[object, object]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return genuine(one, other)

    genuine = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    for name, headers in (
        ("github", lambda secret: by_github(body, secret=secret)),
        ("sentry", lambda secret: by_sentry(body, secret=secret)),
        ("hetrix", by_token),
    ):
        comparisons = set()
        for credential, place in (("first-1", "0"), ("second-2", "1"), ("third-3", "")):
            compared.clear()
            said = auth.authentic(sources[name], headers(credential), "", body, 0)
            assert said.rpartition(".")[2] == place
            comparisons.add(len(compared))
            assert all(isinstance(side, bytes) for pair in compared for side in pair)
        assert len(comparisons) == 1
        assert min(comparisons) >= 2


def test_lone_surrogates_and_odd_bytes_are_tokens_that_fit_nothing() -> None:
    assert not auth.fits(["\udcff", "é"], [SecretStr("one")])
    assert auth.presented({"authorization": "Bearer \xff\xfe", "x-api-key": "\xe9"}) == ["\xff\xfe", "\xe9"]


def test_an_address_is_within_its_networks_in_either_spelling() -> None:
    networks = [read_network("10.0.0.0/8"), read_network("2001:db8::/32")]
    assert auth.within("10.9.9.9", networks)
    assert auth.within("::ffff:10.9.9.9", networks)
    assert auth.within("2001:db8::9", networks)
    assert not auth.within("11.0.0.1", networks)
    assert not auth.within("no address", networks)
    assert auth.allowed("anything", [])


async def test_a_verifier_that_fails_is_a_bad_credential_and_an_error_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import dataclasses

    class Broken:
        keeps: frozenset[str] = frozenset()
        max_body = 1024

        def signed(self, headers: object) -> bool:
            return True

        def verify(self, *_parts: object) -> bool:
            raise UnicodeError("whatever a stranger's header did")

    async with running(tmp_path) as house:
        sources = dict(house.service.house.configuration.sources)
        sources["github"] = dataclasses.replace(sources["github"], adapter=Broken())  # type: ignore[arg-type]
        changed = dataclasses.replace(house.service.house.configuration, sources=sources)
        house.service.house.configuration = changed
        assert (await house.post("github", {"a": 1})).status_code == 401
    assert "verifier failed" in capsys.readouterr().out
