"""GitHub events about safety: alerts with a life (found, fixed), advisories, and guards taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from adapters import _shapes
from adapters._github_words import Reader, actor, branch_of, place, repository, subject
from gateway.model import Alert, Json, Severity

# GitHub's words mean what ours do, but for "none" and "note" (of a code scanning rule) and "error".
_SEVERITIES: Final[Mapping[str, Severity]] = {
    "critical": Severity.CRITICAL,
    "high": Severity.ERROR,
    "error": Severity.ERROR,
    "medium": Severity.WARNING,
    "moderate": Severity.WARNING,
    "warning": Severity.WARNING,
    "low": Severity.INFO,
    "note": Severity.INFO,
    "none": Severity.INFO,
}
_FIRES: Final = frozenset(
    (
        *("create", "created", "reopen", "reopened", "reopened_by_user", "auto_reopened"),
        *("reintroduced", "appeared_in_branch", "publicly_leaked"),
    )
)
_RESOLVES: Final = frozenset(
    (
        *("fixed", "dismiss", "dismissed", "auto_dismissed", "resolve", "resolved"),
        *("closed_by_user", "revoked"),
    )
)


def dependabot_alert(document: Json) -> list[Alert]:
    """A vulnerable dependency. Severity by the vulnerability's own word."""
    alert = subject(document, "alert")
    advisory = _shapes.mapping(alert, "security_advisory")
    package = _shapes.first(
        _shapes.text(alert, "dependency", "package", "name"),
        _shapes.text(alert, "security_vulnerability", "package", "name"),
    )
    word = _shapes.first(_shapes.text(alert, "security_vulnerability", "severity"), _shapes.text(advisory, "severity"))
    found = Alert(
        fingerprint=_shapes.key("github:dependabot", repository(document), _shapes.text(alert, "number")),
        title=f"Vulnerable dependency {package}: {place(document)}: {_shapes.text(advisory, 'summary')}",
        severity=_severity(word),
        body=_shapes.text(advisory, "description"),
        url=_shapes.text(alert, "html_url"),
        labels={
            "package": package,
            "ecosystem": _shapes.text(alert, "dependency", "package", "ecosystem"),
            "scope": _shapes.text(alert, "dependency", "scope"),
        },
        fields={
            "advisory": _shapes.text(advisory, "ghsa_id"),
            "CVE": _shapes.text(advisory, "cve_id"),
            "in": _shapes.text(alert, "dependency", "manifest_path"),
            "affected": _shapes.text(alert, "security_vulnerability", "vulnerable_version_range"),
            "fixed in": _shapes.text(alert, "security_vulnerability", "first_patched_version", "identifier"),
        },
    )
    return _living(document, alert, found)


def repository_vulnerability_alert(document: Json) -> list[Alert]:
    """The older name of a Dependabot alert, of the same number: both are one incident."""
    alert = subject(document, "alert")
    number = _shapes.first(_shapes.text(alert, "number"), f"id-{_shapes.text(alert, 'id')}")
    package = _shapes.text(alert, "affected_package_name")
    advisory = _shapes.first(_shapes.text(alert, "external_identifier"), _shapes.text(alert, "ghsa_id"))
    found = Alert(
        fingerprint=_shapes.key("github:dependabot", repository(document), number),
        title=f"Vulnerable dependency {package}: {place(document)}: {advisory}",
        severity=_severity(_shapes.text(alert, "severity")),
        url=_shapes.first(_shapes.text(alert, "html_url"), _shapes.text(alert, "external_reference")),
        labels={"package": package},
        fields={
            "advisory": advisory,
            "affected": _shapes.text(alert, "affected_range"),
            "fixed in": _shapes.text(alert, "fixed_in"),
        },
    )
    return _living(document, alert, found)


def code_scanning_alert(document: Json) -> list[Alert]:
    """What a code scanner found. The security severity where the rule has one, else the rule's own."""
    alert = subject(document, "alert")
    rule = _shapes.mapping(alert, "rule")
    words = _shapes.first(_shapes.text(rule, "description"), _shapes.text(rule, "name"))
    instance = _shapes.mapping(alert, "most_recent_instance") or _shapes.mapping(alert, "instances", 0)
    found = Alert(
        fingerprint=_shapes.key("github:code_scanning", repository(document), _shapes.text(alert, "number")),
        title=f"Code scanning found {_shapes.text(rule, 'id')}: {place(document)}: {words}",
        severity=_severity(
            _shapes.first(_shapes.text(rule, "security_severity_level"), _shapes.text(rule, "severity"))
        ),
        body=_shapes.first(_shapes.text(instance, "message", "text"), _shapes.text(rule, "full_description")),
        url=_shapes.text(alert, "html_url"),
        labels={
            "branch": branch_of(_shapes.first(_shapes.text(document, "ref"), _shapes.text(instance, "ref"))),
            "rule": _shapes.text(rule, "id"),
            "tool": _shapes.text(alert, "tool", "name"),
        },
        fields={
            "file": _shapes.text(instance, "location", "path"),
            "commit": _shapes.text(document, "commit_oid")[:12],
        },
    )
    return _living(document, alert, found)


