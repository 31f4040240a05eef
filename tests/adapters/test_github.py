"""What GitHub sends, and what we hear in it."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.github import adapter
from gateway.contracts import Handshake, Keep
from gateway.errors import Unreadable
from gateway.model import Alert, Event, Severity

REPOSITORY = {
    "full_name": "octo/app",
    "html_url": "https://github.com/octo/app",
    "default_branch": "main",
    "name": "app",
    "updated_at": "2026-01-05T10:00:00Z",
}
ENVELOPE = {"repository": REPOSITORY, "sender": {"login": "kim"}}
SHA = "0123456789abcdef0123456789abcdef01234567"


def read(event: str, document: Any, *, envelope: bool = True) -> list[Alert]:
    headers = {"x-github-event": event} if event else {}
    whole = {**ENVELOPE, **document} if envelope else document
    return adapter.parse(Event("1", "github", "github", 0, headers, b""), whole)


def one(event: str, document: Any, *, envelope: bool = True) -> Alert:
    [alert] = read(event, document, envelope=envelope)
    return alert


def run(conclusion: str | None = "failure", *, action: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "action": action,
        "workflow_run": {
            "id": 900,
            "name": "CI",
            "path": ".github/workflows/ci.yml",
            "workflow_id": 77,
            "head_branch": "main",
            "head_sha": SHA,
            "run_number": 12,
            "run_attempt": 1,
            "event": "push",
            "conclusion": conclusion,
            "html_url": "https://github.com/octo/app/actions/runs/900",
            "updated_at": "2026-01-05T10:00:00Z",
            "head_repository": {"full_name": "octo/app"},
            "head_commit": {"message": "Make it fast\n\nAt last.", "author": {"name": "Kim"}},
            **more,
        },
    }


def job(conclusion: str | None = "failure", **more: Any) -> dict[str, Any]:
    about = {"id": 5, "name": "test", "workflow_name": "CI", "head_branch": "main", "head_sha": SHA, **more}
    return {"action": "completed", "workflow_job": {**about, "conclusion": conclusion}}


def check(conclusion: str | None = "failure", slug: str = "github-actions", **more: Any) -> dict[str, Any]:
    about = {"id": 6, "name": "test", "head_sha": SHA, "app": {"slug": slug}, "check_suite": {"head_branch": "main"}}
    return {"action": "completed", "check_run": {**about, "conclusion": conclusion, **more}}


def suite(conclusion: str | None = "failure", slug: str = "github-actions", **more: Any) -> dict[str, Any]:
    about = {"id": 7, "head_branch": "main", "head_sha": SHA, "app": {"slug": slug}, **more}
    return {"action": "completed", "check_suite": {**about, "conclusion": conclusion}}


# --- credentials ---------------------------------------------------------------------------------------


def test_githubs_own_test_vector_verifies() -> None:
    # docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
    headers = {
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    }
    assert adapter.verify(headers, b"Hello, World!", "It's a Secret to Everybody", 0)
    assert not adapter.verify(headers, b"Hello, World?", "It's a Secret to Everybody", 0)
    assert not adapter.verify(headers, b"Hello, World!", "another secret", 0)


def test_the_old_sha1_header_is_a_signature_but_never_a_good_one() -> None:
    made = hmac.new(b"s", b"{}", hashlib.sha1).hexdigest()
    headers = {"x-hub-signature": f"sha1={made}"}
    assert adapter.signed(headers)
    assert not adapter.verify(headers, b"{}", "s", 0)


def test_a_request_without_either_header_is_not_signed() -> None:
    assert not adapter.signed({"x-github-event": "push"})
    assert adapter.signed({"x-hub-signature-256": ""})


def test_a_ping_is_a_handshake_and_all_else_is_kept_by_its_delivery_id() -> None:
    assert adapter.admit({"x-github-event": "ping", "x-github-delivery": "a-1"}, {}) == Handshake()
    assert adapter.admit({}, {"zen": "Keep it logically awesome.", "hook_id": 1}) == Handshake()
    assert adapter.admit({"x-github-event": "push", "x-github-delivery": "a-1"}, {}) == Keep(delivery_id="a-1")
    assert adapter.admit({"x-github-event": "push"}, {}) == Keep()
    assert read("ping", {"zen": "x"}) == []


# --- builds --------------------------------------------------------------------------------------------


def test_a_failed_run_tells_what_where_and_how_bad() -> None:
    alert = one("workflow_run", run())
    assert alert.title == "CI failed: octo/app main"
    assert (alert.severity, alert.status, alert.momentary) == (Severity.ERROR, "firing", False)
    assert alert.fingerprint == "github:workflow:octo/app:77:main"
    assert (alert.kind, alert.service) == ("workflow_run", "octo/app")
    assert alert.url == "https://github.com/octo/app/actions/runs/900"
    assert alert.body == "Make it fast"
    assert alert.occurred_at == 1_767_607_200_000
    assert alert.labels == {
        "repository": "octo/app",
        "actor": "kim",
        "event": "workflow_run",
        "action": "completed",
        "branch": "main",
        "workflow": "CI",
        "trigger": "push",
        "conclusion": "failure",
    }
    assert alert.fields == {"run": "#12", "commit": SHA[:12], "author": "Kim"}


@pytest.mark.parametrize(
    ("conclusion", "severity"),
    [
        ("failure", Severity.ERROR),
        ("timed_out", Severity.ERROR),
        ("startup_failure", Severity.ERROR),
        ("cancelled", Severity.WARNING),
        ("action_required", Severity.WARNING),
        ("stale", Severity.WARNING),
        ("a_word_of_tomorrow", Severity.WARNING),
    ],
)
def test_how_a_run_ended_decides_how_bad_it_is(conclusion: str, severity: Severity) -> None:
    for event, document in (("workflow_run", run(conclusion)), ("check_run", check(conclusion, "codecov"))):
        alert = one(event, document)
        assert (alert.severity, alert.status) == (severity, "firing")


@pytest.mark.parametrize(
    ("event", "of"),
    [("workflow_run", run), ("workflow_job", job), ("check_run", check), ("check_suite", suite)],
)
def test_a_success_resolves_its_own_failure(event: str, of: Any) -> None:
    failed, passed = one(event, of("failure")), one(event, of("success"))
    assert (failed.status, passed.status) == ("firing", "resolved")
    assert failed.fingerprint == passed.fingerprint


def test_one_failed_job_that_arrives_four_times_is_one_problem_of_a_job_and_one_of_its_run() -> None:
    four = [
        one("workflow_job", job()),
        one("check_run", check()),
        one("check_suite", suite()),
        one("workflow_run", run()),
    ]
    paging = [alert for alert in four if alert.severity >= Severity.ERROR]
    assert [alert.kind for alert in paging] == ["workflow_job", "check_run", "workflow_run"]
    assert len({alert.fingerprint for alert in paging}) == 2
    assert four[0].fingerprint == four[1].fingerprint
    assert len({alert.fingerprint for alert in four}) == 3


def test_a_success_of_one_job_does_not_resolve_the_run_nor_another_job() -> None:
    passed = one("workflow_job", job("success", name="lint"))
    assert passed.fingerprint not in {one("workflow_run", run()).fingerprint, one("workflow_job", job()).fingerprint}


@pytest.mark.parametrize("conclusion", ["neutral", "skipped"])
def test_a_run_that_says_nothing_is_momentary_news_that_touches_no_failure(conclusion: str) -> None:
    alert = one("workflow_run", run(conclusion))
    assert (alert.severity, alert.momentary) == (Severity.INFO, True)
    assert alert.fingerprint != one("workflow_run", run()).fingerprint
    assert read("workflow_job", job(conclusion)) == []
    assert read("check_run", check(conclusion)) == []


def test_what_has_not_ended_and_what_ended_without_a_word_say_nothing() -> None:
    assert read("workflow_run", run(None)) == []
    assert read("workflow_run", run(None, action="requested")) == []
    assert read("workflow_run", run("failure", action="in_progress")) == []
    assert read("check_run", {**check(), "action": "rerequested"}) == []


def test_a_fork_cannot_resolve_what_failed_on_our_branch() -> None:
    theirs = one("workflow_run", run("success", head_repository={"full_name": "stranger/app"}))
    gone = one("workflow_run", run("success", head_repository=None))
    ours = one("workflow_run", run())
    assert theirs.labels["branch"] == "stranger:main"
    assert gone.labels["branch"] == "unknown:main"
    assert len({theirs.fingerprint, gone.fingerprint, ours.fingerprint}) == 3


def test_a_run_without_a_name_is_called_by_its_file() -> None:
    assert one("workflow_run", run(name="")).title == ".github/workflows/ci.yml failed: octo/app main"
    assert one("workflow_run", run(name="", path=None, display_title="Fix")).title.startswith("Fix failed")
    bare = one("workflow_run", run(name="", path=None, workflow_id=None, run_number=None))
    assert bare.title == "a workflow failed: octo/app main"
    assert "run" not in bare.fields
    named = {**run(name="", workflow_id=None), "workflow": {"id": 78, "name": "Nightly"}}
    assert one("workflow_run", named).fingerprint == "github:workflow:octo/app:78:main"
    assert one("workflow_run", named).title == "Nightly failed: octo/app main"


def test_a_second_attempt_is_told_as_such() -> None:
    assert one("workflow_run", run(run_attempt=2)).fields["run"] == "#12, attempt 2"


def test_a_failed_job_names_its_failed_steps() -> None:
    steps = [{"name": "Set up", "conclusion": "success"}, {"name": "pytest", "conclusion": "failure"}]
    alert = one("workflow_job", job(steps=steps, runner_name="big-1"))
    assert alert.title == "CI / test failed: octo/app main"
    assert alert.body == "Failed steps: pytest"
    assert alert.fields["runner"] == "big-1"
    alone = one("workflow_job", job(name="", workflow_name=None, head_branch=None))
    assert alone.title == f"a job failed: octo/app {SHA}"


def test_checks_of_other_apps_page_for_themselves() -> None:
    output = {"title": "2 problems", "summary": "They are bad."}
    alert = one("check_run", check(slug="codecov", output=output, details_url="https://codecov.io/1"))
    assert alert.severity is Severity.ERROR
    assert alert.fingerprint == "github:check:octo/app:codecov:test:main"
    assert alert.body == "2 problems\nThey are bad."
    assert alert.url == "https://codecov.io/1"
    assert one("check_suite", suite(slug="codecov")).severity is Severity.ERROR


def test_an_old_check_without_slug_or_branch_is_still_named() -> None:
    old = check(app={"name": "GitHub Actions"}, check_suite={"head_branch": None})
    assert one("check_run", old).fingerprint == f"github:check:octo/app:github-actions:test:{SHA}"
    inner = check(app=None, check_suite={"head_branch": "main", "app": {"slug": "codecov"}}, name=None)
    assert one("check_run", inner).fingerprint == "github:check:octo/app:codecov:a check:main"
    nobody = one("check_suite", suite(slug="", head_branch=None))
    assert nobody.title == f"Checks of an app failed: octo/app {SHA}"


# --- statuses and deployments --------------------------------------------------------------------------


def commit_status(state: str, *branches: str, head: str = SHA) -> dict[str, Any]:
    listed = [{"name": name, "commit": {"sha": head}} for name in branches]
    return {
        "sha": SHA,
        "context": "ci/jenkins",
        "state": state,
        "description": "Build 7",
        "target_url": "https://ci.example.com/7",
        "branches": listed,
        "updated_at": "2026-01-05T10:00:00+00:00",
        "commit": {"commit": {"message": "Make it fast\n\nAt last."}},
    }


def test_a_failed_status_fires_once_and_a_success_resolves_every_branch() -> None:
    failed = one("status", commit_status("failure", "feature", "main"))
    assert failed.fingerprint == "github:status:octo/app:ci/jenkins:main"
    assert failed.title == "ci/jenkins failed: octo/app main"
    assert failed.severity is Severity.ERROR
    assert failed.body == "Build 7\nMake it fast"
    assert failed.url == "https://ci.example.com/7"
    passed = read("status", commit_status("success", "feature", "main"))
    assert {alert.status for alert in passed} == {"resolved"}
    assert [alert.labels["branch"] for alert in passed] == ["main", "feature"]


def test_a_status_counts_for_the_branches_it_is_the_head_of() -> None:
    mixed = commit_status("error", "main", head="f" * 40)
    mixed["branches"].append({"name": "feature", "commit": {"sha": SHA}})
    assert one("status", mixed).labels["branch"] == "feature"
    assert one("status", commit_status("error", "main", head="f" * 40)).labels["branch"] == "main"
    assert one("status", {**commit_status("error"), "context": ""}).title == f"default failed: octo/app {SHA}"


def test_a_pending_status_says_nothing() -> None:
    assert read("status", commit_status("pending", "main")) == []


def deployment(state: str, environment: str | None = "production") -> dict[str, Any]:
    return {
        "action": "created",
        "deployment_status": {
            "state": state,
            "environment": environment,
            "description": "Out of memory",
            "target_url": "https://deploy.example.com/1",
            "updated_at": "2026-01-05T10:00:00Z",
        },
        "deployment": {"ref": "main", "task": "deploy", "sha": SHA, "environment": None},
    }


def test_a_deployment_fails_and_its_success_resolves_it() -> None:
    failed, passed = one("deployment_status", deployment("failure")), one("deployment_status", deployment("success"))
    assert failed.title == "Deployment to production failed: octo/app"
    assert (failed.severity, failed.environment) == (Severity.ERROR, "production")
    assert failed.url == "https://deploy.example.com/1"
    assert failed.fingerprint == passed.fingerprint == "github:deploy:octo/app:production"
    assert passed.status == "resolved"
    assert one("deployment_status", deployment("error", None)).environment == "an environment"
    for state in ("pending", "queued", "in_progress", "inactive"):
        assert read("deployment_status", deployment(state)) == []


def test_a_deployment_that_waits_for_approval_is_resolved_by_the_answer() -> None:
    document = {**run(None, action="requested"), "environment": "production", "since": "2026-01-05T10:00:00Z"}
    waits = one("deployment_review", document)
    assert waits.title == "Deployment to production waits for approval: octo/app"
    assert (waits.severity, waits.status) == (Severity.INFO, "firing")
    approved = one("deployment_review", {**document, "action": "approved", "environment": None})
    assert approved.title == "Deployment was approved: octo/app"
    assert (approved.status, approved.fingerprint) == ("resolved", waits.fingerprint)
    assert read("deployment_review", {**document, "action": "something"}) == []


def test_a_page_that_failed_to_build_is_resolved_by_the_next_that_did() -> None:
    failed = one("page_build", {"build": {"status": "errored", "error": {"message": "bad front matter"}}})
    built = one("page_build", {"build": {"status": "built"}})
    assert (failed.severity, failed.body) == (Severity.ERROR, "bad front matter")
    assert (built.status, built.fingerprint) == ("resolved", failed.fingerprint)
    assert read("page_build", {"build": {"status": "building"}}) == []


# --- safety --------------------------------------------------------------------------------------------


def dependabot(action: str, severity: str = "high") -> dict[str, Any]:
    return {
        "action": action,
        "alert": {
            "number": 3,
            "dependency": {"package": {"name": "leftish", "ecosystem": "npm"}, "manifest_path": "package.json"},
            "security_vulnerability": {"severity": severity, "first_patched_version": {"identifier": "2.0.1"}},
            "security_advisory": {"summary": "It pads wrongly", "ghsa_id": "GHSA-1", "severity": "low"},
            "html_url": "https://github.com/octo/app/security/dependabot/3",
            "updated_at": "2026-01-05T10:00:00Z",
        },
    }


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("critical", Severity.CRITICAL),
        ("high", Severity.ERROR),
        ("medium", Severity.WARNING),
        ("moderate", Severity.WARNING),
        ("low", Severity.INFO),
        ("", Severity.INFO),
    ],
)
def test_a_vulnerable_dependency_is_as_bad_as_its_advisory_says(word: str, severity: Severity) -> None:
    alert = one("dependabot_alert", dependabot("created", word))
    assert alert.severity is severity
    assert alert.title == "Vulnerable dependency leftish: octo/app: It pads wrongly"
    assert alert.fingerprint == "github:dependabot:octo/app:3"
    assert alert.fields["fixed in"] == "2.0.1"


@pytest.mark.parametrize("action", ["created", "reopened", "auto_reopened", "reintroduced"])
def test_a_vulnerability_that_is_there_fires(action: str) -> None:
    assert one("dependabot_alert", dependabot(action)).status == "firing"


@pytest.mark.parametrize("action", ["fixed", "dismissed", "auto_dismissed"])
def test_a_vulnerability_that_is_gone_resolves(action: str) -> None:
    alert = one("dependabot_alert", dependabot(action))
    assert alert.status == "resolved"
    assert alert.title.startswith(action.replace("_", " ").capitalize())


def test_an_assignment_of_an_alert_says_nothing() -> None:
    assert read("dependabot_alert", dependabot("assignees_changed")) == []


def test_the_older_vulnerability_alert_is_the_same_incident() -> None:
    alert = {"number": 3, "affected_package_name": "leftish", "severity": "moderate", "ghsa_id": "GHSA-1"}
    old = one("repository_vulnerability_alert", {"action": "create", "alert": alert})
    assert old.fingerprint == one("dependabot_alert", dependabot("created")).fingerprint
    assert old.severity is Severity.WARNING
    assert one("repository_vulnerability_alert", {"action": "dismiss", "alert": alert}).status == "resolved"
    nameless = {"action": "create", "alert": {"id": 99, "external_reference": "https://nvd.nist.gov/x"}}
    bare = one("repository_vulnerability_alert", nameless)
    assert (bare.fingerprint, bare.url) == ("github:dependabot:octo/app:id-99", "https://nvd.nist.gov/x")


def scan(rule: dict[str, Any], action: str = "created") -> dict[str, Any]:
    alert = {
        "number": 4,
        "rule": {"id": "py/sql", "description": "SQL from users", **rule},
        "most_recent_instance": {"ref": "refs/heads/main", "message": {"text": "Here"}, "location": {"path": "a.py"}},
    }
    return {"action": action, "alert": alert}


@pytest.mark.parametrize(
    ("rule", "severity"),
    [
        ({"security_severity_level": "critical", "severity": "note"}, Severity.CRITICAL),
        ({"security_severity_level": "high"}, Severity.ERROR),
        ({"security_severity_level": None, "severity": "error"}, Severity.ERROR),
        ({"severity": "warning"}, Severity.WARNING),
        ({"severity": "note"}, Severity.INFO),
        ({"severity": "none"}, Severity.INFO),
        ({}, Severity.ERROR),
    ],
)
def test_a_scan_is_as_bad_as_its_rule(rule: dict[str, Any], severity: Severity) -> None:
    alert = one("code_scanning_alert", scan(rule))
    assert alert.severity is severity
    assert alert.fingerprint == "github:code_scanning:octo/app:4"
    assert (alert.labels["branch"], alert.body, alert.fields["file"]) == ("main", "Here", "a.py")


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("reopened_by_user", "firing"),
        ("appeared_in_branch", "firing"),
        ("fixed", "resolved"),
        ("closed_by_user", "resolved"),
    ],
)
def test_a_scan_fires_and_resolves_by_its_action(action: str, status: str) -> None:
    assert one("code_scanning_alert", scan({}, action)).status == status


def test_a_leaked_secret_is_critical_and_never_repeated() -> None:
    alert = {"number": 5, "secret_type": "aws_key", "secret": "AKIA-very-secret"}
    leaked = one("secret_scanning_alert", {"action": "created", "alert": alert})
    assert leaked.severity is Severity.CRITICAL
    assert leaked.fingerprint == "github:secret_scanning:octo/app:5"
    assert "AKIA" not in repr(leaked)
    assert one("secret_scanning_alert", {"action": "resolved", "alert": alert}).status == "resolved"
    assert read("secret_scanning_alert", {"action": "validated", "alert": alert}) == []


def test_an_advisory_needs_no_repository_and_is_told_once() -> None:
    advisory = {"ghsa_id": "GHSA-2", "summary": "Bad", "severity": "critical", "cvss": {"score": 9.8}}
    document = {"action": "published", "security_advisory": advisory}
    alert = one("security_advisory", document, envelope=False)
    assert (alert.severity, alert.momentary, alert.service) == (Severity.CRITICAL, True, "")
    assert alert.url == "https://github.com/advisories/GHSA-2"
    withdrawn = one("security_advisory", {**document, "action": "withdrawn"}, envelope=False)
    assert withdrawn.severity is Severity.INFO
    assert withdrawn.fingerprint != alert.fingerprint
    reported = one("repository_advisory", {"action": "reported", "repository_advisory": {"severity": None}})
    assert (reported.severity, reported.url) == (Severity.ERROR, "https://github.com/octo/app")


def test_guards_taken_away_are_warnings() -> None:
    rule = {"id": 8, "name": "main", "updated_at": "2026-01-05T10:00:00Z"}
    made = one("branch_protection_rule", {"action": "created", "rule": rule})
    gone = one("branch_protection_rule", {"action": "deleted", "rule": rule})
    assert (made.severity, gone.severity) == (Severity.INFO, Severity.WARNING)
    assert gone.title == "Branch protection rule main deleted by kim: octo/app"
    assert gone.url == "https://github.com/octo/app/settings/branches"
    edited = {
        "action": "edited",
        "repository_ruleset": {"name": "all", "_links": {"html": {"href": "https://x.example"}}},
    }
    alone = one("repository_ruleset", {**edited, "organization": {"login": "octo"}}, envelope=False)
    assert (alone.severity, alone.service, alone.url) == (Severity.WARNING, "octo", "https://x.example")
    bare = one("repository_ruleset", {"repository_ruleset": {"id": 1}}, envelope=False)
    assert (bare.title, bare.url) == ("Ruleset changed by somebody: GitHub", "")


def test_branch_protection_switched_off_is_resolved_by_switching_it_on() -> None:
    off = one("branch_protection_configuration", {"action": "disabled"})
    on = one("branch_protection_configuration", {"action": "enabled"})
    assert (off.severity, off.status, on.status) == (Severity.WARNING, "firing", "resolved")
    assert off.fingerprint == on.fingerprint


def test_a_repository_made_public_is_one_warning_however_github_says_it() -> None:
    publicized, public = one("repository", {"action": "publicized"}), one("public", {})
    assert publicized.severity is public.severity is Severity.WARNING
    hidden = one("repository", {"action": "privatized"})
    assert hidden.status == "resolved"
    assert publicized.fingerprint == public.fingerprint == hidden.fingerprint


def test_the_loss_of_this_webhook_is_a_warning() -> None:
    alert = one("meta", {"action": "deleted", "hook_id": 42, "hook": {"type": "Repository"}})
    assert (alert.severity, alert.momentary) == (Severity.WARNING, True)
    assert alert.fields == {"hook": "42"}


# --- work ----------------------------------------------------------------------------------------------


def issue(action: str, *labels: str) -> dict[str, Any]:
    about = {
        "number": 9,
        "title": "It is slow",
        "body": "Very.",
        "user": {"login": "lee"},
        "html_url": "https://github.com/octo/app/issues/9",
        "labels": [{"name": name} for name in labels],
    }
    return {"action": action, "issue": about}


def test_an_issue_is_information_until_it_is_closed() -> None:
    opened = one("issues", issue("opened", "bug"))
    assert opened.title == "Issue opened: octo/app#9: It is slow"
    assert (opened.severity, opened.status, opened.momentary) == (Severity.INFO, "firing", False)
    assert opened.fingerprint == "github:issue:octo/app#9"
    for action in ("closed", "deleted", "transferred"):
        closed = one("issues", issue(action))
        assert (closed.status, closed.fingerprint) == ("resolved", opened.fingerprint)
    assert read("issues", issue("assigned")) == []


def test_a_label_may_say_how_bad_an_issue_is() -> None:
    assert one("issues", issue("opened", "severity: critical", "priority/low")).severity is Severity.CRITICAL
    assert one("issues", issue("opened", "severity: who knows", "alert", "")).severity is Severity.INFO


def pushed(**more: Any) -> dict[str, Any]:
    return {"ref": "refs/heads/main", "before": "a" * 40, "after": SHA, "pusher": {"name": "kim"}, **more}


@pytest.mark.parametrize(
    ("more", "title"),
    [
        ({"commits": [{"message": "One\nmore"}]}, "kim pushed 1 commit to main: octo/app"),
        ({"commits": [{"message": "One"}, {"message": "Two"}]}, "kim pushed 2 commits to main: octo/app"),
        ({"forced": True}, "kim force-pushed to main: octo/app"),
        ({"deleted": True}, "kim deleted the branch main: octo/app"),
        ({"ref": "refs/tags/v1"}, "kim pushed the tag v1: octo/app"),
        ({"pusher": {"email": "x"}}, "somebody pushed the branch main: octo/app"),
    ],
)
def test_a_push_is_told_once_in_plain_words(more: dict[str, Any], title: str) -> None:
    alert = one("push", pushed(**more))
    assert alert.title == title
    assert (alert.severity, alert.momentary) == (Severity.INFO, True)


def test_two_pushes_are_two_statements() -> None:
    assert one("push", pushed()).fingerprint != one("push", pushed(after="b" * 40)).fingerprint


@pytest.mark.parametrize(
    ("action", "more", "words"),
    [
        ("opened", {}, "Pull request opened"),
        ("ready_for_review", {}, "Pull request ready for review"),
        ("closed", {"merged": True}, "Pull request merged"),
        ("closed", {"merged": False}, "Pull request closed"),
    ],
)
def test_a_pull_request_is_told_where_it_turns(action: str, more: dict[str, Any], words: str) -> None:
    pull = {"number": 4, "title": "Faster", "base": {"ref": "main"}, "head": {"ref": "fast"}, **more}
    alert = one("pull_request", {"action": action, "pull_request": pull})
    assert alert.title == f"{words}: octo/app#4: Faster"
    assert alert.labels["branch"] == "main"
    assert read("pull_request", {"action": "synchronize", "pull_request": pull}) == []


def test_comments_and_reviews_are_told_where_they_stand() -> None:
    words = {"id": 1, "body": "Me too", "user": {"login": "lee"}, "html_url": "https://github.com/octo/app/issues/9#1"}
    said = one("issue_comment", {**issue("created"), "comment": words})
    assert said.title == "Comment by lee: octo/app#9: It is slow"
    assert (said.body, said.momentary) == ("Me too", True)
    review = {**words, "state": "changes_requested"}
    reviewed = one(
        "pull_request_review",
        {"action": "submitted", "review": review, "pull_request": {"number": 4, "title": "Faster"}},
    )
    assert reviewed.title == "Review (changes requested) by lee: octo/app#4: Faster"
    assert one("commit_comment", {"action": "created", "comment": words}).title == "Comment by lee: octo/app"
    assert read("issue_comment", {**issue("edited"), "comment": words}) == []


def test_other_news_is_told_by_its_noun_and_name() -> None:
    release = {"tag_name": "v1", "name": "The first", "html_url": "https://github.com/octo/app/releases/v1"}
    alert = one("release", {"action": "published", "release": release})
    assert alert.title == "Release v1 published by kim: octo/app"
    assert (alert.severity, alert.momentary, alert.body) == (Severity.INFO, True, "The first")
    assert read("release", {"action": "edited", "release": release}) == []
    assert one("repository", {"action": "deleted"}).title == "Repository octo/app deleted by kim"
    assert one("repository", {"action": "deleted"}).severity is Severity.WARNING
    left = {"action": "member_removed", "membership": {"user": {"login": "lee"}}, "organization": {"login": "octo"}}
    assert one("organization", left, envelope=False).title == "Organization member lee removed by somebody: octo"


# --- the edges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["star", "watch", "fork", "create", "label", "merge_group", "workflow_dispatch"])
def test_what_nobody_must_hear_gives_no_alert(event: str) -> None:
    assert read(event, {"action": "created"}) == []


def test_an_event_of_tomorrow_in_the_known_envelope_is_news() -> None:
    alert = one("quantum_branch", {"action": "collapsed"})
    assert alert.title == "octo/app: quantum branch collapsed by kim"
    assert (alert.kind, alert.severity, alert.momentary) == ("quantum_branch", Severity.INFO, True)


def test_an_unknown_event_in_no_envelope_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="quantum_branch"):
        read("quantum_branch", {"a": 1}, envelope=False)


@pytest.mark.parametrize("document", [[], "text", 1, None])
def test_a_body_that_is_no_object_is_unreadable(document: Any) -> None:
    with pytest.raises(Unreadable, match="no JSON object"):
        read("push", document, envelope=False)


def test_an_event_without_its_object_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="workflow_run"):
        read("workflow_run", {"action": "completed"})


@pytest.mark.parametrize(
    ("event", "document"),
    [
        ("workflow_run", run()),
        ("workflow_job", job()),
        ("check_run", check()),
        ("check_suite", suite()),
        ("status", commit_status("failure", "main")),
        ("deployment_status", deployment("failure")),
        ("dependabot_alert", dependabot("created")),
        ("code_scanning_alert", scan({})),
        ("issues", issue("opened")),
        ("push", pushed()),
    ],
)
def test_without_the_header_the_body_tells_what_it_is(event: str, document: dict[str, Any]) -> None:
    assert read("", document) == read(event, document)


def test_without_header_and_sign_the_body_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="X-GitHub-Event"):
        read("", {"action": "created"})


def test_titles_and_links_are_cut_and_made_harmless() -> None:
    alert = one("workflow_run", run(name="x" * 500, html_url="javascript:alert(1)"))
    assert len(alert.title) <= 200
    assert alert.url == "https://github.com/octo/app"


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner)
)
EVENTS = ("workflow_run", "check_run", "status", "dependabot_alert", "issues", "push", "release", "issue_comment")
KEYS = ("action", "workflow_run", "check_run", "alert", "issue", "comment", "release", "pusher", "repository", "state")


@given(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(KEYS), anything), st.data())
def test_whatever_arrives_is_read_or_unreadable(event: str, document: dict[str, Any], data: st.DataObject) -> None:
    action = data.draw(st.sampled_from(("completed", "created", "opened", "published")))
    for whole in (document, {**document, "action": action, "state": "failure"}, data.draw(anything)):
        try:
            alerts = read(event, whole, envelope=False)
        except Unreadable:
            continue
        for alert in alerts:
            assert alert.title
            assert alert.fingerprint
