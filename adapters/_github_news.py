"""GitHub events about people's work: issues, which have a life, and news that nothing can resolve."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Final

from adapters import _shapes
from adapters._github_words import Reader, actor, branch_of, first_line, place, repository, subject
from gateway.model import Alert, Json, Severity
from gateway.values import frozen

_SEVERITY_LABEL = re.compile(r"(?:severity|priority|sev)\s*[:/=-]\s*(.+)", re.IGNORECASE)


@frozen
class Telling:
    """How one kind of news is told: `about` is the object, `name` where its name stands in it, `spoken` the
    actions that are worth hearing and how bad each is."""

    noun: str
    about: str
    name: tuple[str, ...]
    spoken: Mapping[str, Severity] = field(default_factory=dict)


_TOLD: Final[Mapping[str, Telling]] = {
    "member": Telling(
        "Collaborator", "member", ("login",), dict.fromkeys(("added", "removed", "edited"), Severity.INFO)
    ),
    "organization": Telling(
        "Organization member",
        "membership",
        ("user", "login"),
        dict.fromkeys(("member_added", "member_removed"), Severity.INFO),
    ),
    "deploy_key": Telling("Deploy key", "key", ("title",), dict.fromkeys(("created", "deleted"), Severity.INFO)),
    "release": Telling("Release", "release", ("tag_name",), {"published": Severity.INFO}),
    "package": Telling("Package", "package", ("name",), {"published": Severity.INFO}),
    "personal_access_token_request": Telling(
        "Access token request",
        "personal_access_token_request",
        ("owner", "login"),
        dict.fromkeys(("created", "approved", "denied"), Severity.INFO),
    ),
    "discussion": Telling("Discussion", "discussion", ("title",), {"created": Severity.INFO}),
    "repository": Telling(
        "Repository",
        "repository",
        ("full_name",),
        {
            **dict.fromkeys(("created", "renamed", "archived", "unarchived"), Severity.INFO),
            **dict.fromkeys(("deleted", "transferred"), Severity.WARNING),
        },
    ),
}


def issues(document: Json) -> list[Alert]:
    """An issue, info unless a label such as `severity: critical` says otherwise. Opened and reopened fire;
    closed, deleted and transferred resolve; all else says nothing."""
    issue = subject(document, "issue")
    action = _shapes.text(document, "action")
    if action not in ("opened", "reopened", "closed", "deleted", "transferred"):
        return []
    number = _shapes.text(issue, "number")
    moment = {"opened": "created_at", "closed": "closed_at"}.get(action, "updated_at")
    return [
        Alert(
            fingerprint=_shapes.key("github:issue", f"{repository(document)}#{number}"),
            title=f"Issue {action}: {place(document)}#{number}: {_shapes.text(issue, 'title')}",
            severity=_severity_of(issue),
            status="firing" if action in ("opened", "reopened") else "resolved",
            body=_shapes.text(issue, "body"),
            url=_shapes.text(issue, "html_url"),
            labels={"author": _shapes.text(issue, "user", "login"), "issue_labels": ", ".join(_label_names(issue))},
            fields={"assignee": _shapes.text(issue, "assignee", "login")},
            occurred_at=_shapes.instant(_shapes.at(issue, moment)),
        )
    ]


def push(document: Json) -> list[Alert]:
    """Commits pushed, or a branch or tag made, moved or deleted."""
    pusher = _shapes.first(_shapes.text(subject(document, "pusher"), "name"), "somebody")
    ref = _shapes.text(document, "ref")
    commits = _shapes.items(document, "commits")
    kind = "tag" if ref.startswith("refs/tags/") else "branch"
    if _shapes.at(document, "deleted") is True:
        what = f"deleted the {kind} {branch_of(ref)}"
    elif _shapes.at(document, "forced") is True:
        what = f"force-pushed to {branch_of(ref)}"
    elif commits:
        what = f"pushed {len(commits)} commit{'s' if len(commits) > 1 else ''} to {branch_of(ref)}"
    else:
        what = f"pushed the {kind} {branch_of(ref)}"
    return [
        Alert(
            fingerprint=_shapes.key(
                *("github:push", repository(document), ref),
                *(_shapes.text(document, "before"), _shapes.text(document, "after")),
            ),
            title=f"{pusher} {what}: {place(document)}",
            severity=Severity.INFO,
            momentary=True,
            body="\n".join(first_line(_shapes.text(commit, "message")) for commit in commits[:20]),
            url=_shapes.text(document, "compare"),
            labels={"branch": branch_of(ref), "ref": ref},
            fields={"commit": _shapes.text(document, "after")[:12]},
            occurred_at=_shapes.instant(_shapes.at(document, "head_commit", "timestamp")),
        )
    ]


def pull_request(document: Json) -> list[Alert]:
    """Opened, reopened, ready, merged or closed; what happens in between says nothing."""
    pull = subject(document, "pull_request")
    action = _shapes.text(document, "action")
    if action not in ("opened", "reopened", "ready_for_review", "closed"):
        return []
    verb = "merged" if action == "closed" and _shapes.at(pull, "merged") is True else action.replace("_", " ")
    number = _shapes.text(pull, "number")
    return [
        Alert(
            fingerprint=_shapes.key(
                "github:pr", f"{repository(document)}#{number}", action, _shapes.text(pull, "updated_at")
            ),
            title=f"Pull request {verb}: {place(document)}#{number}: {_shapes.text(pull, 'title')}",
            severity=Severity.INFO,
            momentary=True,
            body=_shapes.text(pull, "body"),
            url=_shapes.text(pull, "html_url"),
            labels={
                "branch": _shapes.text(pull, "base", "ref"),
                "head": _shapes.text(pull, "head", "ref"),
                "author": _shapes.text(pull, "user", "login"),
            },
            occurred_at=_shapes.instant(_shapes.at(pull, "updated_at")),
        )
    ]


def comment(document: Json) -> list[Alert]:
    """A new comment or a review, on whatever it stands."""
    words = _shapes.mapping(document, "review") or subject(document, "comment")
    if _shapes.text(document, "action") not in ("created", "submitted"):
        return []
    on = next((found for name in _COMMENTED if (found := _shapes.mapping(document, name))), {})
    number = _shapes.text(on, "number")
    where = f"{place(document)}#{number}" if number else place(document)
    # A review may say only its verdict.
    state = _shapes.text(words, "state").replace("_", " ")
    return [
        Alert(
            fingerprint=_shapes.key(
                "github:comment", repository(document), _shapes.first(_shapes.text(words, "id"), number)
            ),
            title=f"{f'Review ({state})' if state else 'Comment'} by {_shapes.text(words, 'user', 'login')}: {where}"
            + (f": {_shapes.text(on, 'title')}" if on else ""),
            severity=Severity.INFO,
            momentary=True,
            body=_shapes.text(words, "body"),
            url=_shapes.text(words, "html_url"),
            labels={"author": _shapes.text(words, "user", "login")},
            occurred_at=_shapes.instant(
                _shapes.first(_shapes.text(words, "created_at"), _shapes.text(words, "submitted_at"))
            ),
        )
    ]


def public(document: Json) -> list[Alert]:
    """A repository made public: a warning that making it private again resolves. GitHub says it twice, as
    `public` and as `repository` publicized: one incident."""
    subject(document, "repository")
    hidden = _shapes.text(document, "action") == "privatized"
    return [
        Alert(
            fingerprint=_shapes.key("github:public", repository(document)),
            title=f"Repository made {'private' if hidden else 'public'} by {actor(document)}: {place(document)}",
            severity=Severity.INFO if hidden else Severity.WARNING,
            status="resolved" if hidden else "firing",
            occurred_at=_shapes.instant(_shapes.at(document, "repository", "updated_at")),
        )
    ]


def repository_event(document: Json) -> list[Alert]:
    if _shapes.text(document, "action") in ("publicized", "privatized"):
        return public(document)
    return _told("repository", document)


def meta(document: Json) -> list[Alert]:
    """This webhook was deleted at GitHub: after this we hear nothing more."""
    hook = _shapes.text(document, "hook_id")
    return [
        Alert(
            fingerprint=_shapes.key("github:meta", place(document), hook),
            title=f"The webhook to Tocsin was deleted by {actor(document)}: {place(document)}",
            severity=Severity.WARNING,
            momentary=True,
            body="No event of it will come any more.",
            fields={"hook": hook},
        )
    ]


def unknown(event: str, document: Json) -> list[Alert]:
    """An event that GitHub invented after this was written, in its usual envelope: info, told once."""
    action = _shapes.text(document, "action")
    words = f"{event} {action}".replace("_", " ").strip()
    return [
        Alert(
            fingerprint=_shapes.key("github:event", place(document), event, action),
            title=f"{place(document)}: {words} by {actor(document)}",
            severity=Severity.INFO,
            momentary=True,
        )
    ]


def _reader(event: str) -> Reader:
    return lambda document: _told(event, document)


_COMMENTED: Final = ("issue", "pull_request", "discussion")
READERS: Final[Mapping[str, Reader]] = {
    **{event: _reader(event) for event in _TOLD},
    "repository": repository_event,
    "issues": issues,
    "push": push,
    "pull_request": pull_request,
    **dict.fromkeys(
        ("issue_comment", "commit_comment", "discussion_comment", "pull_request_review", "pull_request_review_comment"),
        comment,
    ),
    "public": public,
    "meta": meta,
}


def _told(event: str, document: Json) -> list[Alert]:
    telling = _TOLD[event]
    about = subject(document, telling.about)
    action = _shapes.text(document, "action")
    if action not in telling.spoken:
        return []
    name = _shapes.text(about, *telling.name)
    moments = (_shapes.text(about, moment) for moment in ("published_at", "updated_at", "created_at"))
    moment = _shapes.first(*moments)
    where = place(document)
    return [
        Alert(
            fingerprint=_shapes.key(f"github:{event}", where, name, action, moment),
            title=f"{telling.noun} {name} {action.removeprefix('member_')} by {actor(document)}"
            + ("" if name == where else f": {where}"),
            severity=telling.spoken[action],
            momentary=True,
            body=_shapes.first(_shapes.text(about, "body"), _shapes.text(about, "name")),
            url=_shapes.text(about, "html_url"),
            labels={"name": name},
            occurred_at=_shapes.instant(moment),
        )
    ]


def _label_names(issue: Mapping[str, Json]) -> list[str]:
    return [name for label in _shapes.items(issue, "labels") if (name := _shapes.text(label, "name"))]


def _severity_of(issue: Mapping[str, Json]) -> Severity:
    """The worst that its labels say; info where they say nothing."""
    words = (match[1] for name in _label_names(issue) if (match := _SEVERITY_LABEL.fullmatch(name)))
    return max((level for word in words if (level := Severity.read(word)) is not None), default=Severity.INFO)
