"""GitHub's webhooks: docs.github.com/en/webhooks/webhook-events-and-payloads.

The name of the event stands in the header `X-GitHub-Event`. Builds, deployments, commit statuses, security
alerts and issues have a life, and their success or closing resolves them; pushes, comments and the like are
told once; events that nobody must hear (stars, labels, ids of projects) give no alert at all.

One failed job arrives up to four times: as workflow_job, workflow_run, check_run and check_suite. The job and
its check run are one incident, the suite of GitHub Actions is info, because it is the run once more. So a hook
that sends everything pages twice at most, for the job and for its run, and one that sends a single kind still
pages: a lost page is worse than a second one. A hook at GitHub should send "Workflow runs" alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters import _github_ci, _github_deploys, _github_news, _github_security, _shapes, _signing
from adapters._github_words import Reader, dressed
from gateway.contracts import Admission, Handshake, Keep
from gateway.errors import Unreadable
from gateway.model import Alert, Event, Json, Millis

_READERS: Final[Mapping[str, Reader]] = {
    **_github_ci.READERS,
    **_github_deploys.READERS,
    **_github_security.READERS,
    **_github_news.READERS,
}

_QUIET: Final = frozenset(
    (
        "ping",
        # Somebody likes or looks.
        *("star", "fork", "watch", "sponsorship"),
        # Told by another event: a branch made is a push, a location belongs to its secret, a merge group
        # and a deployment to the runs and statuses that follow.
        *("create", "delete", "secret_scanning_alert_location", "secret_scanning_scan", "merge_group"),
        *("deployment", "deployment_protection_rule", "registry_package", "repository_import"),
        # Housekeeping.
        *("label", "milestone", "gollum", "project", "project_card", "project_column", "projects_v2"),
        *("projects_v2_item", "projects_v2_status_update", "sub_issues", "issue_dependencies"),
        *("custom_property", "custom_property_values", "pull_request_review_thread"),
        # Teams, apps and accounts.
        *("team", "team_add", "membership", "org_block", "installation", "installation_repositories"),
        *("installation_target", "github_app_authorization", "marketplace_purchase", "security_and_analysis"),
        # Started by hand, and heard of again when it ends.
        *("workflow_dispatch", "repository_dispatch"),
    )
)

# For bodies that came without the header: what only this event has, the narrower before the wider.
_SIGNS: Final[tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]] = (
    ("ping", (("zen",), ("hook_id",))),
    ("meta", (("hook",), ("hook_id",))),
    ("deployment_review", (("workflow_run",), ("since",))),
    ("deployment_status", (("deployment_status",),)),
    ("workflow_run", (("workflow_run",),)),
    ("workflow_job", (("workflow_job",),)),
    ("check_run", (("check_run",),)),
    ("check_suite", (("check_suite",),)),
    ("status", (("context",), ("state",), ("sha",))),
    ("push", (("pusher",), ("before",), ("after",))),
    ("dependabot_alert", (("alert", "dependency"),)),
    ("code_scanning_alert", (("alert", "rule"),)),
    ("secret_scanning_alert", (("alert", "secret_type"),)),
    ("repository_vulnerability_alert", (("alert", "affected_package_name"),)),
    ("security_advisory", (("security_advisory",),)),
    ("repository_advisory", (("repository_advisory",),)),
    ("pull_request_review", (("review",), ("pull_request",))),
    ("issue_comment", (("comment",),)),
    ("pull_request", (("pull_request",),)),
    ("issues", (("issue",),)),
    ("release", (("release",),)),
    ("fork", (("forkee",),)),
    ("star", (("starred_at",),)),
)


class GitHub:
    """See `gateway.contracts.Adapter`."""

    signs: Final = True
    keeps: Final = frozenset(("x-github-event", "x-github-delivery", "x-github-hook-id"))
    max_body: Final = 25 * 1024 * 1024

    def signed(self, headers: Mapping[str, str]) -> bool:
        return "x-hub-signature-256" in headers or "x-hub-signature" in headers

    def verify(self, headers: Mapping[str, str], body: bytes, secret: str, now: Millis) -> bool:  # noqa: ARG002
        """By `X-Hub-Signature-256` alone. GitHub has sent both headers since 2020, so a request with only
        the old SHA-1 one comes from somebody who would like the weaker hash: refused.

        Nothing in the request is a time, so `now` says nothing: replays are caught by the delivery's id."""
        return _signing.fits(headers.get("x-hub-signature-256", ""), body, secret, "sha256=")

    def admit(self, headers: Mapping[str, str], document: Json) -> Admission:
        """A ping is a handshake. A manual redelivery has the id of the first delivery."""
        if _event_of(headers, document) == "ping":
            return Handshake()
        delivery = headers.get("x-github-delivery", "").strip()
        return Keep(delivery_id=_shapes.key(delivery)) if delivery else Keep()

    def parse(self, event: Event, document: Json) -> list[Alert]:
        if not isinstance(document, dict):
            raise Unreadable("GitHub: the body is no JSON object")
        kind = _event_of(event.headers, document)
        if not kind:
            raise Unreadable("GitHub: there is no X-GitHub-Event header, and the body does not tell which event it is")
        if kind in _QUIET:
            return []
        if kind in _READERS:
            return [dressed(alert, kind, document) for alert in _READERS[kind](document)]
        if not _shapes.mapping(document, "sender") and not _shapes.mapping(document, "repository"):
            raise Unreadable(
                f"GitHub: {kind[:80]!r} is no event that is known, and the body is not in GitHub's envelope"
            )
        return [dressed(alert, kind, document) for alert in _github_news.unknown(kind, document)]


adapter: Final = GitHub()


def _event_of(headers: Mapping[str, str], document: Json) -> str:
    """What the header says, else what the body shows; '' where neither tells."""
    return headers.get("x-github-event", "").strip() or next(
        (event for event, signs in _SIGNS if all(_shapes.at(document, *sign) is not None for sign in signs)), ""
    )