def secret_scanning_alert(document: Json) -> list[Alert]:
    """A credential in the code: always critical. The credential itself is never read."""
    alert = subject(document, "alert")
    what = _shapes.first(
        _shapes.text(alert, "secret_type_display_name"), _shapes.text(alert, "secret_type"), "a secret"
    )
    found = Alert(
        fingerprint=_shapes.key("github:secret_scanning", repository(document), _shapes.text(alert, "number")),
        title=f"Secret in the code: {place(document)}: {what}",
        severity=Severity.CRITICAL,
        url=_shapes.text(alert, "html_url"),
        labels={"secret_type": _shapes.text(alert, "secret_type")},
        fields={
            "validity": _shapes.text(alert, "validity"),
            "publicly leaked": _shapes.text(alert, "publicly_leaked"),
        },
    )
    return _living(document, alert, found)


def security_advisory(document: Json) -> list[Alert]:
    """News from GitHub's database of advisories; it belongs to no repository, and nothing resolves it."""
    return [_advisory("github:advisory", document, subject(document, "security_advisory"))]


def repository_advisory(document: Json) -> list[Alert]:
    """An advisory of this repository: `reported` is a stranger who tells us privately of a hole in our code."""
    return [_advisory("github:repository_advisory", document, subject(document, "repository_advisory"))]


def branch_protection_rule(document: Json) -> list[Alert]:
    """A rule was made (info), changed or taken away (warning)."""
    return [_guard_moved(document, "Branch protection rule", subject(document, "rule"))]


def repository_ruleset(document: Json) -> list[Alert]:
    """As a branch protection rule, of the newer kind."""
    return [_guard_moved(document, "Ruleset", subject(document, "repository_ruleset"))]


def branch_protection_configuration(document: Json) -> list[Alert]:
    """All branch protection of a repository switched off, and on again."""
    off = _shapes.text(document, "action") == "disabled"
    return [
        Alert(
            fingerprint=_shapes.key("github:branch_protection", repository(document)),
            title=f"Branch protection switched {'off' if off else 'on'} by {actor(document)}: {place(document)}",
            severity=Severity.WARNING if off else Severity.INFO,
            status="firing" if off else "resolved",
        )
    ]


READERS: Final[Mapping[str, Reader]] = {
    "dependabot_alert": dependabot_alert,
    "repository_vulnerability_alert": repository_vulnerability_alert,
    "code_scanning_alert": code_scanning_alert,
    "secret_scanning_alert": secret_scanning_alert,
    "security_advisory": security_advisory,
    "repository_advisory": repository_advisory,
    "branch_protection_rule": branch_protection_rule,
    "repository_ruleset": repository_ruleset,
    "branch_protection_configuration": branch_protection_configuration,
}


def _severity(word: str) -> Severity:
    return _SEVERITIES.get(word.lower(), Severity.ERROR)


def _living(document: Json, alert: Mapping[str, Json], found: Alert) -> list[Alert]:
    """The alert firing or resolved as the action says; nothing for actions that change neither
    (an assignment, a check of the secret's validity)."""
    action = _shapes.text(document, "action")
    if action not in _FIRES | _RESOLVES:
        return []
    moved = ("fixed_at", "dismissed_at", "resolved_at", "updated_at", "created_at")
    return [
        replace(
            found,
            status="firing" if action in _FIRES else "resolved",
            title=found.title if action in _FIRES else f"{action.replace('_', ' ').capitalize()}: {found.title}",
            occurred_at=_shapes.instant(_shapes.first(*(_shapes.text(alert, name) for name in moved))),
        )
    ]


def _advisory(family: str, document: Json, advisory: Mapping[str, Json]) -> Alert:
    ghsa = _shapes.text(advisory, "ghsa_id")
    action = _shapes.first(_shapes.text(document, "action"), "published")
    package = _shapes.text(advisory, "vulnerabilities", 0, "package", "name")
    return Alert(
        fingerprint=_shapes.key(family, repository(document), ghsa, action, _shapes.text(advisory, "updated_at")),
        title=f"Security advisory {ghsa} {action}: {_shapes.text(advisory, 'summary')}",
        severity=Severity.INFO if action == "withdrawn" else _severity(_shapes.text(advisory, "severity")),
        momentary=True,
        body=_shapes.text(advisory, "description"),
        url=_shapes.first(
            _shapes.link(_shapes.text(advisory, "html_url")), f"https://github.com/advisories/{ghsa}" if ghsa else ""
        ),
        labels={"package": package, "advisory": ghsa},
        fields={"CVE": _shapes.text(advisory, "cve_id"), "score": _shapes.text(advisory, "cvss", "score")},
        occurred_at=_shapes.instant(_shapes.at(advisory, "updated_at")),
    )


def _guard_moved(document: Json, what: str, rule: Mapping[str, Json]) -> Alert:
    action = _shapes.first(_shapes.text(document, "action"), "changed")
    name = _shapes.text(rule, "name")
    return Alert(
        # With the moment, because two edits are two statements, neither a repeat of the other.
        fingerprint=_shapes.key(
            *("github:rule", place(document), _shapes.first(_shapes.text(rule, "id"), name)),
            *(action, _shapes.text(rule, "updated_at")),
        ),
        title=f"{what} {name} {action} by {actor(document)}: {place(document)}",
        severity=Severity.INFO if action == "created" else Severity.WARNING,
        momentary=True,
        url=_shapes.first(_shapes.text(rule, "_links", "html", "href"), _settings(document)),
        labels={"rule": name},
        occurred_at=_shapes.instant(_shapes.at(rule, "updated_at")),
    )


def _settings(document: Json) -> str:
    page = _shapes.text(document, "repository", "html_url")
    return f"{page}/settings/branches" if page else ""
