"""Sentry, resource by resource. The bodies are ours, in the shapes that Sentry documents."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import _signing
from adapters.sentry import adapter
from gateway.contracts import Handshake, Keep
from gateway.errors import Unreadable
from gateway.model import Alert, Event, Severity
from gateway.rules.reading import normalise

SENT_AT = 1_790_000_000_000
INSTALLATION = {"uuid": "00000000-0000-4000-8000-000000000001"}
SENTRY = {"type": "application", "id": "sentry", "name": "Sentry"}
KIM = {"type": "user", "id": 7, "name": "Kim"}

OCCURRENCE: dict[str, Any] = {
    "event_id": "0123456789abcdef0123456789abcdef",
    "project": 42,
    "platform": "python",
    "message": "",
    "datetime": "2026-09-21T13:20:00.250000Z",
    "tags": [["environment", "production"], ["level", "fatal"], ["team", "payments"], ["user", "id:1"], ["broken"]],
    "culprit": "shop.checkout in pay",
    "environment": "production",
    "exception": {
        "values": [
            {
                "type": "TimeoutError",
                "value": "bank did not answer",
                "stacktrace": {
                    "frames": [
                        {"filename": "shop/pay.py", "function": "pay", "lineno": 31, "in_app": True},
                        {"filename": "asyncio/tasks.py", "function": "wait_for", "lineno": 500, "in_app": False},
                    ]
                },
            }
        ]
    },
    "level": "error",
    "metadata": {"type": "TimeoutError", "value": "bank did not answer"},
    "release": "shop@1.4.2",
    "title": "TimeoutError: bank did not answer",
    "url": "https://sentry.example.com/api/0/projects/acme/shop/events/0123456789abcdef0123456789abcdef/",
    "web_url": "https://sentry.example.com/organizations/acme/issues/9001/events/0123456789abcdef0123456789abcdef/",
    "issue_url": "https://sentry.example.com/api/0/issues/9001/",
    "issue_id": "9001",
}
ISSUE: dict[str, Any] = {
    "id": "9001",
    "shortId": "SHOP-7",
    "title": "TimeoutError: bank did not answer",
    "culprit": "shop.checkout in pay",
    "permalink": "https://sentry.example.com/organizations/acme/issues/9001/",
    "level": "error",
    "status": "unresolved",
    "substatus": "new",
    "platform": "python",
    "project": {"id": "42", "name": "Shop", "slug": "shop"},
    "metadata": {"type": "TimeoutError", "value": "bank did not answer"},
    "issueCategory": "error",
    "issueType": "error",
    "priority": "high",
    "count": "3",
    "userCount": 2,
    "assignedTo": None,
    "firstSeen": "2026-09-21T13:00:00Z",
    "lastSeen": "2026-09-21T13:20:00Z",
}
METRIC: dict[str, Any] = {
    "id": "31",
    "projects": ["shop"],
    "alert_rule": {
        "id": 7,
        "name": "Too many errors",
        "aggregate": "count()",
        "query": "level:error",
        "time_window": 10,
        "environment": "production",
        "resolve_threshold": 20,
        "triggers": [
            {"label": "warning", "alert_threshold": 50.0},
            {"label": "critical", "alert_threshold": 100.0},
        ],
    },
    "status": 20,
    "title": "Too many errors",
    "date_detected": "2026-09-21T13:20:00Z",
    "date_started": "2026-09-21T13:10:00Z",
    "date_closed": None,
}
COMMENT: dict[str, Any] = {
    "comment": "looking into it",
    "comment_id": 12,
    "issue_id": 9001,
    "project_slug": "shop",
    "timestamp": "2026-09-21T13:20:00Z",
}
PLUGIN: dict[str, Any] = {
    "id": "9001",
    "project": "shop",
    "project_name": "Shop",
    "project_slug": "shop",
    "logger": None,
    "level": "warning",
    "culprit": "shop.checkout in pay",
    "message": "",
    "url": "https://sentry.example.com/acme/shop/issues/9001/",
    "triggering_rules": ["New issues", "Loud issues"],
    "event": {
        "event_id": "abc",
        "title": "TimeoutError: bank did not answer",
        "timestamp": 1_790_000_001.5,
        "tags": [],
    },
}
HOOK: dict[str, Any] = {
    "project": {"slug": "shop", "name": "Shop"},
    "group": {
        "id": "9001",
        "title": "TimeoutError",
        "level": "fatal",
        "url": "https://sentry.example.com/acme/shop/issues/9001/",
    },
    "event": {
        "eventID": "abc",
        "groupID": 9001,
        "message": "bank did not answer",
        "dateCreated": "2026-09-21T13:20:00Z",
        "tags": [{"key": "environment", "value": "staging"}, {"key": "release", "value": "1.4.2"}],
        "entries": [
            {"type": "message", "data": {}},
            {
                "type": "exception",
                "data": {"values": [{"stacktrace": {"frames": [{"filename": "pay.py", "lineNo": 31, "inApp": True}]}}]},
            },
        ],
    },
}


def hook(action: str, actor: dict[str, Any] = SENTRY, **inner: Any) -> dict[str, Any]:
    return {"action": action, "installation": INSTALLATION, "data": inner, "actor": actor}


def read(resource: str, document: Any, sent_at: str = "1790000000") -> list[Alert]:
    headers = {"sentry-hook-resource": resource, "sentry-hook-timestamp": sent_at} if resource else {}
    return adapter.parse(Event("e", "sentry", "sentry", SENT_AT, headers, b""), normalise(document))


def only(alerts: list[Alert]) -> Alert:
    (alert,) = alerts
    return alert


def occurrence(**changed: Any) -> dict[str, Any]:
    return {name: value for name, value in (OCCURRENCE | changed).items() if value is not None}


class TestTheDoor:
    BODY = json.dumps(hook("triggered", event=OCCURRENCE)).encode()

    @pytest.mark.parametrize("header", ["sentry-hook-signature", "sentry-app-signature", "x-servicehook-signature"])
    def test_each_of_the_three_signatures_opens(self, header: str) -> None:
        headers = {header: _signing.signature(self.BODY, "client secret")}
        assert adapter.signed(headers)
        assert adapter.verify(headers, self.BODY, "client secret", 0)

    def test_one_good_signature_of_two_suffices(self) -> None:
        good = _signing.signature(self.BODY, "client secret")
        headers = {"sentry-hook-signature": "", "sentry-app-signature": good}
        assert adapter.verify(headers, self.BODY, "client secret", 0)

    @pytest.mark.parametrize("value", ["", "0" * 64, "ÿ", "sha256="])
    def test_a_bad_signature_does_not_open_but_counts_as_one(self, value: str) -> None:
        headers = {"sentry-hook-signature": value}
        assert adapter.signed(headers)
        assert not adapter.verify(headers, self.BODY, "client secret", 0)

    def test_the_legacy_plugin_signs_nothing(self) -> None:
        assert not adapter.signed({"content-type": "application/json"})
        assert not adapter.verify({}, self.BODY, "client secret", 0)

    def test_the_same_body_is_the_same_event_whatever_its_request_id(self) -> None:
        headers = {"sentry-hook-resource": "event_alert", "request-id": "f" * 32}
        assert adapter.admit(headers, hook("triggered", event=OCCURRENCE)) == Keep(once_per_body=True)

    @pytest.mark.parametrize("document", [{}, [], None, "x", {"data": []}])
    def test_an_installation_is_a_handshake_and_never_stored(self, document: Any) -> None:
        assert adapter.admit({"sentry-hook-resource": "Installation"}, document) == Handshake()

    def test_an_installation_without_its_header_is_a_handshake_too(self) -> None:
        assert adapter.admit({}, hook("created", installation={"code": "grant"})) == Handshake()
        assert read("", hook("created", installation={"code": "grant"})) == []

    def test_no_header_that_is_kept_holds_a_credential(self) -> None:
        assert adapter.keeps == {"sentry-hook-resource", "sentry-hook-timestamp", "request-id"}


class TestAnAlertRule:
    def test_says_what_broke_where_and_how_bad(self) -> None:
        alert = only(read("event_alert", hook("triggered", event=OCCURRENCE, triggered_rule="Payments page")))
        assert alert.fingerprint == "sentry:issue:9001"
        assert alert.title == "TimeoutError: bank did not answer"
        assert (alert.severity, alert.status, alert.kind) == (Severity.ERROR, "firing", "error")
        assert (alert.service, alert.environment) == ("shop", "production")
        assert alert.body == "shop.checkout in pay\nshop/pay.py:31 in pay"
        assert alert.url == OCCURRENCE["web_url"]
        assert alert.labels == {
            "project": "shop",
            "level": "error",
            "platform": "python",
            "issue": "9001",
            "team": "payments",
        }
        assert alert.fields["rule"] == "Payments page"
        assert alert.fields["release"] == "shop@1.4.2"
        assert alert.occurred_at == 1_789_996_800_250
        assert not alert.momentary

    def test_is_named_by_its_own_title_where_the_rule_is_not(self) -> None:
        document = hook("triggered", event=OCCURRENCE, issue_alert={"title": "With settings", "settings": []})
        assert only(read("event_alert", document)).fields["rule"] == "With settings"

    @pytest.mark.parametrize(
        ("level", "severity"),
        [
            ("fatal", Severity.CRITICAL),
            ("error", Severity.ERROR),
            ("warning", Severity.WARNING),
            ("info", Severity.INFO),
            ("debug", Severity.INFO),
            ("log", Severity.INFO),
            ("sample", Severity.INFO),
            ("puzzling", Severity.ERROR),
            (40, Severity.ERROR),
        ],
    )
    def test_takes_its_severity_from_the_level(self, level: Any, severity: Severity) -> None:
        assert only(read("event_alert", hook("triggered", event=occurrence(level=level)))).severity is severity

    def test_falls_back_to_the_tag_where_the_event_has_no_level(self) -> None:
        assert only(read("event_alert", hook("triggered", event=occurrence(level=None)))).severity is Severity.CRITICAL

    @pytest.mark.parametrize(
        "changed",
        [
            {"issue_id": 9001},
            {"issue_id": None},
            {"issue_id": None, "issue_url": None},
            {"issue_id": None, "group_id": 9001},
        ],
    )
    def test_finds_the_issue_in_events_of_every_age(self, changed: dict[str, Any]) -> None:
        assert (
            only(read("event_alert", hook("triggered", event=occurrence(**changed)))).fingerprint == "sentry:issue:9001"
        )

    def test_of_no_issue_is_keyed_by_its_event_and_then_by_its_words(self) -> None:
        event = occurrence(issue_id=None, issue_url=None, web_url=None)
        assert (
            only(read("event_alert", hook("triggered", event=event))).fingerprint == f"sentry:event:{event['event_id']}"
        )
        nameless = occurrence(issue_id=None, issue_url=None, web_url=None, event_id=None)
        assert (
            only(read("event_alert", hook("triggered", event=nameless))).fingerprint
            == "sentry:event:shop:TimeoutError: bank did not answer"
        )

    def test_reads_tags_that_are_an_object(self) -> None:
        event = occurrence(environment=None, tags={"environment": "staging", "server_name": "web-1"})
        alert = only(read("event_alert", hook("triggered", event=event)))
        assert alert.environment == "staging"
        assert alert.fields["server"] == "web-1"

    def test_of_a_plain_message_has_its_words_as_title_and_none_twice(self) -> None:
        event = occurrence(
            title=None,
            metadata=None,
            exception=None,
            culprit="",
            logentry={"formatted": "Queue is long"},
            location=None,
        )
        alert = only(read("event_alert", hook("triggered", event=event)))
        assert alert.title == "Queue is long"
        assert alert.body == ""

    def test_of_nothing_but_an_id_still_has_a_title(self) -> None:
        alert = only(read("event_alert", hook("triggered", event={"issue_id": "1"})))
        assert alert.title == "Sentry event without a title"
        assert alert.occurred_at == SENT_AT

    def test_shows_the_evidence_of_issues_that_are_no_exceptions(self) -> None:
        shown = [{"name": "Status", "value": "503"}, {"name": "Nothing", "value": ""}, "noise"]
        event = occurrence(exception=None, occurrence={"evidenceDisplay": shown})
        assert only(read("event_alert", hook("triggered", event=event))).body.endswith("in pay\nStatus: 503")

    @pytest.mark.parametrize(
        ("frames", "place"),
        [
            ([{"filename": "a.py", "lineno": 3, "function": "f"}, {"filename": "b.py"}], "b.py"),
            ([{"module": "m", "in_app": True}, {"filename": "b.py"}], "m"),
            ([{"function": "f"}], "shop/late.py"),
            (["noise"], "shop/late.py"),
        ],
    )
    def test_shows_the_innermost_place_of_the_project_s_own(self, frames: list[Any], place: str) -> None:
        raised = [{"stacktrace": {"frames": frames}}]
        event = occurrence(exception=raised, culprit="", location="shop/late.py")
        assert only(read("event_alert", hook("triggered", event=event))).body == place

    def test_never_shows_an_address_that_answers_only_to_a_token_or_runs_a_script(self) -> None:
        event = occurrence(web_url="javascript:alert(1)")
        assert only(read("event_alert", hook("triggered", event=event))).url == ""

    def test_cuts_what_is_too_long_to_read_at_night(self) -> None:
        event = occurrence(title="x\n" * 5_000, message="y" * 50_000, tags=[[f"t{n}", "v" * 900] for n in range(90)])
        alert = only(read("event_alert", hook("triggered", event=event)))
        assert len(alert.title) == 200
        assert len(alert.body) <= 4_000
        assert len(alert.labels) <= 26
        assert max(map(len, alert.labels.values())) <= 200

    def test_keeps_its_own_labels_when_a_tag_has_their_name(self) -> None:
        event = occurrence(tags=[["project", "other"], ["issue", "1"]])
        alert = only(read("event_alert", hook("triggered", event=event)))
        assert (alert.labels["project"], alert.labels["issue"]) == ("shop", "9001")


def test_the_error_resource_speaks_of_the_same_problem_as_the_alert_rule() -> None:
    alert = only(read("error", hook("created", error=OCCURRENCE)))
    assert (alert.fingerprint, alert.kind, alert.severity) == ("sentry:issue:9001", "error", Severity.ERROR)


class TestAnIssue:
    def test_created_fires(self) -> None:
        alert = only(read("issue", hook("created", issue=ISSUE)))
        assert (alert.fingerprint, alert.status, alert.kind) == ("sentry:issue:9001", "firing", "issue")
        assert alert.service == "shop"
        assert alert.url == ISSUE["permalink"]
        assert alert.labels["priority"] == "high"
        assert alert.fields == {
            "short_id": "SHOP-7",
            "times_seen": "3",
            "users": "2",
            "first_seen": "2026-09-21T13:00:00Z",
        }
        assert alert.occurred_at == 1_789_996_800_000

    def test_of_a_level_takes_its_severity(self) -> None:
        assert only(read("issue", hook("created", issue=ISSUE | {"level": "fatal"}))).severity is Severity.CRITICAL

    @pytest.mark.parametrize("action", ["resolved", "ignored", "archived"])
    def test_closed_in_any_way_resolves_what_the_alert_rule_opened(self, action: str) -> None:
        opened = only(read("event_alert", hook("triggered", event=OCCURRENCE)))
        closed = only(read("issue", hook(action, KIM, issue=ISSUE)))
        assert closed.status == "resolved"
        assert closed.fingerprint == opened.fingerprint
        assert closed.title == opened.title
        assert closed.body.startswith(f"{action.capitalize()} in Sentry by Kim\n")
        assert closed.occurred_at == SENT_AT

    def test_closed_by_nobody_known_says_so_little(self) -> None:
        assert only(read("issue", hook("resolved", {}, issue=ISSUE))).body.startswith("Resolved in Sentry\n")

    def test_unresolved_fires_again_and_says_why(self) -> None:
        alert = only(read("issue", hook("unresolved", issue=ISSUE | {"substatus": "regressed"})))
        assert (alert.status, alert.fingerprint) == ("firing", "sentry:issue:9001")
        assert alert.body.startswith("Back in Sentry: regressed")
        assert only(read("issue", hook("unresolved", issue={"id": 1}))).body == "Back in Sentry: unresolved"

    def test_assigned_is_news_that_neither_opens_nor_closes_the_problem(self) -> None:
        alert = only(read("issue", hook("assigned", issue=ISSUE | {"assignedTo": {"id": "5", "name": "Lee"}})))
        assert alert.momentary
        assert alert.severity is Severity.INFO
        assert alert.fingerprint == "sentry:issue:9001:assigned:5"
        assert alert.title == "Assigned to Lee: TimeoutError: bank did not answer"

    def test_assigned_to_nobody_is_read_too(self) -> None:
        assert only(read("issue", hook("assigned", issue=ISSUE))).title.startswith("Assigned to nobody")

    @pytest.mark.parametrize(
        ("category", "sort", "kind"),
        [
            ("outage", "uptime_domain_failure", "uptime"),
            ("cron", "", "cron"),
            ("outage", "monitor_check_in_failure", "cron"),
            ("feedback", "feedback", "feedback"),
            ("performance", "performance_n_plus_one_db_queries", "issue"),
        ],
    )
    def test_of_sentry_s_own_monitors_has_their_kind(self, category: str, sort: str, kind: str) -> None:
        issue = ISSUE | {"issueCategory": category, "issueType": sort}
        assert only(read("issue", hook("created", issue=issue))).kind == kind

    def test_of_2018_stood_in_data_itself(self) -> None:
        alert = only(read("issue", {"action": "issue.created", "data": {"id": 1, "title": "Old"}}))
        assert (alert.fingerprint, alert.title) == ("sentry:issue:1", "Old")

    def test_of_2020_has_no_page_for_people(self) -> None:
        issue = ISSUE | {
            "permalink": None,
            "title": None,
            "project": "shop",
            "url": "https://s.example.com/api/0/issues/9001/",
        }
        alert = only(read("issue", hook("created", issue=issue)))
        assert (alert.url, alert.service) == ("", "shop")
        assert alert.title == "TimeoutError: bank did not answer"

    def test_without_words_is_named_by_its_number(self) -> None:
        assert only(read("issue", hook("created", issue={"id": "9"}))).title == "Sentry issue 9"


class TestAMetricAlert:
    @pytest.mark.parametrize(
        ("action", "severity", "status", "threshold"),
        [
            ("critical", Severity.CRITICAL, "firing", "100"),
            ("warning", Severity.WARNING, "firing", "50"),
            ("resolved", Severity.INFO, "resolved", "20"),
        ],
    )
    def test_is_as_bad_as_its_action_whatever_its_status_says(
        self, action: str, severity: Severity, status: str, threshold: str
    ) -> None:
        alert = only(read("metric_alert", hook(action, metric_alert=METRIC | {"status": 1})))
        assert (alert.severity, alert.status, alert.kind) == (severity, status, "metric_alert")
        assert alert.fingerprint == "sentry:metric_alert:7"
        assert alert.fields["threshold"] == threshold

    def test_says_the_number_and_what_it_measures(self) -> None:
        document = hook(
            "critical",
            metric_alert=METRIC,
            description_title="Critical: Too many errors",
            description_text="1,234.5 events in the last 10 minutes\\nFilter: level:error",
            web_url="https://sentry.example.com/organizations/acme/alerts/31/",
        )
        alert = only(read("metric_alert", document))
        assert alert.title == "Critical: Too many errors"
        assert alert.value == 1234.5
        assert alert.body == "1,234.5 events in the last 10 minutes\nFilter: level:error"
        assert (alert.service, alert.environment) == ("shop", "production")
        assert alert.url == "https://sentry.example.com/organizations/acme/alerts/31/"
        assert alert.labels == {"project": "shop", "rule": "Too many errors"}
        assert alert.fields == {
            "measure": "count()",
            "query": "level:error",
            "window_minutes": "10",
            "threshold": "100",
        }
        assert alert.occurred_at == 1_789_996_800_000

    def test_resolved_may_be_tiny(self) -> None:
        alert = only(read("metric_alert", hook("resolved", metric_alert={"alert_rule": {"id": "7"}})))
        assert (alert.title, alert.value, alert.url) == ("Sentry metric alert", None, "")
        assert (alert.fingerprint, alert.occurred_at) == ("sentry:metric_alert:7", SENT_AT)

    def test_resolved_happened_when_it_was_closed(self) -> None:
        closed = METRIC | {"date_closed": "2026-09-21T13:30:00Z"}
        assert only(read("metric_alert", hook("resolved", metric_alert=closed))).occurred_at == 1_789_997_400_000

    @pytest.mark.parametrize(
        ("title", "status", "severity"),
        [
            ("Warning: Too many errors", 20, Severity.WARNING),
            ("Too many errors", 20, Severity.CRITICAL),
            ("Too many errors", "10", Severity.WARNING),
            ("Too many errors", 1, Severity.ERROR),
        ],
    )
    def test_open_is_as_bad_as_its_title_or_its_status_says(self, title: str, status: Any, severity: Severity) -> None:
        document = hook("open", metric_alert=METRIC | {"status": status}, description_title=title)
        alert = only(read("metric_alert", document))
        assert (alert.severity, alert.status) == (severity, "firing")

    def test_without_a_rule_is_keyed_by_its_incident(self) -> None:
        alert = only(read("metric_alert", hook("critical", metric_alert={"id": 31, "date_started": 1_790_000_001})))
        assert (alert.fingerprint, alert.occurred_at) == ("sentry:metric_alert:31", 1_790_000_001_000)

    def test_with_an_unknown_action_is_kept_unread(self) -> None:
        with pytest.raises(Unreadable, match="expected critical, warning, resolved or open"):
            read("metric_alert", hook("puzzled", metric_alert=METRIC))


class TestNews:
    @pytest.mark.parametrize(("action", "verb"), [("created", "commented"), ("updated", "edited a comment")])
    def test_a_comment_is_told_once_and_leaves_the_problem_alone(self, action: str, verb: str) -> None:
        alert = only(read("comment", hook(action, KIM, **COMMENT)))
        assert alert.momentary
        assert (alert.severity, alert.fingerprint) == (Severity.INFO, "sentry:comment:12")
        assert alert.title == f"Kim {verb} on Sentry issue 9001: looking into it"
        assert alert.service == "shop"
        assert alert.occurred_at == 1_789_996_800_000

    def test_a_deleted_comment_concerns_nobody(self) -> None:
        assert read("comment", hook("deleted", KIM, **COMMENT)) == []

    def test_a_comment_of_nobody_known_is_read(self) -> None:
        assert only(read("comment", hook("created", {}, comment_id=1))).title.startswith("somebody commented")

    @pytest.mark.parametrize("stage", ["root_cause", "solution", "coding", "triage", "impact_assessment"])
    def test_what_seer_only_begins_is_no_news(self, stage: str) -> None:
        assert read("seer", hook(f"{stage}_started", run_id=1, group_id=9001)) == []

    @pytest.mark.parametrize(
        ("action", "found", "title"),
        [
            (
                "root_cause_completed",
                {"root_cause": {"one_line_description": "No null check.", "relevant_repo": "acme/shop"}},
                "Seer root cause for issue 9001: No null check.",
            ),
            (
                "solution_completed",
                {"solution": {"one_line_summary": "Add one.", "steps": []}},
                "Seer solution for issue 9001: Add one.",
            ),
            (
                "coding_completed",
                {"code_changes": {"acme/shop": [{"path": "a.py"}, {"path": "b.py"}], "acme/odd": None}},
                "Seer code change for issue 9001: acme/shop: 2 files",
            ),
            ("seer.triage_completed", {}, "Seer triage for issue 9001: ready"),
            ("new_idea_completed", {"summary": "Good."}, "Seer new idea for issue 9001: Good."),
        ],
    )
    def test_what_seer_found_is_told_once(self, action: str, found: dict[str, Any], title: str) -> None:
        alert = only(read("seer", hook(action, run_id=1, group_id=9001, **found)))
        assert alert.title == title
        assert alert.momentary
        assert alert.severity is Severity.INFO
        assert alert.fingerprint.startswith("sentry:seer:1:")
        assert alert.labels["issue"] == "9001"

    def test_a_pull_request_of_seer_s_is_linked(self) -> None:
        opened = [{"pull_request": {"pr_url": "https://github.com/acme/shop/pull/8"}}, {"pull_request": None}]
        alert = only(read("seer", hook("pr_created", run_id=1, group_id=9001, pull_requests=opened)))
        assert alert.url == "https://github.com/acme/shop/pull/8"
        assert alert.body == "https://github.com/acme/shop/pull/8"
        assert alert.title == "Seer pull request for issue 9001: ready"

    def test_an_activity_that_somebody_asked_for_is_told_even_where_it_only_begins(self) -> None:
        document = hook(
            "triggered",
            issue=ISSUE,
            activity={"type": "seer_root_cause_started", "details": {}},
            alert={"title": "Watch Seer"},
        )
        alert = only(read("activity_alert", document))
        assert alert.title == "Seer root cause started: TimeoutError: bank did not answer"
        assert (alert.momentary, alert.severity) == (True, Severity.INFO)
        assert alert.fingerprint == "sentry:issue:9001:activity:seer_root_cause_started"
        assert (alert.fields["rule"], alert.url) == ("Watch Seer", ISSUE["permalink"])

    def test_an_activity_tells_what_was_found(self) -> None:
        details = {"summary": "No null check.", "pull_requests": [{"url": "https://github.com/acme/shop/pull/8"}]}
        document = hook("triggered", issue={"id": 1}, activity={"type": "seer_pr_created", "details": details})
        alert = only(read("activity_alert", document))
        assert alert.body == "No null check.\nhttps://github.com/acme/shop/pull/8"
        assert alert.url == "https://github.com/acme/shop/pull/8"

    @pytest.mark.parametrize(("sort", "status"), [("set_resolved", "resolved"), ("set_regression", "firing")])
    def test_an_activity_that_closes_or_reopens_moves_the_problem_itself(self, sort: str, status: str) -> None:
        alert = only(read("activity_alert", hook("triggered", issue=ISSUE, activity={"type": sort})))
        assert (alert.status, alert.fingerprint, alert.momentary) == (status, "sentry:issue:9001", False)

    @pytest.mark.parametrize("action", ["size_analysis_completed", "build_distribution_completed"])
    def test_the_size_of_a_build_wakes_nobody(self, action: str) -> None:
        assert read("preprod_artifact", hook(action, buildId="72", state="FAILED")) == []


class TestTheOlderPlugins:
    def test_the_legacy_plugin_is_read_from_its_event(self) -> None:
        alert = only(read("", PLUGIN))
        assert alert.fingerprint == "sentry:issue:9001"
        assert alert.title == "TimeoutError: bank did not answer"
        assert (alert.severity, alert.kind) == (Severity.WARNING, "error")
        assert (alert.service, alert.url) == ("shop", PLUGIN["url"])
        assert alert.fields["rule"] == "New issues, Loud issues"
        assert alert.occurred_at == 1_790_000_001_500

    def test_the_oldest_plugin_had_no_event(self) -> None:
        body = {"id": 5, "project": "shop", "message": "It broke", "culprit": "a.b", "logger": "root", "level": "error"}
        alert = only(read("", body))
        assert (alert.fingerprint, alert.title, alert.body) == ("sentry:issue:5", "It broke", "a.b")
        assert alert.labels["logger"] == "root"

    def test_the_legacy_plugin_s_issue_is_closed_by_the_integration(self) -> None:
        assert only(read("", PLUGIN)).fingerprint == only(read("issue", hook("resolved", issue=ISSUE))).fingerprint

    def test_a_service_hook_is_read(self) -> None:
        alert = only(read("", HOOK))
        assert alert.fingerprint == "sentry:issue:9001"
        assert (alert.title, alert.severity) == ("TimeoutError", Severity.CRITICAL)
        assert (alert.service, alert.environment) == ("shop", "staging")
        assert alert.body == "bank did not answer\npay.py:31"
        assert alert.url == HOOK["group"]["url"]
        assert alert.fields["release"] == "1.4.2"

    def test_a_service_hook_of_an_issue_alone_is_read(self) -> None:
        alert = only(read("", {"project": {"slug": "shop"}, "group": ISSUE}))
        assert (alert.fingerprint, alert.kind) == ("sentry:issue:9001", "issue")


@pytest.mark.parametrize(
    ("resource", "document"),
    [
        ("event_alert", hook("triggered", event=OCCURRENCE)),
        ("error", hook("created", error=OCCURRENCE)),
        ("issue", hook("created", issue=ISSUE)),
        ("metric_alert", hook("critical", metric_alert=METRIC)),
        ("comment", hook("created", comment_id=1, comment="x")),
        ("seer", hook("solution_completed", run_id=1, group_id=2)),
        ("activity_alert", hook("triggered", issue=ISSUE, activity={"type": "note"})),
        ("preprod_artifact", hook("size_analysis_completed", buildId="1")),
    ],
)
def test_a_body_without_its_header_is_known_by_its_shape(resource: str, document: Any) -> None:
    named = read(resource, document)
    assert [alert.fingerprint for alert in read("", document)] == [alert.fingerprint for alert in named]
    assert [alert.title for alert in read("renamed_since", document)] == [alert.title for alert in named]


@pytest.mark.parametrize(
    ("resource", "document", "sentence"),
    [
        ("", {"hello": "world"}, "no Sentry-Hook-Resource header"),
        ("", [], "no Sentry-Hook-Resource header"),
        ("", None, "no Sentry-Hook-Resource header"),
        ("", {"project": "shop"}, "WebHooks plugin needs"),
        ("telemetry", {"action": "x"}, "'telemetry' is not known; expected one of event_alert"),
        ("event_alert", hook("triggered"), "data.event"),
        ("error", hook("created", error="text"), "data.error"),
        ("issue", hook("created", issue={}), "data.issue.id"),
        ("issue", hook("merged", issue=ISSUE), "'merged' is not known"),
        ("metric_alert", hook("critical"), "data.metric_alert"),
        ("comment", hook("created"), "data.comment_id"),
        ("seer", hook("root_cause_completed"), "data.run_id"),
        ("activity_alert", hook("triggered", issue=ISSUE), "data.activity.type"),
        ("", {"group": {"id": {"not": "a number"}}}, "group.id"),
        ("service_hook", {"group": {"id": []}}, "is not known"),
    ],
)
def test_an_unknown_shape_is_kept_unread_with_a_sentence(resource: str, document: Any, sentence: str) -> None:
    with pytest.raises(Unreadable, match=sentence):
        read(resource, document)


SEEDS = [
    ("event_alert", hook("triggered", event=OCCURRENCE, triggered_rule="r")),
    ("error", hook("created", error=OCCURRENCE)),
    ("issue", hook("created", issue=ISSUE)),
    ("issue", hook("assigned", issue=ISSUE)),
    ("metric_alert", hook("open", metric_alert=METRIC)),
    ("comment", hook("created", **COMMENT)),
    ("seer", hook("pr_created", run_id=1, group_id=2, pull_requests=[{"pull_request": {"pr_url": "x"}}])),
    ("activity_alert", hook("triggered", issue=ISSUE, activity={"type": "note", "details": {}})),
    ("", PLUGIN),
    ("", HOOK),
]
json_documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)


def parse_or_refuse(resource: str, document: Any) -> None:
    adapter.admit({"sentry-hook-resource": resource}, document)
    try:
        alerts = read(resource, document, sent_at="soon")
    except Unreadable:
        return
    for alert in alerts:
        assert alert.title
        assert alert.fingerprint.startswith("sentry:")
        assert alert.url == "" or alert.url.lower().startswith("http")
        texts = [alert.service, alert.environment, alert.body, *alert.labels.values(), *alert.fields.values()]
        assert all(isinstance(text, str) for text in texts)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(place for name, value in inner for place in places(value, (*path, name)))]


def planted(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(document)
    spot = changed
    for step in path[:-1]:
        spot = spot[step]
    spot[path[-1]] = value
    return changed


@settings(deadline=None)
@given(st.sampled_from(["", "nothing", "installation", *sorted({resource for resource, _ in SEEDS})]), json_documents)
def test_no_json_at_all_raises_anything_but_unreadable(resource: str, document: Any) -> None:
    parse_or_refuse(resource, document)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_real_shape_with_anything_anywhere_raises_nothing_but_unreadable(data: st.DataObject) -> None:
    resource, document = data.draw(st.sampled_from(SEEDS))
    for _ in range(data.draw(st.integers(1, 3))):
        document = planted(document, data.draw(st.sampled_from(places(document))), data.draw(json_documents))
    parse_or_refuse(resource, document)
