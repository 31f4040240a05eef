"""The three older shapes that teams sent before there was a generic alert. They are told by their keys alone."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from adapters import _shapes
from adapters._generic_strict import LEVELS
from gateway.errors import BadField
from gateway.model import Alert, Json, Severity

Reading: TypeAlias = Alert | tuple[BadField, ...]
_Reader: TypeAlias = Callable[[Mapping[str, Json]], Reading]


def read(document: Mapping[str, Json]) -> Reading | None:
    """The alert, or what is wrong with it; None where it is of none of the three shapes."""
    if "title" in document:
        return None
    return next((reader(document) for keys, reader in _SHAPES if keys <= document.keys()), None)


def _rule(document: Mapping[str, Json]) -> Reading:
    """`{"rule_name", "metric_data": {"metric_value", "additional_info", "<x>_data": {…}}}`: x is the kind."""
    name = _shapes.line(_shapes.text(document, "rule_name"))
    metrics = document["metric_data"]
    level = _level(document.get("severity"))
    faults = (
        *_unless(name, "rule_name", "must be text"),
        *_unless(isinstance(metrics, dict), "metric_data", "must be an object"),
        *_unless(level is not None, "severity", LEVELS),
    )
    if faults or level is None:
        return faults
    sections = {
        key.removesuffix("_data"): inner
        for key, inner in metrics.items()
        if key.endswith("_data") and isinstance(inner, dict)
    }
    written = _shapes.text(metrics, "metric_value")
    value = _shapes.number(metrics, "metric_value")
    shown = {key: _shapes.text(inner) for section in sections.values() for key, inner in section.items()}
    extra = {key: _shapes.text(inner) for key, inner in _shapes.mapping(metrics, "additional_info").items()}
    return Alert(
        fingerprint=_shapes.key("rule", name),
        title=name,
        severity=level,
        kind=next(iter(sections), ""),
        service=_shapes.first(*(shown.get(key, "") for key in ("service", "host", "hostname", "server", "instance"))),
        body=_shapes.cut(_shapes.text(metrics, "additional_info")),
        labels=_shapes.labels({"rule": name}),
        fields=_shapes.fields({**extra, **shown, "value": "" if value is not None else written}),
        value=value,
    )


def _check(document: Mapping[str, Json]) -> Reading:
    """`{"target_url", "status_code", "response_time_ms", "timestamp", "is_success", "error_message"}`."""
    target = _shapes.text(document, "target_url")
    up = document["is_success"]
    faults = (
        *_unless(target, "target_url", "must be text"),
        *_unless(isinstance(up, bool), "is_success", "must be true or false"),
    )
    if faults:
        return faults
    host, path = _host_and_path(target)
    code = _shapes.text(document, "status_code")
    took = _shapes.text(document, "response_time_ms")
    return Alert(
        fingerprint=_shapes.key("check", target),
        title=_shapes.line(f"{host}{path} is {'up' if up else 'down'}"),
        severity=Severity.INFO if up else Severity.ERROR,
        status="resolved" if up else "firing",
        kind="uptime",
        service=_shapes.line(host),
        body=_shapes.cut(_shapes.text(document, "error_message")),
        url="" if "@" in target else _shapes.link(target),
        labels=_shapes.labels({"status_code": code}),
        fields=_shapes.fields({"status": code, "took": f"{took} ms" if took else ""}),
        value=_shapes.number(document, "response_time_ms"),
        occurred_at=_shapes.instant(document.get("timestamp")),
    )


def _threshold(document: Mapping[str, Json]) -> Reading:
    """`{"name", "description", "metric", "operator", "threshold", "value", "severity", "channels"}`.

    `channels` says nothing any more: routing.yaml decides who hears."""
    name, metric = _shapes.text(document, "name"), _shapes.text(document, "metric")
    level = _level(document.get("severity"))
    faults = (
        *_unless(name, "name", "must be text"),
        *_unless(metric, "metric", "must be text"),
        *_unless(level is not None, "severity", LEVELS),
    )
    if faults or level is None:
        return faults
    limit = f"{_shapes.text(document, 'operator')} {_shapes.text(document, 'threshold')}".strip()
    return Alert(
        # Without the value, which is another every time.
        fingerprint=_shapes.key("threshold", name, metric),
        title=_shapes.line(f"{name}: {metric} {_shapes.text(document, 'value')} {limit}"),
        severity=level,
        kind="threshold",
        service=_shapes.line(_shapes.text(document, "service")),
        body=_shapes.cut(_shapes.text(document, "description")),
        labels=_shapes.labels({"metric": metric}),
        fields=_shapes.fields({"threshold": limit}),
        value=_shapes.number(document, "value"),
    )


_SHAPES: Final[tuple[tuple[frozenset[str], _Reader], ...]] = (
    (frozenset(("rule_name", "metric_data")), _rule),
    (frozenset(("target_url", "is_success")), _check),
    (frozenset(("name", "metric", "operator", "threshold")), _threshold),
)


def _level(given: Json) -> Severity | None:
    """The level that is meant, error where none is given; None where the word means none."""
    if given is None or given == "":
        return Severity.ERROR
    return Severity.read(given) if isinstance(given, str) else None


def _host_and_path(target: str) -> tuple[str, str]:
    """For people, and without a password that stands in the address."""
    bare = target.rpartition("@")[2]
    try:
        parts = urllib.parse.urlsplit(target)
        return parts.hostname or bare, parts.path.rstrip("/") if parts.hostname else ""
    except ValueError:
        return bare, ""


def _unless(fine: object, path: str, message: str) -> tuple[BadField, ...]:
    return () if fine else (BadField(path, message),)
