"""Sentry: the integration platform's webhooks, its service hooks, and the legacy WebHooks plugin.

docs.sentry.io/organization/integrations/integration-platform/webhooks. Sentry waits one second for an
answer, and an internal integration is never told twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from adapters import _sentry_metric, _sentry_news, _signing
from adapters._sentry_problem import Around, issue_title, issue_url, of_event, of_issue, project_of_issue
from adapters._shapes import first, instant, items, link, mapping, text
from gateway.contracts import Adapter, Admission, Handshake, Keep
from gateway.errors import Unreadable
from gateway.model import Alert, Event, Json, Millis

RESOURCE: Final = "sentry-hook-resource"
TIMESTAMP: Final = "sentry-hook-timestamp"
# The same in all three: hex HMAC-SHA256 of the raw body, by the client secret or by the service hook's own.
SIGNATURES: Final = frozenset(("sentry-hook-signature", "sentry-app-signature", "x-servicehook-signature"))

_ONCE: Final = Keep(once_per_body=True)

Reader: TypeAlias = Callable[[Json, Millis | None], list[Alert]]
"""Reads a whole body; the second argument is when Sentry says it sent it."""


class _Sentry:
    # The Request-ID is no idempotency key (a retry has a new one): it finds the request in Sentry's own log.
    signs = True
    keeps: frozenset[str] = frozenset({RESOURCE, TIMESTAMP, "request-id"})
    max_body: int = 1_048_576

    def signed(self, headers: Mapping[str, str]) -> bool:
        return not SIGNATURES.isdisjoint(headers)

    # Sentry does not sign its timestamp: a tolerance on it would prove nothing, so `now` is not asked.
    def verify(self, headers: Mapping[str, str], body: bytes, secret: str, now: Millis) -> bool:  # noqa: ARG002
        # All that came are compared, so that the time tells nothing of which one fitted.
        return sum([_signing.fits(headers[name], body, secret) for name in SIGNATURES if name in headers]) > 0

    def admit(self, headers: Mapping[str, str], document: Json) -> Admission:
        # It holds a grant code, which is a credential: whatever the header says, it must not reach the disk.
        if _named(headers) == "installation" or mapping(document, "data", "installation"):
            return Handshake()
        return _ONCE

    def parse(self, event: Event, document: Json) -> list[Alert]:
        named = _named(event.headers)
        read = _BY_HEADER.get(named) or _BY_SHAPE.get(_shape_of(document))
        if read is None:
            raise Unreadable(_unknown(named))
        return read(document, instant(event.headers.get(TIMESTAMP)))


def _named(headers: Mapping[str, str]) -> str:
    return headers.get(RESOURCE, "").strip().lower()


def _unknown(named: str) -> str:
    if named:
        return f"Sentry resource {named[:40]!r} is not known; expected one of {', '.join(_BY_HEADER)}"
    return (
        "no Sentry-Hook-Resource header and no shape of Sentry's; expected an object with `data`, the flat body "
        "of the WebHooks plugin, or {project, group, event} of a service hook"
    )


def _shape_of(document: Json) -> str:
    """What the body speaks of, where no header says so: the older plugins, and `explain` on a bare file."""
    for name, path in _TELLTALES.items():
        if mapping(document, *path) or text(document, *path):
            return name
    return ""


def _event_alert(document: Json, sent_at: Millis | None) -> list[Alert]:
    event = mapping(document, "data", "event")
    if not event:
        raise Unreadable("a Sentry event_alert needs an object at `data.event`")
    rule = first(text(document, "data", "triggered_rule"), text(document, "data", "issue_alert", "title"))
    return [of_event(event, Around(rule=rule), sent_at)]


def _error(document: Json, sent_at: Millis | None) -> list[Alert]:
    event = mapping(document, "data", "error")
    if not event:
        raise Unreadable("a Sentry error needs an object at `data.error`")
    return [of_event(event, Around(), sent_at)]


def _issue(document: Json, sent_at: Millis | None) -> list[Alert]:
    # In 2018 `data` was the issue itself, and the action `issue.created`.
    issue = mapping(document, "data", "issue") or mapping(document, "data")
    action = text(document, "action").rpartition(".")[2]
    who = text(document, "actor", "name")
    if not text(issue, "id"):
        raise Unreadable("a Sentry issue needs `data.issue.id`")
    match action:
        case "created":
            return [of_issue(issue, "firing", sent_at)]
        case "unresolved":
            return [of_issue(issue, "firing", sent_at, f"Back in Sentry: {text(issue, 'substatus') or action}")]
        # One archiving may come as both ignored and archived: closing twice is closing once.
        case "resolved" | "ignored" | "archived":
            by = f" by {who}" if who else ""
            return [of_issue(issue, "resolved", sent_at, f"{action.capitalize()} in Sentry{by}")]
        case "assigned":
            return [_sentry_news.assigned(issue, sent_at)]
    raise Unreadable(
        f"Sentry issue action {action[:40]!r} is not known; "
        "expected created, unresolved, resolved, ignored, archived or assigned"
    )


def _nothing(document: Json, sent_at: Millis | None) -> list[Alert]:  # noqa: ARG001
    return []


def _plugin(document: Json, sent_at: Millis | None) -> list[Alert]:
    """The legacy WebHooks plugin: flat and unsigned; `id` is the issue's, and `message` is often empty."""
    event = mapping(document, "event")
    flat = {name: text(document, name) for name in ("message", "culprit", "logger", "level")}
    if not event and not any(flat.values()):
        raise Unreadable("the body of Sentry's WebHooks plugin needs `event`, `message`, `culprit` or `level`")
    around = Around(
        project=first(text(document, "project_slug"), text(document, "project_name"), text(document, "project")),
        url=text(document, "url"),
        issue=text(document, "id"),
        rule=", ".join(filter(None, map(text, items(document, "triggering_rules")))),
    )
    return [of_event(flat | {name: value for name, value in event.items() if value}, around, sent_at)]


