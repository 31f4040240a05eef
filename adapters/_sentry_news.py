"""What Sentry tells of an issue without opening or closing it: told once to whoever routes it, level info.

Its fingerprint is never the issue's own: a comment must not close a problem.
"""

from __future__ import annotations

from typing import Final

from adapters._sentry_problem import issue_key, issue_title, issue_url, of_issue, project_of_issue
from adapters._shapes import at, cut, fields, first, instant, items, key, labels, line, link, mapping, text
from gateway.errors import Unreadable
from gateway.model import Alert, Json, Millis, Severity

_STAGES: Final = {
    "root_cause": "root cause",
    "solution": "solution",
    "coding": "code change",
    "pr": "pull request",
    "pr_iteration": "pull request",
    "triage": "triage",
    "impact_assessment": "impact assessment",
}


def assigned(issue: Json, sent_at: Millis | None) -> Alert:
    person = first(text(issue, "assignedTo", "name"), text(issue, "assignedTo", "email"), "nobody")
    return Alert(
        fingerprint=key(issue_key(text(issue, "id")), "assigned", first(text(issue, "assignedTo", "id"), person)),
        title=line(f"Assigned to {person}: {issue_title(issue)}"),
        severity=Severity.INFO,
        kind="assignment",
        service=line(project_of_issue(issue)),
        url=issue_url(issue),
        labels=_about(project_of_issue(issue), text(issue, "id")),
        fields=fields({"short_id": text(issue, "shortId"), "assigned_to": person}),
        occurred_at=sent_at,
        momentary=True,
    )


def comment(document: Json, sent_at: Millis | None) -> list[Alert]:
    """Flat: {comment, comment_id, issue_id, project_slug, timestamp}. A deleted one concerns nobody any more."""
    said = mapping(document, "data")
    action, number = text(document, "action").rpartition(".")[2], text(said, "comment_id")
    if not number:
        raise Unreadable("a Sentry comment needs `data.comment_id`")
    if action == "deleted":
        return []
    who = text(document, "actor", "name") or "somebody"
    verb = "edited a comment" if action == "updated" else "commented"
    return [
        Alert(
            fingerprint=key("sentry", "comment", number),
            title=line(f"{who} {verb} on Sentry issue {text(said, 'issue_id')}: {text(said, 'comment')}"),
            severity=Severity.INFO,
            kind="comment",
            service=line(text(said, "project_slug")),
            body=cut(text(said, "comment")),
            labels=_about(text(said, "project_slug"), text(said, "issue_id")),
            fields=fields({"author": who}),
            occurred_at=instant(at(said, "timestamp")) or sent_at,
            momentary=True,
        )
    ]


def seer(document: Json, sent_at: Millis | None) -> list[Alert]:
    """Sentry's own analysis of an issue. What it has only begun is no news."""
    found = mapping(document, "data")
    action = text(document, "action").removeprefix("seer.")
    issue, run = text(found, "group_id"), text(found, "run_id")
    if not action or not first(issue, run):
        raise Unreadable("a Sentry seer webhook needs `action` and `data.run_id` or `data.group_id`")
    if action.endswith("_started"):
        return []
    stage = action.removesuffix("_completed").removesuffix("_created")
    summary, url = _finding(found), link(*_pull_requests(found))
    return [
        Alert(
            fingerprint=key("sentry", "seer", run or issue, stage),
            title=line(f"Seer {_STAGES.get(stage, stage.replace('_', ' '))} for issue {issue}: {summary or 'ready'}"),
            severity=Severity.INFO,
            kind="seer",
            body=cut("\n".join([summary, *_pull_requests(found)]).strip()),
            url=url,
            labels=_about("", issue) | labels({"stage": stage}),
            fields=fields({"repository": text(found, "root_cause", "relevant_repo")}),
            occurred_at=sent_at,
            momentary=True,
        )
    ]


def activity_alert(document: Json, sent_at: Millis | None) -> list[Alert]:
    """Somebody asked in Sentry to be told of this, so it is told, even a beginning. Closing and reopening
    move the issue's own problem."""
    issue, sort = mapping(document, "data", "issue"), text(document, "data", "activity", "type")
    if not text(issue, "id") or not sort:
        raise Unreadable("a Sentry activity_alert needs `data.issue.id` and `data.activity.type`")
    rule = text(document, "data", "alert", "title")
    if sort in ("set_resolved", "set_resolved_in_release", "set_resolved_in_commit", "set_ignored"):
        return [of_issue(issue, "resolved", sent_at, f"{_words(sort).capitalize()} in Sentry")]
    if sort in ("set_unresolved", "set_regression", "set_escalating"):
        return [of_issue(issue, "firing", sent_at, f"{_words(sort).capitalize()} in Sentry")]
    details = mapping(document, "data", "activity", "details")
    summary = _finding(details)
    links = _pull_requests(details)
    return [
        Alert(
            fingerprint=key(issue_key(text(issue, "id")), "activity", sort),
            title=line(f"{_words(sort).capitalize()}: {issue_title(issue)}"),
            severity=Severity.INFO,
            kind="activity",
            service=line(project_of_issue(issue)),
            body=cut("\n".join(part for part in (summary, *links) if part)),
            url=link(issue_url(issue), *links),
            labels=_about(project_of_issue(issue), text(issue, "id")) | labels({"activity": sort}),
            fields=fields({"rule": rule, "short_id": text(issue, "shortId")}),
            occurred_at=sent_at,
            momentary=True,
        )
    ]


def _words(sort: str) -> str:
    return line(sort.replace("_", " "), 60)


def _about(project: str, issue: str) -> dict[str, str]:
    return labels({"project": project, "issue": issue})


def _finding(found: Json) -> str:
    """The one sentence of an analysis; each stage keeps it under a name of its own."""
    places = [found, *(value for value in mapping(found).values() if isinstance(value, dict))]
    names = ("one_line_description", "one_line_summary", "summary", "description", "title")
    stated = first(*(text(place, name) for place in places for name in names))
    return stated or ", ".join(f"{repository}: {len(changes)} files" for repository, changes in _changes(found))


def _changes(found: Json) -> list[tuple[str, list[Json]]]:
    return [(name, files) for name, files in mapping(found, "code_changes").items() if isinstance(files, list)]


def _pull_requests(found: Json) -> list[str]:
    opened = items(found, "pull_requests")
    links = (link(text(one, "pull_request", "pr_url"), text(one, "url"), text(one, "pr_url")) for one in opened)
    return [address for address in links if address]
