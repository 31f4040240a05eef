"""What Sentry says of a problem: an event (one occurrence) or an issue (all alike) becomes an alert.

An issue's fingerprint is the same however we hear of it, so that `issue.resolved` closes what an alert
rule opened. Shapes: docs.sentry.io/organization/integrations/integration-platform/webhooks
"""

from __future__ import annotations

import re
from typing import Final, Literal

from adapters._shapes import at, cut, fields, first, instant, items, key, labels, line, link, mapping, text
from gateway.model import Alert, Json, Millis, Severity
from gateway.values import frozen

MOST_TAGS: Final = 20
_ISSUE_IN_URL = re.compile(r"/issues/(\d+)")
_PROJECT_IN_URL = re.compile(r"/projects/[^/]+/([^/?#]+)")
# What the SDKs write by themselves: true, but nobody routes by it, and `user` and `url` name people.
_SDK_TAGS = re.compile(
    r"(browser|client_os|os|device|runtime|mechanism|handled|level|environment|user|url|trace|dist|sentry|replayId)"
    r"($|[.:_])"
)


@frozen
class Around:
    """What stands beside an event: the project's name, the page for people, the issue's id, the rules
    that fired, a level; each '' where the request does not say."""

    project: str = ""
    url: str = ""
    issue: str = ""
    rule: str = ""
    level: str = ""
    title: str = ""


def issue_key(issue: str) -> str:
    return key("sentry", "issue", issue)


def level_of(word: str) -> Severity:
    """Sentry's levels: fatal, error, warning, info, debug; also `log` and `sample` of some SDKs. Default error."""
    if word.lower() in ("log", "sample"):
        return Severity.INFO
    read = Severity.read(word)
    return Severity.ERROR if read is None else read


def of_event(event: Json, around: Around, sent_at: Millis | None) -> Alert:
    """The alert of one occurrence, as alert rules, the error resource and both older plugins send it."""
    tags = _tags(event)
    title = line(text(event, "title") or around.title or _headline(event)) or "Sentry event without a title"
    project = around.project or _project_of(event)
    level = first(text(event, "level"), around.level, tags.get("level", ""))
    issue = around.issue or _issue_of(event)
    event_id = text(event, "event_id") or text(event, "eventID")
    return Alert(
        fingerprint=issue_key(issue) if issue else key("sentry", "event", event_id or f"{project}:{title}"),
        title=title,
        severity=level_of(level),
        kind="error",
        service=line(project),
        environment=line(first(text(event, "environment"), tags.get("environment", ""))),
        body=_body(event, title),
        url=link(text(event, "web_url"), around.url),
        labels=_own_tags(tags)
        | labels(
            {
                "project": project,
                "level": level.lower(),
                "platform": text(event, "platform"),
                "logger": text(event, "logger"),
                "issue": issue,
            }
        ),
        fields=fields(
            {
                "rule": around.rule,
                "release": first(_release(event), tags.get("release", "")),
                "server": first(text(event, "server_name"), tags.get("server_name", "")),
                "event": event_id,
            }
        ),
        occurred_at=_moment(event, "datetime", "timestamp", "dateCreated", "received") or sent_at,
    )


def of_issue(issue: Json, status: Literal["firing", "resolved"], sent_at: Millis | None, note: str = "") -> Alert:
    """The alert of an issue that was opened or closed; `note` is a line on who or what did it."""
    title = issue_title(issue)
    project = project_of_issue(issue)
    culprit = text(issue, "culprit")
    seen = _moment(issue, "lastSeen", "firstSeen") if status == "firing" else None
    return Alert(
        fingerprint=issue_key(text(issue, "id")),
        title=title,
        severity=level_of(text(issue, "level")),
        status=status,
        kind=_kind(issue),
        service=line(project),
        body=cut("\n".join(part for part in (note, _beside(_headline(issue), title), culprit) if part)),
        url=issue_url(issue),
        labels=labels(
            {
                "project": project,
                "level": text(issue, "level").lower(),
                "platform": text(issue, "platform"),
                "logger": text(issue, "logger"),
                "issue": text(issue, "id"),
                "category": text(issue, "issueCategory"),
                "priority": text(issue, "priority"),
                "substatus": text(issue, "substatus"),
            }
        ),
        fields=fields(
            {
                "short_id": text(issue, "shortId"),
                "times_seen": text(issue, "count"),
                "users": text(issue, "userCount"),
                "first_seen": text(issue, "firstSeen"),
                "assigned_to": first(text(issue, "assignedTo", "name"), text(issue, "assignedTo", "email")),
            }
        ),
        # No field says when an issue was closed: it is told at once.
        occurred_at=seen or sent_at,
    )


