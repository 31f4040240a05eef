"""GitHub events about what is told of a commit from outside, and about deployments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters import _shapes
from adapters._github_words import Reader, branch_of, first_line, place, repository, run_branch, subject
from gateway.model import Alert, Json, Severity


def status(document: Json) -> list[Alert]:
    """A commit status, by which CI outside GitHub reports. A failure fires once, for the first branch that
    has the commit; a success resolves every branch that has it."""
    state = _shapes.text(document, "state")
    context = _shapes.text(document, "context") or "default"
    branches = _branches(document)
    if state not in ("failure", "error", "success"):
        return []
    resolves = state == "success"
    description = _shapes.text(document, "description")
    return [
        Alert(
            fingerprint=_shapes.key("github:status", repository(document), context, branch),
            title=f"{context} {'passed' if resolves else 'failed'}: {place(document)} {branch}",
            severity=Severity.INFO if resolves else Severity.ERROR,
            status="resolved" if resolves else "firing",
            body="\n".join(
                part
                for part in (description, first_line(_shapes.text(document, "commit", "commit", "message")))
                if part
            ),
            url=_shapes.link(_shapes.text(document, "target_url"), _shapes.text(document, "commit", "html_url")),
            labels={"branch": branch, "context": context, "conclusion": state},
            fields={"commit": _shapes.text(document, "sha")[:12]},
            occurred_at=_shapes.instant(_shapes.at(document, "updated_at")),
        )
        for branch in (branches if resolves else branches[:1])
    ]


def deployment_status(document: Json) -> list[Alert]:
    """failure and error fire, success resolves the environment; what is still under way says nothing."""
    said = subject(document, "deployment_status")
    deployment = _shapes.mapping(document, "deployment")
    state = _shapes.text(said, "state")
    environment = _shapes.text(said, "environment") or _shapes.text(deployment, "environment") or "an environment"
    if state not in ("failure", "error", "success"):
        return []
    resolves = state == "success"
    return [
        Alert(
            fingerprint=_shapes.key("github:deploy", repository(document), environment),
            title=f"Deployment to {environment} {'succeeded' if resolves else 'failed'}: {place(document)}",
            severity=Severity.INFO if resolves else Severity.ERROR,
            status="resolved" if resolves else "firing",
            environment=environment,
            body=_shapes.text(said, "description") or _shapes.text(deployment, "description"),
            url=_shapes.link(
                *(_shapes.text(said, name) for name in ("log_url", "target_url", "environment_url")),
                _shapes.text(document, "workflow_run", "html_url"),
            ),
            labels={
                "branch": branch_of(_shapes.text(deployment, "ref")),
                "conclusion": state,
                "task": _shapes.text(deployment, "task"),
            },
            fields={"commit": _shapes.text(deployment, "sha")[:12], "by": _shapes.text(said, "creator", "login")},
            occurred_at=_shapes.instant(_shapes.at(said, "updated_at")),
        )
    ]


def deployment_review(document: Json) -> list[Alert]:
    """A deployment that waits for a person: info, resolved by the approval or the rejection."""
    run = subject(document, "workflow_run")
    environment = _shapes.text(document, "environment") or _shapes.text(document, "workflow_job_run", "environment")
    action = _shapes.text(document, "action")
    if action not in ("requested", "approved", "rejected"):
        return []
    waits = "waits for approval" if action == "requested" else f"was {action}"
    return [
        Alert(
            fingerprint=_shapes.key("github:deployment_review", repository(document), _shapes.text(run, "id")),
            title=f"Deployment{f' to {environment}' if environment else ''} {waits}: {place(document)}",
            severity=Severity.INFO,
            status="firing" if action == "requested" else "resolved",
            environment=environment,
            body=_shapes.text(document, "comment") or _shapes.text(run, "display_title"),
            url=_shapes.text(run, "html_url"),
            labels={"branch": run_branch(document, run), "workflow": _shapes.text(run, "name")},
            occurred_at=_shapes.instant(_shapes.at(document, "since")),
        )
    ]


def page_build(document: Json) -> list[Alert]:
    """A build of GitHub Pages: errored fires, built resolves."""
    build = subject(document, "build")
    state = _shapes.text(build, "status")
    if state not in ("errored", "built"):
        return []
    return [
        Alert(
            fingerprint=_shapes.key("github:pages", repository(document)),
            title=f"GitHub Pages {'failed to build' if state == 'errored' else 'was built'}: {place(document)}",
            severity=Severity.ERROR if state == "errored" else Severity.INFO,
            status="firing" if state == "errored" else "resolved",
            body=_shapes.text(build, "error", "message"),
            labels={"conclusion": state},
            fields={"commit": _shapes.text(build, "commit")[:12]},
            occurred_at=_shapes.instant(_shapes.at(build, "updated_at")),
        )
    ]


READERS: Final[Mapping[str, Reader]] = {
    "status": status,
    "deployment_status": deployment_status,
    "deployment_review": deployment_review,
    "page_build": page_build,
}


def _branches(document: Json) -> list[str]:
    """The branches of which the commit is the head, else those that have it (at most 10, says GitHub),
    the default branch first; the commit itself where there is none."""
    sha = _shapes.text(document, "sha")
    branches = _shapes.items(document, "branches")
    heads = [branch for branch in branches if _shapes.text(branch, "commit", "sha") == sha]
    names = [name for name in (_shapes.text(branch, "name") for branch in heads or branches) if name]
    default = _shapes.text(document, "repository", "default_branch")
    return sorted(names, key=lambda name: name != default) or [sha]
