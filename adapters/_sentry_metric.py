"""Sentry's metric alerts: a number crossed a threshold of an alert rule, or came back."""

from __future__ import annotations

import re
from typing import Final

from adapters._shapes import at, cut, fields, first, instant, items, key, labels, line, link, mapping, text
from gateway.errors import Unreadable
from gateway.model import Alert, Json, Millis, Severity

_LEADING_NUMBER = re.compile(r"-?\d[\d,]{0,20}(?:\.\d{1,20})?")
# getsentry/sentry, incidents.models.incident.IncidentStatus
_INCIDENT_STATUS: Final = {"10": Severity.WARNING, "20": Severity.CRITICAL}


def read(document: Json, sent_at: Millis | None) -> list[Alert]:
    incident = mapping(document, "data", "metric_alert")
    if not incident:
        raise Unreadable("a Sentry metric_alert needs an object at `data.metric_alert`")
    rule = mapping(incident, "alert_rule")
    action = text(document, "action").rpartition(".")[2]
    title = line(first(text(document, "data", "description_title"), text(incident, "title"), text(rule, "name")))
    # Some versions escape the line break twice.
    description = text(document, "data", "description_text").replace("\\n", "\n")
    projects = [name for name in map(text, items(incident, "projects") or items(rule, "projects")) if name]
    return [
        Alert(
            fingerprint=key("sentry", "metric_alert", first(text(rule, "id"), text(incident, "id"), title)),
            title=title or "Sentry metric alert",
            severity=_severity(action, incident, title),
            status="resolved" if action == "resolved" else "firing",
            kind="metric_alert",
            service=line(", ".join(projects)),
            environment=line(first(text(rule, "environment"), text(rule, "environment", "name"))),
            body=cut(description),
            url=link(text(document, "data", "web_url")),
            labels=labels({"project": first(*projects), "rule": text(rule, "name")}),
            fields=fields(
                {
                    "measure": text(rule, "aggregate"),
                    "query": text(rule, "query"),
                    "window_minutes": text(rule, "time_window"),
                    "threshold": _threshold(rule, action),
                }
            ),
            value=_value(description),
            occurred_at=_moment(incident, action) or sent_at,
        )
    ]


def _severity(action: str, incident: Json, title: str) -> Severity:
    """The action decides: `metric_alert.status` is what it was when the body was built, and may be old.
    Only `open` says nothing by itself."""
    match action:
        case "critical":
            return Severity.CRITICAL
        case "warning":
            return Severity.WARNING
        case "resolved":
            return Severity.INFO
        case "open":
            named = Severity.read(title.partition(":")[0])
            return _INCIDENT_STATUS.get(text(incident, "status"), Severity.ERROR) if named is None else named
    raise Unreadable(
        f"Sentry metric alert action {action[:40]!r} is not known; expected critical, warning, resolved or open"
    )


def _threshold(rule: Json, action: str) -> str:
    if action == "resolved":
        return text(rule, "resolve_threshold")
    triggers = items(rule, "triggers")
    crossed = next((trigger for trigger in triggers if text(trigger, "label") == action), at(triggers, 0))
    return first(text(crossed, "alert_threshold"), text(crossed, "alertThreshold"))


def _value(description: str) -> float | None:
    """The measured number: the description starts with it (`1000 events in the last 10 minutes`)."""
    found = _LEADING_NUMBER.match(description)
    return float(found[0].replace(",", "")) if found else None


def _moment(incident: Json, action: str) -> Millis | None:
    if action == "resolved":
        return instant(at(incident, "date_closed"))
    return instant(at(incident, "date_detected")) or instant(at(incident, "date_started"))
