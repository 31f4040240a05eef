"""Best effort: JSON of no agreed shape into an alert.

Keys are known by their words, whatever their spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from adapters import _generic_keys as keys
from adapters import _generic_words as words
from adapters import _shapes
from adapters._generic_strict import LONGEST_FINGERPRINT, fingerprint
from gateway.model import Alert, Json, Severity

_MOST_FIELDS: Final = 12
_MOST_LABELS: Final = 64
_NO_WORDS = re.compile(r"https?://\S+$|[{\[]\s*[\"{\[]", re.IGNORECASE)


def read(document: Mapping[str, Json]) -> Alert | None:
    """The alert; None where no text in the document could be a title."""
    index = keys.Index(document)
    status, said = _status(index)
    name, title = _title(index, said)
    if not _readable(index, title):
        title = name = _any_text(document)
    if not title:
        return None
    happened = _only_happened(index, status, name)
    service = _shapes.line(index.first(keys.SERVICES))
    return Alert(
        fingerprint=_fingerprint(index, document, name, service),
        title=_shapes.line(title),
        severity=_severity(index, said, status == "resolved" or happened),
        status=status or "firing",
        kind=_shapes.line(next((found.text for found in index.all(keys.KINDS) if words.lasting_kind(found.text)), "")),
        service=service,
        environment=_shapes.line(index.first(keys.ENVIRONMENTS)),
        body=_body(index, title),
        url=_shapes.link(*(found.text for found in index.all(keys.LINKS))),
        labels=_labels(document),
        fields=_fields(index, title),
        value=_shapes.number(document, "value"),
        occurred_at=next(
            (moment for found in index.all(keys.MOMENTS) if (moment := _shapes.instant(found.value)) is not None), None
        ),
        momentary=happened,
    )


def read_text(sentence: str) -> Alert | None:
    """An alert that is one text; None where it is empty."""
    title = _shapes.line(sentence)
    if not title:
        return None
    return Alert(
        fingerprint=fingerprint("", "", "", _shapes.line(words.lasting(title))),
        title=title,
        status=words.told_over(title) or "firing",
        body=_shapes.cut(sentence.strip()) if len(sentence.strip()) > len(title) else "",
    )


def _status(index: keys.Index) -> tuple[words.Verdict | None, str]:
    """Firing or resolved, and the words that said so; None where nothing does."""
    for found in index.all(keys.STATES):
        if isinstance(found.value, str) and (verdict := words.verdict(found.text)):
            return verdict, found.text
    for names, good, bad in ((keys.UP, True, "down"), (keys.WELL, True, "failed"), (keys.DOWN, False, "down")):
        for found in index.all(names):
            if verdict := words.flag(found.value, good):
                return verdict, "ok" if verdict == "resolved" else bad
    for found in index.all(keys.SEVERITIES):
        if words.tokens(found.text) in (["ok"], ["clear"], ["cleared"], ["resolved"], ["recovered"]):
            return "resolved", found.text
    over = any(words.told_over(found.text) for found in (*index.all(keys.TITLES), *index.all(keys.WORDS)))
    return ("resolved" if over else None), ""


def _title(index: keys.Index, said: str) -> tuple[str, str]:
    """The name of the problem, and the title: a title of the sender's, else name and words, else the event."""
    if title := index.first(keys.TITLES):
        return title, title
    name, event = index.first(keys.NAMES), index.first(keys.EVENTS)
    message = next((written.partition("\n")[0] for written in _written(index)), "")
    tail = message or (event if name and name.lower() in event.lower() else _shapes.first(said, event))
    if not name:
        target = index.first(keys.TARGETS)
        return message or f"{event} {target}", message or ": ".join(part for part in (event, target) if part)
    if not tail or tail.lower() in name.lower():
        return name, name
    return name, tail if name.lower() in tail.lower() else f"{name}: {tail}"


