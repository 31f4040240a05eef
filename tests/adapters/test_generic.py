"""What anything that can POST may say, and what we hear in it."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from adapters.generic import adapter, read_all, read_strict
from gateway.contracts import Keep
from gateway.errors import BadField, BadFields, Unreadable
from gateway.model import Alert, Event, Severity

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_TIME = 1_614_265_330_000


def strict(document: Any) -> Alert:
    read = read_strict(document)
    assert isinstance(read, Alert), read
    return read


def faults(document: Any) -> dict[str, str]:
    read = read_strict(document)
    assert not isinstance(read, Alert)
    assert all(isinstance(fault, BadField) for fault in read)
    return {fault.path: fault.message for fault in read}


def parse(document: Any) -> list[Alert]:
    return adapter.parse(Event("1", "generic", "generic", 0, {}, b""), document)


def one(document: Any) -> Alert:
    [alert] = parse(document)
    return alert


# --- credentials ---------------------------------------------------------------------------------------


def test_the_standard_test_vector_verifies_and_nothing_near_it() -> None:
    assert adapter.signed(VECTOR)
    assert adapter.verify(VECTOR, VECTOR_BODY, SECRET, VECTOR_TIME)
    assert not adapter.verify(VECTOR, VECTOR_BODY + b" ", SECRET, VECTOR_TIME)
    assert not adapter.verify({**VECTOR, "webhook-id": "msg_other"}, VECTOR_BODY, SECRET, VECTOR_TIME)
    assert not adapter.verify(VECTOR, VECTOR_BODY, "whsec_" + base64.b64encode(b"x" * 24).decode(), VECTOR_TIME)


@pytest.mark.parametrize(("seconds", "good"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_a_signature_is_good_for_five_minutes_either_way(seconds: int, good: bool) -> None:
    assert adapter.verify(VECTOR, VECTOR_BODY, SECRET, VECTOR_TIME + seconds * 1000) is good


def test_any_signature_of_the_list_will_do() -> None:
    good = VECTOR["webhook-signature"]
    for listed, fits in (
        (f"v1,AAAA {good}", True),
        (f"v1a,AAAA  {good} v1,BBBB", True),
        ("v1,AAAA", False),
        ("", False),
    ):
        assert adapter.verify({**VECTOR, "webhook-signature": listed}, VECTOR_BODY, SECRET, VECTOR_TIME) is fits


@pytest.mark.parametrize(
    "broken",
    [
        {"webhook-id": ""},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "1614265330.5"},
        {"webhook-timestamp": "9" * 40},
        {"webhook-signature": "v1,\u00fc\udc80"},
    ],
)
def test_broken_headers_never_verify_and_never_raise(broken: dict[str, str]) -> None:
    assert not adapter.verify({**VECTOR, **broken}, VECTOR_BODY, SECRET, VECTOR_TIME)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_???", "whsec_ü"])
def test_an_unusable_secret_never_verifies(secret: str) -> None:
    assert not adapter.verify(VECTOR, VECTOR_BODY, secret, VECTOR_TIME)


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=60), st.integers(1, 2_000_000_000))
def test_we_agree_with_the_standards_own_library(key: bytes, body: bytes, seconds: int) -> None:
    text = body.decode("latin-1")
    encoded = base64.b64encode(key).decode()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(seconds),
        "webhook-signature": Webhook(encoded).sign("msg_1", dt.datetime.fromtimestamp(seconds, dt.UTC), text),
    }
    assert adapter.verify(headers, text.encode(), f"whsec_{encoded}", seconds * 1000)
    # A secret without the prefix is the key itself.
    if key.isascii() and not key.startswith(b"whsec_"):
        assert adapter.verify(headers, text.encode(), key.decode("ascii"), seconds * 1000)


def test_only_a_signed_id_or_an_idempotency_key_makes_a_duplicate() -> None:
    assert not adapter.signed({"webhook-id": "msg_1"})
    assert adapter.admit(VECTOR, {}) == Keep(delivery_id="msg_p5jXN8AQM9LWM0D4loKWxJek")
    assert adapter.admit({"webhook-id": "msg_1"}, {}) == Keep()
    assert adapter.admit({"idempotency-key": " k-1 "}, {}) == Keep(delivery_id="k-1")
    assert adapter.admit({}, {"title": "x"}) == Keep(once_per_body=False)


# --- the alert to the letter ---------------------------------------------------------------------------


def test_a_title_is_enough() -> None:
    alert = strict({"title": "Disk full"})
    assert (alert.title, alert.severity, alert.status) == ("Disk full", Severity.ERROR, "firing")
    assert alert.fingerprint == "alert::::Disk full"


def test_every_field_of_the_contract_is_read() -> None:
    alert = strict(
        {
            "title": " Disk\n94% full ",
            "severity": "Critical",
            "status": "RESOLVED",
            "service": "db-1",
            "environment": "production",
            "kind": "disk",
            "body": "Soon over.",
            "url": "https://example.com/db-1",
            "labels": {"team": "data", "tries": 3, "new": True, "none": None},
            "fields": {"used": "94 %"},
            "value": 94.0,
            "fingerprint": "disk:db-1",
            "occurred_at": "2026-11-20T10:00:00Z",
        }
    )
    assert alert == Alert(
        fingerprint="disk:db-1",
        title="Disk 94% full",
        severity=Severity.CRITICAL,
        status="resolved",
        kind="disk",
        service="db-1",
        environment="production",
        body="Soon over.",
        url="https://example.com/db-1",
        labels={"team": "data", "tries": "3", "new": "true"},
        fields={"used": "94 %"},
        value=94.0,
        occurred_at=1_795_168_800_000,
    )


@pytest.mark.parametrize(
    ("word", "level"),
    [
        *((word, Severity.INFO) for word in ("debug", "notice", "low", "ok", "success", "positive", "INFO")),
        *((word, Severity.WARNING) for word in ("warn", "medium", "moderate", "Warning")),
        *((word, Severity.ERROR) for word in ("high", "major", "error")),
        *((word, Severity.CRITICAL) for word in ("fatal", "crit", "p1", "sev0")),
        *((word, Severity.EMERGENCY) for word in ("emerg", "alert", "panic", "emergency")),
    ],
)
def test_every_alias_of_a_severity_is_read(word: str, level: Severity) -> None:
    assert strict({"title": "x", "severity": word}).severity is level


def test_a_wrong_severity_lists_the_five() -> None:
    for wrong in ("purple", "", 3, ["error"]):
        assert faults({"title": "x", "severity": wrong}) == {
            "severity": "must be one of info, warning, error, critical, emergency"
        }


def test_every_wrong_field_is_named_at_once() -> None:
    wrong = faults(
        {
            "title": "",
            "severity": "purple",
            "status": "maybe",
            "service": 5,
            "environment": ["e"],
            "url": "ftp://example.com",
            "labels": ["a"],
            "fields": {"deep": {"a": 1}},
            "value": "much",
            "occurred_at": "yesterday",
            "serverity": "error",
            "xyzzy": 1,
        }
    )
    assert wrong == {
        "title": "must not be empty",
        "severity": "must be one of info, warning, error, critical, emergency",
        "status": "must be firing or resolved",
        "service": "must be text",
        "environment": "must be text",
        "url": "must be an http(s) address with a host",
        "labels": "must be an object of names and texts",
        "fields.deep": "must be text, a number, true or false",
        "value": "must be a finite number",
        "occurred_at": ("must be a time with its zone, such as 2026-11-20T10:00:00Z, or Unix seconds or milliseconds"),
        "serverity": "is not known; did you mean severity?",
        "xyzzy": "is not known; remove it, or put it into labels or fields",
    }


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "title"),
        ({"title": None}, "title"),
        ({"title": " \n "}, "title"),
        ({"title": 5}, "title"),
        ({"title": "x", "url": "https://example.com/" + "u" * 2_048}, "url"),
        ({"title": "x", "url": "https:// nowhere"}, "url"),
        ({"title": "x", "url": "https://[bad"}, "url"),
        ({"title": "x", "status": 1}, "status"),
        ({"title": "x", "status": []}, "status"),
        ({"title": "x", "labels": {f"l{i}": "v" for i in range(65)}}, "labels"),
        ({"title": "x", "labels": {"": "v"}}, "labels."),
        ({"title": "x", "labels": {"l" * 129: "v"}}, "labels." + "l" * 128),
        ({"title": "x", "value": True}, "value"),
        ({"title": "x", "value": "nan"}, "value"),
        ({"title": "x", "value": "1e999"}, "value"),
        ({"title": "x", "value": 10**400}, "value"),
        ({"title": "x", "value": [1]}, "value"),
        ({"title": "x", "occurred_at": "2026-11-20T10:00:00"}, "occurred_at"),
        ({"title": "x", "occurred_at": "2026-11-20"}, "occurred_at"),
        ({"title": "x", "occurred_at": "2026-13-20T10:00:00Z"}, "occurred_at"),
        ({"title": "x", "occurred_at": "1795168800"}, "occurred_at"),
        ({"title": "x", "occurred_at": True}, "occurred_at"),
        ({"title": "x", "occurred_at": -1}, "occurred_at"),
        ([], "alert"),
        ("Disk full", "alert"),
    ],
)
def test_each_wrong_field_is_refused_by_name(document: Any, path: str) -> None:
    assert list(faults(document)) == [path]


def test_what_is_too_long_to_show_is_cut_and_costs_no_page() -> None:
    text = "ValueError: " + "x" * 400
    long = {"title": text, "service": "s" * 300, "fields": {"log": "v" * 5_000}, "labels": {"team": "t" * 2_000}}
    alert = strict(long)
    assert (alert.title, alert.body) == (text[:299] + "…", text)
    assert (alert.service, alert.fields["log"][-1], alert.labels["team"][-1]) == ("s" * 199 + "…", "…", "…")
    assert strict({**long, "body": "the trace"}).body == "the trace"


def test_an_address_with_a_blank_in_it_is_taken_as_a_browser_would_write_it() -> None:
    assert strict({"title": "x", "url": "https://e.example/?q=<a> b"}).url == "https://e.example/?q=%3Ca%3E%20b"


def test_a_list_is_read_whole_or_not_at_all_and_each_fault_names_its_place() -> None:
    assert [alert.title for _, alert in read_all([{"title": "a"}, {"title": "b"}])] == ["a", "b"]
    with pytest.raises(BadFields) as refused:
        read_all([{"title": "a"}, {"severity": "loud"}, {"title": "b", "value": math.inf}])
    assert [error.path for error in refused.value.errors] == ["1.title", "1.severity", "2.value"]


@pytest.mark.parametrize("document", [[], [{"title": "x"}] * 1_001])
def test_a_list_of_none_or_too_many_is_refused(document: list[Any]) -> None:
    with pytest.raises(BadFields, match="1 to 1,000"):
        read_all(document)


def test_what_is_just_long_enough_is_taken_whole() -> None:
    longest = {"title": "x" * 300, "fingerprint": "f" * 512, "body": "b" * 65_536, "labels": {"l" * 128: "v" * 1_024}}
    alert = strict(longest)
    assert (alert.title, alert.fingerprint, alert.body) == (
        longest["title"],
        longest["fingerprint"],
        longest["body"],
    )
    assert alert.labels == longest["labels"]


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-20T10:00:00Z",
        "2026-11-20t10:00:00.000z",
        "2026-11-20 19:00:00+09:00",
        1_795_168_800,
        1_795_168_800_000,
        1_795_168_800.0,
    ],
)
def test_a_moment_is_rfc_3339_or_unix_time(moment: Any) -> None:
    assert strict({"title": "x", "occurred_at": moment}).occurred_at == 1_795_168_800_000


def test_a_value_may_be_a_number_in_quotes_and_null_is_absent() -> None:
    assert strict({"title": "x", "value": "94.5"}).value == 94.5
    assert strict(
        dict.fromkeys(("severity", "status", "labels", "value", "occurred_at", "url")) | {"title": "x"}
    ) == strict({"title": "x"})


def test_many_unknown_keys_do_not_make_a_flood_of_faults() -> None:
    assert len(faults({"title": "x", **{f"q{i}": i for i in range(400)}})) == 20


def test_the_default_fingerprint_never_confuses_its_parts() -> None:
    parts = [
        ("a:b", "", "", "t"),
        ("a", "b", "", "t"),
        ("a\\", ":b", "", "t"),
        ("a", "", "b", "t"),
        ("", "", "", "a:b:t"),
    ]
    made = {
        strict({"kind": kind, "service": service, "environment": env, "title": title}).fingerprint
        for kind, service, env, title in parts
    }
    assert len(made) == len(parts)
    assert (
        strict({"title": "t"}).fingerprint
        == strict({"title": "t", "severity": "info", "status": "resolved"}).fingerprint
    )


# --- the older shapes ----------------------------------------------------------------------------------


def test_a_rule_with_metric_data_is_read() -> None:
    document = {
        "rule_name": "CPU high",
        "metric_data": {
            "metric_value": "97.5",
            "additional_info": "for ten minutes",
            "cpu_data": {"host": "web-1", "cores": 8},
        },
    }
    alert = strict(document)
    assert (alert.title, alert.kind, alert.service, alert.value) == ("CPU high", "cpu", "web-1", 97.5)
    assert (alert.severity, alert.status, alert.body) == (Severity.ERROR, "firing", "for ten minutes")
    assert alert.fields == {"host": "web-1", "cores": "8"}
    assert alert.fingerprint == "rule:CPU high"
    assert parse(document) == [alert]
    loose = strict(
        {
            "rule_name": "Login",
            "severity": "warn",
            "metric_data": {"metric_value": "many", "additional_info": {"from": "x"}},
        }
    )
    assert (loose.kind, loose.value, loose.severity) == ("", None, Severity.WARNING)
    assert loose.fields == {"from": "x", "value": "many"}


def checked(up: Any, **more: Any) -> dict[str, Any]:
    return {
        "target_url": "https://shop.example.com/health/",
        "status_code": 503,
        "response_time_ms": 812,
        "timestamp": "2026-11-20T10:00:00Z",
        "is_success": up,
        "error_message": "Service Unavailable",
        **more,
    }


def test_a_check_fires_when_it_fails_and_its_success_resolves_it() -> None:
    down, up = strict(checked(False)), strict(checked(True))
    assert (down.title, down.status, down.severity) == ("shop.example.com/health is down", "firing", Severity.ERROR)
    assert (up.title, up.status) == ("shop.example.com/health is up", "resolved")
    assert down.fingerprint == up.fingerprint
    assert (down.service, down.kind, down.body) == ("shop.example.com", "uptime", "Service Unavailable")
    assert down.fields == {"status": "503", "took": "812 ms"}
    assert (down.value, down.occurred_at) == (812.0, 1_795_168_800_000)
    assert parse(checked(False)) == [down]


def test_a_password_in_a_checked_address_is_not_shown() -> None:
    for target in ("https://kim:hunter2@shop.example.com/", "kim:hunter2@shop.example.com", "http://kim:hunter2@[::1"):
        alert = strict(checked(False, target_url=target))
        assert "hunter2" not in f"{alert.title} {alert.url} {alert.service}"
    assert strict(checked(False, response_time_ms=None, target_url="db-1")).title == "db-1 is down"


def test_a_threshold_that_was_passed_is_read() -> None:
    document = {
        "name": "CPU high",
        "description": "Look at web-1",
        "metric": "cpu_percent",
        "operator": ">",
        "threshold": 90,
        "value": 97.5,
        "severity": "critical",
        "channels": ["slack"],
    }
    alert = strict(document)
    assert alert.title == "CPU high: cpu_percent 97.5 > 90"
    assert (alert.severity, alert.value, alert.body) == (Severity.CRITICAL, 97.5, "Look at web-1")
    assert alert.fingerprint == strict({**document, "value": 99}).fingerprint == "threshold:CPU high:cpu_percent"
    assert parse(document) == [alert]


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ({"rule_name": "", "metric_data": [], "severity": "purple"}, ["rule_name", "metric_data", "severity"]),
        (checked("no", target_url=None), ["target_url", "is_success"]),
        (
            {"name": None, "metric": {}, "operator": ">", "threshold": 1, "severity": 7},
            ["name", "metric", "severity"],
        ),
    ],
)
def test_the_older_shapes_name_their_wrong_fields_too(document: dict[str, Any], paths: list[str]) -> None:
    assert list(faults(document)) == paths


def test_a_title_makes_it_a_generic_alert_whatever_else_is_there() -> None:
    assert set(faults({"title": "x", **checked(True)})) == set(checked(True))


# --- best effort ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["title", "name", "message", "subject", "summary", "description", "text", "msg", "AlertName"]
)
def test_a_title_may_have_many_names(key: str) -> None:
    alert = one({key: "Disk full on db-1", "extra": 1})
    assert (alert.title, alert.severity, alert.status) == ("Disk full on db-1", Severity.ERROR, "firing")


@pytest.mark.parametrize(
    "word",
    [
        *("ok", "resolved", "Recovered", "UP", "closed", "clear", "success", "normal", "healthy", "online"),
        *("ALERT_RECOVERY", "check.up", "incident.resolved", "problem resolved"),
    ],
)
def test_a_word_of_recovery_resolves(word: str) -> None:
    for key in ("status", "state", "event", "alert_type", "currentState"):
        assert one({"name": "shop", key: word}).status == "resolved"


@pytest.mark.parametrize(
    "word", ["down", "not ok", "unhealthy", "unresolved", "no data", "ALARM", "acknowledged", "firing"]
)
def test_any_other_word_leaves_it_firing(word: str) -> None:
    assert one({"name": "shop", "status": word}).status == "firing"


@pytest.mark.parametrize(
    ("document", "severity", "status"),
    [
        ({"is_up": False}, Severity.CRITICAL, "firing"),
        ({"is_ok": 1}, Severity.INFO, "resolved"),
        ({"success": "false"}, Severity.ERROR, "firing"),
        ({"success": "true"}, Severity.INFO, "resolved"),
        ({"check": {"down": True}}, Severity.CRITICAL, "firing"),
        ({"ok": "who knows"}, Severity.ERROR, "firing"),
        ({"severity": "ok"}, Severity.INFO, "resolved"),
        ({"state": "CRITICAL"}, Severity.CRITICAL, "firing"),
        ({"state": "warning"}, Severity.WARNING, "firing"),
        ({"state": "offline"}, Severity.CRITICAL, "firing"),
        ({"type": "certificate_expires_soon"}, Severity.WARNING, "firing"),
        ({"criticality": "ALERT_LEVEL_WARNING"}, Severity.WARNING, "firing"),
        ({"severity": "Sev2"}, Severity.WARNING, "firing"),
        ({"priority": "P2"}, Severity.ERROR, "firing"),
        ({"severity": "disaster", "status": "ok"}, Severity.CRITICAL, "resolved"),
        ({"severity": "high-ish alert"}, Severity.ERROR, "firing"),
        ({"severity": "who knows"}, Severity.ERROR, "firing"),
        ({"severity": 4}, Severity.ERROR, "firing"),
        ({"status": 503}, Severity.ERROR, "firing"),
    ],
)
def test_severity_and_status_come_from_where_a_word_says_so(
    document: dict[str, Any], severity: Severity, status: str
) -> None:
    alert = one({"name": "shop", **document})
    assert (alert.severity, alert.status) == (severity, status)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("[OK] CPU is fine", "resolved"),
        ("RESOLVED: disk full on db-1", "resolved"),
        ("db-1 has recovered", "resolved"),
        ("[shop] [✅ Up] 200", "resolved"),
        ("The shop is back online now", "resolved"),
        ("db-1 has not recovered", "firing"),
        ("The job failed: it is up to you", "firing"),
        ("Backup is up to date", "firing"),
        ("Success story of the week is closed to visitors", "firing"),
    ],
)
def test_a_sentence_resolves_only_where_it_says_so_beyond_doubt(message: str, status: str) -> None:
    assert one({"message": message}).status == status
    assert one(message).status == status


@pytest.mark.parametrize(
    ("down", "up"),
    [
        ({"message": "Shop is DOWN"}, {"message": "Shop is UP"}),
        ({"title": "[Alerting] CPU", "ruleId": 1}, {"title": "[OK] CPU", "ruleId": 1}),
        ({"name": "shop", "status": "down", "reason": "time-out"}, {"name": "shop", "status": "up", "reason": "200"}),
        ({"monitor_id": 7, "name": "a", "event": "down"}, {"monitor_id": 7, "name": "b", "event": "up"}),
        ({"dedup_key": "k", "event_action": "trigger", "summary": "x"}, {"dedup_key": "k", "event_action": "resolve"}),
        ({"event": "check.down", "check": {"url": "https://a"}}, {"event": "check.up", "check": {"url": "https://a"}}),
        ({"host": "a", "service": "b", "state": "critical"}, {"host": "a", "service": "b", "state": "ok"}),
        (
            {"check_id": 3, "name": "x", "type": "the check of the shop went down"},
            {"check_id": 3, "name": "x", "type": "the check of the shop came back up"},
        ),
        ({"alertType": "1", "monitorID": "5", "name": "x"}, {"alertType": "2", "monitorID": "5", "name": "x"}),
    ],
)
def test_a_recovery_has_the_fingerprint_of_its_failure(down: dict[str, Any], up: dict[str, Any]) -> None:
    assert one(down).fingerprint == one(up).fingerprint


@pytest.mark.parametrize(
    ("one_problem", "another"),
    [
        ({"host": "a", "service": "b", "state": "ok"}, {"host": "c", "service": "b", "state": "ok"}),
        ({"monitor_id": 7, "type": "ssl-expiry", "name": "a"}, {"monitor_id": 7, "type": "website", "name": "a"}),
        ({"message": "Shop is DOWN"}, {"message": "Office is DOWN"}),
        ({"name": "x", "env": "staging"}, {"name": "x", "env": "production"}),
    ],
)
def test_two_problems_have_two_fingerprints(one_problem: dict[str, Any], another: dict[str, Any]) -> None:
    assert one(one_problem).fingerprint != one(another).fingerprint


def test_both_readings_agree_on_the_default_fingerprint() -> None:
    exact = {"title": "Disk full", "service": "db-1", "environment": "production", "kind": "disk"}
    assert one({**exact, "status": "ok"}).fingerprint == strict(exact).fingerprint
    assert one({**exact, "fingerprint": "f" * 500, "x": 1}).fingerprint == "f" * 500
    assert len(one({"name": "x", "fingerprint": "f" * 600}).fingerprint) == 300


@pytest.mark.parametrize(
    ("document", "title"),
    [
        ({"name": "db-1", "message": "disk full\nsecond line"}, "db-1: disk full"),
        ({"name": "db-1", "message": "db-1 is full"}, "db-1 is full"),
        ({"name": "db-1 is full", "message": "full"}, "db-1 is full"),
        ({"name": "db-1", "status": "down"}, "db-1: down"),
        ({"name": "db-1"}, "db-1"),
        ({"check_name": "API", "event": "API has recovered"}, "API has recovered"),
        ({"event": "check.down", "check": {"url": "https://a.example"}}, "check.down: https://a.example"),
        ({"data": {"alert": {"summary": "deep inside"}}}, "deep inside"),
        ({"account": {"name": "Acme"}, "alert": {"message": "It burns"}}, "It burns"),
        ({"Problem Title": "Slow"}, "Slow"),
        ({"title": "🔥"}, "🔥"),
        ({"message": "🔥", "x": 1}, "🔥"),
        ({"details": "https://example.com/only-a-link", "name": "db-1"}, "db-1"),
        ({"Message": '{"a": 1}', "Subject": "ALARM"}, "ALARM"),
        ({"foo": {"bar": [1, None, {"baz": "hello"}]}}, "baz: hello"),
        ({"id": 5, "foo": "bar"}, "foo: bar"),
        (["hello"], "hello"),
    ],
)
def test_a_title_tells_what_and_where(document: Any, title: str) -> None:
    assert one(document).title == title


def test_the_rest_of_the_document_finds_its_place() -> None:
    alert = one(
        {
            "name": "db-1",
            "message": "disk full",
            "details": "Only 2 % left.",
            "env": "production",
            "application": "shop",
            "alert_type": "disk_space",
            "links": {"url": "https://example.com/db-1"},
            "triggeredAt": "2026-11-20T10:00:00Z",
            "used": 98,
            "value": "98",
            "labels": {"team": "data", "api_token": "s3cret"},
            "tags": ["a", "b", {}],
        }
    )
    assert (alert.title, alert.body) == ("db-1: disk full", "Only 2 % left.")
    assert (alert.environment, alert.service, alert.kind) == ("production", "shop", "disk_space")
    assert (alert.url, alert.occurred_at, alert.value) == ("https://example.com/db-1", 1_795_168_800_000, 98.0)
    assert alert.labels == {"team": "data", "tags": "a, b"}
    assert alert.fields["used"] == "98"


@pytest.mark.parametrize("key", ["token", "routing_key", "apiKey", "password", "client_secret", "Authorization"])
def test_a_credential_is_never_read(key: str) -> None:
    alert = one({key: "hunter2", "name": "db-1", "inner": {key: "hunter2", "error": key}})
    assert "hunter2" not in repr(alert)
    with pytest.raises(Unreadable):
        parse({key: "hunter2"})


@pytest.mark.parametrize(
    "document",
    [
        {"type": "contact.created", "data": {"id": "1f81"}},
        {"name": "nightly backup", "status": "completed"},
        {"name": "Testing Webhook", "text": "Just to see whether it works"},
    ],
)
def test_news_that_is_no_problem_is_told_once_as_information(document: dict[str, Any]) -> None:
    alert = one(document)
    assert (alert.severity, alert.status, alert.momentary) == (Severity.INFO, "firing", True)


@pytest.mark.parametrize(
    "document", [{"type": "alert.created", "name": "x"}, {"event": "created", "name": "x", "severity": "error"}]
)
def test_a_new_problem_is_no_news(document: dict[str, Any]) -> None:
    alert = one(document)
    assert (alert.severity, alert.momentary) == (Severity.ERROR, False)


def test_a_list_is_one_alert_an_item() -> None:
    read = parse([{"title": "One"}, "Two", {"name": "Three"}, None, 4, [{"message": "Five"}], " "])
    assert [alert.title for alert in read] == ["One", "Two", "Three", "Five"]
    assert len(parse([{"title": "x"}] * 1_200)) == 1_000


def test_a_group_of_alerts_is_read_one_by_one() -> None:
    item = {"labels": {"alertname": "Latency", "severity": "warning"}, "annotations": {"summary": "It is slow"}}
    firing, resolved = parse(
        {"status": "firing", "alerts": [{**item, "status": "firing"}, {**item, "status": "resolved"}, "noise"]}
    )
    assert firing.title == "Latency: It is slow"
    assert (firing.severity, firing.status, resolved.status) == (Severity.WARNING, "firing", "resolved")
    assert one({"title": "Two of them", "alerts": ["a", "b"]}).title == "Two of them"


def test_a_bare_text_is_an_alert() -> None:
    alert = one("Disk full\non db-1")
    assert (alert.title, alert.body) == ("Disk full on db-1", "")
    assert one("x" * 500).body == "x" * 500


@pytest.mark.parametrize(
    "document", [{}, [], [[]], "", "  ", None, 5, True, {"foo": 1}, {"status": 200}, {"a": {"b": [1, "2"]}}]
)
def test_what_has_no_text_is_unreadable(document: Any) -> None:
    with pytest.raises(Unreadable, match="title"):
        parse(document)


def test_what_is_too_much_is_cut() -> None:
    alert = one(
        {"message": "m" * 9_000, "labels": {f"l{i}": "v" * 900 for i in range(100)}, **{f"k{i}": i for i in range(500)}}
    )
    assert len(alert.title) <= 200
    assert len(alert.body) <= 4_000
    assert len(alert.labels) == 64
    assert len(alert.fields) == 12
    deep: Any = {"message": "bottom"}
    for _ in range(30):
        deep = {"inner": deep}
    assert one(deep).title == "message: bottom"


@pytest.mark.parametrize("noise", ["[", "is ", "has been ", "](", "\n"])
def test_a_long_text_made_to_keep_us_busy_is_read_at_once(noise: str) -> None:
    begun = time.perf_counter()
    assert one({"message": f"It burns {noise * 200_000}"}).title.startswith("It burns")
    assert time.perf_counter() - begun < 2


# --- whatever arrives ----------------------------------------------------------------------------------

KEYS = (
    "title",
    "name",
    "message",
    "status",
    "severity",
    "alerts",
    "labels",
    "tags",
    "is_ok",
    "id",
    "url",
    "time",
    "foo",
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
anything = st.recursive(
    scalars | st.sampled_from(("down", "ok", "critical", "not ok", "https://example.com")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner),
)


@given(anything)
def test_whatever_arrives_is_read_or_unreadable(document: Any) -> None:
    try:
        alerts = parse(document)
    except Unreadable:
        return
    for alert in alerts:
        assert alert.title.strip()
        assert alert.fingerprint
        assert alert.url == "" or alert.url.lower().startswith(("http://", "https://"))
        assert all(isinstance(value, str) for value in (*alert.labels.values(), *alert.fields.values()))


@given(anything)
def test_the_strict_reading_answers_everything(document: Any) -> None:
    read = read_strict(document)
    if not isinstance(read, Alert):
        assert read
        assert all(fault.path is not None and fault.message for fault in read)


@given(st.dictionaries(st.sampled_from(KEYS), st.text(min_size=1, max_size=12), min_size=1))
def test_reading_is_the_same_every_time(document: dict[str, str]) -> None:
    try:
        assert parse(document) == parse(json.loads(json.dumps(document)))
    except Unreadable:
        with pytest.raises(Unreadable):
            parse(document)