def _service_hook(document: Json, sent_at: Millis | None) -> list[Alert]:
    group, event = mapping(document, "group"), mapping(document, "event")
    if not text(group, "id"):
        raise Unreadable("a Sentry service hook needs `group.id`")
    if not event:
        return [of_issue(group, "firing", sent_at)]
    around = Around(
        project=first(text(document, "project", "slug"), text(document, "project", "name"), project_of_issue(group)),
        url=first(issue_url(group), link(text(group, "url"))),
        issue=text(group, "id"),
        level=text(group, "level"),
        title=issue_title(group),
    )
    return [of_event(event, around, sent_at)]


_BY_HEADER: Final[Mapping[str, Reader]] = {
    "event_alert": _event_alert,
    "metric_alert": _sentry_metric.read,
    "issue": _issue,
    "error": _error,
    "comment": _sentry_news.comment,
    "seer": _sentry_news.seer,
    "activity_alert": _sentry_news.activity_alert,
    # How large a mobile build is: nobody is woken for it, its own page shows it.
    "preprod_artifact": _nothing,
    "installation": _nothing,
}
_BY_SHAPE: Final[Mapping[str, Reader]] = {**_BY_HEADER, "service_hook": _service_hook, "plugin": _plugin}
# Read from the top: an activity alert holds an issue too, and a plugin's body is known by its project alone.
_TELLTALES: Final[Mapping[str, tuple[str, ...]]] = {
    "installation": ("data", "installation"),
    "metric_alert": ("data", "metric_alert"),
    "activity_alert": ("data", "activity"),
    "event_alert": ("data", "event"),
    "error": ("data", "error"),
    "issue": ("data", "issue"),
    "comment": ("data", "comment_id"),
    "seer": ("data", "run_id"),
    "preprod_artifact": ("data", "buildId"),
    "service_hook": ("group", "id"),
    "plugin": ("project",),
}

adapter: Adapter = _Sentry()
