"""The gateway's own alerts are events of the source `gateway` that the generic adapter reads."""

from __future__ import annotations

import pytest

from adapters.generic import adapter
from gateway.model import Alert, Event, Severity
from gateway.rules import own, reading
from tests.stage import NOON


def read(event: Event) -> Alert:
    assert (event.id, event.source, event.adapter, event.received_at) == ("id", "gateway", "generic", NOON)
    (alert,) = adapter.parse(event, reading.normalise(reading.decode(event.headers["content-type"], event.body)))
    return alert


@pytest.mark.parametrize(
    ("worst", "severity"),
    [
        (Severity.INFO, Severity.ERROR),
        (Severity.ERROR, Severity.ERROR),
        (Severity.EMERGENCY, Severity.EMERGENCY),
    ],
)
def test_a_failing_channel_is_as_bad_as_what_it_did_not_tell(worst: Severity, severity: Severity) -> None:
    alert = read(own.channel_fails("ops-slack", "HTTP 404: 없음", worst, "id", NOON))
    assert alert.title == "Channel ops-slack fails: a message was given up"
    assert (alert.fingerprint, alert.severity, alert.status) == ("channel:ops-slack", severity, "firing")
    assert (alert.labels, alert.kind, alert.service) == ({"channel": "ops-slack"}, "gateway", "tocsin")
    assert alert.body == "HTTP 404: 없음\nSee: tocsin deliveries --state failed"


def test_a_struggling_channel_is_the_same_problem_and_milder() -> None:
    alert = read(own.channel_struggles("ops-slack", "HTTP 503", "id", NOON))
    assert (alert.fingerprint, alert.severity) == (own.channel_key("ops-slack"), Severity.WARNING)
    assert alert.labels == {"channel": "ops-slack"}


def test_a_channel_that_misses_some_of_its_recipients_is_a_warning() -> None:
    alert = read(own.channel_misses("ops-mail", "kim@example.com: no such box", "id", NOON))
    assert (alert.fingerprint, alert.severity, alert.status) == ("channel:ops-mail", Severity.WARNING, "firing")
    assert alert.body.startswith("kim@example.com: no such box\n")


def test_a_channel_that_works_again_ends_its_problem() -> None:
    alert = read(own.channel_works("ops-slack", "id", NOON))
    assert (alert.fingerprint, alert.status) == ("channel:ops-slack", "resolved")


def test_a_source_that_cannot_be_read_is_a_warning_and_ends_when_it_can() -> None:
    alert = read(own.unreadable("sentry", "id", NOON))
    assert (alert.fingerprint, alert.severity) == ("unreadable:sentry", Severity.WARNING)
    over = read(own.readable("sentry", "id", NOON))
    assert (over.fingerprint, over.status) == ("unreadable:sentry", "resolved")


@pytest.mark.parametrize(("many", "last"), [(1, "problem 0"), (10, "problem 9"), (13, "… and 3 more")])
def test_a_refused_configuration_lists_its_first_ten_problems(many: int, last: str) -> None:
    alert = read(own.configuration_refused([f"problem {number}" for number in range(many)], "id", NOON))
    assert (alert.fingerprint, alert.severity) == ("configuration", Severity.ERROR)
    assert alert.body.splitlines()[-1] == last
    assert len(alert.body.splitlines()) == min(many, 11)


def test_a_configuration_that_was_taken_ends_it() -> None:
    alert = read(own.configuration_taken("id", NOON))
    assert (alert.fingerprint, alert.status) == ("configuration", "resolved")