def _readable(index: keys.Index, title: str) -> bool:
    """Whether it is a title: words, or whatever text the sender himself put where titles stand."""
    given = (found.text for found in index.all((*keys.TITLES, *keys.WORDS)) if isinstance(found.value, str))
    return any(letter.isalpha() for letter in title) or title in given


def _only_happened(index: keys.Index, status: words.Verdict | None, name: str) -> bool:
    """Whether it is news (`contact.created`, `completed`, a test message): over when it is told."""
    if status is not None or _named_level(index) is not None:
        return False
    return words.only_a_test(name) or any(words.calm(found.text) for found in index.all(keys.STATES))


def _named_level(index: keys.Index) -> Severity | None:
    """What a severity or a priority says, where it says it in words."""
    levels = (words.level(found.text) for found in index.all(keys.SEVERITIES) if isinstance(found.value, str))
    return next((level for level in levels if level is not None), None)


def _severity(index: keys.Index, said: str, harmless: bool) -> Severity:
    named = _named_level(index)
    if named is not None or harmless:
        return Severity.INFO if named is None else named
    states = (found.text for found in index.all(keys.STATES) if isinstance(found.value, str))
    levels = (words.level_of_state(state) for state in (said, *states))
    return next((level for level in levels if level is not None), Severity.ERROR)


def _fingerprint(index: keys.Index, document: Mapping[str, Json], name: str, service: str) -> str:
    """The sender's own key, else the id of what is watched with what is wrong with it, else the words that
    are the same in a failure and in its end."""
    if own := index.best(keys.NAMED_BY_SENDER):
        return own if len(own) <= LONGEST_FINGERPRINT else _shapes.key(own)
    for key in keys.IDS:
        if found := index.first((key,)):
            what = words.lasting_kind(index.first(keys.KINDS))
            return _shapes.key(key, found, *((what,) if what else ()))
    host = index.first(keys.HOSTS)
    return fingerprint(
        _shapes.text(document, "kind"),
        f"{service} on {_shapes.line(host)}" if host not in ("", service) else service,
        index.first(keys.ENVIRONMENTS),
        _shapes.line(words.lasting(_shapes.line(name))),
    )


def _body(index: keys.Index, title: str) -> str:
    """What was written, but for what the title says already."""
    return _shapes.cut("\n\n".join(part for part in dict.fromkeys(_written(index)) if part not in title))


def _written(index: keys.Index) -> Iterator[str]:
    """What people can read: no bare address, no JSON in a string."""
    return (found.text for found in index.all(keys.WORDS) if not _NO_WORDS.match(found.text))


def _labels(document: Mapping[str, Json]) -> dict[str, str]:
    given = _shapes.mapping(document, "labels") or _shapes.mapping(document, "tags")
    tags = ", ".join(_shapes.text(tag) for tag in _shapes.items(document, "tags") if _shapes.text(tag))
    pairs = {key: _shapes.text(value) for key, value in given.items() if not keys.secret(key)}
    return dict([*_shapes.labels({**pairs, "tags": tags} if tags else pairs).items()][:_MOST_LABELS])


def _fields(index: keys.Index, title: str) -> dict[str, str]:
    """The first dozen short facts that are told nowhere else."""
    told = (*keys.TITLES, *keys.WORDS, *keys.LINKS, *keys.MOMENTS)
    facts = {
        found.key: found.text
        for found in index.shown
        if keys.plain(found.key) not in told and len(found.text) <= 120 and found.text not in title
    }
    return _shapes.fields(dict([*facts.items()][:_MOST_FIELDS]))


def _any_text(value: Json, key: str = "") -> str:
    """The first text anywhere that has a letter in it, with its key; '' where there is none."""
    if isinstance(value, str):
        readable = any(letter.isalpha() for letter in value)
        return (f"{key}: {value.strip()}" if key else value.strip()) if readable else ""
    if isinstance(value, dict):
        inner = (_any_text(inner, name) for name, inner in value.items() if not keys.secret(name))
        return next((found for found in inner if found), "")
    if isinstance(value, list):
        return next((found for inner in value if (found := _any_text(inner, key))), "")
    return ""
