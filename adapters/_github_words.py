"""What all GitHub events have in common: where they happened, who did it, and how an alert of theirs is dressed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeAlias

from adapters import _shapes
from gateway.errors import Unreadable
from gateway.model import Alert, Json

Reader: TypeAlias = Callable[[Json], list[Alert]]
"""Reads the document of one event. Leaves kind, service, common labels and a missing link to `dressed`."""


def dressed(alert: Alert, kind: str, document: Json) -> Alert:
    """The reader's alert with what every event tells: the event's name as kind, the repository as service,
    the common labels, a link to the repository where the event has none of its own; all cut to a good length."""
    common = {
        "repository": repository(document),
        "organization": _shapes.text(document, "organization", "login"),
        "actor": _shapes.text(document, "sender", "login"),
        "event": kind,
        "action": _shapes.text(document, "action"),
    }
    return dataclasses.replace(
        alert,
        kind=kind,
        service=repository(document) or _shapes.text(document, "organization", "login"),
        title=_shapes.line(alert.title),
        body=_shapes.cut(alert.body.strip()),
        url=_shapes.link(alert.url, _shapes.text(document, "repository", "html_url")),
        labels=_shapes.labels({**common, **alert.labels}),
        fields=_shapes.fields(alert.fields),
    )


def subject(document: Json, name: str) -> Mapping[str, Json]:
    """The object that the event is about. Raises Unreadable where the body does not have it."""
    found = _shapes.mapping(document, name)
    if not found:
        raise Unreadable(f"GitHub: the body has no `{name}`, which this event must have")
    return found


def repository(document: Json) -> str:
    """`owner/name`, '' where the event belongs to no repository."""
    return _shapes.text(document, "repository", "full_name")


def place(document: Json) -> str:
    """Where it happened, for titles: the repository, else the organisation, else GitHub."""
    return repository(document) or _shapes.text(document, "organization", "login") or "GitHub"


def actor(document: Json) -> str:
    """Who did it, for titles."""
    return _shapes.text(document, "sender", "login") or "somebody"


def branch_of(ref: str) -> str:
    """`refs/heads/main` → `main`, `refs/tags/v1` → `v1`."""
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def run_branch(document: Json, run: Mapping[str, Json]) -> str:
    """A run's branch, with its owner before it where it is another repository's: `stranger:main`."""
    branch = _shapes.text(run, "head_branch") or _shapes.text(run, "head_sha")
    # Null where the fork is gone by now: still not ours.
    home = _shapes.text(run, "head_repository", "full_name") if "head_repository" in run else repository(document)
    return branch if home == repository(document) else f"{home.partition('/')[0] or 'unknown'}:{branch}"


def first_line(words: str) -> str:
    """A commit's subject, for instance."""
    return words.strip().partition("\n")[0]