def issue_title(issue: Json) -> str:
    return line(first(text(issue, "title"), _headline(issue))) or f"Sentry issue {text(issue, 'id')}"


def issue_url(issue: Json) -> str:
    """The page for people. Issues of 2020 have none: `url`, where there is one, answers JSON to a token."""
    return link(text(issue, "web_url"), text(issue, "permalink"))


def project_of_issue(issue: Json) -> str:
    return first(text(issue, "project", "slug"), text(issue, "project", "name"), text(issue, "project"))


def _kind(issue: Json) -> str:
    # Sentry's own uptime and cron monitors speak through issues too.
    sort = f"{text(issue, 'issueCategory')} {text(issue, 'issueType')}".lower()
    if "uptime" in sort:
        return "uptime"
    if "cron" in sort or "monitor_check_in" in sort:
        return "cron"
    return "feedback" if "feedback" in sort else "issue"


def _headline(problem: Json) -> str:
    """A title of our own making, from the parts that Sentry makes its titles of."""
    sort, value = text(problem, "metadata", "type"), text(problem, "metadata", "value")
    return first(
        ": ".join(part for part in (sort, value) if part),
        text(problem, "metadata", "title"),
        text(problem, "occurrence", "issueTitle"),
        _message(problem),
        text(problem, "culprit"),
    )


def _message(event: Json) -> str:
    said = mapping(event, "logentry")
    return text(said, "formatted") or text(said, "message") or text(event, "message")


def _issue_of(event: Json) -> str:
    named = text(event, "issue_id") or text(event, "groupID") or text(event, "group_id")
    if named:
        return named
    # Events of 2020 name their issue only within an address.
    found = _ISSUE_IN_URL.search(text(event, "issue_url")) or _ISSUE_IN_URL.search(text(event, "web_url"))
    return found[1] if found else ""


def _project_of(event: Json) -> str:
    # `project` is a number here; the address of the event holds the name that people use.
    found = _PROJECT_IN_URL.search(text(event, "url"))
    return text(event, "project_slug") or (found[1] if found else "") or text(event, "project")


def _release(event: Json) -> str:
    return text(event, "release") or text(event, "release", "version")


def _tags(event: Json) -> dict[str, str]:
    """A list of pairs in webhooks, of {key, value} where Sentry's API serialised the event, an object in old SDKs."""
    tags = at(event, "tags")
    if isinstance(tags, dict):
        return {name: text(value) for name, value in tags.items()}
    found = {text(tag, 0) or text(tag, "key"): text(tag, 1) or text(tag, "value") for tag in items(tags)}
    found.pop("", None)
    return found


def _own_tags(tags: dict[str, str]) -> dict[str, str]:
    own = [(line(name, 60), value) for name, value in tags.items() if not _SDK_TAGS.match(name)]
    return labels(dict(own[:MOST_TAGS]))


def _body(event: Json, title: str) -> str:
    evidence = [
        f"{text(shown, 'name')}: {text(shown, 'value')}"
        for shown in items(event, "occurrence", "evidenceDisplay")
        if text(shown, "value")
    ]
    culprit = text(event, "culprit")
    lines = (
        _beside(_message(event), title),
        _beside(text(event, "metadata", "value"), title),
        culprit,
        _beside(_place(event), culprit),
        *evidence,
    )
    return cut("\n".join(dict.fromkeys(filter(None, lines))))


def _beside(words: str, said: str) -> str:
    """The words, unless they were said already."""
    return "" if not words or line(words) in said else words


def _place(event: Json) -> str:
    """Where in the code it broke: `file:line in function` of the innermost frame that is the project's own."""
    frames = _frames(event)
    if not frames:
        return line(text(event, "location"))
    own = [frame for frame in frames if at(frame, "in_app") is True or at(frame, "inApp") is True]
    # Frames stand oldest first: the last is where it was raised.
    frame = (own or frames)[-1]
    file = text(frame, "filename") or text(frame, "module") or text(frame, "abs_path")
    number = text(frame, "lineno") or text(frame, "lineNo")
    function = text(frame, "function")
    where = f"{file}:{number}" if file and number else file
    return line(f"{where} in {function}" if where and function else where or text(event, "location"))


def _frames(event: Json) -> list[Json]:
    raised = items(event, "exception", "values") or items(event, "exception")
    for entry in items(event, "entries"):
        if text(entry, "type") == "exception":
            raised = items(entry, "data", "values")
    return items(mapping(raised[-1]), "stacktrace", "frames") if raised else []


def _moment(problem: Json, *names: str) -> Millis | None:
    for name in names:
        moment = instant(at(problem, name))
        if moment is not None:
            return moment
    return None
