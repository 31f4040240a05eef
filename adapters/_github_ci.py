"""GitHub events about builds and deployments: what failed, and the success that resolves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters import _shapes
from adapters._github_words import Reader, first_line, place, repository, run_branch, subject
from gateway.model import Alert, Json, Severity
from gateway.values import frozen

ACTIONS: Final = "github-actions"


@frozen
class Verdict:
    """What a conclusion says: the verb for the title, how bad, and whether it ends or leaves no problem."""

    verb: str
    severity: Severity = Severity.INFO
    resolves: bool = False
    says_nothing: bool = False


# docs.github.com/en/rest/checks/runs: all conclusions there are.
_VERDICTS: Final[Mapping[str, Verdict]] = {
    "failure": Verdict("failed", Severity.ERROR),
    "timed_out": Verdict("timed out", Severity.ERROR),
    "startup_failure": Verdict("could not start", Severity.ERROR),
    "cancelled": Verdict("was cancelled", Severity.WARNING),
    "action_required": Verdict("needs action", Severity.WARNING),
    "stale": Verdict("went stale", Severity.WARNING),
    "success": Verdict("passed", resolves=True),
    "neutral": Verdict("ended neutral", says_nothing=True),
    "skipped": Verdict("was skipped", says_nothing=True),
}


@frozen
class Build:
    """One run, job, check or suite. `fingerprint` names the problem, `once` this run of it alone.

    `detail`: part of an Actions run, so one that was skipped is not worth a word. `whole`: the same as a run,
    which pages for itself."""

    name: str
    branch: str
    fingerprint: str
    once: str
    labels: Mapping[str, str]
    conclusion: str
    detail: bool = False
    whole: bool = False


def workflow_run(document: Json) -> list[Alert]:
    """A whole run of GitHub Actions: error where it failed, resolved by the workflow's next success on the same
    branch. A fork's branch is named `owner:branch`, as GitHub itself does: a stranger's
    pull request from his `main` must not resolve what failed on ours."""
    run = subject(document, "workflow_run")
    workflow = _shapes.text(run, "workflow_id") or _shapes.text(document, "workflow", "id")
    # `name` is "" for a workflow without one; then its file says more than the commit's title does.
    name = (
        _shapes.text(run, "name")
        or _shapes.text(document, "workflow", "name")
        or _shapes.text(run, "path")
        or _shapes.text(run, "display_title")
        or "a workflow"
    )
    branch = run_branch(document, run)
    build = Build(
        name=name,
        branch=branch,
        fingerprint=_shapes.key("github:workflow", repository(document), workflow or name, branch),
        once=_shapes.key("github:run", repository(document), _shapes.text(run, "id")),
        labels={"workflow": name, "trigger": _shapes.text(run, "event")},
        conclusion=_concluded(document, run),
    )
    return _alerts(document, run, build)


def workflow_job(document: Json) -> list[Alert]:
    """One job of a run: the same thing as the check run that Actions makes for it, so it has that one's
    fingerprint and the two are one incident: error, because a hook may send nothing else."""
    job = subject(document, "workflow_job")
    name = _shapes.text(job, "name") or "a job"
    workflow = _shapes.text(job, "workflow_name")
    branch = _shapes.text(job, "head_branch") or _shapes.text(job, "head_sha")
    build = Build(
        name=f"{workflow} / {name}" if workflow else name,
        branch=branch,
        fingerprint=_shapes.key("github:check", repository(document), ACTIONS, name, branch),
        once="",
        labels={"workflow": workflow, "job": name, "app": ACTIONS},
        conclusion=_concluded(document, job),
        detail=True,
    )
    return _alerts(document, job, build)


def check_run(document: Json) -> list[Alert]:
    """One check of an app. Those of GitHub Actions are jobs, and one incident with them."""
    check = subject(document, "check_run")
    app = _app(check) or _app(_shapes.mapping(check, "check_suite"))
    name = _shapes.text(check, "name") or "a check"
    # Null where the commit came from a fork: docs.github.com/en/rest/checks/runs
    branch = _shapes.text(check, "check_suite", "head_branch") or _shapes.text(check, "head_sha")
    build = Build(
        name=name,
        branch=branch,
        fingerprint=_shapes.key("github:check", repository(document), app, name, branch),
        once=_shapes.key("github:check_run", repository(document), _shapes.text(check, "id")),
        labels={"check": name, "app": app},
        conclusion=_concluded(document, check),
        detail=app == ACTIONS,
    )
    return _alerts(document, check, build)


def check_suite(document: Json) -> list[Alert]:
    """All checks of one app on one commit. The suite of GitHub Actions is a run: info, because the run pages."""
    suite = subject(document, "check_suite")
    app = _app(suite)
    branch = _shapes.text(suite, "head_branch") or _shapes.text(suite, "head_sha")
    build = Build(
        name=f"Checks of {app or 'an app'}",
        branch=branch,
        fingerprint=_shapes.key("github:check_suite", repository(document), app, branch),
        once=_shapes.key("github:check_suite", repository(document), _shapes.text(suite, "id")),
        labels={"app": app},
        conclusion=_concluded(document, suite),
        detail=app == ACTIONS,
        whole=app == ACTIONS,
    )
    return _alerts(document, suite, build)


READERS: Final[Mapping[str, Reader]] = {
    "workflow_run": workflow_run,
    "workflow_job": workflow_job,
    "check_run": check_run,
    "check_suite": check_suite,
}


def _concluded(document: Json, run: Json) -> str:
    """How it ended; '' while it has not, and where GitHub does not say (null, as it may)."""
    return _shapes.text(run, "conclusion") if _shapes.text(document, "action") == "completed" else ""


def _app(made: Json) -> str:
    # Old bodies have no slug.
    return _shapes.text(made, "app", "slug") or _shapes.text(made, "app", "name").lower().replace(" ", "-")


def _alerts(document: Json, run: Json, build: Build) -> list[Alert]:
    if not build.conclusion:
        return []
    verdict = _VERDICTS.get(build.conclusion) or Verdict(f"ended {build.conclusion}", Severity.WARNING)
    if verdict.says_nothing and build.detail:
        return []
    output = _shapes.text(run, "output", "title"), _shapes.text(run, "output", "summary")
    commit = first_line(_shapes.text(run, "head_commit", "message"))
    return [
        Alert(
            fingerprint=build.once if verdict.says_nothing else build.fingerprint,
            title=f"{build.name} {verdict.verb}: {place(document)} {build.branch}",
            severity=Severity.INFO if build.whole else verdict.severity,
            status="resolved" if verdict.resolves else "firing",
            momentary=verdict.says_nothing,
            body="\n".join(part for part in (*output, commit, _failed_steps(run)) if part),
            url=_shapes.link(_shapes.text(run, "html_url"), _shapes.text(run, "details_url")),
            labels={"branch": build.branch, "conclusion": build.conclusion, **build.labels},
            fields=_fields(run),
            occurred_at=_shapes.instant(_shapes.at(run, "completed_at") or _shapes.at(run, "updated_at")),
        )
    ]


def _fields(run: Json) -> dict[str, str]:
    number = _shapes.text(run, "run_number")
    attempt = _shapes.text(run, "run_attempt")
    return {
        "run": f"#{number}" + (f", attempt {attempt}" if attempt not in ("", "1") else "") if number else "",
        "commit": _shapes.text(run, "head_sha")[:12],
        "author": _shapes.text(run, "head_commit", "author", "name"),
        "runner": _shapes.text(run, "runner_name"),
    }


def _failed_steps(run: Json) -> str:
    """The steps of a job that did not pass, by name."""
    steps = [
        _shapes.text(step, "name")
        for step in _shapes.items(run, "steps")
        if _shapes.text(step, "conclusion") in ("failure", "timed_out", "cancelled")
    ]
    return f"Failed steps: {', '.join(steps)}" if steps else ""
