"""A channel's own words: Jinja, read strictly when the file is loaded, harmless when it is run.

`syntax` refuses at load what it does not name; `sandbox` reaches no attribute of Python's and meters what is
done. What is printed is made harmless by the channel; what stands in the template itself is the operator's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Final

import jinja2

from gateway.model import Alert, Change, Incident, Json, Millis
from gateway.rules.fitting import one_line
from gateway.rules.phrases import rfc_3339
from gateway.rules.sandbox import FAULTS, RUN, Fact, Run, template
from gateway.rules.syntax import Wrong
from gateway.values import frozen

OUTPUT_MOST: Final = 8_192
_TEXT_MOST: Final = 4_000
_ITEMS_MOST: Final = 1_000

_MOMENTS: Final = ("opened_at", "updated_at", "occurred_at", "acknowledged_at", "resolved_at")
_OURS: Final = ("fired_at", "firing_since", "moves")
"""What only our own rules reckon with."""
_AS_IT_IS: Final = tuple(
    field.name
    for field in fields(Incident)
    if field.name not in ("severity", "worst", "url", "adapter", "revision", "momentary", *_MOMENTS, *_OURS)
)
_ALERT: Final = tuple(field.name for field in fields(Alert) if field.name not in ("status", "momentary"))
NAMES: Final = frozenset(
    (*_AS_IT_IS, *_MOMENTS, "severity", "worst", "url", "incident", "alert", "change", "since", "facts", "public_url")
)
"""The variables of a template."""


@frozen
class CompiledTemplates:
    """What `templates:` of one channel became; None for the words that are ours."""

    title: jinja2.Template | None = None
    body: jinja2.Template | None = None


@frozen
class Failed:
    """A template could not say it. `reason` is the name of a fault, never a value."""

    reason: str


class Instant(int):
    """A moment that prints as RFC 3339, and counts as milliseconds for `time`, `ago` and comparisons."""

    __slots__ = ()

    def __str__(self) -> str:
        return rfc_3339(int(self))


def compile(title: str | None, body: str | None) -> CompiledTemplates:  # noqa: A001  # named as re.compile is
    """The templates, ready. Raises ValueError with a sentence for each that is wrong: which, its line, and what."""
    compiled: dict[str, jinja2.Template] = {}
    problems = []
    for part, source in (("title", title), ("body", body)):
        if source is None:
            continue
        if part == "title" and not source.strip():
            problems.append("title: line 1: it is empty")
        try:
            compiled[part] = template(source, NAMES)
        except Wrong as wrong:
            problems.append(f"{part}: line {wrong.line}: {wrong.what}")
    if problems:
        raise ValueError("; ".join(problems))
    return CompiledTemplates(compiled.get("title"), compiled.get("body"))


def render(compiled: jinja2.Template, variables: Mapping[str, object], run: Run) -> str | Failed:
    """What the template says, at most 8,192 characters in the channel's own markup, or why it could not."""
    written: list[str] = []
    length = 0
    try:
        for piece in compiled.generate(variables, **{RUN: run}):
            written.append(piece)
            length += len(piece)
            if length > OUTPUT_MOST:
                return Failed("TooLong")
    except FAULTS as fault:
        return Failed(type(fault).__name__)
    return "".join(written).strip()


def variables(
    incident: Incident, since: Sequence[Change], facts: Iterable[tuple[str, str]], url: str, public_url: str
) -> dict[str, object]:
    """What a template may name, as plain values, cut to what is fit to print. `url` is one that may be followed."""
    shown: dict[str, object] = {name: _plain(getattr(incident, name)) for name in _AS_IT_IS}
    shown |= {name: _moment(getattr(incident, name)) for name in _MOMENTS}
    shown |= {"severity": incident.severity.word, "worst": max(incident.worst, incident.severity).word}
    shown |= {"title": one_line(incident.title), "url": url}
    changes = [_change(change) for change in since[-_ITEMS_MOST:]]
    return {
        **shown,
        "incident": shown,
        "alert": {
            **{name: shown[name] for name in _ALERT},
            "status": "resolved" if incident.state == "resolved" else "firing",
        },
        "since": changes,
        "change": changes[-1] if changes else {},
        "facts": [Fact(label, value) for label, value in facts],
        "public_url": public_url,
    }


def _change(change: Change) -> dict[str, object]:
    return {
        "what": change.what,
        "state": change.state,
        "severity": change.severity.word,
        "by": change.by,
        "note": change.note,
        "at": _moment(change.at),
        "revision": change.revision,
    }


def _moment(at: Millis | None) -> Instant | None:
    return None if at is None else Instant(at)


def _plain(value: Json) -> Json:
    if isinstance(value, str):
        return value[:_TEXT_MOST]
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in list(value.items())[:_ITEMS_MOST]}
    return value
